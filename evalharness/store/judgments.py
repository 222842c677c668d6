"""Judgments as lines of JSON: what a comparison keeps of its judges, to be shown, rendered again and reused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from evalharness.core.judges import JudgedEval, Judgment, Vote
from evalharness.errors import StoreError
from evalharness.store.files import read_lines, write_lines

NAME: Final = "judgments.jsonl"
"""Beside comparison.json: one line a judgment."""


def save_judgments(path: Path, judged: Iterable[JudgedEval]) -> None:
    """Write every judgment, in order.

    Raises:
        StoreError: the file cannot be written.
    """
    write_lines(path, ({"eval": one.eval, **_row(j)} for one in judged for j in one.judgments))


def load_judgments(path: Path) -> dict[str, tuple[Judgment, ...]]:
    """Judgments by eval, as `save_judgments` wrote them.

    Raises:
        StoreError: the file is not there or damaged.
    """
    found: dict[str, list[Judgment]] = {}
    try:
        for row in read_lines(path):
            found.setdefault(row["eval"], []).append(_judgment(row))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(f"{path}: damaged ({error!r}); run compare again") from error
    return {name: tuple(judgments) for name, judgments in found.items()}


def _row(judgment: Judgment) -> dict[str, Any]:
    return {
        "golden_set": judgment.golden_set,
        "id": judgment.case_id,
        "repeat": judgment.repeat,
        "role": judgment.role,
        "value": judgment.value,
        "source": judgment.source,
        "flipped": judgment.flipped,
        "flags": list(judgment.flags),
        "problem": judgment.problem,
        "votes": list(_votes(judgment.votes)),
    }


def _votes(votes: Iterable[Vote]) -> Iterator[dict[str, Any]]:
    for vote in votes:
        yield {
            "judge": vote.judge,
            "order": vote.order,
            "value": vote.value,
            "rationale": vote.rationale,
            "marks": dict(vote.marks),
            "problem": vote.problem,
            "raw": vote.raw,
            "model": vote.model,
        }


def _judgment(row: Mapping[str, Any]) -> Judgment:
    return Judgment(
        golden_set=row["golden_set"],
        case_id=row["id"],
        repeat=row["repeat"],
        role=row["role"],
        value=row["value"],
        votes=tuple(
            Vote(
                judge=vote["judge"],
                order=vote["order"],
                value=vote["value"],
                rationale=vote["rationale"],
                marks=vote["marks"],
                problem=vote["problem"],
                raw=vote["raw"],
                model=vote["model"],
            )
            for vote in row["votes"]
        ),
        source=row["source"],
        flipped=row["flipped"],
        flags=tuple(row["flags"]),
        problem=row["problem"],
    )
