"""Votes into a judgment: both orders of a pair, several judges, and what is said where a vote cannot be read.

A missing vote is never taken for a tie or left out of a mean. A majority stands only where the missing members could
not have changed it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, TypeAlias

from evalharness.core.judges import Judge, Judgment, Order, Role, Source, Vote
from evalharness.judging.replies import weighted

TIE: Final = 0.5
_FIRST: Final[dict[Order, str]] = {"AB": "the baseline's", "BA": "the candidate's"}
_Votes: TypeAlias = "dict[Order | None, Vote]"
_Rule: TypeAlias = "Callable[[Sequence[float | None]], float | None]"


def combine_pair(
    judge: Judge,
    votes: Sequence[Vote],
    *,
    golden_set: str,
    case_id: str,
    repeat: int,
    role: Role = "pair",
    flags: tuple[str, ...] = (),
    source: Source = "judged",
) -> Judgment:
    """The votes on a pair of answers as the preference for the candidate.

    A member's value is the mean over its two orders, in {0, ¼, ½, ¾, 1} for votes of 0, ½ and 1: 1 where both prefer
    the candidate, ¾ where one does and the other is a tie. Opposite verdicts are a flip, and a flip is a tie; recorded
    preferences may be fractions, and are kept as they are. With one random order, or a recorded vote on the pair as a
    whole (order None), that vote is the value.

    A panel's majority is 1 or 0 where more than half of all members prefer one side, ½ otherwise; a mean needs every
    member. A panel is flipped where its verdict in one order is opposite to that in the other.

    Args:
        judge: one judge, or a panel.
        votes: of the judge or the panel's members, found by `Vote.judge`; in any order.
        golden_set: of the case.
        case_id: of the case.
        repeat: of the answers.
        role: "pair".
        flags: of the judged answers.
        source: "judged" or "recorded".

    Returns:
        `value` is None where it could not be had. `problem` says why; it also stands beside a value where a member's
        vote could not be read and the others settle the matter.

    Raises:
        ValueError: a vote of a judge that is none of these, or two votes of one judge in one order.
    """
    members = _by_member(judge, votes)
    found = [_both_orders(judge, mine) for mine in members.values()]
    rule: _Rule = _majority if _votes_count(judge) else _mean
    flipped = _opposite(*(rule([_value(mine.get(order)) for mine in members.values()]) for order in _FIRST))
    return Judgment(
        golden_set=golden_set,
        case_id=case_id,
        repeat=repeat,
        role=role,
        value=TIE if flipped and source != "recorded" else rule([value for value, _ in found]),
        votes=_in_order(members),
        source=source,
        flipped=flipped,
        flags=flags,
        problem=_stated(judge, [problem for _, problem in found]),
    )


def combine_answer(
    judge: Judge,
    votes: Sequence[Vote],
    *,
    golden_set: str,
    case_id: str,
    repeat: int,
    role: Role,
    flags: tuple[str, ...] = (),
    source: Source = "judged",
) -> Judgment:
    """The votes on one answer, by criteria or claims, as its value in [0, 1].

    A panel's majority decides each criterion (met where more than half of all members say so) before the weighted
    share is taken. Where members share no criteria (claims, recorded scores) the majority is the median of their
    values. Median and mean need every member. Arguments, result and errors are those of `combine_pair`.
    """
    members = _by_member(judge, votes)
    mine = [votes.get(None) for votes in members.values()]
    found = [_single(vote) for vote in mine]
    values = [value for value, _ in found]
    if not _votes_count(judge):
        value = _mean(values)
    elif judge.mode == "pointwise" and judge.criteria:
        value = _criteria(judge, mine)
    else:
        value = _median(values)
    return Judgment(
        golden_set=golden_set,
        case_id=case_id,
        repeat=repeat,
        role=role,
        value=value,
        votes=_in_order(members),
        source=source,
        flags=flags,
        problem=_stated(judge, [problem for _, problem in found]),
    )


def identical_pair(
    *, golden_set: str, case_id: str, repeat: int, role: Role = "pair", flags: tuple[str, ...] = ()
) -> Judgment:
    """The judgment of two answers that are one and the same: a tie that costs no call."""
    return Judgment(
        golden_set=golden_set,
        case_id=case_id,
        repeat=repeat,
        role=role,
        value=TIE,
        votes=(),
        source="identical",
        flags=flags,
    )


def unjudged(
    *, golden_set: str, case_id: str, repeat: int, role: Role, problem: str, flags: tuple[str, ...] = ()
) -> Judgment:
    """No judgment, and why: an answer is missing, or there is no recorded verdict."""
    return Judgment(
        golden_set=golden_set,
        case_id=case_id,
        repeat=repeat,
        role=role,
        value=None,
        votes=(),
        source="unjudged",
        flags=flags,
        problem=problem,
    )


def _by_member(judge: Judge, votes: Sequence[Vote]) -> dict[str, _Votes]:
    members: dict[str, _Votes] = {member.name: {} for member in judge.panel or (judge,)}
    for vote in votes:
        mine = members.get(vote.judge)
        if mine is None:
            raise ValueError(f"{vote.judge!r} is no member of judge {judge.name!r}")
        if vote.order in mine:
            raise ValueError(f"two votes of {vote.judge!r} in order {vote.order}")
        mine[vote.order] = vote
    return members


def _in_order(members: dict[str, _Votes]) -> tuple[Vote, ...]:
    return tuple(mine[order] for mine in members.values() for order in (*_FIRST, None) if order in mine)


def _both_orders(judge: Judge, votes: _Votes) -> tuple[float | None, str | None]:
    """One member's preference for the candidate, and what is wrong with its votes."""
    if None in votes:
        return _single(votes[None])
    if judge.orders == "random" and len(votes) == 1:
        return _single(next(iter(votes.values())))
    problems = []
    values = []
    for order, whose in _FIRST.items():
        value, problem = _single(votes.get(order))
        if value is None:
            problems.append(f"no verdict with {whose} answer first: {problem}")
        else:
            values.append(value)
    if problems:
        return None, "; ".join(problems)
    first, second = values
    return TIE if _opposite(first, second) else (first + second) / 2, None


