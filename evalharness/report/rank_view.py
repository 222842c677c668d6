"""A ranking as rows of text, once for every renderer: what is shown is decided here, how it looks elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from evalharness.analysis.ranking import Entry, Pair, RankedMetric, Ranking
from evalharness.analysis.ranking_grid import Curve, Grid
from evalharness.analysis.ranking_picture import Picture
from evalharness.analysis.ranking_value import Value
from evalharness.report import numbers
from evalharness.report.text import one_line

NAME: Final = 60
"""Characters of a candidate's name that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """Everything a ranking's renderers need. They compute nothing from anything else."""

    ranking: Ranking
    grids: tuple[Grid, ...] = ()
    curves: tuple[Curve, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRow:
    """One candidate under one metric. `label` is its letter, the same under every metric."""

    place: int
    label: str
    name: str
    value: str
    interval: str
    beats: str
    worst: int
    dimension: str
    index: str
    p50: str
    p95: str
    tokens: str
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One pair, the better value first. `verdict` says who is better, or that nobody is."""

    first: str
    second: str
    delta: str
    interval: str
    p: str
    counts: str
    verdict: str
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricView:
    """One metric: candidates from best to worst, the matrix of wins, ties and losses in that order, and all pairs."""

    id: str
    about: str
    rows: tuple[CandidateRow, ...]
    matrix: tuple[tuple[str, tuple[str, ...]], ...]
    pairs: tuple[PairRow, ...]


