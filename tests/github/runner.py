"""GitHub's API on loopback, and the action's own steps run as the runner runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from evalharness.github.job import Job
from tests.servers.fixture import ModelServerHandle

ROOT = Path(__file__).resolve().parents[2]
SHA = "a" * 40


class GitHub:
    """The running server."""

    def __init__(self, handle: ModelServerHandle) -> None:
        self._handle = handle
        self.url = handle.root_url + "/api/v3"

    def seed(self, **state: Any) -> None:
        self._handle._json("/_seed", {"pulls": [pull(7)], **state})

    def script(self, *steps: Mapping[str, Any]) -> None:
        self._handle._json("/_script", list(steps))

    @property
    def state(self) -> dict[str, Any]:
        return self._handle._json("/_state")

    @property
    def comments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.state["comments"]
        return found

    def calls(self, method: str) -> list[str]:
        return [call["path"] for call in self.state["calls"] if call["method"] == method]

    def job(self, **changes: Any) -> Job:
        known: dict[str, Any] = {
            "api": self.url, "server": "https://github.example", "repository": "acme/shop",
            "event_name": "pull_request", "workspace": Path(), "run_id": 50, "token": "job",
        }  # fmt: skip
        return Job(**{**known, **changes})


def pull(number: int, *, label: str = "acme:topic", sha: str = SHA) -> dict[str, Any]:
    return {"number": number, "head": {"label": label, "sha": sha}}


@dataclass
class Ran:
    """A finished job: what its steps said and left behind."""

    failed: list[str]
    log: dict[str, str]
    outputs: dict[str, str]
    summary: str
    code: dict[str, int]

    @property
    def conclusion(self) -> str:
        return "failure" if self.failed else "success"

    @property
    def annotations(self) -> list[str]:
        lines = "\n".join(self.log.values()).splitlines()
        return [line for line in lines if re.match("::(error|warning|notice)", line)]


@dataclass
class Runner:
    """Runs the steps of ci/action.yml in order, with bash, as GitHub's runner does.

    `uses` steps are the platform's: a restored cache is never found, and an uploaded artefact has an address.
    """

    folder: Path
    github: GitHub
    home: Path
    event: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    kill: str = ""
    """The step that the system ends at once, as it does where memory runs out."""

    def run(self, **inputs: str) -> Ran:
        action = yaml.safe_load((ROOT / "ci" / "action.yml").read_text(encoding="utf-8"))
        given = {name: str(spec.get("default", "")) for name, spec in action["inputs"].items()}
        unknown = {name.replace("_", "-") for name in inputs} - set(given)
        assert not unknown, unknown
        given |= {"install": "false", "token": "job"} | {k.replace("_", "-"): v for k, v in inputs.items()}
        home = self.home / f"run-{len(list(self.home.iterdir()))}"
        home.mkdir()
        (home / "event.json").write_text(json.dumps(self.event), encoding="utf-8")
        (home / "summary").touch()
        steps: dict[str, dict[str, str]] = {}
        ran = Ran([], {}, {}, "", {})
        for number, step in enumerate(action["runs"]["steps"]):
            values = {"inputs": given, "steps": steps}
            if not holds(step.get("if", ""), values, failed=bool(ran.failed)):
                continue
            found: dict[str, str] = {}
            if "uses" in step:
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
                if "upload-artifact" in step["uses"]:
                    found = {"artifact-url": "https://github.example/artifact/1"}
            else:
                code, text, found = self._step(step, values, home, number)
                ran.log[step["name"]] = text
                ran.code[step["name"]] = code
                if code and not step.get("continue-on-error"):
                    ran.failed.append(step["name"])
            if "id" in step:
                steps[step["id"]] = found
        ran.outputs = {
            name: filled(spec["value"], {"steps": steps}) for name, spec in action["outputs"].items()
        }
        ran.summary = (home / "summary").read_text(encoding="utf-8")
        return ran

    def _step(
        self, step: Mapping[str, Any], values: Mapping[str, Any], home: Path, number: int
    ) -> tuple[int, str, dict[str, str]]:
        assert step["shell"] == "bash" and "${{" not in step["run"]
        output = home / f"output-{number}"
        output.touch()
        runner = {
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_ACTION_PATH": str(ROOT / "ci"),
            "GITHUB_API_URL": self.github.url, "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "acme/shop", "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_EVENT_PATH": str(home / "event.json"), "GITHUB_WORKSPACE": str(self.folder),
            "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(home / "summary"),
            "GITHUB_RUN_ID": "50", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SHA": "b" * 40,
            "RUNNER_OS": "Linux", "RUNNER_TEMP": str(home),
        }  # fmt: skip
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "RUNNER_", "PYTHONPATH"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {name: filled(str(text), values) for name, text in step.get("env", {}).items()}
        script = "bash -c 'kill -KILL $$'" if step["name"] == self.kill else step["run"]
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder / filled(step["working-directory"], values),
            env={**inherited, "PATH": path, "OMP_NUM_THREADS": "1", **runner, **self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout, read_outputs(output.read_text(encoding="utf-8"))


def filled(text: str, values: Mapping[str, Any]) -> str:
    """The text with its expressions replaced: each names an input or an output of a step, and what stands for none."""

    def one(match: re.Match[str]) -> str:
        return str(looked_up(match[1], values)) or (match[2] or "")

    return re.sub(r"\$\{\{ ([\w.-]+)(?: \|\| '(\w+)')? \}\}", one, text)


def looked_up(name: str, values: Mapping[str, Any]) -> str:
    kind, first, *rest = name.split(".")
    if kind == "inputs":
        return str(values["inputs"][first])
    assert kind == "steps" and rest[0] == "outputs", name
    return str(values["steps"].get(first, {}).get(rest[1], ""))


def holds(condition: str, values: Mapping[str, Any], *, failed: bool) -> bool:
    """A step's `if`, as far as the action uses them: conjunctions of status functions and comparisons."""
    parts = [part.strip().strip("()") for part in condition.split("&&")] if condition else []
    if not failed and not parts:
        return True
    told = any(part in ("always", "!cancelled") for part in parts)
    if failed and not told:
        return False
    for part in parts:
        if part in ("always", "!cancelled"):
            continue
        found = re.fullmatch(r"([\w.-]+) (==|!=) '(.*)'", part)
        assert found is not None, part
        if (looked_up(found[1], values) == found[3]) != (found[2] == "=="):
            return False
    return True


