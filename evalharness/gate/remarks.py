"""What a verdict says beside its reasons: where the looks stopped, and warnings. None of it changes the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from evalharness.core.comparisons import Comparison, Looks, MetricComparison
from evalharness.core.suites import GatePolicy, Margin
from evalharness.core.verdicts import Check
from evalharness.gate.wording import allowance, amount, own_delta, p_value, signed, tested_by, title
from evalharness.stats.margins import drop_of

MOST_FALSE_DROPS: Final = 0.05
"""A suite that sees a drop of the margin in more than this share of comparisons with itself cries wolf."""


def stopped(looks: Looks) -> str:
    """Where a sequence of looks ended, on how many cases, and what was not needed or is left."""
    cases = ", ".join(f"{looks.used[name]:,} of {most:,} cases ({name})" for name, most in looks.most.items())
    if looks.stopped == "end":
        text = f"look {looks.number} of {looks.planned} did not settle every check: {cases}"
        if looks.extendable:
            asked = "the reserve" if looks.used != looks.most else "every case again"
            text += f"; `--extend` would ask {asked}"
        return text
    how = "with a regression" if looks.stopped == "regression" else "with every deciding check passed"
    return f"stopped at look {looks.number} of {looks.planned} {how}: {cases}{_saved(looks)}"


def _saved(looks: Looks) -> str:
    left, right = looks.saved_baseline, looks.saved_candidate
    if left == right:
        return f"; {left:,} answers a side were not needed" if left else ""
    return f"; {left:,} baseline and {right:,} candidate answers were not needed"


def warnings(comparison: Comparison, checks: Sequence[Check], policy: GatePolicy) -> Iterator[str]:
    """Every warning of a comparison, those of the checks first. `checks` include those of slices."""
    for check in checks:
        if check.metric.gated:
            yield from _of_check(check, policy)
    if comparison.looks is not None and comparison.looks.early:
        lean = (
            "exaggerate the true ones"
            if comparison.looks.stopped == "regression"
            else "flatter the candidate"
        )
        yield f"the observed differences are those of an early stop and {lean}; the verdict is not affected"
    yield from _drifted(comparison)
    yield from _flaky(comparison)
    for side in (comparison.baseline, comparison.candidate):
        lost = side.coverage.failed + side.coverage.unscored
        if lost:
            yield (
                f"{side.role}: {side.coverage.failed:,} of {side.coverage.planned:,} answers failed, "
                f"{side.coverage.unscored:,} could not be scored"
            )
    yield from comparison.warnings


def _of_check(check: Check, policy: GatePolicy) -> Iterator[str]:
    metric = check.metric
    name = title(metric)
    if not metric.primary and check.status in ("regression", "suspect"):
        yield f"secondary metric {name} ({check.status}): {check.reason}"
    if metric.primary and check.status == "suspect" and policy.on_inconclusive == "warn":
        yield f"NOT BLOCKED, because on_inconclusive is warn: {name} {check.reason}"
    if check.status == "underpowered":
        yield f"{name} is underpowered: {check.reason}"
    if metric.waiver is not None and not metric.waived:
        yield (
            f"the waiver of {name} expired on {metric.waiver.expires} and no longer counts; "
            f"the margin is {metric.margin} again"
        )
    dropped = _waived_drop(check, policy) or _small_drop(check, policy.alpha)
    if dropped is not None:
        yield dropped


def _waived_drop(check: Check, policy: GatePolicy) -> str | None:
    """A drop that only a waiver lets through, in words; None where there is none."""
    metric, estimate = check.metric, check.metric.estimate
    if not metric.waived or metric.waiver is None or estimate is None:
        return None
    own = _own_margin(metric, policy)
    let_through = check.status in ("pass", "improved", "underpowered")
    if not let_through or estimate.delta > drop_of(own.absolute(estimate.baseline)):
        return None
    return (
        f"{title(metric)} got worse by its own margin of {own} or more, and only a waiver lets it through: "
        f"{signed(metric, own_delta(metric))}; it {allowance(metric, metric.waiver)}"
    )


def _own_margin(metric: MetricComparison, policy: GatePolicy) -> Margin:
    """The margin that holds where no waiver does."""
    for rule in policy.slices:
        if rule.metric == metric.id and rule.slice == metric.slice and rule.margin is not None:
            return rule.margin
    return policy.rule(metric.id).margin or policy.max_drop


def _small_drop(check: Check, alpha: float) -> str | None:
    """A drop that the test confirms and the margin lets through, in words; None where there is none."""
    metric, estimate = check.metric, check.metric.estimate
    if estimate is None or check.p_adjusted is None or check.status not in ("pass", "underpowered"):
        return None
    if estimate.delta >= 0 or check.p_adjusted > alpha:
        return None
    return (
        f"{title(metric)} got worse by less than its margin, and that is no noise: "
        f"{signed(metric, own_delta(metric))} with a margin of {metric.margin}, {p_value(check.p_adjusted)} "
        f"({tested_by(metric)})"
    )


def _drifted(comparison: Comparison) -> Iterator[str]:
    anchor = "the anchor" if comparison.anchor is None else f"the anchor {comparison.anchor.name}"
    for drift in comparison.drift:
        if drift.exceeds and drift.candidate is not None:
            verb = "lost" if drift.metric.direction == "higher" else "risen by"
            yield (
                f"{title(drift.metric)} has {verb} {amount(drift.metric, drift.candidate.delta)} since {anchor} "
                f"(margin {drift.metric.margin}): small steps have added up"
            )


def _flaky(comparison: Comparison) -> Iterator[str]:
    primary = {metric.id: metric for metric in comparison.metrics if metric.primary}
    for item in comparison.flakiness:
        if item.metric in primary and item.false_drops > MOST_FALSE_DROPS:
            yield (
                f"{item.metric}: in {100 * item.false_drops:.0f}% of comparisons of this size of a candidate with "
                f"itself it would drop by the margin of {primary[item.metric].margin} for no reason; "
                "more `repeats` or more cases make that rarer"
            )
