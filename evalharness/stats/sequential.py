"""Looking early without inflating the error: group-sequential boundaries and p-values with alpha spending.

A comparison is judged at looks 1..K, planned before the run. Look k happens at information t_k, its share of the most
cases the run may use, and by then at most alpha * s_k**2 of the level may have been spent (the power family of Kim and
DeMets 1987, Biometrika 74:149-154, exponent 2; Lan and DeMets 1983, Biometrika 70:659-663), where s_k is t_k unless
said otherwise. The z statistics of the looks behave as S(t_k) / sqrt(t_k) of a Brownian motion S, so each boundary
follows from those before it by numerical integration of the density of the paths that have not crossed yet
(Armitage, McPherson and Rowe 1969, Journal of the Royal Statistical Society A 132:235-244; Jennison and Turnbull
2000, Group Sequential Methods with Applications to Clinical Trials, chapter 19).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise, zip_longest
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.stats._inputs import checked_alpha
from evalharness.stats.mcnemar import SMALLEST_P

_REACH: Final = 8.0
"""Paths are followed down to this many standard deviations; P(Z < -8) is 6e-16."""
_ORDER: Final = 32
"""Gauss-Legendre points in a panel."""
_PANEL: Final = 14.0
"""Width of a panel in standard deviations of the narrowest Gaussian it has to integrate; halving it moves nothing."""
_ALL_SPENT: Final = 1e-13
"""Where less than this share of the paths is left, it is lost in rounding and everything counts as spent."""
_FLOOR: Final = 1e-250
"""Later looks tell p-values apart down to this one only; the densities of rarer paths leave the range of floats."""

_CLOSEST: Final = 1e-6
"""Looks whose information differs by a smaller share than this are refused, not integrated badly."""
_BLOCK: Final = 256
_LEVEL_PRECISION: Final = 1e-12
"""Relative precision of a sequential p-value."""

Array = NDArray[np.float64]


def spent(alpha: float, spending: Sequence[float]) -> list[float]:
    """Cumulative level spent by each look, alpha * s_k**2.

    Args:
        alpha: one-sided level of the whole plan, in (0, 0.5).
        spending: s_1..s_K in [0, 1], not decreasing.

    Raises:
        ValueError: alpha or a share out of range, no looks, or shares that fall.
    """
    checked_alpha(alpha)
    return [alpha * share * share for share in _checked_spending(spending)]


def boundaries(
    alpha: float, information: Sequence[float], spending: Sequence[float] | None = None
) -> list[float]:
    """One-sided upper boundaries z_1..z_K whose cumulative crossing probability is alpha * s_k**2 at look k.

    Accurate to about 1e-12 in z. A look at which nothing new is spent has the boundary inf.

    Args:
        alpha: one-sided level of the whole plan, in (0, 0.5).
        information: t_1..t_K, strictly increasing in (0, 1]. A last look before 1 leaves the rest of alpha unspent.
        spending: s_1..s_K in [0, 1], not decreasing; the information where None.

    Raises:
        ValueError: alpha, a time or a share out of range, NaN, times that do not increase, or unequal lengths.
    """
    checked_alpha(alpha)
    times, shares = _checked_plan(information, spending)
    return [float(z) for z in _plan(alpha, shares * shares, times).boundaries]


def nominal_levels(
    alpha: float, information: Sequence[float], spending: Sequence[float] | None = None
) -> list[float]:
    """The one-sided level 1 − Phi(z_k) at which the fixed-sample p-value of look k is judged; 0 where z_k is inf.

    Arguments and errors are those of `boundaries`.
    """
    checked_alpha(alpha)
    times, shares = _checked_plan(information, spending)
    return [float(level) for level in _plan(alpha, shares * shares, times).levels]


def sequential_p(
    p_values: Sequence[float], information: Sequence[float], spending: Sequence[float] | None = None
) -> float:
    """The smallest level, in (0, 1], whose boundaries reject at or before the last look taken; 1 when none does.

    At most alpha exactly when some look's p-value is at most its `nominal_levels(alpha, ...)`, so it is compared with
    alpha like any other p-value, and Holm over several metrics keeps the family's level at every look (Liu and
    Anderson 2008, Journal of the American Statistical Association 103:1621-1630; Maurer and Bretz 2013, Statistics in
    Biopharmaceutical Research 5:311-320). A further look can only lower it. One look at information 1 gives its own p.

    Such a level exists and is unique for each look: where alpha grows, all boundaries fall. Fewer paths survive a
    lower boundary, and from those more is spent, so that the next boundary is lower too.

    Args:
        p_values: one-sided fixed-sample p-values of looks 1..k, in [0, 1]; 0 is read as the smallest float.
        information: t_1..t_K of the whole plan, K >= k; see `boundaries`.
        spending: s_1..s_K; see `boundaries`.

    Raises:
        ValueError: no p-values, more of them than looks, one outside [0, 1] or NaN, or a plan `boundaries` refuses.
    """
    times, shares = _checked_plan(information, spending)
    p = _checked_p_values(p_values, times.size)
    used = (shares * shares)[: p.size]
    steps = np.diff(used, prepend=0.0)
    open_looks = np.flatnonzero(steps > 0)
    if open_looks.size == 0:
        return 1.0
    # P(Z_k >= z_k) lies between what look k itself spends and all that is spent by then, which brackets each level.
    first, later = int(open_looks[0]), open_looks[1:]
    with np.errstate(over="ignore"):
        exact = float(p[first] / used[first])
        p = np.maximum(p, _FLOOR)
        least, most = p[later] / used[later], p[later] / steps[later]
    high = float(min(1.0, exact, *most))
    later, least = later[least < high], least[least < high]
    if later.size == 0:
        return high
    last, log_p = int(later[-1]) + 1, np.log(p[later])

    def excess(log_level: float) -> float:
        """Logarithm of the nominal level over the p-value, at the look that rejects first."""
        levels = _plan(math.exp(log_level), used[:last], times[:last]).levels[later]
        return float((np.log(np.maximum(levels, SMALLEST_P)) - log_p).max())

    return min(high, math.exp(_root(excess, math.log(float(least.min())), math.log(high))))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where an increasing function of slope about 1 becomes 0 in [low, high]; `high` where it is negative throughout.

    Secant steps inside the bracket, bisection where one would leave it.
    """
    point, slope = (low + high) / 2, 1.0
    value = function(point)
    for _ in range(100):
        low, high = (point, high) if value < 0 else (low, point)
        following = point - value / slope
        if not low <= following <= high:
            following = high if following > high else (low + high) / 2
        if abs(following - point) < _LEVEL_PRECISION:
            return following
        before, value_before = point, value
        point, value = following, function(following)
        slope = max((value - value_before) / (point - before), 0.1)
    return high


