"""ranking.md: a ranking as tables, with nothing in it that a host of Markdown would act on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from evalharness.report import numbers
from evalharness.report.markdown import code, prose
from evalharness.report.rank_text import beside
from evalharness.report.rank_view import (
    MetricView,
    RankReport,
    clean,
    curve_rows,
    family_line,
    letter,
    metric_views,
)

_PAIRS: Final = 200
"""Pairs of one metric that are listed; ranking.json holds all of them."""


def rank_markdown(report: RankReport) -> str:
    """The whole ranking."""
    ranking = report.ranking
    lines = [f"### Ranking of {len(ranking.entries)} candidates on suite {code(ranking.suite)}", ""]
    lines += [prose(family_line(ranking)), ""]
    for view in metric_views(report):
        lines += [*_metric(view), ""]
    for grid in report.grids:
        keys = [code(key) for key in grid.keys]
        lines += [f"#### {code(grid.metric)} by {keys[0]} (rows) × {keys[1]}", ""]
        for place, cells in enumerate(grid.cells):
            head = [f"{letter(place)} {code(ranking.entries[place].name, limit=60, cell=True)}"]
            lines += _table([*head, *(code(column, limit=40, cell=True) for column in grid.columns)], 1)
            for name, row in zip(grid.rows, cells, strict=True):
                shown = [
                    f"{numbers.value(v.value, grid.unit)} ({v.n:,})" if v.n else numbers.DASH for v in row
                ]
                lines.append(_row([code(name, limit=40, cell=True), *shown]))
            lines.append("")
        if grid.n_untagged:
            lines += [f"{grid.n_untagged:,} cases without both tags are in no cell.", ""]
    entries = {entry.name: entry for entry in ranking.entries}
    for curve in report.curves:
        lines += [f"#### {code(curve.candidate, limit=60)}: {code(curve.metric)} by dimensions kept", ""]
        lines += _table(
            ["dims", "MiB", "value", "95% interval", "Δ to all", "95% interval", "p (adj)", ""], 0
        )
        for r in curve_rows(curve, entries[curve.candidate]):
            mark = "worse" if r.worse else ""
            lines.append(
                _row([r.dimension, r.index, r.value, r.interval, r.delta, r.delta_interval, r.p, mark])
            )
        lines.append("")
    if ranking.warnings:
        lines += ["#### Warnings", "", *(f"- {prose(warning)}" for warning in ranking.warnings), ""]
    return "\n".join(lines).rstrip() + "\n"


def _metric(view: MetricView) -> Iterator[str]:
    more = beside(view.rows)
    yield f"#### {code(view.id)}"
    yield ""
    yield f"{prose(view.about)}."
    yield ""
    yield from _table(
        ["", "candidate", "value", "95% interval", "better than", *(head for _, head in more)], 2
    )
    for row in view.rows:
        cells = [getattr(row, key) for key, _ in more]
        yield _row([row.label, code(clean(row.name), cell=True), row.value, row.interval, row.beats, *cells])
    yield ""
    yield "Wins/ties/losses of the row against the column, by case:"
    yield ""
    yield from _table(["", *(label for label, _ in view.matrix)], 1)
    for label, counts in view.matrix:
        yield _row([f"**{label}**", *counts])
    yield ""
    yield from _table(["pair", "difference", "95% interval", "p (adj)", "verdict"], 1)
    for pair in view.pairs[:_PAIRS]:
        yield _row([f"{pair.first} − {pair.second}", pair.delta, pair.interval, pair.p, prose(pair.verdict)])
    if len(view.pairs) > _PAIRS:
        yield ""
        yield f"{len(view.pairs) - _PAIRS:,} more pairs are in ranking.json."


def _table(heads: Sequence[str], left: int) -> list[str]:
    """The head of a table whose first `left` columns are set left, the others right."""
    return [_row(heads), "|" + "|".join("---" if i < left else "---:" for i in range(len(heads))) + "|"]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
