from __future__ import annotations

import pytest

from evalharness.contamination.text import MAX_EXCERPT, Offsets, excerpt, length, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my order?", "where   is\tmy\norder"),
        ("It's 10% - really!", "it s 10 really"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("Straße", "STRASSE"),
        ("ﬁnd the ﬂoor", "find the floor"),
        ("soft\u00adhy\u200bphen", "softhyphen"),
        ("cafe\u0301", "café"),
        ("ΐ", "\u03b9\u0308\u0301"),
        ("snake_case and *bold*", "snake case and bold"),
        ("\ufeffstart", "start"),
        ("where&nbsp;is&#32;my caf&eacute;, AT&amp;T?", "Where is my café AT&T"),
    ],
)
def test_writings_of_one_text_are_one(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize(("one", "other"), [("café", "cafe"), ("10.5", "105"), ("now here", "nowhere")])
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert words(one) != words(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今日は天気", ["今", "日", "は", "天", "気"]),
        ("GPT-4は賢い。", ["gpt", "4", "は", "賢", "い"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("किताब पढ़ो", ["किताब", "पढ़ो"]),
        ("한국어 문장입니다", ["한국어", "문장입니다"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("—…!?", []),
        ("\ud800 lone", ["lone"]),
    ],
)
def test_scripts(text: str, expected: list[str]) -> None:
    import unicodedata

    assert words(text) == [unicodedata.normalize("NFKC", word) for word in expected]


def test_a_character_of_a_script_without_spaces_is_half_a_word() -> None:
    assert length(words("今日は天気 is fine")) == 5 * 0.5 + 2


def test_ascii_and_other_text_are_cut_alike() -> None:
    text = "Mixed: A-b_c 12,5% (x) don't"
    assert words(text + " é")[:-1] == words(text)


@pytest.mark.parametrize("word", [0, 1, 500, 999])
def test_an_excerpt_holds_the_word_it_is_for(word: int) -> None:
    text = " ".join(f"n{number}." for number in range(1000))
    passage = excerpt(text, Offsets(text).of(word))
    assert f"n{word}." in passage
    assert len(passage) <= MAX_EXCERPT + 2


def test_a_short_text_is_its_own_excerpt() -> None:
    assert excerpt("all of it", 4) == "all of it"
