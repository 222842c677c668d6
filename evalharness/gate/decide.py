"""Comparison + policy → Verdict. Pure: no I/O, no randomness, no clock.

The rules are those of docs/gate.md. For a gated metric with margin m, on the goodness scale:

    invalid        it could not be estimated, or too much is missing
    regression     delta ≤ −m and the one-sided paired test rejects "no drop" at alpha (Holm over its family)
    suspect        delta ≤ −m, not significant
    underpowered   delta > −m, and the one-sided bound does not exclude −m (or PASS is refused for another reason)
    pass           the bound excludes −m
    improved       pass, and the test rejects "no gain" (Holm over its family)

Primary metrics and gating slices are one family and decide the outcome; secondary metrics (gated, not primary) are
another and warn. Where a waiver holds, m is its margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evalharness.core.comparisons import Comparison, MetricComparison
from evalharness.core.suites import GatePolicy
from evalharness.core.verdicts import Check, Outcome, Status, Verdict
from evalharness.errors import EXIT_INCONCLUSIVE, EXIT_INVALID, EXIT_PASS, EXIT_REGRESSION
from evalharness.gate.remarks import stopped, warnings
from evalharness.gate.wording import (
    allowance,
    amount,
    own_bound,
    own_delta,
    p_value,
    signed,
    tested_by,
    title,
)
from evalharness.stats.margins import drop_of
from evalharness.stats.multiplicity import holm


def decide(comparison: Comparison, policy: GatePolicy) -> Verdict:
    """Apply the gate's rules."""
    checks = _checks((*comparison.metrics, *comparison.slices), policy)
    outcome, exit_code, reasons = _outcome(comparison, checks, policy)
    if comparison.looks is not None and not comparison.problems:
        reasons.append(stopped(comparison.looks))
    return Verdict(
        outcome=outcome,
        exit_code=exit_code,
        reasons=tuple(reasons),
        # What blocks is said once: under on_underpowered: block an underpowered metric is a reason.
        warnings=tuple(text for text in warnings(comparison, checks, policy) if text not in reasons),
        checks=tuple(c for c in checks if c.metric.slice is None),
        slice_checks=tuple(c for c in checks if c.metric.slice is not None),
        comparison=comparison,
    )


def settled(verdict: Verdict) -> Literal["regression", "pass"] | None:
    """Whether more evidence is needed: None where it is.

    "regression": the outcome is one, by a primary metric, a gating slice or a critical case. "pass": the outcome is
    a pass, and every primary metric and gating slice excludes a drop of its margin.
    """
    if verdict.outcome == "regression":
        return "regression"
    deciding = [c for c in (*verdict.checks, *verdict.slice_checks) if c.metric.primary]
    if verdict.outcome == "pass" and all(c.status in ("pass", "improved") for c in deciding):
        return "pass"
    return None


def _checks(metrics: Sequence[MetricComparison], policy: GatePolicy) -> list[Check]:
    """One check for each metric and slice, in the order given. A slice and its metric share an id, so places count."""
    drops: dict[int, float] = {}
    gains: dict[int, float] = {}
    for primary in (True, False):
        family = [
            (place, m.estimate)
            for place, m in enumerate(metrics)
            if m.gated and m.primary is primary and m.estimate is not None and m.problem is None
        ]
        places = [place for place, _ in family]
        drops.update(zip(places, holm([e.p_drop for _, e in family]), strict=True))
        gains.update(zip(places, holm([e.p_gain for _, e in family]), strict=True))
    return [
        _check(metric, drops.get(place), gains.get(place), policy.alpha)
        if metric.gated
        else _advisory(metric, _why_advisory(metric, policy))
        for place, metric in enumerate(metrics)
    ]


def _why_advisory(metric: MetricComparison, policy: GatePolicy) -> str:
    if metric.slice is not None:
        return "slices are reported and do not gate"
    why = policy.rule(metric.id).why
    if why:
        return why
    checked = [name for name, rule in policy.metrics.items() if rule.labels == metric.id]
    return f"it holds the human labels of {checked[0]}" if checked else "declared advisory in the suite"


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
    if metric.waived and metric.waiver is not None:
        moved += f", waived: {allowance(metric, metric.waiver)}"
    if estimate.delta <= drop_of(margin):
        if p_drop <= alpha:
            return "regression", f"{moved}, {p_value(p_drop)} ({tested_by(metric)})"
        return "suspect", (
            f"{moved}, and it cannot be told from noise ({p_value(p_drop)}, {tested_by(metric)}){_would_decide(metric)}"
        )
    bound = signed(metric, own_bound(metric))
    if estimate.no_pass_reason is not None:
        return "underpowered", f"{moved}; no pass: {estimate.no_pass_reason}{_would_decide(metric)}"
    if estimate.lower <= -margin:
        return "underpowered", (
            f"{moved}; the one-sided bound {bound} does not exclude a drop of the margin{_would_decide(metric)}"
        )
    if p_gain <= alpha:
        return "improved", f"{moved}, {p_value(p_gain)} ({tested_by(metric)}); the one-sided bound is {bound}"
    return "pass", f"{moved}; the one-sided bound {bound} excludes a drop of the margin"


