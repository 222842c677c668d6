"""Quantiles over all attempts: the point estimate is numpy's, the bounds are there or say why not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.quantiles import Attempts, fewest_units, paired_quantile, quantile

Array = NDArray[np.float64]


def every(values: Array) -> Attempts:
    values = values if values.ndim == 2 else values[:, None]
    return Attempts(values, np.ones(values.shape, dtype=np.bool_))


def latencies(n: int, repeats: int = 1, *, factor: float = 1.0, seed: int = 0) -> Array:
    """Log-normal milliseconds; the same seed gives the same cases."""
    rng = np.random.default_rng([seed, round(1000 * factor)])
    case = np.random.default_rng(seed).normal(6.0, 0.3, (n, 1))
    return factor * np.exp(case + rng.normal(0, 0.3, (n, repeats)))


def compared(base: Attempts, cand: Attempts, **given: Any) -> PairedEstimate:
    options: dict[str, Any] = {"q": 0.95, "sign": -1, "clusters": None, "alpha": 0.05}
    return paired_quantile(base, cand, rng=np.random.default_rng(1), **{**options, **given})


@pytest.mark.parametrize("q", [0.01, 0.25, 0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 2, 7, 20, 100, 101, 1000])
def test_the_quantile_is_numpys_inverted_cdf(q: float, n: int) -> None:
    values = np.random.default_rng(n).lognormal(6, 1, n)
    assert quantile(values, q) == np.quantile(values, q, method="inverted_cdf")


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_the_estimate_is_over_all_attempts_and_not_over_case_averages(q: float) -> None:
    base, cand = latencies(200, 4), latencies(200, 4, factor=1.2)
    found = compared(every(base), every(cand), q=q)
    assert -found.baseline == np.quantile(base, q, method="inverted_cdf")
    assert -found.candidate == np.quantile(cand, q, method="inverted_cdf")
    assert -found.baseline != np.quantile(base.mean(axis=1), q, method="inverted_cdf")
    assert found.delta == pytest.approx(found.candidate - found.baseline)
    assert (found.n, found.n_units, found.clustered) == (200, 200, False)


def test_a_slower_candidate_is_seen_and_an_equal_one_passes_its_margin() -> None:
    base = latencies(2000)
    slow, same = latencies(2000, factor=1.3), latencies(2000, seed=0, factor=1.0001)
    worse = compared(every(base), every(slow))
    assert worse.p_drop < 0.01 < 0.5 < worse.p_gain
    assert worse.interval.low <= worse.delta <= worse.interval.high < 0
    equal = compared(every(base), every(same))
    assert equal.no_pass_reason is None
    assert equal.lower > 0.15 * equal.baseline  # the baseline is negative on this scale
    assert equal.p_drop > 0.05


def test_swapping_the_sides_turns_gain_into_drop() -> None:
    base, cand = latencies(400), latencies(400, factor=1.3)
    one, other = compared(every(base), every(cand)), compared(every(cand), every(base))
    assert one.p_drop == pytest.approx(other.p_gain, abs=0.01)
    assert (one.n_regressed, one.n_fixed) == (other.n_fixed, other.n_regressed)


def test_where_higher_is_better_the_scale_is_turned() -> None:
    base, cand = latencies(400), latencies(400, factor=1.3)
    low, high = compared(every(base), every(cand), sign=-1), compared(every(base), every(cand), sign=1)
    assert high.delta == -low.delta > 0
    assert high.p_drop == low.p_gain
    assert (high.interval.low, high.interval.high) == (-low.interval.high, -low.interval.low)


def test_a_relative_margin_is_judged_on_the_ratio() -> None:
    base, cand = latencies(500), latencies(500, factor=1.1)
    plain, scaled = compared(every(base), every(cand)), compared(every(7 * base), every(7 * cand))
    assert scaled.lower == pytest.approx(7 * plain.lower)
    assert scaled.p_drop == plain.p_drop


@pytest.mark.parametrize(
    "q, alpha, needed", [(0.5, 0.05, 5), (0.95, 0.05, 59), (0.99, 0.05, 299), (0.99, 0.01, 459)]
)
def test_the_fewest_cases_are_those_that_exceed_the_quantile_often_enough(
    q: float, alpha: float, needed: int
) -> None:
    assert fewest_units(q, alpha) == fewest_units(1 - q, alpha) == needed
    assert q**needed <= alpha < q ** (needed - 1)


@pytest.mark.parametrize("n", [20, 50, 100, 298])
def test_too_few_cases_for_a_p99_are_refused_a_pass_however_equal_the_sides_are(n: int) -> None:
    base = latencies(n)
    found = compared(every(base), every(base * np.random.default_rng(2).uniform(0.99, 1.0, (n, 1))), q=0.99)
    assert found.no_pass_reason is not None and "at least 299 are needed" in found.no_pass_reason
    assert found.lower == -math.inf
    assert math.isfinite(found.delta)


def test_repeats_are_no_cases() -> None:
    base, cand = latencies(60, 8), latencies(60, 8, factor=1.05)
    found = compared(every(base), every(cand), q=0.99)
    assert found.no_pass_reason is not None and found.no_pass_reason.startswith("60 cases hold no bound")


def test_clusters_are_the_units_and_widen_the_bound() -> None:
    shared = np.random.default_rng(3).normal(0, 0.5, (2, 40)).repeat(20, axis=1)
    noise = np.random.default_rng(4).normal(0, 0.1, (2, 800))
    base, cand = np.exp(6 + shared + noise)
    labels = [str(i // 20) for i in range(800)]
    alone, together = (compared(every(base), every(cand), q=0.5, clusters=c) for c in (None, labels))
    assert (alone.n_units, together.n_units, together.clustered) == (800, 40, True)
    assert together.lower < 2 * alone.lower < 0


def test_failed_attempts_are_slower_than_all_and_move_the_quantile() -> None:
    base, cand = latencies(400), latencies(400)
    cand[:10] = math.inf
    found = compared(every(base), every(cand), q=0.5)
    assert -found.candidate >= -found.baseline
    assert found.n_regressed >= 10
    cand[:30] = math.inf
    with pytest.raises(ValueError, match="more than 5% of the candidate answers failed"):
        compared(every(base), every(cand))


def test_a_repeat_that_is_not_there_is_not_read() -> None:
    base, cand = latencies(300, 2), latencies(300, 2, factor=1.1)
    held = np.ones((300, 2), dtype=np.bool_)
    held[:20, 1] = False
    spoiled = base.copy()
    spoiled[~held] = 1e9
    clean, odd = (compared(Attempts(values, held), every(cand)) for values in (base, spoiled))
    assert clean == odd
    assert -clean.baseline == np.quantile(base[held], 0.95, method="inverted_cdf")


def test_unequal_repeats_have_a_bound() -> None:
    found = compared(every(latencies(500, 8)), every(latencies(500, 1, factor=1.0001)), q=0.5)
    assert found.no_pass_reason is None
    assert found.interval.low < 0 < found.interval.high


def test_nothing_changed_is_no_proof_and_says_so() -> None:
    base = latencies(500)
    found = compared(every(base), every(base))
    assert (found.delta, found.p_drop, found.p_gain) == (0.0, 1.0, 1.0)
    assert found.no_pass_reason is not None and found.no_pass_reason.startswith("no case changed")


def test_a_baseline_of_zero_has_differences() -> None:
    base, cand = np.zeros(400), np.random.default_rng(0).uniform(0, 2, 400)
    found = compared(every(base), every(cand), q=0.5)
    assert found.baseline == 0.0
    assert found.delta == pytest.approx(-np.quantile(cand, 0.5, method="inverted_cdf"))
    assert found.p_drop < 0.001 and math.isfinite(found.lower)


def test_whole_numbers_with_many_ties_are_judged() -> None:
    rng = np.random.default_rng(5)
    base, cand = (np.round(20 * np.exp(rng.normal(0, 0.3, 1000))) for _ in range(2))
    found = compared(every(base), every(cand), q=0.5)
    assert found.p_drop > 0.05 and found.p_gain > 0.05 and found.no_pass_reason is None


def test_the_same_seed_gives_the_same_estimate() -> None:
    base, cand = every(latencies(300, 2)), every(latencies(300, 2, factor=1.1))
    assert compared(base, cand) == compared(base, cand)


@pytest.mark.parametrize(
    "base, given, message",
    [
        (np.array([[-1.0], [2.0]]), {}, "1 values below 0"),
        (np.array([[math.nan], [2.0]]), {}, "1 values below 0, beyond 1e.100 or not a number"),
        (np.array([[1.0]]), {}, "1 cases cannot be paired with 2"),
        (np.zeros((0, 1)), {}, "cannot be paired"),
        (np.array([[1.0], [2.0]]), {"q": 1.0}, "quantile must lie between"),
        (np.array([[1.0], [2.0]]), {"sign": 0}, "sign must be"),
        (np.array([[1.0], [2.0]]), {"alpha": 0.7}, "alpha must lie"),
        (np.array([[1.0], [2.0]]), {"clusters": ["a"]}, "one label per case"),
    ],
)
def test_bad_input_says_what_is_wrong(base: Array, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compared(every(base), every(np.array([[1.0], [2.0]])), **given)


@pytest.mark.parametrize("cases, repeats, clusters", [(40, 1, ["only"] * 40), (1, 40, None)])
def test_one_unit_tells_nothing_of_noise_and_so_nothing_is_significant(
    cases: int, repeats: int, clusters: list[str] | None
) -> None:
    base = latencies(cases, repeats)
    for cand in (3 * base, base / 3):
        found = compared(every(base), every(cand), q=0.5, clusters=clusters)
        assert found.p_drop == found.p_gain == 1.0
        assert found.no_pass_reason is not None
        assert (found.interval.low, found.interval.high) == (-math.inf, math.inf)
