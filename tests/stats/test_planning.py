"""Planning: vectorised tests against the scalar ones, exact chances against tables, enumeration and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalharness.stats.mcnemar import midp_mcnemar, midp_mcnemar_counts
from evalharness.stats.planning import Chances, Churn, Spread
from evalharness.stats.tango import tango_lower, tango_z, tango_z_counts

MARGIN = 0.02

# simulated, 40,000 draws a cell, with mid-p McNemar and the score bound: (churn, n) → % at true drops 0, 1, 2, 4, 8pp
BLOCK = {
    (0.02, 100): (1, 6, 16, 45, 85),
    (0.02, 200): (3, 15, 37, 77, 99),
    (0.02, 500): (0, 12, 54, 98, 100),
    (0.05, 100): (3, 8, 15, 34, 74),
    (0.05, 200): (4, 13, 27, 61, 95),
    (0.05, 500): (3, 20, 50, 92, 100),
    (0.10, 200): (5, 11, 20, 45, 87),
    (0.10, 500): (5, 16, 36, 77, 100),
    (0.10, 1000): (3, 19, 52, 96, 100),
    (0.20, 200): (5, 9, 15, 31, 69),
    (0.20, 1000): (5, 17, 38, 83, 100),
    (0.20, 2000): (2, 17, 51, 97, 100),
}
PASS = {
    (0.02, 100): (26, 11, 4, 1, 0),
    (0.02, 200): (48, 16, 4, 0, 0),
    (0.05, 500): (62, 23, 5, 0, 0),
    (0.10, 200): (21, 11, 5, 1, 0),
    (0.10, 1000): (63, 24, 5, 0, 0),
    (0.20, 500): (26, 12, 5, 1, 0),
    (0.20, 2000): (64, 25, 5, 0, 0),
}
DROPS = (0.0, 0.01, 0.02, 0.04, 0.08)


def chances(churn: float, n: int, drop: float, margin: float = MARGIN, level: float = 0.05) -> Chances:
    return Churn(churn).chances(n, drop, margin, alpha=0.05, level=level)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=30))
def test_the_vectorised_midp_is_the_scalar_one(counts: list[tuple[int, int]]) -> None:
    b, c = np.array(counts, dtype=float).T
    assert midp_mcnemar_counts(b, c) == pytest.approx([midp_mcnemar(x, y) for x, y in counts], rel=1e-12)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=30),
    st.integers(80, 500),
    st.sampled_from([-0.3, -0.02, -0.001, 0.0, 0.02, 0.5]),
)
def test_the_vectorised_score_statistic_is_the_scalar_one(
    counts: list[tuple[int, int]], n: int, difference: float
) -> None:
    b, c = np.array(counts, dtype=float).T
    expected = [tango_z(x, y, n, difference) for x, y in counts]
    assert tango_z_counts(b, c, n, difference) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def enumerated(n: int, churn: float, drop: float, margin: float, level: float) -> Chances:
    """Every (regressed, fixed) with its multinomial probability, judged by the gate's own scalar functions."""
    p_b, p_c = churn / 2 + drop, churn / 2
    p_0 = 1 - p_b - p_c
    found = [0.0] * 4
    for b in range(n + 1):
        for c in range(n + 1 - b):
            logs = math.lgamma(n + 1) - math.lgamma(b + 1) - math.lgamma(c + 1) - math.lgamma(n - b - c + 1)
            chance = math.exp(logs) * p_b**b * p_c**c * p_0 ** (n - b - c)
            if (c - b) / n <= -margin * (1 - 1e-7):
                status = 0 if midp_mcnemar(b, c) <= level else 1
            else:
                status = 2 if tango_lower(b, c, n, 0.95) <= -margin else 3
            found[status] += chance
    return Chances(*found)


