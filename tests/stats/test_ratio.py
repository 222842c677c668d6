"""paired_log_ratio: perplexities compared document by document."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evalharness.core.estimates import PairedEstimate
from evalharness.stats.power import mde, n_for_power
from evalharness.stats.ratio import paired_log_ratio

Array = NDArray[np.float64]


def _compare(
    baseline: object,
    candidate: object,
    tokens: object,
    tokens_candidate: object = None,
    *,
    clusters: list[str] | None = None,
    alpha: float = 0.05,
    level: float = 0.95,
    seed: int = 0,
) -> PairedEstimate:
    weights = np.array(tokens, dtype=np.float64)
    return paired_log_ratio(
        np.array(baseline, dtype=np.float64),
        np.array(candidate, dtype=np.float64),
        weights,
        weights if tokens_candidate is None else np.array(tokens_candidate, dtype=np.float64),
        clusters=clusters,
        alpha=alpha,
        level=level,
        rng=np.random.default_rng(seed),
    )


def _documents(
    n: int, seed: int, shift: float = 0.0, spread: float = 0.1, sigma: float = 1.0
) -> tuple[Array, Array, Array]:
    """Log-normal lengths; each document's nats a token move by a normal amount of mean `shift`."""
    rng = np.random.default_rng(seed)
    tokens = np.maximum(1, np.round(rng.lognormal(5, sigma, n)))
    before = (2.2 + 0.3 * rng.standard_normal(n)) * tokens
    return before, before + (shift + spread * rng.standard_normal(n)) * tokens, tokens


def _log(estimate: PairedEstimate, value: float) -> float:
    """A difference on the goodness scale as log P_candidate − log P_baseline."""
    return math.log1p(-value / -estimate.baseline)


def test_perplexities_are_those_of_the_whole_text() -> None:
    got = _compare([400.0, 150.0, 60.0], [390.0, 180.0, 60.0], [100, 150, 20])
    assert got.baseline == pytest.approx(-math.exp(610 / 270))
    assert got.candidate == pytest.approx(-math.exp(630 / 270))
    assert got.delta == pytest.approx(got.candidate - got.baseline)
    assert (got.n, got.n_units, got.n_regressed, got.n_fixed) == (3, 3, 1, 1)
    assert got.discordance == pytest.approx(2 / 3)


def test_the_error_is_that_of_the_leverage_corrected_weighted_regression_in_statsmodels() -> None:
    import statsmodels.api as sm
    from scipy.stats import t

    before, after, tokens = _documents(150, 1, 0.02)
    # nll change = D · tokens, weighted by 1/tokens, is the ratio estimator; HC3 is its jackknife but for (n − 1)/n.
    fit = sm.WLS(after - before, tokens, weights=1 / tokens).fit(cov_type="HC3")
    change, error = float(fit.params[0]), float(fit.bse[0]) * math.sqrt(149 / 150)
    effective = tokens.sum() ** 2 / (tokens**2).sum()
    got = _compare(before, after, tokens)
    assert got.test == "ratio t"
    assert got.lower_method == got.interval.method == "ratio t (log scale)"
    assert _log(got, got.delta) == pytest.approx(change)
    assert _log(got, got.lower) == pytest.approx(change + t.ppf(0.95, effective - 1) * error)
    assert _log(got, got.interval.low) == pytest.approx(change + t.ppf(0.975, effective - 1) * error)
    assert _log(got, got.interval.high) == pytest.approx(change - t.ppf(0.975, effective - 1) * error)
    assert got.p_drop == pytest.approx(t.sf(change / error, effective - 1))
    assert got.p_drop + got.p_gain == pytest.approx(1)
    assert got.sd == pytest.approx(-got.baseline * error * math.sqrt(150))


def test_leaving_documents_out_one_by_one_gives_the_same_error() -> None:
    before, after, tokens = _documents(40, 2)
    keep = ~np.eye(40, dtype=bool)
    ratios = np.array([(after - before)[k].sum() / tokens[k].sum() for k in keep])
    full = (after - before).sum() / tokens.sum()
    error = math.sqrt(39 / 40 * ((ratios - full) ** 2).sum())
    got = _compare(before, after, tokens)
    assert got.sd == pytest.approx(-got.baseline * error * math.sqrt(40))


def test_documents_of_one_length_reduce_to_the_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    before, after, _ = _documents(60, 3, 0.01)
    tokens = np.full(60, 128.0)
    oracle = ttest_rel(before / 128, after / 128)
    got = _compare(before, after, tokens)
    interval = oracle.confidence_interval(0.95)
    assert got.p_drop == pytest.approx(ttest_rel(before, after, alternative="less").pvalue)
    assert _log(got, got.interval.low) == pytest.approx(-interval.low)
    assert _log(got, got.interval.high) == pytest.approx(-interval.high)


