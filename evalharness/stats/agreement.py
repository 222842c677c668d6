"""Agreement between raters: people, judges, or both.

Every coefficient is 1 − observed / expected disagreement. They differ in what they expect by chance and in the ratings
they use:

| coefficient | raters | missing ratings | chance |
|---|---|---|---|
| `raw_agreement` | any number | allowed | none: the share of agreeing pairs |
| `cohen_kappa` | two | items that both rated | each rater's own shares of the values |
| `fleiss_kappa` | any number | as many ratings for every item | shares over all raters |
| `krippendorff_alpha` | any number | allowed | shares over all raters; nominal, ordinal or interval distances |
| `gwet_ac1` | any number | allowed | a model that does not blow up where one value is common |

**Intervals.** Items are the unit (clusters of items, where given): 2,000 resamples, bias-corrected and accelerated
(BCa). A resample in which the coefficient is undefined (one value only was drawn) counts as the lowest possible value
for the lower end and as the highest for the upper end. Where no resample differs from the estimate, as under perfect
agreement, a bootstrap would claim certainty; the interval then reaches to what a share of unseen items up to
1 − ((1 − level)/2)^(1/n) (Clopper and Pearson 1934) could make of it.

BCa because it kept its level best. Coverage of 95% intervals from 1,000 resamples, in 1,500 simulated sets of ratings
for each of 80 cells (raw agreement, kappas, alphas and AC1; two raters on a label given 50, 86 or 92% of the time,
three raters on three labels with and without gaps, a five-point scale), as mean (lowest cell):

| items | percentile, undefined resamples left out | percentile, as above | BCa, as above |
|---|---|---|---|
| 20 | .902 (.69) | .929 (.77) | .937 (.70) |
| 50 | .932 (.87) | .936 (.91) | .952 (.92) |
| 100 | .940 (.91) | .941 (.91) | .955 (.94) |
| 200 | .947 (.94) | .947 (.94) | .953 (.94) |

The lowest at 20 items is kappa where one label stands for 92% of the ratings: the rare one is often not there at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalharness.core.estimates import LEVEL
from evalharness.stats._bca import Array, bca_interval
from evalharness.stats._rating_rows import Rows, Undefined, rated, rated_by_both, rated_twice
from evalharness.stats.ratings import Ratings

__all__ = [
    "Agreement",
    "Ratings",
    "Undefined",
    "cohen_kappa",
    "equally_rated",
    "fleiss_kappa",
    "gwet_ac1",
    "krippendorff_alpha",
    "raw_agreement",
]

Weights: TypeAlias = Literal["unweighted", "linear", "quadratic"]
BCA: Final = "BCa bootstrap"
UNSEEN: Final = "binomial bound (no resample differs)"
SINGLE: Final = "none (a single unit)"
_NOTHING: Final = 1e-12
"""Expected disagreement up to this is rounding of 0; distances are scaled to [0, 1] first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A coefficient with its interval.

    Attributes:
        value: at most 1; 1 is perfect agreement, 0 what chance gives (for raw agreement: no agreement).
        low, high: two-sided interval at `level`, in (0, 1). `method` names the construction.
        n_items, n_raters, n_ratings: what the coefficient used.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    n_items: int
    n_raters: int
    n_ratings: int


_Disagreement: TypeAlias = Callable[[Array], tuple[Array, Array]]
"""Weights of the rows, shape (draws, rows) → observed and expected disagreement, shape (draws,), both scaled so that
an observed disagreement is at most 1. Expected 0 says: undefined."""


def raw_agreement(
    ratings: Ratings,
    *,
    rng: np.random.Generator,
    level: float = LEVEL,
    clusters: Sequence[str] | None = None,
) -> Agreement | Undefined:
    """Share of pairs of ratings of one item that are equal, averaged over the items with two ratings or more.

    Not corrected for chance: two raters who say "pass" 95% of the time at random agree on 90.5%.

    Args:
        ratings: on any scale; equal means the same value.
        rng: source of the resamples.
        level: of the interval, in (0, 1).
        clusters: one label for each of `ratings.items`; None where items are independent.

    Raises:
        ValueError: `level` out of range, or not one label per item.
    """
    rows = rated_twice(ratings, clusters)
    if isinstance(rows, Undefined):
        return rows
    differing = 1 - rows.agreeing()

    def disagreement(weights: Array) -> tuple[Array, Array]:
        total = weights.sum(axis=1)
        return weights @ differing / total, np.ones_like(total)

    return _estimate(rows, ratings, disagreement, level, rng, lowest=0.0)


