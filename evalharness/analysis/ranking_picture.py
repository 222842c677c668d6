"""A picture of an embedding space in two dimensions: for the eye, and no evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalharness._lazy import require

Projection: TypeAlias = Literal["pca", "tsne"]
MOST_POINTS: Final = 2_000
OTHERS: Final = "other documents"
"""The group of documents that no case names."""
_PERPLEXITY: Final = 30
_TSNE_SEED: Final = 42
_FEWEST: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One text: its place, in [0, 1] on both axes, the group that colours it, and whether it is a query."""

    x: float
    y: float
    group: int
    query: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Where a candidate puts texts.

    Attributes:
        candidate: its name.
        method: how many dimensions became two.
        explained: share of the variance that the two dimensions hold, in [0, 1]; None for t-SNE, which has none.
        groups: their names; dots name them by place.
        n_queries, n_documents: what is drawn; `of_queries`, `of_documents`: of how many.
    """

    candidate: str
    method: Projection
    explained: float | None
    groups: tuple[str, ...]
    dots: tuple[Dot, ...]
    n_queries: int
    n_documents: int
    of_queries: int
    of_documents: int


def sampled(count: int, most: int, rng: np.random.Generator) -> list[int]:
    """At most `most` places of `count`, in their order."""
    if count <= most:
        return list(range(count))
    return sorted(int(place) for place in rng.choice(count, size=most, replace=False))


def projected(vectors: NDArray[np.float32], method: Projection) -> tuple[Any, float | None]:
    """Two coordinates for each vector, in [0, 1], and the share of the variance they hold; shape (n, d) → (n, 2).

    PCA is numpy's singular value decomposition of the centred vectors, each axis turned so that its largest loading is
    positive: the same vectors give the same picture. t-SNE (van der Maaten and Hinton 2008) is scikit-learn's, started
    from PCA, perplexity 30 (less where there are few), seed 42; distances between its clusters mean nothing.

    Raises:
        MissingExtraError: t-SNE without scikit-learn.
    """
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    explained: float | None = None
    if method == "tsne" and len(centred) >= _FEWEST:
        library = require("sklearn.manifold", extra="text", why="draw with --projection tsne")
        perplexity = min(_PERPLEXITY, (len(centred) - 1) / 3)
        model = library.TSNE(n_components=2, perplexity=perplexity, random_state=_TSNE_SEED, init="pca")
        flat = np.asarray(model.fit_transform(centred), dtype=np.float64)
    else:
        flat, explained = _principal(centred)
    low, span = flat.min(axis=0), np.ptp(flat, axis=0)
    return (flat - low) / np.where(span > 0, span, 1.0), explained


def _principal(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    flat = np.zeros((len(centred), 2))
    flat[:, : len(axes)] = centred @ (axes * np.where(signs == 0, 1.0, signs)[:, None]).T
    total = float((sizes**2).sum())
    return flat, float((sizes[:2] ** 2).sum()) / total if total > 0 else 1.0


def picture_of(
    candidate: str,
    vectors: NDArray[np.float32],
    groups: Sequence[str],
    queries: Sequence[bool],
    totals: tuple[int, int],
    method: Projection,
) -> Picture:
    """A picture of these texts.

    Args:
        candidate: its name.
        vectors: shape (n, d), n >= 2.
        groups: what colours each text.
        queries: which of them are queries; the others are documents.
        totals: how many queries and documents there are in all.
        method: the projection.

    Raises:
        MissingExtraError: t-SNE without scikit-learn.
    """
    flat, explained = projected(vectors, method)
    names = tuple(dict.fromkeys(sorted(groups)))
    places = {name: place for place, name in enumerate(names)}
    return Picture(
        candidate=candidate,
        method=method,
        explained=explained,
        groups=names,
        dots=tuple(
            Dot(x=float(x), y=float(y), group=places[group], query=query)
            for (x, y), group, query in zip(flat, groups, queries, strict=True)
        ),
        n_queries=sum(queries),
        n_documents=len(queries) - sum(queries),
        of_queries=totals[0],
        of_documents=totals[1],
    )
