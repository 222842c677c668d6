"""Do the 95% intervals of judge figures hold the truth 95% of the time? Shares exactly, the rest by seeded simulation.

A simulated coverage may miss its reference by at most four binomial standard deviations of the number of draws.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from evalharness.stats.judging import NotEstimated, share
from evalharness.stats.length import length_controlled_win_rate, length_correlation

pytestmark = pytest.mark.calibration

Array = NDArray[np.float64]
DRAWS = 1_200


def holds(covered: int, draws: int, low: float = 0.94, high: float = 0.975) -> None:
    rate = covered / draws
    band = 4 * math.sqrt(0.95 * 0.05 / draws)
    assert low - band <= rate <= high + band, rate


@pytest.mark.parametrize("n", [20, 50, 100, 200])
def test_a_share_covers_exactly(n: int) -> None:
    """Coverage of Wilson's interval by enumeration: 95% on average over true shares, 92% at the worst of these."""
    found = [share(np.repeat([1.0, 0.0], [k, n - k])) for k in range(n + 1)]
    low, high = np.array([s.low for s in found]), np.array([s.high for s in found])
    truths = np.linspace(0.05, 0.95, 181)
    k = np.arange(n + 1)
    log_ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    chances = np.exp(log_ways + np.log(truths)[:, None] * k + np.log1p(-truths)[:, None] * (n - k))
    covered = (chances * ((low <= truths[:, None]) & (truths[:, None] <= high))).sum(axis=1)
    assert 0.945 <= covered.mean() <= 0.96
    assert covered.min() >= 0.92


def correlated(n: int, repeats: int, rng: np.random.Generator) -> Array:
    """Uniform numbers, shape (n, repeats), that are alike within a row (normal copula, correlation 0.5)."""
    latent = rng.standard_normal((n, 1)) + rng.standard_normal((n, repeats))
    return np.asarray(special.ndtr(latent / 2**0.5))


@pytest.mark.parametrize("truth", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("n", [30, 100])
def test_a_share_of_repeats_covers(n: int, truth: float) -> None:
    rng = np.random.default_rng([n, round(100 * truth)])
    cases = [str(i) for i in range(n) for _ in range(3)]
    covered = 0
    for _ in range(DRAWS):
        got = share((correlated(n, 3, rng) < truth).astype(np.float64).ravel(), cases=cases)
        covered += got.low <= truth <= got.high
    holds(covered, DRAWS)


@pytest.mark.parametrize("n", [30, 100])
def test_a_share_of_fractional_preferences_covers(n: int) -> None:
    rng = np.random.default_rng(n)
    steps, chances = np.array([0, 0.25, 0.5, 0.75, 1]), [0.1, 0.1, 0.3, 0.1, 0.4]
    truth = float(steps @ chances)
    covered = 0
    for _ in range(DRAWS):
        got = share(rng.choice(steps, n, p=chances))
        covered += got.low <= truth <= got.high
    holds(covered, DRAWS)


# Intercept (truth at equal length), effect of length, and by how many standard deviations the candidate is longer.
SHAPES = [(0.0, 0.0, 0.0), (0.0, 1.5, 0.0), (0.8, 1.5, 0.5), (-1.0, 2.0, 1.0)]


@pytest.mark.parametrize(("at_zero", "slope", "shift"), SHAPES)
@pytest.mark.parametrize(("n", "repeats"), [(50, 1), (100, 1), (400, 1), (100, 3)])
def test_the_win_rate_at_equal_length_covers(
    n: int, repeats: int, at_zero: float, slope: float, shift: float
) -> None:
    rng = np.random.default_rng([n, repeats, round(10 * slope), round(10 * shift)])
    cases = [str(i) for i in range(n) for _ in range(repeats)]
    covered = estimated = 0
    draws = 500
    for _ in range(draws):
        lengths = np.repeat(rng.standard_normal((n, 1)) + shift, repeats, axis=1)
        chance = special.expit(at_zero + slope * np.tanh(lengths))
        wins = (correlated(n, repeats, rng) < chance).astype(np.float64)
        got = length_controlled_win_rate(wins.ravel(), np.round(1000 * lengths).ravel(), cases=cases)
        if isinstance(got, NotEstimated):
            continue
        estimated += 1
        covered += got.low <= special.expit(at_zero) <= got.high
    assert estimated >= 0.95 * draws
    holds(covered, estimated)


@pytest.mark.parametrize("slope", [0.0, 1.5, 5.0])
@pytest.mark.parametrize("n", [20, 200])
def test_the_correlation_with_length_covers(n: int, slope: float) -> None:
    rng = np.random.default_rng([n, round(10 * slope)])

    def draw(size: int) -> tuple[Array, Array]:
        length = rng.standard_normal(size)
        latent = slope * np.tanh(length) + rng.logistic(size=size)
        return np.digitize(latent, [-0.8, 0.8]) / 2, np.round(500 * length)

    whole = length_correlation(*draw(200_000))
    assert not isinstance(whole, NotEstimated)
    covered = drawn = 0
    for _ in range(DRAWS):
        got = length_correlation(*draw(n))
        if not isinstance(got, NotEstimated):
            drawn += 1
            covered += got.low <= whole.value <= got.high
    holds(covered, drawn, high=0.99)  # too wide where the correlation is strong and most verdicts are tied
