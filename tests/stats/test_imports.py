"""The statistics start fast: numpy and scipy.special, nothing heavier."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import evalharness.stats

HEAVY = (
    "scipy.stats",
    "scipy.optimize",
    "scipy.linalg",
    "pandas",
    "statsmodels",
    "sklearn",
    "numba",
    "pydantic",
)


def test_every_module_of_the_statistics_loads_numpy_and_scipy_special_only() -> None:
    names = [
        f"evalharness.stats.{module.name}" for module in pkgutil.iter_modules(evalharness.stats.__path__)
    ]
    assert "evalharness.stats.paired" in names
    code = f"import sys, {', '.join(names)}; print(*[n for n in {HEAVY!r} if n in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []
