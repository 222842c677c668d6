"""Near duplicates: groups of texts whose word 3-grams overlap, by an exact set-similarity join.

All pairs with Jaccard similarity ≥ t are found without comparing all pairs: sets ordered from rare to common shingle
can only reach t if their first n − ⌈t·n⌉ + 1 shingles meet (prefix filter: Chaudhuri, Ganti & Kaushik 2006; Bayardo,
Ma & Srikant 2007) and what follows the first common shingle is long enough (positional filter: Xiao et al. 2008).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

THRESHOLD: Final = 0.7
_CROWD: Final = 50


def near_duplicates(texts: Sequence[str], threshold: float = THRESHOLD) -> list[list[int]]:
    """Groups of indices of `texts` linked by a Jaccard similarity of at least `threshold`, in order of first index.

    Args:
        texts: space-separated words each; a text of fewer than three words is one shingle.
        threshold: in (0, 1].

    A text that joins a group of 50 is no longer compared with later ones: what resembles it mostly resembles the
    rest of its group, and a file of one text over and over stays linear.
    """
    sets = _ordered([_shingles(text) for text in texts])
    order = sorted(range(len(sets)), key=lambda i: len(sets[i]))
    parent = list(range(len(texts)))
    size = [1] * len(texts)

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    full = [frozenset(items) for items in sets]
    index: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for one in order:
        items = sets[one]
        length = len(items)
        prefix = items[: length - math.ceil(threshold * length) + 1]
        met: set[int] = set()
        for position, item in enumerate(prefix):
            for other, at in index[item]:
                if other in met:
                    continue
                met.add(other)
                theirs = len(sets[other])
                needed = threshold / (1 + threshold) * (length + theirs) - 1e-9  # 7 of 10 is 0.7
                # Nothing before the first common shingle is shared, so this is the most that can be.
                if min(length - position, theirs - at) < needed or root(one) == root(other):
                    continue
                if len(full[one] & full[other]) >= needed:
                    a, b = root(one), root(other)
                    parent[b] = a
                    size[a] += size[b]
        if size[root(one)] < _CROWD:
            for position, item in enumerate(prefix):
                index[item].append((one, position))
    groups: dict[int, list[int]] = defaultdict(list)
    for position in range(len(texts)):
        groups[root(position)].append(position)
    return [group for group in groups.values() if len(group) > 1]


def _shingles(text: str) -> list[tuple[str, ...]]:
    words = text.split()
    if len(words) < 3:
        return [tuple(words)]
    return list(dict.fromkeys(zip(words, words[1:], words[2:], strict=False)))


def _ordered(sets: Sequence[list[tuple[str, ...]]]) -> list[list[int]]:
    """Shingles as numbers, rarest first inside each set; ties by first appearance, the same every time."""
    counts = Counter(shingle for shingles in sets for shingle in shingles)
    rank = {shingle: number for number, shingle in enumerate(sorted(counts, key=counts.__getitem__))}
    return [sorted(rank[shingle] for shingle in shingles) for shingles in sets]
