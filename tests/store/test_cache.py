"""The response cache: responses only, shared by processes, never half written."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from evalharness.core.attempts import Response, Usage
from evalharness.errors import StoreError
from evalharness.store import cache as module
from evalharness.store.cache import ResponseCache

FULL = Response(
    text="half \ud83e 🦉\x00",
    model="m",
    finish_reason="stop",
    usage=Usage(1, None),
    latency_ms=1.5,
    contexts=("a", "b"),
    scores={"s": 0.25},
)


def test_responses_come_back_as_they_were(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "deep" / "cache.sqlite")
    cache.put("full", FULL)
    cache.put("bare", Response(text=""))
    cache.close()
    again = ResponseCache(tmp_path / "deep" / "cache.sqlite")
    assert again.get_many(["full", "bare", "absent"]) == {"full": FULL, "bare": Response(text="")}
    again.close()


def test_thousands_of_keys_at_once(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "c")
    for i in range(2500):
        cache.put(str(i), Response(text=str(i)))
    cache.flush()
    assert len(cache.get_many(map(str, range(5000)))) == 2500
    cache.close()


def test_the_first_answer_stays_unless_it_is_replaced_on_purpose(tmp_path: Path) -> None:
    for text, replace, found in (("a", False, "a"), ("b", False, "a"), ("c", True, "c")):
        cache = ResponseCache(tmp_path / "c", replace=replace)
        cache.put("k", Response(text=text))
        cache.flush()
        assert cache.get_many(["k"])["k"].text == found
        cache.close()


@pytest.mark.parametrize("content", [b"this is not a database " * 100, b"\x00" * 8192])
def test_a_file_that_is_no_cache_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"cache\.sqlite: cannot open.*delete the file"):
        ResponseCache(path)


def test_a_damaged_page_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = ResponseCache(path)
    for i in range(500):
        cache.put(f"key-{i:04}", Response(text="x" * 200))
    cache.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"cannot (open|read) the response cache"):
        ResponseCache(path).get_many(["key-0001"])


@pytest.mark.parametrize("row", ["", "null", "[]", "{}", '{"output": 5}', "[" * 100_000])
def test_a_row_that_is_no_response_says_so(tmp_path: Path, row: str) -> None:
    cache = ResponseCache(tmp_path / "c")
    with sqlite3.connect(tmp_path / "c") as db:
        db.execute("INSERT INTO responses VALUES ('k', ?)", (row,))
    db.close()
    with pytest.raises(StoreError, match="cannot read the response cache"):
        cache.get_many(["k"])
    cache.close()


def test_a_write_that_failed_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)
    cache = ResponseCache(tmp_path / "c")
    other = sqlite3.connect(tmp_path / "c", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cache.put("k", Response(text="a"))
    with pytest.raises(StoreError, match="locked"):
        cache.flush()
    other.execute("ROLLBACK")
    other.close()
    cache.flush()
    assert cache.get_many(["k"])["k"].text == "a"
    cache.close()


def test_no_permission_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"):
        ResponseCache(tmp_path / "file" / "cache.sqlite")


WRITER = """
import sys
from pathlib import Path
from evalharness.core.attempts import Response
from evalharness.store.cache import ResponseCache
print("up", flush=True); sys.stdin.readline()
for round in range(5):
    cache = ResponseCache(Path(sys.argv[1]))
    for i in range(200):
        cache.put(f"{round}-{i}", Response(text=sys.argv[2]))
    cache.close()
"""


def test_processes_that_open_and_write_at_the_same_moment(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    processes = [
        subprocess.Popen(
            [*command, str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(6)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate(timeout=60)[1] == "" and process.returncode == 0
    cache = ResponseCache(path)
    found = cache.get_many(f"{r}-{i}" for r in range(5) for i in range(200))
    cache.close()
    assert len(found) == 1000


def test_a_killed_process_leaves_a_cache_that_works(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    script = f"""
import os, signal
from pathlib import Path
from evalharness.core.attempts import Response
from evalharness.store.cache import ResponseCache
cache = ResponseCache(Path({str(path)!r}))
for i in range(1200):
    cache.put(str(i), Response(text="x" * 100))
cache._db.execute("BEGIN IMMEDIATE")
cache._db.execute("INSERT INTO responses VALUES ('half', '{{}}')")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == -signal.SIGKILL
    cache = ResponseCache(path)
    found = cache.get_many([*map(str, range(1200)), "half"])
    assert len(found) == 1000  # what was committed, whole; the rest is in the journal
    cache.put("new", Response(text="y"))
    cache.close()
