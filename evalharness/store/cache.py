"""The response cache: SQLite in WAL mode, safe for several processes at once.

Only responses are kept, never failures: a failure that replayed from a cache would make every retry a pretence.
The key covers provider, model, the whole request and the repeat index.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from evalharness.core.attempts import Response
from evalharness.errors import StoreError
from evalharness.store.files import encode_ascii
from evalharness.store.records import response_from_row, response_to_row

_BUSY_SECONDS: Final = 30.0
_CHUNK: Final = 500
_CHECKED_BYTES: Final = 256 << 20


def known_keys(path: Path, keys: Iterable[str]) -> set[str]:
    """Which of these keys a cache answers; none where there is no cache at `path`. Nothing is created or changed.

    Raises:
        StoreError: not a cache, damaged, or no permission.
    """
    if not path.exists():
        return set()
    wanted, found = list(keys), set[str]()
    try:
        with contextlib.closing(_reading(path)) as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'responses'").fetchone() is None:
                return set()
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                marks = ",".join("?" * len(part))
                found.update(
                    key for (key,) in db.execute(f"SELECT key FROM responses WHERE key IN ({marks})", part)
                )
    except sqlite3.Error as error:
        raise _failed(path, "read", error) from error
    return found


def cache_size(path: Path) -> int | None:
    """How many responses a cache holds, None where there is none at `path`. Nothing is created or changed.

    A small one is checked page by page.

    Raises:
        StoreError: not a cache, damaged, or no permission.
    """
    if not path.exists():
        return None
    try:
        with contextlib.closing(_reading(path)) as db:
            if path.stat().st_size <= _CHECKED_BYTES:
                (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
                if said != "ok":
                    raise sqlite3.DatabaseError(str(said))
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'responses'").fetchone() is None:
                return 0
            (count,) = db.execute("SELECT count(*) FROM responses").fetchone()
    except (sqlite3.Error, OSError) as error:
        raise _failed(path, "read", error) from error
    return int(count)


def _reading(path: Path) -> sqlite3.Connection:
    # Without a write-ahead log nobody is writing, and SQLite need not make one only to read.
    quiet = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    address = f"{path.resolve().as_uri()}?mode=ro{quiet}"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)


class ResponseCache:
    """Key → Response. Writes are gathered and committed by `flush`, so that a commit is shared by many calls.

    The first answer to a key stays, so that two runs at once agree on it; with `replace` (a run that asks everything
    again) the new one takes its place. One thread at a time may use it.
    """

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        """Open or create.

        Raises:
            StoreError: not a cache, damaged, or no permission.
        """
        self._path = path
        self._insert = f"INSERT OR {'REPLACE' if replace else 'IGNORE'} INTO responses VALUES (?, ?)"
        self._pending: list[tuple[str, str]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # the run's loop may live in another thread than the one that opens and closes (a notebook)
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, OSError) as error:
            raise self._failed("open", error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise self._failed("open", error) from error

    def _prepare(self) -> None:
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID"
                )
                return
            except sqlite3.OperationalError as error:
                # The change to WAL does not wait for others as ordinary statements do.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def get_many(self, keys: Iterable[str]) -> dict[str, Response]:
        """The responses known for these keys.

        Raises:
            StoreError: damaged.
        """
        wanted = list(keys)
        found: dict[str, Response] = {}
        try:
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, row FROM responses WHERE key IN ({marks})"
                for key, row in self._db.execute(query, part):
                    found[key] = response_from_row(json.loads(row))
        except (sqlite3.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._failed("read", error) from error
        return found

    def put(self, key: str, response: Response) -> None:
        """Remember a response; it is on disk after the next flush.

        Raises:
            StoreError: what was gathered could not be written.
        """
        self._pending.append((key, encode_ascii(response_to_row(response))))
        if len(self._pending) >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Commit what `put` gathered.

        Raises:
            StoreError: it could not be written (disk full, locked for too long, damaged); it is still gathered.
        """
        if not self._pending:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(self._insert, self._pending)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise self._failed("write", error) from error
        self._pending.clear()

    def forget(self) -> None:
        """Drop what was gathered and not written."""
        self._pending.clear()

    def close(self) -> None:
        """Flush and close.

        Raises:
            StoreError: as `flush`; it is closed all the same.
        """
        try:
            self.flush()
        finally:
            self._db.close()

    def _failed(self, doing: str, error: Exception) -> StoreError:
        return _failed(self._path, doing, error)


def _failed(path: Path, doing: str, error: Exception) -> StoreError:
    return StoreError(
        f"{path}: cannot {doing} the response cache: {error}; free space, or delete the file "
        "(it only saves calls), and run the same command again"
    )
