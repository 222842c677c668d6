"""The report folder: four whole files, or an error that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import build
import pytest

from evalharness.errors import StoreError
from evalharness.report.comparison_json import comparison_json
from evalharness.report.folder import write_report


def test_four_files_are_written_and_what_judges_said_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "a-vs-b"
    verdict = build.nasty_verdict()
    paths = write_report(verdict, folder)
    assert set(paths) == {"comparison.json", "report.html", "summary.md", "junit.xml"}
    assert sorted(p.name for p in folder.iterdir()) == sorted([*paths, "judgments.jsonl"])
    assert paths["comparison.json"].read_text(encoding="utf-8") == comparison_json(verdict)
    for path in paths.values():
        path.read_bytes().decode("utf-8")


def test_writing_again_replaces_and_gives_the_same_bytes(tmp_path: Path) -> None:
    verdict = build.verdict(checks=build.checks_of_every_status())
    first = {name: path.read_bytes() for name, path in write_report(verdict, tmp_path).items()}
    second = {name: path.read_bytes() for name, path in write_report(verdict, tmp_path).items()}
    assert first == second
    write_report(build.verdict("pass"), tmp_path)
    assert json.loads((tmp_path / "comparison.json").read_text())["verdict"] == "pass"


def test_a_folder_that_cannot_be_made_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match=r"comparison\.json: cannot write the file: .*; .+"):
        write_report(build.verdict(), tmp_path / "taken")
