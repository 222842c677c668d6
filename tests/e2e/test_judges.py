"""Judges through the command line, asked at a real server: what a known judge implies is what the metric says."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

import pytest

from evalharness.core.judges import Measured
from tests.e2e.conftest import Project
from tests.e2e.judged import Bench, answer, of
from tests.servers.fixture import ModelServerHandle

GOOD, PLAIN, BAD = of(0.9), of(0.5), of(0.1)


@pytest.fixture
def bench(project: Project, model_server: ModelServerHandle) -> Bench:
    return Bench(project, model_server)


def qualities(bench: Bench, base: list[float], cand: list[float]) -> None:
    """A judged project whose answers are so good; no two answers to a case are the same text."""
    bench.cases(len(base))
    bench.suite()
    bench.sides(
        [of(q, "base", i) for i, q in enumerate(base)], [of(q, "cand", i) for i, q in enumerate(cand)]
    )


# --- pairwise --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_fair_judge_in_both_orders(bench: Bench, provider: str) -> None:
    """Wins, losses and ties as the texts' goodness has them; each pair asked twice, and nothing flips."""
    qualities(bench, [0.5] * 40, [0.9] * 10 + [0.1] * 6 + [0.5] * 24)
    bench.judge(provider=provider)
    bench.calibrate()
    found = bench.compare()
    assert found.calls == 80
    assert bench.values() == [1.0] * 10 + [0.0] * 6 + [0.5] * 24
    assert not any(row["flipped"] for row in bench.judgments())
    metric = found.metric()
    assert (metric["baseline"], metric["kind"]) == (0.5, "preference")
    assert metric["candidate"] == pytest.approx((10 + 12) / 40)
    assert metric["delta"] == pytest.approx(0.05)
    assert metric["gated"]


def test_a_clear_loss_is_a_regression_and_a_clear_win_passes(bench: Bench) -> None:
    qualities(bench, [0.5] * 60, [0.1] * 40 + [0.9] * 20)
    bench.judge()
    bench.calibrate()
    lost = bench.compare(check=1)
    assert lost.metric()["status"] == "regression"
    qualities(bench, [0.5] * 60, [0.9] * 40 + [0.1] * 20)
    won = bench.compare(check=0)
    assert won.metric()["status"] == "improved"


def test_a_judge_of_places_says_nothing(bench: Bench) -> None:
    """Whoever stands first wins: every pair is a flip, every flip a tie, and the win rate is one half."""
    qualities(bench, [0.1] * 30, [0.9] * 30)
    bench.judge("judge-first")
    found = bench.compare()
    assert bench.values() == [0.5] * 30
    assert all(row["flipped"] for row in bench.judgments())
    assert found.metric()["delta"] == 0
    assert "the order of the answers made the verdict on 30 of 30 pairs" in " ".join(
        found.document["warnings"]
    )


def test_a_verdict_in_one_order_only_counts_half(bench: Bench) -> None:
    """A tie in one order and a win in the other is three quarters; all five values occur with a noisy judge."""
    qualities(bench, [0.5] * 40, [0.9 if i % 2 else 0.5 for i in range(40)])
    bench.judge("judge-noisy?first=0.5&candidate=cand")
    bench.compare()
    rows = bench.judgments()
    for row in rows:
        votes = [vote["value"] for vote in row["votes"]]
        assert row["flipped"] == (sorted(votes) == [0, 1])
        assert row["value"] == fmean(votes)
        assert [vote["order"] for vote in row["votes"]] == ["AB", "BA"]
    assert {0.25, 0.5, 0.75, 1.0} <= set(bench.values()) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_one_random_order(bench: Bench) -> None:
    """Half of the pairs each way, one call each: a judge of places wins half of them for each side."""
    qualities(bench, [0.1] * 50, [0.9] * 50)
    bench.judge("judge-first", orders="random")
    found = bench.compare()
    assert found.calls == 50
    assert Counter(bench.values()) == {0.0: 25, 1.0: 25}
    orders = {row["id"]: row["votes"][0]["order"] for row in bench.judgments()}
    assert list(orders.values()).count("AB") == 25
    assert bench.compare().calls == 0
    assert {row["id"]: row["votes"][0]["order"] for row in bench.judgments()} == orders


def test_one_random_order_is_the_same_under_looks(bench: Bench) -> None:
    qualities(bench, [0.1] * 48, [0.9] * 48)
    bench.judge("judge-fair", orders="random")
    bench.compare()
    at_once = {row["id"]: row["votes"][0]["order"] for row in bench.judgments()}
    bench.suite(more="sampling: {initial: 20, max: 48, looks: 3}\n")
    found = bench.compare()
    assert found.calls == 0
    asked = {row["id"]: row["votes"][0]["order"] for row in bench.judgments()}
    assert asked and asked.items() <= at_once.items()


