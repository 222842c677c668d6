"""Discordant counts: the tests and bounds against published values and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.tango import tango_interval, tango_lower, tango_z

counts = st.integers(0, 400)


def test_midp_counts_the_observed_split_half() -> None:
    for b, c in [(0, 1), (1, 0), (3, 9), (9, 3), (30, 30), (120, 80), (0, 40), (1000, 900)]:
        expected = binom.sf(b, b + c, 0.5) + binom.pmf(b, b + c, 0.5) / 2
        assert midp_mcnemar(b, c) == pytest.approx(expected, rel=1e-10)


def test_nothing_changed_is_no_evidence() -> None:
    assert midp_mcnemar(0, 0) == 1.0


def test_overwhelming_drop_never_underflows_to_zero() -> None:
    assert 0.0 < midp_mcnemar(500_000, 0) < 1e-300


def test_negative_counts_are_refused() -> None:
    for counted in ((-1, 3), (3, -1)):
        with pytest.raises(ValueError, match="negative"):
            midp_mcnemar(*counted)


@given(counts, counts)
def test_midp_of_both_directions_sums_to_one_once_something_changed(b: int, c: int) -> None:
    if b + c:
        assert midp_mcnemar(b, c) + midp_mcnemar(c, b) == pytest.approx(1.0, abs=1e-12)
    assert midp_mcnemar(b, c) <= max(binom.sf(b - 1, b + c, 0.5), 1e-300) * (1 + 1e-10)  # at most the exact p


@given(counts, counts)
def test_more_regressions_never_raise_the_p_of_no_drop(b: int, c: int) -> None:
    if b + c:
        assert midp_mcnemar(b + 1, c) <= midp_mcnemar(b, c) + 1e-14
        assert midp_mcnemar(b, c + 1) >= midp_mcnemar(b, c) - 1e-14


def test_tango_z_uses_the_restricted_maximum_likelihood_estimate() -> None:
    from scipy.optimize import minimize_scalar

    b, c, n = 12, 5, 90
    for difference in (-0.2, -0.05, -0.02, 0.0, 0.03):

        def loss(q: float, d: float = difference) -> float:
            return -(b * np.log(q) + c * np.log(q + d) + (n - b - c) * np.log(1 - 2 * q - d))

        bounds = (max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12)
        q = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        expected = (c - b - n * difference) / np.sqrt(n * (2 * q + difference * (1 - difference)))
        assert tango_z(b, c, n, difference) == pytest.approx(expected, rel=1e-5)


def test_tango_at_zero_is_the_mcnemar_z() -> None:
    assert tango_z(30, 12, 200, 0.0) == pytest.approx((12 - 30) / np.sqrt(42))


def test_a_clean_binary_run_needs_133_cases_for_two_points() -> None:
    assert tango_lower(0, 0, 132, 0.95) < -0.02 < tango_lower(0, 0, 133, 0.95)


def test_lower_bound_solves_its_equation() -> None:
    from scipy.special import ndtri

    for b, c, n in [(7, 1, 21), (0, 0, 50), (3, 80, 200), (40, 42, 1000), (31_000, 30_000, 1_000_000)]:
        assert tango_z(b, c, n, tango_lower(b, c, n, 0.95)) == pytest.approx(float(ndtri(0.95)), rel=1e-6)


@given(st.integers(1, 300), st.data())
def test_tango_properties(n: int, data: st.DataObject) -> None:
    b = data.draw(st.integers(0, n))
    c = data.draw(st.integers(0, n - b))
    low, high = tango_interval(b, c, n, 0.95)
    assert -1.0 <= low <= (c - b) / n <= high <= 1.0
    assert low < high
    assert tango_interval(c, b, n, 0.95) == (pytest.approx(-high, abs=1e-12), pytest.approx(-low, abs=1e-12))
    assert tango_lower(b, c, n, 0.95) > low or low == -1.0
    if b + c < n:
        assert tango_lower(b + 1, c, n, 0.95) <= tango_lower(b, c, n, 0.95) + 1e-12


@pytest.mark.parametrize("b, c, n", [(0, 0, 0), (3, 3, 5), (-1, 0, 5)])
def test_impossible_counts_are_refused(b: int, c: int, n: int) -> None:
    with pytest.raises(ValueError, match="case"):
        tango_lower(b, c, n, 0.95)


@pytest.mark.parametrize("confidence", [0.5, 1.0, 0.05, float("nan")])
def test_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        tango_lower(1, 1, 10, confidence)
    with pytest.raises(ValueError, match=r"level|confidence"):
        tango_interval(1, 1, 10, confidence if confidence > 0.5 or confidence != confidence else 0.0)
    with pytest.raises(ValueError, match="-1, 1"):
        tango_z(1, 1, 10, 1.5)
