"""Geometry of a ranking's pictures: intervals on a line, curves, and points of a space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from evalharness.analysis.ranking import RankedMetric
from evalharness.analysis.ranking_grid import Curve
from evalharness.analysis.ranking_picture import OTHERS, Picture
from evalharness.report import numbers
from evalharness.report.rank_view import interval
from evalharness.report.text import one_line

_LEFT: Final = 2.0
_RIGHT: Final = 98.0
_TOP: Final = 6.0
_FLOOR: Final = 94.0
SIDE: Final = 480
"""The side of a picture of a space, in its own units."""
COLOURS: Final = 8
"""Colours there are. The last is grey, for documents that nothing is known of; groups beyond the others share one."""


@dataclass(frozen=True, slots=True)
class Whisker:
    """A value with its interval on an axis, as SVG percentages; None where there is no value."""

    at: str
    low: str
    high: str
    label: str


def whisker_ends(metric: RankedMetric) -> tuple[str, str]:
    """The labels of the two ends of the axis that the whiskers of a metric share."""
    low, high = _reach(metric)
    return numbers.value(low, metric.unit), numbers.value(high, metric.unit)


def _reach(metric: RankedMetric) -> tuple[float, float]:
    ends = [e for v in metric.values for e in (v.low, v.value, v.high) if e is not None and math.isfinite(e)]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def whiskers(metric: RankedMetric) -> dict[int, Whisker | None]:
    """A mark for each candidate, by place; all on one axis, which holds every interval."""
    low, high = _reach(metric)
    span = (high - low) or 1.0

    def place(x: float) -> str:
        return f"{_LEFT + (x - low) / span * (_RIGHT - _LEFT):.2f}%"

    found: dict[int, Whisker | None] = {}
    for number, value in enumerate(metric.values):
        if value.value is None:
            found[number] = None
            continue
        left = value.value if value.low is None else value.low
        right = value.value if value.high is None else value.high
        said = f"{numbers.value(value.value, metric.unit)}, 95% interval {interval(value, metric.unit)}"
        found[number] = Whisker(place(value.value), place(left), place(right), said)
    return found


@dataclass(frozen=True, slots=True)
class Mark:
    """One number of dimensions on a curve, in per cent of the picture."""

    x: str
    y: str
    low: str
    high: str
    dimension: str
    worse: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: its marks from few to all dimensions, the lines between them, and the labels of both axes."""

    marks: tuple[Mark, ...]
    line: tuple[tuple[str, str, str, str], ...]
    levels: tuple[tuple[str, str], ...]
    times: tuple[tuple[str, str, str], ...]
    label: str


def line_of(curve: Curve) -> Line | None:
    """The curve with dimensions on a logarithmic axis; None where it has no values."""
    points = [p for p in reversed(curve.points) if p.value.value is not None]
    if not points:
        return None
    ends = [e for p in points for e in (p.value.low, p.value.value, p.value.high) if e is not None]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    first, last = math.log(points[0].dimension), math.log(points[-1].dimension)

    def x(dimension: int) -> str:
        share = (math.log(dimension) - first) / (last - first) if last > first else 0.5
        return f"{_LEFT + share * (_RIGHT - _LEFT):.2f}%"

    def y(value: float) -> str:
        return f"{_FLOOR - (value - low) / span * (_FLOOR - _TOP):.2f}%"

    marks = []
    for point in points:
        value = point.value.value
        assert value is not None
        marks.append(
            Mark(
                x=x(point.dimension),
                y=y(value),
                low=y(value if point.value.low is None else point.value.low),
                high=y(value if point.value.high is None else point.value.high),
                dimension=numbers.count(point.dimension),
                worse=point.pair is not None and point.pair.better == 0,
            )
        )
    levels = tuple(
        (y(at), numbers.value(at, curve.unit)) for at in dict.fromkeys((low, (low + high) / 2, high))
    )
    said = ", ".join(f"{numbers.value(p.value.value, curve.unit)} at {p.dimension}" for p in points)
    line = tuple((a.x, a.y, b.x, b.y) for a, b in pairwise(marks))
    sides = ["start", *["middle"] * (len(marks) - 2), "end"] if len(marks) > 1 else ["middle"]
    times = tuple((mark.x, mark.dimension, side) for mark, side in zip(marks, sides, strict=True))
    return Line(
        tuple(marks), line, levels, times, one_line(f"{curve.metric} of {curve.candidate}: {said}", 1200)
    )


@dataclass(frozen=True, slots=True)
class Cloud:
    """Points of one group: the number of its colour, and two paths of marks, for documents and for queries."""

    group: str
    colour: int
    documents: str
    queries: str
    n_documents: int
    n_queries: int


def clouds(picture: Picture) -> tuple[Cloud, ...]:
    """The points of a picture by group: documents as dots, queries as crosses, in units of `SIDE`."""
    found = []
    for number, group in enumerate(picture.groups):
        own = [dot for dot in picture.dots if dot.group == number]
        places = [(dot.query, 8 + dot.x * (SIDE - 16), 8 + (1 - dot.y) * (SIDE - 16)) for dot in own]
        documents = [f"M{x:.1f} {y:.1f}h0" for query, x, y in places if not query]
        queries = [f"M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6" for query, x, y in places if query]
        found.append(
            Cloud(
                group=group,
                colour=COLOURS - 1 if group == OTHERS else min(number, COLOURS - 2),
                documents="".join(documents),
                queries="".join(queries),
                n_documents=len(documents),
                n_queries=len(queries),
            )
        )
    return tuple(found)


def shade(value: float | None, low: float, high: float) -> int:
    """How dark a cell of a grid is, 0 (nothing) to 5, by where its value lies between the least and the greatest."""
    if value is None:
        return 0
    return 1 + min(4, int((value - low) / (high - low) * 5)) if high > low else 3


def bounds(values: Sequence[float | None]) -> tuple[float, float]:
    """The least and the greatest of the values there are; (0, 0) without one."""
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else (0.0, 0.0)
