"""A leak is found in every format that training data comes in, and is placed by its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from evalharness.contamination.rows import row_of
from tests.contamination.conftest import Check, case, sentence

QUESTION = sentence(1)
ANSWER = sentence(2, 6)
OTHER = sentence(3)
FORMATS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "chat": (
        "chat",
        {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]},
    ),
    "chat of parts": (
        "chat",
        {"messages": [
            {"role": "user", "content": [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": ANSWER},
        ]},
    ),
    "sharegpt": (
        "sharegpt",
        {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
    ),
    "gemini": (
        "gemini",
        {"contents": [
            {"role": "user", "parts": [{"text": QUESTION}]}, {"role": "model", "parts": [{"text": ANSWER}]},
        ]},
    ),
    "preference": ("preference", {"prompt": QUESTION, "chosen": ANSWER, "rejected": OTHER}),
    "preference as chats": (
        "preference",
        {
            "chosen": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}],
            "rejected": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": OTHER}],
        },
    ),
    "alpaca": ("alpaca", {"output": ANSWER, "instruction": QUESTION, "input": ""}),
    "completion": ("completion", {"prompt": QUESTION, "completion": ANSWER}),
    "response": ("completion", {"prompt": QUESTION, "response": ANSWER}),
    "text": ("text", {"text": f"{OTHER} {QUESTION} {ANSWER} {OTHER}"}),
    "question": ("question", {"question": QUESTION, "answer": ANSWER}),
    "answers in an object": ("question", {"question": QUESTION, "answers": {"text": [ANSWER], "start": [4]}}),
    "pairs": ("pairs", {"anchor": QUESTION, "positive": ANSWER, "negative": OTHER}),
    "tokens": ("tokens", {"tokens": f"{QUESTION} {ANSWER}".split(), "ner_tags": [0, 1]}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_question_with_its_answer_is_found(name: str, check: Check) -> None:
    format_, row = FORMATS[name]
    found = check([case("q", QUESTION, ANSWER)], [{"text": OTHER}, row])
    (leak,) = found.leaks
    assert (leak.kind, leak.rows) == ("input+target", 1)
    assert (leak.matches[0].file, leak.matches[0].line) == ("train.jsonl", 2)
    assert found.formats[format_] >= 1
    assert found.exit_code == 4


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_found_where_there_is_nothing(name: str, check: Check) -> None:
    found = check([case("q", sentence(90, prefix="v"), sentence(91, 30, prefix="v"))], [FORMATS[name][1]])
    assert (found.leaks, found.errors, found.exit_code) == ([], [], 0)


def test_formats_may_be_mixed_in_one_file(check: Check) -> None:
    found = check([case("q", QUESTION, ANSWER)], [row for _, row in FORMATS.values()])
    assert found.leaks[0].rows == len(FORMATS)
    assert sum(found.formats.values()) == len(FORMATS)
    assert found.sources[0].leaking == {"input+target": len(FORMATS), "input": 0, "target": 0}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1], "is a list, not an object"),
        ("text", "is a text, not an object"),
        (None, "is null, not an object"),
        ({"title": "t", "body": "b"}, "has no known format (keys: 'title', 'body')"),
        ({"messages": "hello"}, "messages is not a list"),
        ({"messages": ["hello"]}, "an item of messages is not an object"),
        ({"messages": [{"role": "user"}]}, "an item of messages has none of content, value, text, parts"),
        ({"tokens": [1, 2]}, "tokens is not a list of texts"),
    ],
)
def test_a_row_of_no_known_format_says_why(value: Any, why: str) -> None:
    row = row_of(value, "f", 7)
    assert (row.format, row.why, row.line) == ("unknown", why, 7)


def test_a_leak_in_a_row_of_no_known_format_is_found_all_the_same(check: Check) -> None:
    found = check([case("q", QUESTION)], [{"meta": {"deep": [{"er": QUESTION}]}}, *[{"text": OTHER}] * 3])
    assert found.leaks[0].matches[0].line == 1
    assert found.sources[0].unknown == 1
    assert [(p.file, p.line) for p in found.problems] == [("train.jsonl", 1)]


def test_unknown_rows_above_a_share_are_an_error_and_below_a_remark(check: Check) -> None:
    rows = [{"text": sentence(n)} for n in range(100, 300)]
    few = check([case("q", QUESTION)], [*rows, {"body": OTHER}])
    assert (few.exit_code, few.warnings) == (0, ["some rows cannot be read or have no known format"])
    many = check([case("q", QUESTION)], [*rows, *[{"body": OTHER}] * 5])
    assert many.exit_code == 2
    assert "2.4% of the rows cannot be read" in many.errors[0]


def test_further_keys_may_hold_text(check: Check) -> None:
    found = check([case("q", QUESTION)], [{"body": QUESTION, "title": "t"}], text_keys=("body",))
    assert (found.formats, found.problems) == ({"text": 1}, [])
    assert found.leaks[0].kind == "input"


def test_a_row_nested_without_end_is_told_and_looked_through() -> None:
    value: Any = "the end"
    for _ in range(5_000):
        value = {"content": value}
    row = row_of({"messages": [value]}, "f", 1)
    assert (row.format, row.why, row.fields) == ("unknown", "is nested too deeply", ["the end"])
