"""What an answer costs: read from the response, never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from evalharness.core.attempts import Failure, Response, Usage
from evalharness.core.cases import Case
from evalharness.core.protocols import FailureScorer, Scorer
from evalharness.core.scores import Scored, Unscored
from evalharness.plugins.registry import default_registry
from evalharness.scorers.ops import (
    Cost,
    Empty,
    ErrorRate,
    FormatCompliance,
    InputTokens,
    Latency,
    LatencyP50,
    LatencyP95,
    LatencyP99,
    OutputTokens,
    TokensPerSecond,
    TotalTokens,
    Truncated,
)

CASE = Case(id="c")
FULL = Response(
    text='{"a": 1}',
    finish_reason="stop",
    usage=Usage(input_tokens=40, output_tokens=10),
    latency_ms=250.0,
    cost_usd=0.002,
)
BARE = Response(text="")
NAMES = {
    "cost": Cost,
    "empty": Empty,
    "error_rate": ErrorRate,
    "input_tokens": InputTokens,
    "latency": Latency,
    "latency_p50": LatencyP50,
    "latency_p95": LatencyP95,
    "latency_p99": LatencyP99,
    "output_tokens": OutputTokens,
    "tokens_per_second": TokensPerSecond,
    "total_tokens": TotalTokens,
    "truncated": Truncated,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_knows_them_and_the_protocol_is_kept(name: str) -> None:
    cls = default_registry(third_party=False).load("scorers", name)
    scorer = cls()
    assert cls is NAMES[name] and scorer.name == name
    assert isinstance(scorer, Scorer)
    assert scorer.metric.unit and scorer.metric.direction in ("higher", "lower")


@pytest.mark.parametrize(
    "scorer, value",
    [
        (Latency(), 250.0),
        (LatencyP95(), 250.0),
        (InputTokens(), 40.0),
        (OutputTokens(), 10.0),
        (TotalTokens(), 50.0),
        (Cost(), 0.002),
        (TokensPerSecond(), 40.0),
        (Truncated(), 0.0),
        (Empty(), 0.0),
        (ErrorRate(), 0.0),
    ],
)
def test_what_the_response_says_is_the_value(scorer: Any, value: float) -> None:
    found = scorer.score(CASE, FULL)
    assert isinstance(found, Scored) and found.value == value


@pytest.mark.parametrize(
    "scorer, reason",
    [
        (Latency(), "no latency is known"),
        (LatencyP99(), "no latency is known"),
        (InputTokens(), "how many input tokens"),
        (OutputTokens(), "how many output tokens"),
        (TotalTokens(), "input or output tokens"),
        (Cost(), "did not say how many tokens"),
        (TokensPerSecond(), "how many output tokens"),
        (Truncated(), "no finish_reason"),
        (FormatCompliance(complete=True), "no finish_reason"),
    ],
)
def test_what_is_not_known_is_unscored_and_never_0(scorer: Any, reason: str) -> None:
    found = scorer.score(CASE, BARE)
    assert isinstance(found, Unscored) and reason in found.reason


def test_a_cost_without_a_price_says_what_to_add() -> None:
    found = Cost().score(CASE, Response(text="x", usage=Usage(input_tokens=1, output_tokens=1)))
    assert isinstance(found, Unscored) and "price: {input_per_million" in found.reason


def test_half_of_the_usage_is_half_known() -> None:
    half = Response(text="x", usage=Usage(input_tokens=5), latency_ms=10.0)
    assert InputTokens().score(CASE, half) == Scored(5.0)
    assert isinstance(TotalTokens().score(CASE, half), Unscored)
    assert isinstance(TokensPerSecond().score(CASE, half), Unscored)


def test_a_call_without_duration_has_no_rate() -> None:
    found = TokensPerSecond().score(CASE, Response(text="x", usage=Usage(output_tokens=5), latency_ms=0.0))
    assert isinstance(found, Unscored)


@pytest.mark.parametrize(
    "scorer, q", [(LatencyP50(), 0.5), (LatencyP95(), 0.95), (LatencyP99(), 0.99), (Latency(q=0.9), 0.9)]
)
def test_a_percentile_is_a_quantile_of_times_without_a_worst_value(scorer: Latency, q: float) -> None:
    metric = scorer.metric
    assert (metric.kind, metric.quantile, metric.timed, metric.worst) == ("quantile", q, True, None)
    assert Latency().metric.kind == "unbounded"


@pytest.mark.parametrize(
    "q, error", [("0.95", TypeError), (True, TypeError), (95, ValueError), (0, ValueError)]
)
def test_a_wrong_q_is_refused(q: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="q must"):
        Latency(q=q)


def test_a_failure_has_an_error_rate_of_one() -> None:
    scorer = ErrorRate()
    assert isinstance(scorer, FailureScorer)
    found = scorer.score_failure(CASE, Failure(kind="timeout", message="60 s"))
    assert found == Scored(1.0, detail={"kind": "timeout"})


def test_only_the_kinds_that_are_named_count() -> None:
    scorer = ErrorRate(kinds=("timeout", "rate_limited"))
    for kind in scorer.kinds or ():
        found = scorer.score_failure(CASE, Failure(kind=kind, message=""))  # type: ignore[arg-type]
        assert isinstance(found, Scored) and found.value == 1
    other = scorer.score_failure(CASE, Failure(kind="filtered", message=""))
    assert other == Unscored("failed in another way: filtered")


def test_an_unknown_kind_of_failure_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no failure 'time_out'; kinds are timeout"):
        ErrorRate(kinds=("time_out",))


SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    "given, text, failed",
    [
        ({"json": True}, '{"a": 1}', []),
        ({"json": True}, 'Here it is: {"a": 1}', ["json"]),
        ({"schema": SCHEMA}, '{"a": 1}', []),
        ({"schema": SCHEMA}, '{"a": "one"}', ["json"]),
        ({"pattern": r"ORD-\d{6}"}, " ORD-123456\n", []),
        ({"pattern": r"ORD-\d{6}"}, "It is ORD-123456", ["pattern"]),
        ({"max_characters": 5}, "123456", ["max_characters"]),
        (
            {"json": True, "max_characters": 3, "pattern": "[a-z]+"},
            "NOT JSON",
            ["json", "pattern", "max_characters"],
        ),
    ],
)
def test_a_format_holds_when_every_part_of_it_does(
    given: dict[str, Any], text: str, failed: list[str]
) -> None:
    found = FormatCompliance(**given).score(CASE, Response(text=text))
    assert isinstance(found, Scored)
    assert found.value == (0.0 if failed else 1.0)
    assert list(found.detail.get("failed", {})) == failed


def test_where_a_schema_fails_is_told() -> None:
    found = FormatCompliance(schema=SCHEMA).score(CASE, Response(text='{"a": "one"}'))
    assert isinstance(found, Scored) and found.detail["failed"]["json"].startswith("a: ")


@pytest.mark.parametrize(
    "reason, cut, whole", [("stop", 0, 1), ("end_turn", 0, 1), ("length", 1, 0), ("max_tokens", 1, 0)]
)
def test_a_cut_answer_is_truncated_and_not_complete(reason: str, cut: int, whole: int) -> None:
    response = Response(text="x", finish_reason=reason)
    found = Truncated().score(CASE, response), FormatCompliance(complete=True).score(CASE, response)
    assert [score.value for score in found if isinstance(score, Scored)] == [cut, whole]


@pytest.mark.parametrize("text, value", [("", 1.0), (" \n\t", 1.0), (".", 0.0)])
def test_white_space_is_an_empty_answer(text: str, value: float) -> None:
    assert Empty().score(CASE, Response(text=text)) == Scored(value)


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "no format is declared"),
        ({"max_characters": 0}, "whole number from 1"),
        ({"max_characters": "5"}, "whole number from 1"),
        ({"pattern": ""}, "not empty"),
        ({"pattern": "("}, "pattern"),
        ({"json": "yes"}, "true or false"),
    ],
)
def test_a_wrong_format_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        FormatCompliance(**given)
