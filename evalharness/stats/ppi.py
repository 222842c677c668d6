"""PPI++: a cheap judge on every case, corrected by people's labels on a random few of them.

Sources: Angelopoulos, Duchi and Zrnic 2023, PPI++: Efficient Prediction-Powered Inference (arXiv 2311.01453), the case
of a mean; Fisch et al. 2024, Stratified Prediction-Powered Inference (arXiv 2406.04291), where a part of the cases
needs no label. There the strata are found in the sample and not fixed before it, so their shares are estimated, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.core.estimates import LEVEL, Interval, PairedEstimate
from evalharness.stats._inputs import (
    LARGEST,
    MIN_CLUSTERS,
    checked_alpha,
    checked_level,
    cluster_codes,
    too_few,
)
from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.student import t_cdf, t_p_values, t_quantile

MIN_LABELS: Final = 100
"""With fewer labels the interval covers too rarely: 91% for a nominal 95% at 50 labels."""
BALANCE: Final = 1e-3
"""Level of each of the two checks that the labelled cases look like the others."""
_NO_SPREAD: Final = "the labels and the judge leave no spread to bound the change by"


class PpiRefused(ValueError):
    """The labels cannot correct the judge; the message says why, in a sentence for the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ppi:
    """A judge's paired difference corrected by labels.

    Attributes:
        estimate: the corrected difference. `n` counts all cases, labelled or not; `n_regressed`, `n_fixed` and
            `discordance` are what the judge says of all of them. `sd` is the standard error times the root of
            `n_units`, so that power speaks of cases and labels growing in the same proportion.
        weight: how far the judge is trusted, lambda in [0, 1]; 0 is the labels alone.
        correlation2: squared correlation of judge and people over the labelled differences, in [0, 1].
        n_labels: labelled cases.
        gain: how many times as many labels alone would be as precise, at least 1 but for rounding:
            1/(1 − correlation2 · N/(n + N)) where lambda is not clipped. Dependence within clusters is left out of it.
    """

    estimate: PairedEstimate
    weight: float
    correlation2: float
    n_labels: int
    gain: float


class _Corrected(NamedTuple):
    """An estimate. `parts`, shape (cases,): each case's share in the error, which sum to 0; None without clusters."""

    delta: float
    error: float
    df: int
    parts: NDArray[np.float64] | None = None


