"""Runs and reports → each metric over time, with the difference of each run to its anchor.

Values are those of `analysis.alone`; differences are paired by case with the gate's own statistics, the anchor in the
baseline's role, exactly as drift since a release is measured in a comparison (`analysis.drift`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from evalharness.analysis.align import pair
from evalharness.analysis.alone import standing
from evalharness.analysis.estimating import Levels, Sample, estimated
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.estimates import LEVEL
from evalharness.core.histories import MetricHistory, Point, Segment, Since
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.scores import Direction, Scored
from evalharness.core.suites import EvalSpec, Suite
from evalharness.history.finding import Catalogue, FoundRun
from evalharness.history.reading import RunScores
from evalharness.stats.margins import drop_of
from evalharness.stats.streams import stream

_SHORT: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a metric beside its values."""

    metric: str
    unit: str
    direction: Direction
    item: EvalSpec | None = None
    scorer: Scorer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to measure.

    Attributes:
        suite: that decides how values are read; None: reports alone are looked at.
        documents: comparison.json of each report that has one.
        anchor: the run id that all are held against; None: the first run of each segment.
        last: newest points of a metric that are shown.
        seed: of every random draw.
    """

    suite: Suite | None
    documents: Mapping[Path, Mapping[str, Any]]
    anchor: str | None
    last: int
    seed: int


def chosen(known: Known, catalogue: Catalogue, question: Question) -> list[FoundRun]:
    """The runs whose scores of a metric are needed: the newest, and those they are held against."""
    if known.scorer is None:
        return []
    having = _having(known, catalogue)
    newest = having[-question.last :]
    anchors = _anchors(having, question.anchor)
    needed = {run.folder for run in newest}
    needed |= {anchors[key].folder for run in newest if (key := _key(run)) in anchors}
    return [run for run in having if run.folder in needed]


def measured(
    known: Known,
    catalogue: Catalogue,
    question: Question,
    read: Mapping[Path, RunScores],
    show: Callable[[Path], str],
) -> MetricHistory:
    """One metric over time. `read` holds the scores of the `chosen` runs; `show` writes a path for people."""
    having = _having(known, catalogue) if known.scorer is not None else []
    anchors = _anchors(having, question.anchor)
    newest = having[-question.last :]
    points: list[tuple[tuple[str, ...], Point]] = [
        ((*_key(run), ""), _of_run(known, run, anchors.get(_key(run)), question, read, show))
        for run in newest
    ]
    seen = {(run.manifest["run_id"], run.when) for run in having}
    points += _of_reports(known, catalogue, question.documents, seen, show)
    points.sort(key=lambda found: (found[1].when, found[1].name, found[1].run_id))
    shown = points[-question.last :]
    segments = _segments(known, shown, question, {run.manifest["run_id"]: run for run in having})
    return MetricHistory(
        metric=known.metric,
        unit=known.unit,
        direction=known.direction,
        points=tuple(replace(point, segment=segments[key].number) for key, point in shown),
        segments=tuple(segments.values()),
        left_out=len(having) - len(newest) + len(points) - len(shown),
    )


def _having(known: Known, catalogue: Catalogue) -> list[FoundRun]:
    return [run for run in catalogue.runs if known.metric in run.manifest["metrics"]]


def _key(run: FoundRun) -> tuple[str, str]:
    """What a run must share with another to be joined to it."""
    return run.manifest["name"], run.manifest["suite"]["digest"]


def _anchors(runs: Sequence[FoundRun], named: str | None) -> dict[tuple[str, str], FoundRun]:
    """By what is joined, the run that it is held against."""
    found: dict[tuple[str, str], FoundRun] = {}
    if named is None:
        for run in runs:
            found.setdefault(_key(run), run)
        return found
    anchor = next((run for run in runs if run.manifest["run_id"] == named), None)
    if anchor is None:
        return {}
    digest = anchor.manifest["suite"]["digest"]
    return {_key(run): anchor for run in runs if run.manifest["suite"]["digest"] == digest}


def _of_run(
    known: Known,
    run: FoundRun,
    anchor: FoundRun | None,
    question: Question,
    read: Mapping[Path, RunScores],
    show: Callable[[Path], str],
) -> Point:
    assert known.scorer is not None and known.item is not None and question.suite is not None
    about = run.manifest
    point = Point(
        when=run.when,
        name=about["name"],
        run_id=about["run_id"],
        place=show(run.folder),
        source="run",
        segment=0,
        value=None,
        n=None,
        missing=None,
        anchor=anchor is not None and anchor.folder == run.folder,
    )
    held = read[run.folder]
    if held.problem is not None:
        return replace(point, problem=held.problem.replace(str(run.folder), point.place))
    golden_set, problem = _asked(known, run, held)
    bare = _bare(known.metric, run, held)
    if problem is not None and known.scorer.metric.kind == "corpus":
        # how bad the worst answer to a case is needs the case: one that is not known is left out where it has no score
        lost = [
            key for key, score in held.scores.get(known.metric, {}).items() if not isinstance(score, Scored)
        ]
        unread = {case_id for case_id, _ in lost}
        kept = tuple(case for case in golden_set.cases if case.id not in unread)
        own = standing(replace(golden_set, cases=kept), known.metric, known.scorer, bare)
        own = replace(own, missing=len(lost))
    else:
        own = standing(golden_set, known.metric, known.scorer, bare)
    point = replace(point, value=own.value, n=own.n, missing=own.missing)
    if point.anchor:
        return point
    if anchor is None:
        return replace(point, problem="another suite or golden set than the anchor's")
    if problem is not None:
        return replace(point, problem=problem)
    before = read[anchor.folder]
    if before.problem is not None:
        why = before.problem.replace(str(anchor.folder), show(anchor.folder))
        return replace(point, problem=f"the anchor cannot be used: {why}")
    return _held_against(known, point, golden_set, (anchor, before), bare, question)


def _held_against(
    known: Known,
    point: Point,
    golden_set: GoldenSet,
    anchor: tuple[FoundRun, RunScores],
    run: Run,
    question: Question,
) -> Point:
    """The point with its difference to the anchor, over the cases that both were asked."""
    assert known.scorer is not None and question.suite is not None
    base = _bare(known.metric, *anchor)
    asked = {case_id for case_id, _ in anchor[1].scores.get(known.metric, {})}
    both = replace(golden_set, cases=tuple(case for case in golden_set.cases if case.id in asked))
    paired = pair(both, known.metric, known.scorer, base, run)
    if not paired.cases:
        return replace(point, problem="no case has a score in both runs")
    gate = question.suite.gate
    sample = Sample(
        scorer=known.scorer,
        paired=paired,
        index=np.arange(len(paired.cases)),
        runs=(base, run),
        labels=None,
        labels_scorer=None,
        levels=Levels(gate.alpha, LEVEL),
        rng=stream(
            question.seed, known.metric
        ),  # the stream of `compare`: the same pair has the same interval
    )
    try:
        estimate = estimated(sample, whole=False).estimate
    except ValueError as error:  # values no statistic can be made of
        return replace(point, problem=f"it could not be estimated: {error}")
    rule = gate.rule(known.metric)
    margin = rule.margin or (gate.max_drop if not rule.advisory else None)
    ends = (estimate.interval.low, estimate.interval.high)
    sign = 1.0 if known.direction == "higher" else -1.0
    low, high = ends if sign > 0 else (-ends[1], -ends[0])
    since = Since(
        anchor=base.id,
        n=estimate.n,
        delta=sign * estimate.delta + 0.0,
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        method=estimate.interval.method,
        p_drop=estimate.p_drop,
        exceeds=margin is not None
        and estimate.delta <= drop_of(margin.absolute(abs(estimate.baseline)))
        and estimate.p_drop <= gate.alpha,
    )
    return replace(point, since=since)


def _asked(known: Known, run: FoundRun, held: RunScores) -> tuple[GoldenSet, str | None]:
    """The cases a run was asked, and why it cannot be paired with another; None where it can.

    Where the golden set has another version by now, its cases are known by their ids alone: enough for a value, and not
    for a difference, whose interval needs to know which cases hang together.
    """
    assert known.item is not None
    asked = {case_id for case_id, _ in held.scores.get(known.metric, {})}
    golden_set = known.item.golden_set
    if run.manifest["golden_sets"].get(golden_set.name) == golden_set.digest:
        return replace(golden_set, cases=tuple(case for case in golden_set.cases if case.id in asked)), None
    stubs = tuple(Case(id=case_id) for case_id in sorted(asked))
    name = golden_set.name
    return (
        GoldenSet(card=Card(name=name, version="", task=""), cases=stubs, digest=""),
        f"it answered another version of golden set {name!r} than the one on disk",
    )


def _bare(metric: str, run: FoundRun, held: RunScores) -> Run:
    """A run with the scores of one metric and nothing else."""
    about = run.manifest
    return Run(
        id=about["run_id"],
        name=about["name"],
        candidate_digest=about["candidate"]["digest"],
        suite_name=about["suite"]["name"],
        suite_digest=about["suite"]["digest"],
        golden_sets=about["golden_sets"],
        repeats=about["repeats"],
        attempts={},
        scores={
            metric: {key: score for key, score in held.scores.get(metric, {}).items() if score is not None}
        },
    )


def _of_reports(
    known: Known,
    catalogue: Catalogue,
    documents: Mapping[Path, Mapping[str, Any]],
    seen: set[tuple[str, datetime]],
    show: Callable[[Path], str],
) -> list[tuple[tuple[str, ...], Point]]:
    """Points of runs that are known from reports alone; of a preference, every comparison's."""
    found: dict[tuple[str, ...], tuple[tuple[str, ...], Point]] = {}
    stored = {(run.manifest["candidate"]["digest"], run.when): run for run in catalogue.runs}
    for report in catalogue.reports:
        document = documents.get(report.folder)
        if document is None:
            continue
        row = next((row for row in document["metrics"] if row["id"] == known.metric), None)
        if row is None:
            continue
        preference = row.get("kind") == "preference"
        for role in ("candidate",) if preference else ("baseline", "candidate"):
            about, other = document[role], document["baseline"]
            if (about["run_id"], report.when[role]) in seen and not preference:
                continue
            against = other["run_id"] if preference else ""
            key = (about["name"], document["suite"]["digest"], against)
            there = stored.get((about["digest"], report.when[role]))
            if (
                there is not None
                and there.manifest["suite"]["digest"] == document["suite"]["digest"]
                and not preference
            ):
                continue  # the report is of one look at the run
            point = Point(
                when=report.when[role],
                name=about["name"],
                run_id=about["run_id"],
                place=show(report.folder),
                source="report",
                segment=0,
                value=row.get(role),
                n=row.get("n"),
                missing=(row.get("n_missing") or {}).get(role),
                against=other["name"] if preference else None,
                problem=None if preference else _alone(there.folder if there is not None else None, show),
            )
            found.setdefault((*key, about["run_id"], str(report.when[role])), (key, point))
    return list(found.values())


