"""Likeness of meaning: vectors of rows held against vectors of the cases, for what was put in other words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from evalharness.contamination.probes import MIN_PARTIAL, Probes
from evalharness.contamination.scan import Held
from evalharness.contamination.text import length

THRESHOLD: Final = 0.9
"""Cosine similarity. What it means depends on the model: look at the matches before you rely on it."""
_MAX_CHARACTERS: Final = 4_000
_BATCH: Final = 1_024


class Embeds(Protocol):
    """What is needed of an embedder: vectors of length 1, shape (texts, dimensions)."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, in order."""
        ...


class Meaning:
    """Compares the fields of rows with the probes by cosine similarity.

    Fields and probes of fewer than eight words are left out: short sentences are all alike. A field is cut at 4,000
    characters, and by the model at its window.

    Args:
        probes: what is looked for.
        embedder: makes the vectors.
        threshold: in (0, 1].
    """

    def __init__(self, probes: Probes, embedder: Embeds, threshold: float) -> None:
        self._embedder = embedder
        self._threshold = threshold
        self._places = [place for place, probe in enumerate(probes.probes) if probe.partial]
        self._texts = [probes.probes[place].text[:_MAX_CHARACTERS] for place in self._places]
        self._known: NDArray[np.float64] | None = None

    def __call__(self, rows: Sequence[Held]) -> Iterator[tuple[int, int, float, int]]:
        """(row, probe, cosine similarity, first word in the row) of every field that is alike enough."""
        if not self._texts:
            return
        if self._known is None:
            self._known = self._embedder.embed(self._texts).astype(np.float64)
        fields = [(row, number) for row, held in enumerate(rows) for number in _long_fields(held)]
        for start in range(0, len(fields), _BATCH):
            some = fields[start : start + _BATCH]
            vectors = self._embedder.embed(
                [rows[row].texts[number][:_MAX_CHARACTERS] for row, number in some]
            )
            # Rounded: the last digits depend on which texts a model was given together.
            cosines = np.round(vectors.astype(np.float64) @ self._known.T, 4)
            for at, column in zip(
                *(found.tolist() for found in np.nonzero(cosines >= self._threshold)), strict=True
            ):
                row, number = some[at]
                score = min(1.0, float(cosines[at, column]))
                yield row, self._places[column], score, rows[row].starts[number]


def _long_fields(held: Held) -> Iterator[int]:
    for number in range(len(held.texts) - held.fresh, len(held.texts)):
        found = held.words[held.starts[number] : held.starts[number + 1]]
        if len(found) >= MIN_PARTIAL and length(found) >= MIN_PARTIAL:
            yield number