def cohen_kappa(
    ratings: Ratings,
    first: str,
    second: str,
    *,
    rng: np.random.Generator,
    weights: Weights = "unweighted",
    level: float = LEVEL,
    clusters: Sequence[str] | None = None,
) -> Agreement | Undefined:
    """Cohen's kappa of two raters, over the items that both rated.

    kappa = 1 − Σ v_ij p_ij / Σ v_ij p_i. p_.j, with v_ij = 1 for i ≠ j (unweighted), |x_i − x_j| (linear) or
    (x_i − x_j)² (quadratic). The distances are those of the values themselves; for 1, 2, 3, … that is the same as
    counting categories. Sources: Cohen 1960, Educational and Psychological Measurement 20:37-46; weighted: Cohen 1968,
    Psychological Bulletin 70:213-220.

    Undefined where both raters gave one and the same value to every item.

    `first` and `second` are raters of `ratings`; linear and quadratic weights need the scale "ordinal" or "interval".
    The other arguments are those of `raw_agreement`.

    Raises:
        ValueError: as `raw_agreement`, and no such rater, one rater named twice, weights on a nominal scale.
    """
    if weights != "unweighted" and ratings.scale == "nominal":
        raise ValueError(f"{weights} weights need values with an order; the scale is nominal")
    rows = rated_by_both(ratings, first, second, clusters)
    if isinstance(rows, Undefined):
        return rows
    left, right = rows.codes[0::2], rows.codes[1::2]
    x, size = _positions(ratings), len(ratings.values)
    gap = np.abs(x[left] - x[right])
    cost = {"unweighted": (left != right).astype(np.float64), "linear": gap, "quadratic": gap**2}[weights]

    def disagreement(weight: Array) -> tuple[Array, Array]:
        total = weight.sum(axis=1)
        p, q = (_sums(weight, codes, size) / total[:, None] for codes in (left, right))
        if weights == "unweighted":
            expected = 1 - (p * q).sum(axis=1)
        elif weights == "linear":  # E|X − Y| = ∫ F(1 − G) + G(1 − F)
            f, g = np.cumsum(p, axis=1)[:, :-1], np.cumsum(q, axis=1)[:, :-1]
            expected = (f * (1 - g) + g * (1 - f)) @ np.diff(x)
        else:  # E(X − Y)² = var X + var Y + (E X − E Y)²
            (at_p, var_p), (at_q, var_q) = _moments(p, x), _moments(q, x)
            expected = var_p + var_q + (at_p - at_q) ** 2
        return weight @ cost / total, expected

    return _estimate(rows, ratings, disagreement, level, rng)


def fleiss_kappa(
    ratings: Ratings,
    *,
    rng: np.random.Generator,
    level: float = LEVEL,
    clusters: Sequence[str] | None = None,
) -> Agreement | Undefined:
    """Fleiss' kappa: any number of raters, values as labels, the same number of ratings for every item.

    kappa = (P̄ − P_e) / (1 − P_e), with P̄ the mean share of agreeing pairs of an item and P_e = Σ p_j² over the shares
    of all ratings. It need not be the same raters for every item. Source: Fleiss 1971, Psychological Bulletin
    76:378-382.

    Undefined where the number of ratings differs between items, is 1, or all ratings are one value.

    Arguments and errors are those of `raw_agreement`.
    """
    if not equally_rated(ratings):
        sizes = np.bincount(ratings.item)
        return Undefined(
            f"items have {sizes.min()} to {sizes.max()} ratings, and Fleiss' kappa needs the same number for every "
            "item; Krippendorff's alpha does not"
        )
    rows = rated_twice(ratings, clusters)
    if isinstance(rows, Undefined):
        return rows
    differing, size, owner = 1 - rows.agreeing(), len(ratings.values), rows.owner

    def disagreement(weights: Array) -> tuple[Array, Array]:
        marginals = _sums(weights[:, owner], rows.codes, size)
        shares = marginals / marginals.sum(axis=1)[:, None]
        return weights @ differing / weights.sum(axis=1), 1 - (shares**2).sum(axis=1)

    return _estimate(rows, ratings, disagreement, level, rng)


