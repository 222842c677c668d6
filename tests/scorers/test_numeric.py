from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Scored, Unscored
from evalharness.scorers.numeric import Numeric, find_numbers

GSM8K = Path(__file__).parents[2].parent / "shared/data/gsm8k/example_model_solutions.jsonl"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("18", ["18"]),
        ("A: 1,234.50.", ["1234.50"]),
        ("12,345,678 users", ["12345678"]),
        ("1,2345", ["1", "2345"]),
        ("-5", ["-5"]),
        ("−7", ["-7"]),
        ("+3", ["3"]),
        ("-$5 or $-5 or $5", ["-5", "-5", "5"]),
        ("10-3", ["10", "3"]),
        ("5-10", ["5", "10"]),
        ("(4)-1", ["4", "1"]),
        ("- 5 apples", ["5"]),
        (".5 and 0.5", ["0.5", "0.5"]),
        ("3. Done", ["3"]),
        ("3/4 cup", ["0.75"]),
        ("1 1/2", ["1.5"]),
        ("-1 1/2", ["-1.5"]),
        ("3/0", []),
        ("on 1/2/2024", []),
        ("1e3 2.5E-2", ["1000", "0.025"]),
        ("1e999999999", []),
        ("50%", ["50"]),
        ("CO2 and GPT4 and x_1", []),
        ("18kg", ["18"]),
        ("答案是18", ["18"]),
        ("３．５", ["3.5"]),
        ("1\u202f234", ["1234"]),
        ("no number", []),
        ("", []),
    ],
)
def test_numbers_in_text(text: str, numbers: list[str]) -> None:
    assert [float(value) for _, value in find_numbers(text)] == [float(number) for number in numbers]


@pytest.mark.parametrize(
    ("params", "output", "target", "expected"),
    [
        ({}, "2 + 16 = <<2+16=18>>18\nA: 18", "18", 1),
        ({}, "18 apples, then 17", "18", 0),
        ({"take": "first"}, "18 apples, then 17", "18", 1),
        ({"take": "only"}, "18 apples, 18 in all", "18", 1),
        ({"take": "only"}, "18 apples, then 17", "18", 0),
        ({}, "$1,600.00", "1600", 1),
        ({}, "1600", 1600, 1),
        ({}, "0.30000000000000004", 0.3, 0),
        ({}, "9007199254740993", "9007199254740992", 0),
        ({"tolerance": 0.1}, "0.3", 0.2, 1),
        ({"tolerance": 0.1}, "0.31", 0.2, 0),
        ({"relative_tolerance": 0.01}, "101", 100, 1),
        ({"relative_tolerance": 0.01}, "101.1", "100", 0),
        ({}, "50%", "0.5", 0),
        ({"percent": "fraction"}, "50%", "0.5", 1),
        ({"after": "####"}, "12 and 13 #### 14", "14", 1),
        ({"after": "####"}, "12 and 14", "14", 0),
        ({}, "none", "14", 0),
        ({}, "", "14", 0),
        ({}, "0.333", "1/3", 0),
        ({"tolerance": 0.001}, "0.333", "1/3", 1),
        ({}, "1/3", "1/3", 1),
        ({}, "18" + " and so on" * 1000, "18", 1),
        ({}, "1" * 5000, "18", 0),
    ],
)
def test_numeric(value: Any, params: dict[str, Any], output: str, target: Any, expected: int) -> None:
    assert value(Numeric(**params), output, target) == expected


def test_the_detail_tells_what_was_read(score: Any) -> None:
    assert score(Numeric(), "it is $1,700", "1600").detail == {"extracted": "$1,700"}
    assert "no 'A:'" in score(Numeric(after="A:"), "1600", "1600").detail["reason"]
    assert "17" in score(Numeric(take="only"), "18 or 17", "18").detail["reason"]


@pytest.mark.parametrize("target", ["a few", "1 to 3", True, None, float("inf")])
def test_a_target_that_is_no_number_is_unscored(score: Any, target: Any) -> None:
    assert isinstance(score(Numeric(), "3", target), Unscored)


def test_any_readable_target_counts(value: Any) -> None:
    assert value(Numeric(), "about 4", "3", "4") == 1


@given(st.text(alphabet="0123456789,./ $-+%eEx\u2212\u00a0é\n", max_size=700))
def test_reading_the_tail_equals_reading_everything(text: str) -> None:
    numbers = list(find_numbers(text))
    found = Numeric()._extract(text)
    if numbers:
        assert found == numbers[-1]
    else:
        assert isinstance(found, str)


@given(st.integers(-(10**15), 10**15), st.text(alphabet="ab .,;:\n", max_size=300))
def test_a_number_is_found_however_it_is_written(number: int, prose: str) -> None:
    for written in (str(number), f"{number:,}", f"{number}.00", f"{number:,}.", f"${number}"):
        assert Numeric().score(
            Case(id="c", targets=(number,)), Response(text=f"{prose} {written}")
        ) == Scored(1.0)


@pytest.mark.parametrize("piece", ["1,", "111,", "1/", "1 1/1", "x1", "1e", "-", "1.1", "１", "1"])
def test_a_huge_output_takes_linear_time(value: Any, piece: str) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        value(Numeric(), piece * (size // len(piece)) + "x", "7.25")
        return time.process_time() - started

    assert seconds(2_000_000) < max(0.2, 12 * seconds(400_000))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tolerance": -1}, "0 or more"),
        ({"tolerance": float("nan")}, "0 or more"),
        ({"tolerance": "2"}, "number"),
        ({"relative_tolerance": 1}, "below 1"),
        ({"take": "middle"}, "last, first, only"),
        ({"after": ""}, "leave it out"),
        ({"percent": True}, "ignore, fraction"),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Numeric(**params)


@pytest.mark.skipif(not GSM8K.exists(), reason="the GSM8K solutions are not beside the checkout")
@pytest.mark.parametrize("scorer", [Numeric(), Numeric(after="A:")], ids=["last number", "after A:"])
def test_gsm8k_text_and_the_authors_verdicts_agree_on_every_case(scorer: Numeric) -> None:
    rows = [json.loads(line) for line in GSM8K.read_text(encoding="utf-8").split("\n") if line]
    accuracies, parted = {}, []
    for system in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
        right = 0.0
        for index, row in enumerate(rows):
            target = row["ground_truth"].rpartition("A: ")[2]
            found = scorer.score(
                Case(id=str(index), targets=(target,)), Response(text=row[system]["solution"])
            )
            assert isinstance(found, Scored)
            right += found.value
            if bool(found.value) != row[system]["is_correct"]:
                parted.append((system, index))
        accuracies[system] = round(right / len(rows), 4)
    assert list(accuracies.values()) == [0.2168, 0.3904, 0.3472, 0.5625]
    assert parted == []
