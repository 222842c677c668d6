"""Do the error rates of compared percentiles hold? Seeded, at alpha 5%, pooled over the cells of each model."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.quantiles import Attempts, fewest_units, paired_quantile

pytestmark = pytest.mark.calibration

Array = NDArray[np.float64]
ALPHA: Final = 0.05
MARGIN: Final = 0.10
DRAWS: Final = 40
CELLS: Final = [(n, q) for n in (100, 300, 1000) for q in (0.5, 0.95, 0.99)]


def alike(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Standard normal pairs with correlation 0.8."""
    case, one, other = rng.standard_normal((3, n))
    return np.sqrt(0.8) * case + np.sqrt(0.2) * one, np.sqrt(0.8) * case + np.sqrt(0.2) * other


def log_normal(n: int, q: float, rng: np.random.Generator) -> tuple[Array, Array]:
    base, cand = alike(n, rng)
    return np.exp(0.6 * base), np.exp(0.6 * cand)


def wider(n: int, q: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """A candidate with a nine times wider tail whose q-quantile is the same."""
    base, cand = alike(n, rng)
    return np.exp(0.1 * base), np.exp(0.9 * cand - 0.8 * special.ndtri(q))


def power_tail(n: int, q: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Pareto tails of index 1.5: no variance."""
    base, cand = alike(n, rng)
    return special.ndtr(-base) ** (-1 / 1.5), special.ndtr(-cand) ** (-1 / 1.5)


def judged(base: Array, cand: Array, q: float, rng: np.random.Generator) -> PairedEstimate:
    left, right = (Attempts(x[:, None], np.ones((x.size, 1), dtype=np.bool_)) for x in (base, cand))
    return paired_quantile(left, right, q=q, sign=-1, clusters=None, alpha=ALPHA, rng=rng)


def at_most(hits: list[bool]) -> float:
    return ALPHA + 4 * float(np.sqrt(ALPHA * (1 - ALPHA) / len(hits)))


def test_percentiles_hold_their_level() -> None:
    rejected, passed = list[bool](), list[bool]()
    for model in (log_normal, wider, power_tail):
        here, there = list[bool](), list[bool]()
        for n, q in CELLS:
            rng = np.random.default_rng([n, round(100 * q)])
            for _ in range(DRAWS):
                here.append(judged(*model(n, q, rng), q, rng).p_drop <= ALPHA)
                base, cand = model(n, q, rng)
                slower = judged(base, (1 + MARGIN) * cand, q, rng)
                false_pass = slower.no_pass_reason is None and slower.lower > MARGIN * slower.baseline
                if n < fewest_units(q, ALPHA):
                    assert not false_pass
                else:
                    there.append(false_pass)
        assert np.mean(here) <= at_most(here), model.__name__
        assert np.mean(there) <= at_most(there), model.__name__
        rejected += here
        passed += there
    assert 0.01 <= np.mean(rejected) <= at_most(rejected)  # one that never decides fails as well
    assert 0.01 <= np.mean(passed) <= at_most(passed)
