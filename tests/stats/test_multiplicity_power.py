"""Holm against statsmodels; power formulas against exact enumeration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalharness.core.estimates import Interval, PairedEstimate
from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.multiplicity import holm
from evalharness.stats.power import mde, n_for_power

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=15)


def _estimate(**changes: Any) -> PairedEstimate:
    values: dict[str, Any] = {
        "n": 500,
        "n_units": 500,
        "baseline": 0.8,
        "candidate": 0.8,
        "delta": 0.0,
        "interval": Interval(low=-0.1, high=0.1, level=0.95, method="Tango score"),
        "lower": -0.1,
        "lower_method": "Tango score",
        "p_drop": 0.5,
        "p_gain": 0.5,
        "test": "mid-p McNemar",
        "n_regressed": 25,
        "n_fixed": 25,
        "discordance": 0.1,
        "sd": 0.316,
    }
    return PairedEstimate(**(values | changes))


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_holm_matches_statsmodels(count: int) -> None:
    from statsmodels.stats.multitest import multipletests

    drawn = np.random.default_rng(count).random(count) ** 3
    for p_values in (drawn.tolist(), np.round(drawn, 1).tolist()):
        assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


@given(probabilities)
def test_holm_never_lowers_a_p_value_and_keeps_the_ranking(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_of_nothing_and_of_nonsense() -> None:
    assert holm([]) == []
    for bad in (float("nan"), -0.1, 1.1):
        with pytest.raises(ValueError, match="p-value"):
            holm([0.2, bad])


def exact_power(n: int, drop: float, psi: float, alpha: float) -> float:
    """P(mid-p McNemar <= alpha), by enumerating the number of changed cases and the split between them."""
    from scipy.stats import binom

    regress_share = (psi + drop) / 2 / psi
    total = 0.0
    for changed in range(int(binom.ppf(1e-9, n, psi)), int(binom.isf(1e-9, n, psi)) + 1):
        if not changed:
            continue
        low, high = 0, changed + 1
        while low < high:
            middle = (low + high) // 2
            if midp_mcnemar(middle, changed - middle) <= alpha:
                high = middle
            else:
                low = middle + 1
        total += float(binom.pmf(changed, n, psi) * binom.sf(low - 1, changed, regress_share))
    return total


@pytest.mark.parametrize("psi", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("margin", [0.02, 0.04])
def test_n_for_power_delivers_its_power(psi: float, margin: float) -> None:
    n = n_for_power(_estimate(discordance=psi), margin, alpha=0.05)
    assert n is not None
    assert exact_power(n, margin, psi, 0.05) == pytest.approx(0.81, abs=0.03)


@pytest.mark.parametrize("n", [200, 500, 1000])
@pytest.mark.parametrize("psi", [0.05, 0.1, 0.2])
def test_mde_delivers_its_power(n: int, psi: float) -> None:
    drop = mde(_estimate(n=n, n_units=n, discordance=psi), alpha=0.05)
    # Where nearly every changed case regresses the normal formula is a few points on the safe side.
    assert 0.78 <= exact_power(n, drop, max(psi, drop), 0.05) <= 0.90


def test_the_known_case_counts_for_two_points() -> None:
    # One-sided 5%, 80% power, exact mid-p enumeration: 745, 1540, 3090 cases at 5%, 10%, 20% discordance.
    for psi, exact in ((0.05, 745), (0.1, 1540), (0.2, 3090)):
        assert n_for_power(_estimate(discordance=psi), 0.02, alpha=0.05) == pytest.approx(exact, rel=0.05)


@given(st.integers(10, 100_000), st.floats(0, 0.6))
def test_mde_and_n_for_power_are_inverse(n: int, psi: float) -> None:
    estimate = _estimate(n=n, n_units=n, discordance=psi)
    drop = mde(estimate, alpha=0.05)
    if drop < 1:
        assert n_for_power(estimate, drop, alpha=0.05) == pytest.approx(n, abs=1)
    assert mde(_estimate(n=4 * n, n_units=4 * n, discordance=psi), alpha=0.05) < drop


def test_means_use_the_standard_deviation_and_clusters_are_turned_into_cases() -> None:
    from scipy.stats import norm

    plain = _estimate(test="paired t", sd=0.2, n=400, n_units=400)
    z = norm.ppf(0.95) + norm.ppf(0.8)
    assert mde(plain, alpha=0.05) == pytest.approx(z * 0.2 / 20)
    assert n_for_power(plain, 0.02, alpha=0.05) == int(np.ceil((z * 0.2 / 0.02) ** 2))
    clustered = _estimate(test="cluster t", sd=0.2, n=400, n_units=40, clustered=True)
    assert mde(clustered, alpha=0.05) == pytest.approx(z * 0.2 / np.sqrt(40))
    assert n_for_power(clustered, 0.02, alpha=0.05) == int(np.ceil((z * 0.2 / 0.02) ** 2 * 10))


def test_without_any_change_the_drop_itself_is_the_share_of_changes() -> None:
    clean = _estimate(discordance=0.0, sd=0.0)
    bounded = _estimate(test="paired t", discordance=0.0, sd=0.0)
    assert 0 < mde(clean, alpha=0.05) == mde(bounded, alpha=0.05) < 0.02
    assert n_for_power(clean, 0.02, alpha=0.05) == n_for_power(bounded, 0.02, alpha=0.05)


def test_margins_no_sample_can_see() -> None:
    assert n_for_power(_estimate(), 0.0, alpha=0.05) is None
    assert n_for_power(_estimate(), -0.02, alpha=0.05) is None
    assert n_for_power(_estimate(), 1.5, alpha=0.05) is None
    assert mde(_estimate(n=2, n_units=2), alpha=0.05) == 1.0
    with pytest.raises(ValueError, match="finite"):
        n_for_power(_estimate(), float("nan"), alpha=0.05)
    with pytest.raises(ValueError, match="alpha"):
        mde(_estimate(), alpha=0.7)
    with pytest.raises(ValueError, match="power"):
        mde(_estimate(), alpha=0.05, power=1.0)
