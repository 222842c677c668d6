"""Rankings of several runs: the gate's own tests, one family, no side of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from evalharness.analysis.ranking import RankedMetric, Ranking, chosen_metrics, rank_runs
from evalharness.analysis.ranking_grid import curve_of, grids_of
from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.scores import Scored, Unscored
from evalharness.core.suites import EvalSpec, GatePolicy, Margin, ScorerSpec, Suite
from evalharness.errors import InvalidComparisonError, UsageError
from evalharness.scorers.choice import Choice
from evalharness.scorers.classification import MacroF1
from evalharness.scorers.exact import ExactMatch
from evalharness.scorers.ops import LatencyP95
from evalharness.scorers.retrieval import Ndcg
from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.multiplicity import holm
from evalharness.stats.paired import paired_cases
from evalharness.stats.streams import stream

Values = Sequence[float | None]
SEED = 7


def suite_of(scorers: Mapping[str, Scorer], n: int, **more: Any) -> Suite:
    cases = tuple(
        Case(
            id=f"c{i}", input=f"q{i}", targets=("a" if i % 2 else "b",), **{k: v(i) for k, v in more.items()}
        )
        for i in range(n)
    )
    golden = GoldenSet(card=Card(name="g", version="1", task="t"), cases=cases, digest="sha256:g")
    specs = tuple(ScorerSpec(name=name, id=name) for name in scorers)
    gate = GatePolicy(max_drop=Margin(Fraction(1, 50), False))
    return Suite(
        name="s", evals=(EvalSpec(id="e", golden_set=golden, scorers=specs),), gate=gate, digest="sha256:s"
    )


def run_of(suite: Suite, name: str, **metrics: Values) -> Run:
    """A run with these values; None: the answer failed."""
    (golden,) = suite.golden_sets
    attempts, scores = {}, {}
    for place, case in enumerate(golden.cases):
        failed = any(values[place] is None for values in metrics.values())
        outcome = Failure(kind="timeout", message="late") if failed else Response(text="x")
        attempts[case.id, 0] = Attempt(golden_set="g", case_id=case.id, repeat=0, outcome=outcome)
    for metric, values in metrics.items():
        scores[f"e/{metric}"] = {
            (case.id, 0): Unscored("failed") if value is None else Scored(float(value))
            for case, value in zip(golden.cases, values, strict=True)
        }
    return Run(
        id=f"sha256:{name}", name=name, candidate_digest=f"sha256:{name}", suite_name="s", suite_digest="sha256:s",
        golden_sets={"g": "sha256:g"}, repeats=1, attempts={"g": attempts}, scores=scores,
        manifest={"candidate": {"provider": "replay", "model": None}, "facts": {"latency_p50_ms": 3.0}},
    )  # fmt: skip


def ranked(scorers: Mapping[str, Scorer], sides: Mapping[str, Mapping[str, Values]], **more: Any) -> Ranking:
    n = len(next(iter(next(iter(sides.values())).values())))
    suite = suite_of(scorers, n)
    runs = [run_of(suite, name, **values) for name, values in sides.items()]
    return rank_runs(suite, runs, {f"e/{k}": v for k, v in scorers.items()}, seed=SEED, **more)


def pairs_by_name(metric: RankedMetric, ranking: Ranking) -> dict[tuple[str, str], Any]:
    names = [entry.name for entry in ranking.entries]
    return {(names[p.first], names[p.second]): p for p in metric.pairs}


def columns(rng: np.random.Generator, n: int, rates: Sequence[float]) -> list[list[float]]:
    """0/1 values of several candidates on the same cases, which they share the difficulty of."""
    hard = rng.random(n)
    return [[float(x) for x in (0.5 * hard + 0.5 * rng.random(n)) < rate] for rate in rates]


def test_p_values_are_those_of_the_gate_two_sided_and_in_one_family() -> None:
    rng = np.random.default_rng(3)
    a, b, c = columns(rng, 150, (0.5, 0.6, 0.8))
    x, y, z = (np.clip(rng.normal(m, 0.2, 150), 0, 1).tolist() for m in (0.5, 0.52, 0.6))
    sides = {"a": {"acc": a, "ndcg": x}, "b": {"acc": b, "ndcg": y}, "c": {"acc": c, "ndcg": z}}
    ranking = ranked({"acc": ExactMatch(), "ndcg": Ndcg(k=10)}, sides)
    binary, graded = ranking.metrics
    expected = []
    for left, right in combinations("abc", 2):
        one, two = np.array(sides[left]["acc"]), np.array(sides[right]["acc"])
        lost, won = int(((one == 1) & (two == 0)).sum()), int(((one == 0) & (two == 1)).sum())
        p = min(1.0, 2 * min(midp_mcnemar(lost, won), midp_mcnemar(won, lost)))
        found = pairs_by_name(binary, ranking)[left, right]
        assert found.p_value == p
        assert (found.wins, found.losses, found.ties) == (won, lost, 150 - won - lost)
        assert found.delta == pytest.approx(two.mean() - one.mean(), abs=1e-12)
        expected.append(p)
    for left, right in combinations("abc", 2):
        one, two = np.array(sides[left]["ndcg"]), np.array(sides[right]["ndcg"])
        same = paired_cases(
            one, two, binary=False, equal_repeats=True, clusters=None, alpha=0.05,
            rng=stream(SEED, "e/ndcg", left, right),
        )  # fmt: skip
        found = pairs_by_name(graded, ranking)[left, right]
        assert (found.low, found.high) == (same.interval.low, same.interval.high)
        assert found.p_value == pytest.approx(scipy_stats.ttest_rel(one, two).pvalue, rel=1e-9)
        expected.append(found.p_value)
    assert [p.p_adjusted for metric in ranking.metrics for p in metric.pairs] == holm(expected)
    assert ranking.family == 6
    names = [ranking.entries[place].name for place in binary.order]
    assert names == ["c", "b", "a"]
    assert binary.beats(2) == (1, 0) and binary.beats(0) == ()


def test_the_order_of_candidates_moves_nothing() -> None:
    rng = np.random.default_rng(5)
    values = {name: np.clip(rng.normal(0.5, 0.2, 60), 0, 1).tolist() for name in "abc"}
    scorers: dict[str, Scorer] = {"ndcg": Ndcg(k=5)}
    first = ranked(scorers, {n: {"ndcg": values[n]} for n in "abc"})
    second = ranked(scorers, {n: {"ndcg": values[n]} for n in "cba"})
    one, two = (pairs_by_name(r.metrics[0], r) for r in (first, second))
    for (left, right), found in one.items():
        turned = two[right, left]
        assert (found.p_value, found.p_adjusted) == (turned.p_value, turned.p_adjusted)
        assert (found.delta, found.low, found.high) == (-turned.delta, -turned.high, -turned.low)
        assert (found.wins, found.losses) == (turned.losses, turned.wins)
    assert first.metrics[0].values == tuple(reversed(second.metrics[0].values))


@pytest.mark.calibration
def test_equal_candidates_are_rarely_told_apart_however_many_pairs_there_are() -> None:
    """Five equal candidates: ten pairs. Any pair called different is a false alarm; at most 5% of rankings have one."""
    rng = np.random.default_rng(11)
    scorers: dict[str, Scorer] = {"acc": ExactMatch()}
    alarms = unadjusted = 0
    for _ in range(150):
        sides = dict(zip("abcde", columns(rng, 60, [0.6] * 5), strict=True))
        (metric,) = ranked(scorers, {name: {"acc": values} for name, values in sides.items()}).metrics
        alarms += any(p.better is not None for p in metric.pairs)
        unadjusted += any((p.p_value or 1) <= 0.05 for p in metric.pairs)
    # P(Binomial(150, 5%) >= 17) is 0.1%
    assert alarms <= 16
    assert unadjusted > 16, "without the family the chance would be far higher, or this test could not fail"


def test_a_failed_answer_counts_as_the_worst_on_whichever_side() -> None:
    good: list[float | None] = [1.0] * 40
    sides = {"a": {"acc": good}, "b": {"acc": [None] * 12 + good[12:]}}
    for order in ("ab", "ba"):
        ranking = ranked({"acc": ExactMatch()}, {name: sides[name] for name in order})
        (metric,) = ranking.metrics
        by_name = dict(zip(order, metric.values, strict=True))
        assert by_name["a"].value == 1.0 and by_name["b"].value == pytest.approx(28 / 40)
        assert metric.beats(order.index("a")) == (order.index("b"),)
        assert "e/acc: 12 answers of b failed or have no score and count as the worst" in ranking.warnings


def test_a_case_that_nobody_has_a_value_of_is_left_out_and_counted() -> None:
    values: list[float | None] = [None, *([1.0, 0.0] * 10)]
    ranking = ranked({"acc": ExactMatch()}, {"a": {"acc": values}, "b": {"acc": values}})
    (metric,) = ranking.metrics
    assert (metric.n, metric.n_left_out, metric.n_worst) == (20, 1, (0, 0))
    assert metric.pairs[0].p_value == 1.0 and metric.pairs[0].better is None
    assert any("1 case is left out" in text for text in ranking.warnings)


def test_lower_is_better_is_turned_round() -> None:
    fast, slow = [float(i) for i in range(100, 400)], [float(i) * 3 for i in range(100, 400)]
    ranking = ranked({"p95": LatencyP95()}, {"slow": {"p95": slow}, "fast": {"p95": fast}})
    (metric,) = ranking.metrics
    assert metric.order == (1, 0) and metric.beats(1) == (0,)
    (found,) = metric.pairs
    assert found.delta is not None and found.delta < 0 and found.high is not None and found.high < 0
    value = metric.values[1]
    assert value.low is not None and value.high is not None and value.value == sorted(fast)[284]
    assert value.low < value.value < value.high


def test_a_metric_over_sums_has_a_value_and_an_interval() -> None:
    scorer = MacroF1()
    suite = suite_of({"f1": scorer}, 80)
    rng = np.random.default_rng(2)
    runs = []
    for name, right in (("weak", 0.5), ("strong", 0.9)):
        run = run_of(suite, name, f1=[0.0] * 80)
        texts = {
            case.id: t if rng.random() < right else ("a" if t == "b" else "b")
            for case in suite.golden_sets[0].cases
            for t in case.targets
        }
        scores = {
            (case.id, 0): scorer.score(case, Response(text=texts[case.id]))
            for case in suite.golden_sets[0].cases
        }
        run.scores["e/f1"] = scores  # type: ignore[index]
        runs.append(run)
    (metric,) = rank_runs(suite, runs, {"e/f1": scorer}, seed=SEED).metrics
    assert metric.beats(1) == (0,)
    for value in metric.values:
        assert value.low is not None and value.value is not None and value.high is not None
        assert value.low < value.value < value.high and value.method == "percentile bootstrap"


@pytest.mark.parametrize("ones", [0, 30, 60])
def test_the_interval_of_a_share_is_the_exact_one(ones: int) -> None:
    values = [1.0] * ones + [0.0] * (60 - ones)
    (metric,) = ranked({"acc": ExactMatch()}, {"a": {"acc": values}, "b": {"acc": values}}).metrics
    exact = scipy_stats.binomtest(ones, 60).proportion_ci(0.95, method="exact")
    assert metric.values[0].low == pytest.approx(exact.low, abs=1e-9)
    assert metric.values[0].high == pytest.approx(exact.high, abs=1e-9)


def test_cells_of_two_tags_hold_their_own_cases() -> None:
    languages = ("ar", "en")
    tags = {
        "tags": lambda i: {"query": languages[i % 2], "document": languages[i // 2 % 2]} if i < 40 else {}
    }
    scorers: dict[str, Scorer] = {"e/acc": ExactMatch()}
    suite = suite_of({"acc": ExactMatch()}, 44, **tags)
    # right where query and document are of one language
    values = [float(i % 2 == i // 2 % 2) for i in range(44)]
    runs = [run_of(suite, "mono", acc=values), run_of(suite, "multi", acc=[1.0] * 44)]
    names = ["mono", "multi"]
    (grid,) = grids_of(suite, runs, names, scorers, ["e/acc"], ("query", "document"), seed=SEED)
    assert (grid.rows, grid.columns, grid.n_untagged) == (languages, languages, 4)
    assert [[cell.value for cell in row] for row in grid.cells[0]] == [[1.0, 0.0], [0.0, 1.0]]
    assert [[cell.n for cell in row] for row in grid.cells[1]] == [[10, 10], [10, 10]]
    with pytest.raises(
        UsageError, match="no case has the tags tone and document; the golden sets have document"
    ):
        grids_of(suite, runs, names, scorers, ["e/acc"], ("tone", "document"), seed=SEED)


def test_a_curve_is_tested_against_all_dimensions_in_a_family_of_its_own() -> None:
    scorer = ExactMatch()
    suite = suite_of({"acc": scorer}, 100)
    shares = {64: 1.0, 32: 0.97, 8: 0.5}
    runs = {
        size: run_of(suite, "m", acc=[float(i < 100 * share) for i in range(100)])
        for size, share in shares.items()
    }
    curve = curve_of(
        suite, "e/acc", scorer, runs[64], {8: runs[8], 32: runs[32]}, name="m", dimension=64, seed=SEED
    )
    assert [point.dimension for point in curve.points] == [64, 32, 8]
    assert curve.points[0].pair is None
    near, far = curve.points[1].pair, curve.points[2].pair
    assert near is not None and far is not None
    assert [near.p_adjusted, far.p_adjusted] == holm([near.p_value or 0, far.p_value or 0])
    assert near.better is None and far.better == 0
    assert far.delta == pytest.approx(-0.5)


def test_what_cannot_be_ranked_is_refused() -> None:
    scorers: dict[str, Scorer] = {"e/acc": ExactMatch(), "e/choice": Choice()}
    suite = suite_of({"acc": ExactMatch(), "choice": Choice()}, 3)
    runs = [run_of(suite, name, acc=[1, 0, 1], choice=[1, 0, 1]) for name in ("a", "a")]
    assert chosen_metrics(suite, scorers, []) == ("e/acc", "e/choice")
    with pytest.raises(UsageError, match="has no metric 'e/typo'; it has e/acc, e/choice"):
        chosen_metrics(suite, scorers, ["e/typo"])
    with pytest.raises(UsageError, match="two candidates are called 'a'"):
        rank_runs(suite, runs, scorers, seed=SEED)
    with pytest.raises(UsageError, match="at least two"):
        rank_runs(suite, runs[:1], scorers, seed=SEED)
    other = suite_of({"acc": ExactMatch(), "choice": Choice()}, 3)
    stranger = run_of(other, "b", acc=[1, 0, 1], choice=[1, 0, 1])
    object.__setattr__(stranger, "golden_sets", {"g": "sha256:another"})
    with pytest.raises(InvalidComparisonError, match="another version of golden set 'g'"):
        rank_runs(suite, [runs[0], stranger], scorers, seed=SEED)
