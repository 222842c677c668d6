"""Nothing a judge said is paid for twice, nothing it failed to say is taken for a verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.e2e.judged import Bench, of
from tests.servers.fixture import ModelServerHandle

PRICE = "{input_per_million: 1000, output_per_million: 1000}"


@pytest.fixture
def bench(project: Project, model_server: ModelServerHandle) -> Bench:
    return Bench(project, model_server)


def project_of(bench: Bench, n: int = 20, better: int | None = None) -> None:
    """`n` cases; the candidate's answers are better on the first `better` of them (all), and worse on the others."""
    bench.cases(n)
    bench.suite()
    wins = n if better is None else better
    bench.sides(
        [of(0.5, "base", i) for i in range(n)],
        [of(0.9 if i < wins else 0.1, "cand", i) for i in range(n)],
    )


# --- what is not asked again -----------------------------------------------------------------------------------------


def test_an_unchanged_baseline_is_not_judged_again(bench: Bench) -> None:
    project_of(bench)
    bench.judge(mode="pointwise")
    assert bench.compare().calls == 40
    bench.project.candidate("cand", [{"id": f"q{i}", "output": of(0.8, "other", i)} for i in range(20)])
    assert bench.compare().calls == 20


def test_one_answer_on_both_sides_is_judged_once(bench: Bench) -> None:
    bench.cases(10)
    bench.suite()
    texts = [of(0.5, i) for i in range(10)]
    bench.sides(texts, texts)
    bench.judge(mode="pointwise")
    found = bench.compare()
    assert found.calls == 10
    assert found.metric()["delta"] == 0


def test_another_rubric_is_another_judge(bench: Bench) -> None:
    project_of(bench)
    bench.judge()
    assert bench.compare().calls == 40
    bench.judge(rubric="Prefer the shorter answer.")
    assert bench.compare().calls == 40
    bench.judge()
    assert bench.compare().calls == 0


@pytest.mark.parametrize("key", ["limits: {concurrency: 2}", "api_key_env: SOME_KEY", f"price: {PRICE}"])
def test_what_shapes_no_verdict_asks_nothing_again(
    bench: Bench, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "k")
    project_of(bench)
    bench.judge()
    bench.compare()
    name, _, value = key.partition(": ")
    bench.judge(**{name: value})
    assert bench.compare().calls == 0


def test_another_case_costs_only_its_own_calls(bench: Bench) -> None:
    project_of(bench)
    bench.judge()
    bench.compare()
    bench.cases(20, more={3: {"input": "another question"}})
    assert bench.compare().calls == 2
    bench.cases(22)
    texts = [of(0.5, "base", i) for i in range(22)], [of(0.9, "cand", i) for i in range(22)]
    bench.sides(*texts)
    assert bench.compare().calls == 4


def test_the_same_answers_to_another_question_are_another_verdict(bench: Bench) -> None:
    """Two golden sets may use one id: what was said of the one is not said of the other."""
    for name, question in (("questions", "what is good?"), ("others", "what is bad?")):
        bench.project.golden_set(name, [{"id": f"q{i}", "input": f"{question} {i}"} for i in range(8)])
    bench.project.write(
        "suite.yaml",
        "name: project\nevals:\n"
        "  - {id: one, golden_set: ./questions, scorers: [], judge: ./judge}\n"
        "  - {id: two, golden_set: ./others, scorers: [], judge: ./judge}\n",
    )
    bench.sides([of(0.5)] * 8, [of(0.9)] * 8)
    bench.judge()
    assert bench.compare().calls == 32


def test_evals_that_share_a_judge_and_a_golden_set_share_its_verdicts(bench: Bench) -> None:
    project_of(bench)
    bench.project.write(
        "suite.yaml",
        "name: project\nevals:\n"
        "  - {id: one, golden_set: ./questions, scorers: [], judge: ./judge}\n"
        "  - {id: two, golden_set: ./questions, scorers: [], judge: ./twin}\n",
    )
    bench.judge()
    bench.judge(name="twin")
    found = bench.compare()
    assert found.calls == 40
    assert found.metric("one/judge")["delta"] == found.metric("two/judge")["delta"] == 0.5
    assert {(row["eval"], row["votes"][0]["judge"]) for row in bench.judgments()} == {
        ("one", "judge"),
        ("two", "twin"),
    }


def test_fresh_asks_the_judge_again(bench: Bench) -> None:
    project_of(bench)
    bench.judge()
    assert [bench.compare().calls, bench.compare().calls, bench.compare("--fresh").calls] == [40, 0, 40]


