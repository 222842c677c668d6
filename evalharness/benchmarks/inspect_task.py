"""Benchmark `inspect`: a task of Inspect AI, run against the candidate, its log kept."""

from __future__ import annotations

import difflib
import inspect
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evalharness._canon import digest
from evalharness._lazy import require
from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.core.benchmarks import Task, TaskMetric, Work
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.suites import ScorerSpec
from evalharness.errors import EvalHarnessError, UsageError
from evalharness.store.records import digest_of_cases

if TYPE_CHECKING:
    from evalharness.benchmarks._inspect_model import CandidateModel

_WHY: Final = "run an Inspect task"
_BINARY: Final = frozenset(("answer", "choice", "exact", "includes", "match", "pattern"))
"""Inspect's own scorers that say right or wrong and nothing between."""
_GRADES: Final = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""How Inspect's own `value_to_float` reads its grades: correct, incorrect, partial, no answer."""
_WORDS: Final = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_MOST_TAG_VALUES: Final = 20
_FILE: Final = re.compile(r"(.+\.py)(?:@(.*))?")
_READ_AS: Final = frozenset(("direction", "unit", "kind", "low", "high"))


class InspectTask:
    """One task of Inspect AI: `package/task` of an installed package, or `file.py@task`.

    `limit`: the first samples only. `args`: arguments of the task. `scores`: how the values of a scorer are read where
    it is not known, by its name: `{my_scorer: {kind: unbounded, unit: points, direction: lower}}`, as the scorer
    `recorded` takes them; a scorer that gives several values has one entry a value, `my_scorer.key`.
    A task is a program of the user's: running it runs its code.
    """

    name: ClassVar[str] = "inspect"
    version: ClassVar[str] = "1"
    paths: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        task: str,
        limit: int | None = None,
        args: Mapping[str, Any] | None = None,
        scores: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        # Parameters come from YAML, so their types are not to be trusted.
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"limit must be a whole number from 1, not {limit!r}")
        for key, value in (("args", args), ("scores", scores)):
            given: object = value
            if given is not None and not (isinstance(given, dict) and all(isinstance(k, str) for k in given)):
                raise TypeError(f"{key} must be a mapping of names and values, not {given!r}")
        for key, own in (scores or {}).items():
            rule: object = own
            if not isinstance(rule, dict) or not rule.keys() <= _READ_AS:
                raise ValueError(
                    f"scores.{key} must hold some of {', '.join(sorted(_READ_AS))}, not {rule!r}"
                )
        self._task = task
        self._limit = limit
        self._args = dict(args or {})
        self._scores = {key: dict(rule) for key, rule in (scores or {}).items()}

    def load(self, name: str) -> Task:
        """The task's samples and scorers.

        Raises:
            UsageError: there is no such task, it cannot be made, or it has no samples. MissingExtraError: no Inspect.
        """
        task = self._make()
        samples = _samples(task, self._limit)
        if not samples:
            raise UsageError(f"the Inspect task {self._shown} has no samples")
        tags = _tags(samples)
        cases = tuple(_case(sample, own) for sample, own in zip(samples, tags, strict=True))
        names = _scorer_names(task)
        if not names:
            raise UsageError(
                f"the Inspect task {self._shown} has no scorer, so nothing of it can be compared"
            )
        version = str(task.version)
        return Task(
            golden_set=GoldenSet(
                card=Card(name=name, version=version, task=str(task.name)),
                cases=cases,
                digest=digest(
                    [self.version, str(task.name), version, self._args, names, digest_of_cases(cases)]
                ),
            ),
            metrics=tuple(self._metrics(names)),
        )

    def run(self, work: Work) -> Mapping[str, Any]:
        """Run the task on the samples that are asked, an epoch for each repeat that is missing, and keep its logs.

        Raises:
            UsageError: the candidate does not suit it, or Inspect refuses to start. ProviderError: as `work.ask`.
        """
        require("inspect_ai", extra="benchmarks", why=_WHY)
        from inspect_ai.log import read_eval_log

        from evalharness.benchmarks._inspect_model import candidate_model

        task = self._make()
        samples = _samples(task, self._limit)
        model = candidate_model(work)
        log: Any = None
        for repeats, wanted in _by_repeats(work):
            model.repeats = repeats
            header = self._eval(
                task, [sample for sample in samples if str(sample.id) in wanted], len(repeats), model, work
            )
            log = read_eval_log(header.location)
            if log.status == "error" and not log.samples:
                said = log.error.message if log.error is not None else "no reason given"
                raise UsageError(f"Inspect could not run {self._shown}: {said}")
            for sample in log.samples or []:  # those that failed; the others were kept as they ended
                _keep(sample, model, work)
        # also those of earlier parts of this run: what they hold was kept and is not asked again
        logs = sorted(work.folder.glob("*.eval"))
        return {
            "inspect_ai": log.eval.packages.get("inspect_ai", ""),
            "task": log.eval.task,
            "task_version": str(log.eval.task_version),
            "logs": [str(Path(*work.folder.parts[-2:], path.name)) for path in logs],
        }

    def _eval(self, task: Any, samples: Sequence[Any], epochs: int, model: CandidateModel, work: Work) -> Any:
        """Inspect's log, without its samples."""
        from inspect_ai import eval as inspect_eval
        from inspect_ai._eval.task.task import task_with
        from inspect_ai.dataset import MemoryDataset

        from evalharness.benchmarks._inspect_model import as_samples_end

        def ended(sample: Any) -> None:
            # an answer is kept at once, for a run that is killed; after the engine stopped, answers are empty
            if sample.error is None and model.stopped is None:
                _keep(sample, model, work)

        with as_samples_end(ended):
            logs = inspect_eval(
                task_with(task, dataset=MemoryDataset(list(samples), name=task.dataset.name), epochs=epochs),
                model=model.model,
                log_dir=str(work.folder),
                log_format="eval",
                display="none",
                fail_on_error=False,
                max_samples=work.candidate.limits.concurrency,
                score_display=False,
            )
        if model.stopped is not None:
            raise model.stopped
        if not logs or logs[0].status == "cancelled":
            raise KeyboardInterrupt
        return logs[0]

    @property
    def _shown(self) -> str:
        match = _FILE.fullmatch(self._task)
        return f"{Path(match[1]).name}@{match[2] or ''}" if match is not None else repr(self._task)

    def _make(self) -> Any:
        require("inspect_ai", extra="benchmarks", why=_WHY)
        from inspect_ai._eval.loader import load_tasks
        from inspect_ai._util.registry import registry_find, registry_info

        match = _FILE.fullmatch(self._task)
        if match is None:
            # what a package brings is registered once it is imported
            known = sorted({registry_info(o).name for o in registry_find(lambda info: info.type == "task")})
            package = self._task.partition("/")[0]
            installed = any(name.startswith(f"{package}/") for name in known)
            if self._task not in known and installed:
                near = difflib.get_close_matches(self._task, known, n=3, cutoff=0.5)
                raise UsageError(
                    f"there is no Inspect task {self._task!r}; did you mean {' or '.join(near) or known[0]}?"
                )
            if self._task not in known:
                raise UsageError(
                    f"no installed package brings the Inspect task {self._task!r}; install it (pip install "
                    f"{package.replace('_', '-')}) or name a file: file.py@task"
                )
        try:
            tasks = load_tasks([self._task], self._args)
            unknown = _unknown_args(tasks, self._args)
        except EvalHarnessError:
            raise
        except Exception as error:
            if match is not None and match[2]:
                _refuse_absent(Path(match[1]), match[2])
            said = " ".join(str(error).split())[:400]
            raise UsageError(
                f"the Inspect task {self._shown} cannot be made: {type(error).__name__}: {said}; a data set that is "
                "not on this machine needs the network or its cache"
            ) from error
        if unknown:
            raise UsageError(
                f"the Inspect task {self._shown} takes no argument {unknown[0]!r}; it takes {unknown[1]}"
            )
        if len(tasks) != 1:
            names = ", ".join(str(task.name) for task in tasks) or "none"
            raise UsageError(f"{self._shown} holds {len(tasks)} tasks ({names}); name one as file.py@task")
        return tasks[0]

    def _metrics(self, names: Sequence[str]) -> Iterable[TaskMetric]:
        """The declared values of each scorer; one whose name says right or wrong; else a value between 0 and 1."""
        first = True
        for name in names:
            keys = [key for key in self._scores if key == name or key.startswith(f"{name}.")] or [name]
            for key in keys:
                rule = self._scores.get(key, {"kind": "binary"} if name in _BINARY else {})
                yield TaskMetric(
                    scorer=ScorerSpec(name="recorded", id=key, params={"name": key, **rule}),
                    advisory=""
                    if first
                    else f"the task's first scorer gates; name {key} under scorers to gate",
                )
                first = False


