"""Results of other tools as runs: two sides meet over the cases of both, and each becomes a run folder.

From there on they are stored runs like any other: compared, scored again, rendered again.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from evalharness._canon import canonical_json, digest, digest_lines, short
from evalharness.content import PathPolicy
from evalharness.core.attempts import Attempt, Failure
from evalharness.core.benchmarks import RESULTS, Results, Task, TaskMetric, TaskResults
from evalharness.core.candidates import Candidate
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.suites import EvalSpec, Suite
from evalharness.engine.asking import Collecting
from evalharness.engine.build import build_run, plugin_rows, scorer_names, task_of, totals
from evalharness.engine.prepare import prepare
from evalharness.engine.unions import listed, union
from evalharness.errors import InvalidComparisonError, Problem, SpecError, StoreError, UsageError
from evalharness.plugins import Registry
from evalharness.redaction import Arrival
from evalharness.spec.load import load_suite
from evalharness.spec.reader import did_you_mean
from evalharness.store.files import slug, write_text
from evalharness.store.folder import (
    ATTEMPTS,
    changed_files,
    is_run_folder,
    locked,
    read_attempts,
    read_manifest,
    refuse_edited,
    save_run,
)
from evalharness.store.records import attempt_to_row, digest_of_cases

PROVIDER: Final = "imported"
"""What stands for the provider of a run whose answers another tool collected."""
_SUITES: Final = "suites"
_OTHER_SIDE: Final = "only the other side has it"


@dataclass(frozen=True, slots=True)
class Side:
    """One side that another tool collected.

    `role` is "baseline" or "candidate"; `path` is shown, and never opened; `digest` is the candidate's.
    """

    role: str
    results: Results
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A suite whose tasks are those of the sides, and each side as a run folder."""

    suite: Suite
    folders: tuple[Path, ...]


# --- the suite ---------------------------------------------------------------------------------------------------


def suite_text(name: str, tasks: Mapping[str, Task]) -> str:
    """A suite over these tasks, each with the metrics of its files; comments say how they are read."""
    lines = [f"name: {slug(name)}", "evals:"]
    ids: set[str] = set()
    for task_name, task in tasks.items():
        eval_id = _eval_id(task_name, ids)
        lines += [f"  - id: {eval_id}", f"    results: {json.dumps(task_name, ensure_ascii=False)}"]
        lines += [f"    # {eval_id}/{metric.scorer.id}: {_read_as(metric)}" for metric in task.metrics]
    return "\n".join([*lines, "gate:", "  max_drop: 2pp", ""])


