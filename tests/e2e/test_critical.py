"""A critical case of a live candidate is asked again before it blocks."""

from __future__ import annotations

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

APP = """
import itertools
asked = itertools.count()

def answer(case):
    if case["id"] == "q0":
        return "wrong" if next(asked) in {bad} else "t0"
    return "t" + case["id"][1:]
"""


def live(project: Project, bad: str) -> None:
    project.binary(200, 0, 0, cases=lambda i: {"critical": i == 0})
    project.candidate("base", [{"id": f"q{i}", "output": f"t{i}"} for i in range(200)])
    project.write("app.py", APP.replace("{bad}", bad))
    project.write(
        "cand.yaml",
        "name: app\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\nlimits: {concurrency: 1}\n",
    )


def test_a_failure_that_stays_is_confirmed(project: Project) -> None:
    live(project, "range(99)")
    _, found = project.compare(check=1)
    assert found["critical_failures"] == ["q0"]


def test_one_bad_answer_that_does_not_return_is_a_warning(project: Project) -> None:
    live(project, "()")
    # the module is imported anew for the confirmation, so what it has answered is kept in a file
    project.write(
        "app.py",
        """
from pathlib import Path

def answer(case):
    if case["id"] == "q0":
        seen = Path("seen")
        if not seen.exists():
            seen.write_text("once")
            return "wrong"
    return "t" + case["id"][1:]
""",
    )
    _, found = project.compare(check=0)
    assert found["critical_failures"] == []
    assert any("q0" in w and "recovered" in w for w in found["warnings"])


def test_a_cached_endpoint_confirms_without_asking_the_first_repeat_again(
    project: Project, model_server: ModelServerHandle
) -> None:
    project.binary(150, 0, 0, cases=lambda i: {"critical": i == 0})
    project.candidate("base", [{"id": f"q{i}", "output": f"t{i}"} for i in range(150)])
    model_server.reset()
    model_server.answers({f"question {i}": f"t{i}" for i in range(1, 150)})
    project.write(
        "cand.yaml",
        f"name: live\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {model_server.base_url}\n",
    )
    _, found = project.compare(check=1)
    assert found["critical_failures"] == ["q0"]
    assert model_server.counters()["requests"] == 150 + 2
    first = (project.root / "out" / "comparison.json").read_bytes()
    project.compare(check=1)
    assert model_server.counters()["requests"] == 150 + 2
    assert (project.root / "out" / "comparison.json").read_bytes() == first


def test_a_fresh_comparison_confirms_with_fresh_answers(
    project: Project, model_server: ModelServerHandle
) -> None:
    project.binary(150, 0, 0, cases=lambda i: {"critical": i == 0})
    project.candidate("base", [{"id": f"q{i}", "output": f"t{i}"} for i in range(150)])
    model_server.reset()
    model_server.answers({f"question {i}": f"t{i}" for i in range(1, 150)})
    project.write(
        "cand.yaml",
        f"name: live\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {model_server.base_url}\n",
    )
    project.compare(check=1)
    asked = model_server.counters()["requests"]
    # what the model said before it changed must not speak for it now
    project.compare("--fresh", check=1)
    assert model_server.counters()["requests"] == asked + 150 + 3