def _alone(there: Path | None, show: Callable[[Path], str]) -> str:
    """Why a report's run is held against none. `there`: its run, as another suite has scored it."""
    if there is None:
        return "known from a report alone: its run is not there"
    return (
        "known from a report alone: its run is stored as another state of the suite scored it; evalharness score "
        f"{show(there)} scores it as the suite is now"
    )


def _segments(
    known: Known,
    points: Sequence[tuple[tuple[str, ...], Point]],
    question: Question,
    runs: Mapping[str, FoundRun],
) -> dict[tuple[str, ...], Segment]:
    """What is joined, numbered in order of first appearance, with what parts it from the one before of its name."""
    found: dict[tuple[str, ...], Segment] = {}
    sets: dict[str, str | None] = {}
    before: dict[str, tuple[str, ...]] = {}
    for key, point in points:
        if key in found:
            continue
        name, digest = key[0], key[1]
        run = runs.get(point.run_id)
        current = question.suite is not None and digest == question.suite.digest
        answered = _set_digest(known, run, current)
        earlier = before.get(name)
        apart = None
        if earlier is not None:
            old = sets[earlier[1]]
            if earlier[1] == digest:
                apart = f"held against another baseline ({point.against})"
            elif old is None or answered is None:
                apart = "another suite digest: its golden sets or scorers changed"
            elif old != answered:
                apart = "another version of the golden set"
            else:
                apart = "the same golden set under other scorers or beside other evals"
        found[key] = Segment(
            number=len(found),
            name=name,
            suite_digest=digest,
            golden_set=_set_name(known, answered),
            current=current,
            apart=apart,
        )
        sets[digest] = answered
        before[name] = key
    return found


def _set_digest(known: Known, run: FoundRun | None, current: bool) -> str | None:
    if run is not None:
        digest = run.manifest["golden_sets"].get(run.manifest["metrics"].get(known.metric))
        return digest if isinstance(digest, str) else None
    return known.item.golden_set.digest if current and known.item is not None else None


def _set_name(known: Known, digest: str | None) -> str:
    if digest is None:
        return "not known"
    if known.item is not None and digest == known.item.golden_set.digest:
        return f"{known.item.golden_set.name} {known.item.golden_set.card.version}".strip()
    name = known.item.golden_set.name if known.item is not None else ""
    return f"{name} {digest.removeprefix('sha256:')[:_SHORT]}".strip()
