"""Judgments as a metric: both runs get a score for `<eval>/judge`, and the suite a metric of that name.

Pairwise, a case's value is the preference for the candidate and the baseline's is ½ by definition, so the metric is
the win rate held against 50%. Pointwise, each side has its own. From there a judge's metric goes the way of every
other: repeats, clusters, slices, looks, Holm, waivers. A judge that has not earned it makes an advisory metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from evalharness.analysis.looks import JUDGED
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.judges import Judge, JudgedEval, Judgment, Role
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run, count_coverage
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.core.suites import JUDGE_METRIC, ScorerSpec, Suite

_FEW_PAIRS: Final = 10


@dataclass(frozen=True, slots=True)
class JudgeMetric:
    """How the values of a judge are read, in the place of a scorer. It scores nothing: a judge is a model."""

    metric: Metric
    name: ClassVar[str] = JUDGE_METRIC
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    def score(self, case: Case, response: Response) -> Score:
        """Never asked for a score: the runs hold the judge's."""
        return Unscored("a judge's scores come with the comparison")


def judge_metric(judge: Judge) -> Metric:
    """Direction, unit and kind of what a judge says."""
    if judge.mode == "pairwise":
        return Metric(direction="higher", unit="fraction", kind="preference")
    single = judge.mode == "pointwise" and len(judge.criteria) == 1 and not judge.panel
    return Metric(direction="higher", unit="fraction", kind="binary" if single else "bounded")


def with_judges(suite: Suite, scorers: Mapping[str, Scorer]) -> tuple[Suite, dict[str, Scorer]]:
    """The suite and its scorers with a metric for each judge, last in its eval."""
    found = dict(scorers)
    evals = []
    for item in suite.evals:
        if item.judge is not None:
            found[f"{item.id}/{JUDGE_METRIC}"] = JudgeMetric(judge_metric(item.judge))
            item = replace(item, scorers=(*item.scorers, ScorerSpec(name=JUDGE_METRIC, id=JUDGE_METRIC)))
        evals.append(item)
    return replace(suite, evals=tuple(evals)), found


def by_standing(suite: Suite, judged: Sequence[JudgedEval]) -> Suite:
    """The suite with the metrics of judges that may not gate made advisory, and their slices with them."""
    rules = dict(suite.gate.metrics)
    barred = {f"{one.eval}/{JUDGE_METRIC}": one for one in judged if not one.standing.may_gate}
    for metric_id, one in barred.items():
        rule = suite.gate.rule(metric_id)
        if not rule.advisory:
            rules[metric_id] = replace(rule, advisory=True, why=_why(one))
    slices = tuple(rule for rule in suite.gate.slices if rule.metric not in barred)
    return replace(suite, gate=replace(suite.gate, metrics=rules, slices=slices))


def standing_warnings(suite: Suite, judged: Sequence[JudgedEval]) -> tuple[str, ...]:
    """What is said first of judges that may not gate, where the suite would let them."""
    sliced = {rule.metric for rule in suite.gate.slices}
    return tuple(
        f"{metric_id} is advisory: {_why(one)}"
        for one in judged
        if not one.standing.may_gate
        and (not suite.gate.rule(metric_id := f"{one.eval}/{JUDGE_METRIC}").advisory or metric_id in sliced)
    )


def flip_warnings(judged: Sequence[JudgedEval]) -> tuple[str, ...]:
    """Judges whose verdicts on these answers are made by the order more often than by the answers.

    A warning and no more: where both answers are as good, a judge that must choose does so by the place.
    """
    found = []
    for one in judged:
        pairs = [j for j in one.judgments if j.role == "pair" and j.value is not None and len(j.votes) > 1]
        flips = sum(j.flipped for j in pairs)
        if len(pairs) >= _FEW_PAIRS and 2 * flips > len(pairs):
            found.append(
                f"{one.eval}/{JUDGE_METRIC}: the order of the answers made the verdict on {flips:,} of {len(pairs):,} "
                f"pairs, which count as ties; of these the judge {one.judge.name} says nothing"
            )
    return tuple(found)


def flag_warnings(judged: Sequence[JudgedEval], share: float) -> tuple[str, ...]:
    """Flags that more than a `share` of the candidate's judged answers carry, and more of them than the baseline's.

    `judged` with health. A flag is no verdict; a win that rests on such answers is for people to look at.
    """
    found = []
    for one in judged:
        if one.health is None:
            continue
        for flag in one.health.flags:
            if flag.candidate > max(flag.baseline, share * one.health.n):
                found.append(
                    f"{one.eval}/{JUDGE_METRIC}: {flag.candidate:,} of the candidate's answers are flagged "
                    f"({flag.flag}), and {flag.baseline:,} of the baseline's; read some before you trust what the "
                    "judge says"
                )
    return tuple(found)


def _why(one: JudgedEval) -> str:
    return "; ".join(one.standing.reasons)


def with_judgments(run: Run, judged: Sequence[JudgedEval], sets: Mapping[str, str], *, role: Role) -> Run:
    """The run with the judges' scores. `sets` maps eval id to golden set; `role` is "baseline" or "candidate"."""
    scores = dict(run.scores)
    metrics = dict(run.manifest["metrics"])
    for one in judged:
        metric_id = f"{one.eval}/{JUDGE_METRIC}"
        metrics[metric_id] = sets[one.eval]
        if one.judge.mode == "pairwise" and role == "baseline":
            group = run.attempts[sets[one.eval]]
            scores[metric_id] = {k: Scored(0.5) for k, a in group.items() if isinstance(a.outcome, Response)}
        else:
            scores[metric_id] = {
                (j.case_id, j.repeat): _score(j) for j in one.judgments if j.role in ("pair", role)
            }
    coverage = count_coverage(run.attempts, scores, metrics).row()
    added = {
        "metrics": metrics,
        "coverage": coverage,
        JUDGED: [f"{one.eval}/{JUDGE_METRIC}" for one in judged],
    }
    return replace(run, scores=scores, manifest={**run.manifest, **added})


def _score(judgment: Judgment) -> Score:
    if judgment.value is None:
        return Unscored(judgment.problem or "the judge gave no verdict")
    return Scored(judgment.value)
