"""`budget:` of a suite: asked before each call, over both sides, and everything that was collected is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.judged import Bench
from tests.servers.fixture import ModelServerHandle

CASES = 30
PRICE = "price: {input_per_million: 1000, output_per_million: 1000}\n"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "k")


def write(
    tmp_path: Path, server: ModelServerHandle, budget: str, more: str = PRICE, model: str = "lookup"
) -> Project:
    project = Project(tmp_path)
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": f"question {i}", "target": "a"} for i in range(CASES)]
    )
    project.suite()
    project.write("suite.yaml", (tmp_path / "suite.yaml").read_text() + f"budget: {budget}\n")
    for side in ("base", "cand"):
        project.write(
            f"{side}.yaml",
            f"name: {side}\nsuite: ./suite.yaml\nprovider: openai\nmodel: '{model}'\nbase_url: {server.base_url}\n"
            f"api_key_env: TEST_KEY\ndecoding: {{max_tokens: {8 if side == 'base' else 9}}}\n"
            f"limits: {{concurrency: 4, max_retries: 1}}\n{more}",
        )
    server.reset()
    return project


def stored(tmp_path: Path) -> int:
    return sum(
        p.read_bytes().count(b"\n") - 1 for p in (tmp_path / ".evalharness").glob("runs/*/journal.jsonl")
    )


def test_calls_are_counted_over_both_sides_and_a_higher_budget_resumes(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    project = write(tmp_path, model_server, "{calls: 40}")
    done = project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=5)
    assert "suite.yaml: the budget of 40 calls does not cover the next call (40 made)" in done.err
    assert "cand: 10/30" in done.err and "s left" not in done.err  # what was stopped is not on its way
    assert model_server.counters()["requests"] == 40 and stored(tmp_path) == 10
    assert not (tmp_path / "out" / "comparison.json").exists()
    project.write("suite.yaml", (tmp_path / "suite.yaml").read_text().replace("40", "60"))
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=0)
    assert model_server.counters()["requests"] == 2 * CASES


@pytest.mark.parametrize(("budget", "said"), [("{tokens: 300}", "300 tokens"), ("{usd: 0.3}", r"\$0.3")])
def test_a_budget_is_never_passed_where_calls_take_what_was_held(
    tmp_path: Path, model_server: ModelServerHandle, budget: str, said: str
) -> None:
    project = write(tmp_path, model_server, budget)
    done = project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=5)
    assert said.replace("\\", "") in done.err
    used = 0
    for journal in (tmp_path / ".evalharness").glob("runs/*/*.jsonl"):
        for line in journal.read_text().splitlines():
            used += sum((json.loads(line).get("usage") or {}).values())
    assert 0 < used <= 300


def test_retries_are_calls(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server, "{calls: 10}", model="lookup?times=1&code=500&retry_after_ms=1")
    project.run("run", "base.yaml", check=5)
    assert model_server.counters()["requests"] == 10


def test_an_unknown_price_is_said_before_a_call(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server, "{usd: 5}", more="")
    done = project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=2)
    assert "what base costs is not known; add `price:" in done.err
    assert model_server.counters()["requests"] == 0


def test_answers_that_are_there_cost_nothing_of_it(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server, "{calls: 60}")
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=0)
    project.write("suite.yaml", (tmp_path / "suite.yaml").read_text().replace("60", "1"))
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=0)


def test_a_wrong_budget_is_a_clear_error(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server, "{usd: 0, call: 5}")
    done = project.run("run", "base.yaml", check=2)
    assert "budget.usd" in done.err and "did you mean calls?" in done.err


def test_a_budget_is_spent_to_its_end_however_many_calls_are_under_way(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    """What is held for calls under way (4,096 tokens each) comes back: the next ones wait for it."""
    project = write(tmp_path, model_server, "{tokens: 6000}")
    side = (tmp_path / "base.yaml").read_text()
    project.write("base.yaml", side.replace("max_tokens: 8", "max_tokens: 4096"))
    project.run("run", "base.yaml", check=0)
    assert model_server.counters()["requests"] == CASES


@pytest.mark.parametrize("usage", ["0", "negative", "text", "null", "part", "huge"])
def test_usage_that_is_not_told_or_cannot_be_true_takes_what_was_held(
    tmp_path: Path, model_server: ModelServerHandle, usage: str
) -> None:
    project = write(tmp_path, model_server, "{tokens: 100, usd: 50}", model=f"lookup?usage={usage}")
    done = project.run("run", "base.yaml", check=5)
    assert "of 100 tokens does not cover the next call" in done.err
    assert 0 < model_server.counters()["requests"] <= 10


def test_a_budget_holds_without_a_limit_on_answers_whatever_is_asked_at_once(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    """The first answer is waited for: 30 calls at once would take twice what is allowed."""
    project = write(tmp_path, model_server, "{tokens: 300}", model="lookup?latency_ms=20")
    side = (tmp_path / "base.yaml").read_text()
    project.write(
        "base.yaml",
        side.replace("{max_tokens: 8}", "{temperature: 0}").replace("concurrency: 4", "concurrency: 64"),
    )
    project.run("run", "base.yaml", check=5)
    (journal,) = (tmp_path / ".evalharness").glob("runs/*/journal.jsonl")
    used = sum(
        sum((json.loads(line).get("usage") or {}).values()) for line in journal.read_text().splitlines()
    )
    assert 200 < used <= 300


def test_what_resumes_a_run_that_uses_nothing_stored(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server, "{calls: 40}")
    done = project.run("compare", "base.yaml", "cand.yaml", "--fresh", check=5)
    assert "--fresh asks everything again, so leave it out then" in done.err
    project.write("suite.yaml", (tmp_path / "suite.yaml").read_text().replace("40", "60"))
    project.run("compare", "base.yaml", "cand.yaml", check=0)
    assert model_server.counters()["requests"] == 2 * CASES


def test_a_ranking_spends_from_it(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server, "{calls: 40}")
    project.run("rank", "base.yaml", "cand.yaml", check=5)
    assert model_server.counters()["requests"] == 40


def test_a_budget_that_caps_nothing_is_refused(tmp_path: Path, model_server: ModelServerHandle) -> None:
    done = write(tmp_path, model_server, "{usd: null}").run("run", "base.yaml", check=2)
    assert "caps nothing: write usd, calls or tokens" in done.err


def test_a_plan_says_where_the_budget_may_not_be_enough(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    project = write(tmp_path, model_server, "{calls: 59, tokens: 100, usd: 0.01}")
    plan = json.loads(project.run("plan", "base.yaml", "cand.yaml", "--json").out)
    said = " ".join(plan["warnings"])
    assert "budget.calls (59) may stop the comparison: 60 are planned" in said
    assert "budget.tokens (100)" in said and "budget.usd ($0.01) may stop the comparison" in said
    assert plan["budget"] == {"usd": 0.01, "calls": 59, "tokens": 100}
    project.write("suite.yaml", (tmp_path / "suite.yaml").read_text().replace("59", "60"))
    done = project.run("plan", "base.yaml", "cand.yaml")
    assert "budget.calls" not in done.out and "altogether" in done.out and "60 calls, 100 tokens" in done.out
    for side in ("base", "cand"):
        project.write(f"{side}.yaml", (tmp_path / f"{side}.yaml").read_text().replace("price:", "#"))
    done = project.run("plan", "base.yaml", "cand.yaml")
    assert "the price of base and cand is not known, which compare refuses" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("usage", "price", "said"),
    [
        ("0", PRICE, "cost unknown: no answer tells its tokens"),
        ("1", "", "cost unknown: no price is stated"),
        ("1", PRICE, "cost $0."),
    ],
)
def test_a_cost_that_is_not_known_is_said_and_is_no_zero(
    tmp_path: Path, model_server: ModelServerHandle, usage: str, price: str, said: str
) -> None:
    project = write(tmp_path, model_server, "{calls: 99}", more=price, model=f"lookup?usage={usage}")
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=0)
    (told,) = [
        line for line in (tmp_path / "out/summary.md").read_text().splitlines() if "candidate asked:" in line
    ]
    assert said in told.replace("\\", "")
    facts = json.loads((tmp_path / "out/manifest.json").read_text())["candidate"]["facts"]
    assert (facts["spent_usd"] is None) == ("unknown" in said)


def test_what_judges_cost_is_told_and_told_again(tmp_path: Path, model_server: ModelServerHandle) -> None:
    bench = Bench(write(tmp_path, model_server, "{calls: 200}"), model_server)
    model_server.answers({})
    bench.judge("judge-tie", mode="pointwise", price="{input_per_million: 1, output_per_million: 1}")
    bench.suite(scorers="[exact_match]", gate="{max_drop: 2pp, metrics: {qa/judge: advisory}}")
    bench.project.run("compare", "base.yaml", "cand.yaml", "--out", "out")
    summary = (tmp_path / "out/summary.md").read_text()
    assert re.search(r"30 calls made, [\d,]+ tokens in, [\d,]+ out, \\\$0\.", summary)
    bench.project.run("report", "out")
    assert (tmp_path / "out/summary.md").read_text() == summary
