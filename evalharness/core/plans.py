"""SuitePlan: what a comparison would cost and what it could see, told before the first call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from evalharness.core.scores import Direction, Kind
from evalharness.core.suites import Budget
from evalharness.errors import Problem

TokenBasis: TypeAlias = Literal[
    "history",  # the mean of earlier answers
    "text",  # a quarter of the characters of the prompt: a rough guess
    "limit",  # decoding.max_tokens: at most so many
    "unknown",
]
NoiseSource: TypeAlias = Literal[
    "A/A",  # two runs of one candidate
    "comparison",  # an earlier comparison of two candidates: holds what they truly differ in, too
    "given",  # --churn
    "assumed",  # nothing is known: one of several guesses
]
NoiseKind: TypeAlias = Literal["churn", "sd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCost:
    """Answers of one side to one golden set. `stored` of the `answers` are there and cost nothing; `calls` are not.

    Tokens are those of the calls, None where nobody can say.
    """

    golden_set: str
    cases: int
    answers: int
    stored: int
    calls: int
    input_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What is asked up to one point: everything ("all"), the first look ("first look"), the last one without --extend
    ("routine"), the last one with it ("extended"). `usd` None: tokens or price are not known.
    """

    name: str
    sets: tuple[SetCost, ...]
    usd: float | None

    @property
    def total(self) -> SetCost:
        """The sum over the golden sets."""
        rows = self.sets

        def tokens(parts: list[int | None]) -> int | None:
            known = [part for part in parts if part is not None]
            return sum(known) if len(known) == len(parts) else None

        return SetCost(
            golden_set="",
            cases=sum(row.cases for row in rows),
            answers=sum(row.answers for row in rows),
            stored=sum(row.stored for row in rows),
            calls=sum(row.calls for row in rows),
            input_tokens=tokens([row.input_tokens for row in rows]),
            output_tokens=tokens([row.output_tokens for row in rows]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCost:
    """What one side, or one judge, would cost. A judge's answers are verdicts.

    Attributes:
        role: "baseline", "candidate" or "judge". name: its name. repeats: answers to a case.
        answers_from: "calls", "recording" or "stored run"; the last two cost nothing.
        stages: one, or first look, routine and (where there is more to ask) extended.
        input_basis, output_basis: where the tokens come from; tokens_from says it in words.
        priced: whether a price is known.
        listed: the month of the list price it is, "" where the file states it.
        confirming: most calls more that confirm critical cases which fail once.
        eval: the eval that a judge is of, None for a side.
        upper: whether a judge's numbers are upper bounds, since answers to be judged are not there yet.
    """

    role: str
    name: str
    repeats: int
    answers_from: Literal["calls", "recording", "stored run"]
    stages: tuple[StageCost, ...]
    input_basis: TokenBasis = "unknown"
    output_basis: TokenBasis = "unknown"
    tokens_from: str = ""
    priced: bool = False
    listed: str = ""
    confirming: int = 0
    eval: str | None = None
    upper: bool = False

    @property
    def label(self) -> str:
        """The role, with name and eval for a judge."""
        return self.role if self.eval is None else f"{self.role} {self.name} of {self.eval}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the gate would say of one metric at one amount of noise. All chances lie in [0, 1].

    Attributes:
        kind, noise: churn as a share of the cases, or the standard deviation of one unit's difference.
        source, source_text: where it is from.
        mde: the smallest true drop that the test confirms with 80% power at the level of the plan; None: none would be.
        mde_alone: the same as if the metric were the only one.
        n_for_power: cases that confirm a true drop of the margin with 80% power; None: no number, or no known margin.
        regression, inconclusive, underpowered, passed: chances of each status for an unchanged candidate.
        regression_at_margin, regression_at_twice: chance of "regression" at a true drop of one and of two margins.
        The last six are None where the margin is not known.
    """

    kind: NoiseKind
    noise: float
    source: NoiseSource
    source_text: str
    mde: float | None
    mde_alone: float | None
    n_for_power: int | None
    regression: float | None
    inconclusive: float | None
    underpowered: float | None
    passed: float | None
    regression_at_margin: float | None
    regression_at_twice: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPlan:
    """One gated metric, or one slice of it that gates.

    Attributes:
        id, slice: the metric; slice as "key=value", None for the whole.
        deciding: whether it can block (primary metrics and gating slices); secondary ones warn.
        cases, units: planned cases, and clusters among them (cases where none are clustered).
        repeats: answers to a case of baseline and candidate.
        margin: as written. max_drop: in the metric's unit; None where it is relative and no baseline is known.
        level: one-sided level its drop is tested at when every other metric of its family is harder to reject.
        level_alone: the same as if it were the only metric: alpha, less what is kept for --extend.
        outlooks: one where the noise is known or given, several where it is assumed, none where nothing can be said.
        problem: why the plan cannot stand, None when it can.
        unknown: why there is no outlook, None when there is one.
    """

    id: str
    slice: str | None
    kind: Kind
    unit: str
    direction: Direction
    deciding: bool
    cases: int
    units: int
    repeats: tuple[int, int]
    margin: str
    max_drop: float | None
    level: float
    level_alone: float
    outlooks: tuple[Outlook, ...]
    problem: str | None = None
    unknown: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The id, with the slice where there is one."""
        return self.id if self.slice is None else f"{self.id} [{self.slice}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOutlook:
    """What the whole suite would say of an unchanged candidate, its metrics taken as independent; chances in [0, 1].

    `label` names the noise. `metrics` of the `deciding` ones are in it; the others are not known.
    """

    label: str
    metrics: int
    deciding: int
    regression: float
    inconclusive: float
    passed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Power against the number of cases, for the metric that sees least. `points`: (cases, at margin, at twice it)."""

    metric: str
    noise: str
    cases: int
    points: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePlan:
    """Cost and power of a suite. `judges` has one entry a judge that is asked, the members of a panel each.

    `problems` are what makes it unfit to run; the command line exits 2 with them. `budget` is the suite's.
    """

    suite: str
    suite_digest: str
    alpha: float
    sides: tuple[SideCost, ...]
    metrics: tuple[MetricPlan, ...]
    suite_outlooks: tuple[SuiteOutlook, ...]
    curve: Curve | None
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    steps: tuple[str, ...] = field(default=())
    judges: tuple[SideCost, ...] = ()
    budget: Budget | None = None
