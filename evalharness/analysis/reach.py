"""What a comparison could have seen: metrics that cannot fall, and the size of drop that the data show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalharness.core.comparisons import MetricComparison
from evalharness.core.estimates import PairedEstimate
from evalharness.core.protocols import Scorer
from evalharness.core.scores import Metric
from evalharness.stats.mcnemar import MIDP_MCNEMAR
from evalharness.stats.power import mde, n_for_power


def not_from_the_floor(metric: Metric, estimate: PairedEstimate | None) -> PairedEstimate | None:
    """The estimate, without a PASS where both sides have the worst value on every case: nothing could fall."""
    if estimate is None or estimate.no_pass_reason is not None or not _at_the_floor(metric, estimate):
        return estimate
    return replace(
        estimate, no_pass_reason="both sides have the worst value on every case, so no drop could be seen"
    )


def power(
    metric: Metric, estimate: PairedEstimate | None, max_drop: float, alphas: tuple[float, float]
) -> tuple[float | None, int | None]:
    """The MDE and the cases that would see a drop of `max_drop`, each None where it cannot be said.

    Neither can be said where no drop could be seen, and where nothing varied on a scale without a natural step. Of
    very few units there is no MDE: half to the power of one more than their number is the smallest p of their tests.

    Args:
        metric: what was measured.
        estimate: what was observed.
        max_drop: the margin, in the metric's unit.
        alphas: levels of this look and of the gate.
    """
    if estimate is None or _at_the_floor(metric, estimate):
        return None, None
    if estimate.sd == 0 and estimate.test != MIDP_MCNEMAR and metric.unit != "fraction":
        return None, None
    needed = n_for_power(estimate, max_drop, alpha=alphas[1]) if max_drop > 0 else None
    if metric.kind != "log_ratio" and 0.5 ** (estimate.n_units + 1) > alphas[0]:
        return None, needed
    return mde(estimate, alpha=alphas[0]), needed


def floor_warnings(metrics: Sequence[MetricComparison], scorers: Mapping[str, Scorer]) -> list[str]:
    """Gated metrics whose baseline is as bad as can be: they cannot fall, so their pass says nothing."""
    return [
        f"{m.id}: the baseline has the worst value on every case, so no drop could ever be seen; "
        "check that this metric and its prompt fit the golden set"
        for m in metrics
        if m.gated and m.estimate is not None and m.estimate.baseline == _worst(scorers[m.id].metric)
    ]


def _at_the_floor(metric: Metric, estimate: PairedEstimate) -> bool:
    return estimate.baseline == estimate.candidate == _worst(metric)


def _worst(metric: Metric) -> float | None:
    """The worst value on the scale of estimates, where higher is better."""
    return metric.worst if metric.worst is None or metric.direction == "higher" else -metric.worst
