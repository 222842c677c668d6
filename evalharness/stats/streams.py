"""Random streams by name: each estimate draws from its own, so that one more estimate moves no other."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str) -> np.random.Generator:
    """The generator of what `names` name, under `seed` (>= 0)."""
    label = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(label[:8], "big")])
