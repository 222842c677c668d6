"""Different numbers of repeats on the two sides: the corrected t, and the exact conditional test beside it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.conditional import conditional
from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.paired import paired_cases
from evalharness.stats.student import skewness_corrected_p_values

Array = NDArray[np.float64]


def _shares(n: int, repeats: tuple[int, int], seed: int, drop: float = 0.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    chance = np.where(rng.random(n) < 0.3, rng.beta(1, 4, n), rng.random(n) < 0.8)
    left, right = rng.binomial(repeats[0], chance), rng.binomial(repeats[1], chance * (1 - drop))
    return left / repeats[0], right / repeats[1]


def _compare(left: Array, right: Array, repeats: tuple[int, int] | None) -> PairedEstimate:
    return paired_cases(
        left,
        right,
        binary=False,
        equal_repeats=False,
        clusters=None,
        alpha=0.05,
        repeats=repeats,
        rng=np.random.default_rng(0),
    )


def test_conditional_is_the_midp_mcnemar_test_where_both_sides_have_one_repeat() -> None:
    left = np.repeat([1.0, 1.0, 0.0, 0.0], [70, 12, 5, 13])
    right = np.repeat([1.0, 0.0, 1.0, 0.0], [70, 12, 5, 13])
    assert conditional(left, right, (1, 1)) == (
        pytest.approx(midp_mcnemar(12, 5)),
        pytest.approx(midp_mcnemar(5, 12)),
    )


def test_conditional_is_the_exact_test_of_a_common_odds_ratio() -> None:
    # R: mantelhaen.test(x, exact = TRUE, alternative = "less") conditions on the same sum; here its null, enumerated.
    repeats = (3, 2)
    left, right = _shares(40, repeats, 3)
    totals = np.rint(3 * left + 2 * right).astype(int)
    null = np.ones(1)
    for total in totals:
        null = np.convolve(null, stats.hypergeom.pmf(np.arange(3), 5, total, 2))
    seen = int(np.rint(2 * right.sum()))
    p_drop, p_gain = conditional(left, right, repeats)
    assert p_drop == pytest.approx(null[:seen].sum() + null[seen] / 2)
    assert p_drop + p_gain == pytest.approx(1.0)


@pytest.mark.parametrize("repeats", [(8, 1), (1, 8), (3, 2)])
def test_conditional_agrees_with_shuffling_the_repeats_of_each_case(repeats: tuple[int, int]) -> None:
    left, right = _shares(60, repeats, 4, drop=0.1)
    totals = np.rint(left * repeats[0] + right * repeats[1]).astype(int)
    rng = np.random.default_rng(5)
    drawn = rng.hypergeometric(totals, sum(repeats) - totals, repeats[1], size=(20_000, 60)).sum(axis=1)
    seen = round(float(right.sum()) * repeats[1])
    expected = np.mean(drawn < seen) + np.mean(drawn == seen) / 2
    assert conditional(left, right, repeats)[0] == pytest.approx(expected, abs=0.015)


def test_the_normal_form_of_the_conditional_test_meets_the_exact_one() -> None:
    left, right = _shares(12_000, (8, 1), 6, drop=0.01)
    exact = [conditional(left[:n], right[:n], (8, 1)) for n in (11_000, 11_500, 12_000)]
    again = [
        conditional(np.tile(left[:n], 2), np.tile(right[:n], 2), (8, 1)) for n in (11_000, 11_500, 12_000)
    ]
    for (p, _), (doubled, _) in zip(exact, again, strict=True):
        assert stats.norm.ppf(doubled) == pytest.approx(stats.norm.ppf(p) * 2**0.5, rel=0.02)


def test_cases_with_a_missing_repeat_are_left_out_of_the_conditional_test_alone() -> None:
    left, right = _shares(80, (8, 1), 7)
    short = np.append(left, 3 / 7), np.append(right, 0.0)
    assert conditional(*short, (8, 1)) == conditional(left, right, (8, 1))
    assert _compare(*short, (8, 1)).n == 81


def test_cases_that_always_pass_or_always_fail_cannot_speak() -> None:
    assert conditional(np.array([1.0, 0.0]), np.array([1.0, 0.0]), (8, 1)) == (1.0, 1.0)


def test_corrected_t_is_the_larger_of_students_and_halls() -> None:
    d = np.random.default_rng(8).exponential(0.1, 80) - 0.12
    t = d.mean() / d.std(ddof=1) * 80**0.5
    g = stats.skew(d) * (79 / 80) ** 1.5
    hall = t + g * t**2 / (3 * 80**0.5) + g**2 * t**3 / (27 * 80) + g / (6 * 80**0.5)
    p_drop, p_gain = skewness_corrected_p_values(d)
    assert p_drop == pytest.approx(max(stats.t.cdf(t, 79), stats.t.cdf(hall, 79)))
    assert p_gain == pytest.approx(max(stats.t.sf(t, 79), stats.t.sf(hall, 79)))
    assert skewness_corrected_p_values(-d) == (pytest.approx(p_gain), pytest.approx(p_drop))


def test_the_larger_p_value_decides_and_is_named() -> None:
    left, right = _shares(60, (8, 1), 9)
    plain, both = _compare(left, right, None), _compare(left, right, (8, 1))
    assert (plain.test, both.test) == ("skewness-corrected t", "skewness-corrected t, conditional")
    assert both.p_drop == max(plain.p_drop, conditional(left, right, (8, 1))[0])
    assert both.p_gain == max(plain.p_gain, conditional(left, right, (8, 1))[1])
    assert (both.lower, both.interval) == (plain.lower, plain.interval)


def test_five_cases_that_each_passed_once_in_eight_are_no_evidence_of_a_drop() -> None:
    left, right = np.repeat([1 / 8, 0.0], [5, 45]), np.zeros(50)
    assert _compare(left, right, None).p_drop < 0.02
    assert _compare(left, right, (8, 1)).p_drop > 0.25


@pytest.mark.parametrize("repeats", [(8, 1), (1, 8), (4, 2)])
@pytest.mark.parametrize("n", [1, 2, 5, 130])
def test_any_number_of_cases_gives_an_estimate(n: int, repeats: tuple[int, int]) -> None:
    for seed in range(5):
        got = _compare(*_shares(n, repeats, seed), repeats)
        assert 0 < got.p_drop <= 1
        assert 0 < got.p_gain <= 1


def test_bad_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 on both sides"):
        _compare(np.zeros(3), np.ones(3), (0, 4))
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        _compare(np.zeros(3), np.full(3, -0.5), (8, 1))
