"""The response cache: SQLite in WAL mode, safe for several processes at once.

Only responses are kept, never failures: a failure that replayed from a cache would make every retry a pretence.
The key covers provider, model, the whole request and the repeat index.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from evalharness.core.attempts import Response
from evalharness.errors import StoreError
from evalharness.store.records import response_from_row, response_to_row

_BUSY_SECONDS = 30.0
_CHUNK = 500


class ResponseCache:
    """Key → Response. Writes are gathered and committed by `flush`, so that a commit is shared by many calls."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: list[tuple[str, str]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID"
            )
        except (sqlite3.Error, OSError) as error:
            raise self._failed("open", error) from error

    def get_many(self, keys: Iterable[str]) -> dict[str, Response]:
        """The responses known for these keys."""
        wanted = list(keys)
        found: dict[str, Response] = {}
        try:
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, row FROM responses WHERE key IN ({marks})"
                for key, row in self._db.execute(query, part):
                    found[key] = response_from_row(json.loads(row))
        except (sqlite3.Error, ValueError, KeyError) as error:
            raise self._failed("read", error) from error
        return found

    def put(self, key: str, response: Response) -> None:
        """Remember a response; it is on disk after the next flush."""
        self._pending.append((key, json.dumps(response_to_row(response))))
        if len(self._pending) >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Commit what `put` gathered. The first answer to a key stays: two runs at once agree on it."""
        if not self._pending:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR IGNORE INTO responses VALUES (?, ?)", self._pending)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed("write", error) from error
        self._pending.clear()

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            self._db.close()

    def _failed(self, doing: str, error: Exception) -> StoreError:
        return StoreError(
            f"{self._path}: cannot {doing} the response cache: {error}; free space or delete the file "
            "(it only saves calls) and run the same command again"
        )
