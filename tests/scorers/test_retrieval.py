"""Retrieval metrics: ranx's numbers, one case at a time and all queries at once, and what has no value."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.protocols import Scorer
from evalharness.core.scores import Scored, Unscored
from evalharness.scorers.retrieval import (
    HitRate,
    Map,
    Mrr,
    Ndcg,
    Precision,
    Recall,
    evaluate_rankings,
    to_arrays,
)

Qrels = dict[str, dict[str, float]]
Run = dict[str, dict[str, float]]

SCORERS: dict[str, Any] = {
    "mrr": Mrr(),
    "mrr@3": Mrr(3),
    "map": Map(),
    "map@5": Map(k=5),
    "recall@1": Recall(1),
    "recall@10": Recall(10),
    "recall@100": Recall(100),
    "precision@1": Precision(1),
    "precision@10": Precision(10),
    "precision@100": Precision(100),
    "hit_rate@3": HitRate(3),
    "ndcg@1": Ndcg(1),
    "ndcg@10": Ndcg(10),
    "ndcg@100": Ndcg(100),
    "ndcg_burges@10": Ndcg(10, gain="exponential"),
}
SECOND_GRADE: dict[str, Any] = {
    "mrr-l2": Mrr(min_grade=2),
    "map-l2": Map(min_grade=2),
    "recall@10-l2": Recall(10, min_grade=2),
    "precision@10-l2": Precision(10, min_grade=2),
    "hit_rate@5-l2": HitRate(5, min_grade=2),
}
BINARY = [name for name in SCORERS if not name.startswith("ndcg")]


def made(seed: int, *, fractions: bool = False) -> tuple[Qrels, Run]:
    """Random judgments and scores of 150 queries without ties; some queries are not in the run."""
    rng = np.random.default_rng(seed)
    qrels: Qrels = {}
    run: Run = {}
    for number in range(150):
        corpus = [f"d{i}" for i in rng.permutation(80)]
        judged = corpus[: int(rng.integers(1, 25))]
        grades = rng.integers(0, 4, len(judged)) + (rng.random(len(judged)) if fractions else 0)
        qrels[f"q{number}"] = dict(zip(judged, map(float, grades), strict=True))
        if number % 10 and not fractions:  # every tenth query is not in the run
            ranked = [f"d{i}" for i in rng.permutation(80)][: int(rng.integers(1, 60))]
        elif fractions:
            ranked = [f"d{i}" for i in rng.permutation(80)][:30]
        else:
            continue
        scores = rng.permutation(len(ranked)) * 0.25 - 3.0
        run[f"q{number}"] = dict(zip(ranked, map(float, scores), strict=True))
    return qrels, run


def ordered(run: Run) -> dict[str, tuple[str, ...]]:
    return {query: tuple(sorted(found, key=lambda d: -found[d])) for query, found in run.items()}


WHOLE, FRACTIONS = made(1), made(2, fractions=True)


@pytest.fixture(scope="session")
def ranx() -> list[dict[str, dict[str, float]]]:
    """ranx's values: [whole grades, fractional grades], metric → query → value."""
    if importlib.util.find_spec("ranx") is None:
        pytest.skip("ranx is not installed")
    metrics = [*SCORERS, *SECOND_GRADE]
    jobs = [
        {"qrels": WHOLE[0], "run": WHOLE[1], "metrics": metrics, "objects": True},
        {"qrels": FRACTIONS[0], "run": FRACTIONS[1], "metrics": BINARY, "objects": False},
    ]
    oracle = Path(__file__).with_name("ranx_oracle.py")
    done = subprocess.run(
        [sys.executable, str(oracle)], input=json.dumps(jobs), capture_output=True, text=True, check=True
    )
    found: list[dict[str, dict[str, float]]] = json.loads(done.stdout)
    return found


def scored(scorer: Scorer, relevant: dict[str, float], *ranking: str) -> Scored:
    found = scorer.score(Case(id="c", relevant=relevant), Response(text="", ranking=ranking))
    assert isinstance(found, Scored), found
    return found


def unscored(scorer: Scorer, relevant: dict[str, float], response: Response) -> str:
    found = scorer.score(Case(id="c", relevant=relevant), response)
    assert isinstance(found, Unscored), found
    return found.reason


