"""Sentences about numbers, the same wherever the gate gives a reason."""

from __future__ import annotations

from evalharness.core.comparisons import MetricComparison
from evalharness.core.suites import Waiver


def title(metric: MetricComparison) -> str:
    """`routing/exact_match`, and `routing/exact_match [language=de]` for a slice of it."""
    return metric.id if metric.slice is None else f"{metric.id} [{metric.slice}]"


def allowance(metric: MetricComparison, waiver: Waiver) -> str:
    """What a waiver that holds allows: `may lose 3pp until 2027-01-31 (accepted for the edge build)`."""
    verb = "lose" if metric.direction == "higher" else "rise"
    return f"may {verb} {waiver.margin} until {waiver.expires} ({waiver.reason})"


def amount(metric: MetricComparison, value: float) -> str:
    """A size or difference without sign: `4.32pp` for fractions, `12.5 characters` otherwise."""
    if metric.unit == "fraction":
        return f"{round(abs(value) * 100, 2):g}pp"
    return f"{abs(value):.4g} {metric.unit}"


def signed(metric: MetricComparison, value: float) -> str:
    """A difference with its sign on the metric's own scale. A typographic minus is used."""
    rounded = round(value * 100, 2) if metric.unit == "fraction" else value
    sign = "−" if rounded < 0 else "+" if rounded > 0 else ""
    return sign + amount(metric, value)


def p_value(p: float | None) -> str:
    """`p < 0.001` or `p = 0.032`; never rounded onto the other side of a level."""
    if p is None:
        return "p unknown"
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def own_delta(metric: MetricComparison) -> float:
    """Candidate − baseline on the metric's own scale; the estimate is on the goodness scale."""
    assert metric.estimate is not None
    return metric.estimate.delta if metric.direction == "higher" else -metric.estimate.delta


def own_bound(metric: MetricComparison) -> float:
    """The one-sided bound PASS is decided on, on the metric's own scale."""
    assert metric.estimate is not None
    return metric.estimate.lower if metric.direction == "higher" else -metric.estimate.lower


def tested_by(metric: MetricComparison) -> str:
    """The test behind an adjusted p-value: `mid-p McNemar, Holm`."""
    assert metric.estimate is not None
    return f"{metric.estimate.test}, Holm"
