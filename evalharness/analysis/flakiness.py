"""Two runs of one candidate (A/A) → how much each metric moves when nothing changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalharness.analysis.align import Array, clusters_of
from evalharness.analysis.changes import Keys
from evalharness.core.attempts import Attempt, Response
from evalharness.core.candidates import AGAIN
from evalharness.core.cases import GoldenSet
from evalharness.core.comparisons import Flakiness, FlakyCase, MetricComparison
from evalharness.core.protocols import Scorer
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.scores import Scored
from evalharness.core.suites import Suite
from evalharness.stats.flakiness import false_drop_rate, spread
from evalharness.stats.streams import stream


def flakiness(
    suite: Suite,
    baseline: Run,
    candidate: Run,
    scorers: Mapping[str, Scorer],
    metrics: Sequence[MetricComparison],
    keys: Keys,
    *,
    seed: int,
) -> tuple[Flakiness, ...]:
    """How much each metric moves by itself; empty where the sides are not two samples of one candidate.

    All answers of both runs count. An answer that both runs hold (the cache gave it to one of them) counts once, a
    failed or unscored one does not count, and a case with fewer than two answers is left out of the metric's numbers.
    Corpus metrics and quantiles are left out: they are no mean of case values. So are metrics without a margin to hold
    a drop against, and those with two answers to fewer than two cases.

    Args:
        suite: what the runs are compared on.
        baseline: one run.
        candidate: the other, of the same candidate.
        scorers: by metric id.
        metrics: the comparison's, for their margins.
        keys: the names of the cases in reports.
        seed: of the random deals, with the metric's id.
    """
    if not _samples(suite, baseline, candidate):
        return ()
    margins = {metric.id: metric.max_drop for metric in metrics}
    found = []
    for metric_id, item, _ in suite.metrics:
        scorer = scorers[metric_id]
        margin = margins.get(metric_id, 0.0)
        if scorer.metric.kind in ("corpus", "quantile") or margin <= 0:
            continue
        answers = _answers(item.golden_set, metric_id, scorer, baseline, candidate)
        if np.count_nonzero(answers.given.sum(axis=1) >= 2) < 2:
            continue
        split = spread(answers.values, answers.given)
        flaky = _flaky(answers, item.golden_set, keys) if scorer.metric.kind == "binary" else ()
        found.append(
            Flakiness(
                metric=metric_id,
                cases=split.cases,
                answers=answers.values.shape[1],
                between_cases=split.between_cases,
                within_cases=split.within_cases,
                flips=split.flips,
                false_drops=false_drop_rate(
                    answers.values,
                    answers.given,
                    first=baseline.repeats,
                    margin=margin,
                    clusters=answers.clusters,
                    rng=stream(seed, "flakiness", metric_id),
                ),
                flaky=flaky,
            )
        )
    return tuple(found)


def flakiness_warnings(suite: Suite, baseline: Run, candidate: Run) -> list[str]:
    """What limits what two runs of one candidate say of its flakiness."""
    if not _one_candidate(baseline, candidate):
        return []
    pairs = list(_pairs(suite, baseline, candidate))
    same = sum(_is_same(before, after, baseline.id == candidate.id) for before, after in pairs)
    if pairs and same == len(pairs):
        return [
            "both sides hold the very same answers, so this says nothing of how much they vary; a candidate that can "
            "be asked answers twice when its .yaml is given for both sides with --fresh, a recording never does"
        ]
    warnings = []
    if same:
        warnings.append(
            f"{same} of {len(pairs)} answers are the very same on both sides (one side has them from the cache) and "
            "count once for flakiness; --fresh asks for all of them anew"
        )
    if baseline.manifest["candidate"].get("decoding", {}).get("seed") is not None:
        warnings.append(
            "decoding.seed is fixed, so both runs sent the same seeds: what varies here is the endpoint's own noise; "
            "remove it to measure the noise of sampling too"
        )
    return warnings


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers to one metric's cases, higher is better.

    `values` and `given` have shape (cases, repeats of the first run + of the second); a value that is not given is 0.
    `clusters` as in `Paired`.
    """

    values: Array
    given: NDArray[np.bool_]
    clusters: tuple[str, ...] | None


