"""Checks shared by every paired analysis: clear sentences for bad input, codes for cluster labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

SMALLEST_ALPHA: Final = 1e-12
"""Smaller levels are lost in 1 − alpha; the earliest of many looks spends more than this."""
DRAWS_BEYOND: Final = 10
"""A quantile is read from resamples only where at least this many of them are expected beyond it."""
MIN_CHANGED: Final = 10
"""Fewer changed units than this carry no bound worth a PASS (see docs on how the gate decides)."""
MIN_CLUSTERS: Final = 8
"""With fewer clusters even a near-unanimous drop cannot reach the usual alpha."""
LARGEST: Final = 1e100
"""Larger values are refused: the sum of their squares may not be finite."""


def checked_pair(
    baseline: NDArray[np.float64], candidate: NDArray[np.float64], *, dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sides as float64 arrays of one shape, finite and not empty.

    Raises:
        ValueError: anything else, in a sentence that says which.
    """
    left, right = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if left.shape != right.shape or left.ndim != dimensions:
        raise ValueError(
            f"baseline and candidate must be {dimensions}-dimensional arrays of one shape, "
            f"got {left.shape} and {right.shape}"
        )
    if left.size == 0:
        raise ValueError("there are no paired cases to compare")
    for name, side in (("baseline", left), ("candidate", right)):
        bad = int(np.count_nonzero(~np.isfinite(side)))
        if bad:
            raise ValueError(
                f"{name} holds {bad} NaN or infinite values; a missing score needs a typed value"
            )
        if float(np.abs(side).max()) > LARGEST:
            raise ValueError(f"{name} holds values beyond ±{LARGEST:g}, whose squares have no finite sum")
    return left, right


def checked_alpha(alpha: float) -> None:
    """Raise ValueError unless 0 < alpha < 0.5, and not so small that 1 − alpha loses it."""
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5, got {alpha}")
    if alpha < SMALLEST_ALPHA:
        raise ValueError(f"alpha must be at least {SMALLEST_ALPHA:g}, got {alpha}")


def checked_level(level: float) -> None:
    """Raise ValueError unless 0 < level < 1, and not so near 1 that (1 − level)/2 loses it."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval must lie between 0 and 1, got {level}")
    if 1.0 - level < 2 * SMALLEST_ALPHA:
        raise ValueError(f"the level of an interval must be at most 1 - {2 * SMALLEST_ALPHA:g}, got {level}")


def carried(tail: float, draws: int) -> bool:
    """Whether `draws` resamples carry a quantile with `tail` of the probability beyond it, in (0, 0.5]."""
    return tail * draws >= DRAWS_BEYOND * (1 - 1e-9)


def too_strict(alpha: float, draws: int) -> str:
    """Why a bound from `draws` resamples must not give a PASS at this alpha."""
    return f"no bound at alpha {alpha:.2g}: {draws:,} resamples carry one down to {DRAWS_BEYOND / draws:.2g}"


def cluster_codes(clusters: Sequence[str], cases: int) -> NDArray[np.int64]:
    """Cluster labels as integers 0..G−1 in order of first appearance, shape (cases,).

    Raises:
        ValueError: not one label per case, or an empty label, which would make one cluster of unrelated cases.
    """
    if len(clusters) != cases:
        raise ValueError(f"clusters must hold one label per case: {len(clusters)} labels for {cases} cases")
    empty = sum(not label for label in clusters)
    if empty:
        raise ValueError(
            f"{empty} of {cases} cluster labels are empty; a case on its own needs a label of its own"
        )
    seen: dict[str, int] = {}
    return np.fromiter((seen.setdefault(label, len(seen)) for label in clusters), np.int64, count=cases)


def without_rounding(
    differences: NDArray[np.float64], left: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`differences` with those no larger than rounding of the two sides set to exactly 0."""
    noise = 1e-12 * np.maximum(np.maximum(np.abs(left), np.abs(right)), np.finfo(np.float64).tiny)
    return np.where(np.abs(differences) <= noise, 0.0, differences)


def too_few(changed_units: int, units: int, *, clustered: bool) -> str | None:
    """Why a bound on this many units must not give a PASS, or None when it may."""
    noun = "clusters" if clustered else "cases"
    if clustered and units < MIN_CLUSTERS:
        few = f"only {units} {noun}" if units > 1 else "only 1 cluster"
        return f"{few}; at least {MIN_CLUSTERS} are needed to tell a change from noise between them"
    # All of 8 or 9 clusters may have changed; then the bound rests on every one of them.
    needed = min(MIN_CHANGED, units) if clustered else MIN_CHANGED
    if changed_units == 0:
        return f"no case changed, and a bound needs at least {needed} changed {noun}"
    if changed_units < needed:
        return f"only {changed_units} of {units} {noun} changed; a bound needs at least {MIN_CHANGED} changed {noun}"
    return None