def test_a_fresh_comparison_in_looks_asks_nothing_twice(bench: Bench) -> None:
    project_of(bench, 60, better=30)
    bench.suite(more="sampling: {initial: 20, max: 60, looks: 3}\n")
    bench.judge()
    bench.calibrate()
    assert bench.compare("--fresh").calls == 2 * len(bench.judgments())


# --- killed, capped, resumed -----------------------------------------------------------------------------------------


def test_a_killed_judge_goes_on_where_it_was(bench: Bench) -> None:
    project_of(bench, 100)
    bench.judge("judge-fair?latency_ms=40", limits="{concurrency: 4}")
    before = bench.calls()
    process = subprocess.Popen(
        [sys.executable, "-m", "evalharness", "compare", "base.yaml", "cand.yaml", "--out", "out"],
        cwd=bench.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 60
    while bench.calls() - before < 40 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    killed = bench.calls() - before
    assert 40 <= killed < 200
    found = bench.compare()
    assert killed + found.calls <= 200 + 4  # those under way when it was killed
    assert found.metric()["candidate"] == 1.0
    assert bench.compare().calls == 0


def test_a_cap_stops_the_judge_and_what_it_said_is_kept(bench: Bench) -> None:
    project_of(bench)
    bench.judge(price=PRICE, limits="{concurrency: 1, max_cost_usd: 5}")
    capped = bench.compare(check=5)
    assert 0 < capped.calls < 40
    assert "the judge judge: the spend cap of $5 is reached" in capped.err
    assert not (bench.root / "out" / "comparison.json").exists()
    bench.judge(price=PRICE, limits="{concurrency: 1, max_cost_usd: 1000}")
    resumed = bench.compare()
    assert capped.calls + resumed.calls == 40


def test_a_cap_holds_over_the_evals_and_looks_of_a_comparison(bench: Bench) -> None:
    project_of(bench, 30)
    bench.suite(more="sampling: {initial: 10, max: 30, looks: 3}\n")
    bench.judge(price=PRICE, limits="{concurrency: 1}")
    assert bench.compare().calls == 60
    bench.judge(
        price=PRICE, limits="{concurrency: 1, max_tokens_total: 8000}", rubric="Prefer the better answer!"
    )
    first = bench.compare(check=5)
    assert 0 < first.calls < 60
    used = int(first.err.split(" used")[0].rsplit("(", 1)[1])
    assert used < 8000 + 1500  # one call goes over it, not one for each look


# --- replies that cannot be read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_reply_that_cannot_be_read_is_asked_for_once_more(bench: Bench, provider: str) -> None:
    project_of(bench)
    bench.judge("judge-once-broken", provider=provider)
    found = bench.compare()
    # the first reply about each pair of texts in each order is prose
    assert found.calls == 80
    assert bench.values() == [1.0] * 20
    assert bench.compare().calls == 0


@pytest.mark.parametrize(
    ("provider", "model", "problem"),
    [
        (provider, model, problem)
        for model, problem in (
            ("judge-broken", "the reply is not JSON"),
            ("judge-broken?how=missing", "lacks 'winner'"),
            ("judge-broken?how=other-value", 'winner must be "A", "B" or "TIE"'),
            ("judge-extra-keys", "keys that the schema does not know"),
            ("judge-truncated", "the reply was cut off at its token limit"),
        )
        for provider in ("openai", "anthropic")
        if (provider, model)
        != ("anthropic", "judge-broken")  # prose in place of a forced tool is no answer at all
    ],
)
def test_what_cannot_be_read_has_no_score_and_is_kept(
    bench: Bench, provider: str, model: str, problem: str
) -> None:
    """Asked for once more and no more; the gate is not passed and says why; the raw reply is kept."""
    project_of(bench)
    bench.judge(model, provider=provider)
    bench.calibrate()
    found = bench.compare(check=4)
    assert found.calls == 80
    (reason,) = [text for text in found.document["reasons"] if "qa/judge" in text]
    assert problem in reason
    rows = bench.judgments()
    assert [row["value"] for row in rows] == [None] * 20
    assert all(problem in vote["problem"] and vote["raw"] for row in rows for vote in row["votes"])
    assert found.metric()["n_missing"] == {"baseline": 0, "candidate": 20}


def test_json_in_a_fence_is_read(bench: Bench) -> None:
    project_of(bench)
    bench.judge("judge-fenced-json")
    assert bench.compare().calls == 40
    assert bench.values() == [1.0] * 20


def test_a_judge_that_refuses_everything_is_said_to(bench: Bench) -> None:
    project_of(bench)
    bench.judge("judge-refuses")
    bench.calibrate()
    found = bench.compare()
    assert found.code == 5
    assert "the judge judge: not one of 40 calls got an answer" in found.err
    assert "refused" in found.err


def test_a_few_unreadable_replies_count_against_the_candidate(bench: Bench) -> None:
    """One of 200 within gate.max_failures: a loss, not a gap. More than that: no verdict."""
    project_of(bench, 200)
    bench.judge()
    bench.calibrate()
    lines = [
        {"id": f"q{i}", "order": order, "winner": "candidate"} for i in range(200) for order in ("AB", "BA")
    ]
    for missing, code in ((1, 0), (5, 4)):
        bench.recorded(lines[2 * missing :])
        bench.calibrate(model="")
        found = bench.compare(check=code)
        metric = found.metric()
        assert metric["n_missing"]["candidate"] == missing
        assert metric["candidate"] == pytest.approx((200 - missing) / 200)
        assert found.document["coverage"]["candidate"]["unscored"] == missing
    assert any("there is no recorded verdict" in reason for reason in found.document["reasons"])


# --- endpoints with moods --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "code"), [("openai", 429), ("openai", 503), ("anthropic", 429), ("anthropic", 529)]
)
def test_a_busy_endpoint_is_waited_for(bench: Bench, provider: str, code: int) -> None:
    project_of(bench, 3)
    bench.judge(f"judge-fair?code={code}&times=1&retry_after_ms=20", provider=provider)
    found = bench.compare()
    assert bench.values() == [1.0] * 3
    assert found.calls == 12


