"""Training files → rows, one at a time: no file is held in memory, and no line, archive or table can fill it.

JSON Lines, JSON (a list, or objects one after the other), CSV and TSV with a header, plain text, all of them also
as .gz, and Parquet. What cannot be read is told with its place and never left out in silence.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import glob
import gzip
import itertools
import json
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from evalharness._lazy import require
from evalharness.contamination.rows import KNOWN_KEYS, PLAIN, Row, row_of
from evalharness.errors import Problem, SpecError

MAX_ROW: Final = 16 * 2**20
"""Bytes of one row; a longer one is told and left out."""
MAX_EXPANSION: Final = 200
"""A .gz that becomes so many times larger is no text that a person or a model wrote (looked at from 256 MiB on)."""
ENDINGS: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".md", ".parquet")
_EXPANSION_FROM: Final = 256 * 2**20
_CHUNK: Final = 2**20
_PLAIN_CHARS: Final = 2**18
_PLAIN_OVERLAP: Final = 2**15
_PARQUET_BYTES: Final = 2**24
_BEFORE: Final = re.compile(r"\s*\[?\s*")
_BETWEEN: Final = re.compile(r"[\s,\]]*")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be read."""

    file: str
    line: int
    why: str


class FileRefusedError(Exception):
    """A file that cannot be read to its end. Handled by whoever reads it: the other files are still looked at."""

    def __init__(self, message: str, line: int | None = None, hint: str | None = None) -> None:
        self.line = line
        self.hint = hint
        super().__init__(message)


def find_files(patterns: Sequence[str], cwd: Path) -> list[Path]:
    """The files that paths and patterns (`data/*.jsonl`, `data/**/*.parquet`) name, sorted, each once.

    Raises:
        SpecError: a pattern that matches nothing, a folder, or a file of another kind; all of them at once.
    """
    found: dict[Path, Path] = {}
    problems: list[Problem] = []
    for pattern in patterns:
        whole = cwd / pattern
        named = [whole] if whole.exists() else glob.glob(pattern, root_dir=cwd, recursive=True)
        paths = [cwd / path for path in named]
        files = [path for path in paths if path.is_file()]
        if not files:
            problems.append(_nothing(pattern, paths))
        for path in files:
            if _ending(path) not in ENDINGS:
                hint = f"what is read: {', '.join(ENDINGS)}, all but the last also as .gz"
                problems.append(Problem("is of no kind that is read as training data", str(path), hint=hint))
            found.setdefault(path.resolve(), path)
    if problems:
        raise SpecError(problems)
    return sorted(found.values())


def _nothing(pattern: str, paths: Sequence[Path]) -> Problem:
    if paths and not paths[0].is_dir():
        return Problem(f"{pattern!r} is no regular file", hint="write it to a file first")
    if paths:
        return Problem(f"{pattern!r} is a folder", hint=f"name its files: '{pattern.rstrip('/')}/*.jsonl'")
    return Problem(f"{pattern!r} matches no file", hint="nothing would be checked; mend the path or pattern")


