"""What is missing, in words: why a metric decides on too little, and labels that nobody could read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from evalharness.core.attempts import Failure, Response
from evalharness.core.cases import Case
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.scores import Unscored
from evalharness.core.suites import EvalSpec
from evalharness.redaction import is_marks

_LONGEST_WHY: Final = 160
_MORE_EMPTY: Final = 0.02
"""A share of empty answers that grows by this much is said."""
_BLOTTED: Final = 0.02
"""A share of answers that redaction leaves nothing of which is said."""
_FAILED: Final[Mapping[str, str]] = {"absent": "no recorded answer", "recorded": "recorded as failed"}


def missing_problem(
    item: EvalSpec,
    metric_id: str,
    runs: tuple[Run, Run],
    cases: Sequence[Case],
    missed: tuple[int, int],
    most: float,
) -> str | None:
    """Why a metric, or a gating slice of it, decides on too little; None when it does not.

    Args:
        item: the eval the metric belongs to.
        metric_id: its id.
        runs: baseline and candidate.
        cases: what was planned.
        missed: answers without a score on both sides.
        most: the share of a side's answers that may be missing, in [0, 1]. A side without any score is a problem
            whatever the share, and so is a baseline without any answer, also for metrics that score failures.
    """
    for role, missing, run in zip(("baseline", "candidate"), missed, runs, strict=True):
        planned = len(cases) * run.repeats
        if missing == planned and planned:
            return (
                f"none of the {planned} {role} answers has a score ({_why(item, metric_id, run, cases)}), so there is "
                "nothing to compare"
            )
        if role == "baseline" and planned and not _answers(item, run, cases):
            return f"none of the {planned} baseline answers is there, so there is nothing to compare with"
        if missing > most * planned + 1e-6:  # 29% of 100 is 28.999999999999996 in binary floats
            return (
                f"{missing:,} of {planned:,} {role} answers failed or could not be scored "
                f"({_why(item, metric_id, run, cases)}); at most {100 * most:.4g}% of them may (gate.max_failures)"
            )
    return None


def _answers(item: EvalSpec, run: Run, cases: Sequence[Case]) -> bool:
    """Whether a run has any answer to these cases. An endpoint that declines answers, too."""
    attempts = run.attempts[item.golden_set.name]
    made = (attempts.get((case.id, repeat)) for case in cases for repeat in range(run.repeats))
    outcomes = (attempt.outcome for attempt in made if attempt is not None)
    return any(not isinstance(outcome, Failure) or outcome.kind == "filtered" for outcome in outcomes)


def dropped_problem(
    item: EvalSpec, metric_id: str, candidate: Run, cases: Sequence[Case], dropped: int
) -> str:
    """Why a metric that has no worst value cannot gate where `dropped` cases have no candidate value."""
    count = "1 case has" if dropped == 1 else f"{dropped} cases have"
    return (
        f"{count} no candidate value ({_why(item, metric_id, candidate, cases)}) and this metric has no worst value to "
        "count; make it advisory or get every answer"
    )


def empty_answers(baseline: Run, candidate: Run) -> str | None:
    """That the candidate says nothing far more often than the baseline; None where it does not.

    An empty answer holds no refusal and no personal data: metrics of what must not happen get better by it.
    """
    (left, of_left), (right, of_right) = _empty(baseline), _empty(candidate)
    if not of_left or not of_right or right / of_right - left / of_left < _MORE_EMPTY:
        return None
    return (
        f"{right:,} of {of_right:,} candidate answers are empty, and {left:,} of {of_left:,} of the baseline's: "
        "metrics of what an answer must not hold cannot see that; the scorer `empty` does"
    )


def blotted_answers(baseline: Run, candidate: Run) -> str | None:
    """That of a share of either side's answers redaction left nothing; None where it did not.

    Whatever they said, they are alike to every scorer and judge.
    """
    found = [[is_marks(text) for text in _texts(run)] for run in (baseline, candidate)]
    if not any(marks and sum(marks) / len(marks) >= _BLOTTED for marks in found):
        return None
    (left, of_left), (right, of_right) = ((sum(marks), len(marks)) for marks in found)
    return (
        f"`redact` leaves nothing of {left:,} of {of_left:,} baseline answers and {right:,} of {of_right:,} candidate "
        "answers: no scorer or judge can tell these apart, whatever they said; narrow its patterns"
    )


def _texts(run: Run) -> list[str]:
    attempts = (attempt for group in run.attempts.values() for attempt in group.values())
    return [attempt.outcome.text for attempt in attempts if isinstance(attempt.outcome, Response)]


def _empty(run: Run) -> tuple[int, int]:
    """Answers that hold nothing, and all of them. Rankings and recorded scores are something."""
    found = [
        attempt.outcome
        for group in run.attempts.values()
        for attempt in group.values()
        if isinstance(attempt.outcome, Response)
    ]
    return sum(not (r.text.strip() or r.ranking or r.scores) for r in found), len(found)


def unreadable_labels(
    metric_id: str, scorer: Scorer, runs: tuple[Run, Run], cases: Sequence[Case]
) -> str | None:
    """Why labels cannot be used although they are there; None where every one of them can be read.

    Leaving out a label because of its value makes the others no random draw. A label that is not there is none: its
    reason is the one the scorer gives of an answer without anything.
    """
    found: Counter[str] = Counter()
    for run in runs:
        scores = run.scores[metric_id]
        for case in cases:
            for repeat in range(run.repeats):
                score = scores.get((case.id, repeat))
                if isinstance(score, Unscored) and score.reason != _absent(scorer, case):
                    found[score.reason] += 1
    if not found:
        return None
    count = f"{found.total()} labels" if found.total() > 1 else "1 label"
    return (
        f"{count} of {metric_id} cannot be read ({_most_often(found)}), and leaving them out would make the others no "
        "random draw; mend the recorded labels or the scorer's bounds"
    )


def _absent(scorer: Scorer, case: Case) -> str | None:
    try:
        score = scorer.score(case, Response(text=""))
    except Exception:  # noqa: BLE001 - a plugin may raise anything; then every Unscored counts as unreadable
        return None
    return score.reason if isinstance(score, Unscored) else None


def _why(item: EvalSpec, metric_id: str, run: Run, cases: Sequence[Case]) -> str:
    """The commonest reason for a missing score; of a failure its kind, which does not differ from call to call."""
    attempts, scores = run.attempts[item.golden_set.name], run.scores[metric_id]
    found: Counter[str] = Counter()
    for case in cases:
        for repeat in range(run.repeats):
            key = (case.id, repeat)
            attempt, score = attempts.get(key), scores.get(key)
            if attempt is None:
                found[_FAILED["absent"]] += 1
            elif isinstance(attempt.outcome, Failure):
                kind = attempt.outcome.kind
                found[_FAILED.get(kind, f"failed: {kind.replace('_', ' ')}")] += 1
            elif isinstance(score, Unscored):
                found[score.reason] += 1
    return _most_often(found)


def _most_often(found: Counter[str]) -> str:
    reason = min(found, key=lambda text: (-found[text], text))
    text = " ".join(reason.split())
    text = text if len(text) <= _LONGEST_WHY else text[: _LONGEST_WHY - 1] + "…"
    return text if len(found) == 1 else f"most often: {text}"
