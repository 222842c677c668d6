"""The second table of docs/gate.md: ways to decide, side by side, by simulation.

    python tests/docs/rules.py

One 0/1 metric, 80% right before the change. A share `churn` of the cases changes for no reason, half of them each way;
a true change moves the share that gets worse. All rules see the same draws. The gate is judged in ten looks, by the
package's own boundaries; the other rules, and the gate without looks, wait for every case.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.stats.mcnemar import midp_mcnemar_counts
from evalharness.stats.sequential import nominal_levels
from evalharness.stats.tango import tango_z_counts

ALPHA, MARGIN, RIGHT, LOOKS, REPEATS, SEED = 0.05, 0.02, 0.80, 10, 20_000, 20260101
CELLS = ((500, 0.05), (500, 0.10), (1000, 0.05), (1000, 0.10), (1000, 0.20), (2000, 0.10))
CHANGES = (0.0, -0.04, -0.08)
Counts = NDArray[np.int64]
Yes = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """How one rule did, for each of CHANGES: share of candidates stopped, and mean cases asked."""

    name: str
    stopped: tuple[float, ...]
    cases: tuple[float, ...]


@cache
def simulate(cases: int, churn: float) -> tuple[Rule, ...]:
    """Every rule on one kind of comparison."""
    found: dict[str, list[tuple[float, float]]] = {}
    for change in CHANGES:
        for name, (stopped, asked) in _rules(cases, churn, change).items():
            found.setdefault(name, []).append((float(stopped.mean()), float(np.mean(asked))))
    return tuple(
        Rule(name, tuple(s for s, _ in rows), tuple(n for _, n in rows)) for name, rows in found.items()
    )


def _rules(cases: int, churn: float, change: float) -> dict[str, tuple[Yes, NDArray[np.float64]]]:
    rng = np.random.default_rng([SEED, cases, round(1000 * churn), round(-1000 * change)])
    step = cases // LOOKS
    # who was right before, and of them and of the others, whose answer changed
    worse, better = churn / 2 - change, churn / 2
    shares = [worse, RIGHT - worse, better, 1 - RIGHT - better]
    drawn = rng.multinomial(step, shares, size=(REPEATS, LOOKS)).cumsum(axis=1)
    regressed, fixed = drawn[..., 0], drawn[..., 2]
    right_before, right_after = drawn[..., 0] + drawn[..., 1], drawn[..., 1] + drawn[..., 2]
    last = LOOKS * step
    delta = (fixed - regressed) / (step * np.arange(1, LOOKS + 1))
    everything = np.full(REPEATS, float(last))
    dropped = delta[:, -1] <= -MARGIN + 1e-9
    before, after = right_before[:, -1] / last, right_after[:, -1] / last
    whole = dropped & (midp_mcnemar_counts(regressed[:, -1], fixed[:, -1]) <= ALPHA)
    return {
        "fail at −2pp": (dropped, everything),
        "unpaired z-test": (_unpaired(before, after, last), everything),
        "95% intervals apart": (_apart(before, after, last), everything),
        "peeking, ten tests at 5%": _peeked(regressed, fixed, step),
        "the gate, every case": (whole, everything),
        "the gate, ten looks": _looked(regressed, fixed, delta, step),
    }


def _unpaired(before: NDArray[np.float64], after: NDArray[np.float64], n: int) -> Yes:
    """One-sided two-sample z-test of proportions with a pooled variance, at ALPHA."""
    pooled = (before + after) / 2
    z = (before - after) / np.sqrt(2 * pooled * (1 - pooled) / n)
    return np.asarray(special.ndtr(-z) <= ALPHA)


def _apart(before: NDArray[np.float64], after: NDArray[np.float64], n: int) -> Yes:
    """Whether the two 95% Wilson intervals lie apart, the candidate's below."""

    def wilson(share: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        z = float(special.ndtri(0.975))
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return middle - half, middle + half

    return np.asarray(wilson(after)[1] < wilson(before)[0])


def _peeked(regressed: Counts, fixed: Counts, step: int) -> tuple[Yes, NDArray[np.float64]]:
    """Stop at the first of the ten looks whose own p-value is at most ALPHA, as if it were the only one."""
    low = midp_mcnemar_counts(regressed, fixed) <= ALPHA
    first = np.where(low.any(axis=1), low.argmax(axis=1) + 1, LOOKS)
    return low.any(axis=1), step * first.astype(np.float64)


def _looked(
    regressed: Counts, fixed: Counts, delta: NDArray[np.float64], step: int
) -> tuple[Yes, NDArray[np.float64]]:
    levels = nominal_levels(ALPHA, [k / LOOKS for k in range(1, LOOKS + 1)])
    stopped = np.zeros(REPEATS, dtype=bool)
    asked = np.zeros(REPEATS)
    undecided = np.ones(REPEATS, dtype=bool)
    rejected = np.zeros(REPEATS, dtype=bool)
    passed = np.zeros(REPEATS, dtype=bool)
    for look, level in enumerate(levels):
        n = step * (look + 1)
        asked[undecided] = n
        rejected |= midp_mcnemar_counts(regressed[:, look], fixed[:, look]) <= level
        passed |= tango_z_counts(regressed[:, look], fixed[:, look], n, -MARGIN) >= special.ndtri(1 - level)
        low = delta[:, look] <= -MARGIN + 1e-9
        stopped |= undecided & low & rejected
        undecided &= ~((low & rejected) | (~low & passed))
    return stopped, asked


def rows() -> list[str]:
    """The rows of the table, as Markdown."""
    lines = []
    for cases, churn in CELLS:
        for rule in simulate(cases, churn):
            shares = " | ".join(f"{share:.0%}" for share in rule.stopped)
            asked = " / ".join(f"{n:,.0f}" for n in rule.cases)
            lines.append(f"| {cases:,} | {churn:.0%} | {rule.name} | {shares} | {asked} |")
    return lines


if __name__ == "__main__":
    print("\n".join(rows()))
