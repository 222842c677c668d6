"""A metric over the baselines that were blessed one after another, and the candidate after them: a line a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from evalharness.report import numbers
from evalharness.report.text import one_line

_POINTS: Final = 60
_LOW: Final = 12.0
_HIGH: Final = 88.0


@dataclass(frozen=True, slots=True)
class Point:
    """The value of a metric, on its own scale, at one blessing. `at` is its day, `name` what was blessed.

    `value` is None where the run has no value for the metric.
    """

    at: str
    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Trend:
    """One metric over time: the blessed baselines, oldest first; the candidate may be the last point."""

    metric: str
    unit: str
    direction: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class TrendView:
    """A trend as drawn. `line` are (x1, y1, x2, y2) between neighbours, `dots` (x, y, words); all in per cent."""

    title: str
    first: str
    last: str
    change: str
    worse: bool | None
    line: tuple[tuple[str, str, str, str], ...]
    dots: tuple[tuple[str, str, str], ...]
    rows: tuple[tuple[str, str, str], ...]
    more: int


def build_trends(trends: Sequence[Trend]) -> tuple[TrendView, ...]:
    """Every trend of two values or more, at most its last 60 points."""
    return tuple(_view(trend) for trend in trends if len(_known(trend.points)) >= 2)


def _known(points: Sequence[Point]) -> list[float]:
    return [p.value for p in points if p.value is not None and math.isfinite(p.value)]


def _view(trend: Trend) -> TrendView:
    points = trend.points[-_POINTS:]
    values = _known(points) or [0.0]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    unit = one_line(trend.unit, 40)
    places = []
    rows = []
    for index, point in enumerate(points):
        shown = numbers.value(point.value, unit)
        at, name = one_line(point.at, 40), one_line(point.name, 120)
        rows.append((at, name, shown))
        if point.value is not None and math.isfinite(point.value):
            x = 2 + 96 * index / max(1, len(points) - 1)
            y = _HIGH - (point.value - low) / span * (_HIGH - _LOW) if high > low else 50.0
            places.append((f"{x:.2f}%", f"{y:.2f}%", f"{at} {name}: {shown}"))
    whole = _known(trend.points)
    gained = whole[-1] - whole[0]
    worse = None if not gained else (gained < 0) is (trend.direction == "higher")
    title = one_line(trend.metric, 120)
    return TrendView(
        title=title if unit == "fraction" else f"{title} ({unit})",
        first=numbers.value(whole[0], unit),
        last=numbers.value(whole[-1], unit),
        change=numbers.difference(gained, unit),
        worse=worse,
        line=tuple((a[0], a[1], b[0], b[1]) for a, b in pairwise(places)),
        dots=tuple(places),
        rows=tuple(rows),
        more=len(trend.points) - len(points),
    )
