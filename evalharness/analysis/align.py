"""Two runs → paired arrays. What is missing is decided here, in one place.

A case the baseline could not answer (failed, absent or unscored in every repeat) is left out of the pair and counted:
giving it the worst score would credit the candidate. A repeat the candidate could not answer counts as the worst score
the metric has. A metric without a worst score cannot pair such a case; it is left out, counted, and such a metric
cannot gate. Of a quantile every repeat counts by itself, and one the candidate could not answer as slower than all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalharness.core.cases import Case, GoldenSet
from evalharness.core.protocols import CorpusScorer, PoolingScorer, Scorer
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.scores import Metric, Score, Scored
from evalharness.core.suites import Suite
from evalharness.stats.quantiles import Attempts

Array = NDArray[np.float64]


def incomparable(suite: Suite, baseline: Run, candidate: Run) -> list[str]:
    """Why these runs cannot be compared on this suite; empty when they can."""
    return unfit("baseline", suite, baseline) + unfit("candidate", suite, candidate)


def unfit(role: str, suite: Suite, run: Run) -> list[str]:
    """Why a run cannot be compared on this suite; empty when it can. `role` is how the sentences call it."""
    problems: list[str] = []
    for golden_set in suite.golden_sets:
        found = run.golden_sets.get(golden_set.name)
        if found is None:
            problems.append(
                f"the {role} run {run.name!r} has no answers for golden set {golden_set.name!r}; "
                "run it on this suite"
            )
        elif found != golden_set.digest:
            problems.append(
                f"the {role} run {run.name!r} answered another version of golden set {golden_set.name!r} "
                f"({found[:19]} instead of {golden_set.digest[:19]}); run it again on this one"
            )
        else:
            answered = {case_id for case_id, _ in run.attempts[golden_set.name]}
            absent = sum(case.id not in answered for case in golden_set.cases)
            if absent:
                problems.append(
                    f"the {role} run {run.name!r} was asked {len(answered)} cases of golden set "
                    f"{golden_set.name!r} and not the {absent} others that this comparison needs (it comes from a "
                    "comparison that stopped early); complete it with: evalharness run CANDIDATE"
                )
    if not problems and run.suite_digest != suite.digest:
        problems.append(
            f"the {role} run {run.name!r} was scored under other scorers than suite {suite.name!r} has now; "
            "re-score it with: evalharness score RUN --suite SUITE"
        )
    return problems


@dataclass(frozen=True, slots=True)
class Paired:
    """One metric paired by case.

    `cases`, `baseline` and `candidate` have one entry a paired case: case values averaged over repeats, on the
    metric's own scale. `rows_baseline` and `rows_candidate` are (n, k) sufficient statistics of a corpus or log-ratio
    metric with `columns`, averaged over repeats, None otherwise. `attempts` are every repeat of baseline and candidate
    of a quantile metric, None otherwise; its case values are infinite where a repeat failed. `missing_*` count attempts
    without a score. `lost` holds the cases behind those counts: (case, missing in the baseline, missing in the
    candidate).
    `dropped_unbounded` counts cases left out because the metric has no worst value. `clusters` has a label for each
    case, None when no case names one; a case without one is its own cluster.
    """

    cases: tuple[Case, ...]
    baseline: Array
    candidate: Array
    columns: tuple[str, ...]
    rows_baseline: Array | None
    rows_candidate: Array | None
    missing_baseline: int
    missing_candidate: int
    lost: tuple[tuple[Case, int, int], ...]
    dropped_unbounded: int
    repeats_baseline: int
    repeats_candidate: int
    clusters: tuple[str, ...] | None
    attempts: tuple[Attempts, Attempts] | None = None


def pair(golden_set: GoldenSet, metric_id: str, scorer: Scorer, baseline: Run, candidate: Run) -> Paired:
    """Pair one metric of two comparable runs."""
    summed = scorer.metric.kind in ("corpus", "log_ratio")
    corpus = scorer if summed and isinstance(scorer, CorpusScorer) else None
    whole = scorer.metric.kind == "quantile"
    worst = _beyond_all(scorer.metric) if whole else scorer.metric.worst
    value = case_value(scorer)
    least = getattr(scorer, "least_repeats", 1)
    left, right = baseline.scores[metric_id], candidate.scores[metric_id]
    n_left, n_right = baseline.repeats, candidate.repeats
    cases: list[Case] = []
    values_left: list[float] = []
    values_right: list[float] = []
    stats_left: list[list[Scored]] = []
    stats_right: list[list[Scored]] = []
    lost: list[tuple[Case, int, int]] = []
    dropped = 0
    for case in golden_set.cases:
        before, lost_before = _scored(left, case.id, n_left)
        after, lost_after = _scored(right, case.id, n_right)
        if lost_before or lost_after:
            lost.append((case, lost_before, lost_after))
        if len(before) < least:
            continue
        if lost_after:
            if corpus is not None and scorer.metric.kind == "corpus":
                after.extend([corpus.worst(case)] * lost_after)
            elif worst is not None:
                after.extend([Scored(worst)] * lost_after)
            else:
                dropped += 1
                continue
        cases.append(case)
        values_left.append(value(before))
        values_right.append(value(after))
        if corpus is not None or whole:
            stats_left.append(before)
            stats_right.append(after)
    columns: tuple[str, ...] = ()
    rows_left = rows_right = None
    if corpus is not None:
        place = _places(corpus, stats_left, stats_right)
        columns = tuple(sorted(set(place.values())))
        index = {name: columns.index(column) for name, column in place.items()}
        rows_left = _rows(stats_left, index, len(columns))
        rows_right = _rows(stats_right, index, len(columns))
    return Paired(
        cases=tuple(cases),
        baseline=np.asarray(values_left, dtype=np.float64),
        candidate=np.asarray(values_right, dtype=np.float64),
        columns=columns,
        rows_baseline=rows_left,
        rows_candidate=rows_right,
        missing_baseline=sum(before for _, before, _ in lost),
        missing_candidate=sum(after for _, _, after in lost),
        lost=tuple(lost),
        dropped_unbounded=dropped,
        repeats_baseline=n_left,
        repeats_candidate=n_right,
        clusters=clusters_of(cases),
        attempts=(_attempts(stats_left, n_left), _attempts(stats_right, n_right)) if whole else None,
    )


def _beyond_all(metric: Metric) -> float:
    """What a failed attempt counts as in a quantile: worse than any value there is."""
    return math.inf if metric.direction == "lower" else metric.low or 0.0


def _attempts(side: Sequence[Sequence[Scored]], repeats: int) -> Attempts:
    values = np.zeros((len(side), repeats))
    held = np.zeros((len(side), repeats), dtype=np.bool_)
    for place, scores in enumerate(side):
        values[place, : len(scores)] = [score.value for score in scores]
        held[place, : len(scores)] = True
    return Attempts(values, held)


def values_of(
    metric_id: str, baseline: Run, candidate: Run, cases: Sequence[Case]
) -> dict[str, tuple[float, float]]:
    """Case id → its values on both sides, averaged over repeats, for the cases that have a score on both."""
    found: dict[str, tuple[float, float]] = {}
    for case in cases:
        before, _ = _scored(baseline.scores[metric_id], case.id, baseline.repeats)
        after, _ = _scored(candidate.scores[metric_id], case.id, candidate.repeats)
        if before and after:
            found[case.id] = _mean(before), _mean(after)
    return found


def clusters_of(cases: Sequence[Case]) -> tuple[str, ...] | None:
    """As `Paired.clusters`."""
    if all(case.cluster is None for case in cases):
        return None
    return tuple(f"case {c.id}" if c.cluster is None else f"cluster {c.cluster}" for c in cases)


def _scored(scores: Mapping[AttemptKey, Score], case_id: str, repeats: int) -> tuple[list[Scored], int]:
    """The scores a case has, and how many of its repeats have none."""
    found = []
    for repeat in range(repeats):
        score = scores.get((case_id, repeat))
        if isinstance(score, Scored):
            found.append(score)
    return found, repeats - len(found)


def case_value(scorer: Scorer) -> Callable[[Sequence[Scored]], float]:
    """How one case's value comes from the scores of its repeats: their mean, or as the scorer pools them."""
    if isinstance(scorer, PoolingScorer):
        pool = scorer.pool
        return lambda scores: pool([s.value for s in scores])
    return _mean


def _mean(scores: Sequence[Scored]) -> float:
    return scores[0].value if len(scores) == 1 else sum(s.value for s in scores) / len(scores)


def _places(corpus: CorpusScorer, *sides: Sequence[Sequence[Scored]]) -> Mapping[str, str]:
    """The column each statistic that occurs is added to."""
    names: set[str] = set()
    for side in sides:
        for scores in side:
            for score in scores:
                names.update(score.stats)
    fold: Callable[[Sequence[str]], Mapping[str, str]] | None = getattr(corpus, "fold", None)
    return fold(sorted(names)) if fold is not None else {name: name for name in names}


def _rows(side: Sequence[Sequence[Scored]], index: Mapping[str, int], width: int) -> Array:
    rows = np.zeros((len(side), width))
    for place, scores in enumerate(side):
        for score in scores:
            for name, value in score.stats.items():
                rows[place, index[name]] += value / len(scores)
    return rows
