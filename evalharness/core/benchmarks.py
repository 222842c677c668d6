"""What other tools run or ran: a benchmark's cases and metrics, and results read from their files.

A benchmark becomes a golden set whose cases come with values the tool gave them (`Response.scores`), read by the
scorers `recorded` and `perplexity`: from there it goes the way of every other eval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, runtime_checkable

from evalharness.core.attempts import Attempt
from evalharness.core.candidates import Candidate
from evalharness.core.cases import GoldenSet
from evalharness.core.runs import AttemptKey

if TYPE_CHECKING:
    from evalharness.core.protocols import Request
    from evalharness.core.suites import ScorerSpec

_NOTHING: Mapping[str, Any] = {}

RESULTS: Final = "results"
"""The runner of an eval that is never run: its answers come from result files of other tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSpec:
    """A benchmark as a suite names it.

    `runner` is the plugin's name (or `RESULTS`), `task` what it is to run. `params` are its other keys, paths among
    them resolved; `written` is the whole as it stands in the file. `metrics` are those the suite asks for, () for the
    task's own.
    """

    runner: str
    task: str
    params: Mapping[str, Any]
    written: Mapping[str, Any]
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetric:
    """One metric of a task: the scorer that reads its recorded values. `advisory` says why it does not gate by itself.

    A metric that the suite names gates whatever `advisory` says.
    """

    scorer: ScorerSpec
    advisory: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A benchmark's cases and how its values are read, the headline metric first.

    `golden_set.card.version` is the task's own version; `golden_set.digest` covers everything that makes two results
    comparable: version, cases, few-shot examples, limit.
    """

    golden_set: GoldenSet
    metrics: tuple[TaskMetric, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One benchmark to run against one candidate.

    Attributes:
        candidate: who is asked.
        task: what `Benchmark.load` gave.
        requests: the cases and repeats to answer, in plan order. Their messages are empty: the tool words the prompt.
            `seed` differs by repeat where the candidate fixes one.
        folder: where logs may be kept; it exists, inside the run folder.
        ask: answers of the candidate through the engine: its limits, retries, caps and cache hold. Blocks until all
            are there, in order. A Request made for it has `golden_set` of the task and a Case of the tool's own making.
        submit: the same for one request from any thread, not blocking.
        keep: takes the attempt of one of `requests`; `Response.scores` holds its metrics. From any thread.
        note: tells the user a line.
    """

    candidate: Candidate
    task: Task
    requests: Sequence[Request]
    folder: Path
    ask: Callable[[Sequence[Request]], list[Attempt]]
    submit: Callable[[Request], Future[Attempt]]
    keep: Callable[[Attempt], None]
    note: Callable[[str], None]


@runtime_checkable
class Benchmark(Protocol):
    """A tool that brings its own cases and scores. Built as `Benchmark(task, **params)`; nothing heavy is imported.

    Bad params raise ValueError or TypeError. `paths` names parameters that are paths: the loader confines and resolves
    them.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    paths: ClassVar[tuple[str, ...]]

    def load(self, name: str) -> Task:
        """The task's cases and metrics; its golden set is called `name`.

        Raises:
            UsageError: there is no such task (the nearest are named), it has no cases, or its data cannot be had.
            MissingExtraError: the tool is not installed.
        """
        ...

    def run(self, work: Work) -> Mapping[str, Any]:
        """Answer and score `work.requests`. Called in the thread that Ctrl-C reaches.

        A case that is not kept counts as failed.

        Returns:
            Facts for the manifest as JSON data: versions, settings, `logs` (paths relative to the run folder).

        Raises:
            UsageError: the candidate does not suit the task (no log-likelihoods, a doubled chat template).
            ProviderError: as the engine raised it in `ask`; it must pass through unchanged.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResults:
    """One task of a file of results. Every case of its golden set has an attempt for each repeat.

    `comparable` is JSON data of what must be the same on two sides beside version and cases (arguments, data set,
    scorers), as far as the file tells; under "metrics" what belongs to one metric alone, by its id.
    """

    task: Task
    attempts: Mapping[AttemptKey, Attempt]
    repeats: int = 1
    comparable: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What one file of another tool holds of one candidate.

    `tasks` by the task's name. `tool` and `tool_version` say who wrote it; `model` who answered. `identity` is JSON
    data of everything that shaped the answers as far as the file tells; its digest becomes the candidate's.
    """

    tool: str
    tool_version: str
    name: str
    model: str | None
    identity: Mapping[str, Any]
    tasks: Mapping[str, TaskResults]
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@runtime_checkable
class Reader(Protocol):
    """Reads one tool's result files. Data only: no code of the file is run, nothing of the tool needs to be installed.

    `suffixes` are the endings of the files it may read.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def reads(self, path: Path, head: bytes) -> bool:
        """Whether the file looks like this tool's; `head` is its first 64 KiB."""
        ...

    def read(self, path: Path) -> Results:
        """The whole file.

        Raises:
            SpecError: it is damaged or not what it seems; every problem with its place.
        """
        ...
