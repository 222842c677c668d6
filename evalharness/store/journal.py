"""The append-only journal: every attempt is handed to the disk before the next one of its worker starts."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from evalharness.core.attempts import Attempt
from evalharness.errors import StoreError
from evalharness.store.files import encode, explain
from evalharness.store.records import attempt_from_row, attempt_to_row

NAME: Final = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal holds. `fresh`: the run it belongs to was to use nothing stored, and still must not."""

    attempts: list[Attempt] = field(default_factory=list)
    fresh: bool = False


class Journal:
    """One line per attempt, written with a single append, so that `kill -9` loses at most the line being written.

    The first line names the plan and says whether the run was to use nothing stored (`fresh`); a journal of another
    plan, or of another kind of run, is replaced.
    """

    def __init__(self, path: Path, *, plan: str, fresh: bool = False) -> None:
        """Open for appending.

        Raises:
            StoreError: the file cannot be opened or written.
        """
        self._path = path
        self._handle = -1
        self._torn = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            head = _head(path, plan)
            ours = head is not None and (head.get("fresh") is True) == fresh
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if ours else os.O_TRUNC)
            self._handle = os.open(path, flags, 0o644)
            # so that the next line does not grow onto a torn one
            self._torn = ours and _ends_torn(path)
        except OSError as error:
            raise explain(error, path, "open the journal") from error
        if not ours:
            try:
                self._write({"journal": 1, "plan": plan, "fresh": fresh})
            except StoreError:
                self.close()
                raise

    def append(self, attempt: Attempt) -> None:
        """Write one attempt.

        Raises:
            StoreError: the line could not be written whole (disk full); earlier lines are safe.
        """
        self._write(attempt_to_row(attempt))

    def _write(self, row: Any) -> None:
        data = (encode(row) + "\n").encode("utf-8", "surrogatepass")
        if self._torn:
            data = b"\n" + data
        try:
            while data:
                # true until the whole line is out: a full disk takes half of one
                self._torn = True
                data = data[os.write(self._handle, data) :]
        except OSError as error:
            raise explain(error, self._path, "append to the journal") from error
        self._torn = False

    def close(self) -> None:
        """Force what was written to the disk and close."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):  # a full device cannot sync; each line was already handed over
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1


def read_journal(path: Path, plan: str) -> Recovered:
    """Every whole line of the journal of `plan`; nothing where the file is missing or belongs to another plan.

    Torn or foreign lines are skipped: their attempts are simply made again.

    Raises:
        StoreError: the file is there and cannot be read.
    """
    try:
        head = _head(path, plan)
        if head is None:
            return Recovered()
        attempts: list[Attempt] = []
        for row in _rows(path):
            with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):
                attempts.append(attempt_from_row(row))
    except OSError as error:
        raise explain(error, path, "read the journal") from error
    return Recovered(attempts, fresh=head.get("fresh") is True)


def _head(path: Path, plan: str) -> dict[str, Any] | None:
    """The first line, where it is that of a journal of `plan`."""
    if not path.exists():
        return None
    head = next(_rows(path), None)
    return head if isinstance(head, dict) and head.get("plan") == plan and "journal" in head else None


def _rows(path: Path) -> Iterator[Any]:
    # bytes: a line torn inside a character must cost that line, not the file
    with open(path, "rb") as stream:
        for line in stream:
            try:
                yield json.loads(line.decode("utf-8", "surrogatepass"))
            except (ValueError, RecursionError):
                yield None


def _ends_torn(path: Path) -> bool:
    with open(path, "rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
