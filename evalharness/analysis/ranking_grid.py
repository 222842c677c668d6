"""A metric by two tags at once (query language × document language), and by the number of dimensions kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evalharness.analysis.ranking import Field, Pair, adjusted, field_of
from evalharness.analysis.ranking_value import Value, value_of
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.scores import Direction
from evalharness.core.suites import Suite
from evalharness.errors import UsageError
from evalharness.stats.streams import stream

MOST_VALUES: Final = 20
"""A tag with more values than this makes no grid that anyone can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One metric in the cells of two tags.

    Attributes:
        keys: the tags of rows and columns.
        rows, columns: their values, sorted.
        cells: for each entry, for each row, for each column; a cell without cases has no value.
        n_untagged: cases without one of the tags, which are in no cell.
    """

    metric: str
    unit: str
    keys: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[tuple[Value, ...], ...], ...]
    n_untagged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One metric at so many dimensions. `pair`: against all dimensions (the first), adjusted; None at all of them."""

    dimension: int
    value: Value
    pair: Pair | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What cutting vectors costs: points from all dimensions down, tested against the first, one Holm family."""

    candidate: str
    metric: str
    unit: str
    direction: Direction
    points: tuple[CurvePoint, ...]


def grids_of(
    suite: Suite,
    runs: Sequence[Run],
    names: Sequence[str],
    scorers: Mapping[str, Scorer],
    metrics: Sequence[str],
    keys: tuple[str, str],
    *,
    seed: int,
) -> tuple[Grid, ...]:
    """A grid for each of the metrics whose cases have both tags.

    Raises:
        UsageError: no case of any metric has both, or a tag has more than `MOST_VALUES` values.
    """
    found = []
    for metric in metrics:
        field = field_of(suite, metric, scorers[metric], runs, names, seed)
        if any(all(key in case.tags for key in keys) for case in field.golden_set.cases):
            found.append(_grid(field, keys))
    if not found:
        known = sorted({key for item in suite.evals for case in item.golden_set.cases for key in case.tags})
        raise UsageError(
            f"no case has the tags {' and '.join(keys)}; the golden sets have {', '.join(known) or 'no tags'}"
        )
    return tuple(found)


def _grid(field: Field, keys: tuple[str, str]) -> Grid:
    tagged = [case.tags for case in field.golden_set.cases if all(key in case.tags for key in keys)]
    rows, columns = (tuple(sorted({tags[key] for tags in tagged})) for key in keys)
    for key, values in zip(keys, (rows, columns), strict=True):
        if len(values) > MOST_VALUES:
            raise UsageError(f"the tag {key} has {len(values)} values; a grid takes at most {MOST_VALUES}")
    cells = []
    for place, name in enumerate(field.names):
        alone = field.alone(place)
        members: dict[tuple[str, str], list[int]] = {}
        for index, case in enumerate(alone.cases):
            if all(key in case.tags for key in keys):
                members.setdefault((case.tags[keys[0]], case.tags[keys[1]]), []).append(index)
        cells.append(
            tuple(
                tuple(
                    value_of(
                        field.scorer,
                        alone,
                        members.get((row, column), []),
                        rng=stream(field.seed, field.metric_id, name, *keys, row, column),
                    )
                    for column in columns
                )
                for row in rows
            )
        )
    return Grid(
        metric=field.metric_id,
        unit=field.scorer.metric.unit,
        keys=keys,
        rows=rows,
        columns=columns,
        cells=tuple(cells),
        n_untagged=len(field.golden_set.cases) - len(tagged),
    )


def curve_of(
    suite: Suite,
    metric: str,
    scorer: Scorer,
    whole: Run,
    cut: Mapping[int, Run],
    *,
    name: str,
    dimension: int,
    seed: int,
) -> Curve:
    """A metric of one candidate over the number of dimensions.

    Args:
        suite: what was answered.
        metric: its id.
        scorer: how it is read.
        whole: the run with all dimensions.
        cut: the runs with fewer, by their number.
        name: the candidate's.
        dimension: how many all of them are.
        seed: of every random draw.
    """
    sizes = sorted(cut, reverse=True)
    labels = [name, *(f"{name} at {size}" for size in sizes)]
    field = field_of(suite, metric, scorer, [whole, *(cut[size] for size in sizes)], labels, seed)
    tested = adjusted([field.tested(0, place) for place in range(1, len(labels))], suite.gate.alpha)
    return Curve(
        candidate=name,
        metric=metric,
        unit=scorer.metric.unit,
        direction=scorer.metric.direction,
        points=tuple(
            CurvePoint(dimension=size, value=field.value(place), pair=tested[place - 1] if place else None)
            for place, size in enumerate((dimension, *sizes))
        ),
    )