def _answers(
    golden_set: GoldenSet, metric_id: str, scorer: Scorer, baseline: Run, candidate: Run
) -> _Answers:
    cases = golden_set.cases
    shape = (len(cases), baseline.repeats + candidate.repeats)
    values, given = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    sign = 1.0 if scorer.metric.direction == "higher" else -1.0
    # 0/1 where lower is better stays 0/1, with 1 for a pass
    shift = 1.0 if sign < 0 and scorer.metric.kind == "binary" else 0.0
    one_run = baseline.id == candidate.id
    for start, run in ((0, baseline), (baseline.repeats, candidate)):
        scores = run.scores[metric_id]
        for row, case in enumerate(cases):
            for repeat in range(run.repeats):
                score = scores.get((case.id, repeat))
                if not isinstance(score, Scored):
                    continue
                if start and _repeated(golden_set.name, (case.id, repeat), baseline, candidate, one_run):
                    continue
                values[row, start + repeat] = shift + sign * score.value
                given[row, start + repeat] = True
    return _Answers(values, given, clusters_of(cases))


def _flaky(answers: _Answers, golden_set: GoldenSet, keys: Keys) -> tuple[FlakyCase, ...]:
    """The cases that passed and failed, the most balanced first, then in the order of the golden set."""
    held = answers.given.sum(axis=1)
    passed = np.where(answers.given, answers.values >= 0.5, False).sum(axis=1)
    rows = np.flatnonzero((passed > 0) & (passed < held))
    rates = passed[rows] / held[rows]
    order = np.argsort(np.round(np.abs(rates - 0.5), 12), kind="stable")
    return tuple(
        FlakyCase(
            key=keys[golden_set.name, golden_set.cases[rows[i]].id],
            rate=float(rates[i]),
            answers=int(held[rows[i]]),
        )
        for i in order
    )


def _samples(suite: Suite, baseline: Run, candidate: Run) -> bool:
    """Whether the runs are of one candidate and at least one answer was asked for apart."""
    if not _one_candidate(baseline, candidate):
        return False
    one_run = baseline.id == candidate.id
    return any(not _is_same(before, after, one_run) for before, after in _pairs(suite, baseline, candidate))


def _one_candidate(baseline: Run, candidate: Run) -> bool:
    """Whether one candidate answered in both runs, as far as its digest can tell.

    Where it cannot (the user's own code may have changed under it), the runs must have been made side by side.
    """
    if baseline.candidate_digest != candidate.candidate_digest:
        return False
    pinned = candidate.manifest["candidate"].get("cacheable", True)
    return pinned or candidate.name == baseline.name + AGAIN


def _pairs(suite: Suite, baseline: Run, candidate: Run) -> Iterator[tuple[Attempt, Attempt]]:
    """The attempts that both runs made with the same request."""
    for golden_set in suite.golden_sets:
        first, second = baseline.attempts[golden_set.name], candidate.attempts[golden_set.name]
        ids = {case.id for case in golden_set.cases}
        for key, attempt in first.items():
            if key[0] in ids and key in second:
                yield attempt, second[key]


def _repeated(golden_set: str, key: AttemptKey, baseline: Run, candidate: Run, one_run: bool) -> bool:
    before = baseline.attempts[golden_set].get(key)
    return before is not None and _is_same(before, candidate.attempts[golden_set][key], one_run)


def _is_same(before: Attempt, after: Attempt, one_run: bool) -> bool:
    """Whether two attempts are one answer, read twice, and not two that agree.

    Two calls never take the same time to the last bit. Where the time is not known, equal answers are one if the runs
    are equal throughout.
    """
    one, other = before.outcome, after.outcome
    if not isinstance(one, Response) or one != other:
        return False
    return one_run if one.latency_ms is None else True
