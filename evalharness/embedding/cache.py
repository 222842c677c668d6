"""Vectors kept between runs: SQLite, by what made them and the text."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness._canon import digest
from evalharness.embedding.protocol import Embedder, RefusedTextError, Role
from evalharness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK: Final = 500
_BUSY_SECONDS: Final = 30.0
_AT_ONCE: Final = 1024
"""Texts that are embedded before their vectors are kept: what a killed run loses."""


class VectorCache:
    """Key → vector. A cache that is busy, damaged or cannot be made answers nothing, and the texts are embedded.

    `replace`: what is known is not read, and is written over.
    """

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        self.path = path
        self._replace = replace

    def get_many(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """What is known of these keys."""
        import numpy as np

        found: dict[str, NDArray[np.float32]] = {}
        if not keys or self._replace or not self.path.exists():
            return found
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as db:
                for start in range(0, len(keys), _CHUNK):
                    part = list(keys[start : start + _CHUNK])
                    marks = ",".join("?" * len(part))
                    rows = db.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)
                    found |= {key: np.frombuffer(blob, dtype="<f4").astype(np.float32) for key, blob in rows}
        except (sqlite3.Error, ValueError, TypeError):
            return {}
        return {key: vector for key, vector in found.items() if vector.size and np.isfinite(vector).all()}

    def put_many(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep vectors; the first one given for a key stays, unless they are to be replaced."""
        verb = "REPLACE" if self._replace else "INSERT OR IGNORE"
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        with contextlib.suppress(sqlite3.Error, OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as db, db:
                db.execute("CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL)")
                db.executemany(f"{verb} INTO vectors VALUES (?, ?)", rows)


class CachedEmbedder:
    """Another embedder that is asked once for each text."""

    def __init__(self, inner: Embedder, cache: VectorCache) -> None:
        self._inner = inner
        self._cache = cache

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._inner.identity

    def embed(
        self, texts: Sequence[str], *, role: Role = "document", ids: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        import numpy as np

        keys = self._keys(texts, role)
        known = self._cache.get_many(list(keys.values()))
        rest = [text for text, key in keys.items() if key not in known]
        for start in range(0, len(rest), _AT_ONCE):
            part = rest[start : start + _AT_ONCE]
            try:
                vectors = self._inner.embed(part, role=role)
            except RefusedTextError as error:
                raise RefusedTextError(list(texts).index(part[error.index]), str(error)) from None
            new = {keys[text]: vector for text, vector in zip(part, vectors, strict=True)}
            self._cache.put_many(new)
            known |= new
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        if len({vector.size for vector in known.values()}) > 1:
            raise UsageError(f"{self._cache.path} holds damaged vectors, of another length; remove it")
        return np.stack([known[keys[text]] for text in texts])

    def keep(self, texts: Sequence[str], vectors: NDArray[np.float32], *, role: Role) -> None:
        """Keep vectors of the other embedder's that were made elsewhere; shape (len(texts), dimensions)."""
        keys = self._keys(texts, role)
        self._cache.put_many({keys[text]: vector for text, vector in zip(texts, vectors, strict=True)})

    def known(self, texts: Sequence[str], *, role: Role) -> dict[str, NDArray[np.float32]]:
        """The vectors that are kept, by text. Nothing is embedded."""
        keys = self._keys(texts, role)
        found = self._cache.get_many(list(keys.values()))
        return {text: found[key] for text, key in keys.items() if key in found}

    def _keys(self, texts: Sequence[str], role: Role) -> dict[str, str]:
        about = dict(self.identity)
        return {text: digest([about, role, text]) for text in texts}
