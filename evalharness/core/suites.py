"""Suite and gate policy: what is run, and what may not get worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any, Final, Literal, TypeAlias

from evalharness.core.benchmarks import BenchmarkSpec, Task
from evalharness.core.cases import GoldenSet, Slice
from evalharness.core.judges import Judge, PairLabels
from evalharness.core.scores import Want

OnProblem: TypeAlias = Literal["block", "warn"]

JUDGE_METRIC: Final = "judge"
"""Second half of the metric's id of an eval's judge: `<eval>/judge`."""

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
    """A scorer by name with its parameters as plain data. `id` is the metric's name inside the eval.

    `asks`: what it needs of a candidate that can be asked; log-likelihoods where it reads no answer.
    """

    name: str
    id: str
    params: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    asks: Want = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSpec:
    """One golden set with the scorers that read its answers, and the judge of them, if any.

    `benchmark`: another tool brings the cases and the values, which `task` then holds. Until `complete` the golden set
    of such an eval is empty, and it has no scorers but those that read answers.
    """

    id: str
    golden_set: GoldenSet
    scorers: tuple[ScorerSpec, ...]
    judge: Judge | None = None
    benchmark: BenchmarkSpec | None = None
    task: Task | None = None

    @property
    def complete(self) -> bool:
        """Whether its cases are known."""
        return bool(self.golden_set.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """What the suite says of one metric. `advisory` is shown and never gates. `margin` None: the gate's.

    `labels` is the id of the metric that holds human labels of the same thing on a random subset of the cases; the
    metric is then judged by prediction-powered inference (PPI++). `pairs` are people's preferences, which correct a
    pairwise judge in the same way. `why` says what made it advisory where the suite did not.
    """

    advisory: bool = False
    margin: Margin | None = None
    labels: str | None = None
    pairs: PairLabels | None = field(default=None, repr=False)
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRule:
    """A slice that gates: one metric on the cases of one slice. `margin` None: the metric's."""

    metric: str
    slice: Slice
    margin: Margin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A known trade-off: through the day `expires`, `metric` may lose `margin` instead of its own margin."""

    metric: str
    margin: Margin
    reason: str
    expires: date

    def holds(self, today: date | None) -> bool:
        """Whether it still counts. Where the day is not known it does not: a waiver fails closed."""
        return today is not None and today <= self.expires


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How much evidence is gathered before each decision, fixed before the first call.

    Cases are counted for each golden set. The first look takes `initial` of them, the last `max` (None: all);
    `looks` is the number of looks from the first to the last. The last `reserve` cases, and repeats of every case up
    to `max_repeats`, are asked only under --extend.
    """

    initial: int
    max: int | None = None
    looks: int = 5
    reserve: int = 0
    max_repeats: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one command may spend over all sides, judges and benchmarks. None: no limit of that kind.

    `calls` counts requests that are sent, retries among them; `tokens` both ways; `usd` at the candidates' prices.
    """

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What is taken out of everything that is shown or sent, beside keys, which always are.

    `kinds` of personal data ("email", "phone", "card", "iban", "ssn"); `patterns`: RE2 expressions. `stored`: answers
    are redacted as they arrive, so that what is stored and scored holds nothing of it either.
    """

    kinds: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    stored: bool = False

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes stored answers others than those as they came; empty where they are stored as they came.

        Values of the environment are no part of it: they differ between machines, and a digest would tell them.
        """
        return (("redacted", sorted(self.kinds), sorted(self.patterns)),) if self.stored else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The rules of design §6. `primary` empty: every gated metric. `max_failures` is a share of the cases.

    `slices` gate beside the primary metrics, in one family with them. `waivers` has at most one entry a metric.
    """

    max_drop: Margin
    alpha: float = 0.05
    on_inconclusive: OnProblem = "block"
    on_underpowered: OnProblem = "warn"
    primary: tuple[str, ...] = ()
    metrics: Mapping[str, MetricRule] = field(default_factory=lambda: _NOTHING)
    max_failures: float = 0.01
    slices: tuple[SliceRule, ...] = ()
    waivers: tuple[Waiver, ...] = ()

    def rule(self, metric_id: str) -> MetricRule:
        """What the suite says of a metric; a metric it does not name gates with the gate's margin."""
        return self.metrics.get(metric_id, MetricRule())

    def waiver(self, metric_id: str) -> Waiver | None:
        """The waiver of a metric, expired or not."""
        return next((waiver for waiver in self.waivers if waiver.metric == metric_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Evals, gate and sampling.

    `digest` covers golden sets, scorers and judges (what makes two runs comparable), not gate, sampling or budget.
    """

    name: str
    evals: tuple[EvalSpec, ...]
    gate: GatePolicy
    digest: str
    path: str = ""
    sampling: Sampling | None = None
    budget: Budget | None = None
    redact: Redaction = Redaction()

    @property
    def metrics(self) -> Iterator[tuple[str, EvalSpec, ScorerSpec]]:
        """(metric id, eval, scorer) of every scorer's metric, in suite order."""
        for item in self.evals:
            for spec in item.scorers:
                yield f"{item.id}/{spec.id}", item, spec

    @property
    def judged(self) -> Iterator[tuple[str, EvalSpec, Judge]]:
        """(metric id, eval, judge) of every judge's metric, in suite order."""
        for item in self.evals:
            if item.judge is not None:
                yield f"{item.id}/{JUDGE_METRIC}", item, item.judge

    @property
    def metric_ids(self) -> tuple[str, ...]:
        """Every metric id, eval by eval: its scorers', then its judge's."""
        return tuple(
            f"{item.id}/{name}"
            for item in self.evals
            for name in (*(spec.id for spec in item.scorers), *((JUDGE_METRIC,) if item.judge else ()))
        )

    @property
    def complete(self) -> bool:
        """Whether the cases of every eval are known."""
        return all(item.complete for item in self.evals)

    @property
    def benchmark_sets(self) -> frozenset[str]:
        """Names of the golden sets that another tool brings."""
        return frozenset(item.golden_set.name for item in self.evals if item.benchmark is not None)

    @property
    def golden_sets(self) -> tuple[GoldenSet, ...]:
        """Each golden set once, in order of first use: evals over one set share its attempts."""
        seen: dict[str, GoldenSet] = {}
        for item in self.evals:
            seen.setdefault(item.golden_set.name, item.golden_set)
        return tuple(seen.values())
