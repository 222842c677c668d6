"""Both sides against the anchor: the same pairing as the comparison itself, and anchors that do not fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest

from evalharness.analysis.compare import compare_runs
from evalharness.analysis.drift import check_anchor, drift
from evalharness.core.comparisons import Drift
from evalharness.core.runs import Run
from evalharness.core.suites import Margin, MetricRule, Suite, Waiver
from evalharness.errors import InvalidComparisonError
from tests.analysis.test_flakiness import cases_of, run_of, scorers_of, suite_of

N = 200
STAGES = (("anchor", 4), ("b", 8), ("c", 20))
"""Three runs and how many of their cases are wrong."""


def passing(suite: Suite, wrong: range, name: str) -> Run:
    return run_of(suite, {f"c{i}": ["no" if i in wrong else "yes"] for i in range(N)}, name=name)


def drifted(
    suite: Suite, anchor: Run, baseline: Run, candidate: Run, today: date | None = None
) -> list[Drift]:
    scorers = scorers_of(suite)
    metrics = compare_runs(suite, baseline, candidate, scorers, seed=1, today=today).metrics
    side, found = drift(suite, anchor, baseline, candidate, scorers, metrics, seed=1, today=today)
    assert (side.role, side.name) == ("anchor", "anchor")
    return list(found)


def test_drift_is_the_paired_estimate_of_each_side_against_the_anchor() -> None:
    suite = suite_of(cases_of(N), "exact_match", "rouge_l")
    runs = {name: passing(suite, range(end), name) for name, end in STAGES}
    found = drifted(suite, runs["anchor"], runs["b"], runs["c"])
    for side, attribute in (("b", "baseline"), ("c", "candidate")):
        direct = compare_runs(suite, runs["anchor"], runs[side], scorers_of(suite), seed=1)
        assert [getattr(d, attribute) for d in found] == [m.estimate for m in direct.metrics]
    assert [d.exceeds for d in found] == [True, True]


def test_slices_cost_nothing_and_advisory_metrics_do_not_drift() -> None:
    cases = [replace(case, tags={"channel": "chat"}) for case in cases_of(N)]
    suite = suite_of(cases, "exact_match", "rouge_l")
    suite = replace(suite, gate=replace(suite.gate, metrics={"e/rouge_l": MetricRule(advisory=True)}))
    anchor, before, after = (passing(suite, range(end), name) for name, end in STAGES)
    assert [d.metric.id for d in drifted(suite, anchor, before, after)] == ["e/exact_match"]


def test_a_waiver_that_holds_widens_the_margin_of_drift_too() -> None:
    suite = suite_of(cases_of(N), "exact_match")
    waiver = Waiver(
        metric="e/exact_match", margin=Margin(Fraction(1, 5), False), reason="r", expires=date(2026, 5, 1)
    )
    suite = replace(suite, gate=replace(suite.gate, waivers=(waiver,)))
    anchor, before, after = (passing(suite, range(end), name) for name, end in STAGES)
    assert [d.exceeds for d in drifted(suite, anchor, before, after, today=date(2026, 5, 1))] == [False]
    assert [d.exceeds for d in drifted(suite, anchor, before, after, today=date(2026, 5, 2))] == [True]
    assert [d.exceeds for d in drifted(suite, anchor, before, after)] == [True]


def test_an_anchor_that_failed_too_often_gives_an_estimate_that_is_not_trusted() -> None:
    suite = suite_of(cases_of(N), "exact_match")
    suite = replace(suite, gate=replace(suite.gate, max_failures=0.01))
    anchor = run_of(suite, {f"c{i}": [None if i < 10 else "yes"] for i in range(N)}, name="anchor")
    (found,) = drifted(suite, anchor, passing(suite, range(0), "b"), passing(suite, range(10, 60), "c"))
    assert found.exceeds is False
    assert found.problem is not None and "10 of 200 anchor answers" in found.problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"golden_sets": {}}, "the anchor run 'anchor' has no answers for golden set 'g'"),
        ({"golden_sets": {"g": "another"}}, "answered another version of golden set 'g'"),
        ({"suite_digest": "another"}, "was scored under other scorers"),
    ],
)
def test_an_anchor_that_does_not_fit_is_refused_with_the_way_out(
    change: dict[str, object], message: str
) -> None:
    suite = suite_of(cases_of(N), "exact_match")
    anchor = replace(passing(suite, range(4), "anchor"), **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidComparisonError, match=message) as caught:
        check_anchor(suite, anchor)
    assert "without --anchor" in str(caught.value) and caught.value.exit_code == 4
