"""Verdict: what the gate says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from evalharness.core.comparisons import Comparison, MetricComparison

Status: TypeAlias = Literal[
    "pass", "regression", "suspect", "underpowered", "improved", "advisory", "invalid"
]
Outcome: TypeAlias = Literal["pass", "regression", "inconclusive", "invalid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule applied to one metric. `p_adjusted` is Holm's, None where the metric is not tested in a family."""

    metric: MetricComparison
    status: Status
    reason: str
    p_adjusted: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision over a whole comparison. `reasons` explain the outcome, most important first."""

    outcome: Outcome
    exit_code: int
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    checks: tuple[Check, ...]
    slice_checks: tuple[Check, ...]
    comparison: Comparison