def test_on_many_documents_the_bootstrap_of_scipy_and_the_delta_method_agree() -> None:
    from scipy.stats import bootstrap

    before, after, tokens = _documents(1500, 4, 0.02, sigma=0.8)
    change = after - before
    n = change.size
    means, covariance = (change.mean(), tokens.mean()), np.cov(change, tokens)
    gradient = np.array([1 / means[1], -means[0] / means[1] ** 2])
    delta_method = math.sqrt(gradient @ covariance @ gradient / n)
    oracle = bootstrap(
        (change, tokens),
        lambda r, w, axis: r.sum(axis=axis) / w.sum(axis=axis),
        paired=True,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    got = _compare(before, after, tokens)
    low, high = _log(got, got.interval.high), _log(got, got.interval.low)
    width = high - low
    assert width == pytest.approx(2 * 1.96 * delta_method, rel=0.02)
    assert low == pytest.approx(oracle.low, abs=0.06 * width)
    assert high == pytest.approx(oracle.high, abs=0.06 * width)


def test_clusters_are_documents_made_of_their_sums() -> None:
    before, after, tokens = _documents(300, 6, 0.01)
    labels = [f"book{i % 40}" for i in range(300)]
    codes = np.arange(300) % 40
    sums = [np.bincount(codes, weights=x) for x in (before, after, tokens)]
    got, whole = _compare(before, after, tokens, clusters=labels), _compare(*sums)
    assert (got.clustered, got.n, got.n_units, got.test) == (True, 300, 40, "cluster ratio t")
    assert (got.lower, got.p_drop, got.sd) == pytest.approx((whole.lower, whole.p_drop, whole.sd))
    assert got.n_regressed + got.n_fixed == 300
    alone = _compare(before, after, tokens, clusters=[f"{i}" for i in range(300)])
    assert alone == _compare(before, after, tokens)


def test_a_relative_margin_is_judged_on_the_log_scale() -> None:
    before, after, tokens = _documents(200, 7, 0.1, 0.2)
    got = _compare(before, after, tokens)
    bound = _log(got, got.lower)
    for margin in (math.expm1(bound) * 0.999, math.expm1(bound) * 1.001, 0.15):
        assert (got.lower > margin * got.baseline) == (bound < math.log1p(margin))


def test_power_speaks_the_unit_of_the_margin() -> None:
    got = _compare(*_documents(200, 8))
    margin = 0.05 * -got.baseline
    assert mde(got, alpha=0.05) == pytest.approx(2.486 * got.sd / math.sqrt(200), rel=1e-3)
    assert n_for_power(got, margin, alpha=0.05) == math.ceil((2.48648 * got.sd / margin) ** 2)


def _assert_whole(got: PairedEstimate) -> None:
    for value in dataclasses.asdict(got).values():
        if isinstance(value, float):
            assert math.isfinite(value)
    assert math.isfinite(got.interval.low)
    assert got.interval.low <= got.lower <= got.delta <= got.interval.high
    assert 0 < got.p_drop <= 1
    assert 0 < got.p_gain <= 1


def test_nothing_changed_never_passes_and_says_so() -> None:
    before, _, tokens = _documents(50, 9)
    got = _compare(before, before + 1e-13, tokens)
    assert (got.delta, got.lower, got.p_drop, got.p_gain, got.n_regressed) == (0, 0, 1, 1, 0)
    assert got.no_pass_reason is not None
    assert "no case changed" in got.no_pass_reason
    _assert_whole(got)


@pytest.mark.parametrize("shift", [0.1, -0.1, 1e-6])
@pytest.mark.parametrize("clusters", [None, [f"{i // 2}" for i in range(50)]])
def test_one_shift_a_token_everywhere_leaves_no_spread(shift: float, clusters: list[str] | None) -> None:
    before, _, tokens = _documents(50, 10)
    got = _compare(before, before + shift * tokens, tokens, clusters=clusters)
    assert got.delta == pytest.approx(got.baseline * math.expm1(shift))
    assert got.interval.low == got.lower == got.delta
    assert got.no_pass_reason is not None
    assert "same amount a token" in got.no_pass_reason
    assert (got.p_drop if shift > 0 else got.p_gain) < 1e-3
    _assert_whole(got)


@pytest.mark.parametrize("clusters", [None, ["a", "a", "a"]])
def test_one_unit_says_nothing_about_spread(clusters: list[str] | None) -> None:
    rows: tuple[list[float], ...] = ([20.0], [22.0], [10.0])
    if clusters:
        rows = ([20.0, 5.0, 9.0], [22.0, 6.0, 9.0], [10.0, 3.0, 4.0])
    got = _compare(*rows, clusters=clusters)
    assert got.lower_method == "none (a single unit)"
    assert got.interval.low < got.delta < 0 < got.interval.high
    assert got.no_pass_reason is not None
    assert got.p_drop == 0.25
    _assert_whole(got)


def test_a_document_that_holds_all_the_tokens_is_a_single_unit() -> None:
    before, after, tokens = _documents(50, 11)
    before[0], after[0], tokens[0] = 2e17, 2.1e17, 1e17
    got = _compare(before, after, tokens)
    assert got.no_pass_reason is not None
    assert "one document holds all" in got.no_pass_reason
    _assert_whole(got)


@pytest.mark.parametrize(
    "before, after, tokens",
    [
        ([20.0, 30.0], [25.0, 29.0], [1.0, 1.0]),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [5.0, 6.0, 7.0]),
        ([1.0] * 12, [220.0] * 6 + [1.0] * 6, [1.0] * 12),
        ([1e-300] * 20, [2e-300] * 20, [1e-300] * 20),
        ([1e99] * 20, [1e99 + i * 1e97 for i in range(20)], [1e99] * 20),
        ([5.0] * 20, [5.0] * 19 + [9.0], [2.0] * 20),
        ([3.0, 4.0], [4.0, 3.0], [2.0, 2.0]),
    ],
)
@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_degenerate_but_legal_documents_give_a_whole_estimate(
    before: list[float], after: list[float], tokens: list[float], alpha: float
) -> None:
    _assert_whole(_compare(before, after, tokens, alpha=alpha, level=1 - 2 * alpha))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"baseline": [], "candidate": [], "tokens": []}, "no paired cases"),
        ({"candidate": [1.0, math.nan]}, "candidate holds 1 NaN"),
        ({"candidate": [1.0, 2.0, 3.0]}, "one shape"),
        ({"tokens": [1.0]}, "tokens must hold one number per document"),
        (
            {"tokens": [1.0, 0.0]},
            "baseline tokens must be above 0 and at most 1e.100; they are not in 1 documents",
        ),
        ({"tokens": [-1.0, math.nan]}, "they are not in 2 documents"),
        ({"tokens_candidate": [1.0, math.inf]}, "candidate tokens must be above 0"),
        (
            {"tokens_candidate": [3.0, 6.0]},
            "tokens differ in 1 documents: the two sides use different tokenizers",
        ),
        ({"candidate": [1e4, 1e4]}, "candidate has 2500 nats a token, which is no perplexity"),
        ({"baseline": [-1e4, -1e4]}, "baseline has -2500 nats a token"),
        ({"clusters": ["a"]}, "1 labels for 2 cases"),
        ({"alpha": 0.5}, "alpha"),
        ({"level": 1.0}, "level"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"baseline": [5.0, 9.0], "candidate": [6.0, 9.0], "tokens": [3.0, 5.0]}
    with pytest.raises(ValueError, match=message):
        _compare(**(arguments | change))  # type: ignore[arg-type]


