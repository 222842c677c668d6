"""Whether two runs took their time under the same load: a call waits longer beside sixty others than beside four."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from evalharness.core.attempts import Response
from evalharness.core.runs import Run

_APART: Final = 0.1
"""Shares of cached answers that differ by more than this are said."""


def timing_warnings(baseline: Run, candidate: Run) -> Iterator[str]:
    """Why times of the two sides may differ although the candidates do not."""
    cached = _cached(baseline), _cached(candidate)
    loads = _concurrency(baseline), _concurrency(candidate)
    if abs(cached[0] - cached[1]) > _APART:
        yield (
            f"{100 * cached[0]:.3g}% of the baseline's answers and {100 * cached[1]:.3g}% of the candidate's came from "
            "the cache: their latency is that of calls made at another time; --fresh asks for both anew"
        )
    elif bool(loads[0]) != bool(loads[1]):
        known, unknown = ("candidate", "baseline") if loads[1] else ("baseline", "candidate")
        yield (
            f"the {known}'s calls were made at concurrency {loads[0] or loads[1]} and the {unknown}'s are recorded, at "
            "one that is not known: their latency compares only where the load was the same"
        )
    if loads[0] and loads[1] and loads[0] != loads[1]:
        yield (
            f"the baseline's calls were made at concurrency {loads[0]} and the candidate's at {loads[1]}: latency "
            "grows with the load; give both the same limits.concurrency and run them with --fresh"
        )


def _cached(run: Run) -> float:
    """The share of a run's answers that the cache gave."""
    answers = [
        a for group in run.attempts.values() for a in group.values() if isinstance(a.outcome, Response)
    ]
    return sum(a.cached for a in answers) / len(answers) if answers else 0.0


def _concurrency(run: Run) -> str:
    """Every concurrency the run's calls were made under, as text; empty where none is known."""
    return ", ".join(str(load) for load in run.manifest.get("facts", {}).get("concurrency", ()))
