"""Position, labels and length, held against statsmodels, scikit-learn and scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evalharness.stats.agreement import Agreement, Undefined
from evalharness.stats.judging import (
    LabelAgreement,
    NotEstimated,
    Position,
    against_labels,
    position,
    share,
)
from evalharness.stats.length import LengthControlled, length_controlled_win_rate, length_correlation

Array = NDArray[np.float64]


def a(*values: float) -> Array:
    return np.array(values, dtype=np.float64)


def preferences(n: int, seed: int, slope: float = 1.2, levels: int = 0) -> tuple[Array, Array]:
    """Preferences that rise with length, on `levels` levels (0: any number), and differences in characters."""
    rng = np.random.default_rng(seed)
    differences = np.round(200 * rng.standard_normal(n) + 60)
    chance = 1 / (1 + np.exp(-0.3 - slope * np.tanh(differences / 200)))
    if levels == 0:
        return np.clip(chance + 0.2 * rng.standard_normal(n), 0, 1), differences
    return rng.binomial(levels - 1, chance) / (levels - 1), differences


def controlled(*arguments: Any, **options: Any) -> LengthControlled:
    found = length_controlled_win_rate(*arguments, **options)
    assert isinstance(found, LengthControlled), found
    return found


# --- share ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 20), (7, 50), (50, 50), (312, 1000)])
def test_a_share_of_cases_has_wilsons_interval(hits: int, n: int) -> None:
    from statsmodels.stats.proportion import proportion_confint

    got = share(np.repeat([1.0, 0.0], [hits, n - hits]))
    low, high = proportion_confint(hits, n, method="wilson")
    assert (got.value, got.n) == (hits / n, n)
    assert (got.low, got.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))


def test_repeats_of_a_case_are_no_cases() -> None:
    once = share(np.repeat([1.0, 0.0], [30, 70]))
    again = share(np.tile(np.repeat([1.0, 0.0], [30, 70]), 4), cases=[f"c{i}" for i in range(100)] * 4)
    assert again.n == 100
    assert again.value == pytest.approx(once.value)
    # 400 values of 100 cases that repeat themselves know no more than the 100 do.
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.03)


@pytest.mark.parametrize("value", [0.0, 0.75, 1.0])
def test_values_that_never_vary_are_not_certain(value: float) -> None:
    got = share(np.full(30, value), cases=[str(i % 15) for i in range(30)])
    assert got.low <= value <= got.high and got.high - got.low > 0.1


# --- position ---------------------------------------------------------------------------------------------------------


def test_flips_are_counted_by_where_they_lead() -> None:
    # baseline first / candidate first:   steady win, to first, to second, win → tie, steady tie, steady loss
    first = a(1, 0, 1, 0.5, 0.5, 0)
    second = a(1, 1, 0, 1, 0.5, 0)
    got = position(first, second)
    assert isinstance(got, Position)
    assert (got.n_pairs, got.n_flipped, got.n_first, got.n_second, got.n_reversed) == (6, 3, 2, 1, 2)
    assert got.flip_rate.value == 0.5 and got.flips_to_first is not None
    assert got.flips_to_first.value == pytest.approx(2 / 3)
    # first-slot wins of the 12 verdicts: 0+1, 1+1, 0+0, .5+1, .5+.5, 1+0
    assert got.first_slot.value == pytest.approx(6.5 / 12)


def test_the_slot_test_is_the_exact_binomial_with_mid_p() -> None:
    from scipy.stats import binom

    n_first, n_second, steady = 21, 9, 70
    first = np.concatenate((np.zeros(n_first), np.ones(n_second), np.ones(steady)))
    second = np.concatenate((np.ones(n_first), np.zeros(n_second), np.ones(steady)))
    got = position(first, second)
    assert isinstance(got, Position)
    tail = binom.sf(n_first, 30, 0.5) + binom.pmf(n_first, 30, 0.5) / 2
    assert got.p_value == pytest.approx(2 * tail)
    swapped = position(second, first)
    assert isinstance(swapped, Position) and swapped.p_value == pytest.approx(got.p_value)
    assert swapped.n_first == n_second


def test_a_judge_that_always_takes_the_first_is_found_out() -> None:
    got = position(np.zeros(60), np.ones(60))
    assert isinstance(got, Position) and got.p_value is not None and got.flips_to_first is not None
    assert got.flip_rate.value == got.flips_to_first.value == got.first_slot.value == 1.0
    assert got.p_value < 1e-15


def test_a_steady_judge_has_no_slot() -> None:
    got = position(a(1, 0, 0.5, 0.8), a(1, 0, 0.5, 0.9))
    assert isinstance(got, Position)
    assert (got.n_flipped, got.flips_to_first, got.p_value) == (0, None, None)
    assert got.flip_rate.high > 0.4  # 0 of 4


def test_repeats_of_a_case_vote_once_on_the_slot() -> None:
    first, second = np.zeros(40), np.ones(40)
    got = position(first, second, cases=[f"c{i // 10}" for i in range(40)])
    assert isinstance(got, Position)
    assert (got.flip_rate.n, got.n_flipped) == (4, 40)
    assert got.p_value == pytest.approx(2 * 0.5**5)  # four of four, mid-p


def test_one_order_says_nothing_about_position() -> None:
    got = position(a(), a())
    assert isinstance(got, NotEstimated) and got.kind == "no_cases"


# --- labels -----------------------------------------------------------------------------------------------------------


def test_against_labels_counts_a_known_table() -> None:
    from sklearn.metrics import cohen_kappa_score

    # people good: judge good 40, bad 8, tie 2; people bad: judge bad 27, good 3; people tie: tie 5, good 5
    labels = np.repeat([1.0, 0.0, 0.5], [50, 30, 10])
    judged = np.repeat([1.0, 0.0, 0.5, 0.0, 1.0, 0.5, 1.0], [40, 8, 2, 27, 3, 5, 5])
    got = against_labels(judged, labels, rng=np.random.default_rng(0))
    assert isinstance(got, LabelAgreement)
    assert (got.n, got.agreement.n) == (90, 90)
    assert got.sensitivity is not None and got.specificity is not None
    assert got.agreement.value == pytest.approx(72 / 90)
    assert (got.sensitivity.value, got.specificity.value) == (pytest.approx(0.8), pytest.approx(0.9))
    assert (got.sensitivity.n, got.specificity.n) == (50, 30)
    assert isinstance(got.kappa, Agreement)
    assert got.kappa.value == pytest.approx(
        cohen_kappa_score((2 * judged).astype(int), (2 * labels).astype(int))
    )
    assert got.correlation2 == pytest.approx(np.corrcoef(judged, labels)[0, 1] ** 2)


def test_a_judge_that_passes_everything_is_seen_through() -> None:
    labels = np.repeat([1.0, 0.0], [90, 10])
    got = against_labels(np.ones(100), labels, rng=np.random.default_rng(0))
    assert got.agreement.value == 0.9  # looks good
    assert got.sensitivity is not None and got.specificity is not None
    assert (got.sensitivity.value, got.specificity.value) == (1.0, 0.0)
    assert got.correlation2 is None
    assert isinstance(got.kappa, Agreement) and got.kappa.value == pytest.approx(0.0, abs=1e-12)


def test_one_class_of_labels_has_no_specificity() -> None:
    got = against_labels(np.ones(60), np.ones(60), rng=np.random.default_rng(0))
    assert got.sensitivity is not None and got.specificity is None
    assert isinstance(got.kappa, Undefined)


# --- length -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [0, 2, 3, 5])
@pytest.mark.parametrize("repeats", [1, 3])
def test_without_penalty_it_is_statsmodels_clustered_binomial_glm(levels: int, repeats: int) -> None:
    import statsmodels.api as sm

    y, d = preferences(240, 11 + levels, levels=levels)
    codes = np.arange(240) // repeats
    z = np.tanh(d / d.std(ddof=1))
    fit = sm.GLM(y, sm.add_constant(z), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": codes}, tol=1e-12
    )
    got = controlled(y, d, cases=[f"c{code}" for code in codes], penalty=0.0)
    at = fit.get_prediction(np.array([[1.0, 0.0]]))
    assert got.value == pytest.approx(float(at.predicted[0]), rel=1e-8)
    assert got.slope == pytest.approx(float(fit.params[1]), rel=1e-8)
    assert got.standard_error == pytest.approx(float(at.se[0]), rel=1e-7)
    assert (got.n, got.n_cases, got.raw) == (240, 240 // repeats, pytest.approx(y.mean()))


@pytest.mark.parametrize("n", [20, 60])
def test_the_penalised_estimate_is_scikit_learns(n: int) -> None:
    from sklearn.linear_model import LogisticRegression

    y, d = preferences(n, 5)
    z = np.tanh(d / d.std(ddof=1))[:, None]
    # A fractional outcome is a win of weight y and a loss of weight 1 − y.
    oracle = LogisticRegression(C=1 / 0.1, tol=1e-10, max_iter=10_000).fit(
        np.vstack((z, z)), np.repeat([1, 0], n), sample_weight=np.concatenate((y, 1 - y))
    )
    got = controlled(y, d)
    assert got.slope == pytest.approx(float(oracle.coef_[0, 0]), abs=1e-5)
    assert got.value == pytest.approx(float(oracle.predict_proba([[0.0]])[0, 1]), abs=1e-5)


def test_averaging_the_orders_first_changes_nothing() -> None:
    y, d = preferences(150, 2, levels=2)
    other, _ = preferences(150, 3, levels=2)
    ids = [f"c{i}" for i in range(150)]
    pairs = controlled((y + other) / 2, d)
    # Twice the rows carry twice the information beside the same penalty, and sd(d) and the factor count rows.
    rows = controlled(np.concatenate((y, other)), np.concatenate((d, d)), cases=ids + ids, penalty=0.2)
    assert rows.value == pytest.approx(pairs.value, abs=2e-4)
    assert rows.standard_error == pytest.approx(pairs.standard_error, rel=0.01)


def test_swapping_the_sides_mirrors_it() -> None:
    y, d = preferences(120, 8, levels=3)
    there, back = controlled(y, d), controlled(1 - y, -d)
    assert back.value == pytest.approx(1 - there.value)
    assert (back.low, back.high) == (pytest.approx(1 - there.high), pytest.approx(1 - there.low))
    assert back.slope == pytest.approx(there.slope)


def test_a_longer_winner_loses_its_lead_at_equal_length() -> None:
    rng = np.random.default_rng(4)
    d = 300 * rng.standard_normal(600) + 250  # mostly longer
    y = (d + 120 * rng.standard_normal(600) > 0).astype(np.float64)  # the longer wins, but for noise
    got = controlled(y, d)
    assert got.raw > 0.75
    assert got.low < 0.5 < got.high < got.raw


@pytest.mark.parametrize(
    ("y", "d", "kind", "reason"),
    [
        (np.tile([0.0, 1.0], 20), np.zeros(40), "constant", "equally long"),
        (np.tile([0.0, 1.0], 20), np.full(40, -30.0), "constant", "baseline's answers are longer by 30"),
        (np.ones(40), np.arange(40) - 20.0, "one_sided", "every verdict is for the candidate"),
        (np.zeros(40), np.arange(40) - 20.0, "one_sided", "every verdict is for the baseline"),
        (np.repeat([0.0, 1.0], 20), np.arange(40) - 20.0, "separated", "the longer the candidate's answer"),
        (np.repeat([1.0, 0.5, 0.0], [19, 1, 20]), np.arange(40) - 20.0, "separated", "the shorter"),
        (np.tile([0.0, 1.0], 20), 1e6 + np.arange(40) % 3, "undetermined", "vary too little"),
        (np.tile([0.0, 1.0, 1.0], 13), 60.0 + np.arange(39), "undetermined", "vary too little"),
        (a(0.5), a(3), "few_cases", "1 cases are too few"),
        (a(), a(), "few_cases", "0 cases"),
    ],
)
def test_what_cannot_be_told_is_said(y: Array, d: Array, kind: str, reason: str) -> None:
    got = length_controlled_win_rate(y, d)
    assert isinstance(got, NotEstimated)
    assert (got.kind, reason in got.reason) == (kind, True), got


def test_equal_length_outside_of_what_was_seen_is_marked() -> None:
    y, d = preferences(200, 6, levels=2)
    assert not controlled(y, d).extrapolated
    assert controlled(y, d - d.min() + 5).extrapolated


@pytest.mark.parametrize("levels", [0, 2, 3])
def test_the_correlation_is_spearmans(levels: int) -> None:
    from scipy.stats import spearmanr

    y, d = preferences(90, 7, levels=levels)
    got = length_correlation(y, d)
    assert not isinstance(got, NotEstimated)
    assert got.value == pytest.approx(float(spearmanr(y, d).statistic))
    assert got.low < got.value < got.high
    back = length_correlation(1 - y, d)
    assert not isinstance(back, NotEstimated)
    assert (back.value, back.low, back.high) == pytest.approx((-got.value, -got.high, -got.low))


def test_a_perfect_order_is_not_certain() -> None:
    got = length_correlation(np.linspace(0, 1, 30), np.arange(30.0))
    assert not isinstance(got, NotEstimated)
    assert got.value == pytest.approx(1.0) and 0.5 < got.low < 0.9
    assert isinstance(length_correlation(np.ones(30), np.arange(30.0)), NotEstimated)
    assert isinstance(length_correlation(np.arange(9) / 9, np.arange(9.0)), NotEstimated)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: share(a()), "not empty"),
        (lambda: share(a(0.5, 1.1)), "1 of 2 do not"),
        (lambda: share(a(math.nan)), "1 of 1"),
        (lambda: share(a(0.5, 1), cases=["x"]), "1 labels for 2"),
        (lambda: position(a(0.5), a(0.5, 1)), "the same pairs"),
        (lambda: position(a(2), a(1)), "between 0 and 1"),
        (lambda: against_labels(a(1), a(0.7), rng=np.random.default_rng(0)), "labels must be"),
        (lambda: against_labels(a(1), a(1, 0), rng=np.random.default_rng(0)), "one shape"),
        (lambda: length_controlled_win_rate(a(1, 0), a(1)), "one shape"),
        (lambda: length_controlled_win_rate(a(1, -1), a(1, 2)), "1 of 2 do not"),
        (lambda: length_controlled_win_rate(a(1, 0), a(1, math.inf)), "NaN or values beyond"),
        (lambda: length_controlled_win_rate(a(1, 0), a(1, 2), penalty=-1.0), "at least 0"),
        (lambda: length_correlation(a(1, 0), a(math.nan, 2)), "NaN"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
