"""What must hold for any data: the two sides mirror, order and scale do not matter, more evidence is more evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.paired import paired_cases, paired_corpus

Array = NDArray[np.float64]
KINDS = ["binary", "bounded", "unequal", "repeats", "clustered", "corpus"]
values = st.floats(0, 1, width=16)
pairs = st.lists(st.tuples(values, values), min_size=1, max_size=130)
kinds = st.sampled_from(KINDS)


def arrays(drawn: list[tuple[float, float]], kind: str) -> tuple[Array, Array]:
    left, right = np.array(drawn).T
    if kind == "binary":
        return np.round(left), np.round(right)
    if kind == "repeats":
        return np.round(left * 8) / 8, np.round(right)
    return left, right


def labels(n: int, kind: str) -> list[str] | None:
    return [f"doc{i % 11}" for i in range(n)] if kind == "clustered" else None


def estimate(left: Array, right: Array, kind: str, clusters: list[str] | None = None) -> PairedEstimate:
    rng = np.random.default_rng(1)
    if kind == "corpus":
        rows = [np.column_stack((side, np.ones(side.size))) for side in (left, right)]
        return paired_corpus(*rows, ratio, sign=1, clusters=None, alpha=0.05, rng=rng)
    options: dict[str, Any] = {"repeats": (8, 1)} if kind == "repeats" else {}
    return paired_cases(
        left,
        right,
        binary=kind == "binary",
        equal_repeats=kind not in ("unequal", "repeats"),
        clusters=clusters,
        alpha=0.05,
        rng=rng,
        **options,
    )


def ratio(sums: Array) -> Array:
    return np.asarray(sums[..., 0] / sums[..., 1])


@settings(max_examples=150, deadline=None)
@given(pairs, kinds)
def test_the_comparison_the_other_way_round_is_the_mirror_image(
    drawn: list[tuple[float, float]], kind: str
) -> None:
    left, right = arrays(drawn, kind)
    clusters = labels(left.size, kind)
    there = estimate(left, right, kind, clusters)
    # With 8 repeats on one side and 1 on the other the mirror is not the other way round but 1 − value.
    mirror = (1 - left, 1 - right) if kind == "repeats" else (right, left)
    back = estimate(*mirror, kind, clusters)
    assert back.delta == pytest.approx(-there.delta, abs=1e-12)
    assert (back.p_drop, back.p_gain) == (pytest.approx(there.p_gain), pytest.approx(there.p_drop))
    assert (back.n_regressed, back.n_fixed) == (there.n_fixed, there.n_regressed)
    assert back.sd == pytest.approx(there.sd, abs=1e-12)
    assert back.no_pass_reason == there.no_pass_reason
    # A drawn interval is mirrored draw for draw, but for a difference of exactly 0, which has no worse side.
    if there.delta != 0 or there.interval.method in ("Tango score", "paired t", "cluster t"):
        assert back.interval.low == pytest.approx(-there.interval.high, abs=1e-9)
        assert back.interval.high == pytest.approx(-there.interval.low, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(pairs, kinds, st.randoms(use_true_random=False))
def test_the_order_of_cases_does_not_matter(
    drawn: list[tuple[float, float]], kind: str, shuffler: Any
) -> None:
    left, right = arrays(drawn, kind)
    clusters = labels(left.size, kind)
    order = list(range(left.size))
    shuffler.shuffle(order)
    there = estimate(left, right, kind, clusters)
    again = estimate(
        left[order], right[order], kind, None if clusters is None else [clusters[i] for i in order]
    )
    assert (again.p_drop, again.p_gain) == (pytest.approx(there.p_drop), pytest.approx(there.p_gain))
    assert again.delta == pytest.approx(there.delta, abs=1e-12)
    assert again.lower == pytest.approx(there.lower, abs=1e-9)
    assert again.interval.high == pytest.approx(there.interval.high, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(
    pairs, st.sampled_from(["bounded", "unequal", "clustered", "corpus"]), st.sampled_from([0.25, 3.0, 100.0])
)
def test_another_unit_changes_the_numbers_and_not_the_evidence(
    drawn: list[tuple[float, float]], kind: str, factor: float
) -> None:
    left, right = arrays(drawn, kind)
    clusters = labels(left.size, kind)
    small = estimate(left, right, kind, clusters)
    large = estimate(factor * left, factor * right, kind, clusters)
    assert (large.p_drop, large.p_gain) == (pytest.approx(small.p_drop), pytest.approx(small.p_gain))
    assert large.delta == pytest.approx(factor * small.delta, abs=1e-9)
    assert large.sd == pytest.approx(factor * small.sd, abs=1e-9)
    assert large.lower == pytest.approx(factor * small.lower, abs=1e-7)
    assert large.no_pass_reason == small.no_pass_reason


def counted(regressed: int, fixed: int, same: int) -> PairedEstimate:
    counts = [regressed, fixed, same]
    return estimate(np.repeat([1.0, 0.0, 1.0], counts), np.repeat([0.0, 1.0, 1.0], counts), "binary")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 400))
def test_a_further_regression_is_evidence_of_a_drop_and_a_further_fix_against(
    regressed: int, fixed: int, same: int
) -> None:
    now = counted(regressed, fixed, same)
    worse, better = counted(regressed + 1, fixed, same - 1), counted(regressed, fixed + 1, same - 1)
    assert worse.p_drop <= now.p_drop + 1e-12
    assert worse.lower <= now.lower + 1e-12
    assert worse.interval.high <= now.interval.high + 1e-12
    assert better.lower >= now.lower - 1e-12
    assert better.interval.low >= now.interval.low - 1e-12
    if regressed + fixed:
        assert better.p_drop >= now.p_drop - 1e-12
        assert worse.p_gain >= now.p_gain - 1e-12


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 300), st.integers(1, 500))
def test_cases_that_did_not_change_leave_the_p_value_and_raise_the_bound_of_a_drop(
    regressed: int, fixed: int, same: int, more: int
) -> None:
    if regressed + fixed + same == 0:
        return
    now, padded = counted(regressed, fixed, same), counted(regressed, fixed, same + more)
    assert (padded.p_drop, padded.p_gain) == (now.p_drop, now.p_gain)
    if regressed >= fixed:
        assert padded.lower >= now.lower - 1e-12


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, values), min_size=2, max_size=40), st.integers(1, 50), st.booleans())
def test_cases_that_did_not_change_leave_the_sign_flip(
    drawn: list[tuple[float, float]], more: int, clustered: bool
) -> None:
    left, right = np.array(drawn).T
    same = np.full(more, 0.5)
    kind = "clustered" if clustered else "bounded"
    groups = [f"doc{i % 5}" for i in range(left.size)] if clustered else None
    padded = [*(groups or []), *(f"same{i % 9}" for i in range(more))] if clustered else None
    now = estimate(left, right, kind, groups)
    again = estimate(np.concatenate((left, same)), np.concatenate((right, same)), kind, padded)
    if now.test == again.test and "sign-flip" in now.test:
        assert (again.p_drop, again.p_gain) == (now.p_drop, now.p_gain)


@settings(max_examples=60, deadline=None)
@given(pairs, kinds, st.sampled_from([0.2, 0.05, 0.01, 1e-3]))
def test_a_stricter_alpha_never_raises_the_bound(
    drawn: list[tuple[float, float]], kind: str, alpha: float
) -> None:
    left, right = arrays(drawn, kind)
    if kind == "corpus":
        rows = [np.column_stack((side, np.ones(side.size))) for side in (left, right)]
        bounds = [
            paired_corpus(*rows, ratio, sign=1, clusters=None, alpha=a, rng=np.random.default_rng(1)).lower
            for a in (0.4, alpha)
        ]
    else:
        options: dict[str, Any] = {"binary": kind == "binary", "equal_repeats": True}
        options["clusters"] = labels(left.size, kind)
        bounds = [
            paired_cases(left, right, alpha=a, rng=np.random.default_rng(1), **options).lower
            for a in (0.4, alpha)
        ]
    assert bounds[1] <= bounds[0] + 1e-9
