from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Scored, Unscored
from evalharness.scorers.classification import Accuracy, MacroF1, MicroF1

LABELS = ["billing", 'a "quoted|label"', "refund: late", "日本"]


def table(scores: list[Any]) -> tuple[list[str], np.ndarray]:
    names = sorted({name for score in scores for name in score.stats})
    rows = np.array([[score.stats.get(name, 0.0) for name in names] for score in scores])
    return names, rows.reshape(len(scores), len(names))


def scored(scorer: Any, pairs: list[tuple[str, str]]) -> list[Scored]:
    found = [scorer.score(Case(id="c", targets=(gold,)), Response(text=output)) for gold, output in pairs]
    assert all(isinstance(score, Scored) for score in found)
    return found


pairs_of = st.lists(
    st.tuples(
        st.sampled_from(LABELS), st.sampled_from([*LABELS, "spam", "", "a long answer that is no label"])
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(pairs_of)
def test_f1_equals_sklearn_over_the_gold_labels(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    labels = sorted(set(gold))
    for scorer, average in ((MacroF1(normalise="trim"), "macro"), (MicroF1(normalise="trim"), "micro")):
        names, rows = table(scored(scorer, pairs))
        expected = f1_score(gold, predicted, labels=labels, average=average, zero_division=0)
        assert scorer.corpus(names, rows.sum(axis=0)) == pytest.approx(expected, abs=1e-12)
    tables = scorer.breakdown(names, rows.sum(axis=0))
    p, r, f, n = precision_recall_fscore_support(gold, predicted, labels=labels, zero_division=0)
    for index, row in enumerate(tables["per_class"]):
        assert row["label"] == labels[index]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
            [p[index], r[index], f[index], n[index]]
        )
    matrix = np.array(tables["confusion"]["matrix"])
    expected = confusion_matrix(gold, predicted, labels=[*labels, "no such label"])[:-1, :-1]
    assert (matrix[:, :-1] == expected).all()
    assert matrix.sum() == len(pairs)
    assert json.loads(json.dumps(tables)) == tables
    accuracy = np.mean([score.value for score in scored(Accuracy(normalise="trim"), pairs)])
    assert accuracy == pytest.approx(accuracy_score(gold, predicted))


@pytest.mark.parametrize("scorer", [MacroF1(), MicroF1()])
def test_corpus_is_vectorised_over_leading_dimensions(scorer: Any) -> None:
    pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("c", "x"), ("c", "c"), ("b", "a")]
    names, rows = table(scored(scorer, pairs))
    weights = np.random.default_rng(0).integers(0, 3, size=(4, 5, len(rows)))
    sums = weights @ rows
    values = scorer.corpus(names, sums)
    assert values.shape == (4, 5)
    assert np.isfinite(values).all()
    for at in np.ndindex(4, 5):
        assert values[at] == pytest.approx(float(scorer.corpus(names, sums[at])))
    assert scorer.corpus(names, np.zeros(len(names))) == 0
    assert scorer.corpus([], np.zeros((3, 0))).tolist() == [0, 0, 0]
    assert scorer.breakdown([], np.zeros(0)) == {}


def test_a_failed_case_is_a_missed_label(value: Any) -> None:
    scorer = MacroF1()
    worst = scorer.worst(Case(id="c", targets=("refund",)))
    assert worst.value == 0
    names, rows = table([*scored(scorer, [("refund", "refund")]), worst])
    assert scorer.corpus(names, rows.sum(axis=0)) == pytest.approx(2 / 3)


def test_with_labels_the_answer_may_be_prose() -> None:
    case = Case(id="c", targets=("CRITICAL",))
    answer = Response(text="**Classification: critical**, not WARNING")
    for scorer in (Accuracy(labels=["CRITICAL", "WARNING"]), MacroF1(labels=["CRITICAL", "WARNING"])):
        assert scorer.score(case, answer).value == 1
        assert scorer.score(case, Response(text="It is a warning")).value == 0
    assert Accuracy().score(case, answer).value == 0


def test_labels_may_come_from_the_choices(score: Any) -> None:
    assert score(MacroF1(), "I say: refund!", "refund", choices=("refund", "billing")).value == 1
    assert isinstance(score(MacroF1(), "refund", "spam", choices=("refund", "billing")), Unscored)
    assert isinstance(score(MacroF1(), "refund"), Unscored)


def test_of_several_accepted_labels_the_predicted_one_is_gold(score: Any) -> None:
    assert score(MacroF1(), "b", "a", "b").stats == {'["b", "b"]': 1}
    assert score(MacroF1(), "c", "a", "b").stats == {'["a", "c"]': 1}


def test_prose_without_labels_is_one_column_not_one_for_each_answer() -> None:
    outputs = [f"I believe that this is the case number {i}" for i in range(50)]
    names, _ = table(scored(MacroF1(), [("a", output) for output in outputs]))
    assert names == ['["a", null]']


@pytest.mark.parametrize("cls", [Accuracy, MacroF1, MicroF1])
def test_bad_parameters(cls: Any) -> None:
    with pytest.raises(ValueError, match="normalise must be one of"):
        cls(normalise="x")
    with pytest.raises(ValueError, match="empty"):
        cls(labels=[])
