"""Measuring whole processes: wall time, CPU time and peak memory as the operating system counts them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

EVALHARNESS = [sys.executable, "-m", "evalharness"]


@dataclass(frozen=True)
class Cost:
    """One finished process. Seconds, and peak resident memory in MB (10**6 bytes)."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    code: int


def cost(argv: Sequence[str], cwd: Path | None = None) -> Cost:
    """Run a command to its end, its output thrown away."""
    started = time.perf_counter()
    process = subprocess.Popen(list(argv), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, process.returncode)


def median_of(runs: int, one: Callable[[], Cost]) -> Cost:
    """The run with the median CPU time, after one warm-up."""
    one()
    found = sorted((one() for _ in range(runs)), key=lambda c: c.cpu_s)
    return found[len(found) // 2]


def ratios(runs: int, first: Callable[[], Cost], second: Callable[[], Cost]) -> tuple[float, Cost, Cost]:
    """Median ratio of CPU time first/second over pairs measured in turn, so that a drifting machine cancels out."""
    first(), second()
    pairs = [(first(), second()) for _ in range(runs)]
    ratio = statistics.median(a.cpu_s / b.cpu_s for a, b in pairs)
    return ratio, pairs[len(pairs) // 2][0], pairs[len(pairs) // 2][1]


def report(name: str, value: float, limit: float, unit: str) -> bool:
    """Print one figure beside its limit."""
    good = value <= limit
    print(f"{'ok  ' if good else 'OVER'}  {name:<62} {value:9.2f} {unit:<6} (limit {limit:g})", flush=True)
    return good