def letter(place: int) -> str:
    """The letter of a candidate by its place: A to Z, then AA, AB and so on."""
    return (letter(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)


def clean(name: str) -> str:
    """A candidate's name as it is shown."""
    return one_line(name, NAME) or "unnamed"


def metric_views(report: RankReport) -> tuple[MetricView, ...]:
    """A view for each metric."""
    return tuple(_view(report.ranking, metric) for metric in report.ranking.metrics)


def _view(ranking: Ranking, metric: RankedMetric) -> MetricView:
    by_places = {(p.first, p.second): p for p in metric.pairs}
    direction = "higher is better" if metric.direction == "higher" else "lower is better"
    unit = "" if metric.unit == "fraction" else f"{metric.unit}, "
    cases = f"{metric.n:,} case" + ("" if metric.n == 1 else "s")
    return MetricView(
        id=one_line(metric.id, NAME),
        about=f"{unit}{direction}, {cases}",
        rows=tuple(_row(ranking.entries[place], place, metric) for place in metric.order),
        matrix=tuple(
            (letter(row), tuple(_counts(by_places, row, column) for column in metric.order))
            for row in metric.order
        ),
        pairs=tuple(
            _pair(by_places, metric, better, worse)
            for number, better in enumerate(metric.order)
            for worse in metric.order[number + 1 :]
        ),
    )


def _row(entry: Entry, place: int, metric: RankedMetric) -> CandidateRow:
    value = metric.values[place]
    beaten = metric.beats(place)
    facts, index = entry.facts, entry.index
    return CandidateRow(
        place=place,
        label=letter(place),
        name=clean(entry.name),
        value=numbers.value(value.value, metric.unit),
        interval=interval(value, metric.unit),
        beats=", ".join(letter(other) for other in beaten) or numbers.DASH,
        worst=metric.n_worst[place],
        dimension=numbers.count(index.get("dimension")),
        index=mib(index.get("index_mib")),
        p50=_milliseconds(facts, "latency_p50_ms"),
        p95=_milliseconds(facts, "latency_p95_ms"),
        tokens=numbers.count(tokens(facts)),
        cost=numbers.DASH if facts.get("cost_usd") is None else numbers.money(facts["cost_usd"]),
    )


def interval(value: Value, unit: str) -> str:
    """A value's interval as "[78.1, 84.4]", in per cent for fractions; "–" where there is none."""
    ends = [numbers.value(end, unit).removesuffix("%") for end in (value.low, value.high)]
    return numbers.DASH if numbers.DASH in ends else f"[{ends[0]}, {ends[1]}]"


def mib(size: float | None) -> str:
    """The size of an index: "14.6", "<0.1"; "–" where there is none."""
    if size is None:
        return numbers.DASH
    return "<0.1" if size < 0.1 else f"{size:,.1f}"


def tokens(facts: Mapping[str, Any]) -> int | None:
    """All tokens of the answers, None where nobody told."""
    known = [facts[key] for key in ("input_tokens", "output_tokens") if facts.get(key) is not None]
    return sum(known) if known else None


def _milliseconds(facts: Mapping[str, Any], key: str) -> str:
    found = facts.get(key)
    return numbers.DASH if found is None else f"{found:,.1f}" if found < 100 else f"{found:,.0f}"


def _counts(pairs: Mapping[tuple[int, int], Pair], row: int, column: int) -> str:
    """Cases on which the candidate of the row wins, ties and loses against that of the column."""
    if row == column:
        return "·"
    one = pairs[min(row, column), max(row, column)]
    if one.problem is not None:
        return numbers.DASH
    wins, losses = (one.wins, one.losses) if row > column else (one.losses, one.wins)
    return f"{wins:,}/{one.ties:,}/{losses:,}"


def _pair(pairs: Mapping[tuple[int, int], Pair], metric: RankedMetric, better: int, worse: int) -> PairRow:
    """The pair as better − worse."""
    one = pairs[min(better, worse), max(better, worse)]
    ends = (one.delta, one.low, one.high)
    if better == one.first:
        ends = tuple(None if end is None else 0.0 - end for end in (one.delta, one.high, one.low))  # type: ignore[assignment]
    if one.problem is not None:
        verdict = one_line(one.problem, 160)
    elif one.better is None:
        verdict = "not told apart"
    else:
        verdict = f"{letter(one.better)} is better"
    return PairRow(
        first=letter(better),
        second=letter(worse),
        delta=numbers.difference(ends[0], metric.unit),
        interval=numbers.DASH if ends[1] is None else numbers.interval(ends[1], ends[2], metric.unit),
        p=numbers.p_value(one.p_adjusted),
        counts=_counts(pairs, better, worse),
        verdict=verdict,
        sure=one.better is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveRow:
    """One number of dimensions."""

    dimension: str
    index: str
    value: str
    interval: str
    delta: str
    delta_interval: str
    p: str
    worse: bool


def curve_rows(curve: Curve, entry: Entry) -> tuple[CurveRow, ...]:
    """The rows of a curve, all dimensions first."""
    full = curve.points[0].dimension
    size = entry.index.get("index_mib")
    rows = []
    for point in curve.points:
        pair = point.pair
        estimated = pair is not None and pair.delta is not None
        rows.append(
            CurveRow(
                dimension=numbers.count(point.dimension),
                index=mib(None if size is None else size * point.dimension / full),
                value=numbers.value(point.value.value, curve.unit),
                interval=interval(point.value, curve.unit),
                delta=numbers.difference(pair.delta, curve.unit) if pair and estimated else numbers.DASH,
                delta_interval=numbers.interval(pair.low, pair.high, curve.unit)
                if pair and estimated
                else numbers.DASH,
                p=numbers.p_value(pair.p_adjusted) if pair else numbers.DASH,
                worse=pair is not None and pair.better == 0,
            )
        )
    return tuple(rows)


def family_line(ranking: Ranking) -> str:
    """What the p-values are adjusted for, in a sentence."""
    metrics = "1 metric" if len(ranking.metrics) == 1 else f"{len(ranking.metrics)} metrics"
    tests = "1 test" if ranking.family == 1 else f"{ranking.family:,} tests"
    return (
        f"Two-sided paired tests of every pair on {metrics}, {tests}, adjusted together by Holm at "
        f"{ranking.alpha:g}. A pair that is not told apart has not been shown to be equal."
    )