@pytest.mark.parametrize("name", [*SCORERS, *SECOND_GRADE])
def test_a_case_has_the_value_ranx_gives_its_query(name: str, ranx: list[Any]) -> None:
    scorer = (SCORERS | SECOND_GRADE)[name]
    least = 2 if name in SECOND_GRADE else 1
    qrels, rankings = WHOLE[0], ordered(WHOLE[1])
    compared = 0
    for query, relevant in qrels.items():
        response = Response(text="", ranking=rankings.get(query, ()))
        if max(relevant.values()) < least:
            assert isinstance(scorer.score(Case(id=query, relevant=relevant), response), Unscored)
            continue
        value = scored(scorer, relevant, *rankings.get(query, ())).value
        assert value == pytest.approx(ranx[0][name][query], abs=1e-12, rel=0)
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("name", BINARY)
def test_a_fractional_grade_is_relevant_from_the_least_grade_on_as_in_ranx(
    name: str, ranx: list[Any]
) -> None:
    rankings = ordered(FRACTIONS[1])
    for query, relevant in FRACTIONS[0].items():
        if max(relevant.values()) >= 1:
            value = scored(SCORERS[name], relevant, *rankings[query]).value
            assert value == pytest.approx(ranx[1][name][query], abs=1e-12, rel=0)


def test_all_queries_at_once_have_ranxs_values_and_mask_those_without_a_relevant_document(
    ranx: list[Any],
) -> None:
    qrels, run = WHOLE
    queries, judgments, rankings = to_arrays(qrels, ordered(run))
    found = evaluate_rankings(judgments, rankings, list(SCORERS))
    found |= {
        f"{name}-l2": values
        for name, values in evaluate_rankings(
            judgments, rankings, [name.removesuffix("-l2") for name in SECOND_GRADE], min_grade=2
        ).items()
    }
    assert queries == tuple(qrels)
    for name, values in found.items():
        least = 2 if name in SECOND_GRADE else 1
        nothing = [max(relevant.values()) < least for relevant in qrels.values()]
        assert values.mask.tolist() == nothing
        wanted = np.array([ranx[0][name][query] for query in queries])
        np.testing.assert_allclose(values.compressed(), wanted[~np.array(nothing)], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_many_queries_and_one_case_agree_on_repeats_and_any_sizes(seed: int) -> None:
    """Lists of very different length, documents that stand twice, and queries that found nothing."""
    rng = np.random.default_rng(seed)
    qrels: Qrels = {}
    run: dict[str, tuple[str, ...]] = {}
    for number in range(200):
        judged = int(rng.choice([1, 2, 3, 40, 300]))
        qrels[f"q{number}"] = {f"d{i}": float(rng.integers(0, 3)) / 2 for i in range(judged)}
        length = int(rng.choice([0, 1, 9, 10, 11, 200]))
        run[f"q{number}"] = tuple(f"d{i}" for i in rng.integers(0, 50, length))
    queries, judgments, rankings = to_arrays(qrels, run)
    values = evaluate_rankings(judgments, rankings, list(SCORERS))
    for name, scorer in SCORERS.items():
        for at, query in enumerate(queries):
            one = scorer.score(Case(id=query, relevant=qrels[query]), Response(text="", ranking=run[query]))
            if isinstance(one, Unscored):
                assert values[name].mask[at]
            else:
                assert values[name][at] == pytest.approx(one.value, abs=1e-12, rel=0)
                assert 0 <= one.value <= 1 and 0 <= values[name][at] <= 1


def test_the_definitions_by_hand() -> None:
    relevant = {"a": 3.0, "b": 1.0, "c": 0.0}
    assert scored(Mrr(), relevant, "c", "x", "b").value == pytest.approx(1 / 3)
    assert scored(Mrr(2), relevant, "c", "x", "b").value == 0
    assert scored(Recall(2), relevant, "b", "x", "a").value == 0.5
    assert scored(Precision(4), relevant, "b", "a").value == 0.5
    assert scored(Map(), relevant, "x", "a", "b").value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scored(Map(1), relevant, "a", "b").value == 0.5
    ideal = 3 + 1 / math.log2(3)
    assert scored(Ndcg(2), relevant, "b", "a").value == pytest.approx((1 + 3 / math.log2(3)) / ideal)
    exponential = 7 + 1 / math.log2(3)
    got = scored(Ndcg(2, gain="exponential"), relevant, "b", "a").value
    assert got == pytest.approx((1 + 7 / math.log2(3)) / exponential)
    assert scored(Ndcg(2), relevant, "a", "b").value == 1.0


def test_a_document_that_stands_twice_counts_once_where_it_stands_first() -> None:
    assert scored(Recall(3), {"a": 1.0, "b": 1.0}, "a", "a", "b").value == 1.0
    assert scored(Precision(2), {"a": 1.0, "b": 1.0}, "a", "a").value == 0.5
    assert scored(Ndcg(2), {"a": 1.0, "b": 1.0}, "a", "a").value < 1


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_an_answer_that_found_nothing_is_wrong_and_one_without_a_ranking_has_no_value(scorer: Any) -> None:
    relevant = {"a": 1.0}
    assert scored(scorer, relevant).value == 0.0
    assert scorer.score(Case(id="c", relevant=relevant), Response(text="[]")).value == 0.0
    for text in ("Document a.", '{"a": 1}', '["a", null]', "[true]", "[[1]]", '["a"'):
        assert "no ranking" in unscored(scorer, relevant, Response(text=text))
    for grades in ({"a": 0.0}, {"a": 0.0, "b": 0}):
        assert "no relevant document" in unscored(scorer, grades, Response(text="", ranking=("a",)))
    assert isinstance(scorer, Scorer)
    assert scorer.needs == ("relevant",)
    assert scorer.metric.direction == "higher"


def test_a_text_that_is_a_json_list_of_ids_is_a_ranking() -> None:
    found = Mrr().score(Case(id="c", relevant={"7": 1.0}), Response(text=' ["x", 7]\n'))
    assert isinstance(found, Scored) and found.value == 0.5


def test_the_detail_says_where_the_first_relevant_document_is_and_what_is_missing() -> None:
    relevant = {f"r{i}": 1.0 for i in range(9)}
    detail = scored(Recall(2), relevant, "x", "y", "r3").detail
    assert detail["first_relevant_rank"] == 3
    assert (len(detail["missing"]), detail["n_missing"]) == (5, 9)
    assert scored(Recall(2), {"a": 1.0}, "a").detail == {"first_relevant_rank": 1}
    assert scored(Ndcg(2), {"a": 1.0}).detail == {
        "first_relevant_rank": None,
        "missing": ["a"],
        "n_missing": 1,
    }


def test_grades_too_large_for_an_exponential_gain_have_no_value() -> None:
    relevant = {"a": 5000.0}
    reason = unscored(Ndcg(1, gain="exponential"), relevant, Response(text="", ranking=("a",)))
    assert "5000 is too large" in reason
    _, judgments, rankings = to_arrays({"q": relevant}, {"q": ("a",)})
    assert evaluate_rankings(judgments, rankings, ["ndcg_burges@1"])["ndcg_burges@1"].mask.all()
    assert evaluate_rankings(judgments, rankings, ["ndcg@1"])["ndcg@1"].tolist() == [1.0]


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Recall(0),
        lambda: Recall(True),
        lambda: Recall(2.0),  # type: ignore[arg-type]
        lambda: Precision(None),  # type: ignore[arg-type]
        lambda: Ndcg("5"),  # type: ignore[arg-type]
        lambda: Ndcg(5, gain="square"),
        lambda: Mrr(-1),
        lambda: Mrr(min_grade=0),
        lambda: Map(min_grade=float("inf")),
        lambda: HitRate(1, min_grade="2"),  # type: ignore[arg-type]
    ],
)
def test_bad_parameters_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        bad()


