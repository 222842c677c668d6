"""Foreign text is cleaned the same way everywhere."""

from __future__ import annotations

import build
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalharness.report.text import excerpt, first_difference, one_line, strip_control


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "abcde"),
        ("nul\x00 bell\x07 del\x7f", "nul bell del"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("tab\tstays", "tab\tstays"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("tag\U000e0041\U000e0042", "tag"),
        ("שלום مرحبا", "שלום مرحبا"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("ad\u200dmin", "admin"),
    ],
)
def test_what_acts_is_removed_and_what_reads_stays(dirty: str, clean: str) -> None:
    assert strip_control(dirty) == clean


@given(st.text(alphabet=st.characters()))
def test_the_result_has_a_utf8_form_and_no_control_character(text: str) -> None:
    clean = strip_control(text)
    clean.encode("utf-8")
    assert not any((ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 for c in clean)


@pytest.mark.parametrize("text", build.NASTY)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert strip_control(strip_control(text)) == strip_control(text)


def test_one_line_is_one_line_and_says_that_it_was_cut() -> None:
    assert one_line(" a\n\n b\tc ") == "a b c"
    assert one_line("x" * 1_000_000, 10) == "x" * 9 + "…"
    assert len(one_line("word " * 100, 12)) <= 12


def test_an_excerpt_counts_what_it_leaves_out() -> None:
    part = excerpt("0123456789", 4, 3)
    assert (part.text, part.before, part.after) == ("3456", 3, 3)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_the_first_difference_is_the_length_of_the_common_start(head: str, left: str, right: str) -> None:
    a, b = head + left, head + right
    at = first_difference(a, b)
    assert a[:at] == b[:at]
    assert at in (len(a), len(b)) or a[at] != b[at]
