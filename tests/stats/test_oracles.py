"""The public estimates against other people's software and published examples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.conditional import conditional
from evalharness.stats.paired import paired_cases

Array = NDArray[np.float64]


def compare(
    left: Array, right: Array, *, binary: bool = False, clusters: list[str] | None = None
) -> PairedEstimate:
    return paired_cases(
        left,
        right,
        binary=binary,
        equal_repeats=True,
        clusters=clusters,
        alpha=0.05,
        rng=np.random.default_rng(0),
    )


def binary(both: int, regressed: int, fixed: int, neither: int) -> PairedEstimate:
    counts = [both, regressed, fixed, neither]
    return compare(
        np.repeat([1.0, 1.0, 0.0, 0.0], counts), np.repeat([1.0, 0.0, 1.0, 0.0], counts), binary=True
    )


@pytest.mark.parametrize(
    "table, digits, estimate, interval, two_sided",
    [
        # Bentur et al. 2009, airway hyper-responsiveness; the interval as printed by Fagerland et al. 2014.
        ((1, 7, 1, 12), 3, -0.286, (-0.517, -0.026), 0.0390625),
        # Cavo et al. 2012, complete response; as printed by the R package contingencytables (chapter 8 of its book).
        ((59, 16, 6, 80), 4, -0.0621, (-0.1240, -0.0054), 0.034690),
    ],
)
def test_published_paired_tables(
    table: tuple[int, int, int, int],
    digits: int,
    estimate: float,
    interval: tuple[float, float],
    two_sided: float,
) -> None:
    got = binary(*table)
    assert round(got.delta, digits) == pytest.approx(estimate)
    assert (round(got.interval.low, digits), round(got.interval.high, digits)) == interval
    assert 2 * got.p_drop == pytest.approx(two_sided, abs=5e-7)


def test_midp_is_the_exact_p_less_half_the_chance_of_what_was_seen() -> None:
    from scipy.stats import binom
    from statsmodels.stats.contingency_tables import mcnemar

    for b, c in [(9, 3), (40, 22), (150, 151), (0, 6), (1, 0), (1000, 900)]:
        exact = mcnemar([[50, b], [c, 20]], exact=True).pvalue / 2  # of the side that moved
        got = binary(50, b, c, 20)
        seen = float(binom.pmf(b, b + c, 0.5))
        assert min(got.p_drop, got.p_gain) == pytest.approx(exact - seen / 2, rel=1e-9)


def test_conditional_agrees_with_the_cochran_mantel_haenszel_test_of_statsmodels() -> None:
    from scipy.stats import norm
    from statsmodels.stats.contingency_tables import StratifiedTable

    rng = np.random.default_rng(2)
    chance = rng.beta(1, 3, 800)
    left, right = rng.binomial(8, chance), rng.binomial(1, chance * 0.9)
    open_cases = (left + right > 0) & (left + right < 9)
    tables = [
        np.array([[b, 8 - b], [c, 1 - c]]) for b, c in zip(left[open_cases], right[open_cases], strict=True)
    ]
    oracle = StratifiedTable(tables).test_null_odds(correction=False)
    p_drop, _ = conditional(left / 8, right.astype(float), (8, 1))
    assert norm.isf(p_drop) == pytest.approx(np.sqrt(oracle.statistic), abs=0.05)


def test_cluster_t_is_the_cluster_robust_t_of_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    codes = rng.integers(0, 45, 600)
    left = rng.random(600)
    right = left + rng.normal(0, 0.1, 45)[codes] + rng.normal(-0.02, 0.2, 600)
    fit = sm.OLS(right - left, np.ones(600)).fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)
    got = compare(left, right, clusters=[f"doc{c}" for c in codes])
    assert got.test == got.lower_method == "cluster t"
    assert (got.clustered, got.n, got.n_units) == (True, 600, 45)
    assert got.sd == pytest.approx(float(fit.bse[0]) * 45**0.5)
    # statsmodels' default correction is G/(G − 1) · (n − 1)/(n − k), with k = 1.
    low, high = fit.conf_int()[0]
    assert (got.interval.low, got.interval.high) == (pytest.approx(low), pytest.approx(high))
    assert 2 * min(got.p_drop, got.p_gain) == pytest.approx(float(fit.pvalues[0]))


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["ndcg@5", "mrr"])
def test_a_retrieval_metric_gets_the_p_value_that_ranx_gives(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same source runs without being compiled, in a twentieth of the time that compiling takes.
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    with warnings.catch_warnings():
        # ranx compiles on import and on first use; numba and ranx' own text raise warnings that say nothing of values.
        warnings.simplefilter("ignore")
        import ranx

        rng = np.random.default_rng(4)
        grades = {f"q{i}": rng.choice([0, 0, 0, 0, 1, 2, 3], 25) for i in range(130)}
        qrels = ranx.Qrels(
            {q: {f"d{j}": int(g) for j, g in enumerate(row) if g} or {"none": 1} for q, row in grades.items()}
        )
        runs = [
            ranx.Run(
                {
                    q: {f"d{j}": float(s) for j, s in enumerate(row + rng.normal(0, noise, row.size))}
                    for q, row in grades.items()
                },
                name=name,
            )
            for name, noise in (("base", 1.0), ("candidate", 1.25))
        ]
        report = ranx.compare(qrels, runs, metrics=[metric], stat_test="student").to_dict()
        left, right = (np.asarray(ranx.evaluate(qrels, run, metric, return_mean=False)) for run in runs)
    got = compare(left.astype(np.float64), right.astype(np.float64))
    assert got.test == "paired t"
    assert got.candidate == pytest.approx(report["candidate"]["scores"][metric])
    assert 2 * min(got.p_drop, got.p_gain) == pytest.approx(
        report["base"]["comparisons"]["candidate"][metric]
    )
