"""The examples for other CI systems name commands that exist and do with every exit code what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from evalharness.cli.app import COMMANDS, app
from tests.e2e.conftest import Project

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "ci/examples"
BIN = Path(sys.executable).parent


def called(text: str) -> Iterator[list[str]]:
    """Every call of evalharness in a script: its words."""
    for line in re.findall(rf"\bevalharness ((?:{'|'.join(COMMANDS)}) [^\n;|&']*)", text):
        yield shlex.split(line.rstrip("\\"))


@pytest.mark.parametrize("name", ["gitlab-ci.yml", "Jenkinsfile", "gate.sh"])
def test_commands_of_the_examples_exist_with_their_options(name: str) -> None:
    calls = list(called((EXAMPLES / name).read_text(encoding="utf-8")))
    assert any(words[0] == "compare" for words in calls)
    for words in calls:
        command = app.get_command(click.Context(app), words[0])
        assert command is not None
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_version_they_install_is_this_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for name in ("gitlab-ci.yml", "Jenkinsfile"):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        assert re.search(rf"EVALHARNESS_VERSION\W+{re.escape(version)}\b", text), name


def test_gitlab_shows_the_junit_file_and_lets_exit_3_alone_through() -> None:
    job: dict[str, Any] = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text(encoding="utf-8"))[
        "evalharness"
    ]
    assert job["allow_failure"] == {"exit_codes": [3]}
    assert job["artifacts"]["when"] == "always"
    folder = job["script"][-1].split("--out ")[1]
    assert job["artifacts"]["reports"] == {"junit": f"{folder}/junit.xml"}
    assert f"{folder}/" in job["artifacts"]["paths"]
    assert any(".evalharness/" in cache["paths"] and cache["when"] == "always" for cache in job["cache"][:1])


@pytest.mark.parametrize(
    ("regressed", "fixed", "policy", "code", "says"),
    [
        (12, 0, "pass", 1, "gate: a regression"),
        (5, 2, "", 3, "gate: inconclusive"),
        (5, 2, "pass", 0, "gate: inconclusive"),
    ],
)
def test_the_shell_script_ends_as_the_verdict_does(
    tmp_path: Path, regressed: int, fixed: int, policy: str, code: int, says: str
) -> None:
    project = Project(tmp_path)
    project.binary(100, regressed, fixed)
    done = script(project, "base.yaml", "cand.yaml", policy=policy)
    assert (done.returncode, says in done.stdout) == (code, True), done.stdout + done.stderr
    assert (tmp_path / "gate/junit.xml").exists()


def test_the_shell_script_hides_no_error(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.binary(100, 0, 0)
    passed = script(project, "base.yaml", "cand.yaml", "elsewhere", policy="")
    assert passed.returncode == 0 and (tmp_path / "elsewhere/junit.xml").exists()
    assert script(project, "base.yaml", policy="pass").returncode != 0
    done = script(project, "base.yaml", "missing.yaml", "elsewhere", policy="pass")
    assert done.returncode == 2 and "missing.yaml" in done.stderr
    left = {path.name for path in (tmp_path / "elsewhere").iterdir()}
    assert not left & {"report.html", "summary.md", "junit.xml", "comparison.json"}, "of the run before"


def test_the_shell_script_takes_what_compare_takes(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.binary(100, 0, 0)
    project.compare()
    run = next((tmp_path / ".evalharness/runs").glob("base-*")).relative_to(tmp_path)
    done = script(project, str(run), "cand.yaml", policy="")
    assert done.returncode == 0, done.stdout + done.stderr


def script(project: Project, *arguments: str, policy: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(EXAMPLES / "gate.sh"), *arguments],
        cwd=project.root, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ON_INCONCLUSIVE": policy},
    )  # fmt: skip


def hooks() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return {hook["id"]: hook for hook in found}


@pytest.mark.parametrize(
    ("path", "of"),
    [
        ("suites/support.yaml", {"evalharness-validate"}),
        ("candidate.yaml", {"evalharness-validate"}),
        ("llm/judges/help/judge.yaml", {"evalharness-validate"}),
        ("golden_sets/routing/card.yaml", {"evalharness-validate", "evalharness-golden-check"}),
        ("golden_sets/routing/cases.jsonl", {"evalharness-validate", "evalharness-golden-check"}),
        (".github/workflows/ci.yaml", set()),
        ("judges/help/calibration.jsonl", set()),
        ("docker-compose.yml", set()),
        ("golden_set/card.yaml", {"evalharness-validate", "evalharness-golden-check"}),
        ("my-suite/judge/judge.yaml", {"evalharness-validate"}),
        (".github/workflows/base.yaml", set()),
        ("old_golden_sets/a/card.yaml", set()),
    ],
)
def test_hooks_look_at_files_of_ours_and_no_others(path: str, of: set[str]) -> None:
    looks = {name for name, hook in hooks().items() if re.search(hook["files"], path)}
    assert looks - {name for name, hook in hooks().items() if re.search(hook["exclude"], path)} == of


def git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments],
        cwd=root, check=True, capture_output=True,
    )  # fmt: skip


def test_pre_commit_runs_the_hooks(tmp_path: Path) -> None:
    """By pre-commit itself; the hooks use this installation, where a user's have one of their own."""
    pytest.importorskip("pre_commit")
    offered = tmp_path / "hooks"
    offered.mkdir()
    here = [{**hook, "language": "system"} for hook in hooks().values()]
    (offered / ".pre-commit-hooks.yaml").write_text(yaml.safe_dump(here))
    project = Project(tmp_path / "repo")
    project.root.mkdir()
    n = range(120)
    project.golden_set(
        "golden_sets/questions", [{"id": f"q{i}", "input": f"question {i}", "target": f"t{i}"} for i in n]
    )
    card = "name: questions\nversion: 1.0.0\ntask: demonstration\n"
    project.write("golden_sets/questions/card.yaml", card)
    project.suite(golden_set="golden_sets/questions")
    project.write("suites/good.yaml", (project.root / "suite.yaml").read_text().replace("./golden", "golden"))
    (project.root / "suite.yaml").unlink()
    project.run("golden", "lock", "golden_sets/questions", check=0)
    for root in (offered, project.root):
        git(root, "init", "-q")
        git(root, "add", ".")
        git(root, "commit", "-qm", "start")
    good = pre_commit(project, offered, "--all-files")
    assert good.returncode == 0, good.stdout + good.stderr
    assert good.stdout.count("Passed") == 2
    project.write("suites/bad.yaml", "name: bad\nevalz: []\n")
    changed = (
        (project.root / "golden_sets/questions/cases.jsonl").read_text().replace("question 7", "question 8")
    )
    project.write("golden_sets/questions/cases.jsonl", changed)
    git(project.root, "add", ".")
    bad = pre_commit(project, offered)
    assert bad.returncode == 1 and bad.stdout.count("Failed") == 2
    assert (
        "suites/bad.yaml" in bad.stdout and "did you mean evals" in bad.stdout and "cases.jsonl" in bad.stdout
    )


def test_a_golden_set_whose_files_are_named_is_checked_once(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.golden_set("golden set", [{"id": "q1", "input": "a", "target": "b"}])
    project.write("golden set/card.yaml", "name: questions\nversion: 1.0.0\ntask: demonstration\n")
    named = ("golden set/card.yaml", "golden set/cases.jsonl", "golden set")
    said = project.run("golden", "check", *named, check=2).out
    assert said.count("1 error") == 1 and "golden lock 'golden set'" in said


def pre_commit(project: Project, offered: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "try-repo", str(offered), *arguments],
        cwd=project.root, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PRE_COMMIT_HOME": str(offered.parent / "home")},
    )  # fmt: skip
