"""The documents of a retriever: ids in memory, texts read from the file when they are needed."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from evalharness.errors import Problem, SpecError, UsageError

MAX_NAMED: Final = 10
"""Ids that a message names."""
MAX_PROBLEMS: Final = 50
"""Problems of one file that are told in words."""
_HINT: Final = 'write {"_id": "d1", "title": "...", "text": "..."}, or id, a tab, and the text'


class _BadLine(ValueError):
    """A line that is no document; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(message)


class Corpus:
    """Documents of one file, in its order. Each is known by its place, 0 to len − 1.

    JSON Lines with `_id` or `id`, `text` and perhaps `title` (BEIR's form; other keys are not read), or, where the file
    ends in `.tsv`, `id<TAB>text` or `id<TAB>title<TAB>text`. The text of a document is its title and its text, with a
    blank between them. Memory holds ids and places, never the texts: they are read again where they are needed.

    Raises:
        SpecError: every problem with its line, an id that stands twice among them. UsageError: it cannot be read.
    """

    def __init__(self, path: Path, shown: str | None = None) -> None:
        self.path = path
        self.ids: list[str] = []
        self.empty: list[int] = []
        """Places of documents without any text: nothing can find them by what they say."""
        self._starts = array("q")
        self._places: dict[str, int] = {}
        self._read(shown or path.name)

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, name: str) -> int | None:
        """The place of a document by its id, None where there is none of that id."""
        return self._places.get(name)

    def texts(self, places: Iterable[int]) -> list[str]:
        """Title and text of the documents at these places.

        Raises:
            UsageError: the file is not there any more, or changed since it was read first.
        """
        found = []
        try:
            with self.path.open("rb") as file:
                for place in places:
                    file.seek(self._starts[place])
                    name, text = _document(file.readline(), self.path.suffix == ".tsv")
                    if name != self.ids[place]:
                        raise _BadLine("another document stands there now")
                    found.append(text)
        except (OSError, _BadLine) as error:
            raise UsageError(f"{self.path.name} changed while it was read ({error}); run again") from error
        return found

    def _read(self, shown: str) -> None:
        problems: list[Problem] = []
        lines = array("q")
        first = self._places
        tabs = self.path.suffix == ".tsv"
        try:
            for number, start, raw in _lines(self.path):
                try:
                    name, text = _document(raw, tabs)
                    if name in first:
                        raise _BadLine(
                            f"the document {name[:60]!r} is already on line {lines[first[name]]}",
                            "keep one of them",
                        )
                except _BadLine as error:
                    problems.append(Problem(str(error), shown, number, hint=error.hint))
                    continue
                first[name] = len(self.ids)
                if not text:
                    self.empty.append(len(self.ids))
                self.ids.append(name)
                self._starts.append(start)
                lines.append(number)
        except OSError as error:
            raise UsageError(f"{shown}: cannot be read: {error.strerror or error}") from error
        if not self.ids and not problems:
            problems.append(Problem("holds no documents", shown, hint=_HINT))
        if len(problems) > MAX_PROBLEMS:
            more = Problem(f"and {len(problems) - MAX_PROBLEMS:,} more lines with problems", shown)
            problems = [*problems[:MAX_PROBLEMS], more]
        if problems:
            raise SpecError(problems)


def named(ids: Sequence[str]) -> str:
    """The first ids of many, as they stand in a message."""
    return ", ".join(repr(name[:60]) for name in ids[:MAX_NAMED]) + (", …" if len(ids) > MAX_NAMED else "")


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(line number, byte where it starts, line) of every line that is not blank."""
    start = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if raw.strip() not in (b"", b"\xef\xbb\xbf"):
                yield number, start, raw
            start += len(raw)


def _document(raw: bytes, tabs: bool) -> tuple[str, str]:
    """Id, and title and text, of one line.

    Raises:
        _BadLine: it is no document; says why.
    """
    try:
        line = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise _BadLine(
            f"is not valid UTF-8 (byte 0x{error.object[error.start]:02x})", "save it as UTF-8"
        ) from None
    if tabs:
        name, *parts = line.rstrip("\r\n").split("\t")
        if not 1 <= len(parts) <= 2:
            raise _BadLine(f"has {len(parts) + 1} columns", "write id, a tab, and the text")
    else:
        name, parts = _of_json(_parsed(line))
    if not name.strip():
        raise _BadLine("has no id", _HINT)
    if not name.isprintable() or name != name.strip():
        raise _BadLine(f"the id {name[:60]!r} is padded with spaces or holds control characters")
    return name, " ".join(text for part in parts if (text := part.strip()))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(line.rstrip()) - 1 or error.msg.startswith("Unterminated string")
        raise _BadLine(
            "the line ends in the middle of a JSON value"
            if cut
            else f"is not JSON: {error.msg} at column {error.colno}",
            "one document has to be on one line" if cut else _HINT,
        ) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, a nest of thousands of brackets
        raise _BadLine("is no document", _HINT) from None


def _of_json(value: Any) -> tuple[str, list[str]]:
    if not isinstance(value, dict):
        raise _BadLine("is not an object", _HINT)
    name = value.get("_id", value.get("id"))
    if type(name) is int:  # other tools write numbers; qrels hold them as text
        name = str(name)
    title, text = value.get("title"), value.get("text")
    for key, item, needed in (("_id", name, True), ("title", title, False), ("text", text, True)):
        if not isinstance(item, str) and (needed or item is not None):
            raise _BadLine(f"{key} is {'missing' if item is None else 'not a text'}", _HINT)
        if isinstance(item, str) and any("\ud800" <= character <= "\udfff" for character in item):
            raise _BadLine(f"{key} holds half a character (a lone surrogate such as \\ud800)")
    return str(name), [title or "", str(text)]
