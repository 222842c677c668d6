"""People's preferences beside a judge's: which cases need no label, and what a label of one repeat stands for."""

from __future__ import annotations

import pytest

from evalharness.analysis.pair_labels import Joined, PeoplesPairs, joined
from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.cases import Case
from evalharness.core.judges import PairLabel, PairLabels
from evalharness.core.runs import Run
from evalharness.core.scores import Score, Scored, Unscored

Answers = list[str | None]
CASE = Case(id="c", input="?")


def side(answers: Answers, values: list[float | None]) -> Run:
    """A run of one case: None among the answers failed, None among the values has no verdict."""
    attempts = {
        ("c", r): Attempt(
            golden_set="g",
            case_id="c",
            repeat=r,
            outcome=Response(text=text) if text is not None else Failure(kind="timeout", message=""),
        )
        for r, text in enumerate(answers)
    }
    scores: dict[tuple[str, int], Score] = {
        ("c", r): Unscored("no verdict") if value is None else Scored(value)
        for r, value in enumerate(values)
        if answers[r] is not None
    }
    return Run(
        id="", name="r", candidate_digest="", suite_name="s", suite_digest="", golden_sets={"g": ""},
        repeats=len(answers), attempts={"g": attempts}, scores={"e/judge": scores},
    )  # fmt: skip


def join(base: Answers, cand: Answers, values: list[float | None], **labels: PairLabel) -> Joined:
    found = PairLabels(
        file="l.jsonl",
        labels={f"g/c{key[1:] and '#' + key[1:]}": one for key, one in labels.items()},
        drawn=1,
    )
    runs = side(base, [0.5] * len(base)), side(cand, values)
    return joined(PeoplesPairs(found, "e/judge", "g"), runs, [CASE])


def said(base: str, cand: str, value: float) -> PairLabel:
    return PairLabel(texts=(base, cand), value=value, line=1)


@pytest.mark.parametrize(
    ("base", "cand", "values", "label", "people"),
    [
        (["a"], ["b"], [0.0], {"r": said("a", "b", 1.0)}, 0.5),
        # two people who disagree
        (["a"], ["b"], [0.0], {"r": said("a", "b", 0.25)}, -0.25),
        # the other repeat is equal, and a tie
        (["a", "x"], ["b", "x "], [0.0, 0.5], {"r0": said("a", "b", 1.0)}, 0.25),
        # the other differs too, and the label stands for both
        (["a", "x"], ["b", "y"], [0.0, 1.0], {"r1": said("x", "y", 1.0)}, 0.5),
        # the other was not answered, and is lost
        (["a", "x"], ["b", None], [0.0, None], {"r0": said("a", "b", 1.0)}, 0.0),
        # the judge has no verdict on what people labelled: lost, and so is what it stands for
        (["a", "x"], ["b", "y"], [None, 1.0], {"r0": said("a", "b", 1.0)}, -0.5),
        # both are labelled, on one of which the judge has no verdict
        (["a", "x"], ["b", "y"], [None, 1.0], {"r0": said("a", "b", 1.0), "r1": said("x", "y", 1.0)}, 0.0),
        # fewer repeats of the baseline are met in turn
        (["a"], ["b", "y"], [1.0, 1.0], {"r1": said("a", "y", 0.0)}, -0.5),
        # a draw of a single repeat, before repeats were added
        (["a", "a"], ["b", "y"], [1.0, 1.0], {"r": said("a", "b", 1.0)}, 0.5),
        # texts as a sheet shows them
        (["a\r\nb"], ["c\x1b"], [1.0], {"r": said("a\nb", "c␛", 1.0)}, 0.5),
    ],
)
def test_a_label_stands_for_its_case(
    base: Answers, cand: Answers, values: list[float | None], label: dict[str, PairLabel], people: float
) -> None:
    found = join(base, cand, values, **label)
    assert (found.labelled.tolist(), found.settled.tolist()) == ([True], [False])
    assert found.people.tolist() == [people]


@pytest.mark.parametrize(
    ("cand", "values", "label"),
    [
        (["a"], [0.5], {}),
        ([None], [None], {}),
        (["b"], [None], {}),
        (["b"], [None], {"r": said("a", "b", 1.0)}),
    ],
)
def test_cases_that_need_no_label(
    cand: Answers, values: list[float | None], label: dict[str, PairLabel]
) -> None:
    found = join(["a"], cand, values, **label)
    assert (found.labelled.tolist(), found.settled.tolist(), found.complete) == ([False], [True], True)


def test_a_pair_without_a_label_is_neither() -> None:
    found = join(["a"], ["b"], [1.0])
    assert (found.labelled.tolist(), found.settled.tolist(), found.complete) == ([False], [False], False)


@pytest.mark.parametrize(
    ("cand", "texts", "told"),
    [
        ("b", ("a", "c"), "1 label in l.jsonl is of other answers than these (such as that of c)"),
        ("b", ("c", "b"), "of other answers"),
        ("a", ("a", "a"), "of other answers"),
        (None, ("a", "b"), "of other answers"),
        ("b", ("b", "a"), "are of a comparison the other way round"),
    ],
)
def test_labels_of_other_answers(cand: str | None, texts: tuple[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(").replace(")", r"\)")):
        join(["a"], [cand], [1.0], r=PairLabel(texts=texts, value=1.0, line=1))
