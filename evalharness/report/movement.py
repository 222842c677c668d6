"""What became of a changed case: it regressed, scored worse or better, or is fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from evalharness.core.comparisons import CaseChange, Comparison, MetricComparison
from evalharness.core.verdicts import Verdict

Group: TypeAlias = Literal["regressed", "worse", "better", "fixed"]

GROUPS: Final[Mapping[Group, str]] = {
    "regressed": "regressed",
    "worse": "scored worse",
    "better": "scored better",
    "fixed": "fixed",
}
"""What each group is called, in the order of reading. Only a gated metric that is 0 or 1 regresses or fixes a case."""
FLIPS: Final = "Regressed: it passed a gated 0/1 metric and now fails it; fixed: the other way round."
NO_FLIPS: Final = (
    "No gated metric here is 0 or 1 for a case, so none regresses or is fixed: cases score worse or better."
)


def metrics_of(comparison: Comparison) -> dict[str, MetricComparison]:
    """The comparison's metrics by id."""
    return {metric.id: metric for metric in comparison.metrics}


def flips(comparison: Comparison) -> bool:
    """Whether a case can regress or be fixed: a gated metric is 0 or 1 for a case."""
    return any(metric.gated and metric.kind == "binary" for metric in comparison.metrics)


def _in_margins(change: CaseChange, metrics: Mapping[str, MetricComparison]) -> list[float]:
    """Movements in margins of their metrics, so that characters and fractions rank together; those that gate if any."""
    moved = [(metrics.get(metric_id), delta) for metric_id, delta in change.deltas.items()]
    gated = [(metric, delta) for metric, delta in moved if metric is not None and metric.gated]
    return [
        delta / metric.max_drop if metric is not None and metric.max_drop > 0 else delta
        for metric, delta in gated or moved
    ]


def worst_fall(change: CaseChange, metrics: Mapping[str, MetricComparison]) -> float:
    """The worst movement of a case in margins of its metric, among those that gate if one did move; 0 at most."""
    return min([0.0, *_in_margins(change, metrics)])


def best_gain(change: CaseChange, metrics: Mapping[str, MetricComparison]) -> float:
    """The best movement, measured as `worst_fall` is; 0 at least."""
    return max([0.0, *_in_margins(change, metrics)])


def group_of(change: CaseChange, metrics: Mapping[str, MetricComparison]) -> Group:
    """What became of a case. One that got worse on any metric that counts here has scored worse."""
    if change.regressed:
        return "regressed"
    if change.fixed:
        return "fixed"
    return "worse" if worst_fall(change, metrics) < 0 else "better"


def fallen(verdict: Verdict) -> tuple[str, ...]:
    """Keys of the cases behind a drop that no flip tells of, the largest falls first.

    They did not regress, and fell on a gated metric that is no 0/1 metric and that regressed or is suspect, as a whole
    or on a slice.
    """
    failing = {
        check.metric.id: check.metric
        for check in (*verdict.checks, *verdict.slice_checks)
        if check.metric.gated and check.status in ("regression", "suspect") and check.metric.kind != "binary"
    }
    found = []
    for change in verdict.comparison.changes:
        worst = min(
            (d / (failing[m].max_drop or 1.0) for m, d in change.deltas.items() if m in failing), default=0.0
        )
        if worst < 0 and not change.regressed:
            found.append((worst, change.key))
    return tuple(key for _, key in sorted(found, key=lambda fall: fall[0]))
