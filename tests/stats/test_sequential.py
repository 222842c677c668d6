"""Group-sequential boundaries against published tables, scipy's multivariate normal and simulated Brownian paths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, optimize, special
from scipy.stats import multivariate_normal

from evalharness.stats.multiplicity import holm
from evalharness.stats.sequential import _plan, boundaries, nominal_levels, sequential_p, spent

Array = NDArray[np.float64]
NAN, INF = float("nan"), float("inf")


def equal(looks: int) -> list[float]:
    return [k / looks for k in range(1, looks + 1)]


def covariance(times: list[float]) -> Array:
    """Of the z statistics: two looks correlate by the root of the ratio of their information."""
    t = np.array(times)
    return np.asarray(np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t)))


def total_crossing(z: list[float], times: list[float]) -> float:
    """What boundaries given beforehand spend in all: look by look, the share at which the recursion gives each back."""
    shares: list[float] = []
    for look, wanted in enumerate(z):
        so_far = shares[-1] if shares else 0.0

        def above(share: float, look: int = look, wanted: float = wanted) -> float:
            return (
                float(_plan(1.0, np.array([*shares, share]), np.array(times[: look + 1])).boundaries[-1])
                - wanted
            )

        shares.append(optimize.brentq(above, so_far + 1e-15, so_far + special.ndtr(-wanted) * 1.000001))
    return shares[-1]


# Jennison and Turnbull 2000, tables 2.1 (Pocock) and 2.3 (O'Brien-Fleming), two-sided 5%: each side spends 2.5%, since
# hardly any path crosses both.
@pytest.mark.parametrize("looks, constant", [(2, 2.178), (5, 2.413), (10, 2.555)])
def test_pocock_constants(looks: int, constant: float) -> None:
    assert total_crossing([constant] * looks, equal(looks)) == pytest.approx(0.025, abs=5e-5)
    assert total_crossing([constant + 0.003] * looks, equal(looks)) < 0.025 - 5e-5


@pytest.mark.parametrize("looks, constant", [(2, 1.977), (5, 2.040), (10, 2.087)])
def test_obrien_fleming_constants(looks: int, constant: float) -> None:
    z = [constant * math.sqrt(looks / k) for k in range(1, looks + 1)]
    assert total_crossing(z, equal(looks)) == pytest.approx(0.025, abs=5e-5)


def test_the_obrien_fleming_type_of_lan_and_demets() -> None:
    # Five looks at 2.5% one-sided as the programs of Reboussin, DeMets, Kim and Lan 2000 (Controlled Clinical Trials
    # 21:190-207) and their successor ldbounds print them.
    times = np.array(equal(5))
    cumulative = 2 * special.ndtr(special.ndtri(0.0125) / np.sqrt(times))
    z = _plan(1.0, cumulative, times).boundaries
    assert z == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)


def test_the_power_family_loses_the_power_its_table_says() -> None:
    # Jennison and Turnbull's table of the family alpha * t**2: ten looks need 1.081 times the fixed sample for 80%
    # power, two-sided 5% (gsDesign's tests hold the same figure).
    times = equal(10)
    fixed = float(special.ndtri(0.975) + special.ndtri(0.8))
    mean = fixed * np.sqrt(1.081) * np.sqrt(times)
    rng = np.random.default_rng(1)
    stays = multivariate_normal(mean, covariance(times), seed=rng).cdf(boundaries(0.025, times))
    assert 1 - stays == pytest.approx(0.8, abs=6e-4)


@pytest.mark.parametrize("alpha", [1e-6, 0.001, 0.05, 0.45])
@pytest.mark.parametrize("first", [0.05, 0.5, 0.99])
def test_two_looks_match_the_bivariate_normal(alpha: float, first: float) -> None:
    times = [first, 1.0]
    z = boundaries(alpha, times)
    assert z[0] == pytest.approx(-special.ndtri(alpha * first**2), rel=1e-14)
    stays = multivariate_normal([0, 0], covariance(times)).cdf(z)
    assert 1 - stays == pytest.approx(alpha, abs=1e-9)
    gap = math.sqrt(1 - first)

    def crosses_second(u: float) -> float:
        ahead = special.ndtr((u * math.sqrt(first) - z[1]) / gap)
        return float(math.exp(-u * u / 2) / math.sqrt(2 * math.pi) * ahead)

    likeliest = min(z[1] * math.sqrt(first), z[0])
    second, _ = integrate.quad(
        crosses_second, -10, z[0], points=[likeliest], epsabs=0, epsrel=1e-12, limit=500
    )
    assert second == pytest.approx(alpha * (1 - first**2), rel=1e-10)


def test_four_unequal_looks_match_the_multivariate_normal() -> None:
    times, spending = [0.1, 0.15, 0.7, 0.95], [0.3, 0.35, 0.6, 1.0]
    z = boundaries(0.2, times, spending)
    for k in (2, 3, 4):
        law = multivariate_normal(
            np.zeros(k), covariance(times[:k]), seed=np.random.default_rng(k), maxpts=200_000
        )
        assert 1 - law.cdf(z[:k]) == pytest.approx(0.2 * spending[k - 1] ** 2, abs=5e-5)


@pytest.mark.parametrize("times", [equal(10), [0.02, 0.3, 0.31, 0.32, 0.9, 0.901, 1.0]])
def test_simulated_brownian_paths_cross_as_often_as_planned(times: list[float]) -> None:
    paths, alpha = 400_000, 0.05
    rng = np.random.default_rng(3)
    z = boundaries(alpha, times)
    position, crossed, before = np.zeros(paths), np.zeros(paths, dtype=bool), 0.0
    for time, boundary in zip(times, z, strict=True):
        position += rng.normal(0, math.sqrt(time - before), paths)
        crossed |= position >= boundary * math.sqrt(time)
        wanted = alpha * time**2
        assert crossed.mean() == pytest.approx(wanted, abs=4 * math.sqrt(wanted / paths))
        before = time


@pytest.mark.parametrize("closeness", [1e-2, 1e-3, 1e-4])
def test_a_look_right_after_another_changes_little(closeness: float) -> None:
    alone, paired = boundaries(0.05, [0.5, 1.0]), boundaries(0.05, [0.5, 0.5 + closeness, 1.0])
    assert paired[0] == alone[0]
    assert 0 < paired[1] - alone[0] < 0.3
    assert paired[2] == pytest.approx(alone[1], abs=2 * closeness)


def test_what_is_spent_and_the_levels_of_the_looks() -> None:
    times = equal(5)
    assert spent(0.05, times) == pytest.approx([0.002, 0.008, 0.018, 0.032, 0.05])
    levels = nominal_levels(0.05, times)
    assert levels == pytest.approx(special.ndtr(-np.array(boundaries(0.05, times))), rel=1e-12)
    assert levels[0] == spent(0.05, times)[0]
    assert all(level < share for level, share in zip(levels[1:], spent(0.05, times)[1:], strict=True))
    assert nominal_levels(0.05, [1.0]) == [0.05]
    assert boundaries(0.05, [1.0]) == [pytest.approx(1.6448536269514722, rel=1e-14)]


def test_a_look_that_spends_nothing_cannot_reject_and_does_not_count() -> None:
    times, spending = [0.2, 0.4, 0.6, 1.0], [0.0, 0.5, 0.5, 1.0]
    z = boundaries(0.05, times, spending)
    assert z[0] == z[2] == INF
    assert [z[1], z[3]] == boundaries(0.05, [0.4, 1.0], [0.5, 1.0])
    assert nominal_levels(0.05, times, spending)[::2] == [0.0, 0.0]
    assert sequential_p([1e-300, 1.0, 1e-300], times, spending) == 1.0
    assert boundaries(0.05, [0.5, 1.0], [0.0, 0.0]) == [INF, INF]
    assert sequential_p([0.0], [0.5, 1.0], [0.0, 1.0]) == 1.0


def test_a_plan_that_ends_early_leaves_the_rest_unspent() -> None:
    assert boundaries(0.05, [0.4, 0.8]) == boundaries(0.05, [0.4, 0.8, 1.0])[:2]
    assert sequential_p([1.0, 0.9], [0.4, 0.8]) == 1.0
    assert sequential_p([0.01], [0.4]) == pytest.approx(0.01 / 0.16)


def test_spending_by_other_shares_than_the_information() -> None:
    # Half of the information but all of the level: nothing is left for the second look.
    assert boundaries(0.05, [0.5, 1.0], [1.0, 1.0]) == [pytest.approx(1.6448536269514722), INF]


@given(st.floats(0, 1))
@example(1.0)
@example(5e-324)
def test_a_single_look_keeps_its_p_value(p: float) -> None:
    assert sequential_p([p], [1.0]) == max(p, 2.2250738585072014e-308)


def test_a_worked_sequential_p_value() -> None:
    # Two looks: the level at which look 2 stands exactly on its boundary, by one root search on the bivariate normal.
    times, p = [0.5, 1.0], [0.2, 0.03]
    z_two = -special.ndtri(p[1])

    def missing(alpha: float) -> float:
        law = multivariate_normal([0, 0], covariance(times))
        return float(1 - law.cdf([-special.ndtri(alpha / 4), z_two]) - alpha)

    assert sequential_p(p, times) == pytest.approx(optimize.brentq(missing, 0.03, 0.2, xtol=1e-14), rel=1e-7)
    assert sequential_p([0.002, 0.9], times) == pytest.approx(0.008)


@st.composite
def plans(draw: st.DrawFn, most: int = 8) -> tuple[list[float], list[float] | None]:
    """Information and spending of a plan whose looks are at least a thousandth apart."""
    steps = draw(st.lists(st.integers(1, 400), min_size=1, max_size=most))
    times = (np.cumsum(steps) / max(1000, sum(steps))).tolist()
    if draw(st.booleans()):
        return times, None
    shares = draw(st.lists(st.floats(0, 1), min_size=len(times), max_size=len(times)))
    return times, sorted(shares)


alphas = st.floats(-6, math.log10(0.49)).map(lambda x: 10.0**x)
p_values = st.floats(-12, 0).map(lambda x: 10.0**x)


@given(plans(), alphas, alphas)
def test_boundaries_fall_as_alpha_grows(
    plan: tuple[list[float], list[float] | None], one: float, other: float
) -> None:
    assume(abs(one / other - 1) > 1e-9)
    strict, lax = (boundaries(alpha, *plan) for alpha in sorted((one, other)))
    for high, low in zip(strict, lax, strict=True):
        assert high > low or high == low == INF


@given(plans(), alphas)
def test_a_level_lies_between_what_its_look_spends_and_all_spent_so_far(
    plan: tuple[list[float], list[float] | None], alpha: float
) -> None:
    information, spending = plan
    total = spent(alpha, information if spending is None else spending)
    levels = nominal_levels(alpha, information, spending)
    for level, own, so_far in zip(levels, np.diff(total, prepend=0.0), total, strict=True):
        assert own * (1 - 1e-9) <= level <= so_far * (1 + 1e-9) or level == 0


@given(plans(), st.data())
def test_the_sequential_p_value_is_the_level_where_the_boundaries_begin_to_reject(
    plan: tuple[list[float], list[float] | None], data: st.DataObject
) -> None:
    p = data.draw(st.lists(p_values, min_size=1, max_size=len(plan[0])))
    found = sequential_p(p, *plan)
    assert 0 < found <= 1
    for alpha, rejects in ((found * (1 + 2e-9), True), (found * (1 - 2e-9), False)):
        if 1e-12 <= alpha < 0.5:
            assert (
                any(own <= level for own, level in zip(p, nominal_levels(alpha, *plan), strict=False))
                is rejects
            )


@given(plans(), st.data())
def test_more_evidence_never_raises_a_sequential_p_value(
    plan: tuple[list[float], list[float] | None], data: st.DataObject
) -> None:
    p = data.draw(st.lists(p_values, min_size=1, max_size=len(plan[0])))
    found = sequential_p(p, *plan) * (1 + 1e-10)
    look = data.draw(st.integers(0, len(p) - 1))
    smaller = [own * 0.7 if k == look else own for k, own in enumerate(p)]
    assert sequential_p(smaller, *plan) <= found
    for stop in range(1, len(p)):
        assert found <= sequential_p(p[:stop], *plan) * (1 + 2e-10)


@given(plans(most=5), st.data())
def test_looks_still_to_come_change_nothing(
    plan: tuple[list[float], list[float] | None], data: st.DataObject
) -> None:
    information, spending = plan
    p = data.draw(st.lists(p_values, min_size=1, max_size=len(information)))
    cut = None if spending is None else spending[: len(p)]
    assert sequential_p(p, information, spending) == sequential_p(p, information[: len(p)], cut)


def test_extreme_p_values_stay_in_range() -> None:
    times = equal(20)
    for p in (0.0, 1e-308, 1e-100, 1e-20):
        assert p <= sequential_p([1.0] * 19 + [p], times) <= max(p * 20, 1e-248)
    assert sequential_p([1.0] * 20, times) == 1.0


def test_holm_over_sequential_p_values_is_the_test_by_boundaries() -> None:
    # Four metrics at three looks: reject the strongest at alpha/4, then the next at alpha/3 on the same looks, ...
    times, alpha = equal(3), 0.05
    rng = np.random.default_rng(7)
    rejected = 0
    for _ in range(50):
        p = special.ndtr(-(rng.normal(1.2, 1, (4, 3)).cumsum(axis=1) / np.sqrt(np.arange(1, 4))))
        left, expected = set(range(4)), set()
        while left:
            levels = np.array(nominal_levels(alpha / len(left), times))
            now = {metric for metric in left if (p[metric] <= levels).any()}
            if not now:
                break
            expected |= now
            left -= now
        adjusted = holm([sequential_p(row.tolist(), times) for row in p])
        assert {metric for metric, value in enumerate(adjusted) if value <= alpha} == expected
        rejected += len(expected)
    assert 20 < rejected < 180


@pytest.mark.parametrize(
    "alpha, information, spending, says",
    [
        (0.05, [], None, "at least one look"),
        (0.05, [0.5, 0.5], None, "must increase"),
        (0.05, [0.5, 0.4], None, "must increase"),
        (0.05, [0.5, 0.50000001], None, "too close together"),
        (0.05, [0.0, 1.0], None, "lies in (0, 1]"),
        (0.05, [0.5, 1.1], None, "lies in (0, 1]"),
        (0.05, [NAN], None, "lies in (0, 1]"),
        (0.05, [INF], None, "lies in (0, 1]"),
        (0.05, [0.5, 1.0], [0.5], "1 shares for 2 looks"),
        (0.05, [0.5, 1.0], [0.5, 0.4], "cannot be taken back"),
        (0.05, [0.5, 1.0], [0.5, 1.5], "lies in [0, 1]"),
        (0.05, [0.5, 1.0], [NAN, 1.0], "lies in [0, 1]"),
        (0.0, [1.0], None, "alpha"),
        (0.5, [1.0], None, "alpha"),
        (NAN, [1.0], None, "alpha"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    alpha: float, information: list[float], spending: Any, says: str
) -> None:
    for function in (boundaries, nominal_levels):
        with pytest.raises(ValueError) as caught:
            function(alpha, information, spending)
        assert says in str(caught.value)
    if "alpha" not in says:
        with pytest.raises(ValueError):
            sequential_p([0.5], information, spending)


@pytest.mark.parametrize(
    "p, says",
    [
        ([], "at least one look"),
        ([0.1, 0.1, 0.1], "3 p-values for a plan of 2 looks"),
        ([NAN], "lies in [0, 1]"),
        ([-0.1], "lies in [0, 1]"),
        ([0.5, 1.1], "lies in [0, 1]"),
    ],
)
def test_p_values_that_make_no_sense_are_refused(p: list[float], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        sequential_p(p, [0.5, 1.0])
    assert says in str(caught.value)


def test_spending_refuses_what_boundaries_refuse() -> None:
    for alpha, shares in ((0.6, [1.0]), (0.05, []), (0.05, [0.5, 0.2]), (0.05, [NAN])):
        with pytest.raises(ValueError):
            spent(alpha, shares)
