"""Do the error rates hold? Seeded simulations of the public functions, at alpha 5% and a margin of two points.

For each metric type, on 50 to 1,000 cases of which 2 to 20% change for no reason:

- false block: `p_drop` <= alpha on a candidate that did not change the truth (the gate also asks for an observed drop
  of the margin, which makes it rarer still);
- false pass: the bound excludes the margin, and a PASS is not refused, on a candidate whose true drop is the margin;
- miss: the 95% interval of an estimate that may pass does not hold the truth, without and with the drop.

A cell's rate may exceed its reference by four binomial standard deviations of its draws. The reference is 5%, and more
only where `ABOVE` says what was measured. The mean over the 16 cells of a type is held from both sides to the measured
one (`POOLED`), so that a method that holds its level by never deciding fails as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy import special

from evalharness.core.comparisons import MetricComparison
from evalharness.core.estimates import PairedEstimate
from evalharness.gate.decide import decide
from evalharness.stats.paired import paired_cases
from tests.calibration.models import ALPHA, DISCORDANCES, MARGIN, MODELS, SIZES, clustered, repeated
from tests.gate.support import POLICY, comparison, metric

pytestmark = pytest.mark.calibration


def at_most(reference: float, draws: int) -> float:
    return reference + 4 * float(np.sqrt(reference * (1 - reference) / draws))


def at_least(reference: float, draws: int) -> float:
    return reference - 4 * float(np.sqrt(reference * (1 - reference) / draws))


class Rates(NamedTuple):
    """Shares of the simulated comparisons, each in [0, 1]."""

    false_block: float
    false_pass: float
    miss: float
    miss_after_drop: float


DRAWS: dict[str, dict[int, int]] = {
    "binary": dict.fromkeys(SIZES, 5_000),
    "bounded": dict.fromkeys(SIZES, 250),
    "repeated, 4 and 4": dict.fromkeys(SIZES, 250),
    "repeated, 8 and 1": dict.fromkeys(SIZES, 200),
    "clustered": dict.fromkeys(SIZES, 600),
    "macro-F1": {50: 150, 200: 120, 500: 80, 1000: 60},
    "micro-F1": {50: 250, 200: 200, 500: 150, 1000: 120},
}
ABOVE: dict[tuple[str, str, int], float] = {
    # Counts are coarse: the score bound steps over its level in single cells. 40,000 comparisons a cell.
    ("binary", "false_pass", 50): 0.058,
    ("binary", "miss", 200): 0.054,
    ("binary", "miss", 500): 0.054,
    ("binary", "miss_after_drop", 200): 0.061,
    # With 50 cases and eight classes the rarest has one case, and the bootstrap has too little to draw from. 1,000.
    ("macro-F1", "false_pass", 50): 0.072,
    ("macro-F1", "miss", 50): 0.071,
    ("macro-F1", "miss_after_drop", 50): 0.086,
}
POOLED: dict[str, Rates] = {
    # Means over the 16 cells of 40,000 comparisons a cell for binary, 5,000 for clustered, 400 to 2,000 for the others.
    # Below 5% because small cells of sparse changes cannot reject, and are refused a PASS.
    "binary": Rates(0.0400, 0.0473, 0.0439, 0.0473),
    "bounded": Rates(0.0422, 0.0370, 0.0338, 0.0296),
    "repeated, 4 and 4": Rates(0.0448, 0.0433, 0.0361, 0.0438),
    "repeated, 8 and 1": Rates(0.0427, 0.0408, 0.0414, 0.0423),
    "clustered": Rates(0.0377, 0.0292, 0.0228, 0.0313),
    "macro-F1": Rates(0.0427, 0.0422, 0.0319, 0.0387),
    "micro-F1": Rates(0.0381, 0.0432, 0.0242, 0.0338),
}


def may_pass(estimate: PairedEstimate) -> bool:
    return estimate.no_pass_reason is None


def missed(estimate: PairedEstimate, truth: float) -> bool:
    low, high = estimate.interval.low, estimate.interval.high
    return may_pass(estimate) and not low - 1e-12 <= truth <= high + 1e-12


@cache
def cell(kind: str, n: int, discordance: float) -> Rates:
    """The rates of one cell; its comparisons serve every measure."""
    model, draws = MODELS[kind], DRAWS[kind][n]
    rng = np.random.default_rng([n, round(1000 * discordance), len(kind)])
    same = [model(n, discordance, False, rng) for _ in range(draws)]
    dropped = [model(n, discordance, True, rng) for _ in range(draws)]
    return Rates(
        false_block=float(np.mean([e.p_drop <= ALPHA for e in same])),
        false_pass=float(np.mean([may_pass(e) and e.lower > -MARGIN for e in dropped])),
        miss=float(np.mean([missed(e, 0.0) for e in same])),
        miss_after_drop=float(np.mean([missed(e, -MARGIN) for e in dropped])),
    )


@pytest.mark.parametrize("discordance", DISCORDANCES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", MODELS)
def test_every_cell_holds_its_level(kind: str, n: int, discordance: float) -> None:
    rates, draws = cell(kind, n, discordance), DRAWS[kind][n]
    for name, rate in rates._asdict().items():
        assert rate <= at_most(ABOVE.get((kind, name, n), 0.05), draws), name


@pytest.mark.parametrize("kind", MODELS)
def test_the_mean_over_the_cells_is_the_measured_one(kind: str) -> None:
    found = np.mean([cell(kind, n, d) for n in SIZES for d in DISCORDANCES], axis=0)
    # The mean of 16 rates varies like one rate of so many draws.
    draws = round(16 / float(np.mean([1 / DRAWS[kind][n] for n in SIZES])))
    for name, rate in zip(Rates._fields, found.tolist(), strict=True):
        reference = getattr(POOLED[kind], name)
        assert at_least(reference, draws) <= rate <= at_most(reference, draws), name


@pytest.mark.parametrize("kind", ["easy", "hard"])
@pytest.mark.parametrize("repeats", [(8, 1), (2, 8)])
def test_unequal_repeats_hold_their_level_whatever_cases_are_flaky(
    kind: str, repeats: tuple[int, int]
) -> None:
    # Few flaky cases among few are what a plain t fails on: 8.7 to 20% of false alarms.
    draws, rng = 600, np.random.default_rng(31)
    model = repeated(kind, repeats)
    for n, discordance in ((50, 0.05), (200, 0.02)):
        rate = np.mean([model(n, discordance, False, rng).p_drop <= ALPHA for _ in range(draws)])
        assert rate <= at_most(0.05, draws)


def test_the_simulated_clusters_would_catch_a_test_that_ignores_them(monkeypatch: pytest.MonkeyPatch) -> None:
    draws, rng = 1_000, np.random.default_rng(7)
    seen: list[float] = []

    def without_clusters(*sides: object, **options: object) -> PairedEstimate:
        return paired_cases(*sides, **(options | {"clusters": None}))  # type: ignore[arg-type]

    monkeypatch.setattr("tests.calibration.models.paired_cases", without_clusters)
    for _ in range(draws):
        seen.append(clustered(500, 0.2, False, rng).p_drop)
    assert np.mean(np.array(seen) <= ALPHA) > at_most(0.08, draws)


METRICS = 12


@cache
def counted(regressed: int, fixed: int, n: int) -> MetricComparison:
    return metric(regressed, fixed, n)


def suites(n: int, discordance: float, rho: float, drop: float, draws: int, seed: int) -> Iterator[str]:
    """Outcomes of simulated suites of 12 0/1 metrics whose changes correlate; `drop` strikes the first metric alone.

    A case's change of a metric is read from a normal variable that correlates by rho with those of the other metrics.
    """
    rng = np.random.default_rng(seed)
    cuts = special.ndtri(discordance / 2 + drop * (np.arange(METRICS) == 0))
    for _ in range(draws):
        shared = rng.normal(size=(n, 1)) * rho**0.5
        score = shared + rng.normal(size=(n, METRICS)) * (1 - rho) ** 0.5
        regressed = (score < cuts).sum(axis=0).tolist()
        fixed = (score > special.ndtri(1 - discordance / 2)).sum(axis=0).tolist()
        metrics = [
            replace(counted(b, c, n), id=f"e/m{i}", scorer=f"m{i}")
            for i, (b, c) in enumerate(zip(regressed, fixed, strict=True))
        ]
        yield decide(comparison(*metrics), POLICY).outcome


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_suite_of_twelve_metrics_blocks_an_unchanged_candidate_in_five_of_a_hundred(rho: float) -> None:
    draws = 2_000
    rate = np.mean([outcome == "regression" for outcome in suites(500, 0.1, rho, 0.0, draws, seed=41)])
    assert at_least(0.042, draws) <= rate <= at_most(0.05, draws)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_suite_of_twelve_metrics_catches_the_one_that_lost_eight_points(rho: float) -> None:
    draws = 800
    rate = np.mean([outcome == "regression" for outcome in suites(500, 0.1, rho, 0.08, draws, seed=42)])
    assert rate >= at_least(0.95, draws)
