"""ppi_difference: a judge corrected by labels, and the labels it must not be corrected by."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evalharness.stats.ppi import Ppi, PpiRefused, ppi_difference

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _correct(
    judge: object,
    human: object,
    labelled: object,
    *,
    drawn: str = "random",
    baseline_mean: float = 0.8,
    settled: object = None,
    clusters: list[str] | None = None,
    alpha: float = 0.05,
    level: float = 0.95,
) -> Ppi:
    return ppi_difference(
        np.asarray(judge, dtype=np.float64),
        np.asarray(human, dtype=np.float64),
        np.asarray(labelled),
        drawn=drawn,
        baseline_mean=baseline_mean,
        settled=None if settled is None else np.asarray(settled),
        clusters=clusters,
        alpha=alpha,
        level=level,
    )


def _draw(cases: int, labels: int, rng: np.random.Generator) -> Mask:
    mask = np.zeros(cases, dtype=bool)
    mask[rng.permutation(cases)[:labels]] = True
    return mask


def _data(cases: int, labels: int, seed: int, noise: float = 0.5) -> tuple[Array, Array, Mask]:
    """People's differences in steps of a half, and a judge that sees them with a bias and some noise."""
    rng = np.random.default_rng(seed)
    human = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], cases, p=[0.15, 0.15, 0.45, 0.15, 0.1])
    judge = 0.8 * human + 0.1 + noise * rng.standard_normal(cases)
    return judge, human, _draw(cases, labels, rng)


def _oracle(judge: Array, human: Array, mask: Mask) -> tuple[float, float, float]:
    """Algorithm of the paper for a mean, written a second time: theta, standard error, lambda.

    N and n as in the paper: cases without a label, cases with one.
    """
    labelled = [(float(f), float(y)) for f, y, m in zip(judge, human, mask, strict=True) if m]
    unlabelled = [float(f) for f, m in zip(judge, mask, strict=True) if not m]
    n, big = len(labelled), len(unlabelled)

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    def variance(values: list[float]) -> float:
        centre = mean(values)
        return math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1)

    mean_f, mean_y = mean([f for f, _ in labelled]), mean([y for _, y in labelled])
    covariance = math.fsum((f - mean_f) * (y - mean_y) for f, y in labelled) / (n - 1)
    pooled = variance([f for f, _ in labelled] + unlabelled)
    tuned = min(max(covariance / ((1 + n / big) * pooled), 0.0), 1.0)
    rectifier = [y - tuned * f for f, y in labelled]
    theta = tuned * mean(unlabelled) + mean(rectifier)
    error = math.sqrt(tuned**2 * variance(unlabelled) / big + variance(rectifier) / n)
    return theta, error, tuned


@pytest.mark.parametrize("labels", [100, 300, 900])
def test_it_is_the_estimator_of_the_paper(labels: int) -> None:
    from scipy.stats import t

    judge, human, mask = _data(1000, labels, labels)
    theta, error, tuned = _oracle(judge, human, mask)
    got = _correct(judge, human, mask)
    estimate = got.estimate
    assert 0 < got.weight < 1
    assert got.weight == pytest.approx(tuned)
    assert estimate.delta == pytest.approx(theta)
    assert (estimate.baseline, estimate.candidate) == (0.8, 0.8 + estimate.delta)
    assert estimate.lower == pytest.approx(theta - t.ppf(0.95, labels - 1) * error)
    assert estimate.interval.low == pytest.approx(theta - t.ppf(0.975, labels - 1) * error)
    assert estimate.interval.high == pytest.approx(theta + t.ppf(0.975, labels - 1) * error)
    assert estimate.p_drop == pytest.approx(t.cdf(theta / error, labels - 1))
    assert estimate.p_gain == pytest.approx(t.sf(theta / error, labels - 1))
    assert estimate.test == estimate.lower_method == estimate.interval.method == "PPI++ (t)"
    assert estimate.sd / math.sqrt(estimate.n_units) == pytest.approx(error)
    assert (estimate.n, got.n_labels) == (1000, labels)
    rho2 = np.corrcoef(judge[mask], human[mask])[0, 1] ** 2
    assert got.correlation2 == pytest.approx(rho2)
    # Exact but for the pooled variance of f standing in for that of the labelled cases.
    assert got.gain == pytest.approx(1 / (1 - rho2 * (1000 - labels) / 1000), rel=0.1)
    alone = human[mask].var(ddof=1) / labels
    assert got.gain == pytest.approx(alone / error**2, rel=0.05)


