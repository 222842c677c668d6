"""Per-class tables and confusion matrices, read from the plain data a corpus scorer leaves in `breakdown`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from evalharness.report import numbers
from evalharness.report.text import one_line

_CLASSES: Final = 60
_MATRIX: Final = 16
_CONFUSIONS: Final = 8
_SHADES: Final = 5
_ORDER: Final = ("support", "precision", "recall", "f1")


@dataclass(frozen=True, slots=True)
class ClassTable:
    """One row a class: for every measure the value before and after. `more` classes are not shown."""

    measures: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    more: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion matrix: rows are the true classes, columns the answers. A cell is (count, shade 0–5, is diagonal)."""

    side: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, int, bool], ...]], ...]


@dataclass(frozen=True, slots=True)
class Confusion:
    """One kind of mistake and how often each side makes it."""

    truth: str
    answer: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What one metric's breakdown holds; empty parts are None or ()."""

    metric: str
    classes: ClassTable | None
    matrices: tuple[Matrix, ...]
    confusions: tuple[Confusion, ...]


def breakdown(metric: str, data: Mapping[str, Any]) -> Breakdown | None:
    """Tables of one metric, None where its data holds none that is known.

    Known are, under `baseline` and `candidate`: `per_class`, a list of {"label", measure: value}, and `confusion`,
    {"gold": labels, "predicted": labels, "matrix": counts}.
    """
    sides = [_mapping(data.get(role)) for role in ("baseline", "candidate")]
    classes = _classes([_per_class(side) for side in sides])
    confusion = [_confusion(side) for side in sides]
    labels = _labels(confusion)
    matrices: tuple[Matrix, ...] = ()
    if 0 < len(labels) <= _MATRIX:
        matrices = tuple(
            _matrix(name, table, labels)
            for name, table in zip(("Baseline", "Candidate"), confusion, strict=True)
            if table
        )
    confusions = _confusions(confusion[0], confusion[1])
    if classes is None and not matrices and not confusions:
        return None
    return Breakdown(metric, classes, matrices, confusions)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _per_class(side: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    rows = side.get("per_class")
    return {
        str(row.get("label")): {str(k): float(v) for k, v in row.items() if _number(v)}
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, Mapping)
    }


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _confusion(side: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """True class → answer → count, zeros left out. Counts are fractions where repeats were averaged."""
    table = _mapping(side.get("confusion"))
    gold, predicted, matrix = (table.get(name) for name in ("gold", "predicted", "matrix"))
    if not (isinstance(gold, list) and isinstance(predicted, list) and isinstance(matrix, list)):
        return {}
    return {
        str(truth): {str(a): float(n) for a, n in zip(predicted, row, strict=False) if _number(n) and n}
        for truth, row in zip(gold, matrix, strict=False)
        if isinstance(row, list)
    }


def _classes(sides: list[dict[str, dict[str, float]]]) -> ClassTable | None:
    names = list(dict.fromkeys(name for side in sides for name in side))
    found = dict.fromkeys(measure for side in sides for row in side.values() for measure in row)
    measures = [m for m in _ORDER if m in found] + [m for m in found if m not in _ORDER]
    if not names or not measures:
        return None

    def cell(side: dict[str, dict[str, float]], name: str, measure: str) -> str:
        value = side.get(name, {}).get(measure)
        if value is not None and value.is_integer() and measure not in _ORDER[1:]:
            return numbers.count(int(value))
        return numbers.value(value, "fraction" if measure in _ORDER else "")

    rows = tuple(
        (one_line(name, 80), tuple((cell(sides[0], name, m), cell(sides[1], name, m)) for m in measures))
        for name in names[:_CLASSES]
    )
    shown = tuple(
        "F1" if m == "f1" else one_line(m[:1].upper() + m[1:].replace("_", " "), 40) for m in measures
    )
    return ClassTable(shown, rows, len(names) - len(rows))


def _labels(sides: list[dict[str, dict[str, float]]]) -> list[str]:
    truths = dict.fromkeys(truth for side in sides for truth in side)
    answers = dict.fromkeys(a for side in sides for row in side.values() for a, n in row.items() if n)
    return list(truths | answers)


def _matrix(name: str, table: dict[str, dict[str, float]], labels: list[str]) -> Matrix:
    largest = max(
        (n for truth, row in table.items() for answer, n in row.items() if truth != answer), default=0
    )

    def cell(truth: str, answer: str) -> tuple[str, int, bool]:
        n = table.get(truth, {}).get(answer, 0)
        shade = 0 if truth == answer or not n else max(1, round(_SHADES * n / largest))
        return (f"{n:,.4g}" if n else "", shade, truth == answer)

    return Matrix(
        name,
        tuple(one_line(label, 40) for label in labels),
        tuple((one_line(t, 40), tuple(cell(t, a) for a in labels)) for t in labels if t in table),
    )


def _confusions(
    before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]
) -> tuple[Confusion, ...]:
    """The mistakes whose count changed most, those that grew first."""
    moved = []
    for truth in dict.fromkeys((*before, *after)):
        old, new = before.get(truth, {}), after.get(truth, {})
        for answer in dict.fromkeys((*old, *new)):
            change = new.get(answer, 0) - old.get(answer, 0)
            if truth != answer and change:
                moved.append((-change, truth, answer, old.get(answer, 0), new.get(answer, 0)))
    moved.sort()
    return tuple(
        Confusion(one_line(t, 60), one_line(a, 60), f"{old:,.4g}", f"{new:,.4g}")
        for _, t, a, old, new in moved[:_CONFUSIONS]
    )