class _Plan(NamedTuple):
    """Boundaries z_k and the nominal levels 1 − Phi(z_k), each of shape (looks,)."""

    boundaries: Array
    levels: Array


class _Paths(NamedTuple):
    """Paths that have not crossed by `time`: quadrature points of S(time) and the probability each stands for."""

    time: float
    points: Array
    mass: Array


def _plan(alpha: float, used: Array, times: Array) -> _Plan:
    """Boundaries that spend alpha * `used` by the looks at `times`, each of shape (looks,); alpha up to 1."""
    cumulative, steps = alpha * used, alpha * np.diff(used, prepend=0.0)
    z, levels = np.full(times.size, np.inf), np.zeros(times.size)
    looks = np.flatnonzero(steps > 0).tolist()  # where nothing is spent, nobody looks
    paths = _Paths(0.0, np.zeros(1), np.ones(1))
    for look, following in zip_longest(looks, looks[1:]):
        if paths.time == 0:
            levels[look], z[look] = cumulative[look], -float(special.ndtri(cumulative[look]))
        elif cumulative[look] >= 1 - _ALL_SPENT:
            levels[look], z[look] = 1.0, -np.inf
        else:
            z[look] = _boundary(paths, float(times[look]), float(steps[look]), float(cumulative[look]))
            levels[look] = special.ndtr(-z[look])
        if following is None or z[look] == -np.inf:
            break
        paths = _survivors(paths, float(times[look]), float(z[look]), float(times[following]))
    return _Plan(z, levels)


