"""How much answers vary: against textbook estimators, enumeration and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evalharness.stats.flakiness import false_drop_rate, spread

SEED = 7


def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


def full(values: np.ndarray) -> np.ndarray:
    return np.ones(values.shape, dtype=bool)


def enumerated(values: np.ndarray, first: int, margin: float, labels: list[int]) -> float:
    """The chance of a drop of the margin, over every way to deal the answers of every unit."""
    answers = values.shape[1]
    hits = total = 0
    units = sorted(set(labels))
    ways = list(itertools.combinations(range(answers), first))
    for chosen in itertools.product(ways, repeat=len(units)):
        delta = 0.0
        for row, label in zip(values, labels, strict=True):
            left = list(chosen[units.index(label)])
            right = [j for j in range(answers) if j not in left]
            delta += row[right].mean() - row[left].mean()
        hits += delta / len(values) <= -margin + 1e-9
        total += 1
    return hits / total


def test_equal_numbers_of_answers_give_the_analysis_of_variance() -> None:
    values = rng().normal(size=(40, 1)) + 0.5 * rng().normal(size=(40, 3))
    found = spread(values, full(values))
    within = float(values.var(axis=1, ddof=1).mean())
    f = stats.f_oneway(*values).statistic
    assert found.within_cases == pytest.approx(within)
    assert found.between_cases == pytest.approx(within * (f - 1) / 3)
    assert found.cases == 40


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(2, 9)), min_size=2, max_size=30))
def test_of_pass_fail_answers_the_flips_are_twice_the_variance_within(rows: list[tuple[int, int]]) -> None:
    values = np.zeros((len(rows), 9))
    answered = np.zeros((len(rows), 9), dtype=bool)
    expected = []
    for i, (passed, held) in enumerate(rows):
        passed = min(passed, held)
        values[i, :passed] = 1.0
        answered[i, :held] = True
        expected.append(2 * passed * (held - passed) / (held * (held - 1)))
    found = spread(values, answered)
    assert found.flips == pytest.approx(np.mean(expected))
    assert found.within_cases == pytest.approx(found.flips / 2)
    assert found.between_cases >= 0


def test_estimates_are_right_on_average_with_unequal_answers_and_unequal_cases() -> None:
    source = rng()
    rates = np.array([0.05, 0.3, 0.5, 0.9, 1.0, 0.0, 0.7, 0.95])
    answered = np.array([[j < k for j in range(6)] for k in (2, 3, 6, 2, 4, 5, 2, 3)])
    draws = 5_000
    within, between, flips = np.zeros(draws), np.zeros(draws), np.zeros(draws)
    for i in range(draws):
        values = (source.random(answered.shape) < rates[:, None]).astype(float)
        found = spread(values, answered)
        within[i], flips[i] = found.within_cases, found.flips
        between[i] = found.between_cases
    true = rates * (1 - rates)
    for drawn, expected in ((within, true.mean()), (flips, 2 * true.mean()), (between, rates.var(ddof=1))):
        assert abs(drawn.mean() - expected) < 4 * drawn.std() / draws**0.5


def test_cases_with_one_answer_or_none_are_not_counted_whatever_stands_in_their_cells() -> None:
    values = np.array([[1.0, 0.0], [1.0, 1.0], [np.nan, 1.0], [np.nan, np.inf]])
    answered = np.array([[True, True], [True, True], [False, True], [False, False]])
    assert spread(values, answered) == spread(values[:2], answered[:2])
    arguments = {"first": 1, "margin": 0.02, "clusters": None}
    with_missing = false_drop_rate(values, answered, rng=rng(), **arguments)  # type: ignore[arg-type]
    assert with_missing == false_drop_rate(values[:2], answered[:2], rng=rng(), **arguments)  # type: ignore[arg-type]


def test_answers_that_differ_by_rounding_only_do_not_vary() -> None:
    values = np.array([[0.1 + 0.2, 0.3], [0.7, 0.7]])
    found = spread(values, full(values))
    assert (found.within_cases, found.flips) == (0.0, 0.0)
    assert false_drop_rate(values, full(values), first=1, margin=0.02, clusters=None, rng=rng()) == 0.0


@pytest.mark.parametrize("differing", [0, 1, 2, 7, 40, 100])
@pytest.mark.parametrize("margin", [0.01, 0.02, 0.1])
def test_the_chance_of_a_false_drop_is_binomial_where_each_side_answered_once(
    differing: int, margin: float
) -> None:
    n = 100
    values = np.zeros((n, 2))
    values[:differing, 0] = 1.0
    values[differing : differing + 10] = 1.0
    values = values[:n]
    differing = int((values[:, 0] != values[:, 1]).sum())
    found = false_drop_rate(values, full(values), first=1, margin=margin, clusters=None, rng=rng())
    fallen = np.arange(differing + 1)
    weights = stats.binom.pmf(fallen, differing, 0.5)
    dropped = (2 * fallen - differing) / n >= margin - 1e-9
    assert found == pytest.approx(float(weights[dropped].sum()), abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "first", "labels"),
    [
        ((6, 3), 1, None),
        ((5, 4), 3, None),
        ((7, 2), 1, [0, 0, 1, 1, 2, 3, 3]),
        ((6, 4), 2, [0, 0, 0, 1, 2, 2]),
    ],
)
@pytest.mark.parametrize("kind", ["passes", "scores"])
def test_other_deals_agree_with_every_deal_counted(
    shape: tuple[int, int], first: int, labels: list[int] | None, kind: str
) -> None:
    source = rng()
    values = source.random(shape) if kind == "scores" else source.integers(0, 2, shape).astype(float)
    units = labels or list(range(shape[0]))
    clusters = None if labels is None else [f"document {label}" for label in labels]
    for margin in (0.02, 0.1, 0.3):
        expected = enumerated(values, first, margin, units)
        found = false_drop_rate(
            values, full(values), first=first, margin=margin, clusters=clusters, rng=rng()
        )
        assert abs(found - expected) < 4 * (max(expected * (1 - expected), 1e-4) / 10_000) ** 0.5


def test_many_repeats_are_dealt_evenly() -> None:
    values = (rng().random((300, 16)) < 0.8).astype(float)
    found = false_drop_rate(values, full(values), first=8, margin=0.01, clusters=None, rng=rng())
    error = (values.var(axis=1, ddof=1).mean() * (1 / 8 + 1 / 8) / 300) ** 0.5
    fewest = (np.ceil(0.01 * 300 * 8) - 0.5) / (300 * 8)  # the drop moves in steps of one answer
    assert found == pytest.approx(stats.norm.cdf(-fewest / error), abs=0.02)


def test_the_chance_averages_to_how_often_such_comparisons_drop() -> None:
    source = rng()
    rates = np.where(np.arange(120) % 4 == 0, 0.5, 1.0)
    told, seen = [], []
    for _ in range(3_000):
        values = (source.random((120, 2)) < rates[:, None]).astype(float)
        told.append(false_drop_rate(values, full(values), first=1, margin=0.05, clusters=None, rng=source))
        seen.append(values[:, 1].mean() - values[:, 0].mean() <= -0.05 + 1e-9)
    assert abs(np.mean(told) - np.mean(seen)) < 4 * np.std(seen) / 3_000**0.5


def test_a_case_that_lacks_answers_keeps_its_place() -> None:
    values = (rng().random((60, 4)) < 0.5).astype(float)
    answered = full(values)
    answered[:3, 2:] = False
    with_gaps = false_drop_rate(values, answered, first=2, margin=0.05, clusters=None, rng=rng())
    assert (
        abs(with_gaps - false_drop_rate(values, full(values), first=2, margin=0.05, clusters=None, rng=rng()))
        < 0.05
    )


def test_clusters_of_one_case_are_no_clusters() -> None:
    values = rng().integers(0, 2, (80, 2)).astype(float)
    labels = [f"case {i}" for i in range(80)]
    arguments = {"first": 1, "margin": 0.05}
    alone = false_drop_rate(values, full(values), clusters=None, rng=rng(), **arguments)  # type: ignore[arg-type]
    assert false_drop_rate(values, full(values), clusters=labels, rng=rng(), **arguments) == alone  # type: ignore[arg-type]


def test_a_large_suite_takes_a_moment() -> None:
    values = rng().random((20_000, 3))
    found = false_drop_rate(values, full(values), first=2, margin=0.001, clusters=None, rng=rng())
    assert 0.2 < found < 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.array([[1.0, np.nan], [0.0, 1.0]])}, "finite"),
        ({"values": np.zeros((2, 3))}, "one shape"),
        ({"first": 0}, "each side needs one"),
        ({"first": 2}, "each side needs one"),
        ({"margin": 0.0}, "above 0"),
        ({"margin": float("nan")}, "above 0"),
        ({"clusters": ["a"]}, "one label per case"),
        ({"answered": np.zeros((2, 2), dtype=bool)}, "no case has two answers"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {
        "values": np.eye(2), "answered": np.ones((2, 2), dtype=bool), "first": 1, "margin": 0.02, "clusters": None,
    }  # fmt: skip
    given = good | change
    values, answered = given.pop("values"), given.pop("answered")
    with pytest.raises(ValueError, match=message):
        false_drop_rate(values, answered, rng=rng(), **given)  # type: ignore[arg-type]


def test_one_case_says_nothing_of_the_variance_between_cases() -> None:
    with pytest.raises(ValueError, match="fewer than two cases"):
        spread(np.array([[0.0, 1.0]]), np.ones((1, 2), dtype=bool))