@pytest.mark.parametrize(
    ("n", "churn", "drop", "margin", "level"),
    [
        (50, 0.1, 0.0, 0.02, 0.05),
        (60, 0.3, 0.05, 0.05, 0.05),
        (50, 0.0, 0.04, 0.02, 0.05),
        (40, 0.2, 0.1, 0.1, 0.01),
        (100, 0.05, 0.02, 0.02, 0.025),
        (1, 0.5, 0.0, 0.02, 0.05),
        (30, 0.0, 0.0, 0.1, 0.05),
    ],
)
def test_chances_are_those_of_every_outcome_judged_by_the_gates_own_functions(
    n: int, churn: float, drop: float, margin: float, level: float
) -> None:
    exact = enumerated(n, churn, drop, margin, level)
    assert chances(churn, n, drop, margin, level) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(("place", "expected"), BLOCK.items())
def test_chances_of_a_regression_match_the_simulated_table(
    place: tuple[float, int], expected: tuple[int, ...]
) -> None:
    found = [100 * chances(*place, drop).regression for drop in DROPS]
    assert found == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize(("place", "expected"), PASS.items())
def test_chances_of_a_pass_match_the_simulated_table(
    place: tuple[float, int], expected: tuple[int, ...]
) -> None:
    found = [100 * chances(*place, drop).passed for drop in DROPS]
    assert found == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize(
    ("drop", "discordance", "cases"),
    [
        (0.01, 0.02, 1180), (0.01, 0.05, 3080), (0.01, 0.10, 6180),
        (0.02, 0.02, 275), (0.02, 0.05, 745), (0.02, 0.10, 1540), (0.02, 0.20, 3090),
        (0.04, 0.05, 177), (0.04, 0.10, 372), (0.04, 0.20, 770), (0.08, 0.10, 88), (0.08, 0.20, 186),
    ],
)  # fmt: skip
def test_cases_for_80_percent_power_match_the_table(drop: float, discordance: float, cases: int) -> None:
    found = Churn(round(discordance - drop, 6)).cases(drop, level=0.05)
    assert found == pytest.approx(cases, abs=max(5, 0.005 * cases))


@pytest.mark.parametrize(
    ("n", "expected"),
    [(200, (4.3, 5.6, 7.2, 9.5)), (500, (2.3, 3.2, 4.2, 5.7)), (1000, (1.5, 2.1, 2.9, 3.9))],
)
def test_the_mde_matches_the_table(n: int, expected: tuple[float, ...]) -> None:
    found = [100 * (Churn(d).mde(n, level=0.05) or 1) for d in (0.02, 0.05, 0.10, 0.20)]
    assert found == pytest.approx(expected, abs=0.11)


@pytest.mark.parametrize(("churn", "drop"), [(0.1, 0.0), (0.1, 0.04), (0.02, 0.02)])
def test_chances_match_a_simulation_of_the_gates_rules(churn: float, drop: float) -> None:
    n, draws = 300, 40_000
    rng = np.random.default_rng(7)
    p_b, p_c = churn / 2 + drop, churn / 2
    rows, times = np.unique(
        rng.multinomial(n, [p_b, p_c, 1 - p_b - p_c], size=draws), axis=0, return_counts=True
    )
    counts = np.zeros(4)
    for (b, c, _), how_often in zip(rows.tolist(), times.tolist(), strict=True):
        fell = (c - b) / n <= -MARGIN * (1 - 1e-7)
        if fell:
            counts[0 if midp_mcnemar(b, c) <= 0.05 else 1] += how_often
        else:
            counts[2 if tango_lower(b, c, n, 0.95) <= -MARGIN else 3] += how_often
    # four standard errors of a share of so many draws
    assert counts / draws == pytest.approx(chances(churn, n, drop), abs=4 * 0.5 / math.sqrt(draws))


