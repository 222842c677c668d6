"""Answers from a passage, held against SQuAD's own script and a count of characters by hand."""

from __future__ import annotations

import json
import random
import re
import string
from collections import Counter
from typing import Any

import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Score, Scored, Unscored
from evalharness.scorers.spans import SpanExact, SpanF1, SquadEM, SquadF1, squad_words

CONTEXT = "Ada Lovelace, born in London, wrote the first program. She died in London in 1852."


def score(scorer: Any, output: Any, *targets: Any, contexts: tuple[str, ...] = (CONTEXT,)) -> Score:
    text = output if isinstance(output, str) else json.dumps(output)
    found: Score = scorer.score(Case(id="c", targets=targets, contexts=contexts), Response(text=text))
    return found


def value(scorer: Any, output: Any, *targets: Any, contexts: tuple[str, ...] = (CONTEXT,)) -> float:
    found = score(scorer, output, *targets, contexts=contexts)
    assert isinstance(found, Scored), found
    return found.value


# --- SQuAD ---------------------------------------------------------------------------------------------------------
# evaluate-v2.0.py (Rajpurkar, Jia and Liang 2018), written out: what is published is measured by these functions.


def normalize_answer(s: str) -> str:
    def remove_articles(text: str) -> str:
        return re.compile(r"\b(a|an|the)\b", re.UNICODE).sub(" ", text)

    def white_space_fix(text: str) -> str:
        return " ".join(text.split())

    def remove_punc(text: str) -> str:
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    return white_space_fix(remove_articles(remove_punc(s.lower())))


def get_tokens(s: str) -> list[str]:
    return normalize_answer(s).split() if s else []


def compute_f1(a_gold: str, a_pred: str) -> float:
    gold_toks, pred_toks = get_tokens(a_gold), get_tokens(a_pred)
    num_same = sum((Counter(gold_toks) & Counter(pred_toks)).values())
    if len(gold_toks) == 0 or len(pred_toks) == 0:
        return int(gold_toks == pred_toks)
    if num_same == 0:
        return 0
    precision, recall = 1.0 * num_same / len(pred_toks), 1.0 * num_same / len(gold_toks)
    return (2 * precision * recall) / (precision + recall)


def raw_scores(answers: list[str], prediction: str) -> tuple[float, float]:
    gold_answers = [a for a in answers if normalize_answer(a)] or [""]
    exact = max(int(normalize_answer(a) == normalize_answer(prediction)) for a in gold_answers)
    return exact, max(compute_f1(a, prediction) for a in gold_answers)


WORDS = (
    "the",
    "The",
    "a",
    "an",
    "Ada's",
    "London",
    "london.",
    "U.S.",
    "1,852",
    "é",
    "in",
    "--",
    "x_y",
    "東京",
    "_the_",
)


