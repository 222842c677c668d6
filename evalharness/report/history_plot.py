"""Geometry of a metric over time: a line for each segment, in units of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evalharness.core.histories import MetricHistory, Point
from evalharness.report import numbers
from evalharness.report.history_view import PointRow

WIDE: Final = 720
HIGH: Final = 280
COLOURS: Final = 6
"""Colours there are; names beyond share the last."""
LEFT: Final = 64
RIGHT: Final = 18
_TOP: Final = 14
BOTTOM: Final = 34


@dataclass(frozen=True, slots=True)
class Dot:
    """One run; `label` says what it is."""

    x: float
    y: float
    anchor: bool
    fell: bool
    label: str
    row: int


@dataclass(frozen=True, slots=True)
class Stroke:
    """The runs of one segment, joined. A value that is missing interrupts the path."""

    colour: int
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A metric's picture. `breaks` are places where a segment begins that is apart from an earlier one of its name."""

    strokes: tuple[Stroke, ...]
    names: tuple[tuple[str, int], ...]
    breaks: tuple[float, ...]
    values: tuple[tuple[float, str], ...]
    times: tuple[tuple[float, str, str], ...]


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

    def x(point: Point) -> float:
        share = (point.when.timestamp() - first) / span if span > 0 else 0.5
        return round(LEFT + share * (WIDE - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(_TOP + (1 - (value - low) / (high - low)) * (HIGH - _TOP - BOTTOM), 1)

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
        path, joined = "", False
        for point, _ in own:
            if point.value is None:
                joined = False
                continue
            path += f"{'L' if joined else 'M'}{x(point)} {y(point.value)}"
            joined = True
        strokes.append(
            Stroke(
                colour=min(names.index(own[0][1].name), COLOURS - 1) if own else 0,
                path=path,
                dots=tuple(
                    Dot(x(point), y(point.value), point.anchor, row.fell, _label(row), row.number)
                    for point, row in own
                    if point.value is not None
                ),
            )
        )
    ends = [(metric.points[0], "start"), (metric.points[-1], "end")][: 2 if span > 0 else 1]
    return Drawing(
        strokes=tuple(strokes),
        names=tuple((name, min(place, COLOURS - 1)) for place, name in enumerate(names)),
        breaks=tuple(dict.fromkeys(breaks)),
        values=tuple(
            (y(at), numbers.value(at, metric.unit)) for at in dict.fromkeys((min(values), max(values)))
        ),
        times=tuple(
            (x(point), point.when.strftime("%Y-%m-%d"), side if span > 0 else "middle")
            for point, side in ends
        ),
    )


def _label(row: PointRow) -> str:
    since = f", {row.since} since the anchor {row.interval}" if row.interval else ""
    return f"{row.when}, {row.name}, run {row.run}: {row.value}{since}{', ' + row.note if row.note else ''}"
