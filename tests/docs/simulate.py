"""The table of docs/gate.md: how often each rule stops a candidate, by simulation with the package's own statistics.

    python tests/docs/simulate.py

One 0/1 metric, margin 2pp, alpha 0.05. A share CHURN of the cases changes for no reason, half of them each way; a true
change moves the share that gets worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.tango import tango_lower

CHURN, MARGIN, ALPHA, REPEATS, SEED = 0.10, 0.02, 0.05, 20_000, 20260101
CASES = (200, 500, 1000, 2000)
CHANGES = (0.0, -0.02, -0.04)


@dataclass(frozen=True)
class Shares:
    """Shares of comparisons, each in [0, 1]; all but `naive` sum to 1."""

    naive: float
    regression: float
    inconclusive: float
    underpowered: float
    proven: float


@cache
def simulate(cases: int, change: float, repeats: int = REPEATS) -> Shares:
    """Draw comparisons and apply the rules of the gate to each."""
    rng = np.random.default_rng([SEED, cases, round(-1000 * change)])
    worse, better = CHURN / 2 - change, CHURN / 2
    draws = rng.multinomial(cases, [worse, better, 1 - worse - better], size=repeats)[:, :2]
    pairs, counts = np.unique(draws, axis=0, return_counts=True)
    seen = dict.fromkeys(("regression", "inconclusive", "underpowered", "proven"), 0)
    for (regressed, fixed), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        seen[_status(regressed, fixed, cases)] += count
    shares = {name: count / repeats for name, count in seen.items()}
    return Shares(naive=shares["regression"] + shares["inconclusive"], **shares)


def _status(regressed: int, fixed: int, cases: int) -> str:
    if (fixed - regressed) / cases <= -MARGIN + 1e-9:
        return "regression" if midp_mcnemar(regressed, fixed) <= ALPHA else "inconclusive"
    return "proven" if tango_lower(regressed, fixed, cases, 1 - ALPHA) > -MARGIN else "underpowered"


def rows() -> list[str]:
    """The rows of the table, as Markdown."""
    lines = []
    for cases in CASES:
        for change in CHANGES:
            s = simulate(cases, change)
            shares = (s.naive, s.regression, s.inconclusive, s.underpowered, s.proven)
            change_text = "none" if change == 0 else f"−{-change * 100:.0f}pp"
            lines.append(f"| {cases:,} | {change_text} | " + " | ".join(f"{x:.0%}" for x in shares) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(rows()))