@pytest.mark.parametrize("name", ["recal@5", "recall", "ndcg", "mrr@0", "ndcg@five", ""])
def test_an_unknown_metric_or_one_without_a_needed_depth_is_refused(name: str) -> None:
    _, judgments, rankings = to_arrays({"q": {"a": 1.0}}, {"q": ("a",)})
    with pytest.raises(ValueError, match=r"is no retrieval metric|needs a depth"):
        evaluate_rankings(judgments, rankings, [name])


def test_sides_of_different_length_are_refused() -> None:
    _, judgments, _ = to_arrays({"q": {"a": 1.0}}, {})
    _, _, rankings = to_arrays({"q": {"a": 1.0}, "r": {"a": 1.0}}, {})
    with pytest.raises(ValueError, match="1 judged queries, but rankings of 2"):
        evaluate_rankings(judgments, rankings, ["mrr"])


def test_a_least_grade_of_nothing_is_refused() -> None:
    _, judgments, rankings = to_arrays({"q": {"a": 1.0}}, {"q": ("a",)})
    with pytest.raises(ValueError, match="min_grade must be a number above 0"):
        evaluate_rankings(judgments, rankings, ["mrr"], min_grade=0)


def test_no_queries_give_no_values() -> None:
    _, judgments, rankings = to_arrays({}, {"q": ("a",)})
    assert evaluate_rankings(judgments, rankings, ["mrr"])["mrr"].shape == (0,)


def test_the_scorers_load_no_numpy() -> None:
    code = "import sys, evalharness.scorers.retrieval; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
