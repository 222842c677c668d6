"""comparison.json of a report folder, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from evalharness.errors import StoreError
from evalharness.store.files import read_json

NAME: Final = "comparison.json"
_NAMED: Final = (
    ("baseline", ("name", "run_id", "digest")),
    ("candidate", ("name", "run_id", "digest")),
    ("suite", ("name", "digest")),
)


def read_comparison(folder: Path) -> dict[str, Any]:
    """The comparison.json of a report folder, with what other programs rely on.

    Raises:
        StoreError: missing, damaged, or of a schema this version does not know.
    """
    path = folder / NAME
    found = read_json(path)
    rows = ("metrics", "slices")
    whole = (
        isinstance(found, dict)
        and found.get("schema_version") == 1
        and isinstance(found.get("verdict"), str)
        and type(found.get("exit_code")) is int
        and all(isinstance(found.get(key), list) for key in (*rows, "reasons"))
        and all(_is_row(row) for key in rows for row in found[key])
        and all(
            isinstance(about := found.get(key), dict)
            and all(isinstance(about.get(name), str) for name in names)
            for key, names in _NAMED
        )
    )
    if not whole:
        raise StoreError(f"{path}: damaged, or of another version; run compare again")
    document: dict[str, Any] = found
    return document


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in ("id", "unit", "status"))
        and row.get("direction") in ("higher", "lower")
    )
