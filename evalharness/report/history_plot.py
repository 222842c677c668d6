"""Geometry of a metric over time: a line for each segment, in per cent of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from evalharness.core.histories import MetricHistory, Point
from evalharness.report import numbers
from evalharness.report.history_view import PointRow

COLOURS: Final = 6
"""Colours there are; names beyond share the last."""
_EDGE: Final = 1.5
_TOP: Final = 5.0
_FLOOR: Final = 95.0


@dataclass(frozen=True, slots=True)
class Dot:
    """One run; `label` says what it is."""

    x: str
    y: str
    anchor: bool
    fell: bool
    label: str
    row: int


@dataclass(frozen=True, slots=True)
class Stroke:
    """The runs of one segment. `line` are (x1, y1, x2, y2); a value that is missing interrupts it."""

    colour: int
    line: tuple[tuple[str, str, str, str], ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A metric's picture. `breaks` are places where a segment begins that is apart from an earlier one of its name."""

    strokes: tuple[Stroke, ...]
    names: tuple[tuple[str, int], ...]
    breaks: tuple[str, ...]
    levels: tuple[tuple[str, str], ...]
    times: tuple[tuple[str, str, str], ...]


def drawing(metric: MetricHistory, rows: Sequence[PointRow]) -> Drawing | None:
    """The picture; None where no run has a value. `rows` are those of the points, in their order."""
    known = [point for point in metric.points if point.value is not None]
    if not known:
        return None
    values = [point.value for point in known if point.value is not None]
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.02 or 0.5
    low, high = low - room, high + room
    first, last = (point.when.timestamp() for point in (metric.points[0], metric.points[-1]))
    span = last - first

    def x(point: Point) -> str:
        share = (point.when.timestamp() - first) / span if span > 0 else 0.5
        return f"{_EDGE + share * (100 - 2 * _EDGE):.2f}%"

    def y(value: float) -> str:
        return f"{_FLOOR - (value - low) / (high - low) * (_FLOOR - _TOP):.2f}%"

    names = list(dict.fromkeys(row.name for row in rows))
    strokes = []
    breaks = []
    for segment in metric.segments:
        own = [
            (point, row)
            for point, row in zip(metric.points, rows, strict=True)
            if point.segment == segment.number
        ]
        if segment.apart is not None and own:
            breaks.append(x(own[0][0]))
        line = tuple(
            (x(a), y(a.value), x(b), y(b.value))
            for (a, _), (b, _) in pairwise(own)
            if a.value is not None and b.value is not None
        )
        strokes.append(
            Stroke(
                colour=min(names.index(own[0][1].name), COLOURS - 1) if own else 0,
                line=line,
                dots=tuple(
                    Dot(x(point), y(point.value), point.anchor, row.fell, _label(row), row.number)
                    for point, row in own
                    if point.value is not None
                ),
            )
        )
    day = "%Y-%m-%d" if metric.points[0].when.date() != metric.points[-1].when.date() else "%Y-%m-%d %H:%M"
    ends = [(metric.points[0], "start"), (metric.points[-1], "end")][: 2 if span > 0 else 1]
    return Drawing(
        strokes=tuple(strokes),
        names=tuple((name, min(place, COLOURS - 1)) for place, name in enumerate(names)),
        breaks=tuple(dict.fromkeys(breaks)),
        levels=tuple(
            (y(at), numbers.value(at, metric.unit)) for at in dict.fromkeys((min(values), max(values)))
        ),
        times=tuple(
            (x(point), point.when.strftime(day), side if span > 0 else "middle") for point, side in ends
        ),
    )


def _label(row: PointRow) -> str:
    since = f", {row.since} since the anchor {row.interval}" if row.interval else ""
    return f"{row.when}, {row.name}, run {row.run}: {row.value}{since}{', ' + row.note if row.note else ''}"