@pytest.mark.parametrize(("n", "drop"), [(120, 0.0), (120, 0.02), (400, 0.03)])
def test_a_spreads_chances_match_a_simulation_of_t_tests(n: int, drop: float) -> None:
    from scipy import stats

    draws, sd = 20_000, 0.15
    rng = np.random.default_rng(11)
    mean = rng.normal(-drop, sd / math.sqrt(n), draws)
    error = sd * np.sqrt(rng.chisquare(n - 1, draws) / (n - 1)) / math.sqrt(n)
    fell = mean <= -MARGIN
    sure = stats.t.cdf(mean / error, n - 1) <= 0.05
    passed = ~fell & (mean - stats.t.ppf(0.95, n - 1) * error > -MARGIN)
    simulated = [np.mean(fell & sure), np.mean(fell & ~sure), np.mean(~fell & ~passed), np.mean(passed)]
    found = Spread(sd).chances(n, drop, MARGIN, alpha=0.05, level=0.05)
    assert found == pytest.approx(simulated, abs=0.015)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.floats(0, 0.6),
    st.floats(0, 0.3),
    st.floats(0.001, 0.3),
    st.sampled_from([0.05, 0.01, 0.05 / 12]),
)
def test_chances_are_a_distribution(n: int, churn: float, drop: float, margin: float, level: float) -> None:
    for found in (
        chances(churn, n, drop, margin, level),
        Spread(0.1 + churn).chances(n, drop, margin, alpha=0.05, level=level),
    ):
        assert all(-1e-9 <= chance <= 1 + 1e-9 for chance in found)
        assert sum(found) == pytest.approx(1.0)


@given(st.integers(20, 2000), st.sampled_from([0.0, 0.02, 0.1, 0.3]), st.sampled_from([0.05, 0.01]))
@settings(max_examples=30, deadline=None)
def test_the_mde_is_the_drop_that_has_the_power(n: int, churn: float, level: float) -> None:
    for noise in (Churn(churn), Spread(0.2)):
        found = noise.mde(n, level=level)
        if found is not None:
            assert noise.power(n, found, level=level) == pytest.approx(0.8, abs=0.002)


def test_power_at_the_named_number_of_cases_is_reached_and_not_one_case_before() -> None:
    for noise in (Churn(0.07), Spread(0.3), Spread(0.3, cases_per_unit=4.0)):
        cases = noise.cases(0.03, level=0.05)
        assert cases is not None
        assert noise.power(cases, 0.03, level=0.05) >= 0.8 > noise.power(cases - 1, 0.03, level=0.05)


def test_what_no_number_of_cases_shows_has_none() -> None:
    assert Churn(0.1).mde(3, level=0.05) is None
    assert Churn(0.1).cases(0.0, level=0.05) is None
    assert Churn(0.1).cases(1.5, level=0.05) is None
    assert Spread(0.1).mde(1, level=0.05) is None
    assert Spread(0.1).chances(1, 0.0, 0.02, alpha=0.05, level=0.05).underpowered == 1.0


def test_a_pass_is_refused_where_the_gate_refuses_it() -> None:
    """Fewer than 10 changed cases, or fewer than 8 clusters, never pass."""
    few = Spread(0.001, changing=0.01).chances(100, 0.0, 0.02, alpha=0.05, level=0.05)
    assert few.passed < 0.001
    many = Spread(0.001, changing=0.5).chances(100, 0.0, 0.02, alpha=0.05, level=0.05)
    assert many.passed > 0.999
    clusters = Spread(0.001, cases_per_unit=20.0)
    assert clusters.chances(140, 0.0, 0.02, alpha=0.05, level=0.05).passed == 0.0
    assert clusters.chances(160, 0.0, 0.02, alpha=0.05, level=0.05).passed > 0.99


def test_nonsense_is_refused() -> None:
    for bad in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="churn"):
            Churn(bad)
    for bad in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="standard deviation"):
            Spread(bad)
    with pytest.raises(ValueError, match="cluster"):
        Spread(0.1, cases_per_unit=0.5)
    with pytest.raises(ValueError, match="margin"):
        chances(0.1, 100, 0.0, margin=0.0)
    with pytest.raises(ValueError, match="case"):
        chances(0.1, 0, 0.0)
    with pytest.raises(ValueError, match="drop"):
        chances(0.1, 100, 1.5)
    with pytest.raises(ValueError, match="alpha"):
        chances(0.1, 100, 0.0, level=0.6)