def test_equal_answers_are_a_tie_without_a_call(bench: Bench) -> None:
    bench.cases(12)
    bench.suite()
    bench.sides([of(0.5, i) for i in range(12)], [f"  {of(0.5, i)}\n" for i in range(6)] + [GOOD] * 6)
    bench.judge()
    found = bench.compare()
    assert found.calls == 12
    assert [row["source"] for row in bench.judgments()] == ["identical"] * 6 + ["judged"] * 6
    assert bench.values() == [0.5] * 6 + [1.0] * 6


def test_judges_of_length_and_of_their_own_kin_are_what_they_are(bench: Bench) -> None:
    """The candidate is worse throughout; on half of the cases it is longer, on a third it is the judge's kin."""
    n = 24
    bench.cases(n)
    bench.suite()
    bench.sides(
        [of(0.5, i) for i in range(n)],
        [of(0.1, i, "and on and on" * (i % 2), "family=kin" * (i % 3 == 0)) for i in range(n)],
    )
    bench.judge("judge-self?family=kin")
    assert bench.compare().metric()["candidate"] == pytest.approx(1 / 3)
    bench.sides(
        [of(0.5, i) for i in range(n)],
        [of(0.1, i, "and on and on" if i % 2 else "") if i % 2 else "quality=0.1" for i in range(n)],
    )
    bench.judge("judge-longer")
    assert bench.compare().metric()["candidate"] == pytest.approx(1 / 2)


def test_a_noisy_judge_is_as_good_as_it_is(bench: Bench) -> None:
    """Right about nine pairs of ten in either order: the win rate over both orders is what its verdicts say."""
    n = 150
    qualities(bench, [0.5] * n, [0.9] * n)
    bench.judge("judge-noisy?sensitivity=0.9&specificity=0.9&candidate=cand&key=1")
    found = bench.compare()
    votes = [vote["value"] for row in bench.judgments() for vote in row["votes"]]
    share = fmean(votes)
    assert 0.84 < share < 0.96
    assert found.metric()["candidate"] == pytest.approx(share)
    flips = fmean(row["flipped"] for row in bench.judgments())
    assert 0.1 < flips < 0.27  # 2 · 0.9 · 0.1 = 0.18


# --- pointwise and claims --------------------------------------------------------------------------------------------


def test_one_criterion_is_pass_or_fail(bench: Bench) -> None:
    qualities(bench, [0.9] * 30 + [0.1] * 10, [0.9] * 24 + [0.1] * 16)
    bench.judge(mode="pointwise")
    bench.calibrate(flip_rate=None)
    found = bench.compare()
    metric = found.metric()
    assert found.calls == 80
    assert metric["kind"] == "binary"
    assert (metric["baseline"], metric["candidate"]) == (0.75, 0.6)
    assert found.document["flips"]["regressed"] == [f"q{i}" for i in range(24, 30)]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_criteria_count_by_their_weights(bench: Bench, provider: str) -> None:
    bench.cases(20)
    bench.suite()
    bench.sides([f"half {i}" for i in range(20)], [f"other {i}" for i in range(20)])
    bench.server.truth({f"half {i}": {"right": 1, "brief": 0} for i in range(20)})
    bench.server.truth({f"other {i}": {"right": 0, "brief": 1} for i in range(20)})
    bench.judge(
        mode="pointwise",
        provider=provider,
        criteria=("{id: right, text: It is right., weight: 3}", "{id: brief, text: It is brief.}"),
    )
    found = bench.compare()
    metric = found.metric()
    assert (metric["kind"], metric["baseline"], metric["candidate"]) == ("bounded", 0.75, 0.25)
    assert bench.judgments()[0]["votes"][0]["marks"] == {"right": 1.0, "brief": 0.0}