def equally_rated(ratings: Ratings) -> bool:
    """Whether every item has the same number of ratings, as Fleiss' kappa needs."""
    return np.unique(np.bincount(ratings.item)).size == 1


def krippendorff_alpha(
    ratings: Ratings,
    *,
    rng: np.random.Generator,
    level: float = LEVEL,
    clusters: Sequence[str] | None = None,
) -> Agreement | Undefined:
    """Krippendorff's alpha on the scale of the ratings: any number of raters, missing ratings allowed.

    With the coincidence matrix o_ck = Σ_u (ordered c–k pairs in item u) / (m_u − 1), m_u ratings of item u, n_c = Σ_k
    o_ck and n = Σ n_c:
    alpha = 1 − D_o/D_e,  D_o = Σ o_ck δ²_ck / n,  D_e = Σ n_c n_k δ²_ck / (n(n − 1)).
    δ² is 1[c ≠ k] (nominal), (x_c − x_k)² (interval), or (R_c − R_k)² with the midranks R_c = Σ_{g<c} n_g + n_c/2,
    which is Krippendorff's (Σ_{g=c..k} n_g − (n_c + n_k)/2)² (ordinal). Neither sum needs the matrix itself: squared
    distances within an item are its variance, those over all ratings the variance of the marginals. Items with a single
    rating are left out. Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.

    Undefined where no item has two ratings, or all ratings are one value.

    Arguments and errors are those of `raw_agreement`.
    """
    rows = rated_twice(ratings, clusters)
    if isinstance(rows, Undefined):
        return rows
    x, size, owner = _positions(ratings), len(ratings.values), rows.owner
    differing = (1 - rows.agreeing()) * rows.sizes
    apart = _within(x[None, rows.codes], rows)[0]

    def disagreement(weights: Array) -> tuple[Array, Array]:
        marginals = _sums(weights[:, owner], rows.codes, size)
        n = marginals.sum(axis=1)
        if ratings.scale == "nominal":
            expected = (n**2 - (marginals**2).sum(axis=1)) / (n * (n - 1))
            return weights @ differing / n, expected
        shares = marginals / n[:, None]
        if ratings.scale == "interval":
            return weights @ apart / n, 2 * _moments(shares, x)[1] * n / (n - 1)
        ranks = np.cumsum(shares, axis=1) - shares / 2
        observed = (weights * _within(ranks[:, rows.codes], rows)).sum(axis=1) / n
        return observed, 2 * _moments(shares, ranks)[1] * n / (n - 1)

    return _estimate(rows, ratings, disagreement, level, rng)


def gwet_ac1(
    ratings: Ratings,
    *,
    rng: np.random.Generator,
    level: float = LEVEL,
    clusters: Sequence[str] | None = None,
) -> Agreement | Undefined:
    """Gwet's AC1: any number of raters, values as labels, missing ratings allowed.

    AC1 = (p_a − p_e) / (1 − p_e), with p_a the mean share of agreeing pairs over the items with two ratings or more,
    and p_e = Σ π_k (1 − π_k) / (K − 1), π_k the mean over all items of the share of an item's ratings that are k, for
    the K values that were given. Where nearly all ratings are one value p_e goes to 0, and the chance agreement of
    the kappas to 1. Source: Gwet 2008, British Journal of Mathematical and Statistical Psychology 61:29-48.

    Undefined where no item has two ratings, or all ratings are one value.

    Arguments and errors are those of `raw_agreement`.
    """
    twice = rated_twice(ratings, clusters)
    if isinstance(twice, Undefined):
        return twice
    size = len(ratings.values)
    if size == 1:
        return _one_value(ratings)
    rows = rated(ratings, clusters, at_least=1)
    differing, paired, owner = 1 - rows.agreeing(), rows.sizes > 1, rows.owner

    def disagreement(weights: Array) -> tuple[Array, Array]:
        shares = _sums((weights / rows.sizes)[:, owner], rows.codes, size) / weights.sum(axis=1)[:, None]
        chance = (shares * (1 - shares)).sum(axis=1) / (size - 1)
        pairs = weights @ paired
        # A resample may draw no item with two ratings: nothing observed, so nothing defined.
        return weights @ (differing * paired) / np.maximum(pairs, 1), np.where(pairs > 0, 1 - chance, 0.0)

    return _estimate(rows, ratings, disagreement, level, rng)


