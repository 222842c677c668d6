"""A metric over the runs that came before, small enough to stand beside others: what is joined, and where it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from evalharness.core.histories import MetricHistory, Point
from evalharness.report import numbers
from evalharness.report.text import one_line

_POINTS: Final = 60
_LOW: Final = 12.0
_HIGH: Final = 88.0


@dataclass(frozen=True, slots=True)
class TrendView:
    """One metric as drawn. `line` are (x1, y1, x2, y2) inside a segment, `dots` (x, y, words), in per cent.

    `says` tells of the newest segment alone: values of two segments are of other cases and cannot be compared.
    """

    title: str
    says: str
    line: tuple[tuple[str, str, str, str], ...]
    dots: tuple[tuple[str, str, str], ...]
    rows: tuple[tuple[str, str, str], ...]
    more: int


def build_trends(history: Sequence[MetricHistory]) -> tuple[TrendView, ...]:
    """Every metric that has two values or more, each by at most its newest 60 runs."""
    return tuple(_view(metric) for metric in history if sum(p.value is not None for p in metric.points) >= 2)


def _view(metric: MetricHistory) -> TrendView:
    points = metric.points[-_POINTS:]
    values = [point.value for point in points if point.value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    unit = one_line(metric.unit, 40)
    places: list[tuple[Point, str, str]] = []
    for index, point in enumerate(points):
        if point.value is not None:
            x = 2 + 96 * index / max(1, len(points) - 1)
            y = _HIGH - (point.value - low) / (high - low) * (_HIGH - _LOW) if high > low else 50.0
            places.append((point, f"{x:.2f}%", f"{y:.2f}%"))
    title = one_line(metric.metric, 120)
    return TrendView(
        title=title if unit == "fraction" else f"{title} ({unit})",
        says=_says(metric, unit),
        line=tuple(
            (x1, y1, x2, y2)
            for (before, x1, y1), (after, x2, y2) in pairwise(places)
            if before.segment == after.segment
        ),
        dots=tuple(
            (x, y, ": ".join((" ".join(_who(p)), numbers.value(p.value, unit)))) for p, x, y in places
        ),
        rows=tuple((*_who(point), numbers.value(point.value, unit)) for point in points),
        more=len(metric.points) - len(points) + metric.left_out,
    )


def _who(point: Point) -> tuple[str, str]:
    return point.when.strftime("%Y-%m-%d"), one_line(point.name, 120)


def _says(metric: MetricHistory, unit: str) -> str:
    known = [p for p in metric.points if p.value is not None]
    newest = [p.value for p in known if p.segment == known[-1].segment and p.value is not None]
    gained = newest[-1] - newest[0]
    if len(newest) == 1 or not gained:
        return f"{numbers.value(newest[-1], unit)} in the newest of {len(metric.points):,} runs"
    word = "worse" if (gained < 0) is (metric.direction == "higher") else "better"
    ends = f"{numbers.value(newest[0], unit)} to {numbers.value(newest[-1], unit)}"
    return f"{ends} over {len(newest):,} runs, {numbers.difference(gained, unit)} ({word})"
