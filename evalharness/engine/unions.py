"""One task of two files: the cases of both, held to be the same questions, and metrics that fit both sides' values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from evalharness._canon import canonical_json, digest
from evalharness.core.benchmarks import Task, TaskMetric, TaskResults
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.suites import ScorerSpec
from evalharness.errors import InvalidComparisonError
from evalharness.store.records import case_to_row, digest_of_cases

_SHOWN: Final = 5
_WIDTH: Final = ("binary", "bounded", "unbounded")
"""Kinds of recorded values, the narrowest first."""


def union(
    set_name: str, name: str, sides: Sequence[tuple[str, TaskResults]]
) -> tuple[Task, tuple[list[str], ...]]:
    """One task over the cases of all sides, and what is to be said of each side.

    Args:
        set_name: what its golden set is to be called.
        name: the task.
        sides: one or two, the baseline first: the file's name for messages, and what it holds of the task.

    Raises:
        InvalidComparisonError: the sides are not of the same task, or ask other questions under one id.
    """
    found = [item for _, item in sides]
    files = [file for file, _ in sides]
    notes: tuple[list[str], ...] = tuple([] for _ in sides)
    if len(found) == 2:
        _refuse_other_task(name, files, found)
    versions = [item.task.golden_set.card.version for item in found]
    version = next((text for text in versions if text), "")
    for place, text in enumerate(versions):
        if version and not text:
            notes[place].append(f"the version of the task is not known (the other side has {version})")
    cases = _cases(name, files, found)
    for place, item in enumerate(found):
        own = {case.id for case in item.task.golden_set.cases}
        absent = [case.id for case in cases if case.id not in own]
        if absent:
            one = len(absent) == 1
            count = "1 case is" if one else f"{len(absent):,} cases are"
            verb = "counts" if one else "count"
            notes[place].append(f"{count} on the other side only, and {verb} as missing: {listed(absent)}")
    comparable: dict[str, Any] = {}
    for item in reversed(found):
        comparable |= item.comparable
    golden_set = GoldenSet(
        card=Card(name=set_name, version=version, task=name),
        cases=cases,
        digest=digest([version, comparable, digest_of_cases(cases)]),
    )
    return Task(golden_set=golden_set, metrics=_metrics(name, found)), notes


def _refuse_other_task(name: str, files: Sequence[str], found: Sequence[TaskResults]) -> None:
    one, other = (item.task.golden_set.card.version for item in found)
    differs = [f"version: {one} and {other}"] if one and other and one != other else []
    first, second = (dict(item.comparable) for item in found)
    metrics = [data.pop("metrics", {}) for data in (first, second)]
    differs += _differences(first, second, "")
    differs += _differences(metrics[0], metrics[1], "metric ")
    if differs:
        raise InvalidComparisonError(
            f"the task {name!r} is not the same in {files[0]} (baseline) and {files[1]} (candidate): "
            f"{'; '.join(differs)}"
        )


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> list[str]:
    """What both sides say, and say differently."""
    return [
        f"{what}{key}: {_clip(canonical_json(one[key]))} and {_clip(canonical_json(other[key]))}"
        for key in one
        if key in other and canonical_json(one[key]) != canonical_json(other[key])
    ]


def _cases(name: str, files: Sequence[str], found: Sequence[TaskResults]) -> tuple[Case, ...]:
    """The cases of all sides by id, in the first one's order.

    Raises:
        InvalidComparisonError: one id asks two questions.
    """
    cases: dict[str, Case] = {}
    changed = []
    for item in found:
        for case in item.task.golden_set.cases:
            known = cases.setdefault(case.id, case)
            if _is_bare(known):  # planned and never answered: what it asked is known to the other side alone
                cases[case.id] = case
            elif known is not case and not _is_bare(case) and _question(known) != _question(case):
                changed.append(case.id)
    if changed:
        count = "1 case asks" if len(changed) == 1 else f"{len(changed):,} cases ask"
        raise InvalidComparisonError(
            f"the task {name!r}: {count} something else in {files[1]} (candidate) than in {files[0]} "
            f"(baseline) under one id: {listed(changed)}; run both on the same data"
        )
    return tuple(cases.values())


def _is_bare(case: Case) -> bool:
    return not case.input and not case.messages and not case.targets


def _question(case: Case) -> dict[str, Any]:
    """What makes a case the same on two sides. Tags are how a tool sorts cases, and may differ."""
    row = case_to_row(case)
    return {key: row[key] for key in ("input", "messages", "target", "choices", "contexts") if key in row}


def _metrics(name: str, found: Sequence[TaskResults]) -> tuple[TaskMetric, ...]:
    """The metrics of all sides, each read in the way that fits the values of all.

    A side whose values happen to be 0 and 1 does not make another metric of them. The first side's come first; one
    that only another has does not gate.
    """
    by_id: dict[str, list[TaskMetric]] = {}
    for item in found:
        for metric in item.task.metrics:
            by_id.setdefault(metric.scorer.id, []).append(metric)
    first = {metric.scorer.id for metric in found[0].task.metrics}
    metrics = []
    for metric_id, twins in by_id.items():
        joint = _joint(name, metric_id, twins)
        if metric_id not in first:
            joint = replace(joint, advisory="the baseline does not have it")
        metrics.append(joint)
    return tuple(metrics)


def _joint(name: str, metric_id: str, twins: Sequence[TaskMetric]) -> TaskMetric:
    """One metric as it is read on both sides.

    Raises:
        InvalidComparisonError: one side has log-likelihoods under its name, the other values.
    """
    scorers = {metric.scorer.name for metric in twins}
    if len(scorers) > 1:
        raise InvalidComparisonError(
            f"the task {name!r}: {metric_id} is recorded as log-likelihoods on one side and as values on the other"
        )
    one = twins[0]
    if one.scorer.name != "recorded" or all(twin == one for twin in twins):
        return one
    params = [dict(twin.scorer.params) for twin in twins]
    kind = max((p.get("kind", "bounded") for p in params), key=_WIDTH.index)
    # "lower" is only ever said by who knows; "higher" is what is taken where nobody does
    lower = any(p.get("direction") == "lower" for p in params)
    widest = next(twin for twin, p in zip(twins, params, strict=True) if p.get("kind", "bounded") == kind)
    merged = {**widest.scorer.params, "direction": "lower" if lower else "higher"}
    advisory = one.advisory or (widest.advisory if kind == "unbounded" else "")
    return TaskMetric(scorer=ScorerSpec(name="recorded", id=metric_id, params=merged), advisory=advisory)


def listed(names: Sequence[str]) -> str:
    """The first of many names."""
    shown = ", ".join(_clip(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def _clip(text: str, most: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
