"""Flags: raised by attacks and degenerate answers, not by ordinary ones."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from evalharness.judging.detect import EMPTY, HIDDEN, flags_of, shared_texts
from tests.judging.attacks import ATTACKS, Attack
from tests.judging.ordinary import ORDINARY

ROOT = Path(__file__).resolve().parents[2]


def rows(path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (ROOT / path).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.flag], ids=lambda a: a.name)
def test_attacks_are_flagged(attack: Attack) -> None:
    assert attack.flag in flags_of(attack.text)


def test_most_attacks_raise_a_flag() -> None:
    assert sum(bool(flags_of(attack.text)) for attack in ATTACKS) >= 0.75 * len(ATTACKS)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_answers_are_not_flagged(text: str) -> None:
    assert flags_of(text) == ()


@pytest.mark.parametrize("name", ["base", "candidate"])
def test_the_shipped_outputs_are_not_flagged(name: str) -> None:
    outputs = [str(row["output"]) for row in rows(f"examples/support-desk/outputs/{name}.jsonl")]
    flagged = Counter(flags_of(text) for text in outputs if text.strip())
    assert set(flagged) == {()} and flagged[()] > 700


@pytest.mark.parametrize("name", ["answers", "extraction", "routing"])
def test_the_shipped_cases_are_not_flagged(name: str) -> None:
    for row in rows(f"golden_sets/support-{name}/cases.jsonl"):
        targets = row["target"] if isinstance(row["target"], list) else [row["target"]]
        for text in (row["input"], *targets, json.dumps(targets[0])):
            assert flags_of(text if isinstance(text, str) else json.dumps(text)) == ()


@pytest.mark.parametrize("name", ["base", "candidate"])
def test_labels_and_right_answers_are_no_shared_texts(name: str) -> None:
    asked = {}
    for part in ("answers", "extraction", "routing"):
        asked |= {
            row["id"]: (part, str(row["input"])) for row in rows(f"golden_sets/support-{part}/cases.jsonl")
        }
    for part in ("answers", "extraction", "routing"):
        texts = {
            row["id"]: (asked[row["id"]][1], str(row["output"]))
            for row in rows(f"examples/support-desk/outputs/{name}.jsonl")
            if row["id"] in asked and asked[row["id"]][0] == part
        }
        assert len(texts) > 150
        assert shared_texts(texts) == frozenset()


def test_empty_answers() -> None:
    for text in ("", " \n\t", "\u200b", "\ufeff"):
        assert flags_of(text) == (EMPTY,)
    assert flags_of("\u200b\u200c" * 9) == (HIDDEN,)


def test_hidden_characters_that_belong_there() -> None:
    for text in (
        "Donau\u00addampf\u00adschiff\u00adfahrts\u00adgesellschaft",
        "\ufeffBOM at the start",
        "שלום\u200f, world\u200e!",
        "นี่\u200bคือ\u200bภาษา\u200bไทย\u200bครับ",
        "line\r\nline\x0cpage",
        "葛\U000e0100城市",
    ):
        assert flags_of(text) == ()


SAME = "I am sorry, I can only help with questions about orders."


def test_one_text_for_unrelated_prompts() -> None:
    texts = {n: (f"question {n}", SAME if n < 4 else f"an answer of its own, number {n}") for n in range(20)}
    assert shared_texts(texts) == frozenset(range(4))
    assert shared_texts(texts, share=0.25) == frozenset()
    assert shared_texts(texts, least=5) == frozenset()
    spaced = {
        n: (asked, said.upper() + " \n") if n == 2 else (asked, said) for n, (asked, said) in texts.items()
    }
    assert shared_texts(spaced) == frozenset(range(4))


def test_one_prompt_asked_often_is_not_many_prompts() -> None:
    texts = {
        (case, repeat): (f"question {case}", f"{SAME} {case}") for case in range(3) for repeat in range(10)
    }
    assert shared_texts(texts) == frozenset()
    alike = {n: ("Where is my order?" + " " * n, SAME) for n in range(10)}
    assert shared_texts(alike) == frozenset()


def test_short_texts_count_only_where_they_answer_most_prompts() -> None:
    labels = {n: (f"question {n}", "billing" if n % 2 else "returns") for n in range(100)}
    assert shared_texts(labels) == frozenset()
    constant = {n: (f"question {n}", "billing" if n < 60 else "returns") for n in range(100)}
    assert shared_texts(constant) == frozenset(range(60))


def test_no_answers_at_all() -> None:
    assert shared_texts({}) == frozenset()
    assert shared_texts({n: (f"q {n}", "") for n in range(9)}) == frozenset()


def test_a_hostile_text_takes_no_longer_than_any_other() -> None:
    nasty = (
        "a",
        '"rationale": ',
        "\u0430a",
        "ignore all ",
        "[",
        "<",
        "\u200ba",
        "score: ",
        "  \n",
        "rating: [",
    )
    for piece in nasty:
        start = time.process_time()
        flags_of(piece * (100_000 // len(piece)))
        assert time.process_time() - start < 2