def test_a_reference_is_shown_where_the_prompt_asks_for_it(bench: Bench) -> None:
    qualities(bench, [0.9] * 4, [0.1] * 4)
    bench.cases(4, more={i: {"target": f"the reference {i}"} for i in range(4)})
    bench.judge(mode="pointwise")
    bench.compare()
    sent = bench.server.last()["body"]["messages"][-1]["content"]
    assert "the reference " in sent
    assert "<<<begin reference " in sent


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_claims_are_held_against_the_contexts(bench: Bench, provider: str) -> None:
    """Two of three sentences stand in the contexts; an answer without a claim has no score, which counts as 0."""
    contexts = {"contexts": ["The shop opens at nine. It is red.", "It sells tea."]}
    bench.cases(21, more=dict.fromkeys(range(21), contexts))
    bench.suite(gate="{max_failures: 10%}")
    bench.judge(mode="claims", provider=provider)
    bench.sides(
        [f"It is red. It sells tea. It opens at eight {i}." for i in range(21)],
        [f"It is red. It is open on day {i}." for i in range(20)] + [" "],
    )
    found = bench.compare()
    metric = found.metric()
    assert metric["kind"] == "bounded"
    assert metric["baseline"] == pytest.approx(2 / 3)
    assert metric["candidate"] == pytest.approx(0.5 * 20 / 21)
    assert metric["n_missing"] == {"baseline": 0, "candidate": 1}
    empty = [row for row in bench.judgments() if row["value"] is None]
    assert [(row["id"], row["role"], row["problem"]) for row in empty] == [("q20", "candidate", "no claims")]


# --- panels ----------------------------------------------------------------------------------------------------------


def test_a_majority_outvotes_one_judge(bench: Bench) -> None:
    qualities(bench, [0.5] * 20, [0.9] * 12 + [0.1] * 8)
    for name, model in (("one", "judge-fair"), ("two", "judge-fair?key=2"), ("odd", "judge-first")):
        bench.judge(model, name=name)
    bench.panel("one", "odd", "two")
    found = bench.compare()
    assert found.calls == 120
    assert bench.values() == [1.0] * 12 + [0.0] * 8


def test_a_mean_takes_every_judge(bench: Bench) -> None:
    qualities(bench, [0.5] * 20, [0.9] * 20)
    bench.judge("judge-fair", name="one")
    bench.judge("judge-first", name="odd")
    bench.panel("one", "odd", combine="mean")
    bench.compare()
    assert set(bench.values()) == {0.75}


def test_a_majority_stands_where_the_broken_member_could_not_change_it(bench: Bench) -> None:
    qualities(bench, [0.5] * 10, [0.9] * 10)
    for name, model in (("one", "judge-fair"), ("two", "judge-fair?key=2"), ("odd", "judge-broken")):
        bench.judge(model, name=name)
    bench.panel("one", "two", "odd")
    bench.compare()
    assert bench.values() == [1.0] * 10
    assert all("1 of 3 judges gave no verdict" in row["problem"] for row in bench.judgments())


def test_a_mean_with_a_broken_member_is_no_verdict(bench: Bench) -> None:
    qualities(bench, [0.5] * 10, [0.9] * 10)
    bench.judge("judge-fair", name="one")
    bench.judge("judge-broken", name="odd")
    bench.panel("one", "odd", combine="mean")
    found = bench.compare(check=4)
    assert bench.values() == [None] * 10
    assert "odd" in bench.judgments()[0]["problem"]
    coverage = found.document["coverage"]["candidate"]
    assert (coverage["planned"], coverage["unscored"]) == (10, 10)


def test_a_recorded_judge_votes_beside_those_that_are_asked(bench: Bench) -> None:
    qualities(bench, [0.5] * 10, [0.9] * 10)
    bench.judge("judge-fair", name="one")
    bench.recorded(
        [{"id": f"q{i}", "order": order, "winner": "baseline"} for i in range(10) for order in ("AB", "BA")],
        name="old",
    )
    bench.panel("one", "old", combine="mean")
    found = bench.compare()
    assert found.calls == 20
    assert set(bench.values()) == {0.5}
    assert [vote["judge"] for vote in bench.judgments()[0]["votes"]] == ["one", "one", "old", "old"]


def test_one_judge_under_two_names_is_no_panel(bench: Bench) -> None:
    qualities(bench, [0.5] * 4, [0.9] * 4)
    bench.judge(name="one")
    bench.judge(name="two")
    bench.panel("one", "two")
    found = bench.compare(check=2)
    assert "two is the very judge that one is" in found.err


def test_a_panel_decides_criterion_by_criterion(bench: Bench) -> None:
    qualities(bench, [0.9] * 12, [0.1] * 12)
    for name, model in (("one", "judge-fair"), ("two", "judge-fair?key=2"), ("odd", "judge-second")):
        bench.judge(model, name=name, mode="pointwise")
    bench.panel("one", "two", "odd", mode="pointwise")
    metric = bench.compare().metric()
    assert (metric["baseline"], metric["candidate"], metric["kind"]) == (1.0, 0.0, "bounded")


# --- repeats, clusters, slices ---------------------------------------------------------------------------------------


def repeated(bench: Bench, name: str, n: int, repeats: int, quality: float) -> None:
    rows = [
        answer(f"q{i}", of(quality, name, i, repeat), repeat=repeat)
        for i in range(n)
        for repeat in range(repeats)
    ]
    bench.project.candidate(name, rows)


