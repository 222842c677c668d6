"""Judge folders."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalharness.core.judges import Judge
from evalharness.spec.load import load_judge, load_suite
from tests.spec.conftest import SUITE, Failing, Project

JUDGE = """name: j
mode: pairwise
provider: openai
model: m-2026-01-01
criteria: [Is it right?]
rubric: Prefer the right one.
"""
PROMPT = "{{ input }}\n{{ first }}\n{{ second }}\n"
LABEL = {"id": "1", "input": "q", "first": "x", "second": "y", "label": "tie"}


@pytest.fixture
def project(project: Project) -> Project:
    project.write("j/judge.yaml", JUDGE)
    project.write("j/prompt.md", PROMPT)
    labels(project, LABEL)
    return project


def labels(project: Project, *rows: dict[str, Any]) -> None:
    project.write("j/calibration.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def load(project: Project) -> Judge:
    return load_judge(project.root / "j", paths=project.paths, registry=project.registry)


def test_a_judge(project: Project) -> None:
    judge = load(project)
    assert (judge.name, judge.mode, judge.model, judge.prompt) == ("j", "pairwise", "m-2026-01-01", PROMPT)
    assert [(label.answers, label.label, label.line) for label in judge.labels] == [(("x", "y"), "tie", 1)]
    from_file = load_judge(project.root / "j/judge.yaml", paths=project.paths, registry=project.registry)
    assert from_file.digest == judge.digest


def test_a_pointwise_judge(project: Project) -> None:
    project.write("j/judge.yaml", JUDGE.replace("pairwise", "pointwise"))
    project.write("j/prompt.md", "{{ input }}: {{ output }}")
    labels(project, {"id": "1", "input": "q", "output": "x", "label": "pass"})
    assert load(project).labels[0].answers == ("x",)


def test_digest_covers_the_judge_and_not_its_labels(project: Project) -> None:
    base = load(project).digest
    labels(project, LABEL, LABEL | {"id": "2", "input": "r"})
    assert load(project).digest == base
    project.write("j/prompt.md", PROMPT + "Be strict.")
    changed = load(project).digest
    project.write("j/judge.yaml", JUDGE + "decoding: {temperature: 0}\n")
    assert len({base, changed, load(project).digest}) == 3


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (
            JUDGE.replace("pairwise", "pairwse"),
            "j/judge.yaml:2: mode: 'pairwse' is not one of pairwise, pointwise, claims; did you mean",
        ),
        (JUDGE.replace("2026-01-01", "latest"), "is not pinned"),
        (JUDGE.replace("criteria: [Is it right?]\n", ""), "the key 'criteria' is missing"),
        (JUDGE.replace("openai", "opnai"), "unknown provider 'opnai'; did you mean openai?"),
        (JUDGE + "api_key_env: sk-abcdefghijklmnopqrstuv1\n", "looks like an API key"),
        (JUDGE + "prompt: ./promt.md\n", "did you mean ./prompt.md?"),
        (JUDGE + "calibration: ./gone.jsonl\n", "'./gone.jsonl' does not exist"),
    ],
)
def test_judge_yaml_refused(project: Project, failing: Failing, judge: str, message: str) -> None:
    project.write("j/judge.yaml", judge)
    assert any(message in str(problem) for problem in failing(lambda: load(project)))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{{ input }} {{ first }}", "the prompt of a pairwise judge never shows 'second'"),
        (PROMPT + "{{ output }}", "j/prompt.md:4: template: unknown variable 'output'"),
        (PROMPT + "{{ first", "unexpected end of template"),
    ],
)
def test_prompt_refused(project: Project, failing: Failing, prompt: str, message: str) -> None:
    project.write("j/prompt.md", prompt)
    assert any(message in str(problem) for problem in failing(lambda: load(project)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "yes"}, "label must be one of first, second, tie"),
        ({"lable": "tie"}, "unknown key 'lable'"),
        ({"first": 3}, "first must be text, not a number"),
        ({"id": "1"}, "the id '1' is already on line 1"),
    ],
)
def test_labels_refused(project: Project, failing: Failing, change: dict[str, Any], message: str) -> None:
    labels(project, LABEL, LABEL | {"id": "2"} | change)
    (problem,) = failing(lambda: load(project))
    assert (problem.file, problem.line) == ("j/calibration.jsonl", 2)
    assert message in problem.message


def test_a_suite_reads_its_judges(project: Project, failing: Failing) -> None:
    text = SUITE.replace("[exact_match]", "[exact_match]\n    judge: ./j")
    path = project.write("suite.yaml", text)
    suite = load_suite(path, paths=project.paths, registry=project.registry)
    assert suite.evals[0].judge == load(project)
    assert suite.metric_ids == ("e/exact_match", "e/judge")
    assert [(name, item.id, judge.name) for name, item, judge in suite.judged] == [("e/judge", "e", "j")]
    project.write("j/prompt.md", PROMPT + "Be strict.")
    assert load_suite(path, paths=project.paths, registry=project.registry).digest != suite.digest
    project.write("j/judge.yaml", JUDGE.replace("pairwise", "x"))
    (problem,) = failing(lambda: load_suite(path, paths=project.paths, registry=project.registry))
    assert problem.file == "j/judge.yaml"


def test_the_gate_may_name_a_judge(project: Project) -> None:
    text = SUITE.replace("[exact_match]", "[exact_match]\n    judge: ./j")
    rule = "gate: {primary: [e/judge], metrics: {e/judge: {max_drop: 3pp}}}\n"
    gate = load_suite(
        project.write("suite.yaml", text + rule), paths=project.paths, registry=project.registry
    ).gate
    assert gate.primary == ("e/judge",)
    assert str(gate.rule("e/judge").margin) == "3pp"
