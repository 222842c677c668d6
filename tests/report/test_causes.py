"""What changed in a case is told from its answers and scores; slices stand out where chance puts no such loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import build
import pytest
from scipy.stats import hypergeom

from evalharness.core.attempts import Failure, Response
from evalharness.core.cases import Case, Slice
from evalharness.core.comparisons import CaseChange, MetricComparison
from evalharness.core.verdicts import Verdict
from evalharness.report.cases import Limits, build_cases
from evalharness.report.causes import Causes
from evalharness.report.groups import at_least, concentrations
from evalharness.report.story import build_story

NUMBER = Failure(kind="timeout", message="no complete answer after 60 s")


def made(
    before: Response | Failure | str,
    after: Response | Failure | str,
    *,
    regressed: bool = True,
    fixed: bool = False,
    deltas: Mapping[str, float] | None = None,
    key: str = "one",
    **case: Any,
) -> CaseChange:
    sides = [Response(text=side) if isinstance(side, str) else side for side in (before, after)]
    moved = deltas or {"e/exact_match": 1.0 if fixed else -1.0}
    return CaseChange(
        key=key,
        golden_set="set",
        case=Case(**({"id": key, "input": "?"} | case)),
        before=sides[0],
        after=sides[1],
        deltas=moved,
        values_before=dict.fromkeys(moved, 0.0),
        values_after=dict(moved),
        regressed=regressed,
        fixed=fixed,
    )


def metrics() -> tuple[MetricComparison, ...]:
    kinds = {"e/judge": "preference"}
    names = ("e/exact_match", "e/json_schema", "e/pass", "e/judge", "e/ndcg@5")
    return tuple(
        build.metric(name, build.estimate(0.8, -0.1), kind=kinds.get(name, "binary")) for name in names
    )


def cause(change: CaseChange, *others: CaseChange) -> tuple[str, str]:
    comparison = build.verdict(changes=(change, *others), metrics=metrics()).comparison
    found = Causes(comparison).of(change)
    return found.label, found.detail


LABELS = tuple(
    made("billing", "refund", key=f"l{i}", targets=("billing" if i % 2 else "refund",)) for i in range(8)
)
REFUSAL = "I'm sorry, but I can't help with that."


@pytest.mark.parametrize(
    ("change", "label", "detail"),
    [
        (made("yes", NUMBER), "No answer", "timeout"),
        (made(NUMBER, "yes", regressed=False, fixed=True), "Answers again", "timeout"),
        (made("yes", "  \n"), "Empty answer", ""),
        (made("Mix them.", REFUSAL), "Refuses", ""),
        (made(REFUSAL, "Mix them.", regressed=False, fixed=True), "Refuses no longer", ""),
        (made("a long answer", Response(text="a long", finish_reason="length")), "Cut off at the token limit", ""),
        (made("def f(): 1", "def f(): 2", deltas={"e/pass": -1.0}), "Tests fail", ""),
        (made('{"a": 1}', '{"a": "1"}', deltas={"e/json_schema": -1.0}), "Format broke", ""),
        (made('{"a": 1}', 'Here: {"a": 1}'), "Format broke", "JSON on one side alone"),
        (made('Here: {"a": 1}', '{"a": 1}', regressed=False, fixed=True), "Format mended", "JSON on one side alone"),
        (made('{"a": 1, "b": 2}', '{"a": 1, "b": 3}'), "Other fields of the JSON", "b"),
        (made("same", "same"), "Same text, another score", ""),
        (made("Yes ", "yes"), "Only spacing or letter case", ""),
        (made("it is 41", "it is 42", targets=("41",)), "Another number", ""),
        (made("it is 41", "unknown", targets=("41",)), "Another number", "no number on one side"),
        (made("26 Euros", "46 euros", targets=("26 euros", "€26")), "Another number", ""),
        (made("26 euros in all", "46 euros", targets=("26 euros", "€26")), "Other words", ""),
        (made("word " * 40, "word " * 10), "Less than half as long", ""),
        (made("word " * 10, "word " * 40), "More than twice as long", ""),
        (made("red and blue", "red and pink"), "Other words", ""),
        (made("red", "blue", regressed=False, deltas={"e/judge": -0.5}), "The judge likes it less", ""),
        (made("red", "blue", regressed=False, deltas={"e/judge": 0.5}), "The judge likes it more", ""),
    ],
)  # fmt: skip
def test_the_kind_of_change_is_told(change: CaseChange, label: str, detail: str) -> None:
    assert cause(change) == (label, detail)


def test_where_targets_repeat_the_confusion_is_named_and_free_answers_are_no_labels() -> None:
    assert cause(made("billing", "Refund", targets=("billing",)), *LABELS) == (
        "Wrong label", "billing called refund",
    )  # fmt: skip
    assert cause(made("billing", "dunno", targets=("billing",)), *LABELS) == (
        "Wrong label", "billing called something else",
    )  # fmt: skip
    right = made("refund", "billing", targets=("billing",), regressed=False, fixed=True)
    assert cause(right, *LABELS) == ("Right label", "billing, called refund before")
    free = tuple(made("a", "b", key=f"f{i}", targets=(f"answer {i}",)) for i in range(20))
    assert cause(made("answer 3", "reply 4", targets=("answer 3",)), *free) == ("Other words", "")


def test_a_relevant_document_that_fell_is_told_by_where_it_stood() -> None:
    def ranked(*documents: str) -> Response:
        return Response(text="", ranking=documents)

    def fell(before: Response, after: Response) -> tuple[str, str]:
        return cause(made(before, after, deltas={"e/ndcg@5": -0.4}, relevant={"a": 1.0, "b": 1.0}))

    assert fell(ranked("a", "x", "b"), ranked("x", "a", "b")) == (
        "Relevant documents fell",
        "from the first place",
    )
    assert fell(ranked("x", "a"), ranked("x", "y", "a")) == (
        "Relevant documents fell",
        "the first of them",
    )
    assert fell(ranked("a", "b"), ranked("x", "y")) == ("Relevant documents fell", "out of the ranking")
    assert fell(ranked("a", "b", "x"), ranked("a", "x", "b")) == (
        "Relevant documents fell",
        "not the first of them",
    )


def crowded(worse_inside: int) -> Verdict:
    """300 cases of which 40 got worse, `worse_inside` of them in a slice of 100."""
    whole = build.metric(est=build.estimate(0.9, -0.1, n=300, n_regressed=40))
    inside = build.metric(
        est=build.estimate(0.9, -0.2, n=100, n_regressed=worse_inside),
        slice=Slice("tier", "free"),
        gated=False,
    )
    return build.verdict(
        checks=(build.check("regression", whole, p_adjusted=0.01),),
        slice_checks=(build.check("advisory", inside),),
    )


def test_a_slice_stands_out_where_chance_would_not_put_so_many() -> None:
    (where,) = concentrations(crowded(30))
    (row,) = where.rows
    assert (row.tag, row.worse, row.cases, row.share, row.elsewhere, row.sure) == (
        "tier=free", 30, 100, "30.0%", "5.0%", True,
    )  # fmt: skip
    (where,) = concentrations(crowded(15))
    assert [row.sure for row in where.rows] == [False]
    (where,) = concentrations(crowded(10))
    assert where.rows == ()


@pytest.mark.parametrize("case", [(30, 100, 40, 300), (1, 1, 1, 2), (0, 5, 2, 9), (700, 4000, 900, 10_000)])
def test_the_tail_is_that_of_the_hypergeometric_distribution(case: tuple[int, int, int, int]) -> None:
    worse, cases, all_worse, all_cases = case
    expected = hypergeom.sf(worse - 1, all_cases, all_worse, cases)
    assert at_least(worse, cases, all_worse, all_cases) == pytest.approx(expected, rel=1e-7, abs=1e-300)


def story(verdict: Verdict) -> str:
    return build_story(verdict, build_cases(verdict).tallies, concentrations(verdict))


def test_the_story_says_what_got_worse_where_how_and_what_cannot_be_told() -> None:
    verdict = build.full_strength(critical=(build.critical("route-2"),))
    told = story(verdict)
    assert told.startswith(
        "support-bot-2 against support-bot-1 on suite support: regression. Worse, and confirmed: "
    )
    for words in (
        "routing/exact_match fell 4.3pp (85.3% to 81.0%, 300 cases, margin 2pp)",
        "1 critical case that passed now fails: route-2.",
        "noise alone could do that: answers/contains fell 2.4pp",
        "2 cases regressed: other words 2; none fixed.",
        "Better, and confirmed: extraction/field_f1 rose 6.1pp",
        "Cannot be told: whether answers/rouge_l got worse by the margin.",
        "Stopped early, at look 2 of 5: the differences lean towards the verdict.",
        "Waived: extraction/json_valid may lose 3pp, active until 2027-03-31.",
    ):  # fmt: skip
        assert words in told, words
    assert "\n" not in told
    assert "The loss concentrates in tier=free (30 of 100 cases got worse on routing/exact_match" in story(
        crowded(30)
    )


def test_the_story_of_a_pass_and_of_nothing() -> None:
    passed = story(
        build.verdict("pass", checks=(build.check("pass", build.metric(est=build.estimate(0.9, 0.0))),))
    )
    assert passed.endswith(": pass. Getting worse by the margin is ruled out on the gated metric.")
    assert story(build.verdict("invalid", reasons=("the golden sets differ",))).endswith(
        ": invalid. the golden sets differ."
    )


def test_kinds_are_counted_over_all_cases_those_not_shown_among_them() -> None:
    wrong = tuple(made("billing", "refund", key=f"w{i}", targets=("billing",)) for i in range(7))
    cases = build_cases(build.verdict(changes=(*wrong, made("a", NUMBER))), Limits(regressed=2))
    assert len(cases.regressed.cases) == 2
    assert [(row.label, row.regressed, row.details) for row in cases.tallies] == [
        ("Wrong label", 7, (("billing called refund", 7),)), ("No answer", 1, (("timeout", 1),)),
    ]  # fmt: skip