@pytest.mark.parametrize(("base", "cand"), [(3, 3), (1, 3), (3, 1), (3, 2)])
def test_repeats_are_averaged_inside_a_case(bench: Bench, base: int, cand: int) -> None:
    """Each answer of the candidate meets one of the baseline's; cases are counted, not answers."""
    bench.cases(12)
    bench.suite()
    repeated(bench, "base", 12, base, 0.5)
    repeated(bench, "cand", 12, cand, 0.9)
    bench.judge()
    found = bench.compare()
    assert found.calls == 12 * cand * 2
    assert len(bench.judgments()) == 12 * cand
    metric = found.metric()
    assert (metric["n"], metric["candidate"], metric["n_missing"]) == (
        12,
        1.0,
        {"baseline": 0, "candidate": 0},
    )


def test_repeats_of_one_answer_at_a_time(bench: Bench) -> None:
    bench.cases(12)
    bench.suite()
    repeated(bench, "base", 12, 1, 0.9)
    repeated(bench, "cand", 12, 3, 0.1)
    bench.judge(mode="pointwise")
    found = bench.compare()
    assert found.calls == 12 + 36
    assert (found.metric()["baseline"], found.metric()["candidate"]) == (1.0, 0.0)


def test_clusters_are_the_units(bench: Bench) -> None:
    qualities(bench, [0.5] * 40, [0.9] * 40)
    bench.cases(40, more={i: {"cluster": f"k{i % 10}"} for i in range(40)})
    bench.judge()
    metric = bench.compare().metric()
    assert (metric["n"], metric["n_units"]) == (40, 10)


def test_a_slice_of_a_judge_gates(bench: Bench) -> None:
    """All is well on the whole and one declared slice lost: the judge's standing carries to its slices."""
    cand = [0.1] * 40 + [0.9] * 80
    qualities(bench, [0.5] * 120, cand)
    bench.cases(120, more={i: {"tags": {"tier": "gold" if i < 40 else "free"}} for i in range(120)})
    bench.suite(gate="{slices: [{metric: qa/judge, slice: tier=gold}]}")
    bench.judge()
    bench.calibrate()
    found = bench.compare(check=1)
    gold = next(row for row in found.document["slices"] if row["slice"] == "tier=gold")
    assert (gold["id"], gold["status"], gold["candidate"]) == ("qa/judge", "regression", 0.0)
    bench.calibrate(agreement=Measured(value=0.5, low=0.4, high=0.6, n=60))
    unearned = bench.compare(check=4)
    assert "nothing is gated" in " ".join(unearned.document["reasons"])


# --- looks -----------------------------------------------------------------------------------------------------------


def test_only_the_cases_of_a_look_are_judged(bench: Bench) -> None:
    """A clear loss stops at the first look: the judge saw no more cases than the look holds."""
    qualities(bench, [0.9] * 300, [0.1] * 300)
    bench.suite(more="sampling: {initial: 100, max: 300, looks: 3}\n")
    bench.judge()
    bench.calibrate()
    found = bench.compare(check=1)
    looks = found.document["looks"]
    judged = {row["id"] for row in bench.judgments()}
    assert (looks["look"], looks["stopped"]) == (1, "regression")
    assert len(judged) == found.metric()["n"] < 300
    assert found.calls == 2 * len(judged)
    assert bench.compare(check=1).calls == 0


def test_every_look_asks_only_what_is_new(bench: Bench) -> None:
    qualities(bench, [0.5] * 120, [0.9 if i % 2 else 0.1 for i in range(120)])
    bench.suite(more="sampling: {initial: 30, max: 120, looks: 4}\n")
    bench.judge()
    bench.calibrate()
    found = bench.compare("--fresh")
    assert found.calls == 2 * len(bench.judgments()) == 2 * found.metric()["n"]


# --- rendering again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", "sampling: {initial: 20, max: 48, looks: 3}\n"])
@pytest.mark.parametrize("model", ["judge-fair", "judge-once-broken", "judge-broken"])
def test_report_asks_nothing_and_says_the_same(bench: Bench, more: str, model: str) -> None:
    qualities(bench, [0.5] * 60, [0.9 if i % 3 else 0.1 for i in range(60)])
    bench.suite(more=more)
    bench.judge(model)
    bench.calibrate()
    bench.compare()
    names = ("comparison.json", "report.html", "summary.md", "junit.xml", "judgments.jsonl")
    before = {name: (bench.root / "out" / name).read_bytes() for name in names}
    calls = bench.calls()
    bench.project.run("report", "out")
    assert bench.calls() == calls
    assert {name: (bench.root / "out" / name).read_bytes() for name in names} == before
