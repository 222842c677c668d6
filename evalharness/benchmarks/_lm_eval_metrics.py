"""Metrics of lm-eval's tasks: which have a value for a case, and how one is read from what a task says of a case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from evalharness.benchmarks._lm_eval_calm import library
from evalharness.benchmarks._names import listed
from evalharness.core.benchmarks import TaskMetric
from evalharness.core.suites import ScorerSpec
from evalharness.errors import UsageError

How: TypeAlias = Literal["value", "weighted", "alone"]
"""What a task says of a case: its value; (log-likelihood, weight); parts of a metric of the whole set."""

_BINARY: Final = frozenset(("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"))
_FRACTIONS: Final = frozenset(("accuracy", "contains", "em", "exact", "f1", "anls", "numerical_match"))
_ENDINGS: Final = ("_acc", "_accuracy", "_em", "_f1", "_match")
_DEGENERATE: Final = frozenset(("f1_score", "matthews_corrcoef", "bypass_agg"))
"""Aggregations that say nothing of one case alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one metric is read. `id` is `metric`, or `metric,filter` for all filters but the first, as lm-eval writes it.

    `why` says why it does not gate by itself. `whole` is the task's own aggregation.
    """

    id: str
    metric: str
    filter: str
    how: How
    kind: str
    lower: bool
    why: str
    whole: Callable[[Sequence[Any]], Any]

    def names(self) -> tuple[str, ...]:
        """The recorded scores it reads into."""
        return (f"{self.id}:nll", f"{self.id}:weight") if self.how == "weighted" else (self.id,)

    def read(self, value: Any) -> dict[str, float]:
        """The recorded scores of a case.

        Raises:
            ValueError: there is none; says why.
        """
        if self.how == "weighted":
            if isinstance(value, tuple | list) and len(value) == 2:
                return {self.names()[0]: -_number(value[0]), self.names()[1]: _number(value[1])}
            return {self.names()[0]: -_number(value), self.names()[1]: 1.0}
        return {self.id: _number(self.whole([value]) if self.how == "alone" else value)}

    def task_metric(self, why: str) -> TaskMetric:
        """The scorer that reads the recorded scores."""
        if self.how == "weighted":
            nll, weight = self.names()
            return TaskMetric(
                scorer=ScorerSpec(name="perplexity", id=self.id, params={"nll": nll, "tokens": weight}),
                advisory=why,
            )
        params: dict[str, Any] = {"name": self.id, "kind": self.kind}
        if self.lower:
            params["direction"] = "lower"
        if self.kind == "unbounded":
            params["unit"] = "score"
        return TaskMetric(scorer=ScorerSpec(name="recorded", id=self.id, params=params), advisory=why)


def readings(task: Any, example: Mapping[str, Any]) -> tuple[list[Reading], list[str]]:
    """The metrics of one task in its order, and the names of those that have no value for a case.

    Args:
        task: lm-eval's task.
        example: what it says of one case answered with nothing, by metric; {} where that is not known.
    """
    lib = library("lm_eval.api.metrics")
    filters = [ensemble.name for ensemble in getattr(task, "_filters", ())] or ["none"]
    directions = task.higher_is_better()
    custom = (
        callable(getattr(task.config, "process_results", None)) or type(task).__name__ != "ConfigurableTask"
    )
    found: list[Reading] = []
    without: list[str] = []
    for metric, whole in task.aggregation().items():
        name = getattr(whole, "__name__", "")
        value = example.get(metric)
        higher = directions.get(metric)
        kind, why = _kind(metric, value, custom), ""
        how: How = "value"
        if whole in (lib.weighted_perplexity, lib.perplexity):
            how = "weighted"
        elif whole in (lib.mean, lib.nanmean):
            if kind == "unbounded":
                why = "lm-eval does not say between what its values lie"
        elif name in _DEGENERATE or not callable(whole):
            without.append(metric)
            continue
        elif whole is lib.bits_per_byte or name in ("bleu", "chrf", "chrfpp", "ter", "brier_score"):
            how, kind = "alone", "unbounded"
            why = f"lm-eval takes {metric} over the whole set; here it is the mean of each case's own"
        elif _is_number(value):
            why = f"lm-eval has a way of its own to sum {metric} up; here it is the mean over cases"
        else:
            without.append(metric)
            continue
        if higher is None:
            why = why or "lm-eval does not say whether higher is better"
        for place, filtered in enumerate(filters):
            found.append(
                Reading(
                    id=metric if place == 0 else f"{metric}.{filtered}",
                    metric=metric,
                    filter=filtered,
                    how=how,
                    kind=kind,
                    lower=higher is False,
                    why=why,
                    whole=whole,
                )
            )
    return found, without


def shared(by_task: Mapping[str, list[Reading]], shown: str) -> tuple[list[Reading], list[str]]:
    """The metrics every task of a group has, and the names of the others.

    Raises:
        UsageError: there is none.
    """
    first, *others = by_task.values()
    both: list[Reading] = []
    for reading in first:
        twins = [next((r for r in rows if r.id == reading.id), None) for rows in others]
        same = [t for t in twins if t is not None and (t.how, t.lower) == (reading.how, reading.lower)]
        if len(same) == len(others):
            kinds = {reading.kind, *(t.kind for t in same)}
            loosest = next(kind for kind in ("unbounded", "bounded", "binary") if kind in kinds)
            whys = [reading.why, *(t.why for t in same)]
            both.append(replace(reading, kind=loosest, why=next(filter(None, whys), "")))
    rest = {r.id for rows in by_task.values() for r in rows} - {r.id for r in both}
    if not both:
        named = "; ".join(
            f"{name} has {listed([r.id for r in rows]) or 'none'}" for name, rows in by_task.items()
        )
        many = "the tasks of it share none: " if len(by_task) > 1 else ""
        raise UsageError(f"lm-eval's {shown} has no metric with a value for each case ({many}{named[:400]})")
    return both, sorted(rest)


def task_metrics(rows: Sequence[Reading]) -> tuple[TaskMetric, ...]:
    """The headline first: the first metric that can gate by itself. The others say beside which one they stand."""
    head = next((r for r in rows if not r.why), None)
    order = [r for r in rows if r is head] + [r for r in rows if r is not head]
    beside = f"stands beside {head.id}, which comes first in lm-eval's task" if head is not None else ""
    return tuple(r.task_metric("" if r is head else r.why or beside) for r in order)


def _kind(metric: str, value: Any, custom: bool) -> str:
    if isinstance(value, bool) or (metric in _BINARY and not custom):
        return "binary"
    if metric in _BINARY | _FRACTIONS or metric.endswith(_ENDINGS) or metric.startswith("pass@"):
        return "bounded"
    return "unbounded"


def _is_number(value: Any) -> bool:
    try:
        return value is not None and not isinstance(value, str) and float(value) is not None
    except (TypeError, ValueError):
        return False


def _number(value: Any) -> float:
    if not _is_number(value):
        raise ValueError(f"lm-eval gave {type(value).__name__}, not a number")
    number = float(value)
    if math.isnan(number):
        raise ValueError("lm-eval gave NaN")
    if math.isinf(number):
        raise ValueError(f"lm-eval gave {number}")
    return number
