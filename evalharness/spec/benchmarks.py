"""`benchmark:` of an eval, and the suite once the tools it names have brought their cases."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from evalharness._canon import digest
from evalharness.content import PathPolicy
from evalharness.core.benchmarks import BenchmarkSpec, Task
from evalharness.core.protocols import Scorer
from evalharness.core.suites import JUDGE_METRIC, EvalSpec, MetricRule, ScorerSpec, Suite
from evalharness.errors import PluginError, Problem, UsageError
from evalharness.plugins import Registry
from evalharness.spec.candidates import resolve
from evalharness.spec.checking import check
from evalharness.spec.gates import JUDGED, GateChecker, Named, policy
from evalharness.spec.models import EvalFile, SuiteFile
from evalharness.spec.reader import Document, Loc, did_you_mean, raise_problems, read_yaml

_FILE: Final = re.compile(r"(.+\.(?:py|yaml|yml|json))(@.*)?")
"""A task that is written as a file, and what follows the `@`."""


def benchmark_spec(
    document: Document, loc: Loc, item: EvalFile, paths: PathPolicy, registry: Registry
) -> BenchmarkSpec | None:
    """The benchmark of an eval, None after recording what is wrong with it. The tool is not imported."""
    written = dict(item.benchmark or {})
    at: Loc = (*loc, "benchmark")
    known = registry.names("benchmarks")
    named = [key for key in written if key in known]
    if len(named) != 1:
        message = "names two tools" if named else "names no tool that runs it"
        first = next(iter(written), "")
        hint = did_you_mean(first, known) if not named else "keep one"
        document.add(at, message, f"{hint}; write, for example, benchmark: {{lm_eval: mmlu_pro}}")
        return None
    runner = named[0]
    task, params = written.pop(runner), written
    if not isinstance(task, str) or not task.strip():
        document.add((*at, runner), "the task must be a text", f"write {runner}: NAME")
        return None
    before = len(document.problems)
    for place, (name, given) in enumerate(item.scorers):
        if given is not None:
            hint = f"write the metric's name alone: `- {name}`"
            document.add((*loc, "scorers", place), "a benchmark's metrics take no parameters", hint)
    try:
        cls = registry.load("benchmarks", runner)
    except (PluginError, UsageError) as error:
        document.add((*at, runner), str(error))
        return None
    takes = [name for name in inspect.signature(cls).parameters if name != "task"]
    for key in params:
        if key not in takes:
            document.add((*at, key), f"{runner} has no setting {key!r}", did_you_mean(key, takes))
    placed = {
        key: _placed(document, (*at, key), value, paths) if key in cls.paths else value
        for key, value in params.items()
    }
    file = _FILE.fullmatch(task)
    where = task
    if file is not None:
        found = resolve(document, (*at, runner), file[1], paths)
        where = f"{found}{file[2] or ''}"
    if len(document.problems) > before:
        return None
    try:
        cls(where, **placed)
    except (ValueError, TypeError) as error:
        document.add(at, f"{runner}: {error}")
        return None
    return BenchmarkSpec(
        runner=runner,
        task=where,
        params=placed,
        written={runner: task, **params},
        metrics=tuple(name for name, _ in item.scorers),
    )


def _placed(document: Document, loc: Loc, value: Any, paths: PathPolicy) -> Any:
    if not isinstance(value, str):
        document.add(loc, "must be a path")
        return None
    found = resolve(document, loc, value, paths)
    return str(found) if found is not None else None


def completed(
    suite: Suite, tasks: Mapping[str, Task], *, paths: PathPolicy, registry: Registry
) -> tuple[Suite, tuple[str, ...]]:
    """The suite with the cases and metrics that tools brought, its gate checked against them.

    Args:
        suite: as its file says.
        tasks: by eval id, of every eval that is not complete.
        paths: of the suite's file.
        registry: where scorers are found.

    Returns:
        The suite, and what a user should know of the tasks.

    Raises:
        SpecError: the suite asks for a metric that a task does not have, or its gate does not fit the metrics.
    """
    path = _path(suite, paths)
    document = read_yaml(path, paths)
    model = check(SuiteFile, document)
    raise_problems(document.problems)
    assert model is not None
    evals: list[EvalSpec] = []
    rules = dict(suite.gate.metrics)
    pairs = {name: rule.pairs for name, rule in rules.items() if rule.pairs is not None}
    checker = GateChecker(document, pairs=pairs)
    named = _named_in_gate(suite)
    for index, item in enumerate(suite.evals):
        loc: Loc = ("evals", index)
        specs = list(item.scorers)
        if item.benchmark is not None and item.id in tasks:
            task = tasks[item.id]
            chosen = _chosen(document, (*loc, "scorers"), item.benchmark, task)
            specs += [spec for spec, _ in chosen]
            rules |= {
                metric_id: MetricRule(advisory=True, why=why)
                for spec, why in chosen
                if why and (metric_id := f"{item.id}/{spec.id}") not in named
            }
            item = replace(item, golden_set=task.golden_set, scorers=tuple(specs), task=task)
        evals.append(item)
        checker.sets[item.id] = item.golden_set
        for spec in specs:
            metric_id = f"{item.id}/{spec.id}"
            if metric_id in rules and metric_id not in named:
                continue  # advisory by itself, and so nothing the gate could be wrong about
            scorer: Scorer = registry.load("scorers", spec.name)(**spec.params)
            opinion = getattr(scorer, "judged", False) is True
            checker.metrics[metric_id] = Named(scorer.metric, loc, opinion=opinion)
        if item.judge is not None:
            pairwise = item.judge.mode == "pairwise"
            checker.metrics[f"{item.id}/{JUDGE_METRIC}"] = Named(JUDGED, (*loc, "judge"), pairwise=pairwise)
    checker.check(model.gate)
    if model.sampling is not None:
        checker.check_sampling(model.sampling)
    raise_problems(document.problems)
    whole = replace(
        suite,
        evals=tuple(evals),
        gate=replace(policy(model.gate, checker.sets), metrics=rules),
        digest=digest([suite.digest, [_identity(item, registry) for item in evals if item.id in tasks]]),
    )
    return whole, tuple(dict.fromkeys(text for task in tasks.values() for text in task.warnings))


def _path(suite: Suite, paths: PathPolicy) -> Path:
    return paths.cwd / suite.path


def _named_in_gate(suite: Suite) -> frozenset[str]:
    gate = suite.gate
    sliced = (rule.metric for rule in gate.slices)
    return frozenset((*gate.primary, *gate.metrics, *sliced, *(waiver.metric for waiver in gate.waivers)))


def _chosen(document: Document, loc: Loc, spec: BenchmarkSpec, task: Task) -> list[tuple[ScorerSpec, str]]:
    """The metrics the suite asks for, or all the task has, each with why it is advisory by itself."""
    metrics = {metric.scorer.id: metric for metric in task.metrics}
    if not spec.metrics:
        return [(metric.scorer, metric.advisory) for metric in task.metrics]
    for name in spec.metrics:
        if name not in metrics:
            document.add(loc, f"{spec.task} has no metric {name!r}", did_you_mean(name, metrics))
    return [(metrics[name].scorer, "") for name in spec.metrics if name in metrics]


def _identity(item: EvalSpec, registry: Registry) -> dict[str, Any]:
    return {
        "id": item.id,
        "golden_set": item.golden_set.digest,
        "version": item.golden_set.card.version,
        "scorers": [
            [spec.id, spec.name, registry.load("scorers", spec.name).version, dict(spec.params)]
            for spec in item.scorers
        ],
    }


def located(suite: Suite, refused: Mapping[str, str], *, paths: PathPolicy) -> list[Problem]:
    """A problem for each benchmark that its tool refused, with its line. `refused`: what the tool said, by eval id."""
    document = read_yaml(_path(suite, paths), paths)
    for index, item in enumerate(suite.evals):
        if item.id in refused:
            document.add(("evals", index, "benchmark"), refused[item.id])
    return document.problems


def unfinished(suite: Suite) -> list[Problem]:
    """A problem for each eval whose cases only result files can bring, where there are none."""
    return [
        Problem(
            f"the eval {item.id!r} reads results of other tools and cannot be run",
            suite.path,
            hint="compare two result files with --suite",
        )
        for item in suite.evals
        if item.benchmark is not None and not item.complete
    ]
