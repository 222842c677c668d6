"""Tasks asked of a candidate through the engine: lm-eval's requests become calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from evalharness.benchmarks._lm_eval_chat import messages_of
from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.core.cases import Case, Message
from evalharness.core.protocols import Request

_MOST_STOPS: Final = 4
"""What OpenAI's API takes. All of them are cut here as well: not every server ends at them."""
_OWN: Final = frozenset(("do_sample", "until", "max_gen_toks"))
"""Settings that lm-eval calls by names of its own."""
_NO_BLANK_STOPS: Final = frozenset(("anthropic",))
"""Providers whose API refuses stops of white space."""


def calls(
    request: Request, rows: Sequence[Any], *, provider: str, system: str | None, chat: bool
) -> list[Request]:
    """The calls that answer one case, in the order of lm-eval's requests and of the repeats a task wants of each.

    Args:
        request: of the plan: its case, repeat and seed hold.
        provider: the candidate's.
        rows: lm-eval's requests of the case.
        system: the candidate's system prompt, where the prompts do not hold it.
        chat: whether prompts are chats (`to_json`).
    """
    made: list[Request] = []
    for row in rows:
        for clone in range(row.repeats or 1):
            number = len(made)
            own = request.case if number == 0 else Case(id=f"{request.case.id}#{number}")
            call = replace(request, case=own, seed=None if request.seed is None else request.seed + clone)
            made.append(_call(call, row, system, chat, blank_stops=provider not in _NO_BLANK_STOPS))
    return made


def _call(call: Request, row: Any, system: str | None, chat: bool, *, blank_stops: bool) -> Request:
    front = (Message("system", system),) if system else ()
    if row.request_type == "generate_until":
        prompt, kwargs = row.args[0], row.args[1]
        turns = messages_of(prompt) if chat else (*front, Message("user", prompt))
        return replace(call, messages=turns, decoding=decoding(kwargs, blank_stops=blank_stops))
    if row.request_type == "loglikelihood_rolling":
        context, continuation = "", row.args[0]
    else:
        context, continuation = row.args
        # as lm-eval does: a space at the end belongs to the word that follows
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
    return replace(
        call,
        messages=(Message("user", context),) if context else (),
        decoding={},
        seed=None,
        want="log_likelihood",
        continuation=continuation,
    )


def decoding(kwargs: Mapping[str, Any], *, blank_stops: bool) -> dict[str, Any]:
    """Generation settings (`_lm_eval_decoding.merged`) as a request's."""
    made = {key: value for key, value in kwargs.items() if key not in _OWN and value is not None}
    stops = [stop for stop in kwargs["until"] if blank_stops or stop.strip()]
    if stops:
        made["stop"] = stops[:_MOST_STOPS]
    made["max_tokens"] = kwargs["max_gen_toks"]
    return made


def cut(text: str, kwargs: Mapping[str, Any]) -> str:
    """`text` up to the first text that ends it."""
    places = [place for stop in kwargs["until"] if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def filled(rows: Sequence[Any], attempts: Sequence[Attempt]) -> Failure | None:
    """Put answers into lm-eval's requests of one case; the failure that keeps the case from being scored, if any."""
    failed = next((a.outcome for a in attempts if isinstance(a.outcome, Failure)), None)
    if failed is not None:
        return failed
    given = iter(attempts)
    for row in rows:
        for _ in range(row.repeats or 1):
            outcome = next(given).outcome
            assert isinstance(outcome, Response)
            if row.request_type == "generate_until":
                row.resps.append(cut(outcome.text, row.args[1]))
                continue
            nll, greedy = outcome.scores.get("nll"), outcome.scores.get("greedy")
            if nll is None:
                return Failure(kind="bad_response", message="the endpoint gave no log-likelihood")
            if row.request_type == "loglikelihood_rolling":
                row.resps.append(-nll)
            elif greedy is None:
                return Failure(
                    kind="bad_response",
                    message="the endpoint does not say whether each token was the likeliest",
                )
            else:
                row.resps.append((-nll, bool(greedy)))
    return None


def together(attempts: Sequence[Attempt]) -> Response:
    """What the calls of one case took, as one response without a text."""
    responses = [a.outcome for a in attempts if isinstance(a.outcome, Response)]
    usages = [r.usage for r in responses]
    usage = None
    if all(usages):
        usage = Usage(
            _sum([u.input_tokens for u in usages if u]), _sum([u.output_tokens for u in usages if u])
        )
    return Response(
        text="",
        model=responses[0].model,
        finish_reason=responses[0].finish_reason if len(responses) == 1 else None,
        usage=usage,
        latency_ms=responses[0].latency_ms if len(responses) == 1 else None,
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