def test_a_judge_out_of_time_is_a_provider_failure(bench: Bench) -> None:
    project_of(bench, 2)
    bench.judge("hang", limits="{timeout_s: 0.3, max_retries: 0}")
    bench.calibrate()
    found = bench.compare(check=5)
    assert "the judge judge: not one of 4 calls got an answer" in found.err


def test_a_few_calls_without_an_answer_have_no_verdict(bench: Bench) -> None:
    project_of(bench, 30)
    bench.judge("judge-fair?every=20&code=500", limits="{concurrency: 1, max_retries: 0}")
    bench.calibrate()
    found = bench.compare(check=4)
    missing = [row for row in bench.judgments() if row["value"] is None]
    assert len(missing) == 3
    assert all("the judge gave no reply" in row["problem"] for row in missing)
    assert any("the judge gave no reply" in reason for reason in found.document["reasons"])


def test_a_second_try_that_fails_does_not_end_the_comparison(bench: Bench) -> None:
    """The only re-ask there is meets an error: that one verdict is missing, which is no failure of the endpoint."""
    project_of(bench, 1)
    bench.judge("judge-broken?every=2&code=500", orders="random", limits="{concurrency: 1, max_retries: 0}")
    bench.calibrate()
    found = bench.compare(check=4)
    assert found.calls == 2
    assert bench.judgments()[0]["problem"] == "the reply is not JSON"


def test_an_endpoint_that_answers_with_another_model_does_not_gate(bench: Bench) -> None:
    project_of(bench)
    bench.judge("judge-fair?returned=judge-small-2026-01-01")
    bench.calibrate()
    found = bench.compare(check=4)
    text = " ".join(found.document["warnings"])
    assert "was answered by judge-small-2026-01-01" in text
    assert not found.metric()["gated"]
    before = (bench.root / "out" / "comparison.json").read_bytes()
    bench.project.run("report", "out", check=4)
    assert (bench.root / "out" / "comparison.json").read_bytes() == before


def test_where_what_was_said_lies(bench: Bench) -> None:
    """The report's folder has every reply; the judge's own run folder the raw answers."""
    project_of(bench, 3)
    bench.judge()
    bench.compare()
    row = bench.judgments()[0]
    assert set(row) >= {
        "eval",
        "id",
        "repeat",
        "role",
        "value",
        "source",
        "flipped",
        "flags",
        "problem",
        "votes",
    }
    assert row["votes"][0]["model"] == "judge-fair"
    assert row["votes"][0]["rationale"]
    stored = list(Path(bench.root / ".evalharness" / "runs").glob("judge-judge-*/attempts.jsonl"))
    assert len(stored) == 1
    assert len([json.loads(line) for line in stored[0].read_text().splitlines()]) == 6


# --- what it would cost, told before -----------------------------------------------------------------------------


