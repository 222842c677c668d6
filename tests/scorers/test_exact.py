from __future__ import annotations

import time
from typing import Any

import pytest

from evalharness.core.scores import Scored, Unscored
from evalharness.scorers.exact import Contains, ExactMatch, Regex


@pytest.mark.parametrize(
    ("params", "output", "targets", "expected"),
    [
        ({}, "Refund.", ["refund"], 1),
        ({}, "refund please", ["refund"], 0),
        ({}, "b", ["a", "b"], 1),
        ({}, "", ["refund"], 0),
        ({}, "", ["()"], 0),
        ({"normalise": "none"}, "Refund", ["refund"], 0),
        ({"normalise": "none"}, "refund ", ["refund"], 0),
        ({"normalise": "trim"}, " refund\n", ["refund"], 1),
        ({"normalise": "squad"}, "The Eiffel Tower!", ["eiffel tower"], 1),
        ({"normalise": "squad"}, "", ["A"], 0),
        ({}, "3.0", [3], 1),
        ({}, "3", [3.0], 1),
        ({}, "3", [4], 0),
        ({}, "three", [3], 0),
        ({}, "1", [True], 0),
        ({}, "True.", [True], 1),
        ({}, "false", [True], 0),
        ({}, "true", [1], 0),
        ({}, '{"b": [1, 2.0], "a": null}', [{"a": None, "b": [1.0, 2]}], 1),
        ({}, '{"a": true}', [{"a": 1}], 0),
        ({}, "[1, 2]", [[1, 2]], 1),
        ({}, '{"a": 1', [{"a": 1}], 0),
        ({}, "NaN", [{"a": 1}], 0),
    ],
)
def test_exact_match(
    value: Any, params: dict[str, Any], output: str, targets: list[Any], expected: int
) -> None:
    assert value(ExactMatch(**params), output, *targets) == expected


@pytest.mark.parametrize(
    ("params", "output", "targets", "expected"),
    [
        ({}, "The city is PARIS, of course", ["paris"], 1),
        ({}, "The city is Rome", ["paris"], 0),
        ({}, "a then b", ["a", "z"], 1),
        ({"all": True}, "alpha then beta", ["alpha", "beta"], 1),
        ({"all": True}, "alpha only", ["alpha", "beta"], 0),
        ({}, "I know", ["no"], 1),
        ({"whole_words": True}, "I know", ["no"], 0),
        ({"whole_words": True}, "I know: no.", ["no"], 1),
        ({"whole_words": True}, "C++ is it", ["C++"], 1),
        ({"values": ["sorry"]}, "So sorry!", [], 1),
        ({}, "", ["paris"], 0),
        ({}, "total 42 EUR", [42], 1),
    ],
)
def test_contains(value: Any, params: dict[str, Any], output: str, targets: list[Any], expected: int) -> None:
    assert value(Contains(**params), output, *targets) == expected


def test_contains_names_what_is_missing_and_needs_no_target_where_values_are_given(score: Any) -> None:
    assert score(Contains(all=True), "alpha", "alpha", "beta").detail == {"missing": ["beta"]}
    assert Contains(values=["x"]).needs == ()
    assert Contains().needs == ("targets",)


@pytest.mark.parametrize(
    ("params", "output", "expected"),
    [
        ({"pattern": r"\bORD-\d{6}\b"}, "Your order is ORD-123456.", 1),
        ({"pattern": r"\bORD-\d{6}\b"}, "ORD-1234567", 0),
        ({"pattern": "yes"}, "YES", 0),
        ({"pattern": "yes", "flags": "i"}, "YES", 1),
        ({"pattern": "yes|no", "full": True}, " no\n", 1),
        ({"pattern": "yes|no", "full": True}, "no way", 0),
        ({"pattern": "^b$"}, "a\nb\nc", 0),
        ({"pattern": "^b$", "flags": "m"}, "a\nb\nc", 1),
        ({"pattern": "a.b"}, "a\nb", 0),
        ({"pattern": "a.b", "flags": "s"}, "a\nb", 1),
        ({"pattern": "^a|b$", "flags": "m"}, "x\na", 1),
        ({"pattern": "sorry", "absent": True}, "All done", 1),
        ({"pattern": "é+"}, "caféé", 1),
        ({"pattern": "x"}, "\ud800", 0),
    ],
)
def test_regex(value: Any, params: dict[str, Any], output: str, expected: int) -> None:
    assert value(Regex(**params), output) == expected


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r"(.*a){12}$", r"(a*)*(a*)*(a*)*b"])
def test_an_evil_pattern_takes_linear_time(value: Any, pattern: str) -> None:
    started = time.process_time()
    assert value(Regex(pattern=pattern), "a" * 200_000 + "!") == 0
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("cls", "params", "message"),
    [
        (ExactMatch, {"normalise": "lower"}, "normalise must be one of"),
        (Contains, {"values": []}, "empty"),
        (Contains, {"values": "sorry"}, "list"),
        (Contains, {"values": [1]}, "quotes"),
        (Contains, {"all": "yes"}, "true or false"),
        (Regex, {"pattern": ""}, "empty"),
        (Regex, {"pattern": 3}, "quotes"),
        (Regex, {"pattern": "("}, "RE2"),
        (Regex, {"pattern": r"(?=x)"}, "lookaround"),
        (Regex, {"pattern": r"(a)\1"}, "backreferences"),
        (Regex, {"pattern": "a{1000}{1000}"}, "RE2"),
        (Regex, {"pattern": "x" * 10_001}, "at most"),
        (Regex, {"pattern": "x", "flags": "x"}, "i, m and s"),
    ],
)
def test_bad_parameters_say_what_to_write(cls: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        cls(**params)


def test_a_case_without_target_is_unscored(score: Any) -> None:
    for scorer in (ExactMatch(), Contains()):
        assert isinstance(score(scorer, "x"), Unscored)
    assert isinstance(score(Regex("x"), "x"), Scored)
