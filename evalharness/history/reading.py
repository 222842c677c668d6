"""The scores of chosen metrics out of many run folders: one scan with DuckDB where it is installed.

Measured on two cores, 300 runs of 1,000 cases: 1.5 s with DuckDB, 4.2 s line by line.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from evalharness._lazy import require
from evalharness.core.runs import AttemptKey
from evalharness.core.scores import Score
from evalharness.errors import StoreError
from evalharness.store.files import file_digest, read_lines
from evalharness.store.folder import SCORES, refuse_edited
from evalharness.store.records import score_from_value

Row: TypeAlias = "tuple[str, str, int, Mapping[str, Any]]"
"""(golden set, case id, repeat, score by metric id as it is stored)"""
FEW: Final = 50
"""Up to this many runs it does not matter how they are read."""
_GLOB: Final = re.compile(r"[*?\[\]{}]")


@dataclass(slots=True)
class RunScores:
    """What was read of one run: by metric every key it was asked, with its score or None; or why it cannot be used."""

    scores: dict[str, dict[AttemptKey, Score | None]] = field(default_factory=dict)
    problem: str | None = None


def can_scan() -> bool:
    """Whether DuckDB is installed."""
    return importlib.util.find_spec("duckdb") is not None


def read_scores(
    manifests: Mapping[Path, Mapping[str, Any]], metrics: Sequence[str], *, scan: bool
) -> dict[Path, RunScores]:
    """The scores of `metrics` in each run folder. `scan`: with DuckDB, in one pass.

    A run whose scores are not those that its manifest was written with has a problem in place of scores.
    """
    found: dict[Path, RunScores] = {}
    fine: list[Path] = []
    for folder, manifest in manifests.items():
        found[folder] = RunScores()
        if manifest["files"].get(SCORES) == file_digest(folder / SCORES):
            fine.append(folder)
        else:
            found[folder].problem = str(refuse_edited(folder, SCORES))
    if scan and fine and not any(_GLOB.search(str(folder)) for folder in fine):
        try:
            _fill(found, manifests, _scanned(fine, metrics), metrics)
            return found
        except StoreError:  # one file that it cannot read ends the scan: read each by itself, and say which
            for folder in fine:
                found[folder] = RunScores()
    for folder in fine:
        try:
            _fill(found, manifests, ((folder, row) for row in _lines(folder)), metrics)
        except (StoreError, KeyError, TypeError, AttributeError, ValueError) as error:
            found[folder] = RunScores(problem=f"{folder / SCORES}: damaged ({error})")
    return found


def _fill(
    found: Mapping[Path, RunScores],
    manifests: Mapping[Path, Mapping[str, Any]],
    rows: Iterable[tuple[Path, Row]],
    metrics: Sequence[str],
) -> None:
    for folder, (golden_set, case_id, repeat, values) in rows:
        sets = manifests[folder]["metrics"]
        for metric in metrics:
            if sets.get(metric) == golden_set:
                value = values.get(metric)
                score = None if value is None else score_from_value(value)
                found[folder].scores.setdefault(metric, {})[case_id, repeat] = score


def _lines(folder: Path) -> Iterator[Row]:
    for row in read_lines(folder / SCORES):
        yield row["golden_set"], row["id"], row["repeat"], row["scores"]


def _scanned(folders: Sequence[Path], metrics: Sequence[str]) -> Iterator[tuple[Path, Row]]:
    """Every row of every file.

    Raises:
        StoreError: DuckDB cannot read one of them.
    """
    duckdb = require("duckdb", extra="traffic", why="scan run folders")
    files = {str(folder / SCORES): folder for folder in folders}
    pointers = ["/" + metric.replace("~", "~0").replace("/", "~1") for metric in metrics]
    columns = ", ".join(["json_extract(scores, ?)"] * len(metrics))
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
    shape = "{golden_set: 'VARCHAR', id: 'VARCHAR', repeat: 'BIGINT', scores: 'JSON'}"
    query = (
        f"SELECT filename, golden_set, id, repeat, {columns} "
        f"FROM read_json([{names}], format = 'newline_delimited', columns = {shape}, filename = true)"
    )
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
            cursor = connection.execute(query, pointers)
            while part := cursor.fetchmany(50_000):
                for name, golden_set, case_id, repeat, *values in part:
                    stored = {
                        metric: json.loads(value)
                        for metric, value in zip(metrics, values, strict=True)
                        if value is not None
                    }
                    yield files[name], (golden_set, case_id, repeat, stored)
    except duckdb.Error as error:
        raise StoreError(f"DuckDB: {error}") from error
