"""How likely a model finds a text: the local provider against the model itself, and what is made of a server's echo."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Message
from evalharness.errors import CallError, UsageError
from evalharness.providers._log_likelihood import check_server, echo_fields, read_echo, summed
from tests.providers.support import ask_all, request
from tests.providers.test_transformers_local import local
from tests.providers.test_transformers_local import tiny as tiny

TEXT = "the router is slow and the bill is wrong"


def likely(text: str, context: str = "") -> Any:
    messages = (Message("user", context),) if context else ()
    return replace(request("x"), messages=messages, want="log_likelihood", continuation=text)


def of_the_model(folder: Path, context: str, text: str, window: int = 10**9) -> tuple[float, int]:
    """Nats and tokens by stepping through the tokens one by one, each after what the window lets it see."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    before = tokenizer(context)["input_ids"] or [tokenizer.eos_token_id]
    asked = tokenizer(context + text)["input_ids"][len(tokenizer(context)["input_ids"]) :]
    nats = 0.0
    for place, token in enumerate(asked):
        end = min((place // window + 1) * window, len(asked))
        first = max(0, len(before) + end - 1 - window)
        seen = (before + asked)[first : len(before) + place]
        with torch.inference_mode():
            row = model(torch.tensor([seen])).logits[0, -1].log_softmax(-1)
        nats -= float(row[token])
    return nats, len(asked)


@pytest.mark.parametrize(("context", "window"), [("", None), ("where is my parcel", None), ("", 7)])
def test_a_local_model_says_what_its_own_steps_say(tiny: Path, context: str, window: int | None) -> None:
    (answer,) = ask_all(local(tiny, window=window), [likely(TEXT, context)])
    assert isinstance(answer, Response)
    nats, tokens = of_the_model(tiny, context, TEXT, window or 10**9)
    assert answer.text == "" and answer.scores["tokens"] == tokens
    assert answer.scores["nll"] == pytest.approx(nats, rel=1e-5)


def test_the_values_are_those_of_lm_eval(tiny: Path) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    (answer,) = ask_all(local(tiny), [likely(" slow", "the router is")])
    model = HFLM(pretrained=str(tiny), device="cpu", batch_size=1)
    instance = Instance("loglikelihood", {}, ("the router is", " slow"), 0)
    ((value, greedy),) = model.loglikelihood([instance], disable_tqdm=True)
    assert isinstance(answer, Response)
    assert (-answer.scores["nll"], answer.scores["greedy"]) == (pytest.approx(value, rel=1e-5), float(greedy))


def test_requests_for_answers_and_likelihoods_share_one_model(tiny: Path) -> None:
    answers = ask_all(local(tiny), [request("a"), likely(TEXT), request("b"), likely(TEXT)])
    assert [isinstance(a, Response) and "nll" in a.scores for a in answers] == [False, True, False, True]
    assert answers[1].scores == answers[3].scores  # type: ignore[union-attr]


def test_an_empty_text_has_no_likelihood(tiny: Path) -> None:
    (answer,) = ask_all(local(tiny), [likely("")])
    assert isinstance(answer, CallError) and "no token" in str(answer)


# --- a server's echo ---------------------------------------------------------------------------------------------


def echoed(tokens: list[str], values: list[float | None], **more: Any) -> dict[str, Any]:
    return {
        "choices": [
            {"text": "".join(tokens), "logprobs": {"tokens": tokens, "token_logprobs": values, **more}}
        ]
    }


def test_what_follows_the_context_is_summed_and_the_new_token_left_out() -> None:
    data = echoed(["ab", "c ", "de", "f", "!"], [None, -1.0, -2.0, -4.0, -8.0])
    assert summed(read_echo(data, "abc def"), "abc ") == {"nll": 6.0, "tokens": 2.0}
    assert summed(read_echo(data, "abc def"), "") == {"nll": 7.0, "tokens": 3.0}


def test_a_token_that_spans_the_end_of_the_context_belongs_to_what_follows() -> None:
    data = echoed(["ab", " cd", "e"], [None, -1.0, -2.0], text_offset=[0, 2, 5])
    assert summed(read_echo(data, "ab cde"), "ab ") == {"nll": 3.0, "tokens": 2.0}


def test_greedy_is_told_where_the_server_tells_the_best_token() -> None:
    tops = [None, {"b": -1.0}, {"x": -0.5, "c": -2.0}]
    echo = read_echo(echoed(["a", "b", "c"], [None, -1.0, -2.0], top_logprobs=tops), "abc")
    assert summed(echo, "a")["greedy"] == 0.0 and summed(echo, "")["greedy"] == 0.0
    assert (
        summed(read_echo(echoed(["a", "b"], [None, -1.0], top_logprobs=tops[:2]), "ab"), "a")["greedy"] == 1.0
    )


@pytest.mark.parametrize(
    "data",
    [
        {"choices": []},
        {"choices": [{"text": "x", "logprobs": None}]},
        echoed(["a", "b"], [None, None]),
        echoed(["a", "b"], [None, math.nan]),
        echoed(["a", "b"], [None, 3.0]),
        echoed(["a"], [None, -1.0]),
    ],
)
def test_an_echo_without_right_values_is_refused(data: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError):
        summed(read_echo(data, "ab"), "a")


class Chain:
    """A model over letters whose next letter depends on the last: its values are known exactly."""

    letters = "abcdefghijklmnopqrstuvwxyz .,0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

    def __init__(self, how: str = "right") -> None:
        self.how = how

    def row(self, last: str) -> dict[str, float]:
        weights = {c: 1.0 + (self.letters.index(last) * 7 + i * 13) % 31 for i, c in enumerate(self.letters)}
        total = sum(weights.values())
        return {c: math.log(w / total) for c, w in weights.items()}

    async def __call__(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        prompt = fields["prompt"]
        text, values = prompt, []
        for _ in range(fields["max_tokens"]):
            row = self.row(text[-1])
            best = max(row, key=lambda c: row[c])
            values.append(row[best])
            text += best
        new = list(text[len(prompt) :])
        if not fields.get("echo"):
            return echoed(new, list(values))
        if self.how == "silent":
            return {"choices": [{"text": text, "logprobs": None}]}
        before: list[float | None] = [
            None,
            *(self.row(a)[b] for a, b in itertools.pairwise(prompt)),
        ]
        if self.how == "off by one":
            before = [self.row(b)[b] for b in prompt]
        if self.how == "first":
            before[0] = -1.0
        return echoed([*prompt, *new], [*before, *values])


def test_a_right_server_is_trusted() -> None:
    asyncio.run(check_server(Chain(), "the server"))
    text = "the fox"
    echo = read_echo(asyncio.run(Chain()(echo_fields(text))), text)
    assert len(echo.tokens) == len(text)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("off by one", "the position after its token"),
        ("silent", "no log-probabilities"),
        ("first", "first token"),
    ],
)
def test_a_server_that_echoes_wrong_values_is_refused(how: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asyncio.run(check_server(Chain(how), "the server"))
