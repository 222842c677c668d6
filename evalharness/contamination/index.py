"""The index of what is looked for, and the passages of training text that may hold it.

Cases are few and rows are many: the cases are indexed, and rows are held against the index a batch at a time, with one
array operation for all their words. A row is looked at further only where it shares

- an n-gram with a case: then the share of the case's n-grams in the row is known at once, or
- one of the rarest word triples of a case. Of s triples, the first s − ⌈t·s⌉ + 1 in any fixed order cannot all be
  missing from a text whose Jaccard similarity to the case is t or more, since at most s − ⌈t·s⌉ of the s are. So this
  filter loses nothing (prefix filter: Chaudhuri, Ganti & Kaushik 2006; Bayardo, Ma & Srikant 2007).

N-grams are compared by 64-bit hashes (a polynomial over independent 64-bit codes of the words): among a billion n-grams
and a hundred thousand of the cases' the chance of one false match is about 1 in 200,000.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalharness.contamination.probes import SHINGLE, Gram, Probe

Codes = NDArray[np.uint64]

_BASE: Final = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing
_MOST_BITS: Final = 26


def code_of(word: str) -> int:
    """64 bits of a word, the same in every process."""
    return int.from_bytes(
        hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


class Hits(NamedTuple):
    """Runs of words of a batch that are in the index: where each starts, and its hash."""

    places: NDArray[np.int64]
    grams: Codes


class _Runs:
    """The runs of n words that are looked for, and whose they are."""

    def __init__(self) -> None:
        self.owners: dict[int, list[int]] = defaultdict(list)
        self.keys: Codes = np.empty(0, np.uint64)

    def close(self) -> None:
        self.keys = np.array(sorted(self.owners), dtype=np.uint64)

    def hits(self, hashes: Codes, table: NDArray[np.bool_], shift: np.uint64) -> Hits:
        places = np.flatnonzero(table[(hashes >> shift).astype(np.intp)]).astype(np.int64)
        found = hashes[places]
        if len(places):
            at = np.minimum(np.searchsorted(self.keys, found), len(self.keys) - 1)
            real = self.keys[at] == found
            places, found = places[real], found[real]
        return Hits(places, found)


class Index:
    """All n-grams and the rarest triples of the probes.

    Args:
        probes: what is looked for.
        threshold: the Jaccard similarity that matters.
    """

    def __init__(self, probes: Sequence[Probe], threshold: float) -> None:
        partial = [(place, probe) for place, probe in enumerate(probes) if probe.partial]
        known = dict.fromkeys(word for _, probe in partial for word in probe.words)
        self._ids = {word: number for number, word in enumerate(known, start=1)}
        # 0 is every word of no case, and what separates rows: no run with it is in the index.
        self._codes: Codes = np.array([code_of(""), *map(code_of, known)], dtype=np.uint64)
        self._grams: dict[int, _Runs] = {}
        self._rare = _Runs()
        order = _Rarity(probe for _, probe in partial)
        for place, probe in partial:
            runs = self._grams.setdefault(probe.n, _Runs())
            for gram in probe.grams:
                runs.owners[self._hash(gram)].append(place)
            size = len(probe.shingles)
            first = size - math.ceil(threshold * size - 1e-9) + 1  # 7 of 10 is 0.7
            for gram in order.rarest(probe.shingles, first):
                self._rare.owners[self._hash(gram)].append(place)
        everything = (self._rare, *self._grams.values())
        # Few bits set: most words are done with after one look into the table.
        bits = min(_MOST_BITS, max(16, sum(len(runs.owners) for runs in everything).bit_length() + 5))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(2**bits, dtype=np.bool_)
        for runs in everything:
            runs.close()
            self._table[(runs.keys >> self._shift).astype(np.intp)] = True

    def ids(self, words: Sequence[str]) -> Iterable[int]:
        """The numbers of words; 0 for a word of no case."""
        return map(self._ids.get, words, repeat(0))

    def grams(self, ids: NDArray[np.int64]) -> Iterator[tuple[Hits, Mapping[int, Sequence[int]]]]:
        """Where the words of a batch hold n-grams of probes, and the probes of each n-gram; once for each n."""
        for n, hashes in self._hashes(ids):
            if n in self._grams:
                yield self._grams[n].hits(hashes, self._table, self._shift), self._grams[n].owners

    def rare(self, ids: NDArray[np.int64]) -> tuple[Hits, Mapping[int, Sequence[int]]]:
        """Where the words of a batch hold rare triples of probes, and the probes of each triple."""
        hashes = next((hashes for n, hashes in self._hashes(ids) if n == SHINGLE), np.empty(0, np.uint64))
        return self._rare.hits(hashes, self._table, self._shift), self._rare.owners

    def _hashes(self, ids: NDArray[np.int64]) -> Iterator[tuple[int, Codes]]:
        """(n, hash of the n words from each place on), n from 2 to the longest n-gram."""
        codes = self._codes[ids]
        hashes = codes
        for n in range(2, max(self._grams, default=1) + 1):
            hashes = hashes[:-1] * _BASE + codes[n - 1 :]
            if not len(hashes):
                return
            yield n, hashes

    def _hash(self, gram: Gram) -> int:
        value = 0
        for word in gram:
            value = (value * int(_BASE) + int(self._codes[self._ids[word]])) & (2**64 - 1)
        return value


class _Rarity:
    """Triples from rare to common: by the probes that have them, then by their rarest word."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        self._shingles: Counter[Gram] = Counter()
        self._words: Counter[str] = Counter()
        for probe in probes:
            self._shingles.update(probe.shingles)
            self._words.update(set(probe.words))

    def rarest(self, shingles: Iterable[Gram], count: int) -> list[Gram]:
        def key(gram: Gram) -> tuple[int, int, Gram]:
            return self._shingles[gram], min(self._words[word] for word in gram), gram

        return sorted(shingles, key=key)[:count]
