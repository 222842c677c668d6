"""A history as people read it: rows of words and numbers, the same for every renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evalharness.core.histories import History, MetricHistory, Point
from evalharness.report import numbers
from evalharness.report.text import one_line

SHORT: Final = 12
"""Digits of a run id that are shown."""
EACH_ALONE: Final = (
    "Differences are paired by case with the gate's own tests; each 95% interval stands by itself and is adjusted for "
    "nothing. A history never gates."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRow:
    """One run on one metric, in words. `fell`: it lost the margin or more since the anchor, and that is no noise."""

    number: int
    when: str
    name: str
    run: str
    value: str
    cases: str
    since: str
    interval: str
    note: str
    fell: bool
    anchor: bool
    segment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricView:
    """One metric: what it is, its rows in order of time, and why segments are apart, by number."""

    id: str
    about: str
    lede: str
    rows: tuple[PointRow, ...]
    apart: dict[int, str]
    left_out: str


def metric_view(metric: MetricHistory) -> MetricView:
    """One metric in words."""
    rows = tuple(_row(metric, number, point) for number, point in enumerate(metric.points))
    fraction = "" if metric.unit == "fraction" else f", in {one_line(metric.unit, 40)}"
    return MetricView(
        id=one_line(metric.metric, 200),
        about=f"{'Higher' if metric.direction == 'higher' else 'Lower'} is better{fraction}",
        lede=_lede(metric),
        rows=rows,
        apart={
            segment.number: f"{one_line(segment.name, 60)} from here on: {one_line(segment.apart, 200)} "
            f"({one_line(segment.golden_set, 80)}, suite {segment.suite_digest.removeprefix('sha256:')[:SHORT]})"
            for segment in metric.segments
            if segment.apart is not None
        },
        left_out=f"{metric.left_out:,} earlier runs are not shown (--last N shows more)"
        if metric.left_out
        else "",
    )


def _row(metric: MetricHistory, number: int, point: Point) -> PointRow:
    since = point.since
    unit = metric.unit
    missing = f", {point.missing:,} missing" if point.missing else ""
    notes = []
    if since is not None and since.exceeds:
        notes.append("lost the margin or more since the anchor")
    if point.against is not None:
        notes.append(f"against {one_line(point.against, 60)}")
    if point.problem is not None:
        notes.append(one_line(point.problem, 200))
    return PointRow(
        number=number,
        when=point.when.strftime("%Y-%m-%d %H:%M"),
        name=one_line(point.name, 60),
        run=point.run_id.removeprefix("sha256:")[:SHORT],
        value=numbers.value(point.value, unit),
        cases=f"{numbers.count(point.n)}{missing}",
        since="anchor" if point.anchor else numbers.difference(since.delta, unit) if since else numbers.DASH,
        interval=numbers.interval(since.low, since.high, unit) if since is not None else "",
        note="; ".join(notes),
        fell=since is not None and since.exceeds,
        anchor=point.anchor,
        segment=point.segment,
    )


def _lede(metric: MetricHistory) -> str:
    """Where the newest run stands, in a sentence."""
    known = [point for point in metric.points if point.value is not None]
    if not known:
        return "No run has a value."
    newest = known[-1]
    name, value = one_line(newest.name, 60), numbers.value(newest.value, metric.unit)
    if newest.since is None:
        return f"{name} stands at {value}."
    delta = numbers.difference(newest.since.delta, metric.unit)
    ends = numbers.interval(newest.since.low, newest.since.high, metric.unit)
    lost = ", which is the margin or more and no noise" if newest.since.exceeds else ""
    return f"{name} stands at {value}, {delta} since the anchor {ends}{lost}."


def found_line(history: History) -> str:
    """What it was made of."""
    runs, reports = counted(history.runs, "run"), counted(history.reports, "report")
    skipped = f"; {counted(len(history.skipped), 'folder')} could not be used" if history.skipped else ""
    return f"{runs}{f' and {reports}' if history.reports else ''} found{skipped}."


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 run", "12 runs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
