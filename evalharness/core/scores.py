"""Score and Metric: what a scorer says of one response, and how such values are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Direction: TypeAlias = Literal["higher", "lower"]
Kind: TypeAlias = Literal[
    "binary",  # each case is 0 or 1
    "bounded",  # each case lies in [low, high]
    "unbounded",  # no worst value exists (length in characters)
    "corpus",  # the metric is a function of summed per-case statistics (macro-F1, BLEU)
    "log_ratio",  # the exponential of a ratio of two sums, `nll` / `tokens` in `Scored.stats` (perplexity)
    "quantile",  # a quantile (`Metric.quantile`) of the values of all attempts, 0 or more; a failed one lies beyond all
    "preference",  # each case is a preference for the candidate in [0, 1]; the baseline's is ½ by definition
]

Want: TypeAlias = Literal["answer", "log_likelihood"]
"""What is asked of a model: an answer, or how likely it finds a text that is given."""

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Scored:
    """A value for one response.

    `value` is finite, in the metric's own unit. `stats` are additive sufficient statistics of a corpus metric,
    name → count, absent names being 0. `detail` is what a reader wants to know (extracted label, first schema error);
    its `why`, a sentence, stands beside the answer in a report.
    """

    value: float
    stats: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    detail: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Unscored:
    """No value, and why. Never NaN, never 0. It counts against the candidate like a failure."""

    reason: str


Score: TypeAlias = Scored | Unscored


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How the values of one scorer are read. Direction and unit are required.

    `unit` is "fraction" for values in [0, 1] (shown as per cent, differences as pp), else a plain word such as
    "characters". `low` and `high` bound a case's value; both None for kind "unbounded", and the worse
    one None for kinds "log_ratio" and "quantile", which have no worst value either.
    `quantile`, in (0, 1), is that of kind "quantile". `timed` says that the values are times of calls, which differ
    with the load they were made under.
    """

    direction: Direction
    unit: str
    kind: Kind
    low: float | None = 0.0
    high: float | None = 1.0
    quantile: float | None = None
    timed: bool = False

    @property
    def worst(self) -> float | None:
        """The worst value a case can have, None when the metric has none."""
        return self.low if self.direction == "higher" else self.high
