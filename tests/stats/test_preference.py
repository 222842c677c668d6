"""win_rate: preferences against one half."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.preference import win_rate

Array = NDArray[np.float64]
STEPS = [0.0, 0.25, 0.5, 0.75, 1.0]


def _rate(
    scores: object,
    *,
    clusters: list[str] | None = None,
    alpha: float = 0.05,
    level: float = 0.95,
    equal_repeats: bool = True,
    seed: int = 0,
) -> PairedEstimate:
    return win_rate(
        np.array(scores, dtype=np.float64),
        clusters=clusters,
        alpha=alpha,
        level=level,
        equal_repeats=equal_repeats,
        rng=np.random.default_rng(seed),
    )


def _preferences(n: int, seed: int, chances: tuple[float, ...] = (0.2, 0.1, 0.4, 0.1, 0.2)) -> Array:
    return np.random.default_rng(seed).choice(STEPS, n, p=chances)


def test_wins_losses_and_ties_are_counted_and_halves_kept() -> None:
    got = _rate([1.0] * 30 + [0.75] * 10 + [0.5] * 40 + [0.25] * 5 + [0.0] * 15)
    assert (got.baseline, got.n, got.n_fixed, got.n_regressed, got.discordance) == (0.5, 100, 40, 20, 0.6)
    assert got.candidate == pytest.approx((30 + 7.5 + 20 + 1.25) / 100)
    assert got.delta == pytest.approx(got.candidate - 0.5)


def test_it_is_the_one_sample_t_test_of_scipy() -> None:
    from scipy.stats import ttest_1samp

    scores = _preferences(250, 1, (0.25, 0.1, 0.4, 0.1, 0.15))
    got = _rate(scores)
    assert got.test == "paired t"
    assert got.p_drop == pytest.approx(ttest_1samp(scores, 0.5, alternative="less").pvalue)
    assert got.p_gain == pytest.approx(ttest_1samp(scores, 0.5, alternative="greater").pvalue)
    interval = ttest_1samp(scores, 0.5).confidence_interval(0.95)
    width = interval.high - interval.low
    assert got.interval.method == got.lower_method == "bootstrap-t"
    assert got.interval.low == pytest.approx(interval.low - 0.5, abs=0.06 * width)
    assert got.interval.high == pytest.approx(interval.high - 0.5, abs=0.06 * width)


def test_a_small_sample_is_the_permutation_test_of_scipy() -> None:
    from scipy.stats import permutation_test

    scores = np.array([0.0, 0.25, 0.0, 1.0, 0.75, 0.0, 0.5, 0.25, 0.0, 0.5, 0.0, 1.0])
    oracle = permutation_test(
        (scores - 0.5,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        alternative="less",
    )
    null, observed = oracle.null_distribution, (scores - 0.5).sum()
    got = _rate(scores)
    assert got.test == "sign-flip (mid-p)"
    assert got.p_drop == pytest.approx((null < observed).mean() + (null == observed).mean() / 2)
    assert "sign-flip" not in _rate(scores, equal_repeats=False).test


def test_clusters_are_the_units() -> None:
    import statsmodels.api as sm

    scores = _preferences(400, 2)
    codes = np.arange(400) % 50
    fit = sm.OLS(scores - 0.5, np.ones(400)).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}
    )
    got = _rate(scores, clusters=[f"c{code}" for code in codes])
    assert (got.test, got.n_units, got.clustered) == ("cluster t", 50, True)
    assert got.sd == pytest.approx(float(fit.bse[0]) * math.sqrt(50 / 49) * math.sqrt(50))


@pytest.mark.parametrize("n", [10, 60, 300])
@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_sweep_has_an_exact_bound(n: int, score: float) -> None:
    from scipy.stats import binomtest

    got = _rate(np.full(n, score))
    # All n of n: the Clopper-Pearson bounds, here for the mean of anything in [0, 1].
    one_sided = binomtest(int(score * n), n, alternative="greater").proportion_ci(0.95)
    two_sided = binomtest(int(score * n), n).proportion_ci(0.95)
    assert got.lower == pytest.approx(one_sided.low - 0.5)
    assert (got.interval.low, got.interval.high) == pytest.approx((two_sided.low - 0.5, two_sided.high - 0.5))
    assert got.no_pass_reason is None
    assert got.delta == score - 0.5
    assert (got.p_gain if score else got.p_drop) == pytest.approx(0.5 ** (n + 1))


@pytest.mark.parametrize(
    "scores, reason",
    [
        ([0.5] * 40, "every case is a tie; a bound needs at least 10"),
        ([0.5] * 40 + [1.0] * 9, "only 9 of 49 cases are no tie"),
        ([1.0] * 9, "only 9 of 9 cases are no tie"),
        ([0.75] * 40, "no spread"),
    ],
)
def test_what_carries_no_bound_never_passes(scores: list[float], reason: str) -> None:
    got = _rate(scores)
    assert got.no_pass_reason is not None
    assert reason in got.no_pass_reason


def test_ties_alone_speak_for_neither_side() -> None:
    got = _rate([0.5] * 200)
    assert (got.delta, got.p_drop, got.p_gain, got.n_fixed, got.n_regressed) == (0.0, 1.0, 1.0, 0, 0)


@pytest.mark.parametrize(
    "scores, options, message",
    [
        ([], {}, "no paired cases"),
        ([0.5, 1.01], {}, "must lie between 0 and 1 .* 1 of 2 do not"),
        ([0.5, math.nan, -0.1], {}, "2 of 3 do not"),
        ([[0.5]], {}, "1-dimensional"),
        ([0.5, 1.0], {"clusters": ["a"]}, "1 labels for 2 cases"),
        ([0.5, 1.0], {"alpha": 0.0}, "alpha"),
        ([0.5, 1.0], {"level": 0.0}, "level"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(scores: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _rate(scores, **options)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(STEPS), st.floats(0, 1, width=16)), min_size=1, max_size=130),
    st.booleans(),
)
def test_swapping_the_sides_mirrors_the_estimate(scores: list[float], clustered: bool) -> None:
    labels = [str(i % 11) for i in range(len(scores))] if clustered else None
    there = _rate(scores, clusters=labels)
    back = _rate(1 - np.array(scores), clusters=labels)
    for value in dataclasses.asdict(there).values():
        if isinstance(value, float):
            assert math.isfinite(value)
    assert back.delta == pytest.approx(-there.delta, abs=1e-12)
    assert (back.p_drop, back.p_gain) == (pytest.approx(there.p_gain), pytest.approx(there.p_drop))
    assert (back.n_fixed, back.n_regressed) == (there.n_regressed, there.n_fixed)
    assert there.interval.low <= there.lower
