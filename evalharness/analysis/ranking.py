"""Several runs on one suite → Ranking: every pair of them tested on every metric, in one family.

The tests are the gate's own (`analysis.estimating`), read two-sided: p = min(1, 2·min(p_drop, p_gain)). All pairs, and
all metrics that are ranked, are one family, adjusted by Holm, so that the chance of calling any two equal candidates
different is at most alpha, however many are ranked.

No run is the baseline here, so what is missing is treated alike on all sides: a case that some candidate has a value of
counts as the worst value for those that have none; one that none has a value of is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final

import numpy as np

from evalharness.analysis.align import Paired, pair, unfit
from evalharness.analysis.estimating import Levels, Sample, estimated
from evalharness.analysis.load import timing_warnings
from evalharness.analysis.ranking_value import Value, value_of
from evalharness.core.cases import GoldenSet
from evalharness.core.estimates import LEVEL, PairedEstimate
from evalharness.core.protocols import CorpusScorer, Scorer
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.scores import Direction, Score, Scored
from evalharness.core.suites import Suite
from evalharness.errors import InvalidComparisonError, UsageError
from evalharness.stats.multiplicity import holm
from evalharness.stats.streams import stream

_NOTHING: Mapping[str, Any] = {}
_NOT_RANKED: Final = "preference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One candidate. `facts` are what its run cost and how long it took; `index` what a retriever says of itself."""

    name: str
    provider: str
    model: str | None
    run_id: str
    digest: str
    repeats: int
    facts: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    index: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two candidates on one metric, by their places among the entries.

    Attributes:
        first, second: places, first < second.
        delta, low, high: second − first on the metric's own scale, with its two-sided interval; `method` names it.
        p_value: two-sided; p_adjusted: within the family. None where the pair could not be estimated, and then
            `problem` says why.
        wins, ties, losses: cases on which the second is better than, equal to and worse than the first.
        better: the place of the one that is significantly better at the family's alpha, None where neither is.
    """

    first: int
    second: int
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    test: str | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    wins: int = 0
    ties: int = 0
    losses: int = 0
    better: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedMetric:
    """One metric over all candidates.

    Attributes:
        values: one an entry, in the entries' order.
        order: places of the entries, best first; equal values in the entries' order.
        pairs: every two of them, tested.
        n: cases ranked on. n_left_out: cases that no candidate has a value of, or that some have none of where the
            metric has no worst value.
        n_worst: for each entry, answers that count as the worst.
    """

    id: str
    unit: str
    direction: Direction
    values: tuple[Value, ...]
    order: tuple[int, ...]
    pairs: tuple[Pair, ...]
    n: int
    n_left_out: int
    n_worst: tuple[int, ...]

    def beats(self, place: int) -> tuple[int, ...]:
        """Places of the entries that one is significantly better than, best first."""
        beaten = {other for p in self.pairs for other in (p.first, p.second) if p.better == place != other}
        return tuple(other for other in self.order if other in beaten)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Candidates beside each other. `family` is the number of tests that p-values are adjusted for."""

    suite: str
    suite_digest: str
    seed: int
    alpha: float
    entries: tuple[Entry, ...]
    metrics: tuple[RankedMetric, ...]
    family: int
    warnings: tuple[str, ...] = ()


def chosen_metrics(suite: Suite, scorers: Mapping[str, Scorer], wanted: Sequence[str]) -> tuple[str, ...]:
    """The metrics to rank on: those `wanted`, in that order, else every one of the suite that can be.

    Raises:
        UsageError: a metric is not the suite's, compares two candidates by itself, or none is left.
    """
    able = [name for name in scorers if scorers[name].metric.kind != _NOT_RANKED]
    judged = [metric for metric, _, _ in suite.judged]
    for name in dict.fromkeys(wanted):
        if name in judged or (name in scorers and name not in able):
            raise UsageError(f"{name} says which of two candidates is better, so that it ranks no single one")
        if name not in scorers:
            raise UsageError(f"suite {suite.name!r} has no metric {name!r}; it has {', '.join(able)}")
    chosen = tuple(dict.fromkeys(wanted)) or tuple(able)
    if not chosen:
        raise UsageError(f"suite {suite.name!r} has no metric that ranks candidates")
    return chosen


