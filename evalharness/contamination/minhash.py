"""MinHash-LSH by datasketch, for results that have to agree with a pipeline that uses it.

The exact join of `scan` finds every pair at the threshold and is faster. Here a near duplicate counts only if an LSH
index of the cases, asked with the passage's MinHash, returns the case too. What the index misses near the threshold
is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from evalharness._lazy import require
from evalharness.contamination.index import code_of
from evalharness.contamination.probes import Gram, Probes
from evalharness.contamination.scan import Confirm

PERMUTATIONS: Final = 128


def minhash_lsh(threshold: float) -> Callable[[Probes], Confirm]:
    """What `check_contamination` takes as `confirm`.

    Args:
        threshold: Jaccard similarity in (0, 1]; bands and rows are datasketch's choice for it.

    Raises:
        MissingExtraError: datasketch is not installed.
    """
    datasketch: Any = require("datasketch", extra="contamination", why="use MinHash-LSH")

    def sketch(shingles: frozenset[Gram]) -> Any:
        made = datasketch.MinHash(num_perm=PERMUTATIONS, hashfunc=_code32)
        made.update_batch([" ".join(shingle) for shingle in sorted(shingles)])
        return made

    def build(probes: Probes) -> Confirm:
        index = datasketch.MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
        for place, probe in enumerate(probes.probes):
            if probe.partial:
                index.insert(place, sketch(probe.shingles))
        return lambda shingles: frozenset(index.query(sketch(shingles)))

    return build


def _code32(shingle: str) -> int:
    return code_of(shingle) & 0xFFFFFFFF
