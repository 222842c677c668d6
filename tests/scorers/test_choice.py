from __future__ import annotations

import time
from typing import Any

import pytest

from evalharness.core.scores import Unscored
from evalharness.scorers.choice import Choice, Label

CITIES = ("London", "Paris", "Rome", "New York")


@pytest.mark.parametrize(
    "output",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B. Paris",
        "B) Paris",
        "(B) Paris",
        "**B**",
        "Paris",
        "paris.",
        "Answer: B",
        "The answer is (B).",
        "The correct answer is **B**",
        "answer is b",
        "Final answer: \\boxed{B}",
        "The capital is Paris.",
        "Option B because the Seine runs through it",
        "A is wrong, C is wrong. The answer is B.",
        "The answer is A. Wait, no. The answer is B.",
        "It is not London, so it is Paris.",
        "It's B, clearly",
        "Let me think.\n\nB",
        "B: Paris",
        "I'd pick (B) over the others",
        "Option A is wrong, option C is wrong, so Paris.",
        "C is not right. B fits.",
        "(A) is incorrect; (B) it is",
    ],
)
def test_the_pick_is_read(value: Any, output: str) -> None:
    assert value(Choice(), output, "B", choices=CITIES) == 1


@pytest.mark.parametrize(
    "output",
    [
        "",
        "   ",
        "\x00",
        "C",
        "Rome",
        "A or B",
        "The answer is A or B",
        "The answer is B or C",
        "(A) and (B)",
        "London or Paris",
        "It is not Paris.",
        "The answer is not B",
        "(A) Paris",
        "I do not know",
        "A dog barked in a park",
        "A) London\nB) Paris\nC) Rome",
        "The answer is a city",
        "Z",
    ],
)
def test_wrong_denied_absent_or_several_picks_are_wrong(value: Any, output: str) -> None:
    assert value(Choice(), output, "B", choices=CITIES) == 0


@pytest.mark.parametrize("target", ["B", "b", "(B)", "Paris", "paris", 1])
def test_a_target_is_a_letter_an_index_or_a_text(value: Any, target: Any) -> None:
    assert value(Choice(), "B", target, choices=CITIES) == 1


def test_a_text_that_is_a_choice_is_that_choice(value: Any) -> None:
    assert value(Choice(), "(B)", "B", choices=("C", "D", "B")) == 1
    assert value(Choice(), "New York City? No: york", "London", choices=("London", "York", "New York")) == 0


def test_a_longer_choice_hides_the_shorter_one_inside_it(value: Any) -> None:
    choices = ("York", "New York")
    assert value(Choice(), "I would say New York.", "New York", choices=choices) == 1
    assert value(Choice(), "I would say York.", "York", choices=choices) == 1
    assert value(Choice(), "New York, not York.", "New York", choices=choices) == 1


def test_choice_says_why(score: Any) -> None:
    assert score(Choice(), "A or B", "B", choices=CITIES).detail["reason"].startswith("several choices")
    assert score(Choice(), "C", "B", choices=CITIES).detail == {"extracted": "C"}
    assert isinstance(score(Choice(), "B", "Berlin", choices=CITIES), Unscored)
    assert isinstance(score(Choice(), "B", 7, choices=CITIES), Unscored)
    assert isinstance(score(Choice(), "B", "B"), Unscored)


SEVERITY = Label(labels=["NORMAL", "WARNING", "CRITICAL"])


@pytest.mark.parametrize(
    "output",
    [
        "CRITICAL",
        "critical.",
        "**Classification: CRITICAL**",
        "**Classification:** CRITICAL",
        "Classification: **critical**\n\nThe pump shows a warning first.",
        "The severity is critical.",
        "I would say this is critical",
        "Not a warning: critical",
        "It isn't normal. Critical.",
        "Classification: WARNING\nOn reflection,\nClassification: CRITICAL",
        "Could be WARNING or NORMAL. Label: CRITICAL",
        "Classification: CRITICAL (not WARNING)",
        "### Response:\nCRITICAL",
        "label = critical",
        "Final answer: Critical",
        "_critical_",
        "Verdict:\nCRITICAL",
        "\x00CRITICAL\x1b",
    ],
)
def test_the_label_is_read_from_prose(value: Any, output: str) -> None:
    assert value(SEVERITY, output, "CRITICAL") == 1


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "no label named"),
        ("unclear", "no label named"),
        ("abnormal and uncritical", "no label named"),
        ("critical or warning", "2 labels named"),
        ("Classification: CRITICAL or WARNING", "2 labels named"),
        ("Classification: CRITICAL/WARNING", "2 labels named"),
        ("It is not critical", "only denied"),
        ("Classification: not CRITICAL", "only denied"),
        ("This isn't a critical case", "only denied"),
        ("non-critical", "only denied"),
    ],
)
def test_no_denied_or_several_labels_are_wrong_and_say_so(score: Any, output: str, reason: str) -> None:
    found = score(SEVERITY, output, "CRITICAL")
    assert found.value == 0
    assert reason in found.detail["reason"]


def test_the_wrong_label_is_shown(score: Any) -> None:
    assert score(SEVERITY, "Classification: NORMAL", "CRITICAL").detail == {"extracted": "NORMAL"}


def test_labels_come_from_the_case_where_none_are_given(score: Any, value: Any) -> None:
    labels = ("late delivery", "delivery", "refund")
    assert value(Label(), "Category: late   delivery", "late delivery", choices=labels) == 1
    assert value(Label(), "Category: delivery", "late delivery", choices=labels) == 0
    assert isinstance(score(Label(), "delivery", "delivery"), Unscored)
    assert isinstance(score(Label(), "delivery", "billing", choices=labels), Unscored)
    assert Label().needs == ("targets", "choices")
    assert SEVERITY.needs == ("targets",)


def test_markers_can_be_replaced(value: Any) -> None:
    german = Label(labels=["hoch", "niedrig"], markers=["Einstufung"])
    assert value(german, "hoch oder niedrig? Einstufung: hoch", "hoch") == 1


@pytest.mark.parametrize(
    "output", ["critical " * 1_000_000, "not " * 2_500_000, "label: " * 1_400_000, "((((" * 2_500_000]
)
def test_a_huge_output_is_bounded(score: Any, output: str) -> None:
    started = time.process_time()
    score(SEVERITY, output, "CRITICAL")
    score(Choice(), output, "B", choices=CITIES)
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"labels": []}, "empty"),
        ({"labels": ["a", "a"]}, "twice"),
        ({"labels": ["a", "A"]}, "same after normalisation"),
        ({"labels": ["a", " "]}, "empty text"),
        ({"labels": [1, 2]}, "quotes"),
        ({"labels": "yes"}, "list"),
        ({"labels": ["a"], "markers": []}, "empty"),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Label(**params)
