"""Advice on public benchmarks: a saturated or contaminated one should not be what decides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import yaml

from evalharness.core.suites import EvalSpec, Suite

_DATA: Final = Path(__file__).with_name("advice.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one benchmark. `tasks`: patterns of whole task names by runner."""

    name: str
    status: str
    tasks: Mapping[str, tuple[str, ...]]
    why: str
    successor: str

    def is_meant(self, runner: str, task: str) -> bool:
        """Whether a task of a runner is this benchmark, whatever package stands in front of its name."""
        name = task.rpartition("/")[2]
        return any(re.fullmatch(pattern, name) for pattern in self.tasks.get(runner, ()))


@lru_cache(maxsize=1)
def known() -> tuple[Known, ...]:
    """Every benchmark there is advice on."""
    rows = yaml.safe_load(_DATA.read_text(encoding="utf-8"))
    return tuple(
        Known(**{**row, "tasks": {runner: tuple(names) for runner, names in row["tasks"].items()}})
        for row in rows
    )


def advice(suite: Suite) -> tuple[str, ...]:
    """A sentence for each eval of a suite that decides by a benchmark which should not, naming its successor.

    An advisory or secondary metric of such a benchmark is a probe, and nothing is said of it.
    """
    said = []
    for item in suite.evals:
        if item.benchmark is None or not _decides(suite, item):
            continue
        for one in known():
            if one.is_meant(item.benchmark.runner, item.benchmark.task):
                said.append(
                    f"{item.id} decides by {one.name}, which is {one.status}: {one.why}; use {one.successor}, and keep "
                    f"{item.benchmark.task} as an advisory probe"
                )
    return tuple(said)


def _decides(suite: Suite, item: EvalSpec) -> bool:
    """Whether a metric of the eval is a primary one. Before its tool was asked, by what the gate names."""
    gate, own = suite.gate, f"{item.id}/"
    if gate.primary:
        return any(name.startswith(own) for name in gate.primary)
    if item.complete:
        return any(not gate.rule(f"{own}{spec.id}").advisory for spec in item.scorers)
    named = item.benchmark.metrics if item.benchmark is not None else ()
    if named:
        return any(not gate.rule(f"{own}{name}").advisory for name in named)
    return not any(name.startswith(own) and rule.advisory for name, rule in gate.metrics.items())