def read_outputs(text: str) -> dict[str, str]:
    found = dict(re.findall(r"^([\w-]+)=(.*)$", text, re.MULTILINE))
    for name, _, value in re.findall(r"^([\w-]+)<<(\S+)\n(.*?)\n\2$", text, re.MULTILINE | re.DOTALL):
        found[name] = value
    return found


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Repository:
    """A repository with a branch `main`, and a pull request that is merged into it for a test, as GitHub does."""

    def __init__(self, folder: Path) -> None:
        self.origin = folder
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")

    def commit(self, message: str = "change") -> str:
        git(self.origin, "add", "-A")
        git(self.origin, "commit", "-q", "--allow-empty", "-m", message)
        return git(self.origin, "rev-parse", "HEAD")

    def branch(self, name: str) -> None:
        git(self.origin, "checkout", "-q", "-b", name)

    def merged(self, folder: Path, *, depth: int = 2) -> Path:
        """A clone of the pull request merged into `main`, as actions/checkout leaves it."""
        git(self.origin, "checkout", "-q", "-B", "merge", "main")
        git(self.origin, "merge", "-q", "--no-ff", "-m", "merge", "topic")
        url = self.origin.as_uri()
        subprocess.run(
            ["git", "clone", "-q", "--depth", str(depth), "--branch", "merge", url, str(folder)], check=True
        )
        git(self.origin, "checkout", "-q", "topic")
        return folder


def desk(folder: Path) -> None:
    """The embedded example with what it is judged by, its candidate being one file `bot.yaml`."""
    for name in ("suites/support-desk.yaml", "examples/support-desk/judge"):
        copy(ROOT / name, folder / name)
    for name in ("support-routing", "support-answers", "support-extraction"):
        copy(ROOT / "golden_sets" / name, folder / "golden_sets" / name)
    text = "name: bot\nsuite: suites/support-desk.yaml\nprovider: replay\noutputs: ./outputs.jsonl\n"
    (folder / "bot.yaml").write_text(text, encoding="utf-8")
    copy(ROOT / "examples/support-desk/outputs/base.jsonl", folder / "outputs.jsonl")


def small(folder: Path, wrong: int, *, of: int = 40) -> None:
    """A suite of `of` cases; the first `wrong` are answered wrongly, with text that would act if it could."""
    (folder / "questions").mkdir(exist_ok=True)
    (folder / "questions/card.yaml").write_text("name: questions\nversion: 1.0.0\ntask: demonstration\n")
    cases = [{"id": f"q{i}", "input": f"question {i}", "target": f"t{i}"} for i in range(of)]
    write_rows(folder / "questions/cases.jsonl", cases)
    (folder / "suite.yaml").write_text(
        "name: small\nevals:\n  - id: qa\n    golden_set: ./questions\n    scorers: [exact_match]\n"
    )
    (folder / "bot.yaml").write_text(
        "name: bot\nsuite: suite.yaml\nprovider: replay\noutputs: ./outputs.jsonl\n"
    )
    said = "@octocat <!-- evalharness:gate --> #1\n::error::forged `x`"
    rows = [{"id": f"q{i}", "output": said if i < wrong else f"t{i}"} for i in range(of)]
    write_rows(folder / "outputs.jsonl", rows)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