def _same_as_labels_alone(got: Ppi, human: Array, mask: Mask) -> None:
    from scipy.stats import ttest_1samp

    oracle = ttest_1samp(human[mask], 0.0)
    interval = oracle.confidence_interval(0.95)
    assert (got.weight, got.gain) == (0.0, 1.0)
    assert got.estimate.delta == pytest.approx(human[mask].mean())
    assert (got.estimate.interval.low, got.estimate.interval.high) == pytest.approx(
        (interval.low, interval.high)
    )
    assert got.estimate.p_drop == pytest.approx(ttest_1samp(human[mask], 0.0, alternative="less").pvalue)


def test_a_judge_that_says_the_same_everywhere_leaves_the_labels_alone() -> None:
    _, human, mask = _data(500, 120, 1)
    for constant in (0.0, 0.3):
        _same_as_labels_alone(_correct(np.full(500, constant), human, mask), human, mask)


def test_a_judge_that_is_wrong_way_round_leaves_the_labels_alone() -> None:
    judge, human, mask = _data(500, 120, 2)
    got = _correct(-judge, human, mask)
    _same_as_labels_alone(got, human, mask)
    assert got.correlation2 > 0.2


def test_when_every_case_is_labelled_the_judge_adds_nothing() -> None:
    judge, human, _ = _data(150, 0, 3)
    mask = np.ones(150, dtype=bool)
    _same_as_labels_alone(_correct(judge, human, mask), human, mask)


def test_a_perfect_judge_is_worth_a_label_on_every_case() -> None:
    from scipy.stats import sem

    _, human, mask = _data(2000, 400, 4)
    got = _correct(human, human, mask)
    # N/(n + N), but for the pooled variance standing in for that of the labelled cases.
    assert got.weight == pytest.approx(0.8 * human[mask].var(ddof=1) / human.var(ddof=1))
    assert got.estimate.delta == pytest.approx(human.mean(), abs=0.1 * sem(human))
    assert got.estimate.sd / math.sqrt(2000) == pytest.approx(sem(human), rel=0.02)
    assert got.correlation2 == pytest.approx(1.0)
    assert got.gain == pytest.approx(5.0, rel=0.05)


def test_a_judge_on_half_the_scale_is_trusted_no_further_than_one() -> None:
    judge, human, mask = _data(1000, 200, 5, noise=0.0)
    got = _correct(judge / 8, human, mask)
    assert got.weight == 1.0
    theta, error, tuned = _oracle(judge / 8, human, mask)
    assert (tuned, got.estimate.delta) == (1.0, pytest.approx(theta))
    assert got.gain == pytest.approx(human[mask].var(ddof=1) / 200 / error**2, rel=0.02)


def test_what_is_not_labelled_is_never_read() -> None:
    judge, human, mask = _data(400, 150, 6)
    assert _correct(judge, np.where(mask, human, np.nan), mask) == _correct(judge, human, mask)


def test_counts_are_what_the_judge_says_of_all_cases() -> None:
    judge, human, mask = _data(400, 150, 7)
    judge[:100] = 0.0
    got = _correct(judge, human, mask).estimate
    assert (got.n_regressed, got.n_fixed) == ((judge < 0).sum(), (judge > 0).sum())
    assert got.discordance == pytest.approx((judge != 0).mean())


