"""When an observed difference counts as a drop of the margin."""

from __future__ import annotations

from typing import Final

ROUNDING: Final = 1e-7
"""A drop this share of the margin short of it is a drop of the margin: 0.82 − 0.80 is 0.0199999… in binary floats."""


def drop_of(margin: float) -> float:
    """The largest difference, candidate − baseline on the goodness scale, that is a drop of `margin` (>= 0)."""
    return -margin * (1 - ROUNDING)
