"""Simulated comparisons for the calibration grid: one function a metric type, the same signature for all.

`model(n, discordance, dropped, rng)` draws one comparison of n cases and gives its estimate. `discordance` is the share
of cases whose answer changes for no reason; `dropped` says whether the candidate also lost the margin. The true
differences are 0 and `-margin_of(model, ...)`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.paired import paired_cases, paired_corpus

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Rng = np.random.Generator
Model = Callable[[int, float, bool, Rng], PairedEstimate]

ALPHA = 0.05
MARGIN = 0.02
SIZES = (50, 200, 500, 1000)
DISCORDANCES = (0.02, 0.05, 0.1, 0.2)
ACCURACY = 0.8


def compare(
    left: Array,
    right: Array,
    rng: Rng,
    *,
    binary: bool = False,
    repeats: tuple[int, int] = (1, 1),
    clusters: list[str] | None = None,
) -> PairedEstimate:
    return paired_cases(
        left,
        right,
        binary=binary,
        equal_repeats=repeats[0] == repeats[1],
        repeats=None if repeats[0] == repeats[1] else repeats,
        clusters=clusters,
        alpha=ALPHA,
        rng=rng,
    )


@cache
def _binary_estimate(regressed: int, fixed: int, same: int) -> PairedEstimate:
    counts = [regressed, fixed, same]
    left, right = np.repeat([1.0, 0.0, 1.0], counts), np.repeat([0.0, 1.0, 1.0], counts)
    return compare(left, right, np.random.default_rng(0), binary=True)


def binary(n: int, discordance: float, dropped: bool, rng: Rng) -> PairedEstimate:
    """0/1 cases, one repeat; the counts decide, so each distinct outcome is judged once."""
    drop = MARGIN if dropped else 0.0
    counts = rng.multinomial(n, [discordance / 2 + drop, discordance / 2, 1 - discordance - drop])
    return _binary_estimate(*counts.tolist())


def bounded(n: int, discordance: float, dropped: bool, rng: Rng) -> PairedEstimate:
    """Judge-like scores in twentieths. A share moves either way by a skewed step; the drop is a few losing 0.45."""
    step = np.round(20 * rng.beta(2, 3, n) * rng.choice([-0.3, 0.3], n)) / 20
    moved = np.where(rng.random(n) < discordance, step, 0.0)
    if dropped:
        moved = np.where(rng.random(n) < MARGIN / 0.45, -rng.integers(5, 14, n) / 20, moved)  # 0.25 … 0.65
    return compare(np.full(n, 0.65), 0.65 + moved, rng)


FLAKY = {"even": (1.0, 1.0), "easy": (4.0, 1.0), "hard": (1.0, 4.0)}
"""Chances of a flaky case to be right: Beta(a, b)."""


@cache
def repeated_cells(kind: str, discordance: float, repeats: tuple[int, int], dropped: bool) -> Array:
    """Chances of (baseline successes, candidate successes) of one case, shape (K_b + 1, K_c + 1).

    A share of the cases is flaky, so large that two single answers differ in a share `discordance` of all cases; 80% of
    the others are right. A dropped candidate loses each of its successes with one chance, 2 points in all.
    """
    a, b = FLAKY[kind]
    chance = special.betaincinv(a, b, (np.arange(400) + 0.5) / 400)
    flaky = discordance / float(np.mean(2 * chance * (1 - chance)))
    sides = [
        np.array([special.binom(k, i) * chance**i * (1 - chance) ** (k - i) for i in range(k + 1)])
        for k in repeats
    ]
    cells = flaky * (sides[0] @ sides[1].T) / 400
    cells[0, 0] += (1 - flaky) * (1 - ACCURACY)
    cells[-1, -1] += (1 - flaky) * ACCURACY
    if dropped:
        successes = np.arange(repeats[1] + 1)
        lost = MARGIN / float(cells.sum(axis=0) @ successes / repeats[1])
        kept = np.array(
            [
                special.binom(j, successes)
                * (1 - lost) ** successes
                * lost ** np.maximum(j - successes, 0)
                * (successes <= j)
                for j in successes
            ]
        )
        cells = cells @ kept
    return np.asarray(cells / cells.sum())


def repeated(kind: str, repeats: tuple[int, int]) -> Model:
    """Averages of repeated 0/1 answers."""

    def model(n: int, discordance: float, dropped: bool, rng: Rng) -> PairedEstimate:
        cells = repeated_cells(kind, discordance, repeats, dropped)
        counts = rng.multinomial(n, cells.ravel())
        first, second = np.divmod(np.repeat(np.arange(cells.size), counts), repeats[1] + 1)
        return compare(first / repeats[0], second / repeats[1], rng, repeats=repeats)

    return model


def clustered(n: int, discordance: float, dropped: bool, rng: Rng) -> PairedEstimate:
    """0/1 cases, five to a cluster on average; a cluster that is hit moves 40% of its cases one and the same way."""
    groups = n // 5
    hit = 0.4
    codes = np.sort(rng.integers(0, groups, n))
    way = rng.choice([-1.0, 1.0], groups) * (rng.random(groups) < discordance / hit)
    moved = np.where(rng.random(n) < hit, way[codes], 0.0)
    if dropped:
        moved = np.where((moved == 0) & (rng.random(n) < MARGIN / (1 - discordance)), -1.0, moved)
    left = np.where(moved < 0, 1.0, 0.0)
    return compare(left, left + moved, rng, binary=True, clusters=[f"doc{code}" for code in codes])


CLASS_SHARES = np.array([0.3, 0.2, 0.15, 0.12, 0.1, 0.07, 0.04, 0.02])
CLASSES = CLASS_SHARES.size


def macro_f1(sums: Array) -> Array:
    tp, fp, fn = sums[..., :CLASSES], sums[..., CLASSES : 2 * CLASSES], sums[..., 2 * CLASSES :]
    whole = 2 * tp + fp + fn
    return np.asarray(np.where(whole > 0, 2 * tp / np.where(whole > 0, whole, 1), 0.0).mean(axis=-1))


def class_rows(gold: Labels, predicted: Labels) -> Array:
    rows = np.zeros((gold.size, 3 * CLASSES))
    index, right = np.arange(gold.size), gold == predicted
    rows[index[right], gold[right]] = 1
    rows[index[~right], CLASSES + predicted[~right]] = 1
    rows[index[~right], 2 * CLASSES + gold[~right]] = 1
    return rows


@cache
def class_cells(discordance: float, broken: float) -> Array:
    """Chances of (gold, before, after): 80% right or guessing, a share drawn anew, a share `broken` guessing."""
    guess = np.full((CLASSES, CLASSES), 1 / CLASSES)
    predicted = ACCURACY * np.eye(CLASSES) + (1 - ACCURACY) * guess
    changes = 1 - float(CLASS_SHARES @ (predicted**2).sum(axis=1))  # of the cases drawn anew
    share = discordance / changes
    after = share * predicted[:, None, :] + (1 - share) * np.eye(CLASSES)[None, :, :]
    after = (1 - broken) * after + broken / CLASSES
    return np.asarray(CLASS_SHARES[:, None, None] * predicted[:, :, None] * after)


def macro_f1_drop(discordance: float, broken: float) -> float:
    """The true drop of macro-F1."""
    gold, before, after = (a.ravel() for a in np.indices((CLASSES,) * 3))
    cells = class_cells(discordance, broken).ravel()
    values = macro_f1(np.stack([cells @ class_rows(gold, side) for side in (before, after)]))
    return float(values[0] - values[1])


@cache
def broken_share(discordance: float) -> float:
    """The share of broken answers that costs two points of macro-F1."""
    low, high = 0.0, 0.2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if macro_f1_drop(discordance, middle) < MARGIN else (low, middle)
    return high


def corpus_macro(n: int, discordance: float, dropped: bool, rng: Rng) -> PairedEstimate:
    """Macro-F1 over eight unequal classes; the rarest has 2% of the cases."""
    cells = class_cells(discordance, broken_share(discordance) if dropped else 0.0)
    drawn = np.repeat(np.arange(cells.size), rng.multinomial(n, cells.ravel()))
    gold, before, after = np.unravel_index(drawn, cells.shape)
    rows = class_rows(gold, before), class_rows(gold, after)
    return paired_corpus(*rows, macro_f1, sign=1, clusters=None, alpha=ALPHA, rng=rng)


def micro_f1(sums: Array) -> Array:
    whole = 2 * sums[..., 0] + sums[..., 1] + sums[..., 2]
    return np.asarray(np.where(whole > 0, 2 * sums[..., 0] / np.where(whole > 0, whole, 1), 0.0))


FIELDS = 3
MICRO_RIGHT = 2 * ACCURACY / (2 * ACCURACY + 2 * (1 - ACCURACY))  # a wrong field is one false and one missed


def corpus_micro(n: int, discordance: float, dropped: bool, rng: Rng) -> PairedEstimate:
    """Micro-F1 over three extracted fields a case; the fields of a case change together."""
    right = rng.random((n, FIELDS)) < ACCURACY
    anew = discordance / (1 - (ACCURACY**2 + (1 - ACCURACY) ** 2) ** FIELDS)
    after = np.where((rng.random(n) < anew)[:, None], rng.random((n, FIELDS)) < ACCURACY, right)
    if dropped:
        after &= rng.random((n, FIELDS)) >= MARGIN / MICRO_RIGHT
    sides = []
    for answers in (right, after):
        hits = answers.sum(axis=1).astype(float)
        sides.append(np.column_stack((hits, FIELDS - hits, FIELDS - hits)))
    return paired_corpus(*sides, micro_f1, sign=1, clusters=None, alpha=ALPHA, rng=rng)


MODELS: dict[str, Model] = {
    "binary": binary,
    "bounded": bounded,
    "repeated, 4 and 4": repeated("even", (4, 4)),
    "repeated, 8 and 1": repeated("hard", (8, 1)),
    "clustered": clustered,
    "macro-F1": corpus_macro,
    "micro-F1": corpus_micro,
}
