"""Tasks of lm-eval as a golden set: cases, prompts, metrics, and the identity of it all."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from evalharness._canon import digest, digest_lines
from evalharness.benchmarks._lm_eval_calm import library
from evalharness.benchmarks._lm_eval_metrics import Reading, readings, shared, task_metrics
from evalharness.benchmarks._lm_eval_tasks import Found, Wanted
from evalharness.benchmarks._names import listed
from evalharness.core.benchmarks import Task
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.errors import UsageError
from evalharness.store.records import digest_of_cases

_LONGEST: Final = 4000
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")
_PLACES: Final = ("config_source", "data_files", "data_dir")
"""What a task's settings say of where files lie: the same task lies elsewhere on another machine."""


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A task, or the tasks of a group, ready to be asked.

    `instances` are lm-eval's requests of each case, worded without a chat template. `sources` says which task and
    which document a case is.
    """

    wanted: Wanted
    found: Found
    task: Task
    readings: tuple[Reading, ...]
    instances: Mapping[str, list[Any]]
    sources: Mapping[str, tuple[str, int]]

    def build(self, **chat: Any) -> Mapping[str, list[Any]]:
        """The requests of every case worded anew.

        Args:
            chat: `system_instruction`, `apply_chat_template`, `fewshot_as_multiturn`, `chat_template` as lm-eval's
                `build_all_requests` takes them.
        """
        return _instances(self.wanted, self.found, **chat)[0]


def loaded(wanted: Wanted, found: Found, name: str) -> Loaded:
    """The golden set called `name` of tasks that were found. Called inside `calm`.

    Raises:
        UsageError: no case, or no metric with a value for each case.
    """
    instances, sources = _instances(wanted, found)
    if not instances:
        raise UsageError(f"lm-eval task {wanted.shown!r} has no cases")
    warnings = [*found.warnings, *_splits(found)]
    cases: list[Case] = []
    for case_id, rows in instances.items():
        task_name, _ = sources[case_id]
        tags = {"task": task_name} if len(found.tasks) > 1 else {}
        if task_name in found.groups:
            tags["group"] = found.groups[task_name]
        cases.append(_case(case_id, found.tasks[task_name], rows, tags))
    metrics, told = _metrics(wanted, found, instances, sources)
    versions = {n: str(getattr(t, "VERSION", None) or "unversioned") for n, t in found.tasks.items()}
    identity = {
        "tasks": {n: {"version": versions[n], "settings": _settings(t)} for n, t in found.tasks.items()},
        "limit": wanted.limit,
        "cases": digest_of_cases(cases),
        "prompts": digest_lines(_prompt(row) for rows in instances.values() for row in rows),
    }
    golden_set = GoldenSet(
        card=Card(
            name=name,
            version=listed(dict.fromkeys(versions.values()), most=8),
            task=wanted.shown,
            provenance=listed(dict.fromkeys(filter(None, map(_data_of, found.tasks.values()))), most=3),
        ),
        cases=tuple(cases),
        digest=digest(identity),
    )
    task = Task(golden_set=golden_set, metrics=task_metrics(metrics), warnings=(*warnings, *told))
    return Loaded(
        wanted=wanted,
        found=found,
        task=task,
        readings=tuple(metrics),
        instances=instances,
        sources=sources,
    )


def _instances(
    wanted: Wanted, found: Found, **chat: Any
) -> tuple[dict[str, list[Any]], dict[str, tuple[str, int]]]:
    """Requests by case id in lm-eval's order, and the task and document of each case.

    All are built whoever is asked: few-shot examples are drawn in turn, so a part alone would get others.
    """
    sample_size = library("lm_eval.evaluator_utils").get_sample_size
    many = len(found.tasks) > 1
    result: dict[str, list[Any]] = {}
    sources: dict[str, tuple[str, int]] = {}
    for name, task in found.tasks.items():
        task.set_fewshot_seed(seed=wanted.seed)
        task.build_all_requests(limit=sample_size(task, wanted.limit), rank=0, world_size=1, **chat)
        for row in task.instances:
            case_id = f"{name}/{row.doc_id}" if many else str(row.doc_id)
            result.setdefault(case_id, []).append(row)
            sources[case_id] = (name, row.doc_id)
    for rows in result.values():
        rows.sort(key=lambda row: row.idx)
    return result, sources


def _metrics(
    wanted: Wanted, found: Found, instances: Mapping[str, list[Any]], sources: Mapping[str, tuple[str, int]]
) -> tuple[list[Reading], list[str]]:
    by_task: dict[str, list[Reading]] = {}
    left_out: dict[str, None] = {}
    for name, task in found.tasks.items():
        first = next(rows for case_id, rows in instances.items() if sources[case_id][0] == name)
        by_task[name], without = readings(task, _example(task, first))
        left_out |= dict.fromkeys(without)
    both, rest = shared(by_task, wanted.shown)
    told = []
    if left_out:
        told.append(f"{wanted.shown}: left out {listed(left_out)}, which has no value for a case alone")
    rest = [metric for metric in rest if metric not in left_out]
    if rest:
        told.append(f"{wanted.shown}: left out {listed(rest)}, which not every task of it has")
    if all(reading.why for reading in both):
        told.append(
            f"{wanted.shown}: no metric gates by itself; name one of {listed(r.id for r in both)} in scorers"
        )
    return both, told


def _example(task: Any, rows: Sequence[Any]) -> Mapping[str, Any]:
    """What a task says of a case that is answered with nothing: the kinds of its values show in it."""
    nothing: Any = "" if task.OUTPUT_TYPE == "generate_until" else (-1.0, False)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        nothing = -1.0
    with contextlib.suppress(Exception):  # a task may well not expect it; then less is known
        found: Mapping[str, Any] = task.process_results(rows[0].doc, [nothing for _ in rows])
        return found
    return {}


def _splits(found: Found) -> list[str]:
    without = [n for n, task in found.tasks.items() if not task.has_test_docs()]
    if not without:
        return []
    has = "have" if len(without) > 1 else "has"
    return [f"{listed(without, most=3)} {has} no test split: lm-eval asks the validation split"]


def _data_of(task: Any) -> str:
    path, name = getattr(task, "DATASET_PATH", None), getattr(task, "DATASET_NAME", None)
    if not path or "/" not in str(path) or str(path).startswith((".", "/")):
        return ""
    return f"{path} {name}" if name else str(path)


# --- cases ---------------------------------------------------------------------------------------------------------


def _case(case_id: str, task: Any, rows: Sequence[Any], tags: Mapping[str, str]) -> Case:
    doc = rows[0].doc
    choices = _choices(task, doc)
    text, target = _try(task.doc_to_text, doc), _try(task.doc_to_target, doc)
    if isinstance(text, int) and choices:  # the choices are prompts, and all go on with the same text
        text, target = str(target), text
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        text, target = target, None
    targets = [_named(item, choices) for item in (target if isinstance(target, list) else [target])]
    return Case(
        id=case_id,
        input=_short(str(text if text is not None else "")),
        targets=tuple(_short(str(item)) for item in targets if item is not None and item != ""),
        choices=tuple(_short(choice) for choice in choices),
        tags=tags,
    )


def _choices(task: Any, doc: Any) -> tuple[str, ...]:
    if getattr(task.config, "doc_to_choice", None) is None:
        return ()
    found = _try(task.doc_to_choice, doc)
    return tuple(str(item) for item in found) if isinstance(found, list) else ()


def _named(item: Any, choices: Sequence[str]) -> Any:
    return choices[item] if type(item) is int and 0 <= item < len(choices) else item


def _try(what: Callable[[Any], Any], doc: Any) -> Any:
    try:
        return what(doc)
    except Exception:  # noqa: BLE001 - shown to a reader only; a task that has no such text has none to show
        return None


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


# --- identity ------------------------------------------------------------------------------------------------------


def _prompt(row: Any) -> str:
    return json.dumps(
        [row.doc_id, row.idx, row.repeats, _plain(list(row.args))], ensure_ascii=False, sort_keys=True
    )


def _settings(task: Any) -> Any:
    settings = dict(task.dump_config())
    settings.pop("task", None)
    if str(settings.get("dataset_path", "")).startswith((".", "/", "~")):
        del settings["dataset_path"]
    return _plain(settings)


def _plain(value: Any) -> Any:
    """Settings as JSON data that are equal on every machine: functions by their source, no addresses, no places."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if key not in _PLACES}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return _ADDRESS.sub("", value) if isinstance(value, str) else value
    if isinstance(value, float):
        return repr(value)
    if callable(value):
        try:
            return inspect.getsource(value)
        except (TypeError, OSError):
            pass
    return _ADDRESS.sub("", str(value))


def fresh(rows: Sequence[Any], **changes: Any) -> list[Any]:
    """Requests like `rows` that hold no answer yet."""
    return [replace(row, resps=[], filtered_resps={}, **changes) for row in rows]