def test_clusters_widen_the_error_by_what_their_cases_share() -> None:
    judge, human, mask = _data(1000, 300, 8)
    labels = [f"doc{i // 20}" for i in range(1000)]
    shared = np.repeat(np.random.default_rng(9).normal(0, 0.5, 50), 20)
    got = _correct(judge + shared, human + shared, mask, clusters=labels)
    theta, _, tuned = _oracle(judge + shared, human + shared, mask)
    f, y = judge + shared, human + shared
    part = np.where(mask, (y - tuned * f) / 300, tuned * f / 700)
    part -= np.where(mask, part[mask].mean(), part[~mask].mean())
    error = math.sqrt(50 / 49 * (np.bincount(np.arange(1000) // 20, weights=part) ** 2).sum())
    assert got.estimate.delta == pytest.approx(theta)
    assert got.estimate.sd == pytest.approx(error * math.sqrt(50))
    assert (got.estimate.n_units, got.estimate.clustered) == (50, True)
    assert got.estimate.test == "PPI++ (cluster t)"
    plain = _correct(judge + shared, human + shared, mask)
    assert error > 1.5 * plain.estimate.sd / math.sqrt(1000)
    assert plain == _correct(f, y, mask, clusters=[str(i) for i in range(1000)])


def test_labels_that_all_say_the_same_never_pass() -> None:
    judge, _, mask = _data(300, 100, 10)
    none = _correct(judge, np.zeros(300), mask).estimate
    assert none.no_pass_reason is not None
    assert "no case changed" in none.no_pass_reason
    assert (none.delta, none.p_drop, none.p_gain) == (0.0, 1.0, 1.0)
    all_worse = _correct(judge, np.full(300, -0.5), mask).estimate
    assert all_worse.no_pass_reason is not None
    assert "no spread" in all_worse.no_pass_reason
    assert (all_worse.delta, all_worse.test) == (-0.5, "sign test (mid-p)")
    assert all_worse.p_drop == pytest.approx(0.5**101)


def test_fewer_than_ten_changed_labels_never_pass() -> None:
    rng = np.random.default_rng(11)
    human = np.zeros(1000)
    mask = _draw(1000, 200, rng)
    human[np.flatnonzero(mask)[:9]] = -1.0
    reason = _correct(human + (rng.random(1000) < 0.01), human, mask).estimate.no_pass_reason
    assert reason is not None
    assert "only 9 of 200 cases changed" in reason


def test_labels_that_were_not_drawn_at_random_are_refused_whoever_says_so() -> None:
    judge, human, mask = _data(1000, 200, 12)
    with pytest.raises(PpiRefused, match=r"drawn as 'disputed'; only a random subset"):
        _correct(judge, human, mask, drawn="disputed")
    with pytest.raises(PpiRefused, match="only 99 labelled cases; at least 100"):
        _correct(judge, human, _draw(1000, 99, np.random.default_rng(0)))


def test_labels_on_the_cases_that_look_worse_are_found_out() -> None:
    judge, human, _ = _data(1000, 0, 13)
    order = np.argsort(judge + np.random.default_rng(14).normal(0, 1, 1000))
    mask = np.zeros(1000, dtype=bool)
    mask[order[:200]] = True
    inside, outside = judge[mask].mean(), judge[~mask].mean()
    with pytest.raises(PpiRefused, match=f"is {inside:.3g} on the labelled cases and {outside:.3g} on the"):
        _correct(judge, human, mask)


def test_labels_on_the_cases_that_changed_are_found_out() -> None:
    rng = np.random.default_rng(15)
    # As many up as down, so that the mean of the judge's differences says nothing.
    judge = rng.permutation(np.repeat([-1.0, 1.0, 0.0], [100, 100, 800]))
    mask = np.zeros(1000, dtype=bool)
    for value, count in ((-1.0, 40), (1.0, 40), (0.0, 70)):
        mask[rng.permutation(np.flatnonzero(judge == value))[:count]] = True
    with pytest.raises(PpiRefused, match=r"share of cases the judge sees changed is 0.533 .* and 0.141"):
        _correct(judge, judge, mask)


def test_the_share_is_held_against_the_hypergeometric_distribution() -> None:
    from scipy.stats import hypergeom

    judge = np.repeat([1.0, -1.0, 0.0], [30, 30, 540])
    for seen, refused in ((40, True), (12, False)):
        mask = np.zeros(600, dtype=bool)
        mask[: seen // 2] = mask[30 : 30 + seen // 2] = True
        mask[60 : 60 + 120 - seen] = True
        law = hypergeom(600, 60, 120)
        p = 2 * min(law.sf(seen - 1), law.cdf(seen))
        assert (p < 1e-3) == refused
        if refused:
            with pytest.raises(PpiRefused, match=rf"p = {p:.1g}".replace("+", r"\+")):
                _correct(judge, judge, mask)
        else:
            assert _correct(judge, judge, mask).n_labels == 120


def test_random_labels_are_hardly_ever_refused() -> None:
    rng = np.random.default_rng(16)
    refused = 0
    for _ in range(1_000):
        judge = rng.choice([-1.0, 1.0, 0.0], 600, p=[0.05, 0.03, 0.92])
        try:
            _correct(judge, judge, _draw(600, 100, rng))
        except PpiRefused:
            refused += 1
    # Two checks of 0.1% each: 2 expected, and 4 binomial deviations more.
    assert refused <= 2 + 4 * math.sqrt(2)


def test_whole_documents_labelled_at_random_are_not_mistaken_for_a_choice() -> None:
    rng = np.random.default_rng(17)
    labels = [f"doc{i // 20}" for i in range(1000)]
    refused = 0
    for _ in range(200):
        shared = np.repeat(rng.normal(0, 1, 50), 20)
        judge = shared + rng.normal(0, 0.3, 1000)
        mask = np.repeat(_draw(50, 15, rng), 20)
        try:
            _correct(judge, judge, mask, clusters=labels)
        except PpiRefused:
            refused += 1
    assert refused <= 2
    with pytest.raises(PpiRefused, match="labels lie in only 7 clusters; at least 8"):
        _correct(judge, judge, np.repeat(_draw(50, 7, rng), 20), clusters=labels)


@pytest.mark.parametrize("scale", [1e-100, 1e-9, 1e9, 1e99])
def test_any_finite_scale_gives_finite_numbers(scale: float) -> None:
    judge, human, mask = _data(300, 100, 18)
    got = _correct(np.clip(judge, -1, 1) * scale, human * scale, mask)
    for value in (*dataclasses.asdict(got.estimate).values(), got.gain, got.weight, got.correlation2):
        if isinstance(value, float):
            assert math.isfinite(value)
    assert 0 <= got.correlation2 <= 1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"human": np.zeros(299)}, "arrays of one length"),
        ({"labelled": np.ones(300)}, "must be boolean"),
        ({"judge": np.append(np.zeros(299), np.nan)}, "judge holds 1 NaN"),
        ({"human": np.full(300, np.inf)}, "human holds 120 NaN, infinite"),
        ({"clusters": ["a"]}, "1 labels for 300 cases"),
        ({"alpha": 0.6}, "alpha"),
        ({"level": -1.0}, "level"),
        ({"baseline_mean": math.nan}, "baseline_mean"),
        ({"settled": np.ones(300, dtype=bool)}, "120 labelled cases are settled without a label"),
        ({"settled": np.zeros(299, dtype=bool)}, "as long as labelled"),
        ({"settled": np.zeros(300)}, "settled must be boolean"),
        ({"judge": [], "human": [], "labelled": np.zeros(0, dtype=bool)}, "only 0 labelled cases"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change: dict[str, object], message: str) -> None:
    judge, human, mask = _data(300, 120, 19)
    with pytest.raises(ValueError, match=message):
        _correct(**({"judge": judge, "human": human, "labelled": mask} | change))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(100, 250), st.booleans())
def test_swapping_sides_mirrors_and_order_does_not_matter(seed: int, labels: int, clustered: bool) -> None:
    judge, human, mask = _data(300, labels, seed)
    names = [str(i % 60) for i in range(300)] if clustered else None
    try:
        there = _correct(judge, human, mask, clusters=names)
    except PpiRefused:
        with pytest.raises(PpiRefused):
            _correct(-judge, -human, mask, clusters=names)
        return
    back = _correct(-judge, -human, mask, clusters=names)
    assert back.estimate.delta == pytest.approx(-there.estimate.delta)
    assert back.estimate.p_drop == pytest.approx(there.estimate.p_gain)
    assert back.estimate.interval.low == pytest.approx(-there.estimate.interval.high)
    assert (back.weight, back.gain) == pytest.approx((there.weight, there.gain))
    order = np.random.default_rng(seed).permutation(300)
    shuffled = [names[i] for i in order] if names else None
    again = _correct(judge[order], human[order], mask[order], clusters=shuffled)
    assert again.estimate.lower == pytest.approx(there.estimate.lower)


# --- cases that need no label ----------------------------------------------------------------------------------------


def _pairs(cases: int, labels: int, seed: int) -> tuple[Array, Array, Mask, Mask]:
    """Half of the pairs are equal, a tie for everybody, and some have no answer, which is a loss for everybody."""
    judge, human, _ = _data(cases, 0, seed)
    rng = np.random.default_rng(seed)
    toss = rng.random(cases)
    settled = toss < 0.5
    for side in (judge, human):
        side[settled] = np.where(toss[settled] < 0.45, 0.0, -0.5)
    mask = np.zeros(cases, dtype=bool)
    mask[rng.permutation(np.flatnonzero(~settled))[:labels]] = True
    return judge, human, mask, settled


def test_settled_cases_are_a_stratum_of_their_own() -> None:
    """Each step of the post-stratified estimate by hand, from the oracle's estimate on the other cases."""
    from scipy.stats import t

    judge, human, mask, settled = _pairs(1200, 150, 20)
    inner, error, tuned = _oracle(judge[~settled], human[~settled], mask[~settled])
    known, share = math.fsum(judge[settled]), float((~settled).mean())
    theta = (known + (~settled).sum() * inner) / 1200
    # var(w)/T, with w = f where settled and the estimate elsewhere
    squares = math.fsum((w - theta) ** 2 for w in judge[settled]) + (~settled).sum() * (inner - theta) ** 2
    whole = math.sqrt(share**2 * error**2 + squares / 1199 / 1200)
    got = _correct(judge, human, mask, settled=settled, baseline_mean=0.5)
    estimate = got.estimate
    assert (got.weight, got.n_labels) == (pytest.approx(tuned), 150)
    assert (estimate.n, estimate.n_units) == (1200, 1200)
    assert (estimate.delta, estimate.candidate) == (pytest.approx(theta), pytest.approx(0.5 + theta))
    assert estimate.lower == pytest.approx(theta - t.ppf(0.95, 149) * whole)
    assert estimate.p_drop == pytest.approx(t.cdf(theta / whole, 149))
    assert estimate.sd == pytest.approx(whole * math.sqrt(1200))
    assert estimate.n_regressed == (judge < 0).sum()


def test_the_estimate_is_that_of_inverse_probability_weights() -> None:
    """With a judge that says nothing: a settled case weighs 1, a labelled one all that it stands for."""
    _, human, mask, settled = _pairs(900, 120, 21)
    judge = np.where(settled, human, 0.0)
    got = _correct(judge, human, mask, settled=settled)
    weights = np.where(settled, 1.0, np.where(mask, (~settled).sum() / 120, 0.0))
    assert got.weight == 0.0
    assert got.estimate.delta == pytest.approx(weights @ human / 900)


def test_nothing_settled_is_the_plain_estimate() -> None:
    judge, human, mask = _data(600, 150, 22)
    names = [str(i // 6) for i in range(600)]
    for clusters in (None, names):
        nowhere = _correct(judge, human, mask, clusters=clusters, settled=np.zeros(600, dtype=bool))
        assert nowhere == _correct(judge, human, mask, clusters=clusters)


def test_labels_on_all_that_is_not_settled_are_a_paired_t_test_on_all() -> None:
    from scipy.stats import sem

    judge, human, _, settled = _pairs(600, 0, 23)
    got = _correct(judge, human, ~settled, settled=settled)
    assert got.estimate.delta == pytest.approx(human.mean())
    # The spread within and between the two strata, each with its own divisor.
    assert got.estimate.sd / math.sqrt(600) == pytest.approx(sem(human), rel=0.005)


def test_clusters_hold_settled_and_other_cases_together() -> None:
    judge, human, mask, settled = _pairs(1000, 200, 24)
    member = np.arange(1000) // 20
    got = _correct(judge, human, mask, settled=settled, clusters=[f"doc{g}" for g in member]).estimate
    inner, _, tuned = _oracle(judge[~settled], human[~settled], mask[~settled])
    others = ~settled & ~mask
    theta = (judge[settled].sum() + (~settled).sum() * inner) / 1000
    # The influence of each case: that of its stratum, and within the stratum that of its label or of its verdict.
    part = (np.where(settled, judge, inner) - theta) / 1000
    rectified = human - tuned * judge
    share = float((~settled).mean())
    part[mask] += share * (rectified[mask] - rectified[mask].mean()) / 200
    part[others] += share * tuned * (judge[others] - judge[others].mean()) / others.sum()
    groups = len({g for g in member[mask].tolist()})
    error = math.sqrt(groups / (groups - 1) * (np.bincount(member, weights=part) ** 2).sum())
    assert got.delta == pytest.approx(theta)
    assert (got.sd, got.n_units, got.clustered) == (pytest.approx(error * math.sqrt(50)), 50, True)


def test_labels_are_held_against_the_cases_that_are_not_settled() -> None:
    """Half of all cases did not move and none of these is labelled: that is no sign of a choice."""
    judge, human, mask, settled = _pairs(1000, 150, 25)
    judge[~settled & (judge == 0)] = 0.5
    assert _correct(judge, human, mask, settled=settled).n_labels == 150
    with pytest.raises(PpiRefused, match="no random subset"):
        _correct(judge, human, mask)
    with pytest.raises(PpiRefused, match="only 99 labelled cases"):
        few = mask.copy()
        few[np.flatnonzero(mask)[:51]] = False
        _correct(judge, human, few, settled=settled)


def test_labels_of_one_kind_never_pass_beside_settled_cases() -> None:
    judge, _, mask, settled = _pairs(600, 120, 26)
    reason = _correct(judge, np.full(600, 0.5), mask, settled=settled).estimate.no_pass_reason
    assert reason is not None and "no spread" in reason
