"""The append-only journal: every attempt is on disk before the next one of its worker starts."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from evalharness.core.attempts import Attempt
from evalharness.store.files import explain
from evalharness.store.records import attempt_from_row, attempt_to_row


class Journal:
    """One line per attempt, written with a single append, so that `kill -9` loses at most the line being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if _ends_torn(path):
                os.write(self._handle, b"\n")  # so that the next line does not grow onto the torn one
        except OSError as error:
            raise explain(error, path, "open the journal") from error

    def append(self, attempt: Attempt) -> None:
        """Write one attempt.

        Raises:
            StoreError: the line could not be written whole (disk full); earlier lines are safe.
        """
        line = json.dumps(attempt_to_row(attempt), ensure_ascii=False, separators=(",", ":")) + "\n"
        data = line.encode("utf-8", "surrogatepass")
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError as error:
            raise explain(error, self._path, "append to the journal") from error

    def close(self) -> None:
        """Force what was written to the disk and close."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):  # a full device cannot sync; each line was already handed over
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1


def read_journal(path: Path) -> list[Attempt]:
    """Every whole line of a journal. Torn or foreign lines are skipped: their attempts are simply made again."""
    if not path.exists():
        return []
    attempts: list[Attempt] = []
    try:
        with open(path, encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
            for line in stream:
                try:
                    row: Any = json.loads(line)
                    attempts.append(attempt_from_row(row))
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
    except OSError as error:
        raise explain(error, path, "read the journal") from error
    return attempts


def _ends_torn(path: Path) -> bool:
    with open(path, "rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