def _would_decide(metric: MetricComparison) -> str:
    """What this comparison could have seen, and how many cases would see a drop of the margin.

    Nothing where there are that many cases already: then it is not their number that is wanting.
    """
    estimate, needed = metric.estimate, metric.n_for_power
    if estimate is None or (needed is not None and needed <= estimate.n):
        return ""
    parts = []
    if metric.mde is not None:
        parts.append(f"it sees drops of {amount(metric, metric.mde)} with 80% power")
    if needed is not None:
        parts += [] if parts else ["no drop can be told from noise"]
        parts.append(f"{needed:,} cases would see {amount(metric, metric.max_drop)}")
    return f"; at n = {estimate.n:,} " + "; ".join(parts) if parts else ""


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
        f"{title(c.metric)} is invalid: {c.reason}"
        for c in checks
        if c.metric.gated and c.status == "invalid"
    ]
    if not comparison.problems and not deciding:
        every = (
            "every primary metric is advisory"
            if any(c.metric.gated for c in checks)
            else "every metric is advisory"
        )
        invalid.append(f"nothing is gated: {every}; a gate that checks nothing cannot pass")
    regressions = [
        f"critical case {c.key} passed and now fails {c.metric}{'' if c.confirmed else ' (its one answer)'}"
        for c in comparison.critical
    ]
    regressions += [f"{title(c.metric)} regressed: {c.reason}" for c in deciding if c.status == "regression"]
    suspects = [f"{title(c.metric)} is suspect: {c.reason}" for c in deciding if c.status == "suspect"]
    weak = [f"{title(c.metric)} is underpowered: {c.reason}" for c in deciding if c.status == "underpowered"]
    blocked_by_power = weak if policy.on_underpowered == "block" else []
    if invalid:
        return "invalid", EXIT_INVALID, invalid + regressions + suspects
    if regressions:
        return "regression", EXIT_REGRESSION, regressions + suspects
    if blocked_by_power or suspects:
        blocks = bool(blocked_by_power) or policy.on_inconclusive == "block"
        return "inconclusive", EXIT_INCONCLUSIVE if blocks else EXIT_PASS, suspects + blocked_by_power
    reasons = [f"{title(c.metric)} improved: {c.reason}" for c in deciding if c.status == "improved"]
    reasons.append(_all_clear(deciding, all(c.metric.primary for c in checks if c.metric.gated)))
    reasons += [
        f"{title(c.metric)} is waived: it {allowance(c.metric, c.metric.waiver)}"
        for c in checks
        if c.metric.gated and c.metric.waived and c.metric.waiver is not None
    ]
    return "pass", EXIT_PASS, reasons


def _all_clear(deciding: Sequence[Check], all_decide: bool) -> str:
    """What a pass rests on. Where secondary metrics exist, it says nothing of them."""
    word = "gated" if all_decide else "primary"
    slices = sum(c.metric.slice is not None for c in deciding)
    metrics = len(deciding) - slices
    passed = sum(c.status in ("pass", "improved") for c in deciding)
    if passed < len(deciding):
        what = (
            f"{word} metrics" + (" and slices" if slices else "") if len(deciding) > 1 else f"{word} metric"
        )
        return (
            f"no drop of a margin was observed{'' if all_decide else ' on a primary metric'}; {passed} of "
            f"{len(deciding)} {what} {'excludes' if passed == 1 or len(deciding) == 1 else 'exclude'} one, "
            f"{len(deciding) - passed} cannot tell"
        )
    parts = [f"all {metrics} {word} metrics" if metrics > 1 else f"the {word} metric"] if metrics else []
    if slices:
        parts.append(f"all {slices} gating slices" if slices > 1 else "the gating slice")
    verb = "exclude a drop of their margin" if len(deciding) > 1 else "excludes a drop of its margin"
    return f"{' and '.join(parts)} {verb}"
