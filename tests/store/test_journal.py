"""The journal: append-only, bound to its plan, whole lines or nothing."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.errors import StoreError
from evalharness.store.journal import Journal, Recovered, read_journal

TEXTS = ["plain", "zwölf 🦉", "half \ud83e of a pair", "line\nend\u2028\x00\x1b[31m", "", '"quoted\\"']


def attempt(text: str, number: int = 0) -> Attempt:
    usage = Usage(3, None)
    response = Response(
        text=text, model="m", finish_reason="stop", usage=usage, contexts=("c",), scores={"s": 0.5}
    )
    return Attempt(golden_set="g", case_id=f"c{number}", repeat=number, outcome=response)


def written(path: Path, *texts: str, plan: str = "p", fresh: bool = False) -> Path:
    journal = Journal(path, plan=plan, fresh=fresh)
    for number, text in enumerate(texts):
        journal.append(attempt(text, number))
    journal.close()
    return path


def texts(found: Recovered) -> list[str]:
    return [a.outcome.text for a in found.attempts if isinstance(a.outcome, Response)]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = written(tmp_path / "runs" / "j.jsonl", *TEXTS)
    assert read_journal(path, "p").attempts == [attempt(t, i) for i, t in enumerate(TEXTS)]
    failed = Attempt(
        golden_set="g", case_id="f", repeat=1, outcome=Failure(kind="timeout", message="slow", tries=3)
    )
    journal = Journal(path, plan="p")
    journal.append(failed)
    journal.close()
    assert read_journal(path, "p").attempts[-1] == failed


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "absent", "p") == Recovered()


def test_a_journal_belongs_to_its_plan(tmp_path: Path) -> None:
    path = written(tmp_path / "j", "old")
    assert read_journal(path, "other") == Recovered()
    written(path, "new", plan="other")
    assert texts(read_journal(path, "other")) == ["new"]
    assert read_journal(path, "p") == Recovered()


def test_a_fresh_run_is_remembered_as_one_and_starts_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "j", "old")
    written(path, "new", fresh=True)
    found = read_journal(path, "p")
    assert found.fresh and texts(found) == ["new"]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_line_cut_anywhere_loses_itself_and_nothing_after_it(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "j", "first", "zwölf 🦉 zwölf 🦉")
    path.write_bytes(path.read_bytes()[:-cut])
    assert texts(read_journal(path, "p"))[:1] == ["first"]
    assert len(read_journal(path, "p").attempts) == (2 if cut == 1 else 1)
    written(path, "third")
    assert texts(read_journal(path, "p"))[-1] == "third"


@pytest.mark.parametrize(
    "line",
    [
        b"\x00" * 4096,
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b'"text"',
        b'{"golden_set": "g"}',
        b'{"golden_set": "g", "id": ["c"], "repeat": 0, "output": "x"}',
        b'{"golden_set": "g", "id": "c", "repeat": "0", "output": "x"}',
        b'{"golden_set": "g", "id": "c", "repeat": 0, "output": 5}',
        b'{"golden_set": "g", "id": "c", "repeat": 0, "output": "x", "usage": 5}',
        b'{"golden_set": "g", "id": "c", "repeat": 0, "failure": {"why": "x"}}',
    ],
)
def test_foreign_lines_are_skipped(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "j", "first")
    path.write_bytes(path.read_bytes() + line + b"\n")
    written(path, "second")
    assert texts(read_journal(path, "p")) == ["first", "second"]


def test_a_full_disk_is_told_and_what_follows_is_kept_apart(tmp_path: Path) -> None:
    """The line that did not fit must not spoil the one that does once there is space again."""
    script = f"""
import resource
from tests.store.test_journal import attempt
from evalharness.errors import StoreError
from evalharness.store.journal import Journal
journal = Journal(__import__("pathlib").Path({str(tmp_path / "j")!r}), plan="p")
journal.append(attempt("first"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
try:
    journal.append(attempt("x" * 1000))
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(attempt("second"))
journal.close()
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "free some space" in done.stdout and "what was collected is kept" in done.stdout
    assert texts(read_journal(tmp_path / "j", "p")) == ["first", "second"]


def test_a_folder_in_the_place_of_the_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    with pytest.raises(StoreError, match="journal"):
        Journal(tmp_path / "j", plan="p")
    with pytest.raises(StoreError, match="journal"):
        read_journal(tmp_path / "j", "p")


def test_every_line_is_json_that_other_tools_can_read(tmp_path: Path) -> None:
    rows = [
        json.loads(line) for line in written(tmp_path / "j", "a").read_text(encoding="utf-8").splitlines()
    ]
    assert rows[0] == {"journal": 1, "plan": "p", "fresh": False}
    assert rows[1]["id"] == "c0" and rows[1]["output"] == "a"
