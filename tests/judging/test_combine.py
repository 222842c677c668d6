"""Votes into judgments: orders, panels, and what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from evalharness.core.judges import Judgment, Order, Vote
from evalharness.judging.combine import combine_answer, combine_pair, identical_pair, unjudged
from tests.judging.support import judge

WHERE: dict[str, Any] = {"golden_set": "g", "case_id": "c", "repeat": 0, "role": "pair"}


def vote(value: float | None, order: Order | None = None, name: str = "j", **fields: Any) -> Vote:
    why = "cut off" if value is None else None
    return Vote(judge=name, order=order, value=value, problem=why, **fields)


def pair(first: float | None, second: float | None, name: str = "j") -> list[Vote]:
    return [vote(first, "AB", name), vote(second, "BA", name)]


def panel(combine: str = "majority", mode: str = "pairwise", names: str = "abc") -> Any:
    return judge(mode, name="panel", combine=combine, panel=tuple(judge(mode, name=name) for name in names))


def of_panel(members: list[list[Vote]], combine: str = "majority", names: str = "abc") -> Judgment:
    return combine_pair(panel(combine, names=names), [v for votes in members for v in votes], **WHERE)


@pytest.mark.parametrize(
    ("first", "second", "value", "flipped"),
    [
        (1.0, 1.0, 1.0, False),
        (0.0, 0.0, 0.0, False),
        (0.5, 0.5, 0.5, False),
        (1.0, 0.5, 0.75, False),
        (0.5, 1.0, 0.75, False),
        (0.0, 0.5, 0.25, False),
        (1.0, 0.0, 0.5, True),
        (0.0, 1.0, 0.5, True),
        (0.9, 0.2, 0.5, True),
        (0.9, 0.6, 0.75, False),
    ],
)
def test_both_orders(first: float, second: float, value: float, flipped: bool) -> None:
    made = combine_pair(judge(), pair(first, second)[::-1], **WHERE, flags=("empty",))
    assert (made.value, made.flipped, made.problem, made.source) == (value, flipped, None, "judged")
    assert [v.order for v in made.votes] == ["AB", "BA"]
    assert made.flags == ("empty",) and made.role == "pair"


def test_an_order_that_cannot_be_read_leaves_no_value() -> None:
    made = combine_pair(judge(), pair(1.0, None), **WHERE)
    assert made.value is None and not made.flipped
    assert made.problem == "no verdict with the candidate's answer first: cut off"
    made = combine_pair(judge(), [vote(1.0, "BA")], **WHERE)
    assert (made.value, made.problem) == (None, "no verdict with the baseline's answer first: no reply")
    both = combine_pair(judge(), pair(None, None), **WHERE).problem
    assert both is not None and both.count("cut off") == 2
    assert combine_pair(judge(), [], **WHERE).value is None


def test_one_random_order() -> None:
    once = judge(orders="random")
    assert combine_pair(once, [vote(1.0, "BA")], **WHERE).value == 1.0
    made = combine_pair(once, [vote(None, "AB")], **WHERE)
    assert (made.value, made.problem) == (None, "cut off")
    assert combine_pair(once, [], **WHERE).problem is not None


def test_recorded_preferences_on_the_pair_as_a_whole_are_kept() -> None:
    made = combine_pair(judge(), [vote(0.3)], **WHERE, source="recorded")
    assert (made.value, made.source, made.flipped) == (0.3, "recorded", False)


@pytest.mark.parametrize(
    ("members", "value"),
    [
        ([(1, 1), (1, 1), (0, 0)], 1.0),
        ([(0, 0), (0, 0.5), (1, 1)], 0.0),
        ([(1, 1), (0, 0), (0.5, 0.5)], 0.5),
        ([(1, 1), (1, 0), (0, 0)], 0.5),
        ([(1, 1), (1, 0.5), (0, 1)], 1.0),
    ],
)
def test_a_panels_majority(members: list[tuple[float, float]], value: float) -> None:
    made = of_panel([pair(*votes, name=name) for votes, name in zip(members, "abc", strict=True)])
    assert (made.value, made.problem, len(made.votes)) == (value, None, 6)


def test_a_panel_is_flipped_where_its_verdict_depends_on_the_order() -> None:
    made = of_panel([pair(1, 0, "a"), pair(1, 0, "b"), pair(0, 0, "c")])
    assert (made.value, made.flipped) == (0.5, True)
    assert not of_panel([pair(1, 0, "a"), pair(1, 1, "b"), pair(1, 1, "c")]).flipped
    made = of_panel([pair(1, 0, "a"), pair(1, 0.5, "b"), pair(0.5, 0, "c")], "mean")
    assert (made.value, made.flipped) == (0.5, True)


def test_a_panels_mean() -> None:
    made = of_panel([pair(1, 1, "a"), pair(1, 0.5, "b"), pair(0, 0.5, "c")], "mean")
    assert made.value == pytest.approx((1 + 0.75 + 0.25) / 3)
    missing = of_panel([pair(1, 1, "a"), pair(1, 1, "b"), pair(1, None, "c")], "mean")
    assert missing.value is None
    assert missing.problem is not None and missing.problem.startswith("1 of 3 judges gave no verdict (c: ")


def test_a_missing_member_is_stated_and_may_not_decide() -> None:
    settled = of_panel([pair(1, 1, "a"), pair(1, 1, "b"), pair(None, 1, "c")])
    assert settled.value == 1.0 and settled.problem is not None and "c: no verdict" in settled.problem
    assert of_panel([pair(1, 1, "a"), pair(0, 0, "b"), pair(None, 1, "c")]).value is None
    assert of_panel([pair(1, 1, "a"), pair(0.5, 0.5, "b"), []]).value is None
    tied = of_panel([pair(0.5, 0.5, "a"), pair(0.5, 0.5, "b"), []])
    assert tied.value == 0.5 and tied.problem is not None


def test_votes_of_strangers_and_double_votes_are_errors() -> None:
    with pytest.raises(ValueError, match="'x' is no member"):
        combine_pair(judge(), [vote(1.0, "AB", "x")], **WHERE)
    with pytest.raises(ValueError, match="two votes"):
        combine_pair(judge(), [vote(1.0, "AB"), vote(0.0, "AB")], **WHERE)


def test_one_answer() -> None:
    where = WHERE | {"role": "candidate"}
    made = combine_answer(judge("pointwise"), [vote(0.75, marks={"right": 1.0, "brief": 0.0})], **where)
    assert (made.value, made.role, made.flipped) == (0.75, "candidate", False)
    missing = combine_answer(judge("claims"), [vote(None)], **where)
    assert (missing.value, missing.problem) == (None, "cut off")


def marked(name: str, right: bool, brief: bool) -> Vote:
    marks = {"right": float(right), "brief": float(brief)}
    return vote((3 * right + brief) / 4, None, name, marks=marks)


def test_a_pointwise_panel_votes_on_each_criterion() -> None:
    where = WHERE | {"role": "baseline"}
    votes = [marked("a", True, False), marked("b", True, True), marked("c", False, False)]
    assert combine_answer(panel(mode="pointwise"), votes, **where).value == 0.75
    assert combine_answer(panel("mean", "pointwise"), votes, **where).value == pytest.approx(
        (0.75 + 1 + 0) / 3
    )
    agreed = [marked("a", True, False), marked("b", True, False), vote(None, None, "c")]
    made = combine_answer(panel(mode="pointwise"), agreed, **where)
    assert made.value == 0.75 and made.problem == "1 of 3 judges gave no verdict (c: cut off)"
    assert combine_answer(panel(mode="pointwise"), [*votes[:2], vote(None, None, "c")], **where).value is None
    # Two judges: what only one of them sees is not met.
    two = combine_answer(panel(mode="pointwise", names="ab"), votes[:2], **where)
    assert two.value == 0.75


def test_a_panel_on_claims_takes_the_median() -> None:
    votes = [vote(value, None, name) for value, name in zip((0.2, 0.9, 1.0), "abc", strict=True)]
    where = WHERE | {"role": "candidate"}
    assert combine_answer(panel(mode="claims"), votes, **where).value == 0.9
    assert combine_answer(panel("mean", "claims"), votes, **where).value == pytest.approx(0.7)
    assert combine_answer(panel(mode="claims"), votes[:2], **where).value is None


def test_identical_answers_tie_without_a_vote() -> None:
    made = identical_pair(**WHERE, flags=("empty",))
    assert (made.value, made.source, made.votes, made.flipped) == (0.5, "identical", (), False)
    assert made.flags == ("empty",)


def test_unjudged() -> None:
    made = unjudged(**WHERE, problem="the baseline has no answer")
    assert (made.value, made.source, made.problem) == (None, "unjudged", "the baseline has no answer")