def _refuse_absent(file: Path, name: str) -> None:
    """Refuse a name that no function of the file with `@task` has; the file is parsed, not run."""
    from inspect_ai._eval.list import parse_tasks

    known = sorted(task.name for task in parse_tasks(file.absolute(), Path.cwd(), True))
    if known and name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known[:20])}"
        raise UsageError(f"{file.name} has no Inspect task {name!r}; {hint}")


def _unknown_args(tasks: Sequence[Any], args: Mapping[str, Any]) -> tuple[str, str] | None:
    """An argument that a task does not take, and those it takes: Inspect itself would leave it out."""
    from inspect_ai._util.registry import registry_info, registry_lookup

    for task in tasks:
        function = registry_lookup("task", registry_info(task).name)
        if not callable(function):
            continue
        takes = inspect.signature(function).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
            continue
        for name in args:
            if name not in takes:
                return name, ", ".join(takes) or "none"
    return None


def _samples(task: Any, limit: int | None) -> list[Any]:
    """The samples with ids as Inspect gives them: their own, else counted from 1."""
    samples = list(task.dataset[:limit] if limit is not None else task.dataset)
    return [
        sample if sample.id is not None else sample.model_copy(update={"id": number})
        for number, sample in enumerate(samples, 1)
    ]


def _scorer_names(task: Any) -> list[str]:
    from inspect_ai._util.registry import registry_unqualified_name

    names: list[str] = []
    for scorer in task.scorer or []:
        name = registry_unqualified_name(scorer)
        seen = sum(
            other == name or re.fullmatch(rf"{re.escape(name)}\d+", other) is not None for other in names
        )
        names.append(f"{name}{seen}" if seen else name)
    return names


