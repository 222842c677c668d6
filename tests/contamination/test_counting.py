"""Counts by source, duplicates, and results that do not depend on the order of anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evalharness.contamination import Contamination, checking, scan
from tests.contamination.conftest import Check, case, jsonl, sentence

QUESTION, ANSWER = sentence(1), sentence(2, 20)
CASES = [
    case("q", QUESTION, ANSWER),
    case("r", sentence(4), critical=True, line=2),
    case("s", sentence(5), line=3),
]


def test_counts_by_source(check: Check, tmp_path: Path) -> None:
    mixed = jsonl(
        tmp_path / "mixed.jsonl",
        [
            {"text": sentence(10), "source": "crawl"},
            {"text": sentence(10).upper(), "source": "crawl"},
            {"text": QUESTION, "source": "forum"},
            {"prompt": QUESTION, "completion": ANSWER, "source": "forum"},
            {"text": ANSWER},
            {"text": " !? ", "source": "crawl"},
            {"text": "", "source": "crawl"},
            {"body": "x", "source": "forum"},
        ],
    )
    mixed.write_text(mixed.read_text() + "{broken\n")
    second = jsonl(tmp_path / "second.jsonl", [{"text": sentence(10)}, {"text": sentence(11)}])
    found = check(CASES, files=[second, mixed])
    table = {
        one.name: (one.rows, one.empty, one.unknown, one.unreadable, one.duplicates, *one.leaking.values())
        for one in found.sources
    }
    assert table == {
        "crawl": (4, 2, 0, 0, 1, 0, 0, 0),
        "forum": (3, 0, 1, 0, 0, 1, 1, 0),
        "mixed.jsonl": (1, 0, 0, 1, 0, 0, 0, 1),
        "second.jsonl": (2, 0, 0, 0, 0, 0, 0, 0),
    }
    # over all sources the text that `second` repeats is a duplicate too
    assert (found.rows, found.duplicates, found.files) == (10, 2, 2)


def test_a_source_that_differs_in_every_row_is_no_source(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "MAX_SOURCES", 20)
    rows = [{"text": QUESTION if n == 3 else sentence(100 + n), "source": f"https://{n}"} for n in range(50)]
    (source,) = check(CASES, rows).sources
    assert (source.name, source.rows, source.leaking["input"]) == ("train.jsonl", 50, 1)


@pytest.mark.parametrize(("copies", "exit_code", "warned"), [(5, 0, False), (11, 0, True), (45, 2, False)])
def test_duplicates_warn_from_a_tenth_and_fail_above_three(
    copies: int, exit_code: int, warned: bool, check: Check
) -> None:
    rows = [{"text": sentence(100 + n)} for n in range(99)] + [{"text": sentence(100)}] * copies
    found = check(CASES, rows)
    assert (found.duplicates, found.exit_code) == (copies, exit_code)
    assert any("are duplicates" in text for text in found.warnings) == warned
    assert any("the collection of the data has a fault" in text for text in found.errors) == (exit_code == 2)


def test_a_leak_outranks_what_is_wrong_with_the_data(check: Check) -> None:
    found = check(CASES, [{"text": QUESTION}] * 9)
    assert found.errors and found.exit_code == 4


def test_critical_cases_come_first_then_the_worst(check: Check) -> None:
    rows = [{"text": sentence(5)}, {"text": sentence(4)}, {"prompt": QUESTION, "completion": ANSWER}]
    leaks = check(CASES, rows).leaks
    assert [(leak.case_id, leak.critical, leak.kind) for leak in leaks] == [
        ("r", True, "input"), ("q", False, "input+target"), ("s", False, "input"),
    ]  # fmt: skip


def test_the_strongest_rows_are_shown_and_all_are_counted(check: Check) -> None:
    words = QUESTION.split()
    weak = [{"text": f"{' '.join(words[: 34 + n])} {sentence(50 + n)}"} for n in range(6)]
    (leak,) = check(CASES, [*weak, {"text": QUESTION}, {"prompt": QUESTION, "completion": ANSWER}]).leaks
    assert leak.rows == 8
    assert [match.line for match in leak.matches] == [8, 7, 6]


def result(check: Check, folder: Path, order: np.ndarray, split: int) -> tuple[object, ...]:
    rows = [
        *({"text": sentence(200 + n)} for n in range(40)),
        *({"text": f"{QUESTION} {sentence(300 + n)}"} for n in range(5)),
        *({"messages": [{"role": "user", "content": sentence(4)}]} for _ in range(2)),
    ]
    shuffled = [rows[place] for place in order]
    for name, part in (("a.jsonl", shuffled[:split]), ("b.jsonl", shuffled[split:])):
        jsonl(folder / name, part)
    found: Contamination = check(CASES, files=[folder / "b.jsonl", folder / "a.jsonl"])
    return (
        [(leak.case_id, leak.kind, leak.rows, [match.scores for match in leak.matches]) for leak in found.leaks],
        found.rows, found.duplicates, found.formats,
    )  # fmt: skip


def test_the_order_of_rows_and_files_and_the_size_of_batches_change_nothing(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    expected = result(check, tmp_path, np.arange(47), 20)
    for batch in (1, 7, 4_000):
        monkeypatch.setattr(scan, "_BATCH_ROWS", batch)
        assert result(check, tmp_path, rng.permutation(47), int(rng.integers(1, 46))) == expected


def test_files_in_any_order_give_the_same_result(check: Check, tmp_path: Path) -> None:
    files = [
        jsonl(tmp_path / f"{n}.jsonl", [{"text": QUESTION}, {"text": sentence(60 + n)}, {"b": 1}])
        for n in range(4)
    ]
    assert check(CASES, files=files) == check(CASES, files=files[::-1])


def test_many_problems_are_capped_and_counted(check: Check) -> None:
    found = check(CASES, [{"body": "x"}] * 80)
    assert len(found.problems) == 51
    assert str(found.problems[-1]) == "and 30 more rows like these"


def test_several_golden_sets_are_kept_apart(tmp_path: Path) -> None:
    from evalharness.contamination import Options, check_contamination

    path = jsonl(tmp_path / "a.jsonl", [{"text": QUESTION}])
    sets = {"one": [case("q", QUESTION)], "two": [case("q", QUESTION), case("r", sentence(4))]}
    found = check_contamination(sets, [(path, "a.jsonl")], Options())
    assert [(leak.golden_set, leak.case_id) for leak in found.leaks] == [("one", "q"), ("two", "q")]
    assert (found.cases, found.sources[0].leaking["input"]) == (3, 1)
