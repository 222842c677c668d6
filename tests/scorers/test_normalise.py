from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalharness.scorers.normalise import by_name, loose, squad


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("  Refund. ", "refund"),
        ("(REFUND)", "refund"),
        ("**refund**", "refund"),
        ("“Refund!”", "refund"),
        ("refund\x00\u200b", "refund"),
        ("re\u00adfund", "refund"),
        ("two\n\t words", "two words"),
        ("ｆｕｌｌ", "full"),
        ("STRASSE", "straße"),
        ("café", "cafe\u0301"),
    ],
)
def test_loose_folds_what_a_reader_would_not_see(text: str, same: str) -> None:
    assert loose(text) == loose(same)


@pytest.mark.parametrize(
    ("left", "right"),
    [("-5", "5"), ("C++", "C"), ("C#", "C"), (".5", "5"), ("50%", "50"), ("$5", "5"), ("()", "")],
)
def test_loose_keeps_what_carries_meaning(left: str, right: str) -> None:
    assert loose(left) != loose(right)


@given(st.text())
def test_loose_is_idempotent_and_never_empties_a_visible_text(text: str) -> None:
    once = loose(text)
    assert loose(once) == once
    if any(character.isalnum() for character in text):
        assert once


@given(st.text(alphabet=string.ascii_letters + string.punctuation + " \n"))
def test_squad_equals_the_official_script_except_where_that_leaves_nothing(text: str) -> None:
    bare = "".join(c for c in text.lower() if c not in set(string.punctuation))
    official = " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())
    assert squad(text) == (official or " ".join(text.lower().split()))


def test_an_unknown_normalisation_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="none, trim, loose, squad"):
        by_name("lose")