def rank_runs(
    suite: Suite,
    runs: Sequence[Run],
    scorers: Mapping[str, Scorer],
    *,
    metrics: Sequence[str] = (),
    names: Sequence[str] | None = None,
    seed: int,
    warnings: Sequence[str] = (),
) -> Ranking:
    """Test every pair of runs on every metric.

    Every random draw comes from `seed`, the metric and the two names, so that one more candidate, or another order of
    them, moves no other pair.

    Args:
        suite: what they answered; `gate.alpha` is the family's level.
        runs: two or more.
        scorers: by metric id.
        metrics: ids to rank on; empty: all of the suite that can be.
        names: what the runs are called, each once; None: their own names.
        seed: of every random draw, at least 0.
        warnings: what is already known.

    Raises:
        InvalidComparisonError: a run does not belong to this suite. UsageError: fewer than two runs, a name twice, or a
            metric that cannot be ranked on.
    """
    called = tuple(names if names is not None else (run.name for run in runs))
    if len(runs) < 2:
        raise UsageError("a ranking needs at least two candidates")
    if len(set(called)) < len(called):
        twice = next(name for name in called if called.count(name) > 1)
        raise UsageError(f"two candidates are called {twice!r}; give one of them another `name`")
    problems = [text for name, run in zip(called, runs, strict=True) for text in unfit(name, suite, run)]
    if problems:
        raise InvalidComparisonError("; ".join(dict.fromkeys(problems)))
    chosen = chosen_metrics(suite, scorers, metrics)
    frames = [field_of(suite, metric, scorers[metric], runs, called, seed) for metric in chosen]
    told = [*warnings]
    if any(scorers[metric].metric.timed for metric in chosen):
        told += [text for left, right in combinations(runs, 2) for text in timing_warnings(left, right)]
    tested = [frame.pairs() for frame in frames]
    family = adjusted([p for part in tested for p in part], suite.gate.alpha)
    found, rest = [], family
    for frame, part in zip(frames, tested, strict=True):
        found.append(frame.metric(rest[: len(part)]))
        rest = rest[len(part) :]
    for metric in found:
        if metric.n_left_out:
            word = "case is" if metric.n_left_out == 1 else "cases are"
            told.append(
                f"{metric.id}: {metric.n_left_out:,} {word} left out, since no ranking of them is possible"
            )
        for name, count in zip(called, metric.n_worst, strict=True):
            if count:
                told.append(
                    f"{metric.id}: {count:,} answers of {name} failed or have no score and count as the worst"
                )
    return Ranking(
        suite=suite.name,
        suite_digest=suite.digest,
        seed=seed,
        alpha=suite.gate.alpha,
        entries=tuple(_entry(name, run) for name, run in zip(called, runs, strict=True)),
        metrics=tuple(found),
        family=sum(p.p_value is not None for p in family),
        warnings=tuple(dict.fromkeys(told)),
    )


