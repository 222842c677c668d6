"""Stores: what is created once, what is put whole, and what a name can be."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalharness.baselines.names import Reference, check_name, read_reference
from evalharness.baselines.places import Place, open_place, option_for, shown
from evalharness.errors import StoreError, UsageError
from tests.baselines.bucket import bucket

__all__ = ["bucket"]

RACER = """
import sys
from pathlib import Path
from evalharness.baselines.places import open_place
place = open_place(sys.argv[1], Path("."))
won = []
print("ready", flush=True)
for number in range(1, int(sys.argv[3]) + 1):
    sys.stdin.readline()
    won.append(place.create(f"refs/main/{number:06d}.json", sys.argv[2].encode()))
    print(number, flush=True)
print("".join("1" if w else "0" for w in won), flush=True)
"""


@pytest.fixture(params=["folder", "local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return open_place(
        {
            "folder": "store",
            "local": f"local://{tmp_path}/store",
            "memory": f"memory://{uuid.uuid4().hex}",
        }[request.param],
        tmp_path,
    )


@pytest.mark.parametrize(("kind", "rounds"), [("folder", 100), ("local", 100), ("bucket", 8)])
def test_of_two_processes_exactly_one_creates_a_file(
    tmp_path: Path, kind: str, rounds: int, request: pytest.FixtureRequest
) -> None:
    store = f"{tmp_path}/store"
    address = {"folder": store, "local": f"local://{store}"}.get(kind) or request.getfixturevalue("bucket")
    root = Path(__file__).resolve().parents[2]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, address, name, str(rounds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)},
        )
        for name in ("one", "two")
    ]  # fmt: skip
    try:
        for racer in racers:
            assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
        for _ in range(rounds):
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write("\n")
                racer.stdin.flush()
            for racer in racers:
                assert racer.stdout is not None and racer.stdout.readline()
        first, second = ((racer.stdout.readline().strip() if racer.stdout else "") for racer in racers)
    finally:
        for racer in racers:
            racer.communicate(timeout=10)
    assert len(first) == rounds and all(a != b for a, b in zip(first, second, strict=True))
    for number, won in enumerate(first, 1):
        text = open_place(address, tmp_path).read(f"refs/main/{number:06d}.json")
        assert text == (b"one" if won == "1" else b"two")


def test_a_file_is_created_once_and_read_back(place: Place) -> None:
    assert place.names("refs/main") == [] and place.read("refs/main/000001.json") is None
    assert place.create("refs/main/000001.json", b"one") is True
    assert place.create("refs/main/000001.json", b"two") is False
    assert place.read("refs/main/000001.json") == b"one"
    assert place.names("refs") == ["main"] and place.names("refs/main") == ["000001.json"]


def test_a_folder_is_put_whole_and_dropped(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "logs").mkdir(parents=True)
    for name in ("a", "logs/b", "last"):
        (source / name).write_text(name)
    place.put_folder("objects/x", source, ["a", "logs/b", "last"], replace=False)
    assert place.names("objects/x") == ["a", "last", "logs"]
    assert place.fetch("objects/x/logs/b", tmp_path / "b") and (tmp_path / "b").read_text() == "logs/b"
    (source / "a").write_text("changed")
    place.put_folder("objects/x", source, ["a", "logs/b", "last"], replace=False)
    assert place.read("objects/x/a") == b"a"  # what is there stays
    place.put_folder("objects/x", source, ["a", "logs/b", "last"], replace=True)
    assert place.read("objects/x/a") == b"changed"
    place.drop("objects/x")
    place.drop("objects/x")
    assert place.names("objects/x") == [] and not place.fetch("objects/x/a", tmp_path / "none")


def test_a_folder_that_could_not_be_put_whole_is_not_there(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("a")
    with pytest.raises(StoreError, match="cannot be written"):
        place.put_folder("objects/x", source, ["a", "missing"], replace=False)
    assert place.names("objects") == []


def test_a_file_system_without_hard_links_still_creates_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    place = open_place("store", tmp_path)
    assert place.create("refs/main/000001.json", b"one") is True
    assert place.create("refs/main/000001.json", b"two") is False
    assert place.read("refs/main/000001.json") == b"one" and place.names("refs/main") == ["000001.json"]


def test_a_full_disk_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = open_place("store", tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        place.create("refs/main/000001.json", b"one")
    monkeypatch.undo()
    assert place.names("refs/main") == [] and list((tmp_path / "store" / "refs" / "main").iterdir()) == []


SILENT = """
import sys
from pathlib import Path
from evalharness.baselines import remote
from evalharness.baselines.places import open_place
from evalharness.errors import StoreError
place = open_place("s3://bucket/team", Path("."))
remote.PATIENCE_S = 0.5
try:
    print(place.names("refs"))
