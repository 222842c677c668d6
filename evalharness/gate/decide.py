"""Comparison + policy → Verdict. Pure: no I/O, no randomness, no clock.

The rules are those of docs/gate.md. For a gated metric with margin m, on the goodness scale:

    invalid        it could not be estimated, or too much is missing
    regression     delta ≤ −m and the one-sided paired test rejects "no drop" at alpha (Holm over its family)
    suspect        delta ≤ −m, not significant
    underpowered   delta > −m, and the one-sided bound does not exclude −m (or PASS is refused for another reason)
    pass           the bound excludes −m
    improved       pass, and the test rejects "no gain" (Holm over its family)

Primary metrics are one family and decide the outcome; secondary ones (gated, not primary) are another and warn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evalharness.core.comparisons import Comparison, MetricComparison
from evalharness.core.suites import GatePolicy
from evalharness.core.verdicts import Check, Outcome, Status, Verdict
from evalharness.errors import EXIT_INCONCLUSIVE, EXIT_INVALID, EXIT_PASS, EXIT_REGRESSION
from evalharness.gate.wording import amount, own_bound, own_delta, p_value, signed
from evalharness.stats.multiplicity import holm

_ROUNDING: Final = 1e-7
"""A drop this share of the margin short of it is a drop of the margin: 0.82 − 0.80 is 0.0199999… in binary floats."""


def decide(comparison: Comparison, policy: GatePolicy) -> Verdict:
    """Apply the gate's rules."""
    checks = _checks(comparison.metrics, policy)
    slice_checks = [_advisory(metric, "slices are reported and do not gate") for metric in comparison.slices]
    outcome, exit_code, reasons = _outcome(comparison, checks, policy)
    return Verdict(
        outcome=outcome,
        exit_code=exit_code,
        reasons=tuple(reasons),
        warnings=tuple(_warnings(comparison, checks, policy)),
        checks=tuple(checks),
        slice_checks=tuple(slice_checks),
        comparison=comparison,
    )


def _checks(metrics: Sequence[MetricComparison], policy: GatePolicy) -> list[Check]:
    drops: dict[str, float] = {}
    gains: dict[str, float] = {}
    for primary in (True, False):
        family = [
            (m.id, m.estimate)
            for m in metrics
            if m.gated and m.primary is primary and m.estimate is not None and m.problem is None
        ]
        drops.update(zip([i for i, _ in family], holm([e.p_drop for _, e in family]), strict=True))
        gains.update(zip([i for i, _ in family], holm([e.p_gain for _, e in family]), strict=True))
    return [
        _check(metric, drops.get(metric.id), gains.get(metric.id), policy.alpha)
        if metric.gated
        else _advisory(metric, "declared advisory in the suite")
        for metric in metrics
    ]


def _check(metric: MetricComparison, p_drop: float | None, p_gain: float | None, alpha: float) -> Check:
    status, reason = _rule(metric, p_drop, p_gain, alpha)
    return Check(metric=metric, status=status, reason=reason, p_adjusted=p_drop)


def _rule(
    metric: MetricComparison, p_drop: float | None, p_gain: float | None, alpha: float
) -> tuple[Status, str]:
    estimate = metric.estimate
    if metric.problem is not None or estimate is None or p_drop is None or p_gain is None:
        return "invalid", metric.problem or "it could not be estimated"
    margin = metric.max_drop
    moved = f"{signed(metric, own_delta(metric))} with a margin of {metric.margin}"
    if estimate.delta <= -margin * (1 - _ROUNDING):
        if p_drop <= alpha:
            return "regression", f"{moved}, {p_value(p_drop)} ({_family(metric)})"
        return "suspect", (
            f"{moved}, and it cannot be told from noise ({p_value(p_drop)}, {_family(metric)}){_would_decide(metric)}"
        )
    bound = signed(metric, own_bound(metric))
    if estimate.no_pass_reason is not None:
        return "underpowered", f"{moved}; no pass: {estimate.no_pass_reason}{_would_decide(metric)}"
    if estimate.lower <= -margin:
        return "underpowered", (
            f"{moved}; the one-sided bound {bound} does not exclude a drop of the margin{_would_decide(metric)}"
        )
    if p_gain <= alpha:
        return "improved", f"{moved}, {p_value(p_gain)} ({_family(metric)}); the one-sided bound is {bound}"
    return "pass", f"{moved}; the one-sided bound {bound} excludes a drop of the margin"


def _family(metric: MetricComparison) -> str:
    assert metric.estimate is not None
    return f"{metric.estimate.test}, Holm"


def _would_decide(metric: MetricComparison) -> str:
    """What this comparison could have seen, and how many cases would see a drop of the margin."""
    parts = []
    if metric.mde is not None:
        parts.append(f"it sees drops of {amount(metric, metric.mde)} with 80% power")
    if metric.n_for_power is not None:
        parts.append(f"{metric.n_for_power:,} cases would see {amount(metric, metric.max_drop)}")
    return f"; at n = {metric.estimate.n:,} " + "; ".join(parts) if parts and metric.estimate else ""


