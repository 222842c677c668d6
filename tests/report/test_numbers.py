"""Numbers are written once, and rounding never moves one across a line that decides."""

from __future__ import annotations

import math

import pytest

from evalharness.report import numbers

PP = (0.0, 0.02, -0.02)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (-0.043, "−4.3pp"),
        (0.01, "+1.0pp"),
        (0.0, "0.0pp"),
        (-0.0196, "−1.96pp"),
        (-0.01996, "−1.996pp"),
        (-0.02, "−2.0pp"),
        (0.8 - 0.82, "−2.0pp"),
        (-0.0204, "−2.04pp"),
        (-0.0004, "−0.04pp"),
        (None, "–"),
        (float("-inf"), "–"),
    ],
)
def test_a_difference_never_looks_like_the_other_side_of_the_margin(number: float | None, shown: str) -> None:
    assert numbers.difference(number, "fraction", PP) == shown


def test_other_units_keep_their_word_where_it_is_asked_for() -> None:
    assert numbers.difference(13.2, "characters", word=True) == "+13.2 characters"
    assert numbers.difference(13.2, "characters") == "+13.2"
    assert numbers.value(1234.5, "characters") == "1,234"
    assert numbers.amount(7.125, "characters") == "7.125 characters"


def test_what_an_answer_costs_is_not_zero() -> None:
    assert numbers.value(0.000225, "USD") == "0.000225"
    assert numbers.difference(-0.0000031, "USD") == "−0.00000310"
    assert numbers.interval(-0.000012, 0.0001, "USD") == "[−0.000012, +0.000100]"
    assert numbers.value(1e-17, "USD") == numbers.value(0.0, "USD") == "0.000"


def test_values_p_values_and_intervals() -> None:
    assert numbers.value(0.813, "fraction") == "81.3%"
    assert numbers.p_value(0.0004) == "<0.001"
    assert numbers.p_value(0.003) == "0.003"
    assert numbers.interval(-0.0691, -0.0312, "fraction", PP) == "[−6.9, −3.1]"
    assert numbers.interval(7.2, 19.2, "characters") == "[+7.2, +19.2]"
    assert numbers.amount(0.039, "fraction") == "3.9pp"


@pytest.mark.parametrize(("number", "shown"), [(0.0, "0"), (1.0, "1"), (2 / 3, "0.67"), (None, "no score")])
def test_one_case_is_not_a_percentage(number: float | None, shown: str) -> None:
    assert numbers.case_value(number, "fraction") == shown


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0, "0%"), (1e-9, "<0.1%"), (0.0303, "3.0%"), (0.9996, ">99.9%"), (1.0, "100%"), (math.nan, "–"), (None, "–")],
)  # fmt: skip
def test_a_chance_is_0_or_100_per_cent_only_where_it_is(p: float | None, text: str) -> None:
    assert numbers.chance(p) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0.5, "0.50"), (1 / 3, "0.33"), (0.001, "0.001"), (0.9984, "0.998")]
)
def test_a_flaky_case_is_never_shown_as_one_that_always_passes_or_fails(rate: float, text: str) -> None:
    assert numbers.share(rate) == text


@pytest.mark.parametrize(
    ("variance", "text"), [(0.0, "0"), (0.015123, "0.0151"), (1240.4, "1,240"), (math.inf, "–")]
)
def test_a_variance_has_three_digits(variance: float, text: str) -> None:
    assert numbers.variance(variance) == text
