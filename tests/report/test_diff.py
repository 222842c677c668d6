"""The word diff marks what changed, loses nothing it shows, and is bounded."""

from __future__ import annotations

import time

import build
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalharness.report.cases import Limits, build_cases
from evalharness.report.diff import SHOWN, Effort, Marked, word_diff
from evalharness.report.text import strip_control


def text_of(side: Marked) -> str:
    return "".join(part.text for part in side.parts)


def changed(side: Marked) -> list[str]:
    return [part.text for part in side.parts if part.changed]


def test_only_the_words_that_differ_are_marked() -> None:
    before, after = word_diff(
        "I refunded the second charge today.", "I refunded the first charge today.", Effort()
    )
    assert changed(before) == ["second"]
    assert changed(after) == ["first"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_the_pieces_are_the_text(old: str, new: str) -> None:
    before, after = word_diff(old, new, Effort())
    assert text_of(before) == strip_control(old)
    assert text_of(after) == strip_control(new)


def test_a_long_text_is_shown_around_its_first_difference_and_says_what_is_missing() -> None:
    head = "same words here " * 10_000
    old, new = head + "alpha " + "tail " * 5000, head + "beta " + "tail " * 5000
    before, after = word_diff(old, new, Effort())
    assert changed(before) == ["alpha"] and changed(after) == ["beta"]
    assert before.before + SHOWN + before.after == len(old)
    assert len(text_of(after)) == SHOWN


def test_a_megabyte_of_different_words_takes_no_time() -> None:
    old = " ".join(str(i) for i in range(150_000))
    new = " ".join(str(i * 7) for i in range(150_000))
    started = time.perf_counter()
    before, _ = word_diff(old, new, Effort())
    assert time.perf_counter() - started < 0.5
    assert before.after > 900_000


def test_spent_effort_still_shows_both_texts_and_marks_the_middle() -> None:
    before, after = word_diff("a b c d", "a x c d", Effort(left=0))
    assert changed(before) == ["b"] and changed(after) == ["x"]
    before, _ = word_diff("a b c d e", "a x c y e", Effort(left=0))
    assert text_of(before) == "a b c d e"


def test_regressed_cases_come_first_critical_before_others_and_the_rest_by_largest_fall() -> None:
    changes = (
        build.change("r1"),
        build.change("r2"),
        build.change("f1", regressed=False, fixed=True),
        *(
            build.change(f"c{i}", regressed=False, values={"answers/rouge_l": (0.9, 0.9 - i / 100)})
            for i in range(1, 6)
        ),
    )
    verdict = build.verdict(
        checks=build.checks_of_every_status(), changes=changes, critical=(build.critical("r2"),)
    )
    cases = build_cases(verdict, Limits(regressed=2, worse=2, fixed=1))
    assert [c.key for c in cases.regressed.cases] == ["r2", "r1"]
    assert [c.key for c in cases.worse.cases] == ["c5", "c4"]
    assert cases.worse.left_out == 3
    assert cases.critical[0].anchor == cases.regressed.cases[0].anchor


def test_a_difference_nobody_can_see_is_said() -> None:
    changes = (build.change("a", "refund", "ref\u200bund"), build.change("b", "same", "same"))
    first, second = build_cases(build.verdict(changes=changes)).regressed.cases
    assert "cannot be seen" in first.note
    assert "same text" in second.note


@pytest.mark.parametrize("text", build.NASTY)
def test_every_hostile_text_gives_a_case(text: str) -> None:
    (case,) = build_cases(build.verdict(changes=(build.change(text, text, text + "x"),))).regressed.cases
    assert case.anchor.startswith("case-")
    "".join(part.text for part in case.after.parts).encode("utf-8")
