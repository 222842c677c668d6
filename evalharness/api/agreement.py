"""Agreement between the raters of a file: people, judges, or both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evalharness.api.settings import Settings
from evalharness.api.tables import counted, table
from evalharness.core.estimates import LEVEL
from evalharness.errors import UsageError
from evalharness.report.text import one_line

if TYPE_CHECKING:
    import numpy as np

    from evalharness.stats.agreement import Agreement, Undefined, Weights
    from evalharness.stats.ratings import Ratings, Scale, Value

PAIRED_RATERS: Final = 10
"""With more raters the pairs are too many to read: 10 make 45."""
APART: Final = 0.2
"""AC1 above alpha by this much is worth a sentence about prevalence."""
FEW_ITEMS: Final = 50
"""Below this many items the intervals were measured to cover less than they say."""
_WEIGHTS: Final[dict[Scale, Weights]] = {
    "nominal": "unweighted",
    "ordinal": "linear",
    "interval": "quadratic",
}
_NAME_WIDTH: Final = 24
_NUMBERS: Final = (2, 4, 5)
_RESULT: Final = ("value", "low", "high", "method", "n_items", "n_raters", "n_ratings", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """One row of a table of agreement.

    Attributes:
        name: what it is called in the table.
        coefficient: "raw_agreement", "cohen_kappa", "fleiss_kappa", "krippendorff_alpha" or "gwet_ac1".
        weights: of Cohen's kappa, None for the others.
        raters: the pair for Cohen's kappa, None where all raters are in it.
        result: the value with its interval, or why there is none.
    """

    name: str
    coefficient: str
    weights: Weights | None = None
    raters: tuple[str, str] | None = None
    result: Agreement | Undefined

    def cells(self) -> tuple[str, ...]:
        """Name, raters, value, interval, items, ratings; cleaned for a terminal."""
        from evalharness.stats.agreement import BCA, Undefined

        who = "all" if self.raters is None else ", ".join(one_line(name, _NAME_WIDTH) for name in self.raters)
        found = self.result
        if isinstance(found, Undefined):
            return self.name, who, "none", "", "", ""
        mark = "" if found.method == BCA else " *"
        interval = f"{found.low:.3f} to {found.high:.3f}{mark}"
        return self.name, who, f"{found.value:.3f}", interval, f"{found.n_items:,}", f"{found.n_ratings:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementTable:
    """Every coefficient of one set of ratings, and sentences about how to read them."""

    scale: Scale
    level: float
    seed: int
    n_items: int
    n_raters: int
    n_ratings: int
    coefficients: tuple[Coefficient, ...]
    notes: tuple[str, ...]

    def json(self) -> str:
        """As JSON, ASCII only; an undefined coefficient has null for its value and interval, and a `reason`."""
        whole = asdict(self)
        for row in whole["coefficients"]:
            del row["name"]
            result = row.pop("result")
            result.pop("level", None)
            row |= dict.fromkeys(_RESULT) | result
        return json.dumps(whole, indent=2, allow_nan=False)

    def text(self) -> str:
        """For a terminal; names and labels of the file are cleaned of what could drive one."""
        rows: list[tuple[str, ...]] = [
            ("", "raters", "value", f"{100 * self.level:g}% interval", "items", "ratings")
        ]
        rows += [row.cells() for row in self.coefficients]
        lines = [
            f"{counted(self.n_items, 'item')}, {counted(self.n_raters, 'rater')}, {counted(self.n_ratings, 'rating')}; "
            f"scale {self.scale}",
            "",
        ]
        return "\n".join([*lines, *table(rows, right=_NUMBERS), "", *(one_line(note) for note in self.notes)])


def rater_agreement(
    path: str | Path, *, scale: Scale = "nominal", level: float = LEVEL, settings: Settings | None = None
) -> AgreementTable:
    """How far the raters of a JSONL file of ratings agree.

    Raw agreement, Cohen's kappa for each pair of up to 10 raters (nominal: unweighted, ordinal: linear, interval:
    quadratic weights), Fleiss' kappa where every item has as many ratings, Krippendorff's alpha and Gwet's AC1.

    Args:
        path: lines of `{"id": item, "rater": name, "value": label or number}`; a rating not given is a line left out.
        scale: "nominal" for labels, "ordinal" for numbers of which only the order counts, "interval" for numbers whose
            differences count.
        level: of the intervals, in (0, 1).
        settings: the seed and the working directory are used.

    Raises:
        SpecError: the file cannot be read or is wrong, with every problem. UsageError: `level` is out of range.
    """
    from evalharness.spec.ratings import read_ratings
    from evalharness.stats.ratings import Ratings

    use = settings or Settings()
    if not 0.0 < level < 1.0:
        raise UsageError(f"the level must lie between 0 and 1, got {level}; 0.95 is usual")
    file = use.paths.argument(str(path))
    ratings = Ratings.of(read_ratings(file, use.paths.show(file), scale=scale), scale=scale)
    found = tuple(_coefficients(ratings, level, use.seed))
    return AgreementTable(
        scale=scale,
        level=level,
        seed=use.seed,
        n_items=len(ratings.items),
        n_raters=len(ratings.raters),
        n_ratings=ratings.code.size,
        coefficients=found,
        notes=tuple(_notes(ratings, found)),
    )


def _coefficients(ratings: Ratings, level: float, seed: int) -> Iterator[Coefficient]:
    from evalharness.stats import agreement as stats
    from evalharness.stats.streams import stream

    def rng(*name: str) -> np.random.Generator:
        return stream(seed, *name)  # its own for each coefficient: another rater moves no interval of a pair

    exact = "" if ratings.scale == "nominal" else ", equal values"
    yield Coefficient(
        name=f"raw agreement{exact}",
        coefficient="raw_agreement",
        result=stats.raw_agreement(ratings, rng=rng("raw_agreement"), level=level),
    )
    weights = _WEIGHTS[ratings.scale]
    for first, second in combinations(ratings.raters, 2) if len(ratings.raters) <= PAIRED_RATERS else ():
        yield Coefficient(
            name=f"Cohen's kappa, {weights}",
            coefficient="cohen_kappa",
            weights=weights,
            raters=(first, second),
            result=stats.cohen_kappa(
                ratings, first, second, weights=weights, rng=rng("cohen_kappa", first, second), level=level
            ),
        )
    if stats.equally_rated(ratings):
        yield Coefficient(
            name=f"Fleiss' kappa{exact}",
            coefficient="fleiss_kappa",
            result=stats.fleiss_kappa(ratings, rng=rng("fleiss_kappa"), level=level),
        )
    yield Coefficient(
        name=f"Krippendorff's alpha, {ratings.scale}",
        coefficient="krippendorff_alpha",
        result=stats.krippendorff_alpha(ratings, rng=rng("krippendorff_alpha"), level=level),
    )
    yield Coefficient(
        name=f"Gwet's AC1{exact}",
        coefficient="gwet_ac1",
        result=stats.gwet_ac1(ratings, rng=rng("gwet_ac1"), level=level),
    )


def _notes(ratings: Ratings, rows: Sequence[Coefficient]) -> Iterator[str]:
    """Sentences: what is undefined, what the intervals are, and what a reader may get wrong."""
    from evalharness.stats.agreement import BCA, Agreement, Undefined

    missing: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row.result, Undefined):
            who = "" if row.raters is None else f" of {row.raters[0]} and {row.raters[1]}"
            missing.setdefault(row.result.reason, []).append(f"{row.name}{who}")
    for reason, names in missing.items():
        yield f"Undefined ({'; '.join(names)}): {reason}."
    defined = [row.result for row in rows if isinstance(row.result, Agreement)]
    if len(ratings.raters) > PAIRED_RATERS:
        yield f"Cohen's kappa is shown for up to {PAIRED_RATERS} raters; {len(ratings.raters)} make too many pairs."
    yield from _about_prevalence(ratings, {row.coefficient: row.result for row in rows})
    yield from _about_spelling(ratings.values)
    if not defined:
        return
    few = min(result.n_items for result in defined)
    if few < FEW_ITEMS:
        yield f"Intervals from fewer than {FEW_ITEMS} items (here down to {few}) hold less often than they say."
    if any(result.method != BCA for result in defined):
        yield "* No resample differs from the value; the interval is what unseen items could still make of it."


def _about_prevalence(ratings: Ratings, results: Mapping[str, Agreement | Undefined]) -> Iterator[str]:
    """The sentence for a kappa that is low because nearly all ratings are one label, not because raters differ."""
    import numpy as np

    from evalharness.stats.agreement import Agreement

    alpha, ac1 = results["krippendorff_alpha"], results["gwet_ac1"]
    if ratings.scale != "nominal" or not (isinstance(alpha, Agreement) and isinstance(ac1, Agreement)):
        return
    counts = np.bincount(ratings.code)
    share = counts.max() / counts.sum()
    if ac1.value - alpha.value >= APART:
        yield (
            f"{share:.0%} of the ratings are {ratings.values[int(counts.argmax())]!r}, so kappa and alpha put most "
            f"agreement down to chance (alpha {alpha.value:.2f}) and AC1 does not ({ac1.value:.2f}); to know how "
            "raters agree on the rare labels, have more items rated that get them."
        )


def _about_spelling(values: Sequence[Value]) -> Iterator[str]:
    """Labels that differ in case only are most likely one label."""
    seen: dict[str, str] = {}
    for value in values:
        if isinstance(value, str):
            other = seen.setdefault(value.casefold(), value)
            if other != value:
                yield f"The labels {other!r} and {value!r} differ in case only and count as two."
