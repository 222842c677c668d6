"""The tables of docs/baselines.md: what moving the baseline does to a gate, by simulation.

    python tests/docs/baselines.py

One 0/1 metric on the same 1,000 cases over 40 changes, one answer each. 20% of the cases pass half of the time by
chance, so two runs of one candidate differ on 10%; 70% always pass. The gate stops a candidate that fell by the
margin of 2pp where mid-p McNemar confirms a drop at 0.05. A stopped change is dropped, any other is merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from evalharness.stats.mcnemar import midp_mcnemar_counts

CASES, FLAKY, STEADY, CHANGES, SEQUENCES, SEED = 1000, 200, 700, 40, 2_000, 20260101
ALPHA, MARGIN, CREEP = 0.05, 0.02, 5
POLICIES = {
    "pinned: one run of the release": "pinned",
    "the last one merged": "merged",
    "the best one so far": "best",
}
Answers = NDArray[np.bool_]


@dataclass(frozen=True)
class Course:
    """How sequences of changes went. `stopped`: share of candidates stopped at each change, shape (changes,).

    `first`: median number of changes until one is stopped. `lost`: mean true loss when that happens, in [0, 1].
    """

    stopped: NDArray[np.float64]
    first: float
    lost: float


@cache
def simulate(policy: str, creep: int) -> Course:
    """Sequences of changes that each break `creep` cases for good, against a baseline kept by `policy`."""
    rng = np.random.default_rng([SEED, creep])
    shape = (SEQUENCES, FLAKY)
    # of the steady cases only their number matters: those broken so far fail, the others pass
    base, base_broken = rng.random(shape) < 0.5, np.zeros(SEQUENCES, dtype=np.int64)
    merged_broken = base_broken.copy()
    stopped = np.zeros((CHANGES, SEQUENCES), dtype=np.bool_)
    first = np.full(SEQUENCES, CHANGES + 1)
    lost = np.zeros(SEQUENCES)
    for change in range(CHANGES):
        broken = merged_broken + creep
        answers = rng.random(shape) < 0.5
        regressed = (base & ~answers).sum(axis=1) + np.maximum(broken - base_broken, 0)
        fixed = (~base & answers).sum(axis=1) + np.maximum(base_broken - broken, 0)
        delta = (fixed - regressed) / CASES
        stopped[change] = (delta <= -MARGIN + 1e-9) & (midp_mcnemar_counts(regressed, fixed) <= ALPHA)
        now = stopped[change] & (first > CHANGES)
        first[now], lost[now] = change + 1, broken[now] / CASES
        merged = ~stopped[change]
        merged_broken = np.where(merged, broken, merged_broken)
        moves = {"pinned": np.zeros_like(merged), "merged": merged, "best": merged & (delta > 0)}[policy]
        base = np.where(moves[:, None], answers, base)
        base_broken = np.where(moves, broken, base_broken)
    caught = first <= CHANGES
    return Course(
        stopped=stopped.mean(axis=1), first=float(np.median(first)), lost=float(lost[caught].mean())
    )


def null_rows() -> list[str]:
    """Changes that change nothing: how often each policy stops them."""
    return [
        f"| {name} | {simulate(policy, 0).stopped.mean():.0%} | {simulate(policy, 0).stopped[-10:].mean():.0%} |"
        for name, policy in POLICIES.items()
    ]


def creep_rows() -> list[str]:
    """Changes that each cost half a point: when a policy first stops one, and what is lost by then."""
    rows = []
    for name, policy in POLICIES.items():
        course = simulate(policy, CREEP)
        rows.append(f"| {name} | {course.first:.0f} | {100 * course.lost:.1f}pp |")
    return rows


def null_table() -> str:
    head = "| baseline | stopped, of all 40 | of the last 10 |\n|---|---|---|\n"
    return head + "\n".join(null_rows()) + "\n"


def creep_table() -> str:
    head = "| baseline | first stopped after (median) | lost by then (mean) |\n|---|---|---|\n"
    return head + "\n".join(creep_rows()) + "\n"


if __name__ == "__main__":
    print(null_table(), creep_table(), sep="\n", end="")
