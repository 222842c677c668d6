"""`validate`: any kind of file, everything it names, every problem once. And what `init` writes passes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml

from evalharness.content import PathPolicy
from evalharness.errors import UsageError
from evalharness.plugins import default_registry
from evalharness.spec.json_schema import KINDS, json_schema
from evalharness.spec.load import load_candidate, load_golden_set, load_suite, validate
from evalharness.spec.reader import read_yaml
from evalharness.spec.scaffold import scaffold
from tests.spec.conftest import CANDIDATE, SUITE, Project


def problems(project: Project, *given: str) -> list[str]:
    return [str(p) for p in validate(given, paths=project.paths, registry=project.registry)]


@pytest.mark.parametrize(
    "given", ["c.yaml", "suite.yaml", "set", "set/card.yaml", "set/cases.jsonl", "out.jsonl"]
)
def test_files_that_are_right(project: Project, given: str) -> None:
    assert problems(project, given) == []


def test_candidate_suite_golden_set_and_outputs_at_once(project: Project) -> None:
    project.write("c.yaml", CANDIDATE + "modle: x\n")
    project.write("d.yaml", CANDIDATE.replace("name: c", "name: d"))
    project.write("suite.yaml", SUITE + "gate: {max_drop: 2}\n")
    project.cases([{"id": "a"}])
    project.write("out.jsonl", '{"id": "a", "output": "x"}\n{"id": "b", "outp')
    found = problems(project, "c.yaml", "d.yaml")
    assert len(found) == len(set(found))
    for start in (
        "c.yaml:5: unknown key 'modle'",
        "suite.yaml:6: gate.max_drop",
        "set/cases.jsonl:1: has neither",
        "out.jsonl:2: ",
    ):
        assert any(line.startswith(start) for line in found), (start, found)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"id": "a", "output": "x"}\n{"id": "b", "outp', "out.jsonl:2: the last line is cut off"),
        (b'{"id": "a", "output": "x\0y"}\n', "out.jsonl:1: holds a NUL byte"),
        (b'{"id": "a", "output": "caf\xe9"}\n', "out.jsonl:1: is not UTF-8"),
        (b'{"id": "a", "output": "x"}\n{"id": "a", "output": "y"}\n', "is already on line 1"),
        (b'{"id": "a"}\n', "output is missing and error is null"),
        (b'{"output": "x"}\n', "id is missing"),
        (b"", "holds no outputs"),
    ],
)
def test_damaged_outputs(project: Project, data: bytes, message: str) -> None:
    project.write("out.jsonl", data)
    found = problems(project, "c.yaml")
    assert any(message in line for line in found), found


def test_bom_crlf_and_long_lines_in_outputs_are_fine(project: Project) -> None:
    text = '\ufeff{"id": "a", "output": "' + "x" * 10_000_000 + '"}\r\n{"id": "b", "output": "y"}\r\n'
    project.write("out.jsonl", text)
    assert problems(project, "c.yaml") == []


def test_nothing_gated(project: Project) -> None:
    project.write("suite.yaml", SUITE + "gate: {metrics: {e/exact_match: advisory}}\n")
    (found,) = problems(project, "c.yaml")
    assert found.startswith("suite.yaml: nothing is gated")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.yaml", "evls: []\n", "did you mean evals?"),
        ("x.yaml", "a: 1\n", "is neither a candidate"),
        ("x.txt", "a: 1\n", "cannot tell what this is"),
        ("folder/x", "a: 1\n", "cannot tell what this is"),
    ],
)
def test_what_is_no_file_of_ours(project: Project, name: str, text: str, message: str) -> None:
    project.write(name, text)
    (found,) = problems(project, name.split("/")[0])
    assert message in found


def test_a_missing_file(project: Project) -> None:
    assert "did you mean suite.yaml?" in problems(project, "suit.yaml")[0]


def test_a_suite_outside_the_working_directory(project: Project) -> None:
    project.write("c.yaml", CANDIDATE.replace("./suite.yaml", "../suite.yaml"))
    (found,) = problems(project, "c.yaml")
    assert found.startswith("c.yaml:2: '../suite.yaml' leads out of the working directory")


@pytest.mark.parametrize("name", ["c.yaml", "suite.yaml", "set/card.yaml", "set/cases.jsonl", "out.jsonl"])
def test_damage_of_any_kind_is_reported_and_never_a_crash(project: Project, name: str) -> None:
    whole = (project.root / name).read_bytes()
    rng = np.random.default_rng(0)
    bits = [
        b"\0",
        b"\xff",
        b"\t",
        b"{",
        b"}",
        b"[",
        b'"',
        b":",
        b"&a",
        b"*a",
        b"!!x",
        b"\n",
        b"- ",
        b"<<: ",
        b"~",
        b"9e999",
        b"%",
    ]
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(data) + 1))
            if rng.random() < 0.3:
                del data[at : at + int(rng.integers(1, 12))]
            else:
                data[at:at] = bits[int(rng.integers(len(bits)))]
        project.write(name, bytes(data))
        for problem in problems(project, "c.yaml"):
            assert "Traceback" not in problem


# --- init --------------------------------------------------------------------------------------------------------


def test_scaffold_validates_and_is_locked(tmp_path: Path) -> None:
    written = scaffold(tmp_path / "new")
    assert {path.relative_to(tmp_path / "new").as_posix() for path in written} == {
        "base.yaml",
        "candidate.yaml",
        "suite.yaml",
        "golden_set/card.yaml",
        "golden_set/cases.jsonl",
        "judge/judge.yaml",
        "judge/prompt.md",
        "judge/calibration.jsonl",
        "outputs/base.jsonl",
        "outputs/candidate.jsonl",
    }
    # It works from its own folder and from the one above.
    for cwd, prefix in ((tmp_path / "new", ""), (tmp_path, "new/")):
        paths = PathPolicy(cwd)
        given = [
            str(cwd / (prefix + name)) for name in ("base.yaml", "candidate.yaml", "golden_set", "judge")
        ]
        assert validate(given, paths=paths, registry=default_registry(third_party=False)) == []
    golden = load_golden_set(tmp_path / "new" / "golden_set", paths=PathPolicy(tmp_path))
    assert golden.card.cases_digest == golden.digest
    assert "Written for demonstration" in golden.card.provenance


def test_scaffold_outputs_answer_every_case(tmp_path: Path) -> None:
    scaffold(tmp_path)
    paths, registry = PathPolicy(tmp_path), default_registry(third_party=False)
    suite = load_suite(tmp_path / "suite.yaml", paths=paths, registry=registry)
    ids = {case.id for case in suite.evals[0].golden_set.cases}
    for name in ("base", "candidate"):
        candidate = load_candidate(tmp_path / f"{name}.yaml", paths=paths, registry=registry)
        rows = Path(candidate.options["outputs"]).read_text().splitlines()
        assert {yaml.safe_load(row)["id"] for row in rows} == ids


def test_scaffold_compares_at_once(tmp_path: Path) -> None:
    scaffold(tmp_path)
    command = [sys.executable, "-m", "evalharness", "compare", "base.yaml", "candidate.yaml"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "kind/exact_match regressed" in done.stdout


def test_scaffold_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("mine")
    with pytest.raises(UsageError, match=r"suite\.yaml would be overwritten"):
        scaffold(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["suite.yaml"]
    assert (tmp_path / "suite.yaml").read_text() == "mine"


# --- schemas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_schemas_are_schemas_and_closed(kind: str) -> None:
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"nonsense": 1}, schema)


def refused(data: Any, kind: str) -> list[str]:
    """What an editor would underline."""
    return [error.message for error in jsonschema.Draft202012Validator(json_schema(kind)).iter_errors(data)]


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("suite", "suite.yaml"),
        ("candidate", "base.yaml"),
        ("card", "golden_set/card.yaml"),
        ("judge", "judge/judge.yaml"),
    ],
)
def test_schemas_accept_what_init_writes(tmp_path: Path, kind: str, file: str) -> None:
    scaffold(tmp_path)
    document = read_yaml(tmp_path / file, PathPolicy(tmp_path))
    assert refused(document.data, kind) == []


@pytest.mark.parametrize(
    ("kind", "file"), [("case", "golden_set/cases.jsonl"), ("outputs", "outputs/base.jsonl")]
)
def test_schemas_accept_lines_that_init_writes(tmp_path: Path, kind: str, file: str) -> None:
    scaffold(tmp_path)
    lines = (tmp_path / file).read_text().splitlines()
    assert lines
    assert [refused(json.loads(line), kind) for line in lines] == [[]] * len(lines)


def test_suite_schema_refuses_a_bare_number() -> None:
    suite = {"name": "s", "evals": [{"id": "e", "golden_set": "g"}], "gate": {"max_drop": 2}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(suite, json_schema("suite"))
    jsonschema.validate(
        suite | {"gate": {"max_drop": "2pp", "metrics": {"e/x": {"max_rise": "5%"}}}}, json_schema("suite")
    )
