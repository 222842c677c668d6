"""Golden sets from Inspect's side: `inspect eval evalharness/suite -T suite=suites/support-desk.yaml -T eval=routing`.

Inspect finds this module by the entry point `inspect_ai: evalharness`. The task has the eval's cases as samples, the
prompt of a candidate file where one is named, and the eval's scorers but those of whole runs (macro-F1); its log opens
in `inspect view` and can be compared with another (`evalharness compare a.eval b.eval`). Imports Inspect.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Score as InspectScore
from inspect_ai.scorer import Scorer as InspectScorer
from inspect_ai.scorer import Target, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from evalharness.api import Settings, load_candidate, load_suite
from evalharness.core.attempts import Response
from evalharness.core.candidates import Prompt
from evalharness.core.cases import Case, GoldenSet
from evalharness.core.protocols import Scorer
from evalharness.core.scores import Unscored
from evalharness.core.suites import EvalSpec, Suite
from evalharness.engine.scoring import build_scorer
from evalharness.errors import UsageError
from evalharness.spec.prompts import render_messages

_BY_CASE = ("binary", "bounded", "unbounded")
"""Kinds whose metric is the mean of its cases; Inspect has no way to sum statistics over a run."""
_MESSAGES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


@task
def suite(suite: str, eval: str | None = None, candidate: str | None = None) -> Task:
    """One eval of a suite as an Inspect task.

    Args:
        suite: path of the suite file.
        eval: id of the eval; not needed where the suite has one.
        candidate: path of a candidate file whose prompt is sent; without one each case's input is.

    Raises:
        SpecError: a file is wrong. UsageError: there is no such eval, or another tool brings its cases.
    """
    use = Settings()
    loaded = load_suite(suite, use)
    item = _eval(loaded, eval)
    prompt = load_candidate(candidate, use).prompt if candidate is not None else Prompt()
    golden_set = item.golden_set
    cases = {case.id: case for case in golden_set.cases}
    return Task(
        dataset=MemoryDataset(
            [_sample(case, prompt, golden_set) for case in golden_set.cases], name=golden_set.name
        ),
        solver=generate(),
        scorer=[
            _as_inspect(spec.id, own, cases)
            for spec in item.scorers
            if (own := build_scorer(spec, use.registry)).metric.kind in _BY_CASE
        ],
        name=f"{loaded.name}_{item.id}",
        version=golden_set.card.version,
        metadata={"suite": Path(suite).name, "eval": item.id, "cases_digest": golden_set.digest},
    )


def _eval(loaded: Suite, wanted: str | None) -> EvalSpec:
    known = [item for item in loaded.evals if item.complete]
    found = [item for item in known if wanted in (None, item.id)]
    if len(found) != 1:
        names = ", ".join(item.id for item in known) or "none"
        what = f"no eval {wanted!r}" if wanted is not None else f"{len(found)} evals"
        raise UsageError(
            f"the suite {loaded.name} has {what} with a golden set; name one of: {names} (-T eval=NAME)"
        )
    return found[0]


def _sample(case: Case, prompt: Prompt, golden_set: GoldenSet) -> Sample:
    messages = render_messages(prompt, case, golden_set.card.task)
    return Sample(
        id=case.id,
        input=[_MESSAGES[m.role](content=m.content) for m in messages],
        target=[str(target) for target in case.targets] or "",
        choices=list(case.choices) or None,
        metadata=dict(case.tags),
    )


def _as_inspect(name: str, own: Scorer, cases: dict[str, Case]) -> InspectScorer:
    """A scorer of ours as one of Inspect's; what it cannot read is left without a score, with the reason."""

    def make() -> InspectScorer:
        async def score(state: TaskState, target: Target) -> InspectScore:
            text = state.output.completion
            found = own.score(cases[str(state.sample_id)], Response(text=text))
            if isinstance(found, Unscored):
                return InspectScore.unscored(explanation=found.reason)
            return InspectScore(value=found.value, answer=text, explanation=_told(found.detail))

        return score

    return scorer(metrics=[mean(), stderr()], name=name)(make)()


def _told(detail: Any) -> str | None:
    return "; ".join(f"{key}: {value}" for key, value in detail.items()) or None
