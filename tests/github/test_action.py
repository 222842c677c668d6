"""The action's own steps, run with bash on real git repositories against a server that behaves like GitHub."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.github.runner import ROOT, SHA, GitHub, Repository, Runner, copy, desk, git, small

pytestmark = pytest.mark.slow

Made = Callable[..., Runner]
GATE = {"base": "bot.yaml", "candidate": "bot.yaml", "base_ref": "HEAD^1"}
DESK = GATE | {"name": "support-desk"}


@pytest.fixture
def made(tmp_path: Path, github: GitHub) -> Made:
    """The checkout of a pull request that changes what `base` writes into what `topic` writes."""

    def make(
        base: Callable[[Path], object], topic: Callable[[Path], object], *, depth: int = 2, name: str = "a"
    ) -> Runner:
        repository = Repository(tmp_path / f"origin-{name}")
        base(repository.origin)
        repository.commit("base")
        repository.branch("topic")
        topic(repository.origin)
        repository.commit("topic")
        folder = repository.merged(tmp_path / f"checkout-{name}", depth=depth)
        home = tmp_path / f"runner-{name}"
        home.mkdir()
        event = {"pull_request": {"number": 7, "head": {"sha": SHA}}}
        return Runner(folder, github, home, event)

    return make


def fewer(wrong: int, of: int = 40) -> Callable[[Path], object]:
    return lambda folder: small(folder, wrong, of=of)


def worse_desk(folder: Path) -> None:
    copy(ROOT / "examples/support-desk/outputs/candidate.jsonl", folder / "outputs.jsonl")


def test_the_embedded_example_is_caught_and_told(made: Made, github: GitHub) -> None:
    job = made(desk, worse_desk)
    ran = job.run(**DESK)
    assert ran.conclusion == "failure" and ran.failed == ["Compare", "Verdict"]
    assert ran.code["Compare"] == ran.code["Verdict"] == 1
    assert ran.outputs == {
        "verdict": "regression",
        "exit-code": "1",
        "report-path": "evalharness-report",
        "artifact-url": "https://github.example/artifact/1",
    }
    base = git(job.folder, "rev-parse", "HEAD^1")
    (comment,) = github.comments
    lines = comment["body"].splitlines()
    assert lines[:3] == [
        "<!-- evalharness:support-desk -->", "<!-- evalharness-run:50.1 -->",
        "### ❌ Regression: routing/exact\\_match and routing/macro\\_f1 got worse",
    ]  # fmt: skip
    assert (
        "| ❌ | `routing/exact_match` | 81.6% | 60.9% | −20.6pp | [−26.1, −15.4] | &lt;0.001 | 2pp | **regression** |"
        in lines
    )
    assert (
        "- `routing-002` `routing/exact_match` 1 → 0, `routing/macro_f1` 1 → 0: was `billing`, now `repair`"
        in lines
    )
    assert "<summary>81 more</summary>" in lines
    assert any(line.startswith("- ⚠️ `answers/judge`, judge `shared-words`: may not gate") for line in lines)
    assert "- baseline: 739 planned, 739 scored, 0 failed, 0 unscored" in lines
    assert any("`{metric: routing/exact_match, max_drop: …, reason: …" in line for line in lines)
    assert lines[-1] == (
        "<sub>[report](https://github.example/artifact/1) · "
        "[run](https://github.example/acme/shop/actions/runs/50) · "
        f"commit `{SHA[:12]}` · base commit `{base[:12]}`</sub>"
    )
    assert ran.summary.startswith("### ❌ Regression") and "What broke" in ran.summary
    cases = "golden_sets/support-routing/cases.jsonl"
    row = next(
        i
        for i, line in enumerate((job.folder / cases).read_text().splitlines(), 1)
        if '"routing-002"' in line
    )
    errors = [line for line in ran.annotations if line.startswith("::error")]
    assert len(errors) == 10
    assert any(
        line.startswith(f"::error file={cases},line={row},title=case regressed::routing-002: ")
        for line in errors
    )
    assert "::notice::cases that got worse and that only the report shows: 81" in ran.annotations
    assert str(job.folder) not in (job.folder / "evalharness-report" / "ci.json").read_text()
    # the base was asked in its own files, and those are gone
    assert git(job.folder, "worktree", "list").count("\n") == 0


def test_a_mended_change_edits_the_comment_in_which_nothing_acts(made: Made, github: GitHub) -> None:
    first = made(fewer(0), fewer(20)).run(**GATE)
    (before,) = github.comments
    assert first.conclusion == "failure"
    # What the model wrote, a mention, a marker and a workflow command among it, stands in code spans alone ...
    assert before["body"].count("@octocat <!-- evalharness:gate --> #1 ::error::forged") == 20
    outside = re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "CODE", before["body"])
    assert outside.count("<!--") == 2 and "@octocat" not in outside and "#1" not in outside
    # ... and the runner is told to obey nothing in it.
    stopped = re.search(r"^::stop-commands::(\w+)$.*?^::\1::$", first.log["Compare"], re.M | re.S)
    assert stopped is not None and "regression" in stopped[0]
    assert not [line for line in first.annotations if line.startswith("::error::")]

    job = made(fewer(0), fewer(0), name="b")
    job.env = {"GITHUB_RUN_ID": "51"}
    ran = job.run(**GATE)
    assert (ran.conclusion, ran.outputs["verdict"], ran.outputs["exit-code"]) == ("success", "pass", "0")
    assert not ran.annotations
    (after,) = github.comments
    assert after["id"] == before["id"] and "### ✅ Pass" in after["body"]


def test_an_inconclusive_verdict_may_be_neutral_and_says_so(made: Made, github: GitHub) -> None:
    ran = made(fewer(0), fewer(2)).run(**GATE, on_inconclusive="neutral")
    assert ran.conclusion == "success" and ran.code["Compare"] == ran.code["Verdict"] == 0
    assert ran.outputs["verdict"] == "inconclusive" and ran.outputs["exit-code"] == "3"
    assert {line.split()[0] for line in ran.annotations} == {"::warning"}
    assert "### ⚠️ Inconclusive" in github.comments[0]["body"]


def test_nothing_that_fails_while_telling_turns_a_regression_green(made: Made, github: GitHub) -> None:
    job = made(fewer(0), fewer(20))
    ran = job.run(**GATE, token="reader")
    assert ran.failed == ["Compare", "Verdict"] and ran.code["Verdict"] == 1
    assert "lacks the permission `pull-requests: write`, which no" in ran.log["Comment on the pull request"]
    assert any(line.startswith("::warning title=no comment was written::") for line in ran.annotations)
    assert github.comments == []
    job.env = {"GITHUB_API_URL": "http://evil.example", "GITHUB_STEP_SUMMARY": "/proc/none/summary"}
    nowhere = job.run(**GATE, annotations="0")
    assert nowhere.code["Write the summary"] == 2 and nowhere.code["Comment on the pull request"] == 2
    assert "::warning title=no comment was written::not a job on GitHub: GITHUB_API_URL" in "".join(
        nowhere.annotations
    )
    assert nowhere.outputs["verdict"] == "regression" and nowhere.code["Verdict"] == 1


def test_a_comparison_that_is_killed_is_no_pass(made: Made, github: GitHub) -> None:
    job = made(fewer(0), fewer(0))
    report = job.folder / "evalharness-report"
    report.mkdir()
    (report / "ci.json").write_text(
        '{"verdict": null, "exit_code": 0, "returned": 0, "problems": [], "cases": []'
    )
    # The system ends it before it can say anything: no memory for more than the interpreter.
    job.kill = "Compare"
    ran = job.run(**GATE, annotations="0")
    assert ran.code["Compare"] in (137, -9) and ran.code["Verdict"] == 70
    assert ran.outputs["verdict"] == "error" and ran.conclusion == "failure"
    assert "### ⛔ No verdict" in github.comments[0]["body"]


def test_a_base_branch_without_the_suite_ends_with_what_to_do(made: Made, github: GitHub) -> None:
    ran = made(lambda folder: (folder / "README").write_text("empty"), fewer(0)).run(**GATE, annotations="0")
    assert ran.code["Compare"] == ran.code["Verdict"] == 4
    assert ran.outputs["verdict"] == "invalid" and ran.outputs["exit-code"] == "4"
    assert "there is no bot.yaml in HEAD^1: the base branch has no such candidate yet" in ran.log["Compare"]
    assert "### ⛔ Invalid" in github.comments[0]["body"]
    assert "there is no bot.yaml" in ran.summary


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            {"on_inconclusive": "ignore", "comment": "yes"},
            ["`on-inconclusive` is 'ignore'", "`comment` is 'yes'"],
        ),
        ({"name": "a --> b"}, ["`name` is 'a --> b'"]),
        ({"version": "9.9"}, ["`version` is '9.9'"]),
    ],
)
def test_wrong_inputs_are_told_at_once(made: Made, inputs: dict[str, str], said: list[str]) -> None:
    ran = made(fewer(0), fewer(0)).run(**{**GATE, **inputs})
    assert ran.failed == ["Check the job, install evalharness"]
    assert all(text in ran.log["Check the job, install evalharness"] for text in said)
    assert (ran.outputs["verdict"], ran.outputs["exit-code"]) == ("error", "2")


def test_inputs_are_never_read_by_a_shell(made: Made, tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    text = f'bot.yaml"; touch {owned}; $(touch {owned}) `touch {owned}`'
    quiet = {"annotations": "0", "comment": "false"}
    ran = made(fewer(0), fewer(0)).run(
        base=text, candidate=text, suite=text, report="r $(x)", args=f"-q '{text}'", **quiet
    )
    assert ran.conclusion == "failure" and not owned.exists()
