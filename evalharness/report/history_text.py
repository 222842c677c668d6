"""A history for a terminal: a line of bars for each candidate, and a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from evalharness.core.histories import History, MetricHistory
from evalharness.report.history_view import EACH_ALONE, MetricView, found_line, metric_view
from evalharness.report.rank_text import table
from evalharness.report.text import one_line

BARS: Final = "▁▂▃▄▅▆▇█"
_NO_VALUE: Final = "·"
_WIDEST: Final = 60
"""Bars of one line: the newest runs."""
_LINES: Final = 12
_ROWS: Final = 30
_SKIPPED: Final = 5


def history_text(history: History, *, width: int = 100) -> str:
    """The history as lines of at most `width` columns where the names allow."""
    lines: list[str] = []
    for metric in history.metrics:
        lines += [*_metric(metric, metric_view(metric), width), ""]
    lines += textwrap.wrap(f"{found_line(history)} {EACH_ALONE}", width)
    told = [*history.warnings, *(why for _, why in history.skipped[:_SKIPPED])]
    for text in told:
        lines += textwrap.wrap(f"! {one_line(text)}", width, subsequent_indent="  ")
    if len(history.skipped) > _SKIPPED:
        lines.append(f"! and {len(history.skipped) - _SKIPPED} more that could not be used")
    return "\n".join(lines) + "\n"


def bars(metric: MetricHistory, segment: int) -> str:
    """A bar for each run of a segment, on the scale of the whole metric; a dot where there is no value."""
    known = [point.value for point in metric.points if point.value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)

    def bar(value: float | None) -> str:
        if value is None:
            return _NO_VALUE
        share = (value - low) / (high - low) if high > low else 0.5
        return BARS[min(len(BARS) - 1, int(share * len(BARS)))]

    drawn = [bar(point.value) for point in metric.points if point.segment == segment]
    return "".join(drawn[-_WIDEST:])


def _metric(metric: MetricHistory, view: MetricView, width: int) -> Iterator[str]:
    yield f"{view.id}  ({view.about})"
    yield from textwrap.wrap(view.lede, width, initial_indent="  ", subsequent_indent="  ")
    shown = metric.segments[-_LINES:]
    size = max((len(one_line(segment.name, 30)) for segment in shown), default=0)
    for segment in shown:
        apart = "┆" if segment.apart is not None else " "
        yield f"  {one_line(segment.name, 30).ljust(size)} {apart} {bars(metric, segment.number)}"
    yield ""
    rows = view.rows[-_ROWS:]
    heads = ["", "when (UTC)", "candidate", "run", "value", "cases", "since anchor", "95% CI"]
    cells = [heads]
    for row in rows:
        mark = "▼" if row.fell else "◆" if row.anchor else ""
        cells.append([mark, row.when, row.name[:30], row.run, row.value, row.cases, row.since, row.interval])
    lines = table(cells, left={0, 1, 2, 3})
    yield f"  {lines[0]}"
    begun = {row.segment for row in view.rows[: len(view.rows) - len(rows)]}
    for row, line in zip(rows, lines[1:], strict=True):
        if row.segment not in begun and row.segment in view.apart:
            yield from textwrap.wrap(
                view.apart[row.segment], width, initial_indent="  ┆ ", subsequent_indent="  ┆   "
            )
        begun.add(row.segment)
        yield f"  {line}"
        if row.note:
            yield from textwrap.wrap(row.note, width, initial_indent="      ", subsequent_indent="      ")
    hidden = len(view.rows) - len(rows)
    if hidden:
        yield f"  {hidden} earlier rows are in --json and --out"
    if view.left_out:
        yield f"  {view.left_out}"
