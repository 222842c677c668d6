"""Vectors that were computed before, found by id."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalharness.content import content_digest
from evalharness.embedding.protocol import Role
from evalharness.errors import Problem, SpecError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PrecomputedEmbedder:
    """Vectors from a file of documents' and a file of queries' vectors (None: the same file).

    `.npz` holds two arrays, `ids` of texts (n) and `vectors` (n, d); `.jsonl` has one `{"id", "vector"}` a line.
    """

    def __init__(self, documents: Path, queries: Path | None = None) -> None:
        self._paths: dict[Role, Path] = {"document": documents, "query": queries or documents}
        self._tables: dict[Path, tuple[Mapping[str, int], NDArray[np.float32]]] = {}

    @property
    def identity(self) -> Mapping[str, Any]:
        try:
            return {
                "kind": "precomputed",
                "files": {role: content_digest(path) for role, path in self._paths.items()},
            }
        except OSError as error:
            raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from error

    def embed(
        self, texts: Sequence[str], *, role: Role = "document", ids: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        import numpy as np

        path = self._paths[role]
        if ids is None:
            raise UsageError(
                f"{path.name} holds vectors by id, and these texts have none; name a model instead"
            )
        if path not in self._tables:
            self._tables[path] = read_vectors(path)
        places, vectors = self._tables[path]
        missing = [name for name in ids if name not in places]
        if missing:
            named = ", ".join(map(repr, missing[:5])) + (", …" if len(missing) > 5 else "")
            raise UsageError(f"{path.name} has no vector for {len(missing)} of {len(ids)} ids: {named}")
        return np.asarray(vectors[[places[name] for name in ids]])


def read_vectors(path: Path) -> tuple[dict[str, int], NDArray[np.float32]]:
    """Row numbers by id, and the rows; shape (n, d). Nothing in the file is run: pickled arrays are refused.

    Raises:
        SpecError: the file does not hold ids and finite vectors of one length, or an id twice.
        UsageError: it cannot be read.
    """
    import numpy as np

    try:
        names, vectors = _npz(path) if path.suffix == ".npz" else _jsonl(path)
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if vectors.ndim != 2 or len(vectors) != len(names) or not vectors.size:
        raise _wrong(path, f"{len(names)} ids and vectors of shape {vectors.shape}; shape (ids, d) is needed")
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise _wrong(path, f"the vector of {names[row]!r} is not finite")
    places = {name: place for place, name in enumerate(names)}
    if len(places) < len(names):
        twice = next(name for place, name in enumerate(names) if places[name] != place)
        raise _wrong(path, f"the id {twice!r} is there twice")
    return places, vectors


def _npz(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids, vectors = arrays["ids"], arrays["vectors"]
        return [str(name) for name in ids.tolist()], np.asarray(vectors, dtype=np.float32)
    except (KeyError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise _wrong(path, f"not an .npz with arrays `ids` and `vectors` ({error})") from None


def _jsonl(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    import numpy as np

    names: list[str] = []
    rows: list[NDArray[np.float32]] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
                names.append(str(data["id"]))
                rows.append(np.asarray(data["vector"], dtype=np.float32))
            except (ValueError, KeyError, TypeError, RecursionError):
                raise _wrong(path, 'not {"id": …, "vector": [numbers]}', number) from None
            if rows[-1].ndim != 1 or rows[-1].shape != rows[0].shape:
                raise _wrong(path, f"a vector of another length than the first ({rows[0].size})", number)
    return names, np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)


def _wrong(path: Path, message: str, line: int | None = None) -> SpecError:
    return SpecError([Problem(message, path.name, line)])
