"""What became of a gate, as the steps after it find it: `ci.json` beside the reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalharness.errors import EXIT_INTERNAL, StoreError
from evalharness.github.commands import Mark
from evalharness.report.folder import CI, may_hold_report
from evalharness.store.files import read_json, write_json

MOST_CASES: Final = 50
"""Regressed cases that ci.json names; GitHub shows no more annotations of a job."""

ITSELF: Final = "the base is the commit that is checked out, so nothing that it holds can show a difference"
"""Said where a gate was given itself as base: it passes, and decided nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the gate, as ci.json holds it.

    Attributes:
        verdict: "pass", "regression", "inconclusive", "invalid"; None where there is none.
        exit_code: of the comparison.
        returned: what the job's step ends with: `exit_code`, or 0 for an inconclusive verdict that is to be neutral.
        problems: what kept the gate from a verdict.
        cases: the cases that broke, critical and regressed ones first, at most `MOST_CASES`; `n_cases` counts all.
        base_sha: the commit whose files the baseline was asked with, "" where it was asked in the checkout or stored.
    """

    verdict: str | None
    exit_code: int
    returned: int
    problems: tuple[str, ...] = ()
    cases: tuple[Mark, ...] = ()
    n_cases: int = 0
    base_sha: str = ""


UNFINISHED: Final = Outcome(verdict=None, exit_code=EXIT_INTERNAL, returned=EXIT_INTERNAL)
"""The gate was ended before it could say anything."""


def read_outcome(report: str | Path) -> Outcome:
    """What `gate` left in a report folder; `UNFINISHED` where it left nothing, or something damaged.

    A folder that `compare` wrote without `gate` has the verdict of its comparison.json. One that holds something else
    has none: `gate` leaves it as it is, and what lies there it did not write.
    """
    folder = Path(report)
    if not may_hold_report(folder):
        return UNFINISHED
    try:
        if (folder / CI).exists():
            return _outcome(read_json(folder / CI))
        found = read_json(folder / "comparison.json")
        code = found["exit_code"]
        return Outcome(verdict=str(found["verdict"]), exit_code=int(code), returned=int(code))
    except (StoreError, KeyError, TypeError, ValueError):
        return UNFINISHED


def write_outcome(folder: Path, found: Outcome) -> None:
    write_json(
        folder / CI,
        {
            "schema_version": 1,
            "verdict": found.verdict,
            "exit_code": found.exit_code,
            "returned": found.returned,
            "problems": list(found.problems),
            "cases": [
                {"title": mark.title, "message": mark.message, "file": mark.file, "line": mark.line}
                for mark in found.cases
            ],
            "n_cases": found.n_cases,
            "base_sha": found.base_sha,
        },
    )


def _outcome(found: Mapping[str, Any]) -> Outcome:
    """ci.json as it was written. A verdict that does not go with its exit code is none.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    verdict, code, returned = found["verdict"], int(found["exit_code"]), int(found["returned"])
    if (code == 0 and verdict not in ("pass", "inconclusive")) or (returned == 0 and code not in (0, 3)):
        raise ValueError("the verdict and the exit code do not go together")
    return Outcome(
        verdict=verdict,
        exit_code=code,
        returned=returned,
        problems=tuple(str(problem) for problem in found["problems"]),
        cases=tuple(
            Mark(
                title=str(row["title"]),
                message=str(row["message"]),
                file=str(row["file"]),
                line=int(row["line"]),
            )
            for row in found["cases"]
        ),
        n_cases=int(found["n_cases"]),
        base_sha=str(found["base_sha"]),
    )
