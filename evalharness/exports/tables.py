"""Rows as files: CSV (RFC 4180), JSON Lines and Parquet, each complete or not there."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from evalharness._lazy import require
from evalharness.exports.rows import Kind
from evalharness.store.files import atomic_writer, encode, explain

Columns = Mapping[str, Kind]
_ROWS_AT_ONCE: Final = 20_000
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_FORMULA: Final = re.compile("[=+\\-@\t\r\n＝＋－＠]")
"""What makes a spreadsheet read a cell as a formula, in its full-width form, too (OWASP, CSV Injection)."""


def write_csv(
    path: Path, columns: Columns, rows: Iterable[Mapping[str, Any]], *, spreadsheet: bool = False
) -> int:
    """Write a table as RFC 4180: a header, CRLF, quotes where needed, UTF-8. An empty cell is "nothing".

    A cell of text is as it is. `spreadsheet` puts an apostrophe before one that a spreadsheet would run as a formula,
    so that the file can be opened in one; another program would read the apostrophe as a part of the text.

    Returns:
        The number of rows.

    Raises:
        StoreError: the file cannot be written.
    """
    number = 0
    with atomic_writer(path) as stream:
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(row[name], kind, spreadsheet) for name, kind in columns.items()])
            number += 1
    return number


def _cell(value: Any, kind: Kind, spreadsheet: bool) -> str:
    if value is None:
        return ""
    if kind == "boolean":
        return "true" if value else "false"
    if kind in ("number", "integer"):
        return repr(value)
    text = encode(value) if kind == "tags" else str(value)
    if kind == "tags" and not value:
        return ""
    text = _SURROGATES.sub("\ufffd", text)
    return f"'{text}" if spreadsheet and _FORMULA.match(text) else text


def write_jsonl(path: Path, columns: Columns, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a table as JSON Lines: every column in every object, null where there is nothing.

    Returns:
        The number of rows.

    Raises:
        StoreError: the file cannot be written.
    """
    number = 0
    with atomic_writer(path) as stream:
        for row in rows:
            stream.write(_SURROGATES.sub("\ufffd", encode({name: row[name] for name in columns})) + "\n")
            number += 1
    return number


def write_parquet(path: Path, columns: Columns, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a table as Parquet: numbers as doubles, tags as a map of strings, what is missing as null.

    Returns:
        The number of rows.

    Raises:
        MissingExtraError: pyarrow is not installed. StoreError: the file cannot be written.
    """
    pa = require("pyarrow", extra="parquet", why="write Parquet")
    parquet = require("pyarrow.parquet", extra="parquet", why="write Parquet")
    types = {
        "text": pa.string(),
        "number": pa.float64(),
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "tags": pa.map_(pa.string(), pa.string()),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    number = 0
    with _appears(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for part in _parts(rows):
            table = {name: [_plain(row[name], kind) for row in part] for name, kind in columns.items()}
            writer.write_table(pa.table(table, schema=schema))
            number += len(part)
    return number


def _plain(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "tags":
        return [(_plain(key, "text"), _plain(str(item), "text")) for key, item in value.items()]
    return _SURROGATES.sub("\ufffd", str(value)) if kind == "text" else value


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while part := list(islice(left, _ROWS_AT_ONCE)):
        yield part


@contextlib.contextmanager
def _appears(path: Path) -> Iterator[Path]:
    """A place to write a file that then appears under `path` complete or not at all."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise explain(error, path, "write the file") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


WRITERS: Final[Mapping[str, Callable[..., int]]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
