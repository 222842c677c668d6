"""Per-class tables and confusion matrices come from a corpus scorer's own breakdown."""

from __future__ import annotations

import numpy as np
import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Scored
from evalharness.report.tables import breakdown
from evalharness.scorers.classification import MacroF1


def tables(pairs: list[tuple[str, str]]) -> object:
    scorer = MacroF1()
    stats = []
    for i, (gold, said) in enumerate(pairs):
        score = scorer.score(Case(id=str(i), input="", targets=(gold,)), Response(text=said))
        assert isinstance(score, Scored)
        stats.append(score.stats)
    names = sorted({name for row in stats for name in row})
    return scorer.breakdown(names, np.array([[row.get(n, 0.0) for n in names] for row in stats]).sum(axis=0))


def test_what_the_classification_scorer_leaves_is_shown() -> None:
    before = tables([("billing", "billing")] * 8 + [("refund", "refund")] * 5)
    after = tables([("billing", "billing")] * 6 + [("billing", "refund")] * 2 + [("refund", "refund")] * 5)
    found = breakdown("routing/macro_f1", {"baseline": before, "candidate": after})
    assert found is not None and found.classes is not None
    assert found.classes.measures == ("Support", "Precision", "Recall", "F1")
    rows = dict(found.classes.rows)
    assert rows["billing"][0] == ("8", "8")
    assert rows["billing"][2] == ("100.0%", "75.0%")
    assert [(c.truth, c.answer, c.before, c.after) for c in found.confusions] == [
        ("billing", "refund", "0", "2")
    ]
    candidate = found.matrices[1]
    cells = dict(candidate.rows)["billing"]
    by_column = dict(zip(candidate.columns, cells, strict=True))
    assert by_column["billing"] == ("6", 0, True)
    assert by_column["refund"][0] == "2"


@pytest.mark.parametrize(
    "data", [{}, {"baseline": 3}, {"baseline": {"confusion": {"gold": 1}, "per_class": "x"}}]
)
def test_data_of_another_shape_shows_nothing(data: dict[str, object]) -> None:
    assert breakdown("m", data) is None
