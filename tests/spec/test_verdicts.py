"""Recorded verdicts on single answers; those on pairs are tested through `evalharness judge winrate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalharness.errors import SpecError
from evalharness.spec.verdicts import RecordedVerdict, check_texts, read_verdicts, text_digest


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "v.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def wrong(path: Path, **options: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_verdicts(path, "v.jsonl", **options)
    return [str(problem) for problem in caught.value.problems]


def test_criteria_and_scores_are_read_as_they_stand(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"id": "a", "side": "baseline", "criteria": {"correct": True, "polite": 0.25}, "rationale": "why"},
        {
            "id": "a",
            "side": "candidate",
            "criteria": {"correct": False, "polite": 1},
            "model": "m",
            "repeat": 0,
        },
        {"id": "b", "side": "candidate", "score": 0.75, "candidate_digest": text_digest("é")},
    )
    first, second, third = read_verdicts(path, "v.jsonl", on="answers")
    assert (first.role, first.value, first.rationale, first.order) == ("baseline", None, "why", None)
    assert dict(first.criteria) == {"correct": 1.0, "polite": 0.25}
    assert (second.role, second.model, second.line) == ("candidate", "m", 2)
    assert (third.value, dict(third.criteria)) == (0.75, {})
    check_texts([third], lambda verdict, side: "é", "v.jsonl")


def test_problems_of_single_answers(tmp_path: Path) -> None:
    criteria = {"correct": True, "polite": True}
    said = wrong(
        write(
            tmp_path,
            {"id": "a", "side": "candidate", "criteria": criteria},
            {"id": "a", "side": "candidate", "criteria": {"correct": False, "polite": True}},
            {"id": "b", "side": "candidate", "criteria": {"correct": True, "polit": True}},
            {"id": "c", "side": "candidate", "criteria": {"correct": True}},
            {"id": "d", "side": "both", "score": 1},
            {"id": "d", "criteria": criteria},
            {"id": "d", "side": "candidate", "criteria": criteria, "score": 1},
            {"id": "d", "side": "candidate"},
            {"id": "d", "side": "candidate", "criteria": {}},
            {"id": "d", "side": "candidate", "criteria": {"correct": "yes", "polite": True}},
            {"id": "d", "side": "candidate", "score": 7},
            {"id": "d", "side": "candidate", "score": 1, "baseline_digest": "0" * 64},
            {"id": "d", "winner": "tie"},
        )
    )
    expected = [
        (2, "the verdict on 'a', candidate contradicts that on line 1"),
        (3, "the criterion 'polit' is not one of those of line 1; did you mean polite?"),
        (4, "the criterion 'polite' has no value"),
        (5, "side must be baseline or candidate"),
        (6, "the key 'side' is missing"),
        (7, "both criteria and score"),
        (8, "neither criteria nor score"),
        (9, "a value for each criterion"),
        (10, "the criterion 'correct' must be a number from 0 to 1, not text"),
        (11, "score must lie between 0 and 1, not 7"),
        (12, "baseline_digest is of an answer that this verdict is not on"),
        (13, "must be on single answers, as on line 1"),
    ]
    assert len(said) == len(expected)
    for line, (number, text) in zip(said, expected, strict=True):
        assert line.startswith(f"v.jsonl:{number}: ") and text in line, line


def test_criteria_are_those_of_the_judge(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "a", "side": "candidate", "criteria": {"corect": True}})
    assert wrong(path, criteria=["correct"]) == [
        "v.jsonl:1: the criterion 'corect' is not one of the judge's; did you mean correct?"
    ]
    assert "must be on pairs of answers; write" in wrong(path, on="pairs")[0]


def test_only_the_judged_side_is_held_against_its_text(tmp_path: Path) -> None:
    path = write(
        tmp_path, {"id": "a", "side": "candidate", "score": 1, "candidate_digest": text_digest("old")}
    )
    rows = read_verdicts(path, "v.jsonl")
    asked: list[str] = []

    def text_of(verdict: RecordedVerdict, side: str) -> str:
        asked.append(side)
        return "new"

    with pytest.raises(SpecError, match="not the text that was judged"):
        check_texts(rows, text_of, "v.jsonl")
    assert asked == ["candidate"]
