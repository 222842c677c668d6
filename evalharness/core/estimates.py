"""Estimate and Interval: numbers that say what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEVEL: Final = 0.95
"""Level of a two-sided interval where none is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided interval for a difference. `level` in (0, 1), for example 0.95. `method` names the construction."""

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedEstimate:
    """A paired difference candidate − baseline on the goodness scale (higher is better), with its tests.

    The unit is the case, or the cluster where cases are clustered; repeats are averaged inside a case before this.

    Attributes:
        n: paired cases. n_units: independent units (clusters, else cases).
        baseline, candidate, delta: metric values and their difference.
        interval: two-sided interval for `delta`.
        lower: one-sided lower bound for `delta` at confidence 1 − alpha; PASS is decided on it;
            `lower_method` names it.
        p_drop: one-sided p of "no drop" (H0: delta ≥ 0). p_gain: one-sided p of "no gain" (H0: delta ≤ 0).
        test: name of the test behind both p-values.
        n_regressed, n_fixed: cases whose value fell, rose. `discordance` = their share of n, in [0, 1].
        sd: standard deviation of one unit's difference, for power.
        no_pass_reason: why PASS must not be given whatever the bound says, None when it may.
        clustered: whether units are clusters.
    """

    n: int
    n_units: int
    baseline: float
    candidate: float
    delta: float
    interval: Interval
    lower: float
    lower_method: str
    p_drop: float
    p_gain: float
    test: str
    n_regressed: int
    n_fixed: int
    discordance: float
    sd: float
    no_pass_reason: str | None = None
    clustered: bool = False
