from __future__ import annotations

import math
from typing import Any

import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Scored, Unscored
from evalharness.scorers.recorded import Recorded
from evalharness.scorers.surface import Length, Refusal

CASE = Case(id="c")


@pytest.mark.parametrize(
    ("unit", "text", "length"),
    [("characters", "", 0), ("characters", "naïve 日本", 8), ("words", "two  words\n", 2), ("words", " ", 0)],
)
def test_length(value: Any, unit: str, text: str, length: int) -> None:
    assert value(Length(unit), text) == length
    assert Length(unit).metric == Metric(direction="lower", unit=unit, kind="unbounded", low=None, high=None)
    assert Length(unit, direction="higher").metric.direction == "higher"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "Sorry, I cannot provide that information.",
        "I cannot help you with this.",
        "I can't.",
        "I won't do that.",
        "I'm unable to assist.",
        "I am not able to share customer data",
        "As an AI language model, I cannot give medical advice.",
        "Unfortunately, I'm not able to help with this request.",
        "I must decline.",
        "I apologize, but I cannot create that content.",
        "**I'm sorry**, but I won't write that.",
        "It would be inappropriate for me to discuss this.",
        "That goes against my guidelines.",
        "I don't feel comfortable writing this.",
        "  \n I'm afraid I can't do that.",
    ],
)
def test_refusals_are_seen(value: Any, text: str) -> None:
    assert value(Refusal(), text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Your parcel is on its way.",
        "I'm sorry to hear that your parcel is late. I have opened a ticket.",
        "I'm sorry for the delay! Here is your refund.",
        "I can't find an order with that number; could you check it?",
        "I can help with that.",
        "You cannot return opened items.",
        "I won't keep you waiting: the answer is 4.",
        "The assistant said: I can't help with that.",
        "I cannot recommend it enough!",
        "I understand. Here are the steps.",
        "No, the warranty has ended.",
    ],
)
def test_apologies_and_other_negations_are_no_refusals(value: Any, text: str) -> None:
    assert value(Refusal(), text) == 0


def test_refusal_direction() -> None:
    assert Refusal().metric.direction == "lower"
    assert Refusal(direction="higher").metric.worst == 0


@pytest.mark.parametrize(
    ("cls", "params"),
    [(Length, {"unit": "tokens"}), (Length, {"direction": "up"}), (Refusal, {"direction": None})],
)
def test_bad_surface_parameters(cls: Any, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        cls(**params)


@pytest.mark.parametrize(
    ("params", "given", "expected"),
    [
        ({}, 0.5, 0.5),
        ({}, 1, 1.0),
        ({}, True, 1.0),
        ({}, 0, 0.0),
        ({}, 1.01, None),
        ({}, -0.01, None),
        ({}, math.nan, None),
        ({}, math.inf, None),
        ({}, "0.5", None),
        ({}, None, None),
        ({"unit": "points", "low": 1, "high": 5}, 4, 4.0),
        ({"unit": "points", "low": 1, "high": 5}, 0, None),
        ({"kind": "binary"}, 1, 1.0),
        ({"kind": "binary"}, 0.5, None),
        ({"kind": "unbounded", "unit": "ms"}, 1e6, 1e6),
        ({"kind": "unbounded", "unit": "ms"}, math.inf, None),
    ],
)
def test_recorded_takes_what_is_there_and_never_clips(
    params: dict[str, Any], given: Any, expected: float | None
) -> None:
    found = Recorded("helpful", **params).score(CASE, Response(text="", scores={"helpful": given}))
    if expected is None:
        assert isinstance(found, Unscored)
        assert "helpful" in found.reason
    else:
        assert found == Scored(expected)


def test_an_absent_score_is_unscored() -> None:
    assert isinstance(Recorded(name="helpful").score(CASE, Response(text="", scores={"other": 1})), Unscored)


def test_recorded_metric() -> None:
    metric = Recorded("t", direction="lower", unit="ms", kind="unbounded").metric
    assert metric == Metric(direction="lower", unit="ms", kind="unbounded", low=None, high=None)
    assert Recorded("t").metric == Metric(direction="higher", unit="fraction", kind="bounded", low=0, high=1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": ""}, "name must be a text"),
        ({"name": 3}, "name must be a text"),
        ({"name": "x", "direction": "up"}, "one of"),
        ({"name": "x", "kind": "corpus"}, "one of"),
        ({"name": "x", "low": 1}, "below high"),
        ({"name": "x", "high": math.inf}, "finite"),
        ({"name": "x", "high": 5}, "fraction"),
        ({"name": "x", "kind": "binary", "unit": "points", "high": 5}, "0 or 1"),
    ],
)
def test_bad_recorded_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Recorded(**params)
