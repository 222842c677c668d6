"""A ranking for a terminal: a table a metric, wins, ties and losses, grids and curves."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from evalharness.report import numbers
from evalharness.report.rank_view import (
    CandidateRow,
    MetricView,
    RankReport,
    clean,
    curve_rows,
    family_line,
    letter,
    metric_views,
)
from evalharness.report.text import one_line

_METRICS: Final = 8
"""Metrics shown in full; the files hold all of them."""
_MATRIX: Final = 12
"""Candidates of a matrix that still fits a terminal."""
_NAME: Final = 32


def rank_text(report: RankReport, *, width: int = 100) -> str:
    """The ranking as lines of at most `width` columns where the names allow."""
    views = metric_views(report)
    lines: list[str] = []
    for view in views[:_METRICS]:
        lines += [*_metric(view), ""]
    if len(views) > _METRICS:
        lines += [f"{len(views) - _METRICS} more metrics are in ranking.md and ranking.json", ""]
    for grid in report.grids[:1]:
        lines += [*_grid(report, grid.metric), ""]
    lines += _curves(report)
    lines += textwrap.wrap(family_line(report.ranking), width)
    for warning in report.ranking.warnings:
        lines += textwrap.wrap(f"! {one_line(warning)}", width, subsequent_indent="  ")
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Sequence[str]], *, left: Collection[int]) -> list[str]:
    """Rows of as many cells each as lines; columns that are not `left` are set right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(size) if i in left else cell.rjust(size)
            for i, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


HEADS: Final = (
    ("dimension", "dims"), ("index", "MiB"), ("p50", "p50 ms"), ("p95", "p95 ms"), ("tokens", "tokens"),
    ("cost", "cost"),
)  # fmt: skip
"""What stands beside quality: the row's field and the column's head."""


def beside(rows: Sequence[CandidateRow]) -> list[tuple[str, str]]:
    """The columns of `HEADS` that some candidate has."""
    return [(key, head) for key, head in HEADS if any(getattr(row, key) != numbers.DASH for row in rows)]


def _metric(view: MetricView) -> Iterator[str]:
    more = beside(view.rows)
    yield f"{one_line(view.id)}  ({view.about})"
    rows = [["", "", "value", "95% interval", "better than", *(head for _, head in more)]]
    for row in view.rows:
        cells = [getattr(row, key) for key, _ in more]
        rows.append([row.label, one_line(row.name, _NAME), row.value, row.interval, row.beats, *cells])
    yield from ("  " + line for line in table(rows, left=(0, 1, 4)))
    if 2 < len(view.rows) <= _MATRIX:
        yield "  wins/ties/losses of the row against the column"
        head = ["", *(label for label, _ in view.matrix)]
        matrix = [head, *([label, *cells] for label, cells in view.matrix)]
        yield from ("    " + line for line in table(matrix, left=(0,)))
    elif len(view.rows) == 2:
        (pair,) = view.pairs
        yield (
            f"  {pair.first} − {pair.second}: {pair.delta} {pair.interval}, p (adj) {pair.p}, "
            f"wins/ties/losses {pair.counts}: {pair.verdict}"
        )


def _grid(report: RankReport, metric: str) -> Iterator[str]:
    grid = next(grid for grid in report.grids if grid.metric == metric)
    yield f"{one_line(metric)} by {one_line(grid.keys[0])} (rows) × {one_line(grid.keys[1])}"
    for place, cells in enumerate(grid.cells):
        yield f"  {letter(place)}  {clean(report.ranking.entries[place].name)}"
        rows = [["", *(one_line(column, 20) for column in grid.columns)]]
        for name, row in zip(grid.rows, cells, strict=True):
            shown = [f"{numbers.value(v.value, grid.unit)} ({v.n:,})" if v.n else numbers.DASH for v in row]
            rows.append([one_line(name, 20), *shown])
        yield from ("    " + line for line in table(rows, left=(0,)))
    if grid.n_untagged:
        yield f"  {grid.n_untagged:,} cases without both tags are in no cell"


def _curves(report: RankReport) -> Iterator[str]:
    entries = {entry.name: entry for entry in report.ranking.entries}
    for curve in report.curves:
        yield f"{clean(curve.candidate)}, {one_line(curve.metric)} by dimensions kept"
        rows = [["dims", "MiB", "value", "95% interval", "Δ to all", "95% interval", "p (adj)", ""]]
        for row in curve_rows(curve, entries[curve.candidate]):
            mark = "worse" if row.worse else ""
            rows.append(
                [
                    row.dimension,
                    row.index,
                    row.value,
                    row.interval,
                    row.delta,
                    row.delta_interval,
                    row.p,
                    mark,
                ]
            )
        yield from ("  " + line for line in table(rows, left=(7,)))
        yield ""