except StoreError as error:
    print(error)
"""


def test_a_host_that_never_answers_is_waited_for_a_moment_only(bucket: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=30,
            env={**os.environ, "AWS_ENDPOINT_URL": address, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
    assert "cannot be read: no answer within 0.5 seconds" in done.stdout, done.stderr


def test_a_bucket_that_does_not_exist_is_no_empty_store(bucket: str, tmp_path: Path) -> None:
    assert open_place(bucket, tmp_path).names("refs") == []
    with pytest.raises(StoreError, match="NoSuchBucket"):
        open_place("s3://buckte/team", tmp_path).names("refs")


def test_git_leaves_line_ends_of_content_alone_and_what_is_half_written_out(tmp_path: Path) -> None:
    open_place("store", tmp_path).create("refs/main/000001.json", b"x")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    said = subprocess.run(
        ["git", "check-attr", "text", "store/objects/0a/attempts.jsonl"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip().endswith("text: unset")
    (tmp_path / "store" / "refs" / "main" / ".000002.json.0a.tmp").write_text("half")
    (tmp_path / "store" / "objects" / ".0a.0b.tmp").mkdir(parents=True)
    (tmp_path / "store" / "objects" / ".0a.0b.tmp" / "attempts.jsonl").write_text("half")
    said = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "000001.json" in said.stdout and ".tmp" not in said.stdout


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("s3://key:secret@bucket/x", "s3://bucket/x"), ("https://t0ken@host/x?sig=secret", "https://host/x"),
        ("simplecache::s3://key:secret@bucket/x", "simplecache::s3://bucket/x"), ("a@b/c", "a@b/c"),
    ],
)  # fmt: skip
def test_addresses_are_shown_without_credentials(address: str, safe: str) -> None:
    assert shown(address) == safe
    assert "secret" not in option_for(address) and "t0ken" not in option_for(address)


def test_what_a_library_says_of_an_address_is_told_without_its_credentials(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    with pytest.raises(StoreError) as raised:
        open_place("s3://key:secret@bucket/x", tmp_path).names("refs")
    assert "secret" not in str(raised.value) and "bucket" in str(raised.value)


def test_only_another_store_needs_naming() -> None:
    assert option_for("baselines") == ""
    assert option_for("my store") == " --baselines 'my store'"


@pytest.mark.parametrize("address", ["", " ", "~/x", "a\nb", "file://host/x", "file://", "s3:/bucket/x"])
def test_addresses_that_are_none(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        open_place(address, tmp_path)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("main", Reference("main")), ("main@3", Reference("main", 3)), ("baseline:main", Reference("main")),
        ("baseline:main@12", Reference("main", 12)), ("release-1.2", Reference("release-1.2")),
        ("base.yaml", None), ("./main", None), ("a/b", None), ("Main", None), ("main@0", None), ("main@x", None),
        ("out.json", None), ("", None), ("..", None), ("x" * 65, None),
    ],
)  # fmt: skip
def test_what_can_be_a_name(text: str, means: Reference | None) -> None:
    assert read_reference(text) == means


@pytest.mark.parametrize(
    "call",
    [lambda: read_reference("baseline:a/b"), lambda: read_reference("baseline:"), lambda: check_name("A")],
)
def test_what_was_meant_as_a_name_and_is_none(call: Callable[[], Any]) -> None:
    with pytest.raises(UsageError, match="no name for a baseline"):
        call()
