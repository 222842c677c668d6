"""paired_cases: what decides, on which data, and that nothing legal breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.paired import paired_cases

Array = NDArray[np.float64]


def _compare(
    baseline: object,
    candidate: object,
    *,
    binary: bool = False,
    equal_repeats: bool = True,
    clusters: list[str] | None = None,
    alpha: float = 0.05,
    level: float = 0.95,
    seed: int = 0,
) -> PairedEstimate:
    return paired_cases(
        np.array(baseline, dtype=np.float64),
        np.array(candidate, dtype=np.float64),
        binary=binary,
        equal_repeats=equal_repeats,
        clusters=clusters,
        alpha=alpha,
        level=level,
        rng=np.random.default_rng(seed),
    )


def _counts(both: int, regressed: int, fixed: int, neither: int) -> tuple[Array, Array]:
    left = np.repeat([1.0, 1.0, 0.0, 0.0], [both, regressed, fixed, neither])
    right = np.repeat([1.0, 0.0, 1.0, 0.0], [both, regressed, fixed, neither])
    return left, right


def _bounded(n: int, seed: int, shift: float = 0.0, changed: float = 0.5) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    left = rng.random(n)
    moved = np.clip(left + rng.normal(shift, 0.2, n), 0, 1)
    return left, np.where(rng.random(n) < changed, moved, left)


def test_binary_cases_reduce_to_their_counts() -> None:
    from scipy.stats import binom

    left, right = _counts(700, 60, 30, 210)
    got = _compare(left, right, binary=True)
    assert (got.n, got.n_units, got.n_regressed, got.n_fixed) == (1000, 1000, 60, 30)
    assert (got.baseline, got.candidate, got.delta) == (0.76, 0.73, -0.03)
    assert got.discordance == 0.09
    assert got.test == "mid-p McNemar"
    assert got.interval.method == got.lower_method == "Tango score"
    assert got.interval.low < got.lower < got.delta < got.interval.high
    assert got.p_drop == pytest.approx(binom.sf(60, 90, 0.5) + binom.pmf(60, 90, 0.5) / 2)
    assert got.sd == pytest.approx((right - left).std())
    assert got.no_pass_reason is None


def test_exactly_two_points_is_the_nearest_float_to_two_points() -> None:
    assert _compare(*_counts(70, 7, 5, 18), binary=True).delta == -0.02


def test_paired_t_matches_scipy() -> None:
    from scipy.stats import ttest_rel

    left, right = _bounded(150, 1, -0.05)
    got = _compare(left, right)
    assert got.test == "paired t"
    assert got.p_drop == pytest.approx(ttest_rel(right, left, alternative="less").pvalue)
    assert got.p_gain == pytest.approx(ttest_rel(right, left, alternative="greater").pvalue)
    assert got.lower_method == "bootstrap-t"


def test_small_samples_flip_signs_unless_repeats_differ() -> None:
    left, right = _bounded(99, 2)
    assert _compare(left, right).test == "sign-flip (mid-p)"
    assert _compare(left, right, equal_repeats=False).test == "skewness-corrected t"


def test_bound_covers_like_the_t_bound_on_well_behaved_data() -> None:
    from scipy.stats import ttest_rel

    left, right = _bounded(400, 3, changed=1.0)
    interval = ttest_rel(right, left).confidence_interval(0.95)
    got = _compare(left, right)
    width = interval.high - interval.low
    assert got.interval.low == pytest.approx(interval.low, abs=0.06 * width)
    assert got.interval.high == pytest.approx(interval.high, abs=0.06 * width)


def test_few_changes_never_pass() -> None:
    left = np.full(300, 0.5)
    right = left.copy()
    right[:9] += 0.25
    assert _compare(left, right).no_pass_reason == (
        "only 9 of 300 cases changed; a bound needs at least 10 changed cases"
    )
    right[9] += 0.25
    assert _compare(left, right).no_pass_reason is None


def test_a_change_by_one_amount_everywhere_never_passes_on_a_bound_without_width() -> None:
    got = _compare(np.full(40, 0.5), np.full(40, 0.49))
    assert got.no_pass_reason is not None
    assert got.p_drop < 1e-3


def test_rounding_noise_is_not_a_change() -> None:
    left = np.full(50, 0.1 + 0.2)
    got = _compare(left, np.full(50, 0.3))
    assert (got.delta, got.n_regressed, got.n_fixed, got.p_drop, got.p_gain) == (0.0, 0, 0, 1.0, 1.0)


def test_few_clusters_flip_whole_clusters() -> None:
    left, right = _counts(80, 24, 6, 10)
    labels = [f"doc{i % 12}" for i in range(left.size)]
    got = _compare(left, right, binary=True, clusters=labels)
    assert (got.test, got.n_units) == ("cluster sign-flip (mid-p)", 12)
    sums = np.bincount(np.arange(left.size) % 12, weights=right - left)
    patterns = 1 - 2 * ((np.arange(2**12)[:, None] >> np.arange(12)) & 1)
    null = patterns @ sums
    assert got.p_drop == pytest.approx(np.mean(null < sums.sum()) + np.mean(null == sums.sum()) / 2)


def test_too_few_clusters_say_so() -> None:
    left, right = _counts(50, 20, 5, 25)
    got = _compare(left, right, binary=True, clusters=[f"doc{i % 7}" for i in range(100)])
    assert got.no_pass_reason is not None
    assert "only 7 clusters; at least 8" in got.no_pass_reason
    got = _compare(left, right, binary=True, clusters=["one"] * 100)
    assert (got.n_units, got.p_drop) == (1, 0.25)
    assert got.interval.low < got.delta < got.interval.high
    assert got.no_pass_reason is not None


def test_unchanged_clusters_do_not_pass_on_a_bound_without_width() -> None:
    left, _ = _counts(50, 0, 0, 50)
    got = _compare(left, left, binary=True, clusters=[f"doc{i // 5}" for i in range(100)])
    assert (got.p_drop, got.p_gain, got.delta) == (1.0, 1.0, 0.0)
    assert got.no_pass_reason is not None


def test_clusters_of_one_case_are_no_clusters() -> None:
    left, right = _counts(70, 7, 5, 18)
    labels = [f"case{i}" for i in range(100)]
    assert _compare(left, right, binary=True, clusters=labels) == _compare(left, right, binary=True)


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_bounds() -> None:
    left, right = _bounded(300, 6)
    assert _compare(left, right, seed=1) == _compare(left, right, seed=1)
    assert _compare(left, right, seed=1).lower != _compare(left, right, seed=2).lower


def test_a_million_pairs_get_the_bound_of_a_normal_mean() -> None:
    got = _compare(*_bounded(1_000_000, 8))
    assert got.no_pass_reason is None
    assert got.lower == pytest.approx(got.delta - 1.645 * got.sd / 1000, abs=0.15 * got.sd / 1000)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 1e-3, 3e-4, 1e-4, 1e-6])
def test_a_bound_at_a_small_alpha_is_carried_by_its_resamples_or_refused(alpha: float) -> None:
    left, right = _bounded(300, 21, -0.02)
    got = _compare(left, right, alpha=alpha)
    if alpha >= 10 / 40_000:
        assert (got.lower_method, got.no_pass_reason) == ("bootstrap-t", None)
    else:
        assert got.lower_method == "paired t"
        assert got.no_pass_reason is not None
        assert "40,000 resamples" in got.no_pass_reason
    assert got.interval.method == "bootstrap-t"
    error = got.sd / 300**0.5
    assert got.lower == pytest.approx(got.delta + special.stdtrit(299, alpha) * error, abs=0.5 * error)


def test_the_interval_carries_its_level() -> None:
    left, right = _bounded(300, 22, -0.02)
    labels = [f"doc{i // 5}" for i in range(300)]
    kinds: list[dict[str, Any]] = [{}, {"clusters": labels}]
    for level in (0.5, 0.9, 0.99, 0.9999, 1 - 1e-6):
        for options in kinds:
            got = _compare(left, right, level=level, **options)
            default = _compare(left, right, **options)
            assert got.interval.level == level
            assert (got.lower, got.p_drop) == pytest.approx((default.lower, default.p_drop), abs=2e-3)
            wider = got.interval.high - got.interval.low > default.interval.high - default.interval.low
            assert wider is (level > 0.95)
    assert _compare(left, right, level=1 - 1e-6).interval.method == "paired t"
    binary = _counts(80, 7, 5, 8)
    assert _compare(*binary, binary=True, level=0.9).interval.low == _compare(*binary, binary=True).lower
