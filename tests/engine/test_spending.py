"""What a budget sets aside for a call, from what calls took so far."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalharness.core.attempts import Response, Usage
from evalharness.core.cases import Message
from evalharness.core.protocols import Request
from evalharness.core.suites import Budget
from evalharness.engine.spending import Purse
from evalharness.errors import BudgetError
from tests.engine.support import requests


def prompt(text: str) -> Request:
    (request,) = requests(1)
    return replace(request, messages=(Message(role="user", content=text),), decoding={"max_tokens": 10})


def taken(purse: Purse, text: str, tokens: int) -> None:
    hold = purse.admit(prompt(text), None)
    assert hold is not None
    purse.settle(hold, Response(text="ok", usage=Usage(input_tokens=tokens, output_tokens=1)), None)


def held(purse: Purse, text: str) -> int:
    hold = purse.admit(prompt(text), None)
    assert hold is not None
    return hold.tokens - 10


def test_a_short_prompt_tells_the_frame_of_a_chat_and_not_how_dense_texts_are() -> None:
    purse = Purse(Budget(tokens=20_000))
    taken(purse, "Hi", 14)
    assert 1000 + 13 <= held(purse, "word " * 600) <= 1000 + 14
    assert held(purse, "Ho") == 14


def test_a_dense_text_is_held_as_dense_as_the_densest_so_far() -> None:
    purse = Purse(Budget(tokens=20_000))
    taken(purse, "漢" * 100, 180)
    assert held(purse, "漢" * 1000) == 1800
    purse = Purse(Budget(tokens=1_000))
    taken(purse, "漢" * 100, 180)
    with pytest.raises(BudgetError, match=r"it may take 1,810"):
        purse.admit(prompt("漢" * 1000), None)