def _eval_id(task: str, taken: set[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9_.-]+", "-", task).strip("-._")[:80] or "task"
    found = base
    number = 2
    while found in taken:
        found, number = f"{base}-{number}", number + 1
    taken.add(found)
    return found


def _read_as(metric: TaskMetric) -> str:
    """How a metric's values are read, and whether it gates, in one line."""
    params = metric.scorer.params
    if metric.scorer.name != "recorded":
        return f"{metric.scorer.name}, advisory: {metric.advisory}"
    kind = {"binary": "0 or 1", "bounded": "0 to 1", "unbounded": "any number"}[params["kind"]]
    gates = f"advisory: {metric.advisory}" if metric.advisory else "gates"
    return f"{params['direction']} is better, {kind}; {gates}"


def derived_suite(name: str, tasks: Mapping[str, Task], how: Collecting) -> Path:
    """`suite_text` as a file of the store, found again by its content.

    Raises:
        StoreError: it cannot be written.
    """
    text = "# Made from result files that were compared or imported. Copy it to change its rules.\n"
    text += suite_text(name, tasks)
    how.store.prepare()
    path = how.store.root / _SUITES / f"{slug(name)}-{short(digest(text))}.yaml"
    if not path.is_file():
        write_text(path, text)
    return path


def is_derived(suite_path: str | None, how: Collecting) -> bool:
    """Whether a suite was made here and is nobody's choice."""
    return (
        suite_path is not None and Path(suite_path).resolve().parent == (how.store.root / _SUITES).resolve()
    )


# --- two sides meet ----------------------------------------------------------------------------------------------


def meet(
    sides: Sequence[Side],
    suite_path: Path | None,
    *,
    paths: PathPolicy,
    registry: Registry,
    how: Collecting,
    out: Path | None = None,
) -> Bound:
    """Bind the tasks of one or two sides to a suite, and store each side as a run over the cases of both.

    Args:
        sides: baseline and candidate, or one alone.
        suite_path: the suite; None: one is made of the tasks that both have.
        paths: where files may lie.
        registry: where scorers are found.
        how: store, seed and the like.
        out: where the run of a side that is alone goes; None: into the store.

    Raises:
        InvalidComparisonError: the sides are not of the same tasks (version, arguments, data, questions), or the
            candidate lacks a task of the baseline. UsageError, SpecError: the suite does not fit the files.
        StoreError: a run cannot be stored.
    """
    path, extra = suite_path, ""
    if path is None:
        names, extra = _shared_tasks(sides)
        tasks = {name: _union(name, name, sides)[0] for name in names}
        path = derived_suite(names[0] if len(names) == 1 else "results", tasks, how)
    suite = load_suite(path, paths=paths, registry=registry)
    arrive = how.arrival(suite)
    sides = [replace(side, results=_arrived(side.results, arrive)) for side in sides]
    bound = _bound(suite, sides)
    unions = {item.id: _union(item.golden_set.name, name, sides) for item, name in bound}
    for role, names_left in _left_out(sides, [name for _, name in bound]).items():
        if suite_path is not None:
            how.progress.note(f"{role}: tasks that suite {suite.name} does not read: {', '.join(names_left)}")
    whole, told = prepare(
        suite,
        stored=(),
        paths=paths,
        registry=registry,
        arrive=arrive,
        results={eval_id: task for eval_id, (task, _) in unions.items()},
    )
    for text in told:
        how.progress.note(text)
    folders = []
    for place, side in enumerate(sides):
        warnings = [*side.results.warnings]
        for eval_id, (_, notes) in unions.items():
            warnings += [f"{eval_id}: {text}" for text in notes[place]]
        if extra and place == 1:
            warnings.append(extra)
        attempts = {
            item.golden_set.name: _attempts(
                unions[item.id][0], side.results.tasks[name], item.golden_set.name
            )
            for item, name in bound
        }
        repeats = _repeats(side, [name for _, name in bound])
        about = {item.id: (name, side.results.tasks[name]) for item, name in bound}
        folders.append(_store(side, whole, attempts, repeats, about, warnings, registry, how, out))
    return Bound(whole, tuple(folders))


def _arrived(results: Results, arrive: Arrival) -> Results:
    """What a side brings, as it may be stored: before the cases of both are laid side by side."""
    tasks = {}
    for name, own in results.tasks.items():
        golden_set = own.task.golden_set
        cases = tuple(arrive.case(case) for case in golden_set.cases)
        if any(new is not old for new, old in zip(cases, golden_set.cases, strict=True)):
            golden_set = replace(golden_set, cases=cases, digest=digest_of_cases(cases))
        attempts = {key: arrive.attempt(attempt) for key, attempt in own.attempts.items()}
        tasks[name] = replace(own, task=replace(own.task, golden_set=golden_set), attempts=attempts)
    return replace(results, tasks=tasks)


def _shared_tasks(sides: Sequence[Side]) -> tuple[list[str], str]:
    """The tasks of both sides, in the baseline's order, and what is left out of the candidate's.

    Raises:
        InvalidComparisonError: the candidate lacks one. UsageError: the sides are of two tools.
    """
    first = list(sides[0].results.tasks)
    if len(sides) == 1:
        return first, ""
    one, other = sides[0].results, sides[1].results
    if one.tool != other.tool:
        raise UsageError(
            f"the baseline is a file of {one.tool} and the candidate one of {other.tool}; say what is compared with a "
            "suite: --suite FILE (evalharness import FILE --write-suite suite.yaml writes a start)"
        )
    missing = [name for name in first if name not in other.tasks]
    if missing:
        raise InvalidComparisonError(
            f"{sides[1].path}: the candidate has no results of {listed(missing)}, which the baseline has "
            f"(it has {listed(list(other.tasks))}); a task that was not run is no pass. Run it, or say with --suite "
            "which tasks count"
        )
    more = [name for name in other.tasks if name not in one.tasks]
    return first, f"tasks that the baseline does not have are left out: {listed(more)}" if more else ""


def _bound(suite: Suite, sides: Sequence[Side]) -> list[tuple[EvalSpec, str]]:
    """Each eval of the suite with the task it reads.

    Raises:
        SpecError: an eval reads no results, or names a task that a side does not have.
    """
    problems = []
    found = []
    for item in suite.evals:
        spec = item.benchmark
        if spec is None or spec.runner != RESULTS:
            what = "asks a golden set" if spec is None else f"runs a benchmark of {spec.runner}"
            hint = (
                f"write `results: TASK` in its place (tasks: {listed(list(sides[0].results.tasks))}); recorded answers "
                "to a golden set go into a candidate file with `provider: replay`"
            )
            message = f"the eval {item.id!r} {what}, and result files hold no run of it"
            problems.append(Problem(message, suite.path, hint=hint))
            continue
        lacking = [side for side in sides if spec.task not in side.results.tasks]
        for side in lacking:
            message = (
                f"the eval {item.id!r} reads the task {spec.task!r}, which the {side.role} {side.path} lacks"
            )
            problems.append(Problem(message, suite.path, hint=did_you_mean(spec.task, side.results.tasks)))
        if not lacking:
            found.append((item, spec.task))
    if problems:
        raise SpecError(problems)
    return found


def _left_out(sides: Sequence[Side], bound: Sequence[str]) -> dict[str, list[str]]:
    left = {side.role: [name for name in side.results.tasks if name not in bound] for side in sides}
    return {role: names for role, names in left.items() if names}


def _repeats(side: Side, names: Sequence[str]) -> int:
    counts = {name: side.results.tasks[name].repeats for name in names}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise UsageError(
            f"{side.path}: its tasks were repeated a different number of times ({shown}), and a run has one; compare "
            "them one at a time"
        )
    return next(iter(counts.values()))


def _union(set_name: str, name: str, sides: Sequence[Side]) -> tuple[Task, tuple[list[str], ...]]:
    return union(set_name, name, [(side.path, side.results.tasks[name]) for side in sides])


# --- runs --------------------------------------------------------------------------------------------------------


def _attempts(task: Task, own: TaskResults, set_name: str) -> dict[AttemptKey, Attempt]:
    """The attempts of one side over the cases of both."""
    found: dict[AttemptKey, Attempt] = {}
    for case in task.golden_set.cases:
        for repeat in range(own.repeats):
            known = own.attempts.get((case.id, repeat))
            outcome = (
                known.outcome if known is not None else Failure(kind="absent", message=_OTHER_SIDE, tries=0)
            )
            found[case.id, repeat] = Attempt(
                golden_set=set_name, case_id=case.id, repeat=repeat, outcome=outcome
            )
    return found


def _store(
    side: Side,
    suite: Suite,
    attempts: Mapping[str, Mapping[AttemptKey, Attempt]],
    repeats: int,
    tasks: Mapping[str, tuple[str, TaskResults]],
    warnings: Sequence[str],
    registry: Registry,
    how: Collecting,
    out: Path | None,
) -> Path:
    """Score one side, and store it under a name that its content gives it."""
    results = side.results
    told = {
        "tool": results.tool,
        "tool_version": results.tool_version,
        "file": side.path,
        "warnings": list(results.warnings),
        "about": dict(results.facts),
        "tasks": {
            eval_id: {"task": name, "comparable": dict(own.comparable)}
            for eval_id, (name, own) in tasks.items()
        },
    }
    plan = digest_lines(_plan_lines(side.digest, suite, attempts, told, warnings))
    candidate = Candidate(
        name=results.name, provider=PROVIDER, model=results.model, digest=side.digest, path=side.path
    )
    sums = totals(attempts, candidate)
    if not sums["usage_known"]:
        del sums["usage_known"], sums["usage_unknown"]
    reader = [("readers", results.tool)] if results.tool in registry.names("readers") else []
    run = build_run(
        suite,
        attempts,
        registry,
        name=results.name,
        repeats=repeats,
        about={
            "candidate": {
                "digest": side.digest,
                "provider": PROVIDER,
                "model": results.model,
                "path": side.path,
                "decoding": {},
                "price": None,
                "cacheable": False,  # what a file tells of a candidate does not pin it
            },
            "plan": plan,
            "unasked": 0,
            "seed": how.seed,
            "warnings": list(warnings),
            "facts": {"calls": 0, "imported": told, **sums},
            "environment": {
                "started": how.now,
                "evalharness": how.version,
                "python": platform.python_version(),
                "platform": sys.platform,
            },
            "plugins": plugin_rows([*reader, *scorer_names(suite)], registry),
        },
        kept=how.store.scores,
        arrive=how.arrival(suite),
    )
    how.store.prepare()
    folder = out if out is not None else how.store.run_folder(results.name, plan)
    with locked(folder, lambda: how.progress.note(f"waiting for another process on {folder}")):
        if not _holds(folder, run):
            if out is not None and is_run_folder(folder):
                raise UsageError(f"{out}: it holds another run; choose another folder with --out")
            save_run(folder, run)
    return folder


def _plan_lines(
    identity: str,
    suite: Suite,
    attempts: Mapping[str, Mapping[AttemptKey, Attempt]],
    told: Mapping[str, Any],
    warnings: Sequence[str],
) -> Iterator[str]:
    yield canonical_json([identity, told, list(warnings), {g.name: g.digest for g in suite.golden_sets}])
    for group in attempts.values():
        for attempt in group.values():
            yield canonical_json(attempt_to_row(attempt))


def _holds(folder: Path, run: Run) -> bool:
    try:
        return (
            is_run_folder(folder)
            and (manifest := read_manifest(folder))["run_id"] == run.id
            and manifest["suite"] == run.manifest["suite"]
            and not changed_files(folder, manifest)
        )
    except StoreError:
        return False


def results_of_run(folder: Path) -> Results | None:
    """What a run folder holds of tasks that other tools brought, as if read from their files; None where of none.

    Raises:
        StoreError: the folder is damaged.
    """
    manifest = read_manifest(folder)
    rows = manifest.get("tasks")
    if not isinstance(rows, dict) or not rows:
        return None
    if ATTEMPTS in changed_files(folder, manifest):
        raise refuse_edited(folder, ATTEMPTS)
    told = manifest["facts"].get("imported", {})
    try:
        names = {eval_id: told.get("tasks", {}).get(eval_id, {}) for eval_id in rows}
        groups: dict[str, dict[AttemptKey, Attempt]] = {}
        for attempt in read_attempts(folder):
            groups.setdefault(attempt.golden_set, {})[attempt.case_id, attempt.repeat] = attempt
        tasks = {
            names[eval_id].get("task", eval_id): _own(
                TaskResults(
                    task=task_of(folder, row, row["golden_set"]),
                    attempts=groups.get(row["golden_set"], {}),
                    repeats=manifest["repeats"],
                    comparable=names[eval_id].get("comparable", {}),
                )
            )
            for eval_id, row in rows.items()
        }
        return Results(
            tool=told.get("tool", "evalharness"),
            tool_version=told.get("tool_version", ""),
            name=manifest["name"],
            model=manifest["candidate"].get("model"),
            identity={"digest": manifest["candidate"]["digest"]},
            tasks=tasks,
            warnings=tuple(told.get("warnings", ())),
            facts=told.get("about", {}),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: damaged run folder ({error!r}); import the file again") from error


def _own(results: TaskResults) -> TaskResults:
    """Without the cases that came from the other side of an earlier comparison."""
    others = {
        key
        for key, attempt in results.attempts.items()
        if isinstance(attempt.outcome, Failure) and attempt.outcome.message == _OTHER_SIDE
    }
    if not others:
        return results
    golden_set = results.task.golden_set
    cases = tuple(case for case in golden_set.cases if (case.id, 0) not in others)
    task = replace(results.task, golden_set=replace(golden_set, cases=cases))
    attempts = {key: attempt for key, attempt in results.attempts.items() if key not in others}
    return replace(results, task=task, attempts=attempts)
