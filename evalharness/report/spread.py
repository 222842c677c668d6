"""How far single cases moved: a histogram for each metric that is more than right or wrong, percentiles for times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evalharness.core.comparisons import Comparison, MetricComparison
from evalharness.report import numbers, words
from evalharness.report.text import one_line

_BINS: Final = 24
_TRIMMED: Final = 0.01
_FEWEST: Final = 5
_WITHOUT: Final = ("binary", "corpus", "quantile")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin: place and size in per cent of the picture, and how many cases lie in it. `worse`: left of zero."""

    x: str
    width: str
    height: str
    top: str
    cases: int
    worse: bool
    label: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """The cases that moved on one metric, worse ones left. `ends` label the axis, `says` tells it in words."""

    title: str
    bars: tuple[Bar, ...]
    zero: str
    zero_apart: bool
    ends: tuple[str, str]
    says: str
    highest: str


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile on both sides: the values, the change in per cent, and where they lie on the line."""

    name: str
    baseline: str
    candidate: str
    change: str
    worse: bool | None
    low: str
    high: str
    at: str
    was: str


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The percentiles of one metric over all answers."""

    title: str
    rows: tuple[Percentile, ...]


def histograms(comparison: Comparison) -> tuple[Histogram, ...]:
    """One for each metric, in the comparison's order, on which at least five cases moved."""
    moved: dict[str, list[float]] = {}
    for change in comparison.changes:
        for metric_id, delta in change.deltas.items():
            if delta and math.isfinite(delta):
                moved.setdefault(metric_id, []).append(delta)
    found = []
    for metric in comparison.metrics:
        deltas = sorted(moved.get(metric.id, ()))
        if metric.kind in _WITHOUT or metric.estimate is None or len(deltas) < _FEWEST:
            continue
        found.append(_histogram(metric, deltas))
    return tuple(found)


def _histogram(metric: MetricComparison, deltas: Sequence[float]) -> Histogram:
    low, high = min(0.0, _at(deltas, _TRIMMED)), max(0.0, _at(deltas, 1 - _TRIMMED))
    step = _step(high - low)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    first, last = min(first, -1), max(last, 1)
    counts = [0] * (last - first)
    for delta in deltas:
        # A whole bin from zero on belongs to the bin that it ends, on either side.
        place = math.ceil(delta / step - 1e-9) - 1 if delta > 0 else math.floor(delta / step + 1e-9)
        counts[min(max(place, first), last - 1) - first] += 1
    most = max(counts)
    width = 100 / len(counts)
    scale = 100.0 if metric.unit == "fraction" else 1.0

    def number(value: float) -> str:
        return f"{value * scale:.6g}".replace("-", numbers.MINUS)

    bars = tuple(
        Bar(
            x=f"{index * width:.3f}",
            width=f"{width * 0.92:.3f}",
            height=f"{count / most * 100:.2f}",
            top=f"{100 - count / most * 100:.2f}",
            cases=count,
            worse=first + index < 0,
            label=f"{words.plural(count, 'case')} between {number(_own(metric, (first + index) * step))} and "
            f"{number(_own(metric, (first + index + 1) * step))}{_unit(metric)}",
        )
        for index, count in enumerate(counts)
        if count
    )
    return Histogram(
        title=_title(metric),
        bars=bars,
        zero=f"{-first * width:.2f}",
        zero_apart=18 < -first * width < 82,
        ends=tuple(_end(metric, value * step) for value in (first, last)),  # type: ignore[arg-type]
        says=_says(metric, deltas),
        highest=words.plural(most, "case"),
    )


def _own(metric: MetricComparison, value: float) -> float:
    return value if metric.direction == "higher" else -value


def _unit(metric: MetricComparison) -> str:
    return "pp" if metric.unit == "fraction" else f" {one_line(metric.unit, 40)}"


def _end(metric: MetricComparison, value: float) -> str:
    return numbers.difference(_own(metric, value), one_line(metric.unit, 40), word=True)


def _title(metric: MetricComparison) -> str:
    name = words.name_of(metric)
    return name if metric.unit == "fraction" else f"{name} ({one_line(metric.unit, 40)})"


def _says(metric: MetricComparison, deltas: Sequence[float]) -> str:
    assert metric.estimate is not None
    worse, better = [d for d in deltas if d < 0], [d for d in deltas if d > 0]
    parts = [
        f"{len(side):,} {word} (median {_end(metric, _at(side, 0.5))}, {most} {_end(metric, extreme(side))})"
        for side, word, most, extreme in ((worse, "worse", "worst", min), (better, "better", "best", max))
        if side
    ]
    still = max(0, metric.estimate.n - len(deltas))
    return "; ".join([*parts, f"{still:,} did not move"])


def _at(ordered: Sequence[float], q: float) -> float:
    """The smallest value that at least a share q lies at or below."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered) - 1e-9) - 1))]


def _step(span: float) -> float:
    rough = span / _BINS
    base = 10.0 ** math.floor(math.log10(rough))
    return next(base * m for m in (1, 2, 5, 10) if base * m >= rough * (1 - 1e-9))


def percentiles(comparison: Comparison) -> tuple[Percentiles, ...]:
    """One for each metric that is a quantile and says how its answers are spread; metrics of the same answers once."""
    found: dict[tuple[Percentile, ...], Percentiles] = {}
    for metric in comparison.metrics:
        sides = [_quantiles(metric.breakdown.get(role)) for role in ("baseline", "candidate")]
        shares = [share for share in sides[0] if share in sides[1]]
        if metric.kind != "quantile" or not shares:
            continue
        rows = _percentiles(metric, [(share, sides[0][share], sides[1][share]) for share in shares])
        found.setdefault(rows, Percentiles(_title(metric), rows))
    return tuple(found.values())


def _quantiles(side: Any) -> dict[float, float]:
    """Share → value, of {"quantiles": [[share, value], …]}."""
    pairs = side.get("quantiles") if isinstance(side, Mapping) else None
    return {float(share): float(value) for share, value in pairs or ()}


def _percentiles(
    metric: MetricComparison, rows: Sequence[tuple[float, float, float]]
) -> tuple[Percentile, ...]:
    known = [v for _, *values in rows for v in values if math.isfinite(v) and v > 0]
    top = max(known, default=1.0)

    def place(value: float) -> float:
        return 2 + 96 * min(1.0, value / top) if math.isfinite(value) else 98.0

    def one(share: float, before: float, after: float) -> Percentile:
        ratio = after / before - 1 if before > 0 and math.isfinite(before) and math.isfinite(after) else None
        moved = None if after == before else (after > before) is (metric.direction == "lower")
        change = "" if ratio is None else f"{ratio * 100:+.1f}%".replace("-", numbers.MINUS)
        return Percentile(
            name=f"p{share * 100:g}",
            baseline=_value(before, metric),
            candidate=_value(after, metric),
            change=change,
            worse=moved,
            low=f"{min(place(before), place(after)):.2f}%",
            high=f"{max(place(before), place(after)):.2f}%",
            at=f"{place(after):.2f}%",
            was=f"{place(before):.2f}%",
        )

    return tuple(one(*row) for row in rows)


def _value(value: float, metric: MetricComparison) -> str:
    if not math.isfinite(value):
        return "no answer"
    return numbers.seconds(value / 1000) if metric.unit == "ms" else numbers.value(value, metric.unit)
