"""Rankings and histories made for tests, and with hostile strings in every place that takes one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import build

from evalharness.analysis.ranking import Entry, Pair, RankedMetric, Ranking
from evalharness.analysis.ranking_grid import Curve, CurvePoint, Grid
from evalharness.analysis.ranking_picture import Dot, Picture
from evalharness.analysis.ranking_value import NO_VALUE, Value
from evalharness.core.histories import History, MetricHistory, Point, Segment, Since
from evalharness.report.rank_view import RankReport


def value(at: float, n: int = 202) -> Value:
    return Value(value=at, low=at - 0.05, high=at + 0.06, method="bootstrap", n=n)


def pair(better: int | None = 0) -> Pair:
    return Pair(
        first=0, second=1, delta=-0.1, low=-0.16, high=-0.04, p_value=0.001, p_adjusted=0.003, better=better
    )


def ranking(
    names: Sequence[str] = ("bm25", "first-words"),
    metrics: Sequence[str] = ("search/ndcg@10", "search/mrr"),
    tags: Sequence[str] = ("de", "en"),
    warnings: Sequence[str] = ("the last answers of one run are from a cache",),
) -> RankReport:
    """Two candidates with a grid, a curve of three sizes and a picture of their space."""
    ranked = tuple(
        RankedMetric(
            id=name, unit="fraction", direction="higher", values=(value(0.54), value(0.41)), order=(0, 1),
            pairs=(pair(),), n=202, n_left_out=0, n_worst=(0, 12),
        )
        for name in metrics
    )  # fmt: skip
    row = (value(0.7, 16), NO_VALUE)
    points = (
        CurvePoint(dimension=256, value=value(0.54), pair=None),
        CurvePoint(dimension=128, value=value(0.53), pair=pair(None)),
        CurvePoint(dimension=64, value=value(0.44), pair=pair(0)),
    )
    dots = tuple(Dot(x=i / 9, y=(i * 7 % 9) / 9, group=i % len(tags), query=i % 3 == 0) for i in range(9))
    return RankReport(
        ranking=Ranking(
            suite=names[0], suite_digest="sha256:" + "c" * 64, seed=1, alpha=0.05,
            entries=tuple(
                Entry(name=name, provider="embeddings", model=name, run_id="sha256:" + "a" * 64,
                      digest="sha256:" + "b" * 64, repeats=1, index={"documents": 48})
                for name in names[:2]
            ),
            metrics=ranked, family=2, warnings=tuple(warnings),
        ),
        grids=(
            Grid(metric=metrics[0], unit="fraction", keys=(tags[0], tags[1]), rows=tuple(tags[:2]),
                 columns=tuple(tags[:2]), cells=((row, row), (row, row)), n_untagged=3),
        ),
        curves=(Curve(candidate=names[0], metric=metrics[0], unit="fraction", direction="higher", points=points),),
        pictures=(
            Picture(candidate=names[0], method="pca", explained=0.31, groups=tuple(tags), dots=dots,
                    n_queries=3, n_documents=6, of_queries=3, of_documents=6),
        ),
    )  # fmt: skip


def history(
    names: Sequence[str] = ("support-bot", "another"),
    metrics: Sequence[str] = ("routing/exact_match", "answers/length"),
    why: str = "another golden set",
) -> History:
    """Two names over five days: one falls since its anchor, the other begins anew with another golden set."""
    since = Since(
        anchor="sha256:" + "a" * 64, n=300, delta=-0.06, low=-0.09, high=-0.03, method="Tango score",
        p_drop=0.001, exceeds=True,
    )  # fmt: skip

    def point(day: int, at: float | None, number: int) -> Point:
        return Point(
            when=datetime(2026, 8, day, 12, tzinfo=UTC), name=names[number % 2], run_id=f"sha256:{day:064d}",
            place=why, source="run", segment=number, value=at, n=300, missing=2, anchor=day == 1,
            since=since if at == 0.75 else None, problem=why if at is None else None,
        )  # fmt: skip

    points = (point(1, 0.81, 0), point(2, 0.83, 0), point(3, None, 1), point(4, 0.75, 0), point(5, 0.9, 2))
    segments = tuple(
        Segment(number=i, name=names[i % 2], suite_digest="sha256:" + "c" * 64, golden_set=why,
                current=True, apart=why if i == 2 else None)
        for i in range(3)
    )  # fmt: skip
    return History(
        suite=names[0],
        metrics=tuple(
            MetricHistory(metric=m, unit="fraction", direction="higher", points=points, segments=segments, left_out=3)
            for m in metrics
        ),
        runs=5, reports=1, skipped=((why, why),), warnings=(why,),
    )  # fmt: skip


EVERYWHERE = " ".join(build.NASTY)


def nasty_ranking() -> RankReport:
    """Hostile names, metrics, tags and warnings."""
    return ranking((EVERYWHERE, "x" + EVERYWHERE), build.NASTY, build.NASTY, build.NASTY)


def nasty_history() -> History:
    """Hostile names, metrics, golden sets and warnings."""
    return history((EVERYWHERE, "x" + EVERYWHERE), build.NASTY, EVERYWHERE)