def _estimate(
    rows: Rows,
    ratings: Ratings,
    disagreement: _Disagreement,
    level: float,
    rng: np.random.Generator,
    *,
    lowest: float = -1.0,
) -> Agreement | Undefined:
    """1 − observed/expected with its interval."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    (observed,), (expected,) = disagreement(rows.counts[None, rows.unit].astype(np.float64))
    if expected <= _NOTHING:
        return _one_value(ratings, rows)

    def statistic(weights: Array) -> tuple[Array, NDArray[np.bool_]]:
        above, below = disagreement(weights[:, rows.unit])
        defined = below > _NOTHING
        return 1 - above / np.where(defined, below, 1.0), defined

    value = 1 - float(observed / expected)
    units = int(rows.counts.sum())
    width = rows.codes.size + rows.sizes.size + len(ratings.values)
    method, bounds = SINGLE, (lowest, 1.0)
    if units > 1:
        method = BCA
        found = bca_interval(
            statistic, rows.counts, value=value, level=level, limits=(lowest, 1.0), width=width, rng=rng
        )
        if found is None:
            method, found = UNSEEN, _unseen(float(observed), float(expected), units, level)
        bounds = found
    members = rows.counts[rows.unit]
    return Agreement(
        value=value,
        low=max(bounds[0], lowest),
        high=min(bounds[1], 1.0),
        level=level,
        method=method,
        n_items=int(members.sum()),
        n_raters=rows.n_raters,
        n_ratings=int(members @ rows.sizes),
    )


def _unseen(observed: float, expected: float, units: int, level: float) -> tuple[float, float]:
    """The interval where all units look alike: as if units that went unseen agreed in nothing, or in everything."""
    share = 1 - ((1 - level) / 2) ** (1 / units)
    kept = (1 - share) * observed
    return 1 - (kept + share) / expected, 1 - kept / expected


def _one_value(ratings: Ratings, rows: Rows | None = None) -> Undefined:
    value = ratings.values[0 if rows is None else int(rows.codes[0])]
    return Undefined(
        f"every rating is {value!r}, and with one value only nothing tells agreement from chance"
    )


def _positions(ratings: Ratings) -> Array:
    """Values as numbers from 0 to 1, shape (values,); labels all stand at 0, since they have no distances."""
    if ratings.scale == "nominal" or len(ratings.values) == 1:
        return np.zeros(len(ratings.values))
    x = np.array(ratings.values, dtype=np.float64)
    return np.asarray((x - x[0]) / (x[-1] - x[0]))


def _moments(shares: Array, x: Array) -> tuple[Array, Array]:
    """Mean and variance of values at `x`, shape (values,) or (draws, values), with `shares`, shape (draws, values)."""
    mean = (shares * x).sum(axis=1)
    return mean, (shares * (x - mean[:, None]) ** 2).sum(axis=1)


def _within(x: Array, rows: Rows) -> Array:
    """Sums of squared distances over ordered pairs of a row, over its size − 1: shape (draws, t) to (draws, rows)."""
    means = np.add.reduceat(x, rows.starts, axis=1) / rows.sizes
    squares = np.add.reduceat((x - means[:, rows.owner]) ** 2, rows.starts, axis=1)
    return np.asarray(2 * squares * rows.sizes / np.maximum(rows.sizes - 1, 1))


def _sums(weights: Array, codes: NDArray[np.int64], size: int) -> Array:
    """Weights, shape (draws, t), summed by the code of their rating: shape (draws, size)."""
    draws = weights.shape[0]
    place = codes + size * np.arange(draws)[:, None]
    sums = np.bincount(place.ravel(), weights=weights.ravel(), minlength=draws * size)
    return np.asarray(sums.reshape(draws, size), dtype=np.float64)
