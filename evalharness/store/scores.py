"""What batch scorers said before: SQLite beside the response cache, so that a comparison made again pays nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evalharness._canon import digest
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Score, Scored
from evalharness.errors import StoreError
from evalharness.store.records import case_to_row, response_to_row, score_from_value, score_to_value

_CHUNK: Final = 500
_BUSY_SECONDS: Final = 30.0
_NOT_READ: Final = ("latency_ms", "usage", "model", "finish_reason")
"""What a response says of its making and a batch scorer must not depend on."""


def score_key(
    name: str,
    version: str,
    params: Mapping[str, Any],
    case: Case,
    response: Response,
    stored: Sequence[Any] = (),
) -> str:
    """The identity of one score: the scorer with its parameters, all it may read, and what its details may tell.

    `stored`: the identity of redaction where scores are stored redacted.
    """
    row = {key: value for key, value in response_to_row(response).items() if key not in _NOT_READ}
    return digest([name, version, dict(params), case_to_row(case), row, *stored])


class ScoreCache:
    """Key → Scored. A cache or a row that cannot be used answers nothing: the scorer is asked, and the run goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Score]:
        """What is known of these keys."""
        import contextlib
        import sqlite3

        found: dict[str, Score] = {}
        if not keys or not self._path.exists():
            return found
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as db:
                for start in range(0, len(keys), _CHUNK):
                    part = list(keys[start : start + _CHUNK])
                    marks = ",".join("?" * len(part))
                    for key, text in db.execute(
                        f"SELECT key, score FROM scores WHERE key IN ({marks})", part
                    ):
                        score = _kept(text)
                        if score is not None:
                            found[key] = score
        except sqlite3.Error:
            return {}
        return found

    def put_many(self, scores: Mapping[str, Score]) -> None:
        """Keep scores; the first one given for a key stays.

        Raises:
            StoreError: never for a cache that is busy or damaged; only where its folder cannot be made.
        """
        import contextlib
        import sqlite3

        rows = [(key, json.dumps(score_to_value(score), allow_nan=False)) for key, score in scores.items()]
        if not rows:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self._path.parent}: cannot be made: {error.strerror}") from error
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as db,
            db,
        ):
            db.execute("CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, score TEXT NOT NULL)")
            db.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?)", rows)


def _kept(text: Any) -> Scored | None:
    """A score as it was put in; None for a damaged row, which is no score."""
    try:
        score = score_from_value(json.loads(text))
        numbers = [score.value, *score.stats.values()] if isinstance(score, Scored) else [math.nan]
        return score if isinstance(score, Scored) and all(map(math.isfinite, numbers)) else None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
