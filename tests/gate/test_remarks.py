"""What a verdict says of looks, drift and flakiness; none of it moves the outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalharness.core.comparisons import Comparison, Drift, Flakiness, Looks, MetricComparison, Stopped
from evalharness.core.suites import MetricRule
from evalharness.core.verdicts import Verdict
from evalharness.gate.decide import decide
from tests.gate.support import POLICY, comparison, metric, side

EARLY = "the observed differences are those of an early stop and {}; the verdict is not affected"
LEANS = {"regression": "exaggerate the true ones", "pass": "flatter the candidate"}


def looks(
    number: int, stopped: Stopped, used: int, *, saved: tuple[int, int] = (0, 0), routine: int = 5
) -> Looks:
    return Looks(
        number=number,
        planned=5,
        routine=routine,
        used={"questions": used},
        most={"questions": 1000},
        saved_baseline=saved[0],
        saved_candidate=saved[1],
        stopped=stopped,
    )


@pytest.mark.parametrize(
    ("standing", "sentence", "early"),
    [
        (
            looks(2, "regression", 400, saved=(600, 600)),
            "stopped at look 2 of 5 with a regression: 400 of 1,000 cases (questions); "
            "600 answers a side were not needed",
            True,
        ),
        (
            looks(3, "pass", 600, saved=(400, 1200)),
            "stopped at look 3 of 5 with every deciding check passed: 600 of 1,000 cases (questions); "
            "400 baseline and 1,200 candidate answers were not needed",
            True,
        ),
        (
            looks(5, "pass", 1000),
            "stopped at look 5 of 5 with every deciding check passed: 1,000 of 1,000 cases (questions)",
            False,
        ),
        (
            looks(4, "end", 800, routine=4),
            "look 4 of 5 did not settle every check: 800 of 1,000 cases (questions); "
            "`--extend` would ask the reserve",
            False,
        ),
        (
            looks(4, "end", 1000, routine=4),
            "look 4 of 5 did not settle every check: 1,000 of 1,000 cases (questions); "
            "`--extend` would ask every case again",
            False,
        ),
        (
            looks(5, "end", 1000),
            "look 5 of 5 did not settle every check: 1,000 of 1,000 cases (questions)",
            False,
        ),
    ],
)
def test_the_last_reason_says_where_the_looks_stopped(standing: Looks, sentence: str, early: bool) -> None:
    verdict = decide(comparison(metric(20, 20, 2000), looks=standing), POLICY)
    assert verdict.reasons[-1] == sentence
    said = [EARLY.format(lean) for lean in LEANS.values() if EARLY.format(lean) in verdict.warnings]
    assert said == ([EARLY.format(LEANS[standing.stopped])] if early else [])
    assert decide(comparison(metric(20, 20, 2000)), POLICY).reasons == verdict.reasons[:-1]


def with_drift(one: MetricComparison, *, exceeds: bool) -> Comparison:
    drift = Drift(metric=one, baseline=None, candidate=metric(60, 29, 1000).estimate, exceeds=exceeds)
    anchor = replace(side("anchor"), name="release-1")
    return replace(comparison(one), anchor=anchor, drift=(drift,))


def test_small_steps_that_add_up_are_a_warning_and_no_more() -> None:
    one = metric(20, 20, 2000)
    verdict = decide(with_drift(one, exceeds=True), POLICY)
    assert verdict.exit_code == 0
    assert (
        "e/exact_match has lost 3.1pp since the anchor release-1 (margin 2pp): small steps have added up"
        in verdict.warnings
    )
    assert decide(with_drift(one, exceeds=False), POLICY).warnings == ()
    rising = decide(with_drift(replace(one, direction="lower"), exceeds=True), POLICY)
    assert any("has risen by 3.1pp since" in w for w in rising.warnings)


def flaky(one: MetricComparison, false_drops: float) -> Verdict:
    found = Flakiness(
        metric=one.id,
        cases=200,
        answers=2,
        between_cases=0.1,
        within_cases=0.05,
        flips=0.1,
        false_drops=false_drops,
        flaky=(),
    )
    return decide(replace(comparison(one), flakiness=(found,)), POLICY)


def test_a_primary_metric_that_cries_wolf_is_named_with_what_helps() -> None:
    verdict = flaky(metric(20, 20, 2000), 0.12)
    assert verdict.exit_code == 0
    (warning,) = verdict.warnings
    assert warning.startswith("e/exact_match: in 12% of comparisons of this size of a candidate with itself")
    assert "repeats" in warning
    assert flaky(metric(20, 20, 2000), 0.05).warnings == ()
    assert flaky(metric(20, 20, 2000, gated=False), 0.5).warnings == ()


def test_a_metric_that_holds_labels_says_so() -> None:
    policy = replace(POLICY, metrics={"e/judge": MetricRule(labels="e/human")})
    members = metric(20, 20, 2000, name="e/judge"), metric(5, 5, 100, name="e/human", gated=False)
    verdict = decide(comparison(*members), policy)
    assert "it holds the human labels of e/judge" in verdict.checks[1].reason
