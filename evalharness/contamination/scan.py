"""Rows of training data held against the probes, a batch at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalharness.contamination.index import Hits, Index
from evalharness.contamination.probes import SHINGLE, Gram, Options, Probes, grams_of
from evalharness.contamination.result import Detector
from evalharness.contamination.rows import PLAIN, Row
from evalharness.contamination.text import MAX_EXCERPT, Offsets, excerpt, words

_BATCH_WORDS: Final = 200_000
_BATCH_ROWS: Final = 4_000
_MIXED: Final = np.uint64(0xD1B54A32D192ED03)
_SLACK: Final = 1e-9  # 7 of 10 is 0.7

Confirm = Callable[[frozenset[Gram]], frozenset[int]]
"""Triples of a passage → probes that another method holds possible (see `minhash`)."""
Alike = Callable[[Sequence["Held"]], Iterable[tuple[int, int, float, int]]]
"""Rows → (row, probe, cosine similarity, first word in the row) of what means the same (see `meaning`)."""


@dataclass(slots=True)
class Held:
    """A row with the words of its fields, those without words left out.

    Attributes:
        row: the row.
        texts: the fields' texts.
        lines: the fields' lines.
        words: of all fields, one after the other.
        starts: the place in `words` of each field's first word, and the number of words.
        fresh: so many last fields were not in the row before (all but in text files).
    """

    row: Row
    texts: list[str]
    lines: list[int]
    words: list[str]
    starts: list[int]
    fresh: int
    _offsets: dict[int, Offsets] = field(default_factory=dict)

    def field_at(self, place: int) -> int:
        """The field that a word is in."""
        return bisect_right(self.starts, place, hi=len(self.texts)) - 1

    def passage(self, number: int, word: int) -> str:
        """A passage of a field from a little before its word number `word`."""
        text = self.texts[number]
        if not word or len(text) <= MAX_EXCERPT:
            return excerpt(text)
        if number not in self._offsets:  # once: a document may leak a thousand cases
            self._offsets[number] = Offsets(text)
        return excerpt(text, self._offsets[number].of(word))


@dataclass(slots=True)
class Found:
    """What a row shares with a probe: similarity by detector, and the first word of it in the row."""

    scores: dict[Detector, float] = field(default_factory=dict)
    at: int = 0

    def add(self, detector: Detector, score: float, at: int) -> None:
        if score > self.scores.get(detector, 0.0):
            if not self.scores:
                self.at = at
            self.scores[detector] = score


def hold(row: Row) -> Held:
    """Cut a row into words."""
    texts: list[str] = []
    lines: list[int] = []
    found: list[str] = []
    starts: list[int] = []
    fresh = 0
    for place, text in enumerate(row.fields):
        if cut := words(text):
            texts.append(text)
            lines.append(row.line if row.lines is None else row.lines[place])
            starts.append(len(found))
            fresh += place >= row.seen_before
            found += cut
    starts.append(len(found))
    return Held(row, texts, lines, found, starts, fresh)


class Scanner:
    """Finds probes in rows.

    Args:
        probes: what is looked for.
        options: how alike is too alike.
        report: called for each row that shares something, with what, by probe.
        confirm: where given, a near duplicate counts only if this holds it possible too.
        alike: compares by meaning, where given.
    """

    def __init__(
        self,
        probes: Probes,
        options: Options,
        report: Callable[[Held, dict[int, Found]], None],
        confirm: Confirm | None = None,
        alike: Alike | None = None,
    ) -> None:
        self._probes = probes.probes
        self._exact = {" ".join(probe.words): place for place, probe in enumerate(self._probes)}
        self._template = probes.template
        self._threshold = options.threshold
        self._report = report
        self._confirm = confirm
        self._alike = alike
        self._index = Index(self._probes, options.threshold)
        self._sizes = {len(probe.words) for probe in self._probes}
        self._clear()

    def add(self, held: Held) -> None:
        """Look at a row, now or with the next ones."""
        place = len(self._ids)
        self._places.extend(place + start for start in held.starts[:-1])
        self._rows.extend((len(self._held), number) for number in range(len(held.texts)))
        self._ids.extend(self._index.ids(held.words))
        self._ids.append(0)
        self._held.append(held)
        if len(self._ids) >= _BATCH_WORDS or len(self._held) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Look at the rows that wait."""
        if not self._held:
            return
        found: dict[int, dict[int, Found]] = defaultdict(lambda: defaultdict(Found))
        for row, held in enumerate(self._held):
            for probe, at in self._equal(held):
                found[row][probe].add("exact", 1.0, at)
        ids = np.array(self._ids, dtype=np.int64)
        self._shares(ids, found)
        self._near(ids, found)
        if self._alike is not None:
            for row, probe, score, at in self._alike(self._held):
                found[row][probe].add("embedding", score, at)
        for row in sorted(found):
            if found[row]:
                self._report(self._held[row], found[row])
        self._clear()

    def _clear(self) -> None:
        self._held: list[Held] = []
        self._ids: list[int] = []
        self._places: list[int] = []  # where each field starts in the batch,
        self._rows: list[tuple[int, int]] = []  # and which field of which row it is

    def _equal(self, held: Held) -> Iterator[tuple[int, int]]:
        """Probes that a field, two fields in a row, or the whole row is equal to, and where it starts."""
        starts, sizes = held.starts, self._sizes
        for field_ in range(len(held.texts)):
            start = starts[field_]
            spans = [(start, starts[field_ + 1])]
            if field_ + 2 < len(starts):
                spans.append((start, starts[field_ + 2]))
            if field_ == 0 and len(starts) > 3:
                spans.append((0, starts[-1]))
            for first, end in spans:
                if end - first in sizes:
                    probe = self._exact.get(" ".join(held.words[first:end]))
                    if probe is not None:
                        yield probe, first

    def _shares(self, ids: NDArray[np.int64], found: dict[int, dict[int, Found]]) -> None:
        """The share of each probe's n-grams that a row has."""
        for hits, owners in self._index.grams(ids):
            for row, several in groupby(self._once(hits), key=itemgetter(0)):
                shared: dict[int, set[int]] = defaultdict(set)
                first: dict[int, int] = {}
                for _, number, place, gram in several:
                    for probe in owners[gram]:
                        shared[probe].add(gram)
                        first.setdefault(probe, self._held[row].starts[number] + place)
                for probe, grams in shared.items():
                    share = len(grams) / len(self._probes[probe].grams)
                    if share >= self._threshold - _SLACK:
                        found[row][probe].add("ngram", share, first[probe])

    def _near(self, ids: NDArray[np.int64], found: dict[int, dict[int, Found]]) -> None:
        """Jaccard similarity of word triples with a field, two fields in a row, or the whole row."""
        looked: set[tuple[int, int, int, int]] = set()
        hits, owners = self._index.rare(ids)
        for row, at, _, gram in self._once(hits):
            held = self._held[row]
            starts, count = held.starts, len(held.texts)
            spans = [(at, at + 1)]
            if count > 1 and held.row.format != PLAIN:
                spans += [
                    (a, b) for a, b in ((at - 1, at + 1), (at, at + 2), (0, count)) if a >= 0 and b <= count
                ]
            for first, end in spans:
                for probe in owners[gram]:
                    if (row, probe, first, end) not in looked:
                        looked.add((row, probe, first, end))
                        score = self._similarity(probe, held.words, starts[first], starts[end])
                        if score:
                            found[row][probe].add("near", score, starts[first])

    def _once(self, hits: Hits) -> Iterator[tuple[int, int, int, int]]:
        """(row, field, word of the field, n-gram): each n-gram of a field once, where it stands first."""
        if not len(hits.places):
            return
        starts = np.array(self._places, dtype=np.int64)
        fields = np.searchsorted(starts, hits.places, side="right") - 1
        _, first = np.unique(hits.grams + fields.astype(np.uint64) * _MIXED, return_index=True)
        first.sort()
        columns = (fields[first], (hits.places - starts[fields])[first], hits.grams[first])
        for field_, place, gram in zip(*(column.tolist() for column in columns), strict=True):
            yield (*self._rows[field_], place, gram)

    def _similarity(self, place: int, found: list[str], first: int, end: int) -> float:
        """Jaccard similarity of a probe and the words from `first` to `end`, or 0 where below the threshold."""
        probe = self._probes[place]
        size = len(probe.shingles)
        if end - first - SHINGLE + 1 < self._threshold * size - _SLACK:
            return 0.0
        most = int(size / self._threshold + _SLACK)
        template = frozenset[Gram]() if probe.only_template else self._template
        theirs: set[Gram] = set()
        # Piece by piece: of a document that is too long only the beginning is looked at.
        step = 2 * most + SHINGLE
        for start in range(first, end, step):
            theirs.update(grams_of(found[start : min(start + step + SHINGLE - 1, end)], SHINGLE))
            theirs -= template
            if len(theirs) > most:
                return 0.0
        both = len(theirs & probe.shingles)
        score = both / (len(theirs) + size - both)
        if score < self._threshold - _SLACK:
            return 0.0
        if self._confirm is not None and place not in self._confirm(frozenset(theirs)):
            return 0.0
        return score
