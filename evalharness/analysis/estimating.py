"""One metric on a sample of paired cases → its estimate, by the statistics its kind calls for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np

from evalharness.analysis.align import Array, Paired, values_of
from evalharness.analysis.missing import unreadable_labels
from evalharness.analysis.pair_labels import Joined, PeoplesPairs, joined, refuse_few
from evalharness.core.estimates import PairedEstimate
from evalharness.core.protocols import CorpusScorer, Scorer
from evalharness.core.runs import Run
from evalharness.stats.paired import paired_cases, paired_corpus
from evalharness.stats.ppi import Ppi, ppi_difference
from evalharness.stats.preference import EVEN, win_rate
from evalharness.stats.quantiles import Attempts, paired_quantile, quantile
from evalharness.stats.rates import exact_upper
from evalharness.stats.ratio import paired_log_ratio

MOST_RARE: Final = 10
"""Up to this many events are few: what they leave open is then said beside the difference."""
SPREAD: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""The quantiles that a report shows beside the one that is judged."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels one look is judged at: `alpha` of the one-sided bound, `level` of the two-sided interval."""

    alpha: float
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What an estimate is made of.

    Attributes:
        scorer: how the values are read.
        paired: the metric on all cases. index: shape (n,), the places of the cases of this sample.
        runs: baseline and candidate.
        labels: the id of the metric that holds people's labels, None where the values are not corrected by any;
            labels_scorer: its scorer. pairs: people's preferences, of a pairwise judge that they correct.
        levels: of the bound and the interval.
        rng: of every random draw.
    """

    scorer: Scorer
    paired: Paired
    index: Any
    runs: tuple[Run, Run]
    labels: str | None
    labels_scorer: Scorer | None
    levels: Levels
    rng: np.random.Generator
    pairs: PeoplesPairs | None = None

    @property
    def clusters(self) -> list[str] | None:
        """The cluster of each case of the sample."""
        labels = self.paired.clusters
        return None if labels is None else [labels[i] for i in self.index]


class Estimated(NamedTuple):
    """An estimate, per-class tables where the metric has any, and what else went into it."""

    estimate: PairedEstimate
    breakdown: Mapping[str, Any] = {}
    note: str | None = None


def estimated(sample: Sample, *, whole: bool) -> Estimated:
    """Estimate a metric. `whole`: on all its cases, and not on a slice of them.

    Raises:
        ValueError: no statistic can be made of these values; says why.
    """
    kind = sample.scorer.metric.kind
    if sample.labels is not None:
        return _corrected(sample, sample.labels)
    if sample.pairs is not None:
        return _corrected_pairs(sample, sample.pairs)
    if kind == "corpus":
        return _corpus(sample, whole)
    if kind == "log_ratio":
        return Estimated(_log_ratio(sample))
    if kind == "preference":
        return Estimated(_preference(sample, sample.paired.candidate[sample.index]))
    if kind == "quantile":
        return Estimated(_quantile(sample), _spread(sample) if whole else {})
    return Estimated(_cases(sample), note=_rare(sample))


def _cases(sample: Sample) -> PairedEstimate:
    paired, index = sample.paired, sample.index
    lower = sample.scorer.metric.direction == "lower"
    repeats = (paired.repeats_baseline, paired.repeats_candidate)
    zero_one = sample.scorer.metric.kind == "binary"
    sign = -1.0 if lower else 1.0
    # a lower-is-better 0/1 becomes a higher-is-better 0/1 for the binary methods, and is shifted back after
    shift = 1.0 if lower and zero_one else 0.0
    estimate = paired_cases(
        shift + sign * paired.baseline[index],
        shift + sign * paired.candidate[index],
        binary=zero_one and repeats == (1, 1),
        equal_repeats=repeats[0] == repeats[1],
        clusters=sample.clusters,
        alpha=sample.levels.alpha,
        level=sample.levels.level,
        repeats=repeats if zero_one else None,
        rng=sample.rng,
    )
    return replace(estimate, baseline=estimate.baseline - shift, candidate=estimate.candidate - shift)


def _corpus(sample: Sample, whole: bool) -> Estimated:
    paired, scorer, index = sample.paired, sample.scorer, sample.index
    assert isinstance(scorer, CorpusScorer)
    assert paired.rows_baseline is not None and paired.rows_candidate is not None
    left, right = paired.rows_baseline[index], paired.rows_candidate[index]
    aggregate: Callable[[Array], Array] = lambda sums: scorer.corpus(paired.columns, sums)  # noqa: E731
    estimate = paired_corpus(
        left,
        right,
        aggregate,
        sign=1.0 if scorer.metric.direction == "higher" else -1.0,
        clusters=sample.clusters,
        alpha=sample.levels.alpha,
        level=sample.levels.level,
        rng=sample.rng,
    )
    if not whole:
        return Estimated(estimate)
    tables = {
        "baseline": scorer.breakdown(paired.columns, left.sum(axis=0)),
        "candidate": scorer.breakdown(paired.columns, right.sum(axis=0)),
    }
    return Estimated(estimate, tables if any(tables.values()) else {})


def _log_ratio(sample: Sample) -> PairedEstimate:
    paired, index = sample.paired, sample.index
    assert paired.rows_baseline is not None and paired.rows_candidate is not None
    nll, tokens = paired.columns.index("nll"), paired.columns.index("tokens")
    _refuse_other_windows(sample)
    return paired_log_ratio(
        paired.rows_baseline[index, nll],
        paired.rows_candidate[index, nll],
        paired.rows_baseline[index, tokens],
        paired.rows_candidate[index, tokens],
        clusters=sample.clusters,
        alpha=sample.levels.alpha,
        level=sample.levels.level,
        rng=sample.rng,
    )


def _refuse_other_windows(sample: Sample) -> None:
    """Refuse documents that one side read in pieces of another length than the other.

    Raises:
        ValueError: there are some.
    """
    paired, index = sample.paired, sample.index
    assert paired.rows_baseline is not None and paired.rows_candidate is not None
    if "window" not in paired.columns:
        return
    window = paired.columns.index("window")
    left, right = paired.rows_baseline[index, window], paired.rows_candidate[index, window]
    differing = left != right
    if differing.any():
        sides = [f"{side.max():,.0f} tokens" if side.any() else "whole" for side in (left, right)]
        raise ValueError(
            f"{int(differing.sum())} long documents were read in other pieces on the two sides (baseline: {sides[0]}, "
            f"candidate: {sides[1]}), and with more text before it a text is likelier; give both the same `window`"
        )


def _preference(sample: Sample, values: Array) -> PairedEstimate:
    return win_rate(
        values,
        clusters=sample.clusters,
        alpha=sample.levels.alpha,
        level=sample.levels.level,
        rng=sample.rng,
    )


def _quantile(sample: Sample) -> PairedEstimate:
    paired, index, metric = sample.paired, sample.index, sample.scorer.metric
    assert paired.attempts is not None and metric.quantile is not None
    left, right = (Attempts(side.values[index], side.held[index]) for side in paired.attempts)
    return paired_quantile(
        left,
        right,
        q=metric.quantile,
        sign=1.0 if metric.direction == "higher" else -1.0,
        clusters=sample.clusters,
        alpha=sample.levels.alpha,
        level=sample.levels.level,
        rng=sample.rng,
    )


def _spread(sample: Sample) -> dict[str, Any]:
    """How the answers of both sides are spread, for a report: {"quantiles": [[share, value], ...]} by role."""
    assert sample.paired.attempts is not None
    sides = [side.values[sample.index][side.held[sample.index]] for side in sample.paired.attempts]
    return {
        role: {"quantiles": [[q, quantile(values, q)] for q in SPREAD]}
        for role, values in zip(("baseline", "candidate"), sides, strict=True)
    }


def _rare(sample: Sample) -> str | None:
    """What few events on the candidate's side leave open, in words; None of other metrics and of many events.

    A unit counts as soon as one of its answers does, so that the rate of units bounds that of answers from above.
    """
    metric, paired = sample.scorer.metric, sample.paired
    if (metric.kind, metric.direction, metric.unit) != ("binary", "lower", "fraction"):
        return None
    hit = paired.candidate[sample.index] > 0
    clusters = sample.clusters
    units = len(hit) if clusters is None else len(set(clusters))
    events = (
        int(hit.sum())
        if clusters is None
        else len({c for c, is_hit in zip(clusters, hit, strict=True) if is_hit})
    )
    if events > MOST_RARE:
        return None
    noun = "cases" if units == len(hit) else "clusters"
    with_any = "" if noun == "cases" and paired.repeats_candidate == 1 else " with any"
    highest = 100 * exact_upper(events, units, sample.levels.alpha)
    return (
        f"{events:,} of {units:,} candidate {noun}{with_any}: the true rate may still be as high as {highest:.3g}% "
        f"(exact one-sided {100 * (1 - sample.levels.alpha):.4g}% bound)"
    )


def _corrected(sample: Sample, labels: str) -> Estimated:
    """The metric corrected by people's labels of a random part of its cases (PPI++), and what to say of it."""
    paired, index = sample.paired, sample.index
    sign = 1.0 if sample.scorer.metric.direction == "higher" else -1.0
    cases = [paired.cases[i] for i in index]
    unreadable = (
        unreadable_labels(labels, sample.labels_scorer, sample.runs, cases)
        if sample.labels_scorer is not None
        else None
    )
    if unreadable is not None:
        raise ValueError(unreadable)
    people = values_of(labels, *sample.runs, cases)
    labelled = np.array([case.id in people for case in cases], dtype=np.bool_)
    pairs = np.array([people.get(case.id, (0.0, 0.0)) for case in cases], dtype=np.float64)
    found = ppi_difference(
        sign * (paired.candidate[index] - paired.baseline[index]),
        sign * (pairs[:, 1] - pairs[:, 0]),
        labelled,
        drawn="random",  # the suite says so, and its reader refuses anything else
        baseline_mean=sign * float(pairs[labelled, 0].mean()) if labelled.any() else 0.0,
        clusters=sample.clusters,
        alpha=sample.levels.alpha,
        level=sample.levels.level,
    )
    return _as_corrected(found, labels)


