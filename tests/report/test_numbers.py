"""Numbers are written once, and rounding never moves one across a line that decides."""

from __future__ import annotations

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
