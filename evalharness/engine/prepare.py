"""A suite made complete: the tools it names bring their cases, or stored runs do that hold them already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evalharness.content import PathPolicy
from evalharness.core.benchmarks import RESULTS, Benchmark, BenchmarkSpec, Task
from evalharness.core.suites import EvalSpec, Suite
from evalharness.engine.build import task_of
from evalharness.errors import EvalHarnessError, MissingExtraError, PluginError, SpecError, UsageError
from evalharness.plugins import Registry
from evalharness.redaction import Arrival
from evalharness.spec.benchmarks import completed, located, unfinished
from evalharness.spec.redacting import id_problems
from evalharness.store.folder import read_manifest


def prepare(
    suite: Suite,
    *,
    stored: Sequence[Path | None],
    paths: PathPolicy,
    registry: Registry,
    arrive: Arrival,
    results: Mapping[str, Task] | None = None,
) -> tuple[Suite, tuple[str, ...]]:
    """The suite with every case known, its gate checked, and what a user should know of the tasks.

    Args:
        suite: as its file says.
        stored: for each side the run folder it is read from, None for one that is to be asked. Where every side is
            stored the cases come from there: neither the tool nor its data need be there, and a verdict does not
            depend on them.
        paths: of the suite's file.
        registry: where benchmarks are found.
        arrive: what becomes of the cases that are brought: a run folder holds them.
        results: tasks that result files bring, by eval id.

    Raises:
        SpecError: there are no such tasks, or their data cannot be had; the gate does not fit the metrics.
        MissingExtraError: a tool is not installed. StoreError: a stored run is damaged.
    """
    if suite.complete:
        return suite, ()
    tasks: dict[str, Task] = dict(results or {})
    open_evals = [item for item in suite.evals if not item.complete and item.id not in tasks]
    if open_evals and stored and None not in stored:
        for item in open_evals:
            found = next((task for folder in stored if folder and (task := _stored(folder, item))), None)
            if found is not None:
                tasks[item.id] = found
    refused: dict[str, str] = {}
    for item in open_evals:
        if item.id not in tasks and item.benchmark is not None and item.benchmark.runner != RESULTS:
            try:
                tasks[item.id] = load_task(item.benchmark, item.golden_set.name, registry)
            except (MissingExtraError, PluginError):
                raise
            except UsageError as error:
                refused[item.id] = str(error)
    if refused:
        raise SpecError(located(suite, refused, paths=paths))
    tasks = {eval_id: _arrived(task, arrive) for eval_id, task in tasks.items()}
    whole, told = completed(suite, tasks, paths=paths, registry=registry)
    brought = [item.golden_set for item in whole.evals if item.benchmark is not None]
    problems = [*unfinished(whole), *id_problems(whole.redact, brought)]
    if problems:
        raise SpecError(problems)
    return whole, told


def _arrived(task: Task, arrive: Arrival) -> Task:
    """A task whose cases hold nothing that is not to be stored; their ids and the set's digest stay."""
    golden_set = task.golden_set
    cases = tuple(arrive.case(case) for case in golden_set.cases)
    return replace(task, golden_set=replace(golden_set, cases=cases))


def make_benchmark(spec: BenchmarkSpec, registry: Registry) -> Benchmark:
    """The plugin that runs a benchmark. The suite was validated, so bad parameters do not get here."""
    made: Benchmark = registry.load("benchmarks", spec.runner)(spec.task, **spec.params)
    return made


def load_task(spec: BenchmarkSpec, name: str, registry: Registry) -> Task:
    """A benchmark's cases and metrics.

    Raises:
        UsageError, MissingExtraError: as `Benchmark.load` does. PluginError: the tool raised something else.
    """
    benchmark = make_benchmark(spec, registry)
    try:
        return benchmark.load(name)
    except EvalHarnessError:
        raise
    except Exception as error:
        raise PluginError(
            f"benchmark {spec.runner} {spec.task!r} cannot be loaded: {type(error).__name__}: {str(error)[:500]}"
        ) from error


def _stored(folder: Path, item: EvalSpec) -> Task | None:
    """The task of an eval as a stored run holds it, None where it holds none."""
    row = read_manifest(folder).get("tasks", {}).get(item.id)
    return task_of(folder, row, item.golden_set.name) if row is not None else None
