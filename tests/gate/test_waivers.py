"""Waivers: a wider margin for a time, said wherever it matters, and nothing once it has expired."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalharness.core.suites import Margin, MetricRule, Waiver
from evalharness.core.verdicts import Verdict
from evalharness.gate.decide import decide
from tests.gate.support import POLICY, TWO_POINTS, comparison, metric


def waiver(points: int = 3, name: str = "e/exact_match") -> Waiver:
    return Waiver(
        metric=name,
        margin=Margin(Fraction(points, 100), relative=False),
        reason="4-bit weights",
        expires=date(2027, 1, 31),
    )


def judged(regressed: int, fixed: int, n: int, given: Waiver | None, *, holds: bool = True) -> Verdict:
    """One metric under a waiver that holds, one that does not, or none."""
    waived = given is not None and holds
    margin = given.margin if given is not None and holds else TWO_POINTS
    one = metric(regressed, fixed, n, margin=margin, waiver=given, waived=waived)
    return decide(comparison(one), replace(POLICY, waivers=(given,) if given else ()))


SAID = "may lose 3pp until 2027-01-31 (4-bit weights)"


def test_a_drop_between_the_two_margins_passes_and_is_said_three_times() -> None:
    assert judged(70, 20, 2000, None).exit_code == 1  # −2.5pp
    verdict = judged(70, 20, 2000, waiver())
    assert verdict.exit_code == 0
    assert f"−2.5pp with a margin of 3pp, waived: {SAID}" in verdict.checks[0].reason
    assert f"e/exact_match is waived: it {SAID}" in verdict.reasons
    assert (
        "e/exact_match got worse by its own margin of 2pp or more, and only a waiver lets it through: −2.5pp; it "
        + SAID
    ) in verdict.warnings


def test_the_waived_margin_is_a_margin_like_any() -> None:
    worse = judged(90, 10, 2000, waiver())  # −4pp
    assert (worse.outcome, worse.exit_code) == ("regression", 1)
    assert f"waived: {SAID}" in worse.reasons[0]
    assert judged(10, 4, 200, waiver()).outcome == "inconclusive"  # −3pp, suspect
    exactly = judged(60, 0, 2000, waiver())
    assert exactly.exit_code == 1
    assert not any("only a waiver" in w for w in exactly.warnings)


def test_a_waiver_that_nothing_needed_is_shown_and_warns_of_nothing() -> None:
    verdict = judged(20, 20, 2000, waiver())
    assert verdict.reasons[-1] == f"e/exact_match is waived: it {SAID}"
    assert verdict.warnings == ()


def test_the_own_margin_is_that_of_the_metrics_rule() -> None:
    rule = MetricRule(margin=Margin(Fraction(1, 100), relative=False))
    one = metric(50, 20, 2000, margin=waiver().margin, waiver=waiver(), waived=True)  # −1.5pp
    verdict = decide(comparison(one), replace(POLICY, metrics={"e/exact_match": rule}))
    assert any("its own margin of 1pp" in w for w in verdict.warnings)
    assert not any("only a waiver" in w for w in decide(comparison(one), POLICY).warnings)


def test_an_expired_waiver_counts_for_nothing_and_says_so() -> None:
    verdict = judged(70, 20, 2000, waiver(), holds=False)
    assert verdict.exit_code == 1
    assert (
        "the waiver of e/exact_match expired on 2027-01-31 and no longer counts; the margin is 2pp again"
        in verdict.warnings
    )


def test_where_lower_is_better_a_waived_metric_may_rise() -> None:
    one = metric(70, 20, 2000, margin=waiver().margin, waiver=waiver(), waived=True, direction="lower")
    verdict = decide(comparison(one), POLICY)
    assert "+2.5pp with a margin of 3pp, waived: may rise 3pp until 2027-01-31" in verdict.checks[0].reason


COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60), st.sampled_from([120, 200, 500, 1000]))


@pytest.mark.parametrize("block", ["block", "warn"])
@settings(max_examples=60, deadline=None)
@given(first=COUNTS, second=COUNTS, points=st.integers(3, 20))
def test_a_waiver_never_blocks_and_an_expired_one_is_none(
    block: str, first: tuple[int, int, int], second: tuple[int, int, int], points: int
) -> None:
    policy = replace(POLICY, on_underpowered=block)
    other = metric(*second, name="e/other")
    plain = decide(comparison(metric(*first), other), policy)
    given_one = waiver(points)
    held = metric(*first, margin=given_one.margin, waiver=given_one, waived=True)
    waived = decide(comparison(held, other), policy)
    if plain.exit_code == 0:
        assert waived.exit_code == 0
    assert waived.checks[1] == plain.checks[1]  # and what is not waived stays as it was

    lapsed = decide(comparison(metric(*first, waiver=given_one), other), policy)
    assert (lapsed.outcome, lapsed.exit_code, lapsed.reasons) == (
        plain.outcome,
        plain.exit_code,
        plain.reasons,
    )
    assert [(c.status, c.reason, c.p_adjusted) for c in lapsed.checks] == [
        (c.status, c.reason, c.p_adjusted) for c in plain.checks
    ]
    assert [w for w in lapsed.warnings if "expired on" not in w] == list(plain.warnings)