def _boundary(paths: _Paths, time: float, step: float, cumulative: float) -> float:
    """The z at `time` that a share `step` of all paths crosses for the first time, `cumulative` being spent by then.

    Newton's method on the logarithm of that share. The density of the survivors is log-concave, hence so is its tail:
    from above the root every step stays above it. P(Z >= z) lies between `step` and `cumulative`; that bracket gives
    the start and keeps rounding from leading astray.
    """
    root_time, deviation = math.sqrt(time), math.sqrt(time - paths.time)
    low, high = (-root_time * float(special.ndtri(share)) for share in (cumulative, step))
    level, target = high, math.log(step)
    for _ in range(100):
        x = (paths.points - level) / deviation
        tail = special.log_ndtr(x)
        largest = float(tail.max())
        share = float(paths.mass @ np.exp(tail - largest))
        density = float(paths.mass @ np.exp(-0.5 * x * x - largest))
        if share <= 0 or density <= 0:
            break
        change = (math.log(share) + largest - target) * share / density * deviation * math.sqrt(2 * math.pi)
        level, before = min(max(level + change, low), high), level
        if abs(level - before) <= 1e-13 * root_time:
            break
    return level / root_time


def _survivors(paths: _Paths, time: float, boundary: float, following: float) -> _Paths:
    """The paths below `boundary` (a z) at `time`, on points close enough together for the look at `following`."""
    root_time = math.sqrt(time)
    behind, ahead = time - paths.time, following - time
    # What will be integrated is a mixture of Gaussians of variance `behind` times one of variance `ahead`.
    narrowest = math.sqrt(behind) * math.sqrt(ahead / (behind + ahead))
    low, high = -_REACH * root_time, boundary * root_time
    panels = max(1, math.ceil((high - low) / (_PANEL * narrowest)))
    nodes, weights = _legendre()
    half = (high - low) / panels / 2
    points = (low + half * (2 * np.arange(panels)[:, None] + 1 + nodes)).ravel()
    mass = np.tile(weights, panels) * half
    density = _spread(paths, points, behind, time)
    return _Paths(time, points, mass * density / math.sqrt(2 * math.pi * behind))


def _spread(paths: _Paths, points: Array, variance: float, time: float) -> Array:
    """Sum of mass · exp(−distance² / 2 variance) at increasing `points`, in blocks that skip what is out of reach."""
    scaled = 1 / math.sqrt(2 * variance)
    # A path at z is likeliest to come from z · variance / sqrt(time) below; 40 is beyond every z of a float.
    reach = math.sqrt(variance) * (9 + 40 * math.sqrt(variance / time))
    found = np.empty(points.size)
    for start in range(0, points.size, _BLOCK):
        block = points[start : start + _BLOCK]
        near = slice(*np.searchsorted(paths.points, (block[0] - reach, block[-1] + reach)).tolist())
        distance = (block[:, None] - paths.points[near]) * scaled
        found[start : start + _BLOCK] = np.exp(-distance * distance) @ paths.mass[near]
    return found


@cache
def _legendre() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(_ORDER)
    return nodes, weights


def _checked_plan(information: Sequence[float], spending: Sequence[float] | None) -> tuple[Array, Array]:
    """Times and shares as arrays of one shape (looks,), or ValueError."""
    times = [float(time) for time in information]
    for time in times:
        if not 0.0 < time <= 1.0:
            raise ValueError(f"the information of a look lies in (0, 1], got {time}")
    for earlier, later in pairwise(times):
        if later <= earlier:
            raise ValueError(f"information must increase from look to look, got {earlier} and then {later}")
        if later - earlier < _CLOSEST * later:
            raise ValueError(f"the looks at {earlier} and {later} are too close together to tell them apart")
    shares = _checked_spending(times if spending is None else spending)
    if len(shares) != len(times):
        raise ValueError(f"spending must hold one share a look: {len(shares)} shares for {len(times)} looks")
    return np.array(times), np.array(shares)


def _checked_spending(spending: Sequence[float]) -> list[float]:
    shares = [float(share) for share in spending]
    if not shares:
        raise ValueError("a plan needs at least one look")
    for share in shares:
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"a share of the level to spend lies in [0, 1], got {share}")
    for earlier, later in pairwise(shares):
        if later < earlier:
            raise ValueError(f"what is spent cannot be taken back: {later} comes after {earlier}")
    return shares


def _checked_p_values(p_values: Sequence[float], looks: int) -> Array:
    p = [float(value) for value in p_values]
    if not p:
        raise ValueError("a sequential p-value needs the p-value of at least one look")
    if len(p) > looks:
        raise ValueError(f"there are {len(p)} p-values for a plan of {looks} looks")
    for value in p:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"a p-value lies in [0, 1], got {value}")
    return np.maximum(p, SMALLEST_P)