def test_equal_to_the_official_script() -> None:
    rng = random.Random(3)

    def drawn(least: int) -> str:
        return rng.choice((" ", "  ", "-", "\t")).join(rng.choices(WORDS, k=rng.randint(least, 5)))

    for _ in range(3000):
        answers = [drawn(1) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.1:
            answers = [""]
        if answers != [""] and not any(map(normalize_answer, answers)):
            continue  # an answer of nothing but articles: see below
        prediction = rng.choice([*answers, drawn(0)])
        assert (value(SquadEM(), prediction, *answers), value(SquadF1(), prediction, *answers)) == (
            pytest.approx(raw_scores(answers, prediction), abs=1e-12)
        )


def test_normalisation_equals_that_of_the_t5_metrics() -> None:
    metrics = pytest.importorskip("lm_eval.tasks.super_glue.record.t5_utils")
    for text in ("The U.S.,  a  'Great' theatre", "an x-y the", "Théâtre de la Cité", "1,852.0%"):
        assert " ".join(squad_words(text)) == metrics.normalize_squad(text)


@pytest.mark.parametrize(
    ("output", "right"),
    [("", 1), ("  ", 1), ({"answer": None}, 1), ({"answer": ""}, 1), ("Unanswerable.", 0), ("London", 0)],
)
def test_a_question_without_an_answer_is_right_when_nothing_is_answered(output: Any, right: int) -> None:
    assert value(SquadEM(), output, "") == value(SquadF1(), output, "") == right
    assert value(SpanExact(), output, "") == value(SpanF1(), output, "") == right


def test_texts_may_stand_for_no_answer() -> None:
    said = ("Unanswerable", "not in the text")
    for scorer in (SquadEM, SquadF1, SpanExact, SpanF1):
        assert value(scorer(no_answer=said), "unanswerable.", "") == 1
        assert value(scorer(no_answer=said), "Not in text", "London", contexts=("London",)) == 0


def test_an_answer_of_articles_alone_is_no_empty_one() -> None:
    assert value(SquadEM(), "", "The") == value(SquadF1(), "", "The") == 0
    assert value(SquadEM(), "the", "The") == value(SquadF1(), "the", "The") == 1


@pytest.mark.parametrize(
    "output",
    [
        "Ada Lovelace",
        {"answer": "ada lovelace"},
        {"text": "Ada Lovelace!"},
        {"score": 0.9, "start": 0, "end": 12, "answer": "Ada Lovelace"},
        [{"score": 0.9, "answer": "Ada Lovelace"}, {"score": 0.1, "answer": "London"}],
        'Here:\n```json\n{"answer": "Ada Lovelace"}\n```',
    ],
    ids=range(6),
)
def test_answers_are_read_however_they_are_written(output: Any) -> None:
    for target in ("Ada Lovelace", {"text": "Ada Lovelace", "start": 0, "end": 12}):
        assert value(SquadEM(), output, target) == value(SquadF1(), output, target) == 1


def test_the_answers_of_a_squad_row_are_several_targets() -> None:
    row = {"text": ["Ada", "Ada Lovelace"], "answer_start": [0, 0]}
    assert value(SquadEM(), "Ada Lovelace", row) == value(SpanExact(), "Ada Lovelace", row) == 1
    assert value(SquadEM(), "", {"text": [], "answer_start": []}) == 1


# --- places --------------------------------------------------------------------------------------------------------

BORN = {"text": "London", "start": 22, "end": 28}


@pytest.mark.parametrize(
    ("output", "f1"),
    [
        ({"start": 22, "end": 28, "answer": "London"}, 1.0),
        ({"start": 19, "end": 28, "answer": "in London"}, 2 * 6 / (6 + 9)),
        ({"start": 25, "end": 28, "answer": "don"}, 2 * 3 / (6 + 3)),
        ({"start": 67, "end": 73, "answer": "London"}, 0.0),
        ({"start": 0, "end": 0, "answer": ""}, 0.0),
        ({"start": 70, "end": 999, "answer": "x"}, 0.0),
        ({"start": 28, "end": 22, "answer": "x"}, 0.0),
        ({"start": 22, "end": 28, "answer": "London", "context": 4}, 0.0),
        ("in London, wrote", 2 * 6 / (6 + 16)),
        ('"born in London"', 2 * 6 / (6 + 14)),
        ("London", 0.0),  # stands there twice
        ("Paris", 0.0),
    ],
)
def test_characters_shared_with_the_target(output: Any, f1: float) -> None:
    assert value(SpanF1(), output, BORN) == pytest.approx(f1)
    assert value(SpanExact(), output, BORN) == (f1 == 1.0)


def test_why_a_place_is_not_known_is_said() -> None:
    found = score(SpanF1(), "London", BORN)
    assert isinstance(found, Scored)
    assert found.detail["reason"] == "stands in the context more than once, so that its place is not known"


def test_text_alone_may_count_for_a_model_that_cannot_count() -> None:
    output = {"answer": "first program", "start": 3, "end": 9}
    assert value(SpanF1(), output, "first program") == 0.0
    assert value(SpanF1(by="text"), output, "first program") == 1.0


def test_the_best_of_several_places_counts() -> None:
    died = {"text": "London", "start": 67, "end": 73}
    assert value(SpanExact(), {"answer": "London", "start": 67, "end": 73}, BORN, died) == 1


def test_places_are_in_the_context_they_name() -> None:
    contexts = ("London", CONTEXT)
    target = {**BORN, "context": 1}
    assert value(SpanF1(), {"answer": "London", **BORN, "context": 1}, target, contexts=contexts) == 1
    assert value(SpanF1(), {"answer": "London", "start": 0, "end": 6}, target, contexts=contexts) == 0


def test_scripts_without_spaces_have_characters() -> None:
    context, target = "東京は日本の首都です。", {"text": "日本の首都", "start": 3, "end": 8}
    assert value(SpanF1(), "日本", target, contexts=(context,)) == pytest.approx(2 * 2 / 7)
    assert value(SquadF1(), "日本", target) == 0  # one word, and another one


@pytest.mark.parametrize(
    "target", [{"text": "London", "start": 21, "end": 27}, "London", "Paris", {"start": 3}, {"text": 3}]
)
def test_a_target_without_a_place_is_unscored(target: Any) -> None:
    found = score(SpanF1(), "first program", target)
    assert isinstance(found, Unscored)
    assert found.reason == SpanF1().problem(Case(id="c", targets=(target,), contexts=(CONTEXT,)))
    assert found.reason.startswith(("the target", "a target"))
