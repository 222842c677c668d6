"""Run folders: written whole, read back the same, edits noticed."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.runs import Run
from evalharness.core.scores import Scored, Unscored
from evalharness.errors import StoreError
from evalharness.store.files import atomic_writer, read_json, read_lines, slug, write_json, write_lines
from evalharness.store.folder import (
    Store,
    content_id,
    is_run_folder,
    load_run,
    locked,
    read_manifest,
    save_run,
    save_scores,
)


def build(texts: dict[str, str], **changes: Any) -> Run:
    attempts: dict[tuple[str, int], Attempt] = {
        (name, 0): Attempt(golden_set="g", case_id=name, repeat=0, outcome=Response(text=text))
        for name, text in texts.items()
    }
    failure = Failure(kind="timeout", message="slow", tries=2)
    attempts["failed", 0] = Attempt(golden_set="g", case_id="failed", repeat=0, outcome=failure)
    scores: dict[str, dict[tuple[str, int], Any]] = {
        "e/f1": {(name, 0): Scored(0.1 + 0.2, {"tp": 1.0}, {"label": "é"}) for name in texts},
        "e/em": {(name, 0): Unscored("unreadable") for name in texts},
    }
    manifest = {
        "schema_version": 1,
        "run_id": content_id("c", "s", {"g": attempts}, scores),
        "name": "r",
        "repeats": 1,
        "plan": "p",
        "candidate": {"digest": "c", "provider": "replay", "model": None},
        "suite": {"name": "s", "digest": "s"},
        "golden_sets": {"g": "d"},
        "metrics": {"e/f1": "g", "e/em": "g"},
        "coverage": {"planned": 0, "scored": 0, "failed": 0, "unscored": 0, "reasons": {}},
        "facts": {},
        "environment": {},
        "models_returned": [],
        "warnings": [],
        "plugins": [],
    }
    known: dict[str, Any] = {
        "id": manifest["run_id"],
        "name": "r",
        "candidate_digest": "c",
        "suite_name": "s",
        "suite_digest": "s",
        "golden_sets": {"g": "d"},
        "repeats": 1,
        "attempts": {"g": attempts},
        "scores": scores,
        "manifest": manifest,
    }
    return Run(**(known | changes))


def test_a_run_is_read_back_the_same(tmp_path: Path) -> None:
    run = build({"a": "half \ud83e of\npairs\u2028\x00", "b": ""})
    save_run(tmp_path / "r", run)
    again = load_run(tmp_path / "r")
    assert (again.id, again.attempts, again.scores) == (run.id, run.attempts, run.scores)
    assert is_run_folder(tmp_path / "r")
    assert set(os.listdir(tmp_path / "r")) == {"manifest.json", "attempts.jsonl", "scores.jsonl"}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("attempts.jsonl", '"output":"one"', '"output":"two"'),
        ("attempts.jsonl", '"tries":2', '"tries":1'),
        ("scores.jsonl", '"tp":1.0', '"tp":2.0'),
        ("scores.jsonl", '"unscored":"unreadable"', '"unscored":"fine"'),
        ("manifest.json", '"digest": "c"', '"digest": "d"'),
    ],
)
def test_an_edit_is_noticed(tmp_path: Path, name: str, old: str, new: str) -> None:
    save_run(tmp_path, build({"a": "one"}))
    path = tmp_path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(StoreError, match="edited or damaged") as error:
        load_run(tmp_path)
    assert ("evalharness score" in str(error.value)) == (name == "scores.jsonl")


def test_dropped_rows_are_noticed(tmp_path: Path) -> None:
    save_run(tmp_path, build({"a": "one", "b": "two"}))
    lines = (tmp_path / "attempts.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "attempts.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(StoreError):
        load_run(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda m: "",
        lambda m: "[]",
        lambda m: "[" * 100_000,
        lambda m: json.dumps({**m, "schema_version": 2}),
        lambda m: json.dumps({k: v for k, v in m.items() if k != "suite"}),
        lambda m: json.dumps({**m, "candidate": {}}),
        lambda m: json.dumps({**m, "metrics": []}),
        lambda m: json.dumps({**m, "files": {}}),
        lambda m: json.dumps({**m, "golden_sets": {}}),
    ],
)
def test_a_damaged_manifest_is_explained(tmp_path: Path, damage: Callable[[dict[str, Any]], str]) -> None:
    save_run(tmp_path, build({"a": "one"}))
    path = tmp_path / "manifest.json"
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(StoreError, match=r"run the candidate again|run again"):
        load_run(tmp_path)


@pytest.mark.parametrize("line", ["", "{", "[]", '{"id": "a"}', "\udcff", "[" * 100_000])
@pytest.mark.parametrize("name", ["attempts.jsonl", "scores.jsonl"])
def test_a_damaged_line_is_explained(tmp_path: Path, name: str, line: str) -> None:
    save_run(tmp_path, build({"a": "one"}))
    with open(tmp_path / name, "ab") as stream:
        stream.write(line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(StoreError):
        load_run(tmp_path)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert not is_run_folder(tmp_path)
    with pytest.raises(StoreError):
        read_manifest(tmp_path)


def test_the_run_id_tells_every_difference_that_counts() -> None:
    def id_of(run: Run) -> str:
        return content_id(run.candidate_digest, run.suite_digest, run.attempts, run.scores)

    one = build({"a": "x", "b": "y"})
    assert id_of(one) == id_of(build({"a": "x", "b": "y"}))
    others = [
        build({"a": "x", "b": "z"}),
        build({"b": "y", "a": "x"}),
        build({"a": "x"}),
        build({"a": "x", "b": ""}),
    ]
    # a text that reads like the lines of other answers
    others.append(build({"a": "x\n1 b 0 1 y"}))
    assert len({id_of(run) for run in (one, *others)}) == 6
    scores = {
        **one.scores,
        "e/f1": {("a", 0): Scored(0.1 + 0.2, {"tp": 2.0}), ("b", 0): one.scores["e/f1"]["b", 0]},
    }
    assert id_of(build({"a": "x", "b": "y"}, scores=scores)) != id_of(one)


def test_new_scores_for_old_answers(tmp_path: Path) -> None:
    run = build({"a": "one"})
    save_run(tmp_path, run)
    before = (tmp_path / "attempts.jsonl").read_bytes()
    scores: dict[str, dict[tuple[str, int], Any]] = {"e/f1": {("a", 0): Scored(1.0)}, "e/em": {}}
    run_id = content_id("c", "s", run.attempts, scores)
    save_scores(
        tmp_path, build({"a": "one"}, id=run_id, scores=scores, manifest={**run.manifest, "run_id": run_id})
    )
    assert load_run(tmp_path).scores["e/f1"]["a", 0] == Scored(1.0)
    assert (tmp_path / "attempts.jsonl").read_bytes() == before


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_writer(path) as stream:
        stream.write("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["f"]
    with pytest.raises(ValueError):
        write_json(path, {"x": float("nan")})
    with pytest.raises(ValueError):
        write_lines(path, [{"x": 1}, {"x": float("nan")}])
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["f"]


def test_files_are_as_private_as_the_user_wants(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write_json(tmp_path / "f", {})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_damage_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"a": 1}\n{"b"\n')
    with pytest.raises(StoreError, match="f:2: not valid JSON"):
        list(read_lines(tmp_path / "f"))
    with pytest.raises(StoreError, match="cannot read"):
        read_json(tmp_path / "absent")


def test_names_become_safe_folder_names() -> None:
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("…") == "unnamed" and slug(".") == "unnamed"
    assert len(slug("x" * 500)) == 60


def test_the_store_keeps_itself_out_of_commits(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.prepare()
    store.prepare()
    assert (tmp_path / "s" / ".gitignore").read_text() == "*\n"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot create the store"):
        Store(tmp_path / "file" / "s").prepare()


def _hold(folder: str, ready: Any, until: Any) -> None:
    with locked(Path(folder), lambda: None):
        ready.set()
        until.wait(30)


def test_a_second_process_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, until = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path), ready, until))
    holder.start()
    said: list[float] = []
    try:
        assert ready.wait(30)
        releaser = threading.Timer(0.3, until.set)
        releaser.start()
        with locked(tmp_path, lambda: said.append(time.perf_counter())):
            waited = time.perf_counter() - said[0]
        releaser.join()
    finally:
        until.set()
        holder.join()
    assert len(said) == 1 and waited > 0.1


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, until = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path), ready, until))
    holder.start()
    assert ready.wait(30)
    holder.kill()
    holder.join()
    said: list[int] = []
    with locked(tmp_path, lambda: said.append(1)):
        pass
    assert not said
