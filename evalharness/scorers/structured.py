"""Structured output: is it JSON, does it follow a schema, are its fields right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers._json import BadJSON, equal, extract
from evalharness.scorers.exact import BINARY, CORPUS, NO_TARGETS, RIGHT
from evalharness.scorers.normalise import Normalise, by_name, one_of, shown, texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EXTRACTS: Final = ("fenced", "strict")
_SHOWN_FIELDS: Final = 20


@dataclass(frozen=True)
class JsonValid:
    """1 when the output is JSON (RFC 8259), else 0, with where it stops being JSON in the detail.

    `extract`: "fenced" (default) also takes the last fenced block, or else the longest object or list standing in
    prose; "strict" takes the whole output only.
    """

    extract: str = "fenced"

    name: ClassVar[str] = "json_valid"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        one_of("extract", self.extract, _EXTRACTS)

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        try:
            extract(response.text, self.extract)
        except BadJSON as error:
            return Scored(0.0, detail={"reason": f"not JSON: {error}"})
        return RIGHT


@dataclass(frozen=True)
class JsonSchema:
    """1 when the output is JSON that the schema accepts, else 0, with the first error's path and message.

    `schema` is a JSON Schema (in the suite: a path to one), Draft 2020-12 unless its `$schema` names another; it is
    checked when the suite is read, and `$ref` must point inside it: nothing is fetched. Patterns are RE2 syntax,
    matched in linear time. `format` is an annotation and not checked. `extract` as for json_valid.
    """

    schema: Any
    extract: str = "fenced"
    _validator: Any = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "json_schema"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {"schema": "json"}

    def __post_init__(self) -> None:
        from evalharness.scorers._schema import validator

        one_of("extract", self.extract, _EXTRACTS)
        object.__setattr__(self, "_validator", validator(self.schema))

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        try:
            document = extract(response.text, self.extract)
        except BadJSON as error:
            return Scored(0.0, detail={"path": "", "reason": f"not JSON: {error}"})
        try:
            found = next(self._validator.iter_errors(document), None)
        except RecursionError:
            return Scored(0.0, detail={"path": "", "reason": "nested too deeply"})
        if found is None:
            return RIGHT
        path = ".".join(map(str, found.absolute_path))
        return Scored(0.0, detail={"path": shown(path), "reason": shown(found.message, 300)})


_Leaves = dict[tuple[str, ...], Any]
_MISSING: Final = object()
_MAX_LEAVES: Final = 100_000


@dataclass(frozen=True)
class _Fields:
    """What field_accuracy and field_f1 share: two documents as leaf fields, and when two leaves are equal.

    Leaves are named by dotted paths ("total", "customer.name", "items.0.price"). Texts are equal after `normalise`
    ("loose" by default), numbers within `tolerance` (absolute), everything else as JSON: true is not 1, null is not
    a missing field, "3" is not 3. `fields` names the paths that count, each with what lies under it.
    """

    fields: tuple[str, ...] | None = None
    normalise: str = "loose"
    tolerance: float = 0.0
    extract: str = "fenced"
    _normalise: Normalise = field(init=False, repr=False, compare=False)
    _paths: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False, default=())

    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        one_of("extract", self.extract, _EXTRACTS)
        object.__setattr__(self, "_normalise", by_name(self.normalise))
        tolerance: object = self.tolerance  # parameters come from YAML, so their types are not to be trusted
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
            raise TypeError(f"tolerance must be a number such as 0.01, not {tolerance!r}")
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"tolerance must be 0 or more, not {tolerance!r}")
        if self.fields is not None:
            object.__setattr__(self, "fields", texts("fields", self.fields))
            object.__setattr__(self, "_paths", tuple(tuple(path.split(".")) for path in self.fields))

    def _leaves(self, document: Any) -> _Leaves:
        """The leaf fields that count, by path. An empty object or list inside the document is a leaf."""
        found: _Leaves = {}
        for path, value in _walk(document):
            if not self._paths or any(path[: len(wanted)] == wanted for wanted in self._paths):
                found[path] = value
                if len(found) > _MAX_LEAVES:
                    break
        return found

    def _targets(self, case: Case) -> list[_Leaves] | Unscored:
        """The leaves of every accepted target that is an object or a list, given as such or as JSON text."""
        found = []
        for target in case.targets:
            if isinstance(target, str):
                try:
                    target = extract(target, "strict")
                except BadJSON as error:
                    return Unscored(f"the target is not JSON: {error}")
            if not isinstance(target, dict | list):
                return Unscored("the target is neither a JSON object nor a list, so it has no fields")
            leaves = self._leaves(target)
            if self._paths and not leaves:
                return Unscored(f"the target has none of the fields {', '.join(self.fields or ())}")
            found.append(leaves)
        return found or NO_TARGETS

    def _output(self, text: str) -> _Leaves | str:
        """The leaves of the output, or why it has none."""
        try:
            document = extract(text, self.extract)
        except BadJSON as error:
            return f"not JSON: {error}"
        if not isinstance(document, dict | list):
            return "the output is neither a JSON object nor a list"
        try:
            return self._leaves(document)
        except RecursionError:
            return "nested too deeply"

    def _wrong(self, wanted: _Leaves, given: _Leaves) -> list[tuple[str, ...]]:
        """The paths of the target whose value the output lacks or has otherwise."""
        return [path for path, value in wanted.items() if not self._same(value, given.get(path, _MISSING))]

    def _same(self, wanted: Any, given: Any) -> bool:
        if given is _MISSING:
            return False
        if isinstance(wanted, str) and isinstance(given, str):
            return wanted == given or self._normalise(wanted) == self._normalise(given)
        if equal(wanted, given):
            return True
        numbers = _is_number(wanted) and _is_number(given)
        try:
            return numbers and bool(self.tolerance) and _near(wanted, given, self.tolerance)
        except OverflowError:
            return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _near(left: float, right: float, tolerance: float) -> bool:
    from decimal import Decimal

    # In decimal, so that 0.3 lies within 0.1 of 0.2.
    return abs(Decimal(str(left)) - Decimal(str(right))) <= Decimal(str(tolerance))


def _walk(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(document, dict) and (document or not path):
        for key, value in document.items():
            yield from _walk(value, (*path, key))
    elif isinstance(document, list) and (document or not path):
        for index, value in enumerate(document):
            yield from _walk(value, (*path, str(index)))
    else:
        yield path, document


def _dotted(paths: Sequence[tuple[str, ...]]) -> list[str]:
    return [shown(".".join(path), 80) for path in paths[:_SHOWN_FIELDS]]


@dataclass(frozen=True)
class FieldAccuracy(_Fields):
    """Share of the target's leaf fields that the output's JSON has with an equal value; 0 to 1.

    Fields the target does not have cost nothing (field_f1 counts them); an output that is not JSON has 0. Of several
    accepted targets the best one counts. `fields`, `normalise`, `tolerance` and `extract`: a leaf is named by its
    dotted path; texts are equal after normalisation, numbers within the tolerance, true is not 1, null is not a
    missing field.
    """

    name: ClassVar[str] = "field_accuracy"

    @property
    def metric(self) -> Metric:
        return Metric(direction="higher", unit="fraction", kind="bounded")

    def score(self, case: Case, response: Response) -> Score:
        targets = self._targets(case)
        if isinstance(targets, Unscored):
            return targets
        given = self._output(response.text)
        if isinstance(given, str):
            return Scored(0.0, detail={"reason": given})
        best, wrong = -1.0, list[tuple[str, ...]]()
        for wanted in targets:
            missed = self._wrong(wanted, given)
            value = 1.0 - len(missed) / len(wanted) if wanted else float(not given)
            if value > best:
                best, wrong = value, missed
        return Scored(best, detail={"wrong": _dotted(wrong)} if wrong else {})


@dataclass(frozen=True)
class FieldF1(_Fields):
    """F1 over the leaf fields of all cases; 0 to 1.

    An equal field is a true positive, a missing one a false negative, an extra one a false positive, a different
    value both. An output that is not JSON misses every field. Where neither side has a field the F1 is 1. A
    case's own value is its own F1, shown and never averaged. Parameters as for field_accuracy.
    """

    name: ClassVar[str] = "field_f1"

    @property
    def metric(self) -> Metric:
        return CORPUS

    def score(self, case: Case, response: Response) -> Score:
        targets = self._targets(case)
        if isinstance(targets, Unscored):
            return targets
        given = self._output(response.text)
        if isinstance(given, str):
            return _missed(targets[0], given)
        best: Scored | None = None
        for wanted in targets:
            wrong = self._wrong(wanted, given)
            extra = [path for path in given if path not in wanted]
            true = len(wanted) - len(wrong)
            # A wrong value is both a field missed and a field made up; a missing one is only missed.
            made_up = len(extra) + sum(path in given for path in wrong)
            counts = {"tp": float(true), "fp": float(made_up), "fn": float(len(wrong))}
            value = 2 * true / (2 * true + made_up + len(wrong)) if true or made_up or wrong else 1.0
            if best is None or value > best.value:
                detail = {"wrong": _dotted(wrong), "extra": _dotted(extra)}
                best = Scored(
                    value, stats=counts, detail={key: paths for key, paths in detail.items() if paths}
                )
        assert best is not None
        return best

    def worst(self, case: Case) -> Scored:
        """The statistics of no answer: every field of the first target missed."""
        targets = self._targets(case)
        return Scored(0.0) if isinstance(targets, Unscored) else _missed(targets[0], "no answer")

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """F1 of sums (..., len(names)); shape (...)."""
        import numpy as np

        true, made_up, missed = _counts(names, sums)
        below = 2 * true + made_up + missed
        return np.divide(2 * true, below, out=np.ones(below.shape), where=below > 0)

    def breakdown(self, names: Sequence[str], sums: NDArray[np.float64]) -> Mapping[str, Any]:
        """Precision, recall, F1 and the counts."""
        true, made_up, missed = (float(count) for count in _counts(names, sums))
        return {
            "precision": true / (true + made_up) if true + made_up else 0.0,
            "recall": true / (true + missed) if true + missed else 0.0,
            "f1": float(self.corpus(names, sums)),
            "true_positives": true,
            "false_positives": made_up,
            "false_negatives": missed,
        }


def _missed(wanted: _Leaves, reason: str) -> Scored:
    # At least one, so that a failed case counts even where the target has no field.
    return Scored(0.0, stats={"fn": float(max(1, len(wanted)))}, detail={"reason": reason})


def _counts(names: Sequence[str], sums: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """True positives, false positives and false negatives, each of shape (...)."""
    import numpy as np

    absent = np.zeros(sums.shape[:-1])
    return [sums[..., names.index(name)] if name in names else absent for name in ("tp", "fp", "fn")]