def _entry(name: str, run: Run) -> Entry:
    facts = run.manifest.get("facts", {})
    about = run.manifest["candidate"]
    return Entry(
        name=name,
        provider=about["provider"],
        model=about["model"],
        run_id=run.id,
        digest=run.candidate_digest,
        repeats=run.repeats,
        facts={key: value for key, value in facts.items() if key != "provider"},
        index=facts.get("provider", {}),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One metric on a level field: the same cases for every run, what is missing counted as the worst."""

    metric_id: str
    scorer: Scorer
    golden_set: GoldenSet
    runs: tuple[Run, ...]
    names: tuple[str, ...]
    alpha: float
    seed: int
    n_left_out: int
    n_worst: tuple[int, ...]

    def alone(self, place: int) -> Paired:
        """One run's values, by case."""
        run = self.runs[place]
        return pair(self.golden_set, self.metric_id, self.scorer, run, run)

    def value(self, place: int) -> Value:
        """The metric of one run with its interval."""
        return value_of(
            self.scorer, self.alone(place), rng=stream(self.seed, self.metric_id, self.names[place])
        )

    def pairs(self) -> list[Pair]:
        """Every two runs, not yet adjusted."""
        return [self.tested(*places) for places in combinations(range(len(self.runs)), 2)]

    def tested(self, first: int, second: int) -> Pair:
        """Two runs compared. Who is named first does not matter: the one whose name sorts first takes that role."""
        turned = self.names[first] > self.names[second]
        left, right = (second, first) if turned else (first, second)
        paired = pair(self.golden_set, self.metric_id, self.scorer, self.runs[left], self.runs[right])
        if not paired.cases:
            return Pair(first=first, second=second, problem="no case has a value on both sides")
        sample = Sample(
            scorer=self.scorer,
            paired=paired,
            index=np.arange(len(paired.cases)),
            runs=(self.runs[left], self.runs[right]),
            labels=None,
            labels_scorer=None,
            levels=Levels(self.alpha, LEVEL),
            rng=stream(self.seed, self.metric_id, self.names[left], self.names[right]),
        )
        try:
            estimate = estimated(sample, whole=True).estimate
        except ValueError as error:  # values no statistic can be made of, from a scorer that broke its word
            return Pair(first=first, second=second, problem=f"it could not be estimated: {error}")
        return _pair(first, second, estimate, turned=turned, lower=self.scorer.metric.direction == "lower")

    def metric(self, pairs: Sequence[Pair]) -> RankedMetric:
        """The metric with its pairs, adjusted."""
        about = self.scorer.metric
        values = tuple(self.value(place) for place in range(len(self.runs)))
        sign = 1.0 if about.direction == "lower" else -1.0
        known = [place for place, value in enumerate(values) if value.value is not None]
        order = sorted(known, key=lambda place: sign * (values[place].value or 0.0))
        return RankedMetric(
            id=self.metric_id,
            unit=about.unit,
            direction=about.direction,
            values=values,
            order=(*order, *(place for place in range(len(values)) if place not in known)),
            pairs=tuple(pairs),
            n=max(value.n for value in values),
            n_left_out=self.n_left_out,
            n_worst=self.n_worst,
        )


def _pair(first: int, second: int, estimate: PairedEstimate, *, turned: bool, lower: bool) -> Pair:
    """An estimate on the goodness scale as second − first on the metric's own."""
    interval = estimate.interval
    ends = (estimate.delta, interval.low, interval.high)
    delta, low, high = ends if turned == lower else (-ends[0], -ends[2], -ends[1])
    wins, losses = estimate.n_fixed, estimate.n_regressed
    if turned:
        wins, losses = losses, wins
    return Pair(
        first=first,
        second=second,
        delta=delta + 0.0,
        low=low + 0.0,
        high=high + 0.0,
        method=interval.method,
        test=estimate.test,
        p_value=min(1.0, 2.0 * min(estimate.p_drop, estimate.p_gain)),
        wins=wins,
        ties=estimate.n - wins - losses,
        losses=losses,
        # who the smaller p speaks for, until the family says whether it is enough
        better=second if (estimate.p_gain < estimate.p_drop) != turned else first,
    )


def adjusted(pairs: Sequence[Pair], alpha: float) -> list[Pair]:
    """Pairs of one family with Holm's adjusted p-values, and who is better at `alpha`.

    Pairs that could not be estimated are no part of the family.
    """
    family = iter(holm([p.p_value for p in pairs if p.p_value is not None]))
    found = []
    for one in pairs:
        p = next(family) if one.p_value is not None else None
        better = one.better if p is not None and p <= alpha else None
        found.append(replace(one, p_adjusted=p, better=better))
    return found


def field_of(
    suite: Suite, metric_id: str, scorer: Scorer, runs: Sequence[Run], names: Sequence[str], seed: int
) -> Field:
    """One metric of several runs, levelled: `runs` hold the scores of this metric only."""
    golden_set = next(item.golden_set for metric, item, _ in suite.metrics if metric == metric_id)
    levelled: list[dict[AttemptKey, Score]] = [{} for _ in runs]
    worst_counts = [0] * len(runs)
    left_out = 0
    for case in golden_set.cases:
        rows = [
            {
                key: score
                for repeat in range(run.repeats)
                if isinstance(score := run.scores[metric_id].get(key := (case.id, repeat)), Scored)
            }
            for run in runs
        ]
        worst = scorer.worst(case) if isinstance(scorer, CorpusScorer) and _summed(scorer) else _worst(scorer)
        whole = all(len(row) == run.repeats for row, run in zip(rows, runs, strict=True))
        if not any(rows) or (worst is None and not whole):
            left_out += 1
            continue
        for place, (row, run) in enumerate(zip(rows, runs, strict=True)):
            missing = [k for r in range(run.repeats) if (k := (case.id, r)) not in row]
            worst_counts[place] += len(missing)
            levelled[place] |= row
            if worst is not None:
                levelled[place] |= dict.fromkeys(missing, worst)
    return Field(
        metric_id=metric_id,
        scorer=scorer,
        golden_set=golden_set,
        runs=tuple(
            replace(run, scores={metric_id: scores}) for run, scores in zip(runs, levelled, strict=True)
        ),
        names=tuple(names),
        alpha=suite.gate.alpha,
        seed=seed,
        n_left_out=left_out,
        n_worst=tuple(worst_counts),
    )


def _summed(scorer: Scorer) -> bool:
    return scorer.metric.kind == "corpus"


def _worst(scorer: Scorer) -> Scored | None:
    worst = scorer.metric.worst
    return None if worst is None or scorer.metric.kind == "log_ratio" else Scored(worst)
