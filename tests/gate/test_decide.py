"""The rules of the gate on comparisons built through the real statistics."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalharness.gate.decide import decide
from tests.gate.support import POLICY, comparison, metric


@pytest.mark.parametrize(
    ("regressed", "fixed", "n", "status", "outcome", "code"),
    [
        (90, 30, 1000, "regression", "regression", 1),  # −6pp, p far below alpha
        (12, 6, 200, "suspect", "inconclusive", 3),  # −3pp, p ≈ 0.12
        (20, 15, 300, "underpowered", "pass", 0),  # −1.7pp: no margin's drop; the bound cannot exclude one
        (20, 20, 2000, "pass", "pass", 0),
        (10, 60, 1000, "improved", "pass", 0),
        (0, 0, 1000, "pass", "pass", 0),
        (0, 0, 100, "underpowered", "pass", 0),  # a clean run of 100 cannot exclude −2pp
    ],
)
def test_status_outcome_and_exit_code(
    regressed: int, fixed: int, n: int, status: str, outcome: str, code: int
) -> None:
    verdict = decide(comparison(metric(regressed, fixed, n)), POLICY)
    assert (verdict.checks[0].status, verdict.outcome, verdict.exit_code) == (status, outcome, code)
    assert verdict.reasons and all(verdict.reasons)


def test_a_drop_of_exactly_the_margin_counts_whatever_the_float_says() -> None:
    # 80% → 78% of 1,000: 0.78 − 0.80 is −0.020000000000000018, and −20/1000 is −0.02; for other n it errs upwards
    for n in (50, 100, 150, 350, 1000, 1450, 12_050):
        drop = n // 50
        verdict = decide(comparison(metric(drop, 0, n)), POLICY)
        assert verdict.checks[0].status in ("regression", "suspect"), n
        assert verdict.exit_code in (1, 3)


def test_a_significant_drop_smaller_than_the_margin_does_not_block() -> None:
    verdict = decide(comparison(metric(60, 20, 4000)), POLICY)  # −1pp, p < 0.001
    assert verdict.checks[0].p_adjusted is not None and verdict.checks[0].p_adjusted < 0.001
    assert verdict.exit_code == 0
    assert verdict.checks[0].status in ("pass", "underpowered")


def test_inconclusive_can_be_set_to_warn_and_says_so_loudly() -> None:
    verdict = decide(comparison(metric(12, 6, 200)), replace(POLICY, on_inconclusive="warn"))
    assert (verdict.outcome, verdict.exit_code) == ("inconclusive", 0)
    assert any("NOT BLOCKED" in w for w in verdict.warnings)


def test_underpowered_can_be_set_to_block() -> None:
    verdict = decide(comparison(metric(20, 15, 300)), replace(POLICY, on_underpowered="block"))
    assert (verdict.outcome, verdict.exit_code) == ("inconclusive", 3)
    assert "cases would see" in verdict.reasons[0]
    assert not any("underpowered" in w for w in verdict.warnings)  # what blocks is said once


def test_underpowered_warns_with_what_it_could_see_and_what_would_decide() -> None:
    verdict = decide(comparison(metric(20, 15, 300)), POLICY)
    warning = next(w for w in verdict.warnings if "underpowered" in w)
    assert "80% power" in warning and "cases would see 2pp" in warning


def test_holm_over_the_gated_metrics_turns_a_lone_p_into_a_suspect() -> None:
    weak = metric(30, 14, 400)  # −4pp, p ≈ 0.008
    alone = decide(comparison(weak), POLICY)
    assert alone.outcome == "regression"
    others = [metric(20, 20, 2000, name=f"e/m{i}") for i in range(11)]
    family = decide(comparison(weak, *others), POLICY)
    assert family.checks[0].p_adjusted == pytest.approx(min(1.0, 12 * weak.estimate.p_drop))  # type: ignore[union-attr]
    assert family.outcome == "inconclusive"


def test_advisory_metrics_never_decide() -> None:
    good, bad = metric(20, 20, 2000), metric(90, 30, 1000, name="e/rouge_l", gated=False)
    verdict = decide(comparison(good, bad), POLICY)
    assert verdict.exit_code == 0
    assert verdict.checks[1].status == "advisory"


def test_secondary_metrics_warn() -> None:
    first, second = metric(20, 20, 2000), metric(90, 30, 1000, name="e/other", primary=False)
    verdict = decide(comparison(first, second), POLICY)
    assert verdict.exit_code == 0
    assert any("secondary metric e/other (regression)" in w for w in verdict.warnings)


def test_nothing_gated_is_invalid() -> None:
    verdict = decide(comparison(metric(0, 0, 1000, gated=False)), POLICY)
    assert (verdict.outcome, verdict.exit_code) == ("invalid", 4)
    assert decide(comparison(), POLICY).exit_code == 4


def test_a_metric_with_a_problem_makes_the_suite_invalid_even_beside_a_regression() -> None:
    verdict = decide(
        comparison(metric(90, 30, 1000), metric(0, 0, 1000, name="e/b", problem="12 of 1000 answers failed")),
        POLICY,
    )
    assert (verdict.outcome, verdict.exit_code) == ("invalid", 4)
    assert "12 of 1000" in verdict.reasons[0]
    assert any("regressed" in r for r in verdict.reasons)


def test_incomparable_runs_are_invalid() -> None:
    verdict = decide(comparison(problems=("the golden set changed",)), POLICY)
    assert (verdict.outcome, verdict.exit_code, verdict.reasons) == (
        "invalid",
        4,
        ("the golden set changed",),
    )


def test_a_critical_failure_is_a_regression_whatever_the_average_says() -> None:
    verdict = decide(comparison(metric(10, 60, 1000), critical=True), POLICY)
    assert (verdict.outcome, verdict.exit_code) == ("regression", 1)
    assert "critical case case-7" in verdict.reasons[0]