def ppi_difference(
    judge: NDArray[np.float64],
    human: NDArray[np.float64],
    labelled: NDArray[np.bool_],
    *,
    drawn: Literal["random"] | str,
    baseline_mean: float,
    settled: NDArray[np.bool_] | None = None,
    clusters: Sequence[str] | None = None,
    alpha: float,
    level: float = LEVEL,
) -> Ppi:
    """Estimate the mean difference people would find, from a judge's differences and labels on a random subset.

    With n labelled and N other cases, Y the people's differences and f the judge's,

        theta = lambda · mean(f over the N others) + mean(Y − lambda · f over the n labelled)
        error² = lambda² · var(f over the others)/N + var(Y − lambda · f over the labelled)/n
        lambda = cov(Y, f over the labelled) / ((1 + n/N) · var(f over all)), clipped to [0, 1]

    with Student's t at n − 1 degrees of freedom. No labelled case is counted among the N others, as in the paper. The
    estimate is free of the judge's bias whatever that is, differential error between the sides (a judge that likes the
    candidate's longer answers) included; a judge that is no use gets lambda near 0, and the labels decide alone.
    Clusters: the same estimate, its error from the sums over clusters of each case's share in it, t at one less than
    the number of clusters that hold a label.

    Cases may be settled without a label: two equal answers, of which nobody prefers one, or an answer that failed and
    counts as lost. They are a stratum in which people's difference is the judge's. With T cases, S of them settled,
    and theta, error of the M = T − S others as above, the estimate of all is the post-stratified

        theta_all = (sum of f over the S settled + M · theta) / T
        error_all² = (M/T)² · error² + var(w)/T,   w = f of a settled case, theta of any other

    Its target is the mean over cases drawn like these: which of them are settled is chance as well, and var(w)/T is
    what that adds. The labels are a random subset of the cases that are not settled.

    The labels must be a random subset of the cases. Code cannot see how they were drawn: the caller says so in
    `drawn`, and the claim is held against what can be seen, the judge's differences of the labelled cases and of the
    others. Their means (Welch's test) and the shares of cases the judge sees changed (exact hypergeometric test) may
    each differ only as far as chance explains at 0.1%. That finds labels of disputed or of changed cases; it cannot
    find labels chosen by what the judge does not see, such as the cases people found easy or the answers someone
    complained about.

    Args:
        judge: shape (cases,), the judge's difference candidate − baseline of every case, higher is better.
        human: the same shape, the people's difference; read only where `labelled`.
        labelled: the same shape, True where people labelled both sides.
        drawn: how the labelled cases were chosen. Anything but "random" is refused.
        baseline_mean: the baseline's mean as it is to be shown, best that of the people's labels. The estimate's
            `candidate` is this plus the corrected difference, so that the three numbers add up.
        settled: the same shape, True where `judge` holds the difference that people would find, and no label is; None:
            nowhere. `weight`, `correlation2` and `gain` are of the other cases.
        clusters: one label per case, or None where cases are independent.
        alpha: level of the one-sided bound, in (0, 0.5).
        level: of the two-sided interval, in (0, 1).

    Raises:
        PpiRefused: fewer than 100 labels, labels that are no random subset, or labels in fewer than 8 clusters.
        ValueError: shapes that differ, a mask that is not boolean, a label on a settled case, NaN or infinite values
            where they are read, a wrong number of cluster labels, alpha or level out of range.
    """
    checked_alpha(alpha)
    checked_level(level)
    f, y, mask = _checked(judge, human, labelled)
    if not abs(baseline_mean) <= LARGEST:
        raise ValueError(f"baseline_mean must be a finite number, got {baseline_mean}")
    codes = _codes(clusters, f.size)
    open_ = _not_settled(settled, mask)
    among = None if codes is None else codes[open_]
    _refuse(f[open_], mask[open_], drawn, among)
    fl, fu = f[mask], f[open_ & ~mask]
    n, others = y.size, fu.size
    variance, covariance = float(f[open_].var(ddof=1)), float((y - y.mean()) @ (fl - fl.mean())) / (n - 1)
    weight = 0.0
    if others > 1 and variance > 0:
        weight = min(max(covariance / ((1 + n / others) * variance), 0.0), 1.0)
    found = _corrected(y - weight * fl, weight * fu, mask[open_], among)
    largest = max(float(np.abs(y).max()), float(np.abs(f).max()))
    spreads = found.error > 1e-12 * largest
    if not open_.all():
        found = _over_all(f, open_, found, codes)
    estimate = _estimate(f, y, mask, codes, found, spreads, baseline_mean, alpha, level)
    spread, residual = float(y.var(ddof=1)), float((y - weight * fl).var(ddof=1))
    gain = spread / n / (weight**2 * variance / others + residual / n) if weight else 1.0
    scale = float(y.std(ddof=1)) * float(fl.std(ddof=1))
    return Ppi(
        estimate=estimate,
        weight=weight,
        correlation2=min((covariance / scale) ** 2, 1.0) if scale > 0 else 0.0,
        n_labels=n,
        gain=gain,
    )


