"""Sign-flip and bootstrap-t against scipy, and the properties a verdict leans on."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalharness.stats.bootstrap import bootstrap_t, resampled_counts
from evalharness.stats.signflip import sign_flip


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_exact_enumeration_matches_scipy() -> None:
    from scipy.stats import permutation_test

    d = np.array([0.3, -0.7, -0.2, 0.05, -0.9, -0.31, -0.11, 0.4, -0.6, -0.23])
    oracle = permutation_test(
        (d,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        alternative="less",
    )
    null = oracle.null_distribution
    mid = (np.sum(null < d.sum() - 1e-12) + np.sum(np.abs(null - d.sum()) <= 1e-12) / 2) / null.size
    p_drop, p_gain = sign_flip(d, _rng())
    assert p_drop == pytest.approx(mid)
    assert p_drop + p_gain == pytest.approx(1.0)


def test_on_signs_alone_it_is_the_midp_mcnemar_test() -> None:
    from evalharness.stats.mcnemar import midp_mcnemar

    exact = np.array([-1.0] * 9 + [1.0] * 3 + [0.0] * 40)
    assert sign_flip(exact, _rng())[0] == pytest.approx(midp_mcnemar(9, 3))
    drawn = np.array([-1.0] * 60 + [1.0] * 40)
    assert sign_flip(drawn, _rng())[0] == pytest.approx(midp_mcnemar(60, 40), abs=4 * np.sqrt(0.03 / 10_000))


def test_drawn_p_agrees_with_scipy_on_continuous_data() -> None:
    from scipy.stats import permutation_test

    d = _rng(3).normal(-0.1, 1.0, 300)
    oracle = permutation_test(
        (d,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        alternative="less",
        n_resamples=9_999,
        rng=_rng(4),
    )
    p_drop, p_gain = sign_flip(d, _rng(5))
    spread = np.sqrt(2 * oracle.pvalue * (1 - oracle.pvalue) / 10_000)
    assert abs(p_drop - oracle.pvalue) < 5 * spread
    assert p_drop + p_gain == pytest.approx(1.0, abs=2e-4)


def test_drawn_and_exact_agree_where_they_meet() -> None:
    # 17 changed units are drawn; the 17th is too small to matter, so the exact answer for 16 is the reference.
    d = np.append(np.linspace(-1.0, 0.6, 16), 1e-9)
    drawn, _ = sign_flip(d, _rng(1), draws=200_000)
    exact, _ = sign_flip(d[:16], _rng(1))
    assert drawn == pytest.approx(exact, abs=5 * np.sqrt(exact / 200_000))


def test_one_unit_and_no_unit() -> None:
    assert sign_flip(np.array([-0.4]), _rng()) == (0.25, 0.75)
    assert sign_flip(np.zeros(5), _rng()) == (1.0, 1.0)


def test_sums_that_differ_by_rounding_only_are_ties() -> None:
    d = np.array([-0.1, -0.2, 0.3] * 5)
    assert sign_flip(d, _rng())[0] == pytest.approx(0.5)


@given(st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=40), st.integers(0, 2**32))
def test_swapping_sides_swaps_the_p_values_and_order_does_not_matter(values: list[float], seed: int) -> None:
    d = np.array(values)
    p_drop, p_gain = sign_flip(d, _rng(seed), draws=500)
    assert 0 < p_drop <= 1
    assert 0 < p_gain <= 1
    assert sign_flip(-d, _rng(seed), draws=500) == (pytest.approx(p_gain), pytest.approx(p_drop))
    assert sign_flip(d[::-1].copy(), _rng(seed), draws=500) == (p_drop, p_gain)
    assert sign_flip(d * 8, _rng(seed), draws=500) == (p_drop, p_gain)


def test_sign_flip_is_twenty_times_faster_than_scipy() -> None:
    from scipy.stats import permutation_test

    d = _rng(0).normal(size=1000)

    def ours() -> None:
        sign_flip(d, _rng(1), draws=9_999)

    def scipys() -> None:
        permutation_test(
            (d,), np.sum, permutation_type="samples", vectorized=True, n_resamples=9_999, rng=_rng(1)
        )

    def fastest(call: object, times: int) -> float:
        taken = []
        for _ in range(times):
            start = time.process_time()
            call()  # type: ignore[operator]
            taken.append(time.process_time() - start)
        return min(taken)

    ours()
    assert fastest(scipys, 2) > 20 * fastest(ours, 10)


def test_resampled_counts_have_the_multinomial_mean_on_both_paths() -> None:
    for counts in (np.array([500, 300, 200]), np.array([3, 2, 1, 4])):
        drawn = np.concatenate(list(resampled_counts(counts, 4_000, _rng(2))))
        assert drawn.shape == (4_000, counts.size)
        assert (drawn.sum(axis=1) == counts.sum()).all()
        share = counts / counts.sum()
        error = np.sqrt(counts.sum() * share * (1 - share) / 4_000)
        assert (np.abs(drawn.mean(axis=0) - counts) < 5 * error).all()
        assert drawn.var(axis=0) == pytest.approx(counts * (1 - share), rel=0.15)


def test_bootstrap_t_matches_a_plain_implementation() -> None:
    d = _rng(7).exponential(0.1, 120) * _rng(8).choice([-1.0, 0.0, 0.3], 120)
    mean, error = d.mean(), d.std(ddof=1) / np.sqrt(d.size)
    samples = d[_rng(9).integers(0, d.size, (20_000, d.size))]
    t = (samples.mean(axis=1) - mean) / (samples.std(axis=1, ddof=1) / np.sqrt(d.size))
    expected = mean - np.quantile(t, [0.95, 0.975, 0.025]) * error
    got = bootstrap_t(d, confidence=0.95, level=0.95, rng=_rng(10), draws=20_000)
    assert np.array(got) == pytest.approx(expected, abs=0.08 * error)


def test_bootstrap_t_and_scipy_bca_agree_on_well_behaved_data() -> None:
    from scipy.stats import bootstrap

    d = _rng(1).normal(0.02, 0.1, 400)
    oracle = bootstrap((d,), np.mean, n_resamples=5_000, method="BCa", rng=_rng(2)).confidence_interval
    got = bootstrap_t(d, confidence=0.95, level=0.95, rng=_rng(3))
    error = d.std(ddof=1) / np.sqrt(d.size)
    assert got.low == pytest.approx(oracle.low, abs=0.25 * error)
    assert got.high == pytest.approx(oracle.high, abs=0.25 * error)


@pytest.mark.parametrize("kind", ["dense", "skewed", "few large among many tiny"])
def test_binned_path_agrees_with_the_full_one(kind: str) -> None:
    rng = _rng(11)
    n = 8_000
    d = rng.normal(0, 0.1, n)
    if kind == "skewed":
        d = -rng.exponential(0.05, n) * (rng.random(n) < 0.02)
    if kind == "few large among many tiny":
        d = rng.normal(0, 1e-3, n)
        d[:20] = -1.0
    error = d.std(ddof=1) / np.sqrt(n)
    full = bootstrap_t(d, confidence=0.95, level=0.95, rng=_rng(1), draws=4_000, full_units=n)
    binned = bootstrap_t(d, confidence=0.95, level=0.95, rng=_rng(2), draws=4_000, full_units=0)
    # Both are Monte Carlo: at 4,000 draws the 97.5% point of t* has a standard deviation near 0.05.
    assert np.array(binned) == pytest.approx(np.array(full), abs=0.25 * error)


@settings(max_examples=50)
@given(st.lists(st.floats(-1, 1, width=16), min_size=10, max_size=60), st.integers(0, 2**32))
def test_bounds_are_ordered_finite_and_follow_scale_and_shift(values: list[float], seed: int) -> None:
    d = np.array(values)
    if np.ptp(d) == 0:
        with pytest.raises(ValueError, match="all equal"):
            bootstrap_t(d, confidence=0.95, level=0.95, rng=_rng(seed))
        return
    bounds = bootstrap_t(d, confidence=0.95, level=0.95, rng=_rng(seed), draws=300)
    assert np.isfinite(bounds).all()
    assert bounds.low <= bounds.lower
    assert bounds.low <= bounds.high
    scaled = bootstrap_t(d * 4, confidence=0.95, level=0.95, rng=_rng(seed), draws=300)
    assert np.array(scaled) == pytest.approx(np.array(bounds) * 4, abs=1e-9)
    assert bootstrap_t(d[::-1].copy(), confidence=0.95, level=0.95, rng=_rng(seed), draws=300) == bounds
