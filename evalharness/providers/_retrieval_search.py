"""Exact nearest neighbours by inner product, in blocks: no index that approximates, and memory that does not grow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from evalharness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BUDGET: Final = 64 * 2**20
"""Bytes that one block of scores, or of documents, may take."""
_ROUNDING: Final = 2.0**-24
"""Unit roundoff of float32."""


class Blocks(NamedTuple):
    """How many documents and how many queries are multiplied at once."""

    documents: int
    queries: int


def blocks_for(documents: int, dimensions: int, queries: int, budget: int = BUDGET) -> Blocks:
    """Blocks such that neither the scores of a block of queries nor a block of documents is over `budget` bytes.

    At least one of each: a single query's scores take 4 bytes a document whatever the budget.
    """
    return Blocks(
        documents=max(1, min(documents, budget // (4 * dimensions))),
        queries=max(1, min(queries, budget // (4 * documents))),
    )


class Index:
    """Documents' vectors, shape (n, d), float32; may be a memory map. Rows are searched in their order.

    Raises:
        ValueError: no rows, or rows without dimensions.
    """

    def __init__(self, vectors: NDArray[np.float32], *, budget: int = BUDGET) -> None:
        import numpy as np

        if vectors.ndim != 2 or not vectors.size:
            raise ValueError(f"an index needs vectors of shape (n, d), got {vectors.shape}")
        self.vectors = vectors
        self._budget = budget
        step = blocks_for(len(vectors), vectors.shape[1], 1, budget).documents
        self._longest = max(
            float(np.sqrt((part.astype(np.float64) ** 2).sum(axis=1)).max())
            for part in (vectors[start : start + step] for start in range(0, len(vectors), step))
        )

    @property
    def dimensions(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def mib(self) -> float:
        """What the vectors take as float32, in MiB."""
        return index_mib(len(self.vectors), self.dimensions)

    def top(self, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]]:
        """The rows of the `k` largest inner products of each query, largest first; equal ones in the rows' order.

        Products in float32 only choose what is looked at: every row that could be among the first `k`, by the bound on
        the rounding of a float32 inner product (d·u·|a|·|b|, Higham 2002, Accuracy and Stability of Numerical
        Algorithms, section 3.1). Those are multiplied again in float64, row by row, so that the order depends neither
        on the blocks nor on the processor's matrix product, and equal vectors tie exactly.

        Args:
            queries: shape (m, d).
            k: at least 1; fewer rows are given where there are fewer.

        Returns:
            m arrays of min(k, n) rows; an empty one for a query to which all of several rows are exactly equally near,
            as to a vector of zeros: the order of the rows would pass for a ranking.

        Raises:
            UsageError: queries and documents do not have the same number of dimensions.
        """
        import numpy as np

        if queries.shape[1] != self.dimensions:
            raise UsageError(
                f"queries have {queries.shape[1]} dimensions and documents {self.dimensions}; "
                "both sides have to come from one model"
            )
        count = len(self.vectors)
        at_once = blocks_for(count, self.dimensions, len(queries), self._budget)
        found = []
        for begin in range(0, len(queries), at_once.queries):
            part = queries[begin : begin + at_once.queries]
            scores = np.empty((len(part), count), dtype=np.float32)
            for start in range(0, count, at_once.documents):
                rows = self.vectors[start : start + at_once.documents]
                with np.errstate(
                    over="ignore", invalid="ignore"
                ):  # too long for float32: all are looked at again
                    np.matmul(part, rows.T, out=scores[:, start : start + len(rows)])
            found += [self._best(query, row, k) for query, row in zip(part, scores, strict=True)]
        return found

    def _best(self, query: NDArray[np.float32], scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        import numpy as np

        count, exact_query = len(scores), query.astype(np.float64)
        chosen = np.arange(count)
        off = self.dimensions * _ROUNDING
        off = 2.01 * off / (1 - off) * float(np.sqrt(exact_query @ exact_query)) * self._longest
        if k < count and float(scores.max()) - float(scores.min()) > off:
            least = float(np.partition(scores, count - k)[count - k])
            chosen = np.flatnonzero(scores >= least - off)
        step = max(1, self._budget // (8 * self.dimensions))
        exact = np.concatenate(
            [
                (self.vectors[chosen[start : start + step]].astype(np.float64) * exact_query).sum(axis=1)
                for start in range(0, len(chosen), step)
            ]
        )
        if count > 1 and len(chosen) == count and exact.min() == exact.max():
            return chosen[:0]
        order = np.lexsort((chosen, -exact))[:k]
        return np.asarray(chosen[order], dtype=np.int64)


def index_mib(documents: int, dimensions: int) -> float:
    """MiB of so many vectors as float32: 14.65 for 10,000 of 384 dimensions."""
    return documents * dimensions * 4 / 2**20


def gathered(parts: Iterable[NDArray[np.float32]], count: int, folder: Path | None) -> NDArray[np.float32]:
    """Parts of (n, d) vectors, in order, as one memory map of `count` rows.

    The file lies in `folder` (None: where temporary files go), has no name and is gone with the array.

    Raises:
        UsageError: parts of several dimensions, or no room for the file.
    """
    import numpy as np

    whole: NDArray[np.float32] | None = None
    done = 0
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for part in parts:
                if whole is None:
                    whole = np.memmap(file, dtype=np.float32, mode="w+", shape=(count, part.shape[1]))
                elif part.shape[1] != whole.shape[1]:
                    raise UsageError(
                        f"documents have vectors of {whole.shape[1]} and of {part.shape[1]} dimensions"
                    )
                whole[done : done + len(part)] = part
                done += len(part)
    except OSError as error:
        raise UsageError(
            f"no room for {count:,} vectors: {error.strerror or error}; choose another place with --store"
        ) from error
    assert whole is not None and done == count, "as many vectors as there are documents"
    return whole
