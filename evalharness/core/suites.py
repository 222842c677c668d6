"""Suite and gate policy: what is run, and what may not get worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from evalharness.core.cases import GoldenSet

OnProblem: TypeAlias = Literal["block", "warn"]

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse a metric may get: `2pp` is absolute (0.02), `5%` relative to the baseline's value.

    `amount` is the exact fraction written (2pp → 1/50), so that a drop of exactly the margin is recognised.
    """

    amount: Fraction
    relative: bool

    def absolute(self, baseline: float) -> float:
        """The margin in the metric's own unit, given the baseline's value."""
        return float(self.amount) * (abs(baseline) if self.relative else 1.0)

    def __str__(self) -> str:
        number = f"{float(self.amount * 100):.10g}"
        return f"{number}%" if self.relative else f"{number}pp"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerSpec:
    """A scorer by name with its parameters as plain data. `id` is the metric's name inside the eval."""

    name: str
    id: str
    params: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSpec:
    """One golden set with the scorers that read its answers. `judge` is the path of a judge folder, if any."""

    id: str
    golden_set: GoldenSet
    scorers: tuple[ScorerSpec, ...]
    judge: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """What the suite says of one metric. `advisory` is shown and never gates. `margin` None: the gate's."""

    advisory: bool = False
    margin: Margin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The rules of design §6. `primary` empty: every gated metric. `max_failures` is a share of the cases."""

    max_drop: Margin
    alpha: float = 0.05
    on_inconclusive: OnProblem = "block"
    on_underpowered: OnProblem = "warn"
    primary: tuple[str, ...] = ()
    metrics: Mapping[str, MetricRule] = field(default_factory=lambda: _NOTHING)
    max_failures: float = 0.01

    def rule(self, metric_id: str) -> MetricRule:
        """What the suite says of a metric; a metric it does not name gates with the gate's margin."""
        return self.metrics.get(metric_id, MetricRule())


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Evals and gate. `digest` covers golden sets and scorers (what makes two runs comparable), not the gate."""

    name: str
    evals: tuple[EvalSpec, ...]
    gate: GatePolicy
    digest: str
    path: str = ""

    @property
    def golden_sets(self) -> tuple[GoldenSet, ...]:
        """Each golden set once, in order of first use: evals over one set share its attempts."""
        seen: dict[str, GoldenSet] = {}
        for item in self.evals:
            seen.setdefault(item.golden_set.name, item.golden_set)
        return tuple(seen.values())