def _advisory(metric: MetricComparison, why: str) -> Check:
    if metric.estimate is None:
        return Check(metric=metric, status="advisory", reason=f"{why}; {metric.problem}")
    text = f"{signed(metric, own_delta(metric))}, {p_value(metric.estimate.p_drop)} (unadjusted); {why}"
    if metric.problem is not None:
        text += f"; {metric.problem}"
    return Check(metric=metric, status="advisory", reason=text)


def _outcome(
    comparison: Comparison, checks: Sequence[Check], policy: GatePolicy
) -> tuple[Outcome, int, list[str]]:
    """The outcome, its exit code and its reasons. What makes evidence worthless comes before what it says."""
    deciding = [c for c in checks if c.metric.primary]
    invalid = list(comparison.problems)
    invalid += [
        f"{c.metric.id} is invalid: {c.reason}" for c in checks if c.metric.gated and c.status == "invalid"
    ]
    if not comparison.problems and not deciding:
        invalid.append("nothing is gated: every metric is advisory; a gate that checks nothing cannot pass")
    regressions = [
        f"critical case {c.key} passed and now fails {c.metric}{'' if c.confirmed else ' (its one answer)'}"
        for c in comparison.critical
    ]
    regressions += [f"{c.metric.id} regressed: {c.reason}" for c in deciding if c.status == "regression"]
    suspects = [f"{c.metric.id} is suspect: {c.reason}" for c in deciding if c.status == "suspect"]
    weak = [f"{c.metric.id} is underpowered: {c.reason}" for c in deciding if c.status == "underpowered"]
    blocked_by_power = weak if policy.on_underpowered == "block" else []
    if invalid:
        return "invalid", EXIT_INVALID, invalid + regressions + suspects
    if regressions:
        return "regression", EXIT_REGRESSION, regressions + suspects
    if blocked_by_power or suspects:
        blocks = bool(blocked_by_power) or policy.on_inconclusive == "block"
        return "inconclusive", EXIT_INCONCLUSIVE if blocks else EXIT_PASS, suspects + blocked_by_power
    passed = [c for c in deciding if c.status in ("pass", "improved")]
    reasons = [f"{c.metric.id} improved: {c.reason}" for c in passed if c.status == "improved"]
    reasons.append(
        _all_clear(len(passed), len(deciding), all(c.metric.primary for c in checks if c.metric.gated))
    )
    return "pass", EXIT_PASS, reasons


def _all_clear(passed: int, deciding: int, all_decide: bool) -> str:
    """What a pass rests on. Where secondary metrics exist, it says nothing of them."""
    word = "gated" if all_decide else "primary"
    if passed < deciding:
        noun = "metrics exclude" if deciding > 1 else "metric excludes"
        return (
            f"no drop of a margin was observed{'' if all_decide else ' on a primary metric'}; {passed} of {deciding} "
            f"{word} {noun} one, {deciding - passed} cannot tell"
        )
    if deciding > 1:
        return f"all {deciding} {word} metrics exclude a drop of their margin"
    return f"the {word} metric excludes a drop of its margin"


def _small_drop(check: Check, alpha: float) -> str | None:
    """A drop that the test confirms and the margin lets through, in words; None where there is none."""
    metric, estimate = check.metric, check.metric.estimate
    if estimate is None or check.p_adjusted is None or check.status not in ("pass", "underpowered"):
        return None
    if estimate.delta >= 0 or check.p_adjusted > alpha:
        return None
    return (
        f"{metric.id} got worse by less than its margin, and that is no noise: {signed(metric, own_delta(metric))} "
        f"with a margin of {metric.margin}, {p_value(check.p_adjusted)} ({_family(metric)})"
    )


def _warnings(comparison: Comparison, checks: Sequence[Check], policy: GatePolicy) -> list[str]:
    found: list[str] = []
    for check in checks:
        metric = check.metric
        if metric.gated and not metric.primary and check.status in ("regression", "suspect"):
            found.append(f"secondary metric {metric.id} ({check.status}): {check.reason}")
        if metric.primary and check.status == "suspect" and policy.on_inconclusive == "warn":
            found.append(f"NOT BLOCKED, because on_inconclusive is warn: {metric.id} {check.reason}")
        if metric.gated and check.status == "underpowered":
            found.append(f"{metric.id} is underpowered: {check.reason}")
        small = _small_drop(check, policy.alpha)
        if small is not None:
            found.append(small)
    for side in (comparison.baseline, comparison.candidate):
        lost = side.coverage.failed + side.coverage.unscored
        if lost:
            found.append(
                f"{side.role}: {side.coverage.failed} of {side.coverage.planned} answers failed, "
                f"{side.coverage.unscored} could not be scored"
            )
    found.extend(comparison.warnings)
    return found
