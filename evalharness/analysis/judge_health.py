"""What a judge's verdicts in one comparison say of the judge: position, length, criteria, members, flags.

Nothing here decides. A judge gates by its standing (`judging.standing`), which rests on people's labels; these figures
come from the verdicts alone, on the very answers that were compared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from evalharness.analysis.families import families_of
from evalharness.core.attempts import Response
from evalharness.core.comparisons import Comparison, Side
from evalharness.core.judges import (
    CriterionShares,
    Families,
    Figure,
    FlagCount,
    Flips,
    Health,
    Judge,
    JudgedEval,
    Judgment,
    Measured,
    NotMeasured,
    SideName,
    Vote,
)
from evalharness.core.runs import Run
from evalharness.core.suites import Suite
from evalharness.judging.detect import SHARED, flags_of, shared_texts
from evalharness.stats.agreement import Undefined, krippendorff_alpha
from evalharness.stats.judging import NotEstimated, position, share, verdicts_of
from evalharness.stats.length import length_controlled_win_rate, length_correlation
from evalharness.stats.ratings import Ratings

EXAMPLES: Final = 5
"""Cases named for each flag."""
_ONE_ANSWER: Final = NotMeasured("the judge sees one answer at a time")
_MARKS: Final = re.compile(r"^ {0,3}(?:#{1,6} |[-*+] |\d{1,3}[.)] |\||```)|\*\*(?=\S)", re.MULTILINE)
_WORDS: Final = {1: "candidate", 0: "tie", -1: "baseline"}

_SIDES: Final[tuple[SideName, SideName]] = ("baseline", "candidate")


@dataclass(frozen=True, slots=True)
class _Judged:
    """A judgment with the texts it is on; None where the judgment is not of that side."""

    judgment: Judgment
    baseline: str | None
    candidate: str | None

    @property
    def case(self) -> str:
        return self.judgment.case_id


def with_health(
    judged: Sequence[JudgedEval], comparison: Comparison, suite: Suite, baseline: Run, candidate: Run
) -> tuple[JudgedEval, ...]:
    """What judges said, each with its health. The comparison tells of both sides' models, and its seed resamples."""
    cases = {item.id: {c.id: c.question for c in item.golden_set.cases} for item in suite.evals}
    return tuple(
        replace(one, health=_health(one, cases[one.eval], comparison, baseline, candidate)) for one in judged
    )


def _health(
    one: JudgedEval, questions: Mapping[str, str], comparison: Comparison, baseline: Run, candidate: Run
) -> Health:
    judge, judgments = one.judge, one.judgments
    texts = [_with_texts(j, baseline, candidate) for j in judgments]
    votes = [vote for j in judgments for vote in j.votes]
    sources = Counter(j.source for j in judgments)
    problems = Counter(j.problem or "no verdict" for j in judgments if j.value is None)
    # The commonest, and of equally common ones the first by name: the order of the votes decides nothing.
    problem, times = min(problems.items(), key=lambda item: (-item[1], item[0]), default=(None, 0))
    pairs = judge.mode == "pairwise"
    spoken = [j.value for j in judgments if j.value is not None and j.source != "identical"]
    outcome = Counter(verdicts_of(np.array(spoken)).tolist()) if pairs and spoken else Counter()
    win_rate, controlled = _win_rates(texts) if pairs else (_ONE_ANSWER, _ONE_ANSWER)
    return Health(
        n=len(judgments),
        judged=sources["judged"],
        identical=sources["identical"],
        recorded=sources["recorded"],
        unjudged=sources["unjudged"],
        without_value=sum(problems.values()),
        problem=problem,
        problem_count=times,
        votes=len(votes),
        unreadable=sum(vote.value is None for vote in votes),
        won=outcome[1.0],
        tied=outcome[0.0],
        lost=outcome[-1.0],
        flips=_flips(judgments) if pairs else _ONE_ANSWER,
        length_correlation=_correlation(texts, pairs, len),
        style_correlation=_correlation(texts, pairs, formatting),
        win_rate=win_rate,
        length_controlled=controlled,
        criteria=tuple(_criteria(judge, judgments)) if judge.mode == "pointwise" else (),
        panel_agreement=_panel(judge, judgments, comparison.seed),
        families=_families(one, comparison.baseline, comparison.candidate),
        flags=tuple(_flags(texts, questions)),
    )