def _ending(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def read_rows(path: Path, shown: str, text_keys: Collection[str] = ()) -> Iterator[Row | Unreadable]:
    """The rows of one file, in order.

    Args:
        path: the file.
        shown: how it is called in rows and messages.
        text_keys: keys (columns) whose values are text, beside the known ones.

    Raises:
        FileRefusedError: it cannot be opened or read to its end.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    ending = _ending(path)
    try:
        if ending == ".parquet":
            yield from _parquet(path, shown, text_keys)
            return
        with contextlib.closing(_Lines(path)) as lines:
            lines.refuse_utf16()
            if ending in (".jsonl", ".ndjson"):
                yield from _json_lines(lines, shown, text_keys)
            elif ending == ".json":
                yield from _json_values(lines, shown, text_keys)
            elif ending in (".csv", ".tsv"):
                yield from _csv(lines, shown, text_keys, tabs=ending == ".tsv")
            else:
                yield from _plain(lines, shown)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FileRefusedError(f"is not a whole .gz file: {error}", hint="write or fetch it again") from None
    except OSError as error:
        raise FileRefusedError(f"cannot be read: {error.strerror or error}") from None


class _Lines:
    """The lines of a file as bytes, at most MAX_ROW of each. `number` is that of the last line read."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        packed = path.name.lower().endswith(".gz")
        self._stream: IO[bytes] = gzip.GzipFile(fileobj=self._raw) if packed else self._raw  # type: ignore[assignment]
        self._packed = packed
        self._size = max(1, path.stat().st_size)
        self._read = 0
        self.number = 0
        self.why = ""

    def refuse_utf16(self) -> None:
        """Raise FileRefusedError where the file starts as UTF-16 does; the next line is the first one."""
        if self._stream.read(3).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise FileRefusedError("is UTF-16", 1, "save it as UTF-8")
        self._stream.seek(0)

    def close(self) -> None:
        self._stream.close()
        self._raw.close()

    def __iter__(self) -> Iterator[bytes | None]:
        """Each line with its line end; None for one that is too long."""
        while line := self._stream.readline(MAX_ROW + 1):
            self._count(len(line))
            self.number += 1
            if len(line) <= MAX_ROW:
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(_CHUNK)
                self._count(len(line))
            yield None

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they come, whatever the lines."""
        while chunk := self._stream.read(_CHUNK):
            self._count(len(chunk))
            yield chunk

    def _count(self, size: int) -> None:
        self._read += size
        if self._packed and self._read > max(_EXPANSION_FROM, MAX_EXPANSION * self._size):
            message = f"becomes more than {MAX_EXPANSION} times its size"
            raise FileRefusedError(message, self.number or None, "is it an archive bomb?")

    def texts(self) -> Iterator[str | None]:
        """Each line as text; None for one that cannot be read, and `why` then says why not."""
        for raw in self:
            if raw is None:
                self.why = f"is longer than {MAX_ROW / 2**20:g} MiB"
                yield None
                continue
            if self.number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                yield raw.decode("utf-8")
            except UnicodeDecodeError:
                self.why = "is not valid UTF-8"
                yield None


def _json_lines(lines: _Lines, shown: str, text_keys: Collection[str]) -> Iterator[Row | Unreadable]:
    for text in lines.texts():
        number = lines.number
        if text is None:
            yield Unreadable(shown, number, lines.why)
        elif not text.isspace():
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield Unreadable(shown, number, _not_json(error))
                continue
            yield row_of(value, shown, number, text_keys)


def _not_json(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} at column {error.colno}"
    return "is nested too deeply" if isinstance(error, RecursionError) else "holds a number that is too long"


def _json_values(lines: _Lines, shown: str, text_keys: Collection[str]) -> Iterator[Row | Unreadable]:
    """The items of a list, or values one after the other; no more is read than the next value needs."""
    decode = json.JSONDecoder().raw_decode
    chunks = codecs.iterdecode(lines.chunks(), "utf-8-sig")
    text, at, line, more, between = "", 0, 1, True, _BEFORE
    while True:
        found = between.match(text, at)
        start = found.end() if found else at
        line += text.count("\n", at, start)
        at = start
        if at < len(text):
            between = _BETWEEN
            try:
                value, end = decode(text, at)
            except RecursionError:
                raise FileRefusedError("is nested too deeply", line) from None
            except ValueError as error:
                if not more:
                    raise FileRefusedError(_not_json(error), line, "nothing behind it was read") from None
                end = len(text)  # perhaps it goes on
            if end < len(text) or not more:
                yield row_of(value, shown, line, text_keys)
                line += text.count("\n", at, end)
                at = end
                continue
        elif not more:
            return
        if len(text) - at > MAX_ROW:
            raise FileRefusedError("is not JSON, or holds a value that is too long", line)
        text, at = text[at:], 0
        # Twice as much each time: a long value is tried a few times, not once a chunk.
        wanted = max(2 * len(text), 1)
        while more and len(text) < wanted:
            try:
                chunk = next(chunks, None)
            except UnicodeDecodeError:
                raise FileRefusedError("is not valid UTF-8", line, "save it as UTF-8") from None
            more = chunk is not None
            text += chunk or ""


def _csv(lines: _Lines, shown: str, text_keys: Collection[str], *, tabs: bool) -> Iterator[Row | Unreadable]:
    """Rows under a first line that names the columns, which are read as keys."""
    bad: list[Unreadable] = []

    def texts() -> Iterator[str]:
        for text in lines.texts():
            if text is None:
                bad.append(Unreadable(shown, lines.number, lines.why))
            yield text or "\n"

    source = texts()
    head = next(source, "")
    semicolons = ";" in head and "," not in head  # spreadsheets of some languages save them
    reader = csv.reader(
        itertools.chain([head], source), delimiter="\t" if tabs else ";" if semicolons else ",", strict=False
    )
    names: list[str] = []
    while True:
        line = reader.line_num + 1
        before = csv.field_size_limit(MAX_ROW)  # the whole process has one
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Unreadable(shown, line, f"is not CSV: {error}")
            continue
        finally:
            csv.field_size_limit(before)
        yield from bad
        bad.clear()
        if cells is None:
            return
        if not names:
            names = [name.strip() for name in cells]
        elif len(cells) > len(names):
            yield Unreadable(
                shown, line, f"has {len(cells)} cells, and the first line names {len(names)} columns"
            )
        elif cells:
            yield row_of(dict(zip(names, cells, strict=False)), shown, line, text_keys)


def _plain(lines: _Lines, shown: str) -> Iterator[Row | Unreadable]:
    """Stretches of a text file that overlap; their fields are paragraphs, or lines where no line is blank."""
    held: list[tuple[int, str]] = []
    size, carried = 0, 0
    for text in lines.texts():
        if text is None:
            yield Unreadable(shown, lines.number, lines.why)
        stripped = (text or "").strip()
        held.append((lines.number, stripped))
        size += len(stripped) + 1
        if size >= _PLAIN_CHARS and (not stripped or size >= 4 * _PLAIN_CHARS):
            yield _stretch(held, carried, shown)
            held = _tail(held)
            carried, size = len(held), sum(len(one) + 1 for _, one in held)
    if len(held) > carried:
        yield _stretch(held, carried, shown)


def _stretch(held: Sequence[tuple[int, str]], carried: int, shown: str) -> Row:
    paragraphs = any(not text for _, text in held[:-1])
    fields: list[str] = []
    places: list[int] = []
    seen_before, fresh = 0, True
    for place, (number, text) in enumerate(held):
        if not text:
            fresh = True
            continue
        if fresh or not paragraphs:
            fields.append(text)
            places.append(number)
            seen_before += place < carried
        else:
            fields[-1] += "\n" + text
        fresh = False
    return Row(shown, held[0][0], PLAIN, fields, lines=places, seen_before=seen_before)


def _tail(held: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """The last lines, in all no longer than the overlap, from a paragraph's start if there is one."""
    size, start = 0, len(held)
    while start > 0 and size + len(held[start - 1][1]) + 1 <= _PLAIN_OVERLAP:
        start -= 1
        size += len(held[start][1]) + 1
    blank = next((place for place in range(start, len(held) - 1) if not held[place][1]), None)
    return list(held[start if blank is None else blank :])


def _parquet(path: Path, shown: str, text_keys: Collection[str]) -> Iterator[Row | Unreadable]:
    parquet: Any = require("pyarrow.parquet", extra="contamination", why=f"read {shown}")
    arrow: Any = require("pyarrow", extra="contamination", why=f"read {shown}")
    try:
        with parquet.ParquetFile(path) as file:
            about = file.metadata
            size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
            if about.num_rows and size / about.num_rows > MAX_ROW:
                raise FileRefusedError(f"has rows of {size // about.num_rows // 2**20} MiB")
            at_once = max(1, min(1024, int(_PARQUET_BYTES * about.num_rows / max(size, 1))))
            number = 0
            names = file.schema_arrow.names
            # Pictures and vectors stand beside texts: columns that hold none are not read.
            known = [name for name in names if name in KNOWN_KEYS or name in text_keys]
            for batch in file.iter_batches(batch_size=at_once, columns=known or None):
                for value in batch.to_pylist():
                    number += 1
                    yield row_of(value, shown, number, text_keys)
    except (arrow.ArrowException, ValueError, OverflowError) as error:
        said = " ".join(str(error).split())[:200]
        raise FileRefusedError(f"is not Parquet that can be read: {said}") from None