def _as_corrected(found: Ppi, labels: str, more: str = "") -> Estimated:
    note = (
        f"corrected by {found.n_labels} labels of {labels} (PPI++): weight {found.weight:.2f}, squared correlation "
        f"with the labels {found.correlation2:.2f}, as precise as {found.n_labels * max(found.gain, 1.0):.0f} labels"
    )
    test = f"{found.estimate.test}, {found.n_labels} labels"
    return Estimated(replace(found.estimate, test=test), note=note + more)


def _corrected_pairs(sample: Sample, pairs: PeoplesPairs) -> Estimated:
    """A pairwise judge's metric corrected by people's preferences on a random part of its pairs (PPI++).

    Where every pair that could be is labelled, nothing is left to estimate from the judge: the people's preferences
    are the metric, whatever their number.
    """
    paired, index = sample.paired, sample.index
    found = joined(pairs, sample.runs, [paired.cases[i] for i in index])
    judged = paired.candidate[index] - EVEN
    told = _about_the_draw(found, pairs)
    if found.complete:
        estimate = _preference(sample, np.where(found.labelled, found.people, judged) + EVEN)
        count = int(found.labelled.sum())
        note = f"{count} labels of {pairs.file} on all pairs that differ: people decide, and not the judge"
        return Estimated(replace(estimate, test=f"{estimate.test}, {count} labels"), note=note + told)
    refuse_few(found)
    corrected = ppi_difference(
        judged,
        found.people,
        found.labelled,
        drawn="random",  # as in `_corrected`
        baseline_mean=EVEN,
        settled=found.settled,
        clusters=sample.clusters,
        alpha=sample.levels.alpha,
        level=sample.levels.level,
    )
    return _as_corrected(corrected, pairs.file, told)


def _about_the_draw(found: Joined, pairs: PeoplesPairs) -> str:
    """What else a reader should know of the labels."""
    settled, without = int(found.settled.sum()), pairs.labels.drawn - len(pairs.labels.labels)
    told = f"; {settled:,} of {found.settled.size:,} cases need no label" if settled else ""
    if without > 0:
        verb = "has" if without == 1 else "have"
        told += f"; {without:,} of the {pairs.labels.drawn:,} pairs drawn {verb} no label"
    return told
