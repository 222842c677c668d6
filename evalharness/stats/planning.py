"""What the gate would say of a suite before it is run: chances of each status, MDE and cases, by size and noise.

A metric whose cases are 0 or 1 is described by its churn d, the share of cases that change when nothing changed. A true
drop x is added on top: a case regresses with probability d/2 + x and is fixed with probability d/2, so that d + x of
the cases change. Chances are then exact sums over both counts, with the gate's own tests. Every other metric is
described by the standard deviation of one unit's difference, and its mean is taken as normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.stats._inputs import MIN_CHANGED, MIN_CLUSTERS, checked_alpha
from evalharness.stats.margins import drop_of
from evalharness.stats.mcnemar import Counts, midp_mcnemar_counts, upper_tails
from evalharness.stats.student import normal_quantile, t_quantile
from evalharness.stats.tango import tango_z_counts

_REACH: Final = 9.0
"""Counts further than this many standard deviations from their mean are left out; P(|Z| > 9) is 2e-19."""
_MOST_CASES: Final = 10**8
"""No suite has more; where even that many would not do, no number is named."""
_STEPS: Final = 40
"""Halvings of an interval; the rest of [0, 1] is below 1e-12."""


class Chances(NamedTuple):
    """How often the gate gives each status to one metric; they add up to 1. `passed` includes "improved"."""

    regression: float
    suspect: float
    underpowered: float
    passed: float


class Noise(Protocol):
    """How much a metric moves for no reason, and what follows for a suite of n cases.

    `level` is the one-sided level of the drop's test, `alpha` that of the bound a pass is decided on, both in (0, 0.5);
    `drop` is a true drop, at least 0, and `margin` the gate's, above 0, both in the metric's unit.
    """

    def chances(self, n: int, drop: float, margin: float, *, alpha: float, level: float) -> Chances:
        """The chance of each status under a true drop."""
        ...

    def power(self, n: int, drop: float, *, level: float) -> float:
        """The chance that the test confirms a true drop, whatever the margin, in [0, 1]."""
        ...

    def mde(self, n: int, *, level: float, power: float = 0.8) -> float | None:
        """The smallest true drop that the test confirms with `power`; None where no drop would be."""
        ...

    def cases(self, drop: float, *, level: float, power: float = 0.8) -> int | None:
        """Cases from which a true drop is confirmed with `power`; None where no number would do."""
        ...


@dataclass(frozen=True, slots=True)
class Churn:
    """Noise of 0/1 cases: the share that changes when nothing changed, in [0, 1). Exact sums."""

    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share < 1.0:
            raise ValueError(f"churn is a share of the cases, from 0 to below 1, got {self.share}")

    def chances(self, n: int, drop: float, margin: float, *, alpha: float, level: float) -> Chances:
        """See `Noise`."""
        return _binary_chances(n, self.share, drop, margin, alpha, level)

    def power(self, n: int, drop: float, *, level: float) -> float:
        """See `Noise`."""
        return _binary_power(n, self.share, drop, level)

    def mde(self, n: int, *, level: float, power: float = 0.8) -> float | None:
        """See `Noise`."""
        return _binary_mde(n, self.share, level, power)

    def cases(self, drop: float, *, level: float, power: float = 0.8) -> int | None:
        """See `Noise`. Power rises in small steps with n; the number is one where it steps over `power`."""
        return _binary_cases(self.share, drop, level, power)


@dataclass(frozen=True, slots=True)
class Spread:
    """Noise of any other metric, as a normal approximation with Student's quantiles.

    Attributes:
        sd: standard deviation of one unit's difference, above 0, in the metric's unit.
        cases_per_unit: cases in a cluster on average; 1 where cases are independent.
        changing: share of the cases whose value changes, for the rule that a pass needs 10 of them; None: not known.
        fewest: units below which no pass is given, as of a quantile (`stats.quantiles.fewest_units`).
    """

    sd: float
    cases_per_unit: float = 1.0
    changing: float | None = None
    fewest: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sd) and self.sd > 0):
            raise ValueError(f"a standard deviation is a finite number above 0, got {self.sd}")
        if not self.cases_per_unit >= 1:
            raise ValueError(f"a cluster holds at least one case, got {self.cases_per_unit}")

    @property
    def clustered(self) -> bool:
        """Whether the unit is a cluster of several cases."""
        return self.cases_per_unit > 1

    def chances(self, n: int, drop: float, margin: float, *, alpha: float, level: float) -> Chances:
        """See `Noise`."""
        units = self._units(n)
        if units < 2:
            return Chances(0.0, 0.0, 1.0, 0.0)
        error = self.sd / math.sqrt(units)

        def below(line: float) -> float:
            return float(special.ndtr((line + drop) / error))

        fallen = below(-margin)
        regression = below(min(-margin, -t_quantile(1 - level, units - 1) * error))
        passed = 1.0 - below(max(-margin, -margin + t_quantile(1 - alpha, units - 1) * error))
        passed *= self._enough(n, units)
        return Chances(regression, fallen - regression, max(1.0 - fallen - passed, 0.0), passed)

    def power(self, n: int, drop: float, *, level: float) -> float:
        """See `Noise`."""
        units = self._units(n)
        if units < 2:
            return 0.0
        return float(special.ndtr(drop * math.sqrt(units) / self.sd - t_quantile(1 - level, units - 1)))

    def mde(self, n: int, *, level: float, power: float = 0.8) -> float | None:
        """See `Noise`."""
        units = self._units(n)
        if units < 2:
            return None
        return (t_quantile(1 - level, units - 1) + normal_quantile(power)) * self.sd / math.sqrt(units)

    def cases(self, drop: float, *, level: float, power: float = 0.8) -> int | None:
        """See `Noise`."""
        if not drop > 0:
            return None
        return _first(lambda n: self.power(n, drop, level=level) >= power)

    def _units(self, n: int) -> int:
        return round(n / self.cases_per_unit)

    def _enough(self, n: int, units: int) -> float:
        """The chance that there are, and change, enough units for a pass to be given at all."""
        if units < self.fewest:
            return 0.0
        if self.clustered:
            return float(units >= MIN_CLUSTERS)
        if self.changing is None:
            return 1.0
        return float(special.bdtrc(MIN_CHANGED - 1, n, self.changing)) if n >= MIN_CHANGED else 0.0


@dataclass(frozen=True, slots=True)
class _Discordants:
    """How many cases change: counts `k`, their probabilities, and the chance that a changed case regressed."""

    k: Counts
    weights: Counts
    regressing: float

    def chance(self, from_regressed: Counts) -> float:
        """P(regressed >= the threshold that each k has)."""
        return float(self.weights @ upper_tails(from_regressed, self.k, self.regressing))


def _discordants(n: int, churn: float, drop: float) -> _Discordants:
    churn = min(churn, 1.0 - drop)  # more than all of the cases cannot change
    psi = churn + drop
    if psi <= 0:
        return _Discordants(np.zeros(1), np.ones(1), 0.5)
    reach = (
        _REACH * math.sqrt(n * psi * (1 - psi)) + 30
    )  # the tail of a rare event is longer than a normal one
    low, high = max(0, math.floor(n * psi - reach)), min(n, math.ceil(n * psi + reach))
    k = np.arange(low, high + 1, dtype=np.float64)
    logs = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    logs += special.xlogy(k, psi) + special.xlog1py(n - k, -psi)
    weights = np.exp(logs)
    return _Discordants(k, weights / weights.sum(), min((churn / 2 + drop) / psi, 1.0))


def _first_regressed(k: Counts, holds: Callable[[Counts, Counts], NDArray[np.bool_]]) -> Counts:
    """For each number of changed cases, the fewest regressed ones for which `holds` is true; k + 1 where never.

    `holds(regressed, fixed)` takes and gives arrays and, once true, stays true as more of the k regress.
    """
    low, high = np.zeros_like(k), k + 1
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        inside = np.minimum(middle, k)
        true = holds(inside, k - inside) & (middle <= k)
        open_ = low < high
        high = np.where(open_ & true, middle, high)
        low = np.where(open_ & ~true, middle + 1, low)
    return low


@lru_cache(maxsize=4096)
def _binary_chances(n: int, churn: float, drop: float, margin: float, alpha: float, level: float) -> Chances:
    _check(n, drop, alpha, level)
    if not margin > 0:
        raise ValueError(f"a margin is above 0, got {margin}")
    cases = _discordants(n, churn, drop)
    z = normal_quantile(1 - alpha)
    line = drop_of(margin)
    fallen = _first_regressed(cases.k, lambda b, c: (c - b) / n <= line)
    confirmed = _first_regressed(cases.k, lambda b, c: midp_mcnemar_counts(b, c) <= level)
    if margin < 1:
        open_bound = _first_regressed(cases.k, lambda b, c: tango_z_counts(b, c, n, -margin) <= z)
    else:
        open_bound = cases.k + 1  # no bound reaches below −1
    fell = cases.chance(fallen)
    regression = cases.chance(np.maximum(fallen, confirmed))
    not_passed = cases.chance(np.minimum(fallen, open_bound))
    return Chances(regression, fell - regression, max(not_passed - fell, 0.0), 1.0 - not_passed)


@lru_cache(maxsize=16384)
def _binary_power(n: int, churn: float, drop: float, level: float) -> float:
    _check(n, drop, level, level)
    cases = _discordants(n, churn, drop)
    return cases.chance(_first_regressed(cases.k, lambda b, c: midp_mcnemar_counts(b, c) <= level))


@lru_cache(maxsize=4096)
def _binary_mde(n: int, churn: float, level: float, power: float) -> float | None:
    if _binary_power(n, churn, 1.0, level) < power:
        return None
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _binary_power(n, churn, middle, level) < power:
            low = middle
        else:
            high = middle
        if high - low < 1e-6:
            break
    return high


@lru_cache(maxsize=4096)
def _binary_cases(churn: float, drop: float, level: float, power: float) -> int | None:
    if not 0 < drop <= 1:
        return None
    return _first(lambda n: _binary_power(n, churn, drop, level) >= power)


def _first(holds: Callable[[int], bool]) -> int | None:
    """A number n with `holds(n)` and not `holds(n - 1)`, found by doubling and halving; None beyond 10^8."""
    high = 1
    while not holds(high):
        if high >= _MOST_CASES:
            return None
        high *= 2
    low = high // 2  # does not hold, or is 0
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _check(n: int, drop: float, alpha: float, level: float) -> None:
    checked_alpha(alpha)
    checked_alpha(level)
    if n < 1:
        raise ValueError(f"a plan needs at least one case, got {n}")
    if not 0.0 <= drop <= 1.0:
        raise ValueError(f"a true drop of a 0/1 metric lies in [0, 1], got {drop}")
