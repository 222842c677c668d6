"""Classification over the whole set: accuracy, macro-F1, micro-F1, and the confusion matrix behind them.

The statistics of a case are one cell of the confusion matrix, named by JSON: `["gold", "predicted"]`, with null for a
prediction that is no label. Cells are fewer columns than tp, fp and fn kept beside them, and give all three.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers.choice import LabelReader, label_reader
from evalharness.scorers.exact import BINARY, CORPUS, NO_TARGETS, RIGHT
from evalharness.scorers.normalise import Normalise, by_name, shown, text_of, texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OTHER: Final = "(no label)"
_MAX_LABEL: Final = 40  # characters, and words below: a longer answer is prose, and no label anyone uses
_MAX_WORDS: Final = 4


@dataclass(frozen=True)
class _Classifier:
    """What the three share: from an output to a label.

    `labels` are the possible labels (default: the case's choices); with them the label is read out of prose as the
    scorer `label` does. With neither, the whole output, normalised, is the label.
    """

    labels: tuple[str, ...] | None = None
    normalise: str = "loose"
    _normalise: Normalise = field(init=False, repr=False, compare=False)
    _reader: LabelReader | None = field(init=False, repr=False, compare=False, default=None)

    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "_normalise", by_name(self.normalise))
        if self.labels is not None:
            object.__setattr__(self, "labels", texts("labels", self.labels))
            object.__setattr__(self, "_reader", label_reader(self.labels))

    def _judge(self, case: Case, text: str) -> tuple[str, str | None, str] | Unscored:
        """The gold label, the predicted one or None, and why there is none.

        Where several targets are accepted, the gold label is the predicted one if it is among them, else the first.
        """
        if not case.targets:
            return NO_TARGETS
        try:
            reader = self._reader or (label_reader(case.choices) if case.choices else None)
        except ValueError as error:
            return Unscored(str(error))
        golds = []
        for target in case.targets:
            gold = reader.read(text_of(target)) if reader else self._normalise(text_of(target))
            if gold is None:
                return Unscored(f"target {shown(text_of(target), 80)!r} is none of the labels")
            golds.append(gold)
        if reader:
            predicted, why = reader.find(text)
        else:
            predicted, why = self._normalise(text), ""
            if not predicted or (
                predicted not in golds and (len(predicted) > _MAX_LABEL or predicted.count(" ") >= _MAX_WORDS)
            ):
                predicted, why = None, "the output is not a label"
        return (predicted if predicted in golds else golds[0]), predicted, why


def _detail(predicted: str | None, why: str) -> dict[str, Any]:
    return {"extracted": predicted} if predicted is not None else {"extracted": None, "reason": why}


@dataclass(frozen=True)
class Accuracy(_Classifier):
    """Share of cases whose predicted label is an accepted target.

    `labels` are the possible labels (default: the case's choices); with them the label is read out of prose as the
    scorer `label` does. With neither, the whole output, normalised, is the label.
    """

    name: ClassVar[str] = "accuracy"

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        judged = self._judge(case, response.text)
        if isinstance(judged, Unscored):
            return judged
        gold, predicted, why = judged
        return RIGHT if predicted == gold else Scored(0.0, detail=_detail(predicted, why))


@lru_cache(maxsize=4096)
def _cell(gold: str, predicted: str | None) -> Mapping[str, float]:
    """The statistics of a case; equal ones are one object, so that a large run costs no memory for them."""
    return {json.dumps([gold, predicted]): 1.0}


@lru_cache(maxsize=4096)
def _right(gold: str) -> Scored:
    return Scored(1.0, stats=_cell(gold, gold))


@dataclass(frozen=True)
class _F1(_Classifier):
    @property
    def metric(self) -> Metric:
        return CORPUS

    def score(self, case: Case, response: Response) -> Score:
        judged = self._judge(case, response.text)
        if isinstance(judged, Unscored):
            return judged
        gold, predicted, why = judged
        if predicted == gold:
            return _right(gold)
        return Scored(0.0, stats=_cell(gold, predicted), detail=_detail(predicted, why))

    def worst(self, case: Case) -> Scored:
        """The statistics of no label at all: a false negative of the first accepted target."""
        judged = self._judge(case, "")
        if isinstance(judged, Unscored):
            return Scored(0.0)
        return Scored(0.0, stats=_cell(judged[0], None), detail=_detail(None, judged[2]))

    def fold(self, names: Sequence[str]) -> Mapping[str, str]:
        """Which columns count the same: every prediction that is no gold label is a miss and nothing else."""
        cells = {name: json.loads(name) for name in names}
        gold = {cell[0] for cell in cells.values()}
        return {
            name: name if cell[1] is None or cell[1] in gold else json.dumps([cell[0], None])
            for name, cell in cells.items()
        }

    def breakdown(self, names: Sequence[str], sums: NDArray[np.float64]) -> Mapping[str, Any]:
        """Precision, recall, F1 and support of each gold label, and the confusion matrix (rows gold)."""
        import numpy as np

        labels, golds, predictions = _table(names)
        if not labels:
            return {}
        matrix = np.zeros((len(labels), len(labels) + 1))
        for value, gold, predicted in zip(sums, golds, predictions, strict=True):
            matrix[gold, predicted] += value
        true = np.diag(matrix)
        support, claimed = matrix.sum(axis=1), matrix[:, :-1].sum(axis=0)
        rows = zip(
            labels,
            _ratio(true, claimed),
            _ratio(true, support),
            _ratio(2 * true, support + claimed),
            support,
            strict=True,
        )
        per_class = [
            {"label": label, "precision": float(p), "recall": float(r), "f1": float(f), "support": float(n)}
            for label, p, r, f, n in rows
        ]
        confusion = {"gold": list(labels), "predicted": [*labels, _OTHER], "matrix": matrix.tolist()}
        return {"per_class": per_class, "confusion": confusion}


@dataclass(frozen=True)
class MacroF1(_F1):
    """Unweighted mean of the F1 of every gold label.

    Equals sklearn's `f1_score(labels=gold labels, average="macro", zero_division=0)`.

    A prediction that is no gold label is a false negative of the gold one and no one's false positive. A case's own
    value is 1 when its label is right, else 0. For `labels` and `normalise` see `accuracy`.
    """

    name: ClassVar[str] = "macro_f1"

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Macro-F1 from sums (..., len(names)) of confusion cells; shape (...), 0 where there is no label."""
        import numpy as np

        true, support, claimed = _counts(names, sums)
        if not true.shape[-1]:
            return np.zeros(sums.shape[:-1])
        return np.asarray(_ratio(2 * true, support + claimed).mean(axis=-1))


@dataclass(frozen=True)
class MicroF1(_F1):
    """F1 of the counts summed over the gold labels.

    Equals sklearn's `f1_score(labels=gold labels, average="micro", zero_division=0)`.

    Equals accuracy when every prediction is a label; otherwise a prediction that is none costs recall alone. For
    `labels` and `normalise` see `accuracy`.
    """

    name: ClassVar[str] = "micro_f1"

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Micro-F1 from sums (..., len(names)) of confusion cells; shape (...), 0 where there is no label."""
        true, support, claimed = _counts(names, sums)
        return _ratio(2 * true.sum(axis=-1), (support + claimed).sum(axis=-1))


def _table(names: Sequence[str]) -> tuple[list[str], list[int], list[int]]:
    """Gold labels, and for each column the index of its gold and of its predicted label (len(labels): none)."""
    cells = [json.loads(name) for name in names]
    labels = sorted({gold for gold, _ in cells})
    place = {label: index for index, label in enumerate(labels)}
    return (
        labels,
        [place[gold] for gold, _ in cells],
        [place.get(predicted, len(labels)) for _, predicted in cells],
    )


def _counts(
    names: Sequence[str], sums: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """True positives, support (tp + fn) and predictions (tp + fp) of each gold label, shape (..., labels)."""
    import numpy as np

    labels, golds, predictions = _table(names)
    indicator = np.zeros((3, len(names), len(labels) + 1))
    for column, (gold, predicted) in enumerate(zip(golds, predictions, strict=True)):
        indicator[0, column, gold] = gold == predicted
        indicator[1, column, gold] = 1.0
        indicator[2, column, predicted] = 1.0
    true, support, claimed = (sums @ indicator[kind][:, :-1] for kind in range(3))
    return true, support, claimed


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Elementwise ratio, 0 where the denominator is 0."""
    import numpy as np

    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator > 0)
