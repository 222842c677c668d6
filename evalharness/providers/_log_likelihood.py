"""How likely a server's model finds a text: the completions API with `echo` and `logprobs`, checked before it is used.

Servers differ in what they echo. Some ignore the wish, and one that is widely used reads each token's value from the
position after it: a model that answers every question right then scores like a coin. So before a run trusts a server,
it lets the model write a few tokens, which come with the values they were chosen by, has the same text echoed, and
holds one against the other.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, TypeAlias

from evalharness.errors import CallError, UsageError

Complete: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Sends the fields of one completions request and gives its JSON."""

PROMPTS: Final = (
    "Once upon a time there was",
    "1, 2, 3, 4, 5, 6,",
    "The quick brown fox jumps over the lazy dog. The quick brown fox",
)
_WRITTEN: Final = 12
_LEAST: Final = 4
"""Positions that must be comparable before a server is judged by them."""
_TYPICAL_NATS: Final = 0.05
_WORST_NATS: Final = 0.5
"""What 16-bit arithmetic moves between writing a token and reading it again: a typical and a worst position."""


@dataclass(frozen=True, slots=True)
class Echo:
    """An echoed text: one entry a token. `values` in nats, None for the first token, which nothing precedes.

    `greedy`: whether it was the likeliest token, None where the server did not say.
    """

    tokens: tuple[str, ...]
    offsets: tuple[int, ...]
    values: tuple[float | None, ...]
    greedy: tuple[bool | None, ...]


def echo_fields(text: str) -> dict[str, Any]:
    """The fields of a request that has `text` echoed. Servers want one new token at least; it is left out again."""
    return {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}


def read_echo(data: Mapping[str, Any], text: str) -> Echo:
    """The echoed tokens of `text` in an answer.

    Raises:
        ValueError: there are none, or they do not spell the text; says what there is instead.
    """
    choice = _choice(data)
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        raise ValueError("no log-probabilities of the prompt")
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        raise ValueError("log-probabilities without their tokens")
    if not all(isinstance(token, str) for token in tokens):
        raise ValueError("tokens that are no texts")
    offsets = logprobs.get("text_offset")
    if not (
        isinstance(offsets, list)
        and len(offsets) == len(tokens)
        and all(type(at) is int for at in offsets)
        and offsets == sorted(offsets)
    ):
        offsets = [sum(map(len, tokens[:place])) for place in range(len(tokens))]
    first = offsets[0] if offsets else 0
    offsets = [at - first for at in offsets]
    inside = [place for place, at in enumerate(offsets) if at < len(text)]
    if len(inside) < 1 or inside != list(range(len(inside))):
        raise ValueError("no log-probabilities of the prompt")
    told = logprobs.get("top_logprobs")
    tops = told if isinstance(told, list) and len(told) == len(tokens) else [None] * len(tokens)
    read: list[float | None] = []
    for place in inside:
        value = values[place]
        if value is None and place == 0:
            read.append(None)
        elif type(value) in (int, float) and math.isfinite(value) and value <= 1e-6:
            read.append(min(float(value), 0.0))
        else:
            raise ValueError(f"the log-probability {value!r} for token {place} of the prompt")
    return Echo(
        tokens=tuple(tokens[: len(inside)]),
        offsets=tuple(offsets[: len(inside)]),
        values=tuple(read),
        greedy=tuple(_greedy(tops[place], read[place]) for place in inside),
    )


def summed(echo: Echo, context: str) -> dict[str, float]:
    """`nll`, `tokens` and `greedy` of what follows `context`, in the sense of `core.protocols.Request`.

    A token that spans the end of the context belongs to what follows it. Without a context the first token, which has
    no value, is left out.

    Raises:
        ValueError: not one token has a value.
    """
    ends = [*echo.offsets[1:], math.inf]
    places = [
        place
        for place, end in enumerate(ends)
        if end > len(context) and not (echo.values[place] is None and not context)
    ]
    values = [echo.values[place] for place in places]
    if not values or None in values:
        raise ValueError("no token of the text has a value: it is one token long and nothing precedes it")
    scores = {"nll": -math.fsum(v for v in values if v is not None), "tokens": float(len(values))}
    told = [echo.greedy[place] for place in places]
    if None not in told:
        scores["greedy"] = float(all(told))
    return scores


async def check_server(complete: Complete, where: str) -> None:
    """Hold echoed values against those of the same tokens while they were written.

    Raises:
        UsageError: the server cannot be trusted with log-likelihoods; says what is wrong with what it gave.
        CallError: a call failed for another reason than the wish itself.
    """
    for prompt in PROMPTS:
        try:
            written = await complete(
                {"prompt": prompt, "max_tokens": _WRITTEN, "logprobs": 1, "temperature": 0}
            )
            chosen = _written(written)
            text = prompt + "".join(token for token, _ in chosen)
            echo = read_echo(await complete(echo_fields(text)), text)
        except ValueError as error:
            raise _refused(where, f"its answer holds {error}") from None
        except CallError as error:
            if error.kind in ("bad_request", "bad_response"):
                raise _refused(where, str(error)) from None
            raise
        pairs = _pairs(chosen, echo)
        if len(pairs) < _LEAST:
            continue  # the model ended at once, or its text is split otherwise when it is read back
        gaps = [abs(one - other) for one, other in pairs]
        if median(gaps) > _TYPICAL_NATS or max(gaps) > _WORST_NATS:
            raise _refused(
                where,
                f"the values it echoes for a text differ from those the same tokens were written with, by "
                f"{median(gaps):.2f} nats as a rule and {max(gaps):.2f} at worst ({len(gaps)} tokens), as where each "
                "value is read from the position after its token",
            )
        if echo.values[0] is not None:
            raise _refused(where, "it gives a value for the first token, which nothing precedes")
        return
    raise _refused(where, f"fewer than {_LEAST} tokens it wrote could be found again in what it echoes")


def _refused(where: str, why: str) -> UsageError:
    return UsageError(
        f"{where} cannot be trusted with log-likelihoods: {why}; use a server whose /completions endpoint gives right "
        "`echo` and `logprobs` (vLLM does), or provider: transformers"
    )


def _pairs(chosen: list[tuple[str, float]], echo: Echo) -> list[tuple[float, float]]:
    """(value when written, value when echoed) of the tokens at the end that are the same in both."""
    pairs: list[tuple[float, float]] = []
    start = len(echo.tokens) - len(chosen)
    if start <= 0 or [token for token, _ in chosen] != list(echo.tokens[start:]):
        return pairs
    for (_, value), echoed in zip(chosen, echo.values[start:], strict=True):
        if echoed is not None:
            pairs.append((value, echoed))
    return pairs


def _written(data: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The tokens the model wrote, with their values; without those that ended it, which have no text."""
    choice = _choice(data)
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        raise ValueError("no log-probabilities")
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        raise ValueError("log-probabilities without their tokens")
    text = choice.get("text")
    found: list[tuple[str, float]] = []
    for token, value in zip(tokens, values, strict=True):
        if not isinstance(token, str) or type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"the log-probability {value!r} for a token it wrote")
        if isinstance(text, str) and not text.startswith("".join(t for t, _ in found) + token):
            break
        if token:
            found.append((token, float(value)))
    return found


def _choice(data: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        raise ValueError("no choices")
    return choice


def _greedy(top: Any, value: float | None) -> bool | None:
    if value is None or not isinstance(top, Mapping) or not top:
        return None
    best = max((v for v in top.values() if type(v) in (int, float)), default=None)
    return None if best is None else value >= best - 1e-6