def _single(vote: Vote | None) -> tuple[float | None, str | None]:
    if vote is None:
        return None, "no reply"
    return vote.value, None if vote.value is not None else vote.problem or "no verdict"


def _opposite(first: float | None, second: float | None) -> bool:
    return first is not None and second is not None and (first - TIE) * (second - TIE) < 0


def _value(vote: Vote | None) -> float | None:
    return None if vote is None else vote.value


def _votes_count(judge: Judge) -> bool:
    return judge.combine == "majority" and len(judge.panel) > 1


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(values) if len(known) == len(values) else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None


def _majority(values: Sequence[float | None]) -> float | None:
    """1, 0 or a tie by more than half of all; None where the missing ones could decide."""
    missing = sum(value is None for value in values)
    wins = sum(value is not None and value > TIE for value in values)
    losses = sum(value is not None and value < TIE for value in values)
    if 2 * max(wins, losses) > len(values):
        return float(wins > losses)
    return TIE if 2 * (max(wins, losses) + missing) <= len(values) else None


def _criteria(judge: Judge, votes: Sequence[Vote | None]) -> float | None:
    """Each criterion by more than half of all members, then the weighted share of those met."""
    marks: dict[str, float] = {}
    for criterion in judge.criteria:
        said = [
            None if vote is None or vote.value is None else vote.marks.get(criterion.id) for vote in votes
        ]
        met = sum(mark is not None and mark > TIE for mark in said)
        if 2 * met > len(said):
            marks[criterion.id] = 1.0
        elif 2 * (met + said.count(None)) <= len(said):
            marks[criterion.id] = 0.0
        else:
            return None
    return weighted(judge, marks)


def _stated(judge: Judge, problems: Sequence[str | None]) -> str | None:
    if not judge.panel:
        return problems[0]
    told = [f"{member.name}: {why}" for member, why in zip(judge.panel, problems, strict=True) if why]
    return f"{len(told)} of {len(problems)} judges gave no verdict ({'; '.join(told)})" if told else None
