"""Changed cases put together: by what changed in them, and by the slices in which more of them got worse."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from evalharness.core.comparisons import Comparison, MetricComparison
from evalharness.core.verdicts import Verdict
from evalharness.report import numbers
from evalharness.report.causes import Cause
from evalharness.report.movement import group_of, metrics_of
from evalharness.report.text import one_line

_DETAILS: Final = 4
_SLICES: Final = 8
_UNSURE: Final = 4
_METRICS: Final = 3
_SURE: Final = 0.05
_NO_MEAN: Final = ("quantile", "log_ratio")


@dataclass(frozen=True, slots=True)
class Tally:
    """One kind of change: how many cases, by what became of them. `details` are (which one, cases), most first."""

    label: str
    regressed: int
    worse: int
    better: int
    fixed: int
    details: tuple[tuple[str, int], ...]
    more: int

    @property
    def total(self) -> int:
        """Cases in all."""
        return self.regressed + self.worse + self.better + self.fixed


def tallies(comparison: Comparison, causes: Mapping[str, Cause]) -> tuple[Tally, ...]:
    """Every kind of change, the one with most regressed cases first; `causes` by the key of the case."""
    metrics = metrics_of(comparison)
    counts: dict[str, Counter[str]] = {}
    details: dict[str, Counter[str]] = {}
    for change in comparison.changes:
        cause = causes[change.key]
        counts.setdefault(cause.label, Counter())[group_of(change, metrics)] += 1
        if cause.detail:
            details.setdefault(cause.label, Counter())[cause.detail] += 1
    rows = []
    for label, found in counts.items():
        named = sorted(details.get(label, Counter()).items(), key=lambda item: (-item[1], item[0]))
        shown = tuple(named[:_DETAILS])
        row = Tally(
            label=label,
            regressed=found["regressed"],
            worse=found["worse"],
            better=found["better"],
            fixed=found["fixed"],
            details=shown,
            more=len(named) - len(shown),
        )
        rows.append(row)
    rows.sort(key=lambda row: (-row.regressed, -row.worse, -row.better, -row.fixed, row.label))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class Concentration:
    """A slice of a metric in which a larger share of cases got worse than elsewhere.

    `sure`: by more than chance would do, all slices of the metric considered. `tag` is the slice as cases carry it.
    """

    metric: str
    tag: str
    worse: int
    cases: int
    share: str
    elsewhere: str
    sure: bool


@dataclass(frozen=True, slots=True)
class Where:
    """The slices of one metric in which more got worse. `sliced`: there are slices, though none may be among these."""

    metric: str
    rows: tuple[Concentration, ...]

    @property
    def sure(self) -> tuple[Concentration, ...]:
        """Those beyond chance."""
        return tuple(row for row in self.rows if row.sure)


def concentrations(verdict: Verdict) -> tuple[Where, ...]:
    """Where the losses lie, for the metrics that got worse: at most three, one of an eval, those that decide first."""
    fell = [c.metric for c in verdict.checks if c.status in ("regression", "suspect") or _fell(c.metric)]
    fell.sort(key=lambda metric: (not metric.gated, metric.kind == "corpus"))
    by_eval: dict[str, MetricComparison] = {}
    for metric in fell:
        if _slices_of(verdict.comparison, metric):
            by_eval.setdefault(metric.eval, metric)
    return tuple(_where(verdict.comparison, metric) for metric in list(by_eval.values())[:_METRICS])


def _fell(metric: MetricComparison) -> bool:
    return metric.estimate is not None and metric.estimate.delta < 0 and metric.estimate.n_regressed > 0


def _slices_of(comparison: Comparison, metric: MetricComparison) -> list[MetricComparison]:
    if metric.estimate is None or not metric.estimate.n_regressed or metric.kind in _NO_MEAN:
        return []
    return [s for s in comparison.slices if s.id == metric.id and s.estimate is not None]


def _where(comparison: Comparison, metric: MetricComparison) -> Where:
    slices = _slices_of(comparison, metric)
    whole = metric.estimate
    assert whole is not None
    found = []
    for one in slices:
        assert one.estimate is not None
        worse, cases = one.estimate.n_regressed, one.estimate.n
        other_worse, others = whole.n_regressed - worse, whole.n - cases
        if others <= 0 or other_worse < 0 or worse * others <= other_worse * cases:
            continue
        # Clustered cases move together: what looks like a crowd may be one cluster.
        chance = 1.0 if whole.clustered else at_least(worse, cases, whole.n_regressed, whole.n)
        row = Concentration(
            metric=one_line(metric.id, 120),
            tag=one_line(str(one.slice), 120),
            worse=worse,
            cases=cases,
            share=numbers.chance(worse / cases),
            elsewhere=numbers.chance(other_worse / others),
            sure=chance * len(slices) <= _SURE,
        )
        # The last digits depend on the machine, and the order of rows must not.
        found.append((float(f"{chance:.9g}"), row.tag, row))
    found.sort(key=lambda item: item[:2])
    rows = [row for _, _, row in found]
    most = max(_UNSURE, min(_SLICES, sum(row.sure for row in rows)))
    return Where(one_line(metric.id, 120), tuple(rows[:most]))


def at_least(worse: int, cases: int, all_worse: int, all_cases: int) -> float:
    """The chance that a slice of `cases` holds `worse` or more of the cases that got worse, were they dealt at random.

    The upper tail of the hypergeometric distribution (Fisher 1935, The Logic of Inductive Inference).
    """

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    every = log_choose(all_cases, cases)
    most = min(cases, all_worse)
    ways = (
        log_choose(all_worse, k) + log_choose(all_cases - all_worse, cases - k) - every
        for k in range(max(worse, cases - (all_cases - all_worse)), most + 1)
    )
    return min(1.0, math.fsum(math.exp(way) for way in ways))
