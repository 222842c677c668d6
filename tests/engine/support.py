"""Suites of a few cases, a provider that does what a test says, and a store: the engine in this process."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from evalharness._canon import digest
from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.core.candidates import Candidate, Limits, Price, Prompt
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.protocols import Request
from evalharness.core.runs import Run
from evalharness.core.scores import Metric, Scored
from evalharness.core.suites import EvalSpec, GatePolicy, Margin, ScorerSpec, Suite
from evalharness.engine.asking import Collecting
from evalharness.engine.collect import collect
from evalharness.engine.execute import Execution
from evalharness.engine.spending import Purse
from evalharness.plugins import Entry, Registry
from evalharness.store.folder import Store

Behaviour = Callable[[Request, int], Awaitable[Response]]


async def echo(request: Request, number: int) -> Response:
    """The last message; 10 tokens in, 2 out."""
    return Response(text=request.messages[-1].content, model="echo-1", usage=Usage(10, 2), latency_ms=1.0)


class Scripted:
    """A provider whose `complete` is a function of the request and the number of the call, from 1."""

    name: ClassVar[str] = "scripted"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = False
    cacheable: ClassVar[bool] = True

    def __init__(self, candidate: Candidate) -> None:
        self._behaviour: Behaviour = candidate.options.get("behaviour", echo)
        self._log: Counter[str] = candidate.options.get("log", Counter())
        self._number = itertools.count(1)

    async def open(self) -> None:
        self._log["open"] += 1

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        self._log[request.case.id] += 1
        self._log["calls"] += 1
        return await self._behaviour(request, next(self._number))

    async def close(self) -> None:
        self._log["close"] += 1


class Uncacheable(Scripted):
    """Like the user's own function, which may change under the same name."""

    cacheable: ClassVar[bool] = False


class Same:
    """Whether the answer is the target."""

    name: ClassVar[str] = "same"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[dict[str, str]] = {}
    metric: ClassVar[Metric] = Metric(direction="higher", unit="fraction", kind="binary")

    def score(self, case: Case, response: Response) -> Any:
        return Scored(1.0 if response.text in case.targets else 0.0)


class Odd(Same):
    """A third party's scorer: by the number in the case's id it scores, raises, or hands over nonsense."""

    name: ClassVar[str] = "odd"

    def score(self, case: Case, response: Response) -> Any:
        gives: list[Any] = [
            Scored(1),  # type: ignore[arg-type]
            None,
            Scored(float("nan")),
            Scored("high"),  # type: ignore[arg-type]
            Scored(np.float64(0.5), {"hits": np.int64(3)}, {"labels": {"a"}, "rate": float("inf")}),  # type: ignore[dict-item]
        ]
        number = int(case.id[1:]) % 6
        if number == 5:
            raise ZeroDivisionError("no tokens")
        return gives[number]


REGISTRY = Registry(
    [
        Entry("providers", "scripted", "tests.engine.support:Scripted", "tests"),
        Entry("providers", "uncacheable", "tests.engine.support:Uncacheable", "tests"),
        Entry("providers", "nothing", "builtins:object", "tests"),
        Entry("scorers", "same", "tests.engine.support:Same", "tests"),
        Entry("scorers", "odd", "tests.engine.support:Odd", "tests"),
    ]
)


def golden_set(n: int, *, name: str = "questions", task: str = "t", start: int = 0) -> GoldenSet:
    cases = tuple(
        Case(id=f"q{i}", input=f"question {i}", targets=(f"question {i}",)) for i in range(start, start + n)
    )
    card = Card(name=name, version="1", task=task)
    return GoldenSet(card=card, cases=cases, digest=digest([name, start, n]))


def suite(*sets: GoldenSet, scorers: Sequence[str] = ("same",)) -> Suite:
    evals = tuple(
        EvalSpec(id=g.name, golden_set=g, scorers=tuple(ScorerSpec(name=s, id=s) for s in scorers))
        for g in (sets or (golden_set(5),))
    )
    return Suite(
        name="s",
        evals=evals,
        gate=GatePolicy(max_drop=Margin(Fraction(1, 50), False)),
        digest=digest([[g.digest for g in sets], list(scorers)]),
        path="suite.yaml",
    )


