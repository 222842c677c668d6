"""What is done to vectors after a model gave them: cut to their first dimensions, brought to length 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalharness.embedding.protocol import Embedder, Role
from evalharness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row at Euclidean length 1; a row of zeros stays one. Shape (n, d) → (n, d), float32."""
    import numpy as np

    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def truncated(
    vectors: NDArray[np.float32], dimensions: int, *, normalise: bool = True
) -> NDArray[np.float32]:
    """The first `dimensions` of each row, at length 1 again: what a model trained for it (Matryoshka) allows.

    Raises:
        UsageError: the vectors have fewer dimensions.
    """
    if dimensions > vectors.shape[1]:
        raise UsageError(f"vectors of {vectors.shape[1]} dimensions cannot be cut to {dimensions}")
    cut = vectors[:, :dimensions]
    return normalised(cut) if normalise else cut


class ShapedEmbedder:
    """Another embedder's vectors, cut to `dimensions` (None: all) and, with `normalise`, at length 1."""

    def __init__(self, inner: Embedder, *, dimensions: int | None = None, normalise: bool = True) -> None:
        self._inner = inner
        self._dimensions = dimensions
        self._normalise = normalise

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._inner.identity, "dimensions": self._dimensions, "normalise": self._normalise}

    def embed(
        self, texts: Sequence[str], *, role: Role = "document", ids: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        vectors = self._inner.embed(texts, role=role, ids=ids)
        if self._dimensions is not None and len(vectors):
            return truncated(vectors, self._dimensions, normalise=self._normalise)
        return normalised(vectors) if self._normalise else vectors
