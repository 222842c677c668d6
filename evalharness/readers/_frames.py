"""Tables: CSV, TSV, JSON Lines, a JSON list, Parquet. Cells as they stand; nothing in a cell is ever run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalharness._lazy import require
from evalharness.readers._files import (
    MOST_BYTES,
    BadJson,
    Problems,
    head_object,
    parse,
    read_bytes,
    read_lines,
    refuse,
)

TABLES: Final = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_MOST_CELL: Final = 100_000_000
_MOST_COLUMNS: Final = 10_000
_TRUTH: Final = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "pass": 1.0, "fail": 0.0}


@dataclass(frozen=True, slots=True)
class Frame:
    """A table in memory: `rows` holds (line, cells by column). A cell that is empty or absent is not in its row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, Any]], ...]
    texts: bool
    """Whether cells are texts whatever they hold (CSV)."""


def columns_of(path: Path, head: bytes) -> tuple[str, ...]:
    """The columns a file seems to have, () where it is no table; for telling formats apart."""
    try:
        if path.suffix in (".csv", ".tsv"):
            return tuple(
                next(csv.reader(io.StringIO(_text(head_object(head))), delimiter=_delimiter(path, head)), ())
            )
        if path.suffix == ".jsonl":
            return _keys(parse(head_object(head)))
        if path.suffix == ".json" and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            text = head.decode("utf-8-sig", "replace").lstrip()
            return _keys(json.JSONDecoder().raw_decode(text[1:].lstrip())[0])
        if path.suffix == ".parquet":
            return tuple(_parquet(path).schema_arrow.names)
    except (ValueError, csv.Error, RecursionError, OSError):
        pass
    return ()


def read_frame(path: Path, problems: Problems) -> Frame:
    """The whole table. What is wrong with single rows goes to `problems`.

    Raises:
        SpecError: it is no table, empty, too large or not UTF-8. MissingExtraError: Parquet cannot be read.
    """
    if path.suffix in (".csv", ".tsv"):
        return _csv(path, problems)
    if path.suffix == ".parquet":
        return _of_objects(_parquet_rows(path), path)
    if path.suffix == ".json":
        try:
            found = parse(read_bytes(path))
        except BadJson as error:
            raise refuse(path, str(error), error.hint) from None
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise refuse(path, "is no list of objects", "write one object a row")
        return _of_objects(enumerate(found, 1), path)
    return _of_objects(read_lines(path, problems), path)


def plain(value: Any, texts: bool) -> Any:
    """A cell as a number where it is one: CSV holds texts only."""
    if not texts or not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word in _TRUTH:
        return _TRUTH[word]
    try:
        return float(word)
    except ValueError:
        return value


def is_score(frame: Frame, column: str) -> bool:
    """Whether most cells of a column that hold something hold numbers, or none holds anything."""
    cells = [plain(row[column], frame.texts) for _, row in frame.rows if column in row]
    return 2 * sum(isinstance(cell, bool | int | float) for cell in cells) >= len(cells)


def _csv(path: Path, problems: Problems) -> Frame:
    data = read_bytes(path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise refuse(path, "is UTF-16", "save it as CSV in UTF-8", 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse(
            path, f"is not UTF-8 (byte 0x{data[error.start]:02x})", "save it as CSV in UTF-8", line
        ) from None
    if "\0" in text:
        raise refuse(
            path, "holds a NUL byte", "is it a text file?", text.count("\n", 0, text.index("\0")) + 1
        )
    csv.field_size_limit(_MOST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, data[:65536]))
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header)
        before = reader.line_num
        for cells in reader:
            line, before = before + 1, reader.line_num
            if not any(cells):
                continue
            if len(cells) != len(header):
                problems.add(
                    f"has {len(cells)} cells where the header has {len(header)}",
                    line,
                    "quote cells that hold the delimiter",
                )
                continue
            rows.append((line, {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}))
    except csv.Error as error:
        raise refuse(path, f"is no CSV: {error}", None, reader.line_num) from None
    return Frame(tuple(header), tuple(rows), texts=True)


def _check_header(path: Path, header: list[str]) -> None:
    twice = (
        sorted({name for name in header if header.count(name) > 1}) if len(header) <= _MOST_COLUMNS else []
    )
    if len(header) > _MOST_COLUMNS:
        raise refuse(path, f"has more than {_MOST_COLUMNS:,} columns", None, 1)
    if twice:
        raise refuse(path, f"the column {twice[0]!r} stands twice", "rename one of them", 1)
    if not header or all(_is_number(name) for name in header):
        raise refuse(path, "has no header", "the first line must name the columns", 1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == ""
    return True


def _delimiter(path: Path, head: bytes) -> str:
    if path.suffix == ".tsv":
        return "\t"
    first = _text(head_object(head))
    return max((",", ";", "\t"), key=first.count)


def _text(line: bytes) -> str:
    return line.decode("utf-8-sig", "replace")


def _keys(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, dict) else ()


def _of_objects(rows: Iterator[tuple[int, dict[str, Any]]], path: Path) -> Frame:
    columns: dict[str, None] = {}
    found = []
    for line, row in rows:
        columns |= dict.fromkeys(row)
        if len(columns) > _MOST_COLUMNS:
            raise refuse(path, f"has more than {_MOST_COLUMNS:,} columns", None, line)
        found.append((line, {name: value for name, value in row.items() if value is not None}))
    return Frame(tuple(columns), tuple(found), texts=False)


def _parquet(path: Path) -> Any:
    parquet: Any = require("pyarrow.parquet", extra="benchmarks", why="read Parquet files")
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise refuse(path, f"is no whole Parquet file ({str(error)[:200]})") from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    file = _parquet(path)
    about = file.metadata
    size = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
    if size > MOST_BYTES:
        raise refuse(path, f"unpacks to more than {MOST_BYTES // 1_000_000:,} MB", "split it")
    line = 0
    try:
        for batch in file.iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                line += 1
                yield line, row
    except (OSError, ValueError) as error:
        raise refuse(path, f"is damaged ({str(error)[:200]})", "copy the file again") from None
