"""Comparing many recorded cases: time, memory and how they grow.

python benchmarks/scale.py                 100,000 cases
python benchmarks/scale.py --million       100,000 and 1,000,000, and the ratio of the cost of a case
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from measure import EVALHARNESS, Cost, cost, report


def write_inputs(folder: Path, n: int) -> None:
    """A golden set of sums with two recorded candidates: 80% right, 10% of them drawn anew."""
    rng = np.random.default_rng(1)
    left, right = rng.integers(10, 10_000, size=(2, n))
    base_right = rng.random(n) < 0.8
    candidate_right = np.where(rng.random(n) < 0.1, rng.random(n) < 0.8, base_right)
    golden = folder / "sums"
    golden.mkdir()
    (golden / "card.yaml").write_text("name: sums\nversion: 1.0.0\ntask: arithmetic\n", encoding="utf-8")
    with open(golden / "cases.jsonl", "w", encoding="utf-8") as cases:
        for i, (a, b) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
            tags = {"size": "large" if a + b > 10_000 else "small", "group": f"g{i % 8}"}
            row = {
                "id": f"sum-{i:07d}",
                "input": f"What is {a} plus {b}?",
                "target": str(a + b),
                "tags": tags,
            }
            cases.write(json.dumps(row) + "\n")
    for name, good in (("base", base_right), ("candidate", candidate_right)):
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as outputs:
            for i, total in enumerate((left + right).tolist()):
                answer = total if good[i] else total + 1
                row = {
                    "id": f"sum-{i:07d}",
                    "output": f"Adding the two numbers gives {answer}",
                    "latency_ms": 12,
                }
                outputs.write(json.dumps(row) + "\n")
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\nsuite: ./suite.yaml\nprovider: replay\noutputs: ./{name}.jsonl\n",
            encoding="utf-8",
        )
    (folder / "suite.yaml").write_text(
        "name: sums\nevals:\n  - {id: sums, golden_set: ./sums, scorers: [numeric, contains]}\n",
        encoding="utf-8",
    )


def compare(n: int) -> Cost:
    """`evalharness compare` of n recorded cases with two scorers, reports included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, n)
        found = cost([*EVALHARNESS, "compare", "base.yaml", "candidate.yaml", "--out", "out"], cwd=folder)
        if found.code not in (0, 1, 3):
            raise SystemExit(f"compare of {n} cases ended with exit code {found.code}")
        return found


def main() -> int:
    """Print the figures; 1 when one is over its limit."""
    options = argparse.ArgumentParser()
    options.add_argument("--million", action="store_true")
    small = compare(100_000)
    good = report("100,000 recorded cases, 2 scorers, compare and report: wall", small.wall_s, 12, "s")
    good &= report("100,000 recorded cases: peak memory", small.peak_mb, 700, "MB")
    if options.parse_args().million:
        large = compare(1_000_000)
        good &= report(
            "1,000,000 recorded cases: CPU against 10 × 100,000",
            large.cpu_s / (10 * small.cpu_s),
            1.25,
            "times",
        )
        good &= report(
            "1,000,000 recorded cases: memory against 10 × 100,000",
            large.peak_mb / (10 * small.peak_mb),
            1.25,
            "times",
        )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