def candidate(
    behaviour: Behaviour = echo,
    log: Counter[str] | None = None,
    *,
    provider: str = "scripted",
    price: Price | None = None,
    repeats: int | None = None,
    seed: int | None = None,
    prompt: Prompt | None = None,
    identity: str = "c",
    **limits: Any,
) -> Candidate:
    return Candidate(
        name="c",
        provider=provider,
        model="m",
        digest=digest(identity),
        decoding={} if seed is None else {"seed": seed},
        options={"behaviour": behaviour, "log": log if log is not None else Counter()},
        limits=Limits(**{"max_retries": 1, "timeout_s": 5.0, **limits}),
        price=price,
        repeats=repeats,
        prompt=prompt or Prompt(),
        path="c.yaml",
    )


@dataclass
class Lines:
    """Progress that remembers."""

    notes: list[str] = field(default_factory=list)
    started: list[tuple[int, int]] = field(default_factory=list)
    spent: list[float | None] = field(default_factory=list)
    finished: int = 0

    def start(self, name: str, total: int, done: int) -> None:
        self.started.append((total, done))

    def advance(self, attempt: Attempt, spent_usd: float | None) -> None:
        self.spent.append(spent_usd)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finish(self) -> None:
        self.finished += 1


@dataclass
class Place:
    """A store in a folder."""

    root: Path

    @property
    def store(self) -> Store:
        return Store(self.root / ".evalharness")

    def collect(
        self,
        who: Candidate,
        what: Suite | None = None,
        *,
        fresh: bool = False,
        progress: Lines | None = None,
        registry: Registry = REGISTRY,
        purse: Purse | None = None,
    ) -> tuple[Run, Path]:
        how = Collecting(
            store=self.store,
            seed=7,
            fresh=fresh,
            now="2026-01-01T00:00:00+00:00",
            version="0",
            progress=progress or Lines(),
            purse=purse,
        )
        return collect(what or suite(), who, registry, how)

    @property
    def folder(self) -> Path:
        """The only run folder."""
        (found,) = (self.root / ".evalharness" / "runs").iterdir()
        return found


@dataclass
class Outcome:
    """What an execution did."""

    attempts: list[Attempt]
    execution: Execution
    error: Exception | None
    notes: list[str]
    log: Counter[str]

    @property
    def texts(self) -> list[str]:
        return [a.outcome.text for a in self.attempts if isinstance(a.outcome, Response)]

    @property
    def failures(self) -> list[Failure]:
        return [a.outcome for a in self.attempts if isinstance(a.outcome, Failure)]


def requests(n: int) -> list[Request]:
    from evalharness.engine.plan import make_plan

    return list(make_plan(suite(golden_set(n)), candidate(), repeats=1, recorded=False).requests)


def execute(
    behaviour: Behaviour,
    n: int = 5,
    *,
    price: Price | None = None,
    earlier: Sequence[Response] = (),
    purse: Purse | None = None,
    **limits: Any,
) -> Outcome:
    """One execution over `n` requests."""
    log: Counter[str] = Counter()
    who = candidate(behaviour, log, price=price, **limits)
    attempts: list[Attempt] = []
    notes: list[str] = []

    async def work() -> Outcome:
        execution = Execution(
            Scripted(who),
            who.limits,
            price,
            lambda request, attempt: attempts.append(attempt),
            notes.append,
            np.random.default_rng(1),
            answered_before=len(earlier),
            purse=purse,
        )
        execution.spending.add_earlier(earlier)
        error: Exception | None = None
        try:
            await execution.run(requests(n))
        except Exception as found:
            error = found
        return Outcome(attempts, execution, error, notes, log)

    return asyncio.run(work())