def _tags(samples: Sequence[Any]) -> list[dict[str, str]]:
    """Metadata that can be slices: texts of few values over the task."""
    found = [
        {k: v for k, v in (sample.metadata or {}).items() if isinstance(v, str) and 0 < len(v) <= 40}
        for sample in samples
    ]
    values: dict[str, Counter[str]] = {}
    for own in found:
        for key, value in own.items():
            values.setdefault(key, Counter())[value] += 1
    kept = {
        key
        for key, counts in values.items()
        if 1 < len(counts) <= _MOST_TAG_VALUES and counts.total() >= 2 * len(counts)
    }
    return [{key: value for key, value in own.items() if key in kept} for own in found]


def _case(sample: Any, tags: Mapping[str, str]) -> Case:
    targets = (sample.target,) if isinstance(sample.target, str) else tuple(sample.target)
    return Case(
        id=str(sample.id),
        input=sample.input if isinstance(sample.input, str) else _last_user(sample.input),
        targets=tuple(target for target in targets if target),
        choices=tuple(sample.choices or ()),
        tags=tags,
    )


def _last_user(messages: Sequence[Any]) -> str:
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _by_repeats(work: Work) -> list[tuple[tuple[int, ...], set[str]]]:
    """Which repeats are asked of which samples: one entry, unless an earlier part of the run answered some of them."""
    repeats: dict[str, list[int]] = {}
    for request in work.requests:
        repeats.setdefault(request.case.id, []).append(request.repeat)
    found: dict[tuple[int, ...], set[str]] = {}
    for case_id, asked in repeats.items():
        found.setdefault(tuple(sorted(asked)), set()).add(case_id)
    return sorted(found.items())


def _keep(sample: Any, model: CandidateModel, work: Work) -> None:
    own = (str(sample.id), model.repeats[int(sample.epoch) - 1])
    took = model.latency_ms.get(own)
    if took is None and sample.working_time is not None:  # a model of Inspect's own
        took = sample.working_time * 1000
    work.keep(_attempt(sample, own, work.task.golden_set.name, model.failed.get(own), took))


def _attempt(
    sample: Any, own: tuple[str, int], golden_set: str, failed: Failure | None, latency_ms: float | None
) -> Attempt:
    case_id, repeat = own
    if failed is not None:
        return Attempt(golden_set=golden_set, case_id=case_id, repeat=repeat, outcome=failed)
    if sample.error is not None:
        return Attempt(
            golden_set=golden_set,
            case_id=case_id,
            repeat=repeat,
            outcome=Failure(kind="bad_response", message=" ".join(sample.error.message.split())[:500]),
        )
    scores: dict[str, float] = {}
    unscored: dict[str, str] = {}
    for name, score in (sample.scores or {}).items():
        values = score.value if isinstance(score.value, Mapping) else {None: score.value}
        for inner, value in values.items():
            label = name if inner is None else f"{name}.{inner}"
            number = value_of(value)
            if number is None:
                unscored[label] = f"Inspect's scorer gave {value!r}"[:200]
            else:
                scores[label] = number
    usage = list((sample.model_usage or {}).values())
    return Attempt(
        golden_set=golden_set,
        case_id=case_id,
        repeat=repeat,
        outcome=Response(
            text=sample.output.completion or "",
            model=sample.output.model or None,
            finish_reason=sample.output.stop_reason if sample.output.choices else None,
            usage=Usage(sum(u.input_tokens for u in usage), sum(u.output_tokens for u in usage))
            if usage
            else None,
            latency_ms=latency_ms,
            scores=scores,
            unscored=unscored,
        ),
    )


def value_of(value: Any) -> float | None:
    """An Inspect score as a number, as its `value_to_float` reads it; None where it is none."""
    if isinstance(value, bool | int | float):
        number = float(value)
        return number if number - number == 0 else None
    if not isinstance(value, str):
        return None
    if value in _GRADES:
        return _GRADES[value]
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number - number == 0 else None