def _with_texts(judgment: Judgment, baseline: Run, candidate: Run) -> _Judged:
    left, right = None, None
    if judgment.role in ("pair", "candidate"):
        right = _text(candidate, judgment, judgment.repeat)
    if judgment.role == "baseline":
        left = _text(baseline, judgment, judgment.repeat)
    elif judgment.role == "pair":
        # As pairs are made: the candidate's repeats meet those of the baseline in turn.
        known = [t for r in range(baseline.repeats) if (t := _text(baseline, judgment, r)) is not None]
        left = known[judgment.repeat % len(known)] if known else None
    return _Judged(judgment, left, right)


def _text(run: Run, judgment: Judgment, repeat: int) -> str | None:
    attempt = run.attempts.get(judgment.golden_set, {}).get((judgment.case_id, repeat))
    return attempt.outcome.text if attempt is not None and isinstance(attempt.outcome, Response) else None


# --- position ---------------------------------------------------------------------------------------------------------


def _flips(judgments: Iterable[Judgment]) -> Flips | NotMeasured:
    first, second, cases = [], [], []
    for judgment in judgments:
        by_member: dict[str, dict[str | None, float]] = {}
        for vote in judgment.votes:
            if vote.value is not None:
                by_member.setdefault(vote.judge, {})[vote.order] = vote.value
        for orders in by_member.values():
            if "AB" in orders and "BA" in orders:
                first.append(orders["AB"])
                second.append(orders["BA"])
                cases.append(judgment.case_id)
    found = position(np.array(first), np.array(second), cases=cases)
    if isinstance(found, NotEstimated):
        return NotMeasured(found.reason)
    return Flips(
        n_pairs=found.n_pairs,
        n_flipped=found.n_flipped,
        n_first=found.n_first,
        n_second=found.n_second,
        rate=found.flip_rate,
        first_slot=found.flips_to_first,
        p_value=found.p_value,
    )


# --- length and style -------------------------------------------------------------------------------------------------


def _win_rates(texts: Iterable[_Judged]) -> tuple[Figure, Figure]:
    """As it is, and at equal length. Equal answers are ties in both, as they are in the metric."""
    known = [
        (t.judgment.value, len(t.candidate) - len(t.baseline), t.case)
        for t in texts
        if t.judgment.value is not None and t.baseline is not None and t.candidate is not None
    ]
    if not known:
        nothing = NotMeasured("no pair has a verdict")
        return nothing, nothing
    values, differences, cases = zip(*known, strict=True)
    preferences = np.array(values)
    found = length_controlled_win_rate(preferences, np.array(differences, np.float64), cases=cases)
    if isinstance(found, NotEstimated):
        controlled: Figure = NotMeasured(found.reason)
    else:
        controlled = Measured(value=found.value, low=found.low, high=found.high, n=found.n_cases)
    return share(preferences, cases=cases), controlled


def formatting(text: str) -> float:
    """Markdown marks a thousand characters: headings, list items, table rows, code fences, bold marks."""
    return 1000 * len(_MARKS.findall(text)) / len(text) if text else 0.0


def _correlation(texts: Iterable[_Judged], pairs: bool, size: Callable[[str], float]) -> Figure:
    """Of the preference with how much more of `size` the candidate's answer has, over cases.

    What a judge of single answers says of both sides makes a preference of (1 + difference)/2.
    """
    by_case: dict[str, tuple[list[float], list[float]]] = {}
    sides: dict[str, dict[SideName, list[tuple[float, float]]]] = {}
    for t in texts:
        if t.judgment.value is None or t.judgment.source == "identical":
            continue
        if t.baseline is not None and t.candidate is not None:
            preferences, more = by_case.setdefault(t.case, ([], []))
            preferences.append(t.judgment.value)
            more.append(size(t.candidate) - size(t.baseline))
        for name, text in zip(_SIDES, (t.baseline, t.candidate), strict=True):
            if text is not None and not pairs:
                sides.setdefault(t.case, {}).setdefault(name, []).append((t.judgment.value, size(text)))
    for case, both in sides.items():
        if len(both) == 2:
            (v0, n0), (v1, n1) = (np.mean(both[name], axis=0) for name in _SIDES)
            by_case[case] = ([(1 + v1 - v0) / 2], [n1 - n0])
    differences = np.array([np.mean(d) for _, d in by_case.values()])
    found = length_correlation(
        np.clip(np.array([np.mean(p) for p, _ in by_case.values()]), 0.0, 1.0), differences
    )
    if not isinstance(found, NotEstimated):
        return found
    alike = found.kind == "constant" and size is formatting and not differences.any()
    return NotMeasured("both answers are formatted alike in every case" if alike else found.reason)


