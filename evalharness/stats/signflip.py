"""The paired sign-flip (randomisation) test of a mean difference.

Under "no change" each unit's difference is as likely to have either sign. The statistic is the sum; ties count half
(mid-p), since on discrete differences the plain count is needlessly conservative. Source: Fisher 1935, The Design of
Experiments; Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

EXACT_UNITS: Final = 16
"""Up to this many changed units all 2^m sign patterns are counted (65,536 at most)."""
DRAWS: Final = 10_000
MAX_DRAWS: Final = 400_000
_CHUNK_BYTES: Final = 4_000_000


def flips_for(alpha: float) -> int:
    """Sign patterns for a p-value to be held against `alpha`, in (0, 0.5): 100/alpha, 10,000 to 400,000."""
    return min(max(DRAWS, math.ceil(100 / alpha)), MAX_DRAWS)


def sign_flip(
    differences: NDArray[np.float64], rng: np.random.Generator, *, draws: int = DRAWS
) -> tuple[float, float]:
    """One-sided p of "no drop" and of "no gain", each in (0, 1]; both 1 when every difference is 0.

    Exact for up to 16 nonzero differences (then `rng` is not used). Otherwise `draws` random sign patterns, taken in
    mirrored pairs, with p = (1 + below + ties/2)/(draws + 1): never 0, symmetric in the two sides, and free of the
    order of the units.

    Args:
        differences: shape (units,), finite, candidate − baseline, higher is better.
        rng: source of the sign patterns.
        draws: number of sign patterns, rounded up to even.
    """
    sizes = np.sort(np.abs(differences[differences != 0]))
    if sizes.size == 0:
        return 1.0, 1.0
    observed = float(differences.sum())
    # Sums of the same numbers in another order differ in their last bits; that is a tie, not a difference.
    slack = 1e-12 * float(sizes.sum())
    if sizes.size <= EXACT_UNITS:
        sums = _all_sums(sizes)
        below, ties = _count(sums, observed, slack)
        total = sums.size
        return (below + ties / 2) / total, (total - below - ties / 2) / total
    drawn = _random_sums(sizes, (draws + 1) // 2, rng)
    return mirrored_p_values(drawn, observed, slack)


def mirrored_p_values(drawn: NDArray[np.float64], observed: float, slack: float) -> tuple[float, float]:
    """Mid-p of "no drop" and "no gain" from half of a mirrored set of draws, shape (half,).

    The other half is the first with every sign turned, so it is never drawn. Values within `slack` of `observed` tie.
    """
    below, ties = (
        a + b for a, b in zip(_count(drawn, observed, slack), _count(-drawn, observed, slack), strict=True)
    )
    total = 2 * drawn.size
    above = total - below - ties
    return (1 + below + ties / 2) / (total + 1), (1 + above + ties / 2) / (total + 1)


def _count(sums: NDArray[np.float64], observed: float, slack: float) -> tuple[int, int]:
    below = int(np.count_nonzero(sums < observed - slack))
    return below, int(np.count_nonzero(sums <= observed + slack)) - below


def _all_sums(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every signed sum of `sizes`, shape (2**len(sizes),)."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate((sums - size, sums + size))
    return sums


def _random_sums(sizes: NDArray[np.float64], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`draws` randomly signed sums of `sizes`, shape (draws,).

    Eight units share one random byte, looked up in a table of their 256 signed sums: one gather replaces eight
    multiplications, which is what makes ten thousand draws cheap.
    """
    groups = -(-sizes.size // 8)
    padded = np.zeros(groups * 8)
    padded[: sizes.size] = sizes
    signs = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) - 1.0
    table = padded.reshape(groups, 8) @ signs.T
    sums = np.zeros(draws)
    chunk = max(1, _CHUNK_BYTES // draws)
    for start in range(0, groups, chunk):
        rows = table[start : start + chunk]
        codes = rng.integers(0, 256, size=(rows.shape[0], draws), dtype=np.uint8)
        for row, code in zip(rows, codes, strict=True):
            sums += row[code]
    return sums
