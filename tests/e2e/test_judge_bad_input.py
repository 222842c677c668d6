"""Judges, labels and verdicts that are wrong: each is named with its place, and none passes the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from evalharness.core.judges import Measured
from evalharness.spec.verdicts import text_digest
from tests.e2e.conftest import Project
from tests.e2e.judged import Bench, answer, of
from tests.servers.fixture import ModelServerHandle

N = 12


@pytest.fixture
def bench(project: Project, model_server: ModelServerHandle) -> Bench:
    """A project whose candidate is clearly better: only what is wrong with the judge can keep it from passing."""
    bench = Bench(project, model_server)
    bench.cases(N)
    bench.suite()
    bench.sides([of(0.5, "base", i) for i in range(N)], [of(0.9, "cand", i) for i in range(N)])
    return bench


def verdicts(**more: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"q{i}", "order": order, "winner": "candidate", **more}
        for i in range(N)
        for order in ("AB", "BA")
    ]


def label(name: object, said: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"l{name}",
        "input": f"asked {name}",
        "first": f"one {name}",
        "second": f"two {name}",
        "label": said,
        **more,
    }


def measured(value: float) -> Measured:
    return Measured(value=value, low=value - 0.05, high=value + 0.04, n=60)


def test_the_project_passes_where_nothing_is_wrong(bench: Bench) -> None:
    bench.judge()
    bench.calibrate()
    bench.compare(check=0)
    bench.recorded(verdicts())
    bench.calibrate(model="")
    bench.compare(check=0)


# --- files that are refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([*verdicts(), {"id": "nobody", "winner": "tie"}], "25: there is no case 'nobody'"),
        ([*verdicts(), {"id": "q0", "order": "AB", "winner": "baseline"}], "25: the verdict on 'q0' in the order AB"),
        ([*verdicts(), {"id": "q0", "order": "AB", "winner": "candidate"}], "already on line 1"),
        ([*verdicts()[:-1], {"id": "q11", "winner": "candidate"}], "'q11' has a verdict with an order and one"),
        (verdicts(baseline_digest="sha256:" + "0" * 64), "1: the verdict on 'q0' was given on other answers"),
        (verdicts(candidate_digest=text_digest("else")), "given on other answers"),
        ([{"id": "q0", "side": "candidate", "score": 1.0}], "must be on pairs of answers"),
        ([{"id": "q0", "preference": 1.5}], "preference must lie between 0 and 1"),
        ([{"id": "q0", "preference": None}], "preference must be a number"),
        ([{"id": "q0", "winner": "A"}], "name the side"),
        ([{"id": "q0", "winner": "tie", "order": "ABBA"}], "order must be AB"),
        ([], "holds no verdicts"),
    ],
)  # fmt: skip
def test_verdicts_that_do_not_fit(bench: Bench, lines: list[Mapping[str, Any]], told: str) -> None:
    bench.recorded(lines)
    found = bench.compare(check=2)
    assert "verdicts.jsonl" in found.err
    assert told in found.err
    assert not (bench.root / "out" / "comparison.json").exists()


def test_verdicts_on_these_very_texts_are_taken(bench: Bench) -> None:
    rows = [
        {
            **row,
            "baseline_digest": text_digest(of(0.5, "base", int(row["id"][1:]))),
            "candidate_digest": text_digest(of(0.9, "cand", int(row["id"][1:]))),
        }
        for row in verdicts()
    ]
    bench.recorded(rows)
    bench.calibrate(model="")
    bench.compare(check=0)


def test_many_wrong_verdicts_are_counted(bench: Bench) -> None:
    bench.recorded([{"id": f"x{i}", "winner": "tie"} for i in range(80)])
    told = bench.compare(check=2).err
    assert told.count("there is no case") == 50
    assert "and 30 more problems" in told


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("{{ rubrik }} {{ criteria }} {{ input }} {{ first }} {{ second }}", "unknown variable 'rubrik'; did you mean"),
        ("{{ rubric }} {{ criteria }} {{ input.__class__ }} {{ first }} {{ second }}", "'__class__'"),
        ("{{ rubric }} {{ criteria }} {{ input }} {{ first|attr('x') }} {{ second }}", "'first' is shown as it is"),
        ("{{ rubric }} {{ criteria }} {{ input }} {{ first[:9] }} {{ second }}", "is shown as it is"),
        ("{{ rubric }} {{ criteria }} {{ input }} {{ first }}", "never shows 'second'"),
        ("{{ rubric }} {{ criteria }} {{ input }} {{ first }} {{ second", "prompt.md:1"),
        ("{% include '/etc/passwd' %} {{ input }} {{ first }} {{ second }}", "prompt.md:1"),
    ],
)  # fmt: skip
def test_prompts_that_are_refused(bench: Bench, prompt: str, told: str) -> None:
    bench.judge()
    bench.project.write("judge/prompt.md", prompt)
    found = bench.compare(check=2)
    assert "judge/prompt.md" in found.err
    assert told in found.err
    assert found.calls == 0


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([label(0, "first"), label(0, "second")], "calibration.jsonl:2: the id 'l0' is already on line 1"),
        ([label(0, "first", labeller="a"), label(0, "tie", labeller="a")], "'a' already labelled 'l0'"),
        ([label(0, "first"), {**label(0, "second"), "id": "other"}], "the texts are those of line 1"),
        ([label(0, "better")], "label must be one of first, second, tie"),
        ([{**label(0, "first"), "second": 3}], "second must be text"),
        ([{"id": "l0", "label": "first"}], "the key 'input' is missing"),
    ],
)  # fmt: skip
def test_labels_that_are_refused(bench: Bench, lines: list[Mapping[str, Any]], told: str) -> None:
    bench.judge()
    bench.project.rows("judge/calibration.jsonl", lines)
    found = bench.compare(check=2)
    assert told in found.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "calibration.json"),
        ('{"schema_version": 2}', "schema_version is 2"),
        ('{"schema_version": 1}', "is missing"),
        ("[]", "holds no JSON object"),
    ],
)
def test_a_calibration_that_is_damaged(bench: Bench, text: str, told: str) -> None:
    bench.judge()
    bench.project.write("judge/calibration.json", text)
    found = bench.compare(check=2)
    assert told in found.err
    assert "judge calibrate judge" in found.err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda b: b.judge("judge-fair-latest"), "is not pinned"),
        (lambda b: b.judge(rubric="Prefer {{ first }}."), "is plain text"),
        (lambda b: b.judge(criteria=()), "criteria is empty"),
        (lambda b: b.judge(mode="claims"), "needs `contexts`, and 12 of 12 cases"),
        (lambda b: b.judge(mode="pointwise", orders="both"), "which has no order"),
        (lambda b: b.judge(provider="python"), "cannot be a judge"),
        (lambda b: b.suite(judge="nowhere"), "does not exist"),
        (lambda b: b.judge(limits="{max_cost_usd: 1}"), "limits.max_cost_usd needs `price`"),
    ],
)
def test_judges_that_are_refused(bench: Bench, change: Callable[[Bench], None], told: str) -> None:
    bench.judge()
    change(bench)
    found = bench.compare(check=2)
    assert told in found.err
    assert found.calls == 0


# --- judges that have not earned it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (None, "was never calibrated"),
        ({"n_labels": 30, "n_judged": 30}, "was calibrated on 30 labelled items, and at least 50 are needed"),
        ({"n_judged": 40}, "was calibrated on 40 labelled items"),
        ({"agreement": measured(0.79)}, "agrees with people on 79%"),
        ({"kappa": measured(0.59)}, "with kappa 0.590"),
        ({"kappa": None, "problem": "every label is first"}, "is undefined: every label is first"),
        ({"flip_rate": measured(0.11)}, "the order changes the verdict"),
        ({"flip_rate": None}, "was not measured"),
        (
            {"models": ("another-model",)},
            "was answered by judge-fair, and it was calibrated with another-model",
        ),
        ({"judge_digest": "sha256:0"}, "has changed since it was calibrated"),
        ({"labels_digest": "sha256:0"}, "the labels of the judge judge have changed"),
    ],
)
def test_a_judge_that_has_not_earned_it_does_not_gate(
    bench: Bench, changes: Mapping[str, Any] | None, told: str
) -> None:
    bench.judge()
    if changes is not None:
        bench.calibrate(**changes)
    found = bench.compare(check=4)
    words = " ".join(found.out.split())
    assert told in words
    assert words.index(told) < words.index("INVALID")  # among the first lines
    assert found.metric()["status"] == "advisory"
    assert "nothing is gated" in " ".join(found.document["reasons"])


def test_the_calibration_of_another_judge_is_not_this_ones(bench: Bench) -> None:
    bench.judge()
    bench.calibrate()
    bench.judge(rubric="Prefer the longer answer.")
    assert "has changed since it was calibrated" in " ".join(bench.compare(check=4).out.split())


def test_an_unearned_judge_blocks_nothing_either(bench: Bench) -> None:
    """Its verdict is a clear loss; a scorer decides, and the loss is shown."""
    bench.sides(["t"] * N, [f"t quality=0.1 {i}" for i in range(N)])
    bench.suite(scorers="[{exact_match: {}}]")
    bench.cases(N, more={i: {"target": ["t", f"t quality=0.1 {i}"]} for i in range(N)})
    bench.server.truth({"t": 0.9})
    bench.judge()
    found = bench.compare()
    assert found.metric()["candidate"] == 0.0
    assert found.metric()["status"] == "advisory"
    assert found.code == 0
    assert found.metric("qa/exact_match")["status"] in ("pass", "underpowered")


@pytest.mark.parametrize("scorers", ["[]", "[exact_match]"])
def test_an_unearned_judge_as_the_only_primary_metric_is_invalid(bench: Bench, scorers: str) -> None:
    bench.suite(scorers=scorers, gate="{primary: [qa/judge]}")
    bench.judge()
    found = bench.compare(check=4)
    (reason,) = found.document["reasons"]
    assert "a gate that checks nothing cannot pass" in reason


@pytest.mark.parametrize("model", ["judge-first", "judge-broken", "judge-truncated", "judge-extra-keys"])
def test_a_useless_judge_never_passes(bench: Bench, model: str) -> None:
    """Even where its calibration says it may gate."""
    bench.sides([of(0.9, "base", i) for i in range(N)], [of(0.1, "cand", i) for i in range(N)])
    bench.judge(model)
    bench.calibrate()
    found = bench.compare()
    assert found.code != 0 or found.metric()["status"] == "underpowered"


# --- recordings that are not whole -----------------------------------------------------------------------------------


def test_verdicts_that_are_missing_are_missing(bench: Bench) -> None:
    bench.recorded(verdicts()[4:])
    bench.calibrate(model="")
    found = bench.compare(check=4)
    assert found.metric()["n_missing"]["candidate"] == 2
    assert "there is no recorded verdict on it" in " ".join(found.document["reasons"])


def test_one_order_where_the_others_have_both_is_missing(bench: Bench) -> None:
    bench.recorded(verdicts()[:-1])
    bench.calibrate(model="")
    found = bench.compare(check=4)
    assert bench.values() == [1.0] * (N - 1) + [None]
    assert "no verdict with the candidate's answer first" in " ".join(found.document["reasons"])


def test_one_order_of_every_pair_is_a_recording_of_its_own_kind(bench: Bench) -> None:
    bench.recorded(
        [{**row, "order": "AB" if i % 4 < 2 else "BA"} for i, row in enumerate(verdicts()) if i % 2]
    )
    bench.calibrate(model="")
    bench.compare(check=0)
    assert bench.values() == [1.0] * N


def test_fractions_are_kept(bench: Bench) -> None:
    bench.recorded([{"id": f"q{i}", "preference": 0.3 + i / 100} for i in range(N)])
    found = bench.compare()
    assert bench.values() == [0.3 + i / 100 for i in range(N)]
    assert found.metric()["candidate"] == pytest.approx(0.3 + 0.055)


def test_a_recording_by_another_model_does_not_gate(bench: Bench) -> None:
    bench.recorded(verdicts(model="judge-2026-05-05"))
    bench.calibrate(model="judge-2026-01-01")
    found = bench.compare(check=4)
    assert "was answered by judge-2026-05-05" in " ".join(found.out.split())


# --- answers that are not there --------------------------------------------------------------------------------------


def test_answers_that_failed_are_not_judged_and_count_against_the_candidate(bench: Bench) -> None:
    n = 60
    bench.cases(n)
    bench.suite(gate="{max_failures: 20%}")
    bench.sides(
        [of(0.5, "base", i) for i in range(n)], [*[None] * 6, *[of(0.5, "cand", i) for i in range(6, n)]]
    )
    bench.judge()
    bench.calibrate()
    found = bench.compare()
    metric = found.metric()
    assert found.calls == 2 * (n - 6)
    assert metric["n_missing"] == {"baseline": 0, "candidate": 6}
    assert metric["candidate"] == pytest.approx(0.5 * (n - 6) / n)
    assert metric["delta"] == pytest.approx(-0.05)
    assert found.code in (1, 3)


def test_answers_that_the_baseline_lacks_are_left_out_and_said(bench: Bench) -> None:
    bench.suite(gate="{max_failures: 50%}")
    bench.sides([None, None, *[of(0.5, i) for i in range(2, N)]], [of(0.9, i) for i in range(N)])
    bench.judge()
    bench.calibrate()
    found = bench.compare(check=0)
    assert found.metric()["n"] == N - 2
    assert found.metric()["n_missing"]["baseline"] == 2


def test_empty_answers_are_judged_as_answers(bench: Bench) -> None:
    """An empty answer is an answer: the judge sees it, it is flagged, and it loses."""
    bench.sides([of(0.5, "base", i) for i in range(N)], [""] * N)
    bench.server.truth({"": 0.0})
    bench.judge()
    found = bench.compare()
    assert bench.values() == [0.0] * N
    assert all("empty" in row["flags"] for row in bench.judgments())
    assert found.calls == 2 * N


# --- beside the verdict ----------------------------------------------------------------------------------------------


def asked(bench: Bench, name: str, model: str) -> None:
    bench.project.write(
        f"{name}.yaml",
        f"name: {name}\nsuite: ./suite.yaml\nprovider: openai\nmodel: {model!r}\nbase_url: {bench.server.base_url}\n",
    )


def test_a_candidate_against_itself(bench: Bench) -> None:
    """A/A with a judge: what varies is judged, what does not is a tie, and no drop is found."""
    n = 40
    bench.cases(n)
    bench.suite()
    asked(bench, "base", "seeded")
    bench.judge("judge-longer")
    bench.calibrate()
    before = bench.calls()
    done = bench.project.run("compare", "base.yaml", "base.yaml", "--fresh", "--out", "out")
    assert done.code in (0, 3)
    assert "can only show noise" in done.out
    different = sum(row["source"] == "judged" for row in bench.judgments())
    assert bench.calls() - before == 2 * n + 2 * different
    plan = bench.project.run("plan", "base.yaml", "--from", "out")
    assert "A/A out" in plan.out


@pytest.mark.parametrize("mode", ["pairwise", "pointwise"])
def test_the_anchor_is_not_judged(bench: Bench, mode: str) -> None:
    bench.project.candidate("old", [answer(f"q{i}", of(0.1, "old", i)) for i in range(N)])
    bench.judge(mode=mode)
    bench.suite(scorers="[exact_match]")
    plain = bench.compare()
    found = bench.compare("--anchor", "old.yaml")
    assert found.calls == 0
    assert found.document["anchor"]["name"] == "old"
    assert found.document["metrics"] == plain.document["metrics"]
    assert "qa/judge" not in {row["id"] for row in found.document["anchor"]["metrics"]}


def test_a_judge_guards_no_critical_case(bench: Bench) -> None:
    """A critical case is no matter of opinion: only a scorer that says right or wrong guards it, and that is said."""
    bench.cases(N, more={1: {"critical": True}})
    bench.sides([of(0.9, i) for i in range(N)], [of(0.1 if i == 1 else 0.9, i) for i in range(N)])
    bench.judge(mode="pointwise")
    bench.calibrate()
    found = bench.compare()
    assert found.document["critical_failures"] == []
    warned = " ".join(found.document["warnings"])
    assert "eval qa has 1 critical case and no gated pass/fail metric, so nothing guards it" in warned


def test_score_and_run_leave_the_judge_alone(bench: Bench) -> None:
    bench.suite(scorers="[exact_match]")
    bench.judge()
    bench.project.run("run", "cand.yaml", check=0)
    (folder,) = (bench.root / ".evalharness" / "runs").glob("cand-*")
    bench.project.run("score", str(folder.relative_to(bench.root)), "--suite", "suite.yaml", check=0)
    assert bench.calls() == 0
    bench.project.run("compare", "base.yaml", str(folder.relative_to(bench.root)), "--out", "out")
    assert bench.values() == [1.0] * N
