"""One metric of one run with an interval, on the metric's own scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from evalharness.analysis.align import Array, Paired
from evalharness.core.estimates import LEVEL
from evalharness.core.protocols import CorpusScorer, Scorer
from evalharness.stats.bootstrap import DRAWS, resampled_counts
from evalharness.stats.paired import paired_cases
from evalharness.stats.quantiles import quantile
from evalharness.stats.rates import exact_upper

_TAIL: Final = (1 - LEVEL) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A metric's value over `n` cases with its two-sided interval (`LEVEL`), each None where there is none."""

    value: float | None
    low: float | None
    high: float | None
    method: str | None
    n: int


NO_VALUE: Final = Value(value=None, low=None, high=None, method=None, n=0)


def value_of(scorer: Scorer, paired: Paired, index: Any = None, *, rng: np.random.Generator) -> Value:
    """The metric of a run that is paired with itself.

    Where every case is 0 or 1 and stands alone, the interval is the exact one (Clopper and Pearson 1934); other means
    have the wider of bootstrap-t and Student's t, or the cluster t, cut at the metric's bounds; metrics over sums and
    quantiles have the percentile bootstrap of cases or clusters (Efron and Tibshirani 1993, chapter 13).

    Args:
        scorer: of the metric.
        paired: both sides the same run.
        index: shape (n,), places of the cases that count; None: all.
        rng: of the resamples.
    """
    places = np.arange(len(paired.cases)) if index is None else np.asarray(index, dtype=np.intp)
    if not len(places):
        return NO_VALUE
    clusters = None if paired.clusters is None else [paired.clusters[place] for place in places]
    kind, n = scorer.metric.kind, len(places)
    if kind in ("corpus", "log_ratio") and isinstance(scorer, CorpusScorer):
        assert paired.rows_baseline is not None
        rows, columns = paired.rows_baseline[places], paired.columns
        whole = float(scorer.corpus(columns, rows.sum(axis=0)))
        drawn = [scorer.corpus(columns, sums) for sums in _resampled(rows, clusters, rng)]
        return _percentile(whole, np.concatenate(drawn), n)
    if kind == "quantile":
        assert paired.attempts is not None and scorer.metric.quantile is not None
        side = paired.attempts[0]
        return _of_quantile(side.values[places], side.held[places], scorer.metric.quantile, clusters, rng)
    return _of_mean(scorer, paired.baseline[places], clusters, paired.repeats_baseline == 1, rng)


def _of_mean(
    scorer: Scorer, values: Array, clusters: list[str] | None, single: bool, rng: np.random.Generator
) -> Value:
    n, mean = len(values), float(values.mean())
    alone = clusters is None or len(set(clusters)) == n
    if alone and single and np.isin(values, (0.0, 1.0)).all():
        ones = int(values.sum())
        low, high = 1.0 - exact_upper(n - ones, n, _TAIL), exact_upper(ones, n, _TAIL)
        return Value(value=mean, low=low, high=high, method="Clopper-Pearson", n=n)
    if n == 1 or (not alone and len(set(clusters or ())) == 1):
        return Value(value=mean, low=None, high=None, method=None, n=n)
    estimate = paired_cases(
        np.zeros(n), values, binary=False, equal_repeats=True, clusters=clusters, alpha=_TAIL, rng=rng
    )
    about = scorer.metric
    low, high = estimate.interval.low, estimate.interval.high
    return Value(
        value=mean,
        low=low if about.low is None else max(low, about.low),
        high=high if about.high is None else min(high, about.high),
        method=estimate.interval.method.replace("paired t", "Student's t"),
        n=n,
    )


def _of_quantile(
    values: Array, held: Any, q: float, clusters: list[str] | None, rng: np.random.Generator
) -> Value:
    codes = _codes(clusters, len(values))
    owner = np.repeat(codes, values.shape[1]).reshape(values.shape)[held]
    flat = values[held]
    order = np.argsort(flat, kind="stable")
    ordered, owner = flat[order], owner[order]
    whole = quantile(flat, q)
    if not np.isfinite(whole):
        return Value(value=None, low=None, high=None, method=None, n=len(values))
    drawn = []
    for counts in resampled_counts(np.ones(codes.max() + 1, dtype=np.int64), DRAWS, rng):
        reached = np.cumsum(counts[:, owner], axis=1)
        place = (reached >= q * reached[:, -1:] - 1e-9).argmax(axis=1)
        drawn.append(ordered[place])
    return _percentile(whole, np.concatenate(drawn), len(values))


def _resampled(rows: Array, clusters: list[str] | None, rng: np.random.Generator) -> list[Array]:
    """Sums of resampled units, in chunks of shape (chunk, k)."""
    codes = _codes(clusters, len(rows))
    units = np.zeros((codes.max() + 1, rows.shape[1]))
    np.add.at(units, codes, rows)
    return [counts @ units for counts in resampled_counts(np.ones(len(units), dtype=np.int64), DRAWS, rng)]


def _codes(clusters: list[str] | None, n: int) -> Any:
    return np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1].reshape(-1)


def _percentile(whole: float, drawn: Array, n: int) -> Value:
    low, high = (float(end) for end in np.quantile(drawn, [_TAIL, 1 - _TAIL], method="inverted_cdf"))
    ends = (low, high) if np.isfinite([low, high]).all() else (None, None)
    return Value(value=whole, low=ends[0], high=ends[1], method="percentile bootstrap", n=n)
