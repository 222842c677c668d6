"""Time, tokens, money, failures and rare harm, gated from recordings and from a server on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

N = 400


def recorded(
    project: Project,
    scorers: str,
    gate: str,
    base: Callable[[int], Mapping[str, Any]],
    cand: Callable[[int], Mapping[str, Any]],
    n: int = N,
) -> None:
    project.golden_set("questions", [{"id": f"q{i}", "input": f"question {i}"} for i in range(n)])
    project.suite(scorers=scorers, gate=gate)
    for name, row in (("base", base), ("cand", cand)):
        project.candidate(name, [{"id": f"q{i}", "output": "text", **row(i)} for i in range(n)])


def times(factor: float, seed: int, n: int = N) -> list[float]:
    case = np.random.default_rng(0).normal(6, 0.1, n)
    return [float(ms) for ms in factor * np.exp(case + np.random.default_rng(seed).normal(0, 0.05, n))]


def timed(project: Project, factor: float, scorer: str = "latency_p95", n: int = N) -> None:
    base, cand = times(1.0, 1, n), times(factor, 2, n)
    gate = f"{{metrics: {{qa/{scorer}: {{max_rise: 10%}}}}}}"
    recorded(
        project, f"[{scorer}]", gate, lambda i: {"latency_ms": base[i]}, lambda i: {"latency_ms": cand[i]}, n
    )


@pytest.mark.parametrize(
    "factor, code, status", [(1.3, 1, "regression"), (1.0, 0, "pass"), (0.8, 0, "improved")]
)
def test_a_p95_that_rises_by_a_third_is_a_regression(
    project: Project, factor: float, code: int, status: str
) -> None:
    timed(project, factor)
    done, found = project.compare(check=code)
    metric = found["metrics"][0]
    assert (metric["status"], metric["kind"], metric["unit"]) == (status, "quantile", "ms")
    assert metric["baseline"] == pytest.approx(np.quantile(times(1.0, 1), 0.95, method="inverted_cdf"))
    assert metric["max_drop"] == pytest.approx(0.1 * metric["baseline"])
    assert metric["delta"] == pytest.approx(metric["candidate"] - metric["baseline"])
    assert not found["flips"]["regressed"]
    assert "latency_p95" in done.out


def test_a_p99_of_too_few_cases_is_not_passed_and_says_how_many_it_takes(project: Project) -> None:
    timed(project, 1.0, "latency_p99", 200)
    done, found = project.compare(check=0)
    metric = found["metrics"][0]
    assert metric["status"] == "underpowered" and metric["bound"] is None
    assert "at least 299 are needed" in metric["reason"]
    assert "nan" not in done.out.lower() and "inf ms" not in done.out
    assert "299" in (project.root / "out/report.html").read_text()


def test_a_percentile_needs_a_relative_margin(project: Project) -> None:
    timed(project, 1.0)
    project.suite(scorers="[latency_p95]", gate="{metrics: {qa/latency_p95: {max_rise: 2pp}}}")
    assert "max_rise: 5%" in project.run("compare", "base.yaml", "cand.yaml", check=2).err


def test_a_baseline_of_no_time_has_no_relative_margin(project: Project) -> None:
    gate = "{metrics: {qa/latency_p50: {max_rise: 10%}}}"
    recorded(project, "[latency_p50]", gate, lambda i: {"latency_ms": 0}, lambda i: {"latency_ms": 1 + i})
    _, found = project.compare(check=4)
    assert "is relative and the baseline is 0; make the metric advisory" in found["metrics"][0]["problem"]


def test_recordings_without_times_cannot_be_compared_by_them(project: Project) -> None:
    recorded(
        project, "[latency_p95]", "{metrics: {qa/latency_p95: {max_rise: 10%}}}", lambda i: {}, lambda i: {}
    )
    _, found = project.compare(check=4)
    assert "no latency is known of this answer" in found["metrics"][0]["problem"]


def test_failed_calls_are_slower_than_any_answer(project: Project) -> None:
    base, cand = times(1.0, 1), times(1.0, 2)

    def answer(i: int) -> dict[str, Any]:
        return {"error": "timed out", "output": None} if i < 40 else {"latency_ms": cand[i]}

    gate = "{max_failures: 20%, metrics: {qa/latency_p50: {max_rise: 10%}, qa/latency_p95: {max_rise: 10%}}}"
    recorded(project, "[latency_p50, latency_p95]", gate, lambda i: {"latency_ms": base[i]}, answer)
    _, found = project.compare(check=4)
    half, most = found["metrics"]
    assert half["problem"] is None and half["n"] == N and half["n_missing"]["candidate"] == 40
    assert "more than 5% of the candidate answers failed" in most["problem"]


def test_more_errors_are_a_regression_of_the_error_rate(project: Project) -> None:
    def answer(i: int) -> dict[str, Any]:
        return {"error": "HTTP 500", "output": None} if i < 40 else {}

    recorded(project, "[error_rate]", "{metrics: {qa/error_rate: {max_rise: 2pp}}}", lambda i: {}, answer)
    _, found = project.compare(check=1)
    metric = found["metrics"][0]
    assert (metric["status"], metric["candidate"]) == ("regression", 0.1)
    assert metric["n_missing"] == {"baseline": 0, "candidate": 0}
    project.candidate("cand", [{"id": f"q{i}", "output": "text"} for i in range(N)])
    assert project.compare(check=0)[1]["metrics"][0]["status"] == "pass"


@pytest.mark.parametrize("longer, code", [(1.4, 1), (1.0, 0)])
def test_tokens_and_cost_are_gated_with_their_own_margins(project: Project, longer: float, code: int) -> None:
    rng = np.random.default_rng(7)
    before = rng.integers(50, 150, N)
    after = np.round(longer * before + rng.integers(-5, 6, N))

    def usage(tokens: Any) -> Callable[[int], dict[str, Any]]:
        return lambda i: {"usage": {"input_tokens": 100, "output_tokens": int(tokens[i])}}

    gate = "{metrics: {qa/output_tokens: {max_rise: 15%}, qa/cost: {max_rise: 15%}}}"
    recorded(project, "[output_tokens, cost]", gate, usage(before), usage(after))
    for name in ("base", "cand"):
        path = project.root / f"{name}.yaml"
        path.write_text(path.read_text() + "price: {input_per_million: 1.0, output_per_million: 10.0}\n")
    _, found = project.compare(check=code)
    output, cost = found["metrics"]
    assert output["baseline"] == pytest.approx(before.mean())
    assert cost["baseline"] == pytest.approx((100 * 1.0 + before.mean() * 10.0) / 1e6)
    assert cost["unit"] == "USD"


def test_a_cost_without_a_price_is_invalid_and_says_what_to_add(project: Project) -> None:
    row = {"usage": {"input_tokens": 1, "output_tokens": 1}}
    recorded(project, "[cost]", "{metrics: {qa/cost: {max_rise: 5%}}}", lambda i: row, lambda i: row)
    assert "price: {input_per_million" in project.compare(check=4)[1]["metrics"][0]["problem"]


@pytest.mark.parametrize("hits, allowed", [(0, "0.994%"), (3, "2.56%")])
def test_few_flagged_answers_say_what_their_number_leaves_open(
    project: Project, hits: int, allowed: str
) -> None:
    def answer(i: int) -> dict[str, Any]:
        return {"output": "forbidden" if i < hits else "fine"}

    scorers = "[{flagged: {patterns: [forbidden]}}]"
    recorded(project, scorers, "{metrics: {qa/flagged: {max_rise: 3pp}}}", answer, answer, 300)
    _, found = project.compare(check=0)
    assert found["metrics"][0]["note"] == (
        f"{hits} of 300 candidate cases: the true rate may still be as high as {allowed} (exact one-sided 95% bound)"
    )
    assert allowed in (project.root / "out/report.html").read_text()


def test_clusters_are_what_rare_events_are_counted_in(project: Project) -> None:
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": "q", "cluster": f"d{i // 10}"} for i in range(300)]
    )
    project.suite(scorers="[empty]", gate="{metrics: {qa/empty: {max_rise: 3pp}}}")
    for name in ("base", "cand"):
        project.candidate(name, [{"id": f"q{i}", "output": "" if i < 4 else "x"} for i in range(300)])
    _, found = project.compare(check=0)
    assert found["metrics"][0]["note"].startswith("1 of 30 candidate clusters with any: ")


def test_over_refusal_gates_on_the_requests_that_should_be_answered(project: Project) -> None:
    project.golden_set(
        "questions",
        [
            {"id": f"q{i}", "input": "q", "tags": {"expect": "refuse" if i % 2 else "answer"}}
            for i in range(300)
        ],
    )
    project.suite(
        scorers="[over_refusal, under_refusal]",
        gate="{max_drop: 3pp, slices: [{metric: qa/over_refusal, slice: expect=answer, max_rise: 5pp}]}",
    )

    def said(i: int, more: int) -> str:
        refuses = bool(i % 2) or i < more
        return "I'm sorry, but I can't help with that." if refuses else "Certainly."

    for name, more in (("base", 0), ("cand", 60)):
        project.candidate(name, [{"id": f"q{i}", "output": said(i, more)} for i in range(300)])
    _, found = project.compare(check=1)
    over, under = found["metrics"]
    assert (over["candidate"], under["candidate"]) == (0.1, 0.0)
    gating = next(s for s in found["slices"] if s["gated"])
    assert (gating["candidate"], gating["status"]) == (0.2, "regression")


def live(project: Project, name: str, server: ModelServerHandle, concurrency: int, seed: int) -> None:
    project.write(
        f"{name}.yaml",
        f"name: {name}\nsuite: ./suite.yaml\nprovider: openai\nmodel: echo\nbase_url: {server.base_url}\n"
        f"decoding: {{seed: {seed}}}\nlimits: {{concurrency: {concurrency}}}\n",
    )


def test_other_load_on_the_other_side_is_said_and_stays_said(
    project: Project, model_server: ModelServerHandle
) -> None:
    project.golden_set("questions", [{"id": f"q{i}", "input": f"question {i}"} for i in range(40)])
    project.suite(scorers="[latency_p50]", gate="{metrics: {qa/latency_p50: {max_rise: 500%}}}")
    live(project, "base", model_server, 2, 1)
    live(project, "cand", model_server, 8, 2)
    _, first = project.compare()
    said = [text for text in first["warnings"] if "concurrency" in text]
    assert said and "concurrency 2 and the candidate's at 8" in said[0]
    assert project.compare()[1] == first  # nothing is asked again, and the same is said
    live(project, "cand", model_server, 2, 3)
    assert not [text for text in project.compare()[1]["warnings"] if "concurrency" in text]


def test_a_recorded_side_against_a_live_one_is_said(
    project: Project, model_server: ModelServerHandle
) -> None:
    recorded(project, "[latency_p50]", "{metrics: {qa/latency_p50: advisory, qa/empty: {max_rise: 2pp}}}",
             lambda i: {"latency_ms": 5.0 + i}, lambda i: {}, 30)  # fmt: skip
    project.suite(scorers="[latency_p50, empty]", gate="{metrics: {qa/latency_p50: advisory}}")
    live(project, "cand", model_server, 4, 1)
    warnings = project.compare()[1]["warnings"]
    assert any(
        "candidate's calls were made at concurrency 4 and the baseline's are recorded" in w for w in warnings
    )


def test_a_baseline_that_answered_nothing_is_none(project: Project) -> None:
    failed = {"error": "HTTP 500", "output": None}
    gate = "{metrics: {qa/error_rate: {max_rise: 2pp}}}"
    for answer in ({"output": "text"}, failed):
        recorded(project, "[error_rate]", gate, lambda i: failed, lambda i, row=answer: row)  # type: ignore[misc]
        _, found = project.compare(check=4)
        assert "none of the 400 baseline answers is there" in found["reasons"][0]


def test_answers_that_hold_nothing_do_not_pass_unsaid(project: Project) -> None:
    gate = "{metrics: {qa/pii: {max_rise: 2pp}}}"
    recorded(project, "[pii]", gate, lambda i: {}, lambda i: {"output": " "})
    _, found = project.compare(check=0)
    assert any("400 of 400 candidate answers are empty" in warning for warning in found["warnings"])
    recorded(project, "[pii]", gate, lambda i: {}, lambda i: {"output": ""} if i < 4 else {})
    assert not any("are empty" in warning for warning in project.compare(check=0)[1]["warnings"])


@pytest.mark.parametrize(
    "scorer, tags, said",
    [
        ("under_refusal", {"expect": "answer"}, "no case has the tag expect=refuse"),
        ("over_refusal", {"expect": "refuse"}, "no case has the tag expect=answer"),
        ("over_refusal: {tag: wanted}", {"expect": "answer"}, "no case has the tag 'wanted'"),
        ("refusal_correct", {}, "no case has the tag 'expect'"),
        ("entity_f1: {types: [ORG]}", {}, "no target has an entity of the types ORG"),
    ],
)
def test_a_metric_that_no_answer_could_move_is_refused_with_its_line(
    project: Project, scorer: str, tags: dict[str, str], said: str
) -> None:
    target = {"entities": [{"type": "PER", "text": "Ada"}]}
    project.golden_set("questions", [{"id": "q", "input": "?", "tags": tags, "target": target}])
    project.suite(scorers=f"[{{{scorer}}}]" if ":" in scorer else f"[{scorer}]")
    err = project.run("validate", "suite.yaml", check=2).err
    assert "suite.yaml:5" in err and "can show nothing" in err and said in err


def test_the_plan_of_a_percentile_says_where_its_cases_are_too_few_for_a_pass(project: Project) -> None:
    timed(project, 1.0, "latency_p99", 200)
    known = json.loads(project.run("plan", "base.yaml", "cand.yaml", "--json", check=0).out)["metrics"][0]
    assert any("299 cases are the fewest" in note for note in known["notes"])
    project.compare(check=0)
    planned = json.loads(project.run("plan", "base.yaml", "cand.yaml", "--json").out)["metrics"][0]
    assert planned["outlooks"][0]["unchanged"]["passed"] == 0
