"""Slices that gate: one family with the primary metrics."""

from __future__ import annotations

import pytest

from evalharness.core.cases import Slice
from evalharness.gate.decide import decide, settled
from tests.gate.support import POLICY, comparison, metric

GERMAN, FRENCH = Slice("language", "de"), Slice("language", "fr")


def test_a_gating_slice_that_regresses_blocks_though_the_whole_does_not() -> None:
    whole, german = metric(35, 35, 2000), metric(40, 5, 400, of=GERMAN)
    verdict = decide(comparison(whole, german), POLICY)
    assert verdict.checks[0].status == "pass"
    assert (verdict.outcome, verdict.exit_code) == ("regression", 1)
    assert verdict.reasons[0].startswith("e/exact_match [language=de] regressed: −8.75pp")
    assert verdict.slice_checks[0].status == "regression"


def test_an_undeclared_slice_never_decides() -> None:
    verdict = decide(comparison(metric(35, 35, 2000), metric(40, 5, 400, of=GERMAN, gated=False)), POLICY)
    assert verdict.exit_code == 0
    assert verdict.slice_checks[0].status == "advisory"
    assert "slices are reported and do not gate" in verdict.slice_checks[0].reason


def test_metrics_and_gating_slices_are_corrected_together_each_by_its_own_p_value() -> None:
    """A slice has its metric's id: keyed by id, one would take the other's p-value."""
    whole, german, french = (
        metric(20, 20, 2000),
        metric(30, 14, 400, of=GERMAN),
        metric(18, 8, 300, of=FRENCH),
    )
    verdict = decide(comparison(whole, german, french), POLICY)
    p_german, p_french = (m.estimate.p_drop for m in (german, french))  # type: ignore[union-attr]
    assert p_german < p_french
    assert verdict.slice_checks[0].p_adjusted == pytest.approx(3 * p_german)
    assert verdict.slice_checks[1].p_adjusted == pytest.approx(max(3 * p_german, 2 * p_french))
    assert verdict.checks[0].p_adjusted == pytest.approx(max(2 * p_french, whole.estimate.p_drop))  # type: ignore[union-attr]


def test_a_gating_slice_costs_the_metrics_their_share_of_alpha() -> None:
    weak = metric(30, 14, 400)  # p ≈ 0.008
    assert decide(comparison(weak), POLICY).outcome == "regression"
    slices = [metric(20, 20, 2000, of=Slice("language", f"l{i}")) for i in range(11)]
    assert decide(comparison(weak, *slices), POLICY).outcome == "inconclusive"


def test_a_secondary_metric_stays_out_of_the_family_of_its_gating_slice() -> None:
    german = metric(12, 2, 400, of=GERMAN)
    alone = decide(comparison(metric(20, 20, 2000), german), POLICY)
    beside = decide(
        comparison(metric(20, 20, 2000), metric(9, 3, 1000, name="e/b", primary=False), german), POLICY
    )
    assert alone.slice_checks[0].p_adjusted == beside.slice_checks[0].p_adjusted


@pytest.mark.parametrize(
    ("slices", "reason"),
    [
        ([(20, 20, 2000)], "the gated metric and the gating slice exclude a drop of their margin"),
        (
            [(20, 20, 2000), (9, 9, 900)],
            "the gated metric and all 2 gating slices exclude a drop of their margin",
        ),
        (
            [(1, 1, 60)],
            "no drop of a margin was observed; 1 of 2 gated metrics and slices excludes one, 1 cannot tell",
        ),
    ],
)
def test_what_a_pass_rests_on_counts_slices(slices: list[tuple[int, int, int]], reason: str) -> None:
    members = [metric(*counts, of=Slice("k", str(i))) for i, counts in enumerate(slices)]
    verdict = decide(comparison(metric(20, 20, 2000), *members), POLICY)
    assert verdict.exit_code == 0
    assert verdict.reasons[-1] == reason


def test_a_gating_slice_that_cannot_be_estimated_is_invalid_and_one_underpowered_warns() -> None:
    broken = metric(0, 0, 400, of=GERMAN, problem="90 of 400 candidate answers failed")
    verdict = decide(comparison(metric(20, 20, 2000), broken), POLICY)
    assert (verdict.exit_code, verdict.reasons[0]) == (
        4,
        "e/exact_match [language=de] is invalid: 90 of 400 candidate answers failed",
    )
    thin = decide(comparison(metric(20, 20, 2000), metric(1, 1, 60, of=GERMAN)), POLICY)
    assert any(w.startswith("e/exact_match [language=de] is underpowered") for w in thin.warnings)


def test_settled() -> None:
    good, weak, bad = metric(20, 20, 2000), metric(20, 15, 300), metric(90, 30, 1000)
    assert settled(decide(comparison(good), POLICY)) == "pass"
    assert settled(decide(comparison(metric(10, 60, 1000)), POLICY)) == "pass"  # improved
    assert settled(decide(comparison(bad, weak), POLICY)) == "regression"
    assert settled(decide(comparison(good, critical=True), POLICY)) == "regression"
    assert settled(decide(comparison(good, weak), POLICY)) is None
    assert settled(decide(comparison(metric(12, 6, 200)), POLICY)) is None  # suspect
    assert settled(decide(comparison(problems=("the golden set changed",)), POLICY)) is None
    assert settled(decide(comparison(bad, metric(0, 0, 9, name="e/b", problem="lost")), POLICY)) is None


def test_a_gating_slice_keeps_a_comparison_open_and_what_does_not_decide_does_not() -> None:
    good = metric(20, 20, 2000)
    assert settled(decide(comparison(good, metric(1, 1, 60, of=GERMAN)), POLICY)) is None
    assert settled(decide(comparison(good, metric(40, 5, 400, of=GERMAN)), POLICY)) == "regression"
    assert settled(decide(comparison(good, metric(1, 1, 60, of=GERMAN, gated=False)), POLICY)) == "pass"
    assert settled(decide(comparison(good, metric(20, 15, 300, name="e/b", primary=False)), POLICY)) == "pass"
    assert settled(decide(comparison(good, metric(20, 15, 300, name="e/b", gated=False)), POLICY)) == "pass"
