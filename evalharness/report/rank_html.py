"""ranking.html: a ranking as one file that anyone can open, send and print. It loads nothing and runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from evalharness.analysis.ranking import RankedMetric, Ranking
from evalharness.analysis.ranking_grid import Curve, Grid
from evalharness.analysis.ranking_picture import Picture
from evalharness.report import numbers
from evalharness.report.page import asset, content_policy, template
from evalharness.report.rank_plot import SIDE, bounds, clouds, line_of, shade, whisker_ends, whiskers
from evalharness.report.rank_text import beside
from evalharness.report.rank_view import (
    RankReport,
    clean,
    curve_rows,
    family_line,
    interval,
    letter,
    metric_views,
)
from evalharness.report.text import one_line, strip_control

_PAIRS: Final = 500
_PICTURES: Final = 8
_CURVES: Final = 40


def rank_html(report: RankReport) -> str:
    """The ranking as one self-contained page.

    Every string is cleaned and escaped; a strict content policy admits the page's own style by its hash and nothing
    else. At most 500 pairs of a metric, 40 curves and 8 pictures are drawn, and the page says what it leaves out.
    """
    ranking = report.ranking
    css = asset("report.css") + asset("rank.css")
    views = metric_views(report)
    text = template("rank.html.j2").render(
        suite=clean(ranking.suite),
        candidates=[
            {"label": letter(i), "name": clean(entry.name), "about": _about(ranking, i)}
            for i, entry in enumerate(ranking.entries)
        ],
        sections=[
            {
                "view": view,
                "columns": beside(view.rows),
                "marks": whiskers(metric),
                "ends": whisker_ends(metric),
                "lede": _lede(ranking, metric),
                "pairs_left_out": max(0, len(view.pairs) - _PAIRS),
                "pairs": view.pairs[:_PAIRS],
            }
            for view, metric in zip(views, ranking.metrics, strict=True)
        ],
        grids=[_grid(ranking, grid) for grid in report.grids],
        curves=[_curve(ranking, curve) for curve in report.curves[:_CURVES]],
        curves_left_out=max(0, len(report.curves) - _CURVES),
        pictures=[_picture(picture) for picture in report.pictures[:_PICTURES]],
        pictures_left_out=max(0, len(report.pictures) - _PICTURES),
        warnings=[one_line(warning) for warning in ranking.warnings],
        family=family_line(ranking),
        seed=ranking.seed,
        digest=ranking.suite_digest,
        side=SIDE,
        css=Markup(css),
        policy=content_policy(css),
    )
    return text.rstrip() + "\n"


def _about(ranking: Ranking, place: int) -> str:
    entry = ranking.entries[place]
    model = f", {one_line(entry.model, 120)}" if entry.model else ""
    documents = entry.index.get("documents")
    of = f", {documents:,} documents" if documents is not None else ""
    return f"{one_line(entry.provider)}{model}{of}, run {entry.run_id.removeprefix('sha256:')[:12]}"


def _lede(ranking: Ranking, metric: RankedMetric) -> str:
    """Who leads, and whom the leader is shown to be better than, in a sentence."""
    first = metric.order[0]
    name = clean(ranking.entries[first].name)
    beaten, others = len(metric.beats(first)), len(ranking.entries) - 1
    value = numbers.value(metric.values[first].value, metric.unit)
    if beaten == others:
        told = (
            "and is significantly better than every other candidate"
            if others > 1
            else "and is significantly better"
        )
    elif beaten:
        told = f"and is significantly better than {beaten} of {others}; the rest cannot be told apart from it"
    else:
        told = (
            "and cannot be told apart from any other candidate" if others > 1 else "and cannot be told apart"
        )
    return f"{name} comes first with {value}, {told}."


@dataclass(frozen=True, slots=True)
class _Cell:
    value: str
    sub: str
    shade: int


def _grid(ranking: Ranking, grid: Grid) -> dict[str, object]:
    low, high = bounds([cell.value for cells in grid.cells for row in cells for cell in row])
    return {
        "title": one_line(grid.metric),
        "tags": [one_line(key, 60) for key in grid.keys],
        "columns": [one_line(column, 40) for column in grid.columns],
        "untagged": numbers.count(grid.n_untagged) if grid.n_untagged else "",
        "candidates": [
            {
                "label": letter(place),
                "name": clean(ranking.entries[place].name),
                "rows": [
                    (
                        one_line(name, 40),
                        [
                            _Cell(
                                numbers.value(cell.value, grid.unit),
                                f"{interval(cell, grid.unit)}, n = {cell.n:,}" if cell.n else "no cases",
                                shade(cell.value, low, high),
                            )
                            for cell in row
                        ],
                    )
                    for name, row in zip(grid.rows, cells, strict=True)
                ],
            }
            for place, cells in enumerate(grid.cells)
        ],
    }


def _curve(ranking: Ranking, curve: Curve) -> dict[str, object]:
    entry = next(entry for entry in ranking.entries if entry.name == curve.candidate)
    return {
        "name": clean(curve.candidate),
        "metric": one_line(curve.metric),
        "line": line_of(curve),
        "rows": curve_rows(curve, entry),
    }


def _picture(picture: Picture) -> dict[str, object]:
    method = "t-SNE, perplexity 30, seed 42" if picture.method == "tsne" else "principal components"
    held = (
        f"; the two axes hold {picture.explained:.0%} of the variance"
        if picture.explained is not None
        else ""
    )
    return {
        "name": clean(picture.candidate),
        "how": f"{picture.n_queries:,} of {picture.of_queries:,} queries and {picture.n_documents:,} of "
        f"{picture.of_documents:,} documents, {method}{held}",
        "clouds": [(cloud, strip_control(one_line(cloud.group, 60))) for cloud in clouds(picture)],
    }
