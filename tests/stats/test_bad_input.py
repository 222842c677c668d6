"""Bad and degenerate input: a sentence, or a whole estimate that says why it cannot pass; numpy never warns.

Warnings are errors in this suite, so every row also shows that numpy had nothing to say.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.paired import paired_cases, paired_corpus
from evalharness.stats.power import mde, n_for_power

Array = NDArray[np.float64]
NAN, INF = math.nan, math.inf


def compare(baseline: Any, candidate: Any, **options: Any) -> PairedEstimate:
    chosen: dict[str, Any] = {
        "binary": False,
        "equal_repeats": True,
        "clusters": None,
        "alpha": 0.05,
    } | options
    rng = np.random.default_rng(0)
    return paired_cases(np.asarray(baseline, float), np.asarray(candidate, float), rng=rng, **chosen)


def share(sums: Array) -> Array:
    """First column over second; 0 where there is nothing."""
    whole = sums[..., 1]
    return np.asarray(np.where(whole != 0, sums[..., 0] / np.where(whole != 0, whole, 1), 0.0))


def compare_corpus(baseline: Any, candidate: Any, **options: Any) -> PairedEstimate:
    chosen: dict[str, Any] = {"sign": 1, "clusters": None, "alpha": 0.05} | options
    aggregate = chosen.pop("aggregate", share)
    rng = np.random.default_rng(0)
    return paired_corpus(
        np.asarray(baseline, float), np.asarray(candidate, float), aggregate, rng=rng, **chosen
    )


def assert_whole(got: PairedEstimate, alpha: float = 0.05) -> None:
    """Every number is finite and where it belongs, and a bound without width never passes."""
    if (1 - got.interval.level) / 2 <= alpha:
        assert got.interval.low <= got.lower
    numbers = [v for v in dataclasses.asdict(got).values() if isinstance(v, float)]
    assert all(math.isfinite(v) for v in (*numbers, got.interval.low, got.interval.high))
    assert 0 < got.p_drop <= 1
    assert 0 < got.p_gain <= 1
    assert got.interval.low <= got.interval.high
    assert 0 <= got.discordance <= 1
    assert got.sd >= 0
    assert got.n_regressed + got.n_fixed <= got.n
    if got.interval.low == got.interval.high:
        assert got.no_pass_reason is not None
    assert 0 < mde(got, alpha=0.05) < INF
    assert n_for_power(got, 0.02, alpha=0.05) is not None


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("no case", {"baseline": [], "candidate": []}, "no paired cases"),
    ("NaN in the candidate", {"candidate": [0.1, NAN, 0.2]}, "candidate holds 1 NaN"),
    ("NaN in the baseline", {"baseline": [NAN, NAN, 0.2]}, "baseline holds 2 NaN"),
    ("infinity", {"baseline": [0.1, INF, 0.2]}, "baseline holds 1 NaN or infinite"),
    ("minus infinity", {"candidate": [0.1, -INF, 0.2]}, "candidate holds 1 NaN or infinite"),
    ("too large to square", {"candidate": [0.1, 1e101, 0.2]}, "no finite sum"),
    ("one side longer", {"candidate": [0.1, 0.2]}, "one shape"),
    ("a table", {"baseline": [[0.1]], "candidate": [[0.1]]}, "1-dimensional"),
    ("fractions called binary", {"binary": True}, "only 0 and 1"),
    ("a label missing", {"clusters": ["a"]}, "1 labels for 3 cases"),
    ("a label too many", {"clusters": list("abcd")}, "4 labels for 3 cases"),
    ("an empty label", {"clusters": ["a", "", ""]}, "2 of 3 cluster labels are empty"),
    ("alpha 0", {"alpha": 0.0}, "alpha must lie between"),
    ("alpha a half", {"alpha": 0.5}, "alpha must lie between"),
    ("alpha 1", {"alpha": 1.0}, "alpha must lie between"),
    ("alpha below 0", {"alpha": -0.05}, "alpha must lie between"),
    ("alpha in percent", {"alpha": 5.0}, "alpha must lie between"),
    ("alpha NaN", {"alpha": NAN}, "alpha must lie between"),
    ("alpha infinite", {"alpha": INF}, "alpha must lie between"),
    ("alpha lost in 1 - alpha", {"alpha": 1e-17}, "alpha must be at least"),
    ("level 0", {"level": 0.0}, "level of an interval"),
    ("level 1", {"level": 1.0}, "level of an interval"),
    ("level NaN", {"level": NAN}, "level of an interval"),
    ("level in percent", {"level": 95.0}, "level of an interval"),
]


@pytest.mark.parametrize("change, message", [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_no_estimate_can_be_made_of_is_refused_in_a_sentence(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(**({"baseline": [0.1, 0.5, 0.2], "candidate": [0.2, 0.5, 0.1]} | change))


CORPUS_WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("no case", {"baseline": np.empty((0, 2)), "candidate": np.empty((0, 2))}, "no paired cases"),
    ("no column", {"baseline": np.empty((3, 0)), "candidate": np.empty((3, 0))}, "no paired cases"),
    ("NaN", {"candidate": [[1, 1], [NAN, 1], [0, 1]]}, "candidate holds 1 NaN"),
    ("infinity", {"baseline": [[1, 1], [INF, 1], [0, 1]]}, "baseline holds 1 NaN or infinite"),
    ("rows of another width", {"candidate": [[1], [1], [0]]}, "one shape"),
    ("a list of numbers", {"baseline": [1, 1, 0], "candidate": [1, 1, 0]}, "2-dimensional"),
    ("sign 0", {"sign": 0}, "sign"),
    ("sign NaN", {"sign": NAN}, "sign"),
    ("a label missing", {"clusters": ["a"]}, "1 labels for 3 cases"),
    ("an empty label", {"clusters": ["a", "b", ""]}, "1 of 3 cluster labels are empty"),
    ("alpha a half", {"alpha": 0.5}, "alpha must lie between"),
    ("alpha NaN", {"alpha": NAN}, "alpha must lie between"),
    ("level NaN", {"level": NAN}, "level of an interval"),
    ("a metric that divides by 0", {"aggregate": lambda sums: sums[..., 0] / 0.0}, "not finite"),
    ("a metric of another shape", {"aggregate": lambda sums: sums}, "must map"),
]


@pytest.mark.parametrize("change, message", [w[1:] for w in CORPUS_WRONG], ids=[w[0] for w in CORPUS_WRONG])
def test_what_no_corpus_estimate_can_be_made_of_is_refused_in_a_sentence(
    change: dict[str, Any], message: str
) -> None:
    rows = {"baseline": [[1, 1], [1, 1], [0, 1]], "candidate": [[1, 1], [0, 1], [0, 1]]}
    with pytest.raises(ValueError, match=message):
        compare_corpus(**(rows | change))


STEPS = np.linspace(0.0, 1.0, 40)
LEGAL: list[tuple[str, Any, Any]] = [
    ("one case that stayed", [0.4], [0.4]),
    ("one case that fell", [1.0], [0.0]),
    ("one case that rose", [0.0], [1.0]),
    ("two equal cases", [0.5, 0.5], [0.5, 0.5]),
    ("two cases, one change", [0.5, 0.5], [0.5, 0.0]),
    ("two opposite changes", [0.0, 1.0], [1.0, 0.0]),
    ("nothing changed", STEPS, STEPS),
    ("constants", [0.3] * 40, [0.3] * 40),
    ("all by one amount", STEPS, STEPS - 0.1),
    ("every case broke", [1.0] * 40, [0.0] * 40),
    ("every case was mended", [0.0] * 140, [1.0] * 140),
    ("a constant baseline", [0.5] * 40, STEPS),
    ("a constant candidate", STEPS, [0.5] * 40),
    ("a baseline of zeros", [0.0] * 140, np.repeat([0.0, 1.0], [120, 20])),
    ("a candidate of zeros", np.repeat([0.0, 1.0], [120, 20]), [0.0] * 140),
    ("one change among many", [0.3] * 200, [0.3] * 199 + [0.9]),
    ("rounding alone", [0.1 + 0.2] * 40, [0.3] * 40),
    ("tiny numbers", [1e-300] * 40, 1e-300 * STEPS),
    ("subnormal numbers", [5e-324] * 40, [0.0, 5e-324] * 20),
    ("huge numbers", 1e100 * STEPS, 1e100 * STEPS[::-1]),
    ("tiny changes of large numbers", 1e9 + STEPS, 1e9 + STEPS[::-1]),
]
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("equal repeats", {}),
    ("unequal repeats", {"equal_repeats": False}),
    ("0/1 repeats 8 and 1", {"equal_repeats": False, "repeats": (8, 1)}),
    ("one cluster", {"clusters": "one"}),
    ("clusters of two", {"clusters": "pairs"}),
    ("clusters of one", {"clusters": "own"}),
    ("an early look", {"alpha": 1e-6, "level": 1 - 2e-6}),
]


@pytest.mark.parametrize("options", [s[1] for s in SETTINGS], ids=[s[0] for s in SETTINGS])
@pytest.mark.parametrize("left, right", [case[1:] for case in LEGAL], ids=[case[0] for case in LEGAL])
def test_degenerate_data_gives_a_whole_estimate(left: Any, right: Any, options: dict[str, Any]) -> None:
    chosen = dict(options)
    if "clusters" in chosen:
        size = {"one": len(left), "pairs": 2, "own": 1}[chosen["clusters"]]
        chosen["clusters"] = [f"doc{i // size}" for i in range(len(left))]
    both = np.concatenate((np.asarray(left, float), np.asarray(right, float)))
    if "repeats" in chosen and (both.min() < 0 or both.max() > 1):
        with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
            compare(left, right, **chosen)
        return
    got = compare(left, right, **chosen)
    assert_whole(got, chosen.get("alpha", 0.05))
    if got.discordance == 0:
        assert (got.delta, got.p_drop, got.p_gain) == (0.0, 1.0, 1.0)
        assert got.no_pass_reason is not None
    if chosen.get("clusters") and len(set(chosen["clusters"])) < 8:
        assert "; at least 8" in (got.no_pass_reason or "") or got.n_units == got.n
    if np.isin(both, (0.0, 1.0)).all() and "repeats" not in chosen:
        assert_whole(compare(left, right, **chosen, binary=True))


@pytest.mark.parametrize("left, right", [case[1:] for case in LEGAL], ids=[case[0] for case in LEGAL])
@pytest.mark.parametrize("clusters", [None, "one", "pairs"])
@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_degenerate_statistics_give_a_whole_corpus_estimate(
    left: Any, right: Any, clusters: str | None, alpha: float
) -> None:
    rows = [np.column_stack((np.asarray(side, float), np.ones(len(side)))) for side in (left, right)]
    size = {"one": len(left), "pairs": 2}.get(clusters or "", 1)
    labels = None if clusters is None else [f"doc{i // size}" for i in range(len(left))]
    got = compare_corpus(*rows, clusters=labels, alpha=alpha)
    assert_whole(got, alpha)
    if alpha < 0.001:
        assert got.no_pass_reason is not None


def test_a_clean_binary_run_says_what_it_may() -> None:
    clean = compare([1.0] * 133, [1.0] * 133, binary=True)
    assert (clean.p_drop, clean.p_gain, clean.no_pass_reason) == (1.0, 1.0, None)
    assert -0.02 < clean.lower < 0 == clean.delta


numbers = st.floats(-1e100, 1e100, allow_subnormal=True) | st.sampled_from(
    [0.0, 1.0, 0.5, -1.0, 5e-324, 1e-200]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=120),
    st.sampled_from(["equal", "unequal", "clusters", "corpus"]),
    st.sampled_from([0.3, 0.05, 1e-3, 1e-6]),
)
def test_any_finite_numbers_give_a_whole_estimate(
    pairs: list[tuple[float, float]], kind: str, alpha: float
) -> None:
    left, right = np.array(pairs).T
    if kind == "corpus":
        rows = [np.column_stack((side / 1e100, np.ones(side.size))) for side in (left, right)]
        got = compare_corpus(*rows, alpha=alpha)
    else:
        labels = [str(i % 9) for i in range(left.size)] if kind == "clusters" else None
        got = compare(left, right, equal_repeats=kind != "unequal", clusters=labels, alpha=alpha)
    fields = [v for v in dataclasses.asdict(got).values() if isinstance(v, float)]
    assert all(math.isfinite(v) for v in (*fields, got.interval.low, got.interval.high))
    assert 0 < got.p_drop <= 1
    assert 0 < got.p_gain <= 1