def priced(bench: Bench, *arguments: str) -> list[dict[str, Any]]:
    """The judges of `plan --json`; a plan asks nothing and writes nothing."""
    before, files = bench.calls(), sorted(bench.root.rglob("*"))
    done = bench.project.run("plan", *(arguments or ("base.yaml", "cand.yaml")), "--json")
    assert bench.calls() == before
    assert sorted(bench.root.rglob("*")) == files
    judges: list[dict[str, Any]] = json.loads(done.out)["judges"]
    return judges


def calls_of(judges: list[dict[str, Any]]) -> list[int]:
    return [judge["stages"][-1]["calls"] for judge in judges]


@pytest.mark.parametrize(("mode", "orders", "calls"), [("pairwise", "both", 28), ("pairwise", "random", 14)])
def test_a_plan_knows_the_calls_on_answers_that_are_there(
    bench: Bench, mode: str, orders: str, calls: int
) -> None:
    """Pairs × orders, less pairs of equal answers and verdicts in the cache: what the comparison then takes."""
    bench.cases(20)
    bench.suite()
    base = [of(0.5, i) for i in range(20)]
    bench.sides(base, base[:6] + [of(0.9, i) for i in range(6, 20)])
    bench.judge(mode=mode, orders=orders, price=PRICE)
    (judge,) = priced(bench)
    assert (judge["eval"], judge["name"], judge["upper"]) == ("qa", "judge", False)
    assert calls_of([judge]) == [calls]
    assert judge["stages"][0]["input_tokens"] > 0
    assert judge["stages"][0]["usd"] > 0
    assert bench.compare().calls == calls
    assert calls_of(priced(bench)) == [0]
    assert priced(bench)[0]["stages"][0]["usd"] == 0
    assert calls_of(priced(bench, "base.yaml", "cand.yaml", "--fresh")) == [calls]


def test_a_plan_prices_every_member_of_a_panel_and_every_answer(bench: Bench) -> None:
    project_of(bench)
    bench.judge("judge-fair", name="one", mode="pointwise")
    bench.judge("judge-first", name="two", mode="pointwise")
    bench.recorded(
        [{"id": f"q{i}", "side": side, "score": 1} for i in range(20) for side in ("baseline", "candidate")],
        name="old",
        mode="pointwise",
    )
    bench.panel("one", "two", "old", mode="pointwise")
    judges = priced(bench)
    assert [judge["name"] for judge in judges] == ["one", "two", "old"]
    assert calls_of(judges) == [40, 40, 0]
    assert judges[2]["answers_from"] == "recording"
    assert bench.compare().calls == 80


def test_a_plan_of_answers_to_come_is_an_upper_bound(bench: Bench) -> None:
    project_of(bench)
    bench.judge()
    bench.calibrate()
    bench.server.answers({f"question {i}": of(0.5, "base", i) for i in range(20)})
    bench.project.write(
        "cand.yaml",
        "name: cand\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\ndecoding: {max_tokens: 50}\n"
        f"base_url: {bench.server.base_url}\n",
    )
    (judge,) = priced(bench)
    assert (judge["upper"], calls_of([judge])) == (True, [40])
    assert judge["stages"][0]["input_tokens"] > 0
    text = bench.project.run("plan", "base.yaml", "cand.yaml", check=0).out
    assert "judge judge of qa" in text
    assert "≤40" in text
    assert "at most so many calls" in text
    bench.compare()
    (judge,) = priced(bench)
    assert (judge["upper"], calls_of([judge])) == (False, [0])


def test_a_plan_prices_the_looks(bench: Bench) -> None:
    project_of(bench, 60)
    bench.suite(more="sampling: {initial: 20, max: 60, looks: 3}\n")
    bench.judge()
    (judge,) = priced(bench)
    assert [(stage["name"], stage["calls"]) for stage in judge["stages"]] == [
        ("first look", 40),
        ("routine", 120),
    ]


def test_a_plan_knows_whether_a_judge_may_gate(bench: Bench) -> None:
    project_of(bench)
    bench.judge()
    never = bench.project.run("plan", "base.yaml", "cand.yaml", check=2)
    assert "qa/judge is advisory: the judge judge was never calibrated" in " ".join(never.out.split())
    assert "nothing is gated" in never.err
    bench.calibrate()
    earned = bench.project.run("plan", "base.yaml", "cand.yaml", check=0)
    assert "qa/judge" in earned.out


def test_a_plan_warns_of_a_judges_cap(bench: Bench) -> None:
    project_of(bench)
    bench.judge(price=PRICE, limits="{max_cost_usd: 0.5}")
    done = bench.project.run("plan", "base.yaml", "cand.yaml")
    assert "judge judge of qa: limits.max_cost_usd (0.5) may stop its run" in " ".join(done.out.split())
