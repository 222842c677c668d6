"""The judges that ship: sound, pinned, found from anywhere, and never more than a start."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

from evalharness.content import PathPolicy
from evalharness.core.judges import Judge
from evalharness.judging.detect import flags_of
from evalharness.judging.prompts import render
from evalharness.judging.replies import read_reply, reply_schema
from evalharness.judging.standing import MIN_LABELS, standing
from evalharness.plugins import default_registry
from evalharness.spec.judges import load_judge
from evalharness.spec.load import load_suite, validate
from tests.spec.conftest import SUITE, Project

ROOT = Path(__file__).resolve().parents[2]
JUDGES = ROOT / "judges"
MODES = {
    "helpfulness-pairwise": "pairwise",
    "correctness-pointwise": "pointwise",
    "groundedness": "claims",
    "safety": "pointwise",
}
BLOCK = re.compile(r"(?:^#   - \{.*\}\n)+", re.MULTILINE)


def load(folder: Path) -> Judge:
    paths = PathPolicy(cwd=folder.parent)
    return load_judge(folder, paths=paths, registry=default_registry(third_party=False))


def blocks() -> list[tuple[str, str]]:
    """Every block of criteria that stands ready in a comment of a judge.yaml."""
    found = []
    for name in MODES:
        text = (JUDGES / name / "judge.yaml").read_text(encoding="utf-8")
        found += [(name, block.group().replace("#   - ", "  - ")) for block in BLOCK.finditer(text)]
    return found


def test_these_ship_and_no_other() -> None:
    assert {path.name for path in JUDGES.iterdir()} == set(MODES)


@pytest.mark.parametrize("name", MODES)
def test_each_is_sound_and_called_like_its_folder(name: str) -> None:
    paths = PathPolicy(cwd=ROOT)
    assert validate([f"judges/{name}"], paths=paths, registry=default_registry(third_party=False)) == []
    found = load(JUDGES / name)
    assert (found.name, found.mode) == (name, MODES[name])
    assert found.decoding["temperature"] == 0
    assert re.search(r"-20\d\d-\d\d-\d\d$", found.model or "")


@pytest.mark.parametrize("name", MODES)
def test_none_may_gate_as_it_is_and_none_claims_to_be_reviewed(name: str) -> None:
    found = load(JUDGES / name)
    assert 0 < len(found.labels) < MIN_LABELS
    assert len({label.label for label in found.labels}) > 1
    assert {label.labeller for label in found.labels} == {"written for demonstration"}
    assert not standing(found).may_gate
    text = (JUDGES / name / "judge.yaml").read_text(encoding="utf-8")
    assert "written for demonstration" in " ".join(text.replace("#", " ").split())
    assert f"({MIN_LABELS} are needed)" in " ".join(text.replace("#", " ").split())


@pytest.mark.parametrize("name", MODES)
def test_examples_are_verdicts_of_its_own_schema_in_either_direction(name: str) -> None:
    found = load(JUDGES / name)
    assert len(found.examples) >= 2
    for example in found.examples:
        problem = read_reply(found, json.dumps(example.reply), "stop", "AB").problem
        assert problem == (None if example.reply != {"claims": []} else "no claims")
        jsonschema.validate(example.reply, reply_schema(found))
    if found.mode == "pairwise":
        assert {example.reply["winner"] for example in found.examples} == {"A", "B", "TIE"}


@pytest.mark.parametrize("name", MODES)
def test_labels_are_no_examples(name: str) -> None:
    found = load(JUDGES / name)
    shown = {(example.input, example.answers) for example in found.examples}
    assert not shown & {(label.input, label.answers) for label in found.labels}


@pytest.mark.parametrize("name", MODES)
def test_labelled_texts_are_ordinary_and_can_be_asked_about(name: str) -> None:
    found = load(JUDGES / name)
    for label in found.labels:
        assert [flags_of(text) for text in label.answers] == [()] * len(label.answers)
        asked = render(
            found,
            input=label.input,
            answers=label.answers,
            contexts=label.contexts,
            target=label.target,
            key=label.id,
        )
        assert [message.role for message in asked] == [
            "system",
            *["user", "assistant"] * len(found.examples),
            "user",
        ]
        body = asked[-1].content
        given = (label.input, *label.answers, *label.contexts, *([label.target] if label.target else []))
        assert all(f">>>\n{text}\n<<<end" in body for text in given)
        assert "\n\n\n\n" not in body


def test_the_reference_may_be_missing() -> None:
    found = load(JUDGES / "correctness-pointwise")
    body = render(found, input="q", answers=["a"], key="k")[-1].content
    assert "There is no reference for this request." in body
    assert "None" not in body


@pytest.mark.parametrize(("name", "block"), blocks())
def test_a_block_of_criteria_can_be_put_in_place(name: str, block: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(JUDGES / name, folder)
    text = (folder / "judge.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^criteria:\n(?:  - .*\n)+", "criteria:\n" + block.replace("\\", r"\\"), text)
    # an example of a pointwise judge names its criteria, so it goes with them
    (folder / "judge.yaml").write_text(text.replace("examples: ./examples.jsonl\n", ""), encoding="utf-8")
    found = load(folder)
    assert [criterion.id for criterion in found.criteria] == re.findall(r"\{id: ([\w-]+)", block)
    assert found.digest != load(JUDGES / name).digest


def test_there_are_blocks_for_each_stage_of_training() -> None:
    ids = [re.findall(r"\{id: ([\w-]+)", block) for _, block in blocks()]
    assert ["accurate", "terms"] in ids
    assert ["follows", "format"] in ids
    assert ["helpful", "safe", "preferred"] in ids
    assert ["no-harm", "no-private", "no-contempt", "careful", "no-needless-refusal"] in ids


def test_a_suite_anywhere_finds_them_by_name(project: Project) -> None:
    project.write("suite.yaml", SUITE + "    judge: judges/helpfulness-pairwise\n")
    suite = load_suite(project.root / "suite.yaml", paths=project.paths, registry=project.registry)
    (item,) = suite.evals
    assert item.judge is not None
    assert item.judge.digest == load(JUDGES / "helpfulness-pairwise").digest
    assert item.judge.name == "helpfulness-pairwise"
