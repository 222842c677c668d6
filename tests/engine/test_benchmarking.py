"""Tools that bring their own cases, asked through the engine: caps, cache, resume and the run folder hold them too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from evalharness.core.attempts import Attempt, Response, Usage
from evalharness.core.benchmarks import BenchmarkSpec, Task, TaskMetric, Work
from evalharness.core.cases import Card, Case, GoldenSet, Message
from evalharness.core.protocols import Request
from evalharness.core.scores import Scored
from evalharness.core.suites import Budget, EvalSpec, Redaction, ScorerSpec, Suite
from evalharness.engine.build import rescore_folder
from evalharness.engine.spending import Purse
from evalharness.errors import BudgetError, CallError, InvalidComparisonError, PluginError, ProviderError
from evalharness.plugins import Entry, Registry
from evalharness.plugins.registry import builtin_entries
from evalharness.store.folder import load_run
from evalharness.store.records import digest_of_cases
from tests.engine.support import Place, candidate, echo, golden_set, suite

NAME = "shout:capitals"
HERE = "tests.engine.test_benchmarking"


class Shout:
    """A tool of the test: asks for each word in capitals, and scores itself what comes back."""

    name: ClassVar[str] = "shout"
    version: ClassVar[str] = "1"
    paths: ClassVar[tuple[str, ...]] = ()

    def __init__(self, task: str, break_after: int | None = None) -> None:
        self.words = task.split()
        self.break_after = break_after

    def load(self, name: str) -> Task:
        cases = tuple(Case(id=word, input=word, targets=(word.upper(),)) for word in self.words)
        return Task(
            golden_set=GoldenSet(
                card=Card(name=name, version="1", task="capitals"), cases=cases, digest=digest_of_cases(cases)
            ),
            metrics=(
                TaskMetric(scorer=ScorerSpec(name="recorded", id="right", params={"name": "right"})),
                TaskMetric(
                    scorer=ScorerSpec(name="recorded", id="short", params={"name": "short"}), advisory="by it"
                ),
            ),
        )

    def run(self, work: Work) -> Mapping[str, Any]:
        asked = [replace(r, messages=(Message("user", r.case.id.upper()),)) for r in work.requests]
        for number, (request, attempt) in enumerate(zip(asked, work.ask(asked), strict=True)):
            if self.break_after is not None and number >= self.break_after:
                raise RuntimeError("the tool broke")
            outcome = attempt.outcome
            if isinstance(outcome, Response):
                right = float(outcome.text == request.case.targets[0])
                work.keep(replace(attempt, outcome=replace(outcome, scores={"right": right, "short": 1.0})))
        (work.folder / "log.txt").write_text("done", encoding="utf-8")
        return {"logs": ["benchmarks/capitals/log.txt"]}


def with_benchmark(task: str = "a b c d", **params: Any) -> tuple[Suite, Registry]:
    spec = BenchmarkSpec(runner="shout", task=task, params=params, written={"shout": task, **params})
    brought = Shout(task).load(NAME)
    item = EvalSpec(
        id="capitals",
        golden_set=brought.golden_set,
        scorers=tuple(metric.scorer for metric in brought.metrics),
        benchmark=spec,
        task=brought,
    )
    whole = suite(golden_set(3))
    entries = [
        *builtin_entries(),
        *(
            Entry("providers", name, f"tests.engine.support:{cls}", "test")
            for name, cls in (("scripted", "Scripted"),)
        ),
        Entry("scorers", "same", "tests.engine.support:Same", "test"),
        Entry("benchmarks", "shout", f"{HERE}:Shout", "test"),
    ]
    return replace(whole, evals=(*whole.evals, item)), Registry(entries)


def test_a_benchmark_is_answered_through_the_engine_and_read_back_from_its_run_folder(place: Place) -> None:
    whole, registry = with_benchmark()
    log: Counter[str] = Counter()
    run, folder = place.collect(candidate(log=log), whole, registry=registry)
    assert {key[0]: s.value for key, s in run.scores["capitals/right"].items() if isinstance(s, Scored)} == {
        "a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0,
    }  # fmt: skip
    assert log["calls"] == 7 == run.manifest["facts"]["calls"]
    assert run.manifest["facts"]["benchmarks"] == {"capitals": {"logs": ["benchmarks/capitals/log.txt"]}}
    assert (folder / "benchmarks" / "capitals" / "log.txt").read_text() == "done"
    stored = load_run(folder)
    assert [case.id for case in stored.cases[NAME]] == ["a", "b", "c", "d"]
    assert rescore_folder(folder, whole, registry).id == run.id


def test_a_benchmark_that_was_run_before_costs_no_call_and_keeps_what_the_tool_said(place: Place) -> None:
    whole, registry = with_benchmark()
    first, _ = place.collect(candidate(), whole, registry=registry)
    log: Counter[str] = Counter()
    again, _ = place.collect(candidate(log=log), whole, registry=registry)
    assert log["calls"] == 0 and again.id == first.id
    assert again.manifest["facts"]["benchmarks"]["capitals"]["logs"]


def test_calls_of_a_tool_are_of_the_same_budget_and_what_it_kept_resumes(place: Place) -> None:
    whole, registry = with_benchmark()
    log: Counter[str] = Counter()
    purse = Purse(Budget(tokens=60), "suite.yaml")  # 12 tokens a call, 3 plain ones first
    with pytest.raises(BudgetError, match=r"budget of 60 tokens does not cover the next call \(60 used"):
        place.collect(candidate(log=log), whole, registry=registry, purse=purse)
    assert log["calls"] == 5
    run, _ = place.collect(candidate(log=log), whole, registry=registry, purse=Purse(Budget(tokens=60)))
    assert log["calls"] == 7 and len(run.scores["capitals/right"]) == 4


def test_calls_of_a_tool_that_breaks_are_cached_and_its_kept_cases_resume(place: Place) -> None:
    whole, registry = with_benchmark(break_after=2)
    with pytest.raises(PluginError, match=r"benchmark shout failed on .*: RuntimeError: the tool broke"):
        place.collect(candidate(), whole, registry=registry)
    log: Counter[str] = Counter()
    mended, registry = with_benchmark()
    run, _ = place.collect(candidate(log=log), mended, registry=registry)
    assert log["calls"] == 0  # two cases from the journal, the answers to the others from the cache
    assert len(run.scores["capitals/right"]) == 4


def test_a_cap_stops_a_benchmark(place: Place) -> None:
    whole, registry = with_benchmark("a b c d e f")
    few = candidate(concurrency=1, max_tokens_total=60)
    with pytest.raises(BudgetError, match="cap of 60 tokens"):
        place.collect(few, whole, registry=registry)


def test_a_dead_endpoint_ends_the_run_with_the_engines_own_error(place: Place) -> None:
    async def behave(request: Request, number: int) -> Response:
        if request.golden_set == NAME:
            raise CallError("auth", "wrong key", fatal=True)
        return await echo(request, number)

    whole, registry = with_benchmark()
    with pytest.raises(ProviderError, match="wrong key"):
        place.collect(candidate(behaviour=behave), whole, registry=registry)


def test_a_case_the_tool_is_silent_about_fails(place: Place) -> None:
    async def behave(request: Request, number: int) -> Response:
        if request.golden_set == NAME and request.case.id == "b":
            raise CallError("bad_request", "too long")
        return Response(text=request.messages[-1].content, usage=Usage(10, 2))

    whole, registry = with_benchmark()
    run, _ = place.collect(candidate(behaviour=behave), whole, registry=registry)
    failed: Attempt = run.attempts[NAME]["b", 0]
    assert failed.failed and "gave no result" in failed.outcome.message  # type: ignore[union-attr]


def test_repeats_of_a_benchmark_have_seeds_of_their_own(place: Place) -> None:
    seen: list[int | None] = []

    async def behave(request: Request, number: int) -> Response:
        if request.golden_set == NAME:
            seen.append(request.seed)
        return await echo(request, number)

    whole, registry = with_benchmark("a")
    who = replace(candidate(behaviour=behave), repeats=3, decoding={"seed": 7})
    place.collect(who, whole, registry=registry)
    assert len(seen) == 3 == len(set(seen)) and 7 in seen


def test_a_tool_sees_answers_as_they_are_stored_and_its_logs_are_not_kept(place: Place) -> None:
    whole, registry = with_benchmark("a bob@mail.org")
    (own,) = (item for item in whole.evals if item.benchmark is not None)
    assert own.task is not None
    with_ids = replace(
        own.golden_set, cases=tuple(replace(c, id=f"c{n}") for n, c in enumerate(own.golden_set.cases))
    )
    own = replace(own, golden_set=with_ids, task=replace(own.task, golden_set=with_ids))
    rules = Redaction(kinds=("email",), stored=True)
    whole = replace(whole, evals=(*whole.evals[:-1], own), redact=rules)

    async def says(request: Request, number: int) -> Response:
        return Response(text=f"{request.messages[-1].content if request.messages else ''} bob@mail.org")

    run, folder = place.collect(candidate(says), whole, registry=registry)
    assert {a.outcome.text for a in run.attempts[NAME].values() if isinstance(a.outcome, Response)} == {
        "C0 [email]", "C1 [email]",
    }  # fmt: skip
    assert run.manifest["redacted"] == {"kinds": ["email"], "patterns": []}
    assert run.manifest["facts"]["benchmarks"] == {"capitals": {}} and not (folder / "benchmarks").exists()
    assert "bob@" not in (folder / "attempts.jsonl").read_text()
    refused = replace(whole, redact=Redaction())
    with pytest.raises(InvalidComparisonError, match="keys, email were taken out of its answers"):
        rescore_folder(folder, refused, registry)