def _estimate(
    f: NDArray[np.float64],
    y: NDArray[np.float64],
    mask: NDArray[np.bool_],
    codes: NDArray[np.int64] | None,
    found: _Corrected,
    spreads: bool,
    baseline_mean: float,
    alpha: float,
    level: float,
) -> PairedEstimate:
    name = "PPI++ (t)" if codes is None else "PPI++ (cluster t)"
    error = found.error if spreads else 0.0
    units = f.size if codes is None else int(codes.max()) + 1
    if codes is None:
        no_pass = too_few(int(np.count_nonzero(y)), y.size, clustered=False)
    else:
        touched = np.unique(codes[mask][y != 0]).size
        no_pass = too_few(touched, found.df + 1, clustered=True)
    if error > 0:
        test, (p_drop, p_gain) = name, t_p_values(found.delta, error, found.df)
    else:  # the labels all say the same: what is left is the sign test
        fell, rose = int(np.count_nonzero(y < 0)), int(np.count_nonzero(y > 0))
        test, p_drop, p_gain = "sign test (mid-p)", midp_mcnemar(fell, rose), midp_mcnemar(rose, fell)
        no_pass = no_pass or _NO_SPREAD
    one, two = t_quantile(1 - alpha, found.df) * error, t_quantile((1 + level) / 2, found.df) * error
    regressed, fixed = int(np.count_nonzero(f < 0)), int(np.count_nonzero(f > 0))
    return PairedEstimate(
        n=f.size,
        n_units=units,
        baseline=baseline_mean,
        candidate=baseline_mean + found.delta,
        delta=found.delta,
        interval=Interval(low=found.delta - two, high=found.delta + two, level=level, method=name),
        lower=found.delta - one,
        lower_method=name,
        p_drop=p_drop,
        p_gain=p_gain,
        test=test,
        n_regressed=regressed,
        n_fixed=fixed,
        discordance=(regressed + fixed) / f.size,
        sd=error * units**0.5,
        no_pass_reason=no_pass,
        clustered=codes is not None,
    )


def _corrected(
    labelled: NDArray[np.float64],
    others: NDArray[np.float64],
    mask: NDArray[np.bool_],
    codes: NDArray[np.int64] | None,
) -> _Corrected:
    """Sum of the means of two disjoint samples, shapes (n,) and (N,), and its standard error."""
    delta = float(labelled.mean()) + (float(others.mean()) if others.size else 0.0)
    if codes is None:
        square = float(labelled.var(ddof=1)) / labelled.size
        if others.size > 1:
            square += float(others.var(ddof=1)) / others.size
        return _Corrected(delta, square**0.5, labelled.size - 1)
    parts = np.zeros(mask.size)
    parts[mask] = (labelled - labelled.mean()) / labelled.size
    if others.size:
        parts[~mask] = (others - others.mean()) / others.size
    groups = np.unique(codes[mask]).size
    return _Corrected(delta, _cluster_error(parts, codes, groups), groups - 1, parts)


def _cluster_error(parts: NDArray[np.float64], codes: NDArray[np.int64], groups: int) -> float:
    """Standard error of the sum of `parts`, with the small-sample factor of `groups` clusters."""
    sums = np.bincount(codes, weights=parts)
    return math.sqrt(groups / (groups - 1) * float(sums @ sums))


def _over_all(
    f: NDArray[np.float64],
    open_: NDArray[np.bool_],
    found: _Corrected,
    codes: NDArray[np.int64] | None,
) -> _Corrected:
    """The estimate over all cases from that over the cases that are not settled."""
    share = float(open_.mean())
    values = np.where(open_, found.delta, f)
    delta = float(values.mean())
    if codes is None:
        square = (share * found.error) ** 2 + float(values.var(ddof=1)) / f.size
        return _Corrected(delta, square**0.5, found.df)
    assert found.parts is not None
    parts = (values - delta) / f.size
    parts[open_] += share * found.parts
    return _Corrected(delta, _cluster_error(parts, codes, found.df + 1), found.df, parts)


