"""docs/files.md shows files that are right: its examples are written out and validated."""

from __future__ import annotations

import re
from pathlib import Path

from evalharness.content import PathPolicy
from evalharness.plugins import default_registry
from evalharness.spec.candidates import TAKES
from evalharness.spec.json_schema import KINDS
from evalharness.spec.load import load_candidate, validate
from evalharness.spec.models import (
    CandidateFile,
    CaseLine,
    CriterionFile,
    GateFile,
    JudgeFile,
    OutputLine,
    SamplingFile,
    SliceFile,
    SuiteFile,
    WaiverFile,
)
from evalharness.spec.reader import parse_yaml

PAGE = Path(__file__).parents[2] / "docs" / "files.md"
KEYS = re.compile(r"<!-- keys: suite -->\n```yaml\n(.*?)```\n", re.DOTALL)
EXAMPLE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)


def write_examples(folder: Path) -> list[str]:
    found = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    for name, text in found:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name, _ in found]


def test_examples_are_valid(tmp_path: Path) -> None:
    names = write_examples(tmp_path)
    given = [str(tmp_path / n) for n in names if not n.startswith("judge") and n != "prompt.md"]
    judges = [str((tmp_path / n).parent) for n in names if n.endswith("/judge.yaml")]
    assert len(judges) == 3
    given += judges
    assert [str(p) for p in validate(given, paths=PathPolicy(tmp_path), registry=default_registry())] == []
    assert {"base.yaml", "suite.yaml", "candidate.yaml", "outputs.jsonl", "judge/judge.yaml"} <= set(names)


def test_the_candidate_example_means_what_it_says(tmp_path: Path) -> None:
    write_examples(tmp_path)
    candidate = load_candidate(
        tmp_path / "base.yaml", paths=PathPolicy(tmp_path), registry=default_registry()
    )
    assert candidate.decoding == {"temperature": 0, "max_tokens": 512, "seed": 7}
    assert candidate.prompt.system == (tmp_path / "prompt.md").read_text(encoding="utf-8")
    assert candidate.limits.requests_per_minute == 3000


def test_every_key_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    models = (
        *(CandidateFile, CaseLine, OutputLine, GateFile, SamplingFile, SliceFile, WaiverFile),
        *(JudgeFile, CriterionFile),
    )
    keys = {*KINDS, *TAKES}.union(*(model.model_fields for model in models))
    assert [key for key in sorted(keys) if key not in page] == []


def test_the_optional_keys_of_a_suite_are_shown_as_they_are_read() -> None:
    evals, shown = KEYS.findall(PAGE.read_text(encoding="utf-8"))
    brought = SuiteFile.model_validate({"name": "s", **parse_yaml(evals, PAGE, "files.md").data}).evals
    assert [bool(item.benchmark) for item in brought] == [True, True, False] and brought[2].results
    data = parse_yaml(shown, PAGE, "files.md").data
    suite = SuiteFile.model_validate({"name": "s", "evals": [{"id": "routing"}], **data})
    assert suite.sampling is not None
    assert suite.sampling.model_fields_set == set(SamplingFile.model_fields)  # every key is shown
    assert suite.gate.slices and suite.gate.waivers
    assert suite.gate.metrics["answers/recorded:judge"].labels == "answers/recorded:human"
