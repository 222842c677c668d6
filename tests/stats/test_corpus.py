"""paired_corpus on macro-F1 and ratio metrics: oracles, symmetry, degenerate input, size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.paired import paired_cases, paired_corpus

Array = NDArray[np.float64]
CLASSES = 4


def macro_f1(sums: Array) -> Array:
    tp, fp, fn = sums[..., :CLASSES], sums[..., CLASSES : 2 * CLASSES], sums[..., 2 * CLASSES :]
    whole = 2 * tp + fp + fn
    return np.asarray(np.where(whole > 0, 2 * tp / np.where(whole > 0, whole, 1), 0.0).mean(axis=-1))


def first_over_second(sums: Array) -> Array:
    return np.asarray(sums[..., 0] / sums[..., 1])


def class_rows(gold: NDArray[np.int64], predicted: NDArray[np.int64]) -> Array:
    rows = np.zeros((gold.size, 3 * CLASSES))
    index, right = np.arange(gold.size), gold == predicted
    rows[index[right], gold[right]] = 1
    rows[index[~right], CLASSES + predicted[~right]] = 1
    rows[index[~right], 2 * CLASSES + gold[~right]] = 1
    return rows


def labels(n: int, seed: int, broken: float = 0.0) -> tuple[Array, Array, tuple[NDArray[np.int64], ...]]:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, CLASSES, n)
    before = np.where(rng.random(n) < 0.8, gold, rng.integers(0, CLASSES, n))
    after = np.where(rng.random(n) < 0.1, rng.integers(0, CLASSES, n), before)
    after = np.where(rng.random(n) < broken, rng.integers(0, CLASSES, n), after)
    return class_rows(gold, before), class_rows(gold, after), (gold, before, after)


def compare(
    before: Array,
    after: Array,
    aggregate: Callable[[Array], Array] = macro_f1,
    *,
    sign: float = 1,
    clusters: list[str] | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> PairedEstimate:
    rng = np.random.default_rng(seed)
    return paired_corpus(before, after, aggregate, sign=sign, clusters=clusters, alpha=alpha, rng=rng)


def test_values_match_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    before, after, (gold, left, right) = labels(300, 1)
    got = compare(before, after)
    assert got.baseline == pytest.approx(f1_score(gold, left, average="macro"))
    assert got.candidate == pytest.approx(f1_score(gold, right, average="macro"))
    assert got.delta == got.candidate - got.baseline
    assert (got.n, got.n_units, got.clustered) == (300, 300, False)


def test_on_accuracy_it_is_the_midp_mcnemar_test() -> None:
    _, _, (gold, left, right) = labels(120, 2)
    ok_before, ok_after = (left == gold).astype(float), (right == gold).astype(float)
    ones = np.ones(120)
    got = compare(np.column_stack((ok_before, ones)), np.column_stack((ok_after, ones)), first_over_second)
    regressed, fixed = int(np.sum(ok_before > ok_after)), int(np.sum(ok_before < ok_after))
    assert (got.n_regressed, got.n_fixed) == (regressed, fixed)
    expected = midp_mcnemar(regressed, fixed)
    assert expected > 0.001
    assert got.p_drop == pytest.approx(expected, abs=5 * math.sqrt(expected / 10_000))
    binary = paired_cases(
        ok_before,
        ok_after,
        binary=True,
        equal_repeats=True,
        clusters=None,
        alpha=0.05,
        rng=np.random.default_rng(0),
    )
    assert got.lower == pytest.approx(binary.lower, abs=0.02)
    assert got.sd == pytest.approx(binary.sd, rel=0.1)


def test_randomisation_matches_scipy_on_the_macro_f1_of_swapped_cases() -> None:
    from scipy.stats import permutation_test

    before, after, (gold, left, right) = labels(120, 3, broken=0.08)

    def difference(x: Array, y: Array, axis: int) -> Array:
        sums = [
            np.stack([class_rows(gold, row.astype(np.int64)).sum(axis=0) for row in np.atleast_2d(side)])
            for side in (x, y)
        ]
        return np.asarray(macro_f1(sums[1]) - macro_f1(sums[0]))

    oracle = permutation_test(
        (left.astype(float), right.astype(float)),
        difference,
        permutation_type="samples",
        vectorized=True,
        axis=-1,
        n_resamples=3_000,
        batch=500,
        alternative="less",
        rng=np.random.default_rng(4),
    )
    assert compare(before, after).p_drop == pytest.approx(oracle.pvalue, abs=0.035)


def test_bootstrap_matches_scipy_basic_interval() -> None:
    from scipy.stats import bootstrap

    before, after, _ = labels(250, 5, broken=0.05)

    def difference(index: Array, axis: int = -1) -> Array:
        rows = index.astype(np.int64)
        return np.asarray(macro_f1(after[rows].sum(axis=-2)) - macro_f1(before[rows].sum(axis=-2)))

    oracle = bootstrap(
        (np.arange(250.0),),
        difference,
        method="basic",
        n_resamples=4_000,
        rng=np.random.default_rng(6),
        batch=500,
    )
    got = compare(before, after)
    error = oracle.standard_error
    assert got.sd == pytest.approx(error * math.sqrt(250), rel=0.1)
    assert got.interval.low == pytest.approx(oracle.confidence_interval.low, abs=0.25 * error)
    assert got.interval.high == pytest.approx(oracle.confidence_interval.high, abs=0.25 * error)
    assert got.interval.low < got.lower < got.delta


def test_swapping_sides_and_turning_the_sign() -> None:
    before, after, _ = labels(300, 7, broken=0.04)
    there, back = compare(before, after), compare(after, before)
    assert back.delta == -there.delta
    assert (back.p_drop, back.p_gain) == (there.p_gain, there.p_drop)
    turned = compare(before, after, sign=-1)
    assert (turned.baseline, turned.delta) == (-there.baseline, -there.delta)
    assert (turned.p_drop, turned.p_gain) == (there.p_gain, there.p_drop)
    assert (turned.n_regressed, turned.n_fixed) == (there.n_fixed, there.n_regressed)


def test_case_order_is_irrelevant_and_a_seed_fixes_every_bit() -> None:
    before, after, _ = labels(500, 8)
    order = np.random.default_rng(0).permutation(500)
    assert compare(before, after) == compare(before, after)
    assert compare(before[order], after[order]) == compare(before, after)
    assert compare(before, after, seed=1).lower != compare(before, after).lower


def test_many_distinct_rows_are_pooled_without_changing_the_answer() -> None:
    rng = np.random.default_rng(9)
    before = np.column_stack((rng.poisson(8, 6_000), rng.poisson(20, 6_000) + 1, rng.random(6_000)))
    after = before + np.where(rng.random(6_000) < 0.3, rng.normal(-0.05, 3, 6_000), 0)[:, None] * [1, 0, 0]
    got = compare(before, after, first_over_second)
    rate = before[:, 0].sum() / before[:, 1].sum()
    change = after[:, 0].sum() / after[:, 1].sum() - rate
    # Linearised ratio: the residual of each case over the summed denominator.
    residual = (after[:, 0] - before[:, 0]) - change * before[:, 1]
    error = math.sqrt(float(residual @ residual)) / before[:, 1].sum()
    assert got.delta == pytest.approx(change)
    assert got.sd == pytest.approx(error * math.sqrt(6_000), rel=0.1)
    assert got.lower == pytest.approx(change - 1.645 * error, abs=0.2 * error)
    from scipy.stats import norm

    assert got.p_drop == pytest.approx(norm.cdf(change / error), abs=0.02)


def test_clusters_are_summed_first() -> None:
    before, after, _ = labels(240, 10, broken=0.05)
    codes = np.arange(240) % 24
    got = compare(before, after, clusters=[f"doc{c}" for c in codes])
    whole = [np.stack([side[codes == c].sum(axis=0) for c in range(24)]) for side in (before, after)]
    alone = compare(*whole)
    assert (got.clustered, got.n, got.n_units) == (True, 240, 24)
    assert (got.p_drop, got.lower, got.sd) == (alone.p_drop, alone.lower, alone.sd)
    few = compare(before, after, clusters=[f"doc{c % 5}" for c in codes])
    assert few.no_pass_reason is not None
    assert "only 5 clusters" in few.no_pass_reason
    assert compare(before, after, clusters=[str(i) for i in range(240)]) == compare(before, after)


@pytest.mark.parametrize("n", [1, 2, 50])
def test_nothing_changed(n: int) -> None:
    before, _, _ = labels(n, 11)
    got = compare(before, before.copy())
    assert (got.delta, got.p_drop, got.p_gain, got.sd, got.discordance) == (0.0, 1.0, 1.0, 0.0, 0.0)
    assert got.no_pass_reason is not None


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_everything_broke(n: int) -> None:
    gold = np.arange(n) % CLASSES
    got = compare(class_rows(gold, gold), class_rows(gold, (gold + 1) % CLASSES))
    assert 0 < got.p_drop <= 1
    assert got.n_regressed == n
    assert math.isfinite(got.lower)
    if got.interval.low == got.interval.high:
        assert got.no_pass_reason is not None


def test_changes_the_metric_does_not_see_never_pass_on_a_bound_without_width() -> None:
    before = np.column_stack((np.ones(60), np.full(60, 2.0), np.zeros(60)))
    after = np.column_stack((before[:, :2], np.ones(60)))
    got = compare(before, after, first_over_second)
    assert (got.n_regressed, got.n_fixed, got.delta) == (0, 0, 0.0)
    assert got.p_drop == got.p_gain == pytest.approx(0.5, abs=1e-3)
    assert got.no_pass_reason is not None


@pytest.mark.parametrize("rising", [False, True])
def test_bounds_hold_the_difference_where_resamples_lose_whole_classes(rising: bool) -> None:
    classes = 60
    gold = np.arange(classes)
    wrong = np.where(gold < 12, (gold + 1) % classes, gold)
    hits = [np.eye(classes) * (said == gold)[:, None] for said in (gold, wrong)]
    rows = [
        np.hstack((hit, np.eye(classes)[said] - hit, np.eye(classes)[gold] - hit))
        for hit, said in zip(hits, (gold, wrong), strict=True)
    ]

    def many(sums: Array) -> Array:
        tp, fp, fn = np.split(sums, 3, axis=-1)
        whole = 2 * tp + fp + fn
        return np.asarray(np.where(whole > 0, 2 * tp / np.where(whole > 0, whole, 1), 0.0).mean(axis=-1))

    got = compare(*(rows[::-1] if rising else rows), many)
    assert got.interval.low <= got.delta <= got.interval.high
    assert got.lower <= got.delta
    assert got.no_pass_reason is not None and "one side" in got.no_pass_reason


def test_a_million_cases_get_the_bound_of_a_normal_ratio() -> None:
    rng = np.random.default_rng(13)
    before = rng.poisson(6, (1_000_000, 3)).astype(float)
    after = np.where((rng.random(1_000_000) < 0.2)[:, None], rng.poisson(6, (1_000_000, 3)), before)
    got = compare(before, after, first_over_second)
    rates = [side[:, 0].sum() / side[:, 1].sum() for side in (before, after)]
    residual = (after[:, 0] - rates[1] * after[:, 1]) / after[:, 1].sum()
    residual -= (before[:, 0] - rates[0] * before[:, 1]) / before[:, 1].sum()
    error = float(residual @ residual) ** 0.5
    assert got.delta == pytest.approx(rates[1] - rates[0])
    assert got.lower == pytest.approx(got.delta - 1.645 * error, abs=0.2 * error)


def test_a_small_alpha_and_a_high_level_take_the_normal_bound_and_no_pass() -> None:
    before, after, _ = labels(400, 3)
    for alpha, level, carried in ((0.05, 0.95, True), (0.001, 0.998, True), (1e-6, 1 - 1e-6, False)):
        got = paired_corpus(
            before,
            after,
            macro_f1,
            sign=1,
            clusters=None,
            alpha=alpha,
            level=level,
            rng=np.random.default_rng(1),
        )
        assert got.interval.level == level
        word = "basic" if carried else "normal"
        assert got.lower_method == got.interval.method == f"paired bootstrap ({word})"
        assert (got.no_pass_reason is None) is carried
        error = got.sd / 400**0.5
        assert got.lower == pytest.approx(got.delta + special.ndtri(alpha) * error, abs=0.6 * error)