documents = st.lists(
    st.tuples(st.floats(0, 50, width=32), st.floats(0, 50, width=32), st.integers(1, 40)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(documents, st.booleans(), st.integers(0, 99))
def test_the_other_way_round_the_logarithms_turn_their_sign_and_order_does_not_matter(
    rows: list[tuple[float, float, int]], clustered: bool, seed: int
) -> None:
    before, after, tokens = np.array(rows, dtype=np.float64).T
    labels = [str(i % 9) for i in range(len(rows))] if clustered else None
    there = _compare(before, after, tokens, clusters=labels)
    back = _compare(after, before, tokens, clusters=labels)
    _assert_whole(there)
    assert (back.n_regressed, back.n_fixed) == (there.n_fixed, there.n_regressed)
    assert (back.baseline, back.candidate) == (there.candidate, there.baseline)
    assert (back.p_drop, back.p_gain) == (pytest.approx(there.p_gain), pytest.approx(there.p_drop))
    assert back.sd / back.baseline == pytest.approx(there.sd / there.baseline)
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = [labels[i] for i in order] if labels else None
    again = _compare(before[order], after[order], tokens[order], clusters=shuffled)
    assert (again.lower, again.p_drop) == pytest.approx((there.lower, there.p_drop), rel=1e-9, abs=1e-9)


@given(st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_counting_tokens_in_another_unit_changes_only_the_unit_of_the_logarithm(scale: float) -> None:
    before, after, tokens = _documents(60, 12, 0.01)
    plain, scaled = _compare(before, after, tokens), _compare(before * scale, after * scale, tokens * scale)
    assert (scaled.lower, scaled.p_drop) == pytest.approx((plain.lower, plain.p_drop))