def _not_settled(settled: NDArray[np.bool_] | None, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True where a case could be labelled."""
    if settled is None:
        return np.ones(mask.size, dtype=np.bool_)
    known = np.asarray(settled)
    if known.shape != mask.shape or known.dtype != np.bool_:
        raise ValueError(f"settled must be boolean and as long as labelled, got {known.dtype} {known.shape}")
    if (known & mask).any():
        raise ValueError(f"{int((known & mask).sum())} labelled cases are settled without a label")
    return ~known


def _checked(
    judge: NDArray[np.float64], human: NDArray[np.float64], labelled: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The judge's differences (all), the people's (labelled cases only), and the mask; rounding noise set to 0."""
    f, mask = np.asarray(judge, dtype=np.float64), np.asarray(labelled)
    y = np.asarray(human, dtype=np.float64)
    if f.ndim != 1 or y.shape != f.shape or mask.shape != f.shape:
        raise ValueError(
            f"judge, human and labelled must be arrays of one length, got {f.shape}, {y.shape} and {mask.shape}"
        )
    if mask.dtype != np.bool_:
        raise ValueError(f"labelled must be boolean, got {mask.dtype}")
    y = y[mask]
    for name, values in (("judge", f), ("human", y)):
        wrong = int(np.count_nonzero(~(np.abs(values) <= LARGEST)))
        if wrong:
            raise ValueError(f"{name} holds {wrong} NaN, infinite or huge differences where they are read")
    return _without_noise(f), _without_noise(y), mask


def _without_noise(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = float(np.abs(differences).max()) if differences.size else 0.0
    return np.where(np.abs(differences) <= 1e-12 * largest, 0.0, differences)


def _codes(clusters: Sequence[str] | None, cases: int) -> NDArray[np.int64] | None:
    """Codes of clusters, None where every cluster holds one case."""
    if clusters is None:
        return None
    codes = cluster_codes(clusters, cases)
    return codes if cases and int(codes.max()) + 1 < cases else None


def _refuse(
    f: NDArray[np.float64], mask: NDArray[np.bool_], drawn: str, codes: NDArray[np.int64] | None
) -> None:
    """Raise PpiRefused where the labels cannot stand for all cases."""
    labels = int(np.count_nonzero(mask))
    if drawn != "random":
        raise PpiRefused(
            f"the labelled cases were drawn as {drawn!r}; only a random subset of the cases can correct the judge"
        )
    if labels < MIN_LABELS:
        raise PpiRefused(
            f"only {labels} labelled cases; at least {MIN_LABELS} are needed to correct the judge"
        )
    if codes is not None:
        groups = np.unique(codes[mask]).size
        if groups < MIN_CLUSTERS:
            noun = "cluster" if groups == 1 else "clusters"
            raise PpiRefused(f"the labels lie in only {groups} {noun}; at least {MIN_CLUSTERS} are needed")
    if f.size - labels < 2:
        return
    moved = (f != 0).astype(np.float64)
    by_share = _share_p_value(moved, mask) if codes is None else _mean_p_value(moved, mask, codes)
    for what, values, p in (
        ("the judge's mean difference", f, _mean_p_value(f, mask, codes)),
        ("the share of cases the judge sees changed", moved, by_share),
    ):
        if p < BALANCE:
            raise PpiRefused(
                f"{what} is {values[mask].mean():.3g} on the labelled cases and {values[~mask].mean():.3g} on the "
                f"others (p = {p:.1g}): the labelled cases are no random subset"
            )


def _mean_p_value(
    values: NDArray[np.float64], mask: NDArray[np.bool_], codes: NDArray[np.int64] | None
) -> float:
    """Two-sided p of equal means of labelled and other cases: Welch's test, or cluster t."""
    first, second = values[mask], values[~mask]
    gap = _corrected(first, -second, mask, codes)
    if gap.error <= 1e-12 * float(np.abs(values).max()):
        # No spread on either side: means either agree or lie apart beyond what any chance explains.
        return 0.0 if abs(gap.delta) > 1e-12 * float(np.abs(values).max()) else 1.0
    df = float(gap.df)
    if codes is None:
        a, b = float(first.var(ddof=1)) / first.size, float(second.var(ddof=1)) / second.size
        part = a / (a + b)
        df = 1 / (part**2 / (first.size - 1) + (1 - part) ** 2 / (second.size - 1))
    return 2 * t_cdf(-abs(gap.delta) / gap.error, df)


def _share_p_value(moved: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """Two-sided p of the number of moved cases among the labelled, hypergeometric where labels are a random subset."""
    cases, labels, total = moved.size, int(np.count_nonzero(mask)), int(moved.sum())
    seen = int(moved[mask].sum())
    support = np.arange(max(0, labels + total - cases), min(labels, total) + 1)
    logs = _log_choose(total, support) + _log_choose(cases - total, labels - support)
    chances = np.exp(logs - _log_choose(cases, labels))
    below, above = float(chances[support <= seen].sum()), float(chances[support >= seen].sum())
    return min(1.0, 2 * min(below, above))


def _log_choose(n: int, k: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of the binomial coefficient."""
    return np.asarray(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))
