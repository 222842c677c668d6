"""The gate's statistics: a suite decided, a million pairs, the sign-flip beside scipy's, and what they import.

python benchmarks/decisions.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from measure import report
from numpy.typing import NDArray

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.multiplicity import holm
from evalharness.stats.paired import paired_cases, paired_corpus
from evalharness.stats.power import mde, n_for_power
from evalharness.stats.signflip import sign_flip

Array = NDArray[np.float64]
CLASSES = 8


def cpu_s(call: Callable[[], object], times: int = 5) -> float:
    """Median CPU seconds of a call, after one warm-up."""
    call()
    taken = []
    for _ in range(times):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def pair(kind: str, n: int, seed: int) -> tuple[Array, Array]:
    """Two sides of n cases of which 10% to 30% change; `kind` is binary, scores or repeats (4 of them)."""
    rng = np.random.default_rng(seed)
    if kind == "scores":
        left = rng.random(n)
        return left, np.where(rng.random(n) < 0.3, rng.random(n), left)
    chance = np.where(rng.random(n) < 0.3, rng.random(n), rng.random(n) < 0.8)
    repeats = 4 if kind == "repeats" else 1
    return rng.binomial(repeats, chance) / repeats, rng.binomial(repeats, chance) / repeats


def macro_f1(sums: Array) -> Array:
    tp, fp, fn = sums[..., :CLASSES], sums[..., CLASSES : 2 * CLASSES], sums[..., 2 * CLASSES :]
    whole = 2 * tp + fp + fn
    return np.asarray(np.where(whole > 0, 2 * tp / np.where(whole > 0, whole, 1), 0.0).mean(axis=-1))


def class_rows(n: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, 3 * CLASSES))
    gold = np.arange(n) % CLASSES
    said = np.where(rng.random(n) < 0.8, gold, rng.integers(0, CLASSES, n))
    right = said == gold
    rows[right, gold[right]] = 1
    rows[~right, CLASSES + said[~right]] = 1
    rows[~right, 2 * CLASSES + gold[~right]] = 1
    return rows


def estimate(kind: str, left: Array, right: Array, clusters: list[str] | None = None) -> PairedEstimate:
    rng = np.random.default_rng(0)
    return paired_cases(
        left,
        right,
        binary=kind == "binary",
        equal_repeats=True,
        clusters=clusters,
        alpha=0.05,
        rng=rng,
    )


def suite() -> Callable[[], list[float]]:
    """Twelve metrics × 1,000 cases: 4 binary, 4 of scores, 2 repeated, 1 clustered, 1 macro-F1."""
    n = 1_000
    kinds = ["binary"] * 4 + ["scores"] * 4 + ["repeats"] * 2
    data = [(kind, *pair(kind, n, seed)) for seed, kind in enumerate(kinds)]
    labels = [f"doc{i // 5}" for i in range(n)]
    grouped = pair("binary", n, 11)
    rows = class_rows(n, 12), class_rows(n, 13)

    def decided() -> list[float]:
        estimates = [estimate(kind, left, right) for kind, left, right in data]
        estimates.append(estimate("binary", *grouped, clusters=labels))
        rng = np.random.default_rng(0)
        estimates.append(paired_corpus(*rows, macro_f1, sign=1, clusters=None, alpha=0.05, rng=rng))
        for one in estimates:
            mde(one, alpha=0.05)
            n_for_power(one, 0.02, alpha=0.05)
        return holm([one.p_drop for one in estimates])

    return decided


def faster_than_scipy() -> float:
    """CPU time of scipy's permutation test over ours, 9,999 draws at n = 1,000; measured in turn."""
    from scipy.stats import permutation_test

    d = np.random.default_rng(0).normal(size=1_000)

    def scipys() -> object:
        return permutation_test(
            (d,),
            np.sum,
            permutation_type="samples",
            vectorized=True,
            n_resamples=9_999,
            rng=np.random.default_rng(1),
        )

    def ours() -> object:
        return sign_flip(d, np.random.default_rng(1), draws=9_999)

    return statistics.median(cpu_s(scipys, 1) / cpu_s(ours, 20) for _ in range(3))


def foreign_modules() -> list[str]:
    """What importing the statistics loads besides numpy and scipy.special."""
    names = "('scipy.stats', 'scipy.optimize', 'pandas', 'statsmodels', 'sklearn', 'ranx')"
    code = f"import sys, evalharness.stats.paired; print(*[n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def main() -> int:
    """Print the figures; 1 when one is over its limit."""
    good = report("12 metrics × 1,000 cases decided: CPU after import", cpu_s(suite()), 1, "s")
    for kind in ("binary", "scores", "repeats"):
        left, right = pair(kind, 1_000_000, 1)
        one = cpu_s(lambda k=kind, a=left, b=right: estimate(k, a, b), 3)
        good &= report(f"one metric of 1,000,000 pairs ({kind}): CPU", one, 2, "s")
    ratio = faster_than_scipy()
    name = f"sign-flip, 9,999 draws, n = 1,000: {ratio:.0f} times faster than scipy"
    good &= report(name, 100 / ratio, 100 / 20, "% CPU")
    good &= report("modules imported beyond numpy and scipy.special", len(foreign_modules()), 0, "")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
