"""What judges said of one case, display-ready: each reply with its order, its reasons and what was wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from evalharness.core.judges import JudgedEval, Judgment, Vote
from evalharness.report import numbers
from evalharness.report.judges import metric_of, percent
from evalharness.report.text import one_line, strip_control

_NAME: Final = 120
_RATIONALE: Final = 1500
_RAW: Final = 600
_JUDGMENTS: Final = 4
_VOTES: Final = 8
_MARKS: Final = 20
_EXACT: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteView:
    """One reply on a case. `head` says what was shown how, `said` what it decided; a reply cut here says so."""

    head: str
    said: str
    rationale: str
    rationale_more: int
    marks: tuple[tuple[str, str], ...]
    raw: str
    raw_more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseVerdict:
    """What a judge said of one case, or of one side's answer to it. `more` votes are not shown."""

    metric: str
    said: str
    flags: tuple[str, ...]
    votes: tuple[VoteView, ...]
    more: int


Verdicts: TypeAlias = "Mapping[tuple[str, str], Sequence[tuple[JudgedEval, Judgment]]]"
"""(golden set, case id) → what was said."""


def by_case(judged: Iterable[JudgedEval]) -> Verdicts:
    """Judgments by the case they are on."""
    found: dict[tuple[str, str], list[tuple[JudgedEval, Judgment]]] = {}
    for one in judged:
        for judgment in one.judgments:
            found.setdefault((judgment.golden_set, judgment.case_id), []).append((one, judgment))
    return found


def case_verdicts(
    found: Sequence[tuple[JudgedEval, Judgment]], room: int = _RATIONALE
) -> tuple[CaseVerdict, ...]:
    """What judges said of one case: at most four judgments of each judge, eight votes, `room` characters each."""
    shown: dict[str, int] = {}
    views = []
    for one, judgment in found:
        shown[one.eval] = shown.get(one.eval, 0) + 1
        if shown[one.eval] <= _JUDGMENTS:
            views.append(_verdict(one, judgment, room))
    return tuple(views)


def _verdict(one: JudgedEval, judgment: Judgment, room: int) -> CaseVerdict:
    return CaseVerdict(
        metric=one_line(metric_of(one), _NAME),
        said=_said(one, judgment),
        flags=tuple(one_line(flag, _NAME) for flag in judgment.flags),
        votes=tuple(_vote(one, vote, room) for vote in judgment.votes[:_VOTES]),
        more=max(0, len(judgment.votes) - _VOTES),
    )


def _said(one: JudgedEval, judgment: Judgment) -> str:
    who = "" if judgment.role == "pair" else f"{judgment.role}: "
    again = f" (answer {judgment.repeat + 1})" if judgment.repeat else ""
    if judgment.source == "identical":
        said = "both answers are the same: a tie without a call"
    elif judgment.value is None:
        said = f"no verdict: {one_line(judgment.problem or 'no reason is known', 400)}"
    elif judgment.flipped:
        said = "the verdict depends on the order, so it counts as a tie"
    elif one.judge.mode == "pairwise":
        said = _weighed(judgment.value)
    else:
        noun = "criteria met" if one.judge.mode == "pointwise" else "claims supported"
        said = f"{percent(judgment.value)} of the {noun}"
    return f"{who}{said}{again}"


def preference(value: float) -> str:
    """A preference for the candidate in words: "prefers the candidate", "a tie", "leans to the baseline"."""
    if abs(value - 0.5) <= _EXACT:
        return "a tie"
    side = "candidate" if value > 0.5 else "baseline"
    if value in (0.0, 1.0):
        return f"prefers the {side}"
    return f"leans to the {side}"


def _weighed(value: float) -> str:
    """The same with the value where words leave it open: "leans to the baseline (0.25 of 1 for the candidate)"."""
    said = preference(value)
    exact = f" ({numbers.case_value(value, 'fraction')} of 1 for the candidate)"
    return said + (exact if said.startswith("leans") else "")


_SHOWN_AS: Final = {"AB": "Baseline's answer first (A)", "BA": "Candidate's answer first (A)"}


def _vote(one: JudgedEval, vote: Vote, room: int) -> VoteView:
    heads = [] if vote.order is None else [_SHOWN_AS[vote.order]]
    if len(one.judge.panel) > 1:
        heads.insert(0, one_line(vote.judge, _NAME))
    if vote.value is None:
        said = f"no verdict: {one_line(vote.problem or 'no reason is known', 400)}"
    elif one.judge.mode == "pairwise":
        said = _weighed(vote.value)
    else:
        said = percent(vote.value)
    raw = vote.raw if vote.value is None else ""
    return VoteView(
        head=", ".join(heads),
        said=said,
        rationale=strip_control(vote.rationale[:room]).strip(),
        rationale_more=max(0, len(vote.rationale) - room),
        marks=tuple(
            (
                one_line(name, 300),
                "yes" if mark == 1 else "no" if mark == 0 else numbers.case_value(mark, "fraction"),
            )
            for name, mark in list(vote.marks.items())[:_MARKS]
        ),
        raw=strip_control(raw[:_RAW]).strip(),
        raw_more=max(0, len(raw) - _RAW),
    )
