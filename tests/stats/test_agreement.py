"""Agreement coefficients: statsmodels, scikit-learn and published tables as oracles; properties; what is undefined."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evalharness.stats.agreement import (
    Agreement,
    Ratings,
    Undefined,
    Weights,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    raw_agreement,
)
from evalharness.stats.ratings import Scale

Codes = NDArray[np.int64]
ABSENT = -1


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def ratings(table: Codes, scale: Scale = "nominal") -> Ratings:
    """A table of shape (items, raters); ABSENT where there is no rating."""
    return Ratings.of(
        [
            (f"i{i:04}", f"r{j}", int(value))
            for i, row in enumerate(table)
            for j, value in enumerate(row)
            if value != ABSENT
        ],
        scale=scale,
    )


def value(result: Agreement | Undefined) -> float:
    assert isinstance(result, Agreement), result
    return result.value


def drawn(items: int, raters: int, values: int, seed: int, right: float = 0.7) -> Codes:
    """Raters who see the truth with probability `right`, and guess otherwise."""
    source = rng(seed)
    truth = source.integers(0, values, (items, 1))
    return np.where(
        source.random((items, raters)) < right, truth, source.integers(0, values, (items, raters))
    )


# Krippendorff 2011, section on missing data: 4 observers, 12 units, 41 values.
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, -1, -1, -1],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, -1, 3],
        [-1, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, -1],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, -1],
    ]
).T
# Two abstractors, 100 records: the table `cont3x3abstractors` of the R package irrCAC (Gwet).
ABSTRACTORS = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])


def from_counts(counts: Codes) -> Codes:
    return np.array(
        [(i, j) for i in range(len(counts)) for j in range(len(counts)) for _ in range(counts[i, j])]
    )


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_own_example(scale: Scale, alpha: float) -> None:
    result = krippendorff_alpha(ratings(KRIPPENDORFF, scale), rng=rng())
    assert value(result) == pytest.approx(alpha, abs=5e-4)
    assert isinstance(result, Agreement)
    # The unit with a single value is not in it.
    assert (result.n_items, result.n_raters, result.n_ratings) == (11, 4, 40)


def test_ac1_of_krippendorffs_example_as_gwets_package_has_it() -> None:
    assert value(gwet_ac1(ratings(KRIPPENDORFF), rng=rng())) == pytest.approx(0.77544, abs=5e-6)


def test_the_abstractors_as_gwets_package_has_them() -> None:
    table = ratings(from_counts(ABSTRACTORS))
    assert value(cohen_kappa(table, "r0", "r1", rng=rng())) == pytest.approx(0.7964094, abs=5e-8)
    assert value(gwet_ac1(table, rng=rng())) == pytest.approx(0.8493305, abs=5e-8)
    assert value(krippendorff_alpha(table, rng=rng())) == pytest.approx(0.7972585, abs=5e-8)
    assert value(raw_agreement(table, rng=rng())) == pytest.approx(0.89)


@pytest.mark.parametrize("weights", ["unweighted", "linear", "quadratic"])
@pytest.mark.parametrize("seed", range(5))
def test_cohen_is_that_of_scikit_learn_and_statsmodels(weights: Weights, seed: int) -> None:
    from sklearn.metrics import cohen_kappa_score
    from statsmodels.stats.inter_rater import cohens_kappa

    codes = drawn(80, 2, 5, seed)
    mine = value(cohen_kappa(ratings(codes, "interval"), "r0", "r1", weights=weights, rng=rng()))
    plain = weights == "unweighted"
    assert mine == pytest.approx(cohen_kappa_score(*codes.T, weights=None if plain else weights))
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(codes.T), 1)
    theirs: dict[str, Any] = {} if plain else {"wt": {"linear": "linear", "quadratic": "quadratic"}[weights]}
    assert mine == pytest.approx(float(cohens_kappa(counts, **theirs, return_results=False)))


@pytest.mark.parametrize("seed", range(5))
def test_fleiss_is_that_of_statsmodels(seed: int) -> None:
    from statsmodels.stats.inter_rater import aggregate_raters
    from statsmodels.stats.inter_rater import fleiss_kappa as theirs

    codes = drawn(60, 4, 3, seed)
    assert value(fleiss_kappa(ratings(codes), rng=rng())) == pytest.approx(
        float(theirs(aggregate_raters(codes)[0]))
    )


def by_matrix(codes: Codes, scale: Scale) -> float:
    """Alpha as it is defined, through the coincidence matrix."""
    levels = np.unique(codes[codes != ABSENT])
    o = np.zeros((levels.size, levels.size))
    for row in codes:
        given = np.searchsorted(levels, row[row != ABSENT])
        for a in range(given.size):
            for b in range(given.size):
                if a != b:
                    o[given[a], given[b]] += 1 / (given.size - 1)
    n = o.sum(axis=1)
    distance = np.zeros_like(o)
    for c in range(levels.size):
        for k in range(levels.size):
            low, high = min(c, k), max(c, k)
            distance[c, k] = {
                "nominal": float(c != k),
                "ordinal": (n[low : high + 1].sum() - (n[c] + n[k]) / 2) ** 2,
                "interval": float(levels[c] - levels[k]) ** 2,
            }[scale]
    return float(1 - (n.sum() - 1) * (o * distance).sum() / (np.outer(n, n) * distance).sum())


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_the_coincidence_matrix(scale: Scale, seed: int) -> None:
    codes = drawn(40, 4, 6, seed)
    codes[rng(seed).random(codes.shape) < 0.3] = ABSENT
    codes[codes == 5] = 9  # a gap in the numbers
    assert value(krippendorff_alpha(ratings(codes, scale), rng=rng())) == pytest.approx(
        by_matrix(codes, scale)
    )


def test_ac1_and_raw_agreement_by_hand() -> None:
    # Items pp, pp, pf and a lone p: p_a = 2/3; π_p = (1 + 1 + 1/2 + 1)/4 = 7/8; p_e = 2 · 7/8 · 1/8 = 7/32.
    table = ratings(np.array([[1, 1], [1, 1], [1, 0], [1, ABSENT]]))
    raw, ac1 = raw_agreement(table, rng=rng()), gwet_ac1(table, rng=rng())
    assert value(raw) == pytest.approx(2 / 3)
    assert value(ac1) == pytest.approx((2 / 3 - 7 / 32) / (1 - 7 / 32))
    assert isinstance(raw, Agreement) and isinstance(ac1, Agreement)
    assert ((raw.n_items, raw.n_ratings), (ac1.n_items, ac1.n_ratings)) == ((3, 6), (4, 7))


# --- properties ----------------------------------------------------------------------------------------------------

Coefficient = Callable[[Ratings], "Agreement | Undefined"]
ANY: dict[str, Coefficient] = {
    "raw": lambda r: raw_agreement(r, rng=rng()),
    "fleiss": lambda r: fleiss_kappa(r, rng=rng()),
    "alpha": lambda r: krippendorff_alpha(r, rng=rng()),
    "ac1": lambda r: gwet_ac1(r, rng=rng()),
}


def outcome(result: Agreement | Undefined) -> float | None:
    return None if isinstance(result, Undefined) else pytest.approx(result.value, abs=1e-9)


@st.composite
def tables(draw: st.DrawFn, gaps: bool = True) -> Codes:
    raters, items = draw(st.integers(2, 4)), draw(st.integers(1, 12))
    given = st.integers(ABSENT if gaps else 0, 3)
    table = np.array(
        draw(st.lists(st.lists(given, min_size=raters, max_size=raters), min_size=items, max_size=items))
    )
    table[0] = np.maximum(table[0], 0)  # at least two raters
    return table


@pytest.mark.parametrize("name", ANY)
@given(table=tables(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_raters_items_and_labels_may_be_exchanged(name: str, table: Codes, data: st.DataObject) -> None:
    coefficient = ANY[name]
    plain = coefficient(ratings(table))
    raters = data.draw(st.permutations(range(table.shape[1])))
    items = data.draw(st.permutations(range(table.shape[0])))
    # Who gave a rating and in which order items came moves nothing, the interval included.
    assert coefficient(ratings(table[:, raters][items])) == plain
    names = np.array([*data.draw(st.permutations(range(4))), ABSENT])
    renamed = coefficient(ratings(names[table]))
    assert outcome(renamed) == (None if isinstance(plain, Undefined) else plain.value)


@given(table=tables(gaps=False))
@settings(max_examples=40, deadline=None)
def test_cohen_is_the_same_both_ways_round(table: Codes) -> None:
    for weights in ("unweighted", "linear", "quadratic"):
        r = ratings(table, "ordinal")
        there = cohen_kappa(r, "r0", "r1", weights=weights, rng=rng())
        back = cohen_kappa(r, "r1", "r0", weights=weights, rng=rng())
        assert outcome(there) == (None if isinstance(back, Undefined) else back.value)


@given(table=tables(), scale=st.floats(0.01, 1e6), shift=st.floats(-1e3, 1e3))
@settings(max_examples=60, deadline=None)
def test_interval_alpha_does_not_know_the_unit_and_the_zero(table: Codes, scale: float, shift: float) -> None:
    def alpha(move: Callable[[float], float]) -> Agreement | Undefined:
        given = [
            (f"i{i}", f"r{j}", move(float(v)))
            for i, row in enumerate(table)
            for j, v in enumerate(row)
            if v != ABSENT
        ]
        return krippendorff_alpha(Ratings.of(given, scale="interval"), rng=rng())

    plain, moved = alpha(lambda x: x), alpha(lambda x: scale * x + shift * scale)
    assert isinstance(plain, Undefined) == isinstance(moved, Undefined)
    if isinstance(plain, Agreement) and isinstance(moved, Agreement):
        assert moved.value == pytest.approx(plain.value, abs=1e-6)


@given(table=tables(), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_ordinal_alpha_knows_the_order_only(table: Codes, seed: int) -> None:
    steps = np.append(np.sort(rng(seed).choice(1000, 4, replace=False)), ABSENT)
    plain = krippendorff_alpha(ratings(table, "ordinal"), rng=rng())
    stretched = krippendorff_alpha(ratings(steps[table], "ordinal"), rng=rng())
    assert stretched == plain or (isinstance(plain, Undefined) and isinstance(stretched, Undefined))


@given(table=tables())
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_its_value_and_stays_in_range(table: Codes) -> None:
    for scale in ("nominal", "ordinal", "interval"):
        for name, coefficient in ANY.items():
            found = coefficient(ratings(table, scale))
            if isinstance(found, Agreement):
                assert (0 if name == "raw" else -1) <= found.low <= found.value + 1e-12
                assert found.value - 1e-12 <= found.high <= 1
            else:
                assert len(found.reason.split()) > 5


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_perfect_agreement_is_one_and_not_certain(scale: Scale) -> None:
    table = ratings(np.repeat(rng(3).integers(0, 4, (40, 1)), 3, axis=1), scale)
    found = [coefficient(table) for coefficient in ANY.values()]
    found.append(cohen_kappa(table, "r0", "r2", rng=rng()))
    for result in found:
        assert isinstance(result, Agreement)
        assert result.value == result.high == 1
        assert 0.3 < result.low < 0.95
    # Nothing disagreed in 40 items: Clopper and Pearson's bound for the share that does.
    assert isinstance(found[0], Agreement)
    assert found[0].low == pytest.approx(0.025 ** (1 / 40))


def test_more_items_give_a_shorter_interval_and_a_higher_level_a_longer_one() -> None:
    def width(items: int, level: float) -> float:
        found = krippendorff_alpha(ratings(drawn(items, 3, 3, 1)), level=level, rng=rng())
        assert isinstance(found, Agreement)
        assert found.level == level
        return found.high - found.low

    assert width(800, 0.95) < 0.6 * width(200, 0.95) < 0.6 * width(200, 0.99)


def test_the_same_generator_state_gives_the_same_interval() -> None:
    table = ratings(drawn(50, 3, 3, 1))
    first, again, other = (krippendorff_alpha(table, rng=rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_clusters_are_the_unit() -> None:
    # Every item ten times over: the copies say nothing new.
    codes = np.repeat(drawn(40, 2, 2, 5), 10, axis=0)
    labels = [str(i // 10) for i in range(400)]
    alone, as_items, as_clusters = (
        gwet_ac1(ratings(t), rng=rng(), clusters=c)
        for t, c in ((codes[::10], None), (codes, None), (codes, labels))
    )
    assert isinstance(alone, Agreement) and isinstance(as_items, Agreement)
    assert isinstance(as_clusters, Agreement)
    width = alone.high - alone.low
    assert as_clusters.high - as_clusters.low == pytest.approx(width, rel=0.15)
    assert as_items.high - as_items.low < 0.5 * width
    with pytest.raises(ValueError, match="3 labels for 400 items"):
        gwet_ac1(ratings(codes), rng=rng(), clusters=labels[:3])


def test_a_rare_label_is_no_reason_for_a_short_interval() -> None:
    # One joint "fail" in 20: a third of the resamples draw no fail at all, and kappa is undefined there.
    codes = np.zeros((20, 2), dtype=np.int64)
    codes[0] = 1
    codes[1, 0] = 1
    found = cohen_kappa(ratings(codes), "r0", "r1", rng=rng())
    assert isinstance(found, Agreement)
    assert (found.low, found.high) == (-1, 1)


# --- undefined and refused -----------------------------------------------------------------------------------------


def test_one_value_only_is_undefined_but_for_raw_agreement() -> None:
    table = ratings(np.ones((10, 3), dtype=np.int64))
    assert value(raw_agreement(table, rng=rng())) == 1
    for result in (
        fleiss_kappa(table, rng=rng()),
        krippendorff_alpha(table, rng=rng()),
        gwet_ac1(table, rng=rng()),
        cohen_kappa(table, "r0", "r1", rng=rng()),
    ):
        assert isinstance(result, Undefined)
        assert "every rating is 1" in result.reason


def test_no_item_rated_twice_is_undefined() -> None:
    table = ratings(np.array([[1, ABSENT], [ABSENT, 2]]))
    for coefficient in ANY.values():
        assert coefficient(table) == Undefined("no item has two ratings, so there is nothing to compare")
    assert cohen_kappa(table, "r0", "r1", rng=rng()) == Undefined("'r0' and 'r1' rated no item in common")


def test_fleiss_with_gaps_is_undefined_and_says_what_to_use() -> None:
    result = fleiss_kappa(ratings(KRIPPENDORFF), rng=rng())
    assert isinstance(result, Undefined)
    assert "1 to 4 ratings" in result.reason and "alpha" in result.reason


def test_one_item_says_nothing_about_others() -> None:
    found = krippendorff_alpha(ratings(np.array([[0, 1]])), rng=rng())
    assert isinstance(found, Agreement)
    assert (found.low, found.high, found.method) == (-1, 1, "none (a single unit)")


def test_kappa_of_two_constant_raters_who_differ_is_zero() -> None:
    assert value(cohen_kappa(ratings(np.tile([0, 1], (9, 1))), "r0", "r1", rng=rng())) == 0


@pytest.mark.parametrize(
    ("triples", "scale", "message"),
    [
        ([], "nominal", "no ratings"),
        ([("a", "x", 1), ("b", "x", 2)], "nominal", "at least two raters"),
        ([("a", "x", 1), ("a", "y", 2), ("a", "x", 1)], "nominal", "'x' rated the item 'a' more than once"),
        ([("a", "x", 1), ("a", "y", "1")], "nominal", "one kind"),
        ([("a", "x", True), ("a", "y", 1)], "nominal", "one kind"),
        ([("a", "x", "good"), ("a", "y", "bad")], "ordinal", "numbers, not texts"),
        ([("a", "x", True), ("a", "y", False)], "interval", "numbers, not truth values"),
        ([("a", "x", float("nan")), ("a", "y", 1.0)], "nominal", "left out"),
        ([("a", "x", float("inf")), ("a", "y", 1.0)], "interval", "left out"),
        ([("a", "x", 10**200), ("a", "y", 1)], "interval", "beyond"),
    ],
)
def test_what_are_no_ratings_is_refused(triples: Sequence[Any], scale: Scale, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ratings.of(triples, scale=scale)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, float("nan")])
def test_a_level_outside_0_to_1_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        raw_agreement(ratings(drawn(9, 2, 2, 1)), rng=rng(), level=level)


def test_pairs_that_cannot_be_are_refused() -> None:
    table = ratings(drawn(9, 2, 2, 1))
    with pytest.raises(ValueError, match="no rater 'zoe'"):
        cohen_kappa(table, "r0", "zoe", rng=rng())
    with pytest.raises(ValueError, match="'r0' twice"):
        cohen_kappa(table, "r0", "r0", rng=rng())
    with pytest.raises(ValueError, match="nominal"):
        cohen_kappa(table, "r0", "r1", weights="linear", rng=rng())


def test_values_far_apart_and_tiny_do_not_overflow() -> None:
    for size in (1e-300, 1e100):
        codes = [(f"i{i}", f"r{j}", size * (i + j) / 12) for i in range(10) for j in range(2)]
        found = krippendorff_alpha(Ratings.of(codes, scale="interval"), rng=rng())
        assert value(found) == pytest.approx(0.947, abs=0.01)


def test_a_large_file_of_stars_takes_a_moment() -> None:
    import time

    table = ratings(drawn(20_000, 3, 5, 1), "ordinal")
    start = time.process_time()
    krippendorff_alpha(table, rng=rng())
    # Items that are alike are drawn together, so the work does not grow with the items: measured 0.1 s.
    assert time.process_time() - start < 2


def test_the_library_needs_numpy_and_scipy_special_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, evalharness.stats.agreement; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not {"scipy.stats", "scipy.optimize", "pandas", "statsmodels", "sklearn"} & set(
        done.stdout.split()
    )


# --- coverage ------------------------------------------------------------------------------------------------------


def two_raters(items: int, source: np.random.Generator) -> Codes:
    """90% of the items pass; each rater sees it right in 95%."""
    passes = source.random((items, 1)) < 0.9
    return (passes == (source.random((items, 2)) < 0.95)).astype(np.int64)


def three_raters(items: int, source: np.random.Generator) -> Codes:
    """Three labels; a rating in five was not given."""
    truth = source.choice(3, p=[0.7, 0.2, 0.1], size=(items, 1))
    seen = source.random((items, 3)) < 0.8
    codes = np.where(seen, truth, source.integers(0, 3, (items, 3)))
    codes[source.random(codes.shape) < 0.2] = ABSENT
    return codes


def stars(items: int, source: np.random.Generator) -> Codes:
    true = source.normal(3.4, 1, (items, 1))
    return np.clip(np.rint(true + source.normal(0, 0.6, (items, 2))), 1, 5).astype(np.int64)


CELLS: dict[str, tuple[Callable[[int, np.random.Generator], Codes], Scale, Coefficient]] = {
    "raw": (two_raters, "nominal", ANY["raw"]),
    "cohen": (two_raters, "nominal", lambda r: cohen_kappa(r, "r0", "r1", rng=rng())),
    "ac1": (two_raters, "nominal", ANY["ac1"]),
    "alpha with gaps": (three_raters, "nominal", ANY["alpha"]),
    "ordinal alpha": (stars, "ordinal", ANY["alpha"]),
}
SETS = 250


@pytest.mark.calibration
def test_intervals_cover_the_truth() -> None:
    """Coverage of 95% intervals from 100 items. The reference, 95.5%, is the mean in the module's table.

    All cells together may miss it by four binomial deviations, one cell alone by as many of its own.
    """
    covered: dict[str, int] = {}
    for name, (draw, scale, coefficient) in CELLS.items():
        truth = value(coefficient(ratings(draw(30_000, rng(99)), scale)))
        source = rng(7)
        found = [coefficient(ratings(draw(100, source), scale)) for _ in range(SETS)]
        covered[name] = sum(isinstance(f, Agreement) and f.low <= truth <= f.high for f in found)
    variance = 0.955 * 0.045
    together = sum(covered.values()) / (SETS * len(CELLS))
    assert together == pytest.approx(0.955, abs=4 * (variance / (SETS * len(CELLS))) ** 0.5), covered
    for name, count in covered.items():
        assert count / SETS == pytest.approx(0.955, abs=4 * (variance / SETS) ** 0.5), name
