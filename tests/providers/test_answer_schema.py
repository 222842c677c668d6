"""A candidate whose answers follow a schema: what is sent, what is refused, and what the comparison then shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import evalharness
from evalharness.api import Settings
from evalharness.content import PathPolicy
from evalharness.core.candidates import Candidate
from evalharness.errors import SpecError
from evalharness.plugins import default_registry
from evalharness.spec.candidates import load_candidate
from tests.servers.fixture import ModelServerHandle

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "currency": {"type": "string"}},
    "required": ["total", "currency"],
    "additionalProperties": False,
}
SUITE = """name: invoices
evals:
  - id: fields
    golden_set: ./set
    scorers: [json_valid, field_f1, {rules: [{required: [total, currency]}]}]
"""


def load(folder: Path, text: str) -> Candidate:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_candidate(path, paths=PathPolicy(folder), registry=default_registry(third_party=False))


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        load(folder, text)
    return [str(problem) for problem in error.value.problems]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "answer.schema.json").write_text(json.dumps(SCHEMA, indent=2), encoding="utf-8")
    return tmp_path


FREE = "name: c\nprovider: vllm\nmodel: m\n"
HELD = FREE + "answer_schema: ./answer.schema.json\n"


# --- the file ------------------------------------------------------------------------------------------------------


def test_the_schema_is_the_candidates_and_shapes_its_digest(folder: Path) -> None:
    free, held = load(folder, FREE), load(folder, HELD)
    assert free.schema is None
    assert held.schema == {"title": "answer", **SCHEMA}
    assert free.digest != held.digest
    (folder / "answer.schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    assert load(folder, HELD).digest == held.digest  # white space says nothing
    turned = SCHEMA | {"properties": dict(reversed(SCHEMA["properties"].items()))}  # type: ignore[attr-defined]
    (folder / "answer.schema.json").write_text(json.dumps(turned), encoding="utf-8")
    assert load(folder, HELD).digest != held.digest  # the order of keys is that of the answers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: c\nprovider: transformers\nmodel: org/m\n",
            "provider 'transformers' does not use 'answer_schema'",
        ),
        ("name: c\nprovider: python\ntarget: a:b\n", "provider 'python' does not use 'answer_schema'"),
        ("name: c\nprovider: replay\noutputs: ./c.yaml\n", "provider 'replay' does not use 'answer_schema'"),
        (FREE + "api: completions\n", "the completions API takes no schema"),
        (
            FREE + "extra_body: {response_format: {type: json_object}}\n",
            "both say how answers look; keep one",
        ),
    ],
)
def test_it_is_refused_where_nothing_would_hold_an_answer_to_it(
    folder: Path, text: str, message: str
) -> None:
    (said,) = problems(folder, text + "answer_schema: ./answer.schema.json\n")
    assert message in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "answer.schema.json: a JSON Schema of answers must be an object"),
        ('{"type": "objekt"}', "answer.schema.json: not a valid JSON Schema at type: 'objekt' is not valid"),
        ('{"type": "object"', "answer.schema.json: "),
    ],
)
def test_a_wrong_schema_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "answer.schema.json").write_text(content, encoding="utf-8")
    (said,) = problems(folder, HELD)
    assert message in said


def test_a_schema_outside_the_working_directory_is_refused(folder: Path) -> None:
    (said,) = problems(folder, FREE + "answer_schema: /etc/hostname\n")
    assert "c.yaml:4" in said


# --- the run -------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(folder: Path, model_server: ModelServerHandle) -> Path:
    (folder / "set").mkdir()
    (folder / "set/card.yaml").write_text('name: set\nversion: "1"\ntask: Read.\nallow_small: a test\n')
    answers: dict[str, str] = {}
    rows = []
    for number in range(60):
        target: dict[str, Any] = {"total": number + 0.5, "currency": "EUR"}
        rows.append(json.dumps({"id": f"c{number}", "input": f"invoice {number}", "target": target}) + "\n")
        answers[f"invoice {number}"] = json.dumps(target)
    (folder / "set/cases.jsonl").write_text("".join(rows))
    (folder / "suite.yaml").write_text(SUITE)
    model_server.answers(answers)
    return folder


@pytest.mark.parametrize("provider", ["vllm", "anthropic"])
def test_with_and_without_are_two_candidates(
    project: Path, model_server: ModelServerHandle, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "k")
    url = model_server.base_url if provider == "vllm" else model_server.root_url
    shared = (
        f"provider: {provider}\nmodel: by-schema\nbase_url: {url}\napi_key_env: A_KEY\nsuite: ./suite.yaml\n"
    )
    (project / "free.yaml").write_text("name: free\n" + shared)
    (project / "held.yaml").write_text("name: held\n" + shared + "answer_schema: ./answer.schema.json\n")
    settings = Settings(cwd=project)
    verdict = evalharness.compare(project / "free.yaml", project / "held.yaml", settings=settings)
    found = {metric.id: metric for metric in verdict.comparison.metrics}
    assert {name: (m.estimate.baseline, m.estimate.candidate) for name, m in found.items() if m.estimate} == {
        "fields/json_valid": (0.0, 1.0),
        "fields/field_f1": (0.0, 1.0),
        "fields/rules": (0.0, 1.0),
    }
    assert verdict.comparison.baseline.digest != verdict.comparison.candidate.digest
    body = model_server.last()["body"]
    if provider == "vllm":
        sent = body["response_format"]["json_schema"]
        assert (sent["name"], sent["strict"]) == ("answer", True)
        assert sent["schema"] == {"title": "answer", **SCHEMA}
    else:
        assert [tool["name"] for tool in body["tools"]] == ["answer"]
        assert body["tools"][0]["input_schema"]["properties"] == SCHEMA["properties"]
    # the other way round the gate says what was lost
    assert evalharness.compare(project / "held.yaml", project / "free.yaml", settings=settings).exit_code == 1