# --- criteria and members ---------------------------------------------------------------------------------------------


def _criteria(judge: Judge, judgments: Sequence[Judgment]) -> Iterator[CriterionShares]:
    for criterion in judge.criteria:
        shares: dict[str, Figure] = {}
        for side in _SIDES:
            marks = [
                (vote.marks[criterion.id], j.case_id)
                for j in judgments
                if j.role == side
                for vote in j.votes
                if criterion.id in vote.marks
            ]
            shares[side] = NotMeasured("no verdict on it")
            if marks:
                values, cases = zip(*marks, strict=True)
                shares[side] = share(np.array(values), cases=cases)
        yield CriterionShares(id=criterion.id, baseline=shares["baseline"], candidate=shares["candidate"])


def _panel(judge: Judge, judgments: Iterable[Judgment], seed: int) -> Figure:
    """Verdicts and criteria are labels; shares of supported claims are numbers whose differences count."""
    if len(judge.panel) < 2:
        return NotMeasured("the judge is no panel")
    rows: list[tuple[str, str, str | float]] = []
    items: dict[tuple[str, ...], str] = {}
    cases: dict[str, str] = {}
    for judgment in judgments:
        for vote in judgment.votes:
            for part, value in _rated(judge, vote):
                place = (judgment.case_id, str(judgment.repeat), judgment.role, part)
                item = items.setdefault(place, f"{len(items):09}")
                cases[item] = judgment.case_id
                rows.append((item, vote.judge, value))
    if len({rater for _, rater, _ in rows}) < 2:
        return NotMeasured("fewer than two members gave verdicts that can be read")
    ratings = Ratings.of(rows, scale="interval" if judge.mode == "claims" else "nominal")
    found = krippendorff_alpha(
        ratings, rng=np.random.default_rng(seed), clusters=[cases[item] for item in ratings.items]
    )
    if isinstance(found, Undefined):
        return NotMeasured(found.reason)
    return Measured(value=found.value, low=found.low, high=found.high, n=found.n_items)


def _rated(judge: Judge, vote: Vote) -> Iterator[tuple[str, str | float]]:
    if vote.value is None:
        return
    if judge.mode == "pairwise":
        yield vote.order or "", _WORDS[int(verdicts_of(np.array([vote.value]))[0])]
    elif judge.mode == "claims":
        yield "", vote.value
    else:
        for name, mark in vote.marks.items():
            yield name, "met" if mark > 0.5 else "not met"


# --- families and flags -----------------------------------------------------------------------------------------------


def _families(one: JudgedEval, baseline: Side, candidate: Side) -> Families:
    asked = [member.model for member in (one.judge, *one.judge.panel) if member.model]
    judge = families_of([*one.models, *asked])
    sides = {
        name: families_of([*side.models, *([side.model] if side.model else [])])
        for name, side in zip(_SIDES, (baseline, candidate), strict=True)
    }
    return Families(
        judge=judge,
        baseline=sides["baseline"],
        candidate=sides["candidate"],
        own=tuple(name for name in _SIDES if not set(judge).isdisjoint(sides[name])),
    )


def _flags(texts: Sequence[_Judged], questions: Mapping[str, str]) -> Iterator[FlagCount]:
    """Judgments carry the flags of both answers together; the texts tell which side they are of."""
    counts: dict[str, Counter[str]] = {}
    examples: dict[str, dict[str, None]] = {}
    shared: dict[str, frozenset[int]] = {}
    if any(SHARED in t.judgment.flags for t in texts):
        for name in _SIDES:
            said = {i: text for i, t in enumerate(texts) if (text := getattr(t, name)) is not None}
            shared[name] = shared_texts({i: (questions[texts[i].case], text) for i, text in said.items()})
    for i, t in enumerate(texts):
        if not t.judgment.flags:
            continue
        for name, text in zip(_SIDES, (t.baseline, t.candidate), strict=True):
            found = (
                [] if text is None else [*flags_of(text), *([SHARED] if i in shared.get(name, ()) else [])]
            )
            for flag in found:
                counts.setdefault(flag, Counter())[name] += 1
                examples.setdefault(flag, {})[t.case] = None
    for flag, sides in sorted(counts.items(), key=lambda item: (-item[1].total(), item[0])):
        yield FlagCount(
            flag=flag,
            baseline=sides["baseline"],
            candidate=sides["candidate"],
            examples=tuple(list(examples[flag])[:EXAMPLES]),
        )
