"""Real answers of four real systems. Skips where the data is not at hand; none of it is in the project."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.e2e.conftest import Project

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT.parent / "shared" / "data" / "gsm8k" / "example_model_solutions.jsonl"

pytestmark = pytest.mark.skipif(
    not SOURCE.exists(), reason="the GSM8K example solutions are not beside the checkout"
)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gsm8k", ROOT / "benchmarks" / "gsm8k.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def problems() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = script().read(SOURCE)
    return found


@pytest.fixture
def gsm8k(project: Project, problems: list[dict[str, Any]]) -> Project:
    script().write_project(problems, project.root)
    return project


def compare(project: Project, base: str, cand: str, code: int) -> dict[str, Any]:
    import json

    done = project.run("compare", f"{base}.yaml", f"{cand}.yaml", "--json", check=code)
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_confirmed_regression_and_the_way_back(gsm8k: Project) -> None:
    there = compare(gsm8k, "6b_verification", "175b_finetuning", 1)
    metric = there["metrics"][0]
    assert there["verdict"] == metric["status"] == "regression"
    assert (len(there["flips"]["regressed"]), len(there["flips"]["fixed"])) == (209, 152)
    assert (round(metric["baseline"], 4), round(metric["candidate"], 4)) == (0.3904, 0.3472)
    assert round(metric["delta"], 4) == -0.0432
    back = compare(gsm8k, "175b_finetuning", "6b_verification", 0)
    assert back["metrics"][0]["status"] == "improved"
    assert back["flips"]["fixed"] == there["flips"]["regressed"]


def test_a_large_improvement(gsm8k: Project) -> None:
    found = compare(gsm8k, "175b_finetuning", "175b_verification", 0)
    metric = found["metrics"][0]
    assert (len(found["flips"]["regressed"]), len(found["flips"]["fixed"])) == (76, 360)
    assert round(metric["candidate"], 4) == 0.5625 and round(100 * metric["delta"], 2) == 21.53


def test_the_text_and_the_authors_agree(gsm8k: Project, problems: list[dict[str, Any]]) -> None:
    import json

    for system, accuracy in zip(script().SYSTEMS, (0.2168, 0.3904, 0.3472, 0.5625), strict=True):
        folder = gsm8k.root / json.loads(gsm8k.run("run", f"{system}.yaml", "--json", check=0).out)["folder"]
        rows = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
        ours = {}
        for row in rows:
            value = row["scores"]["maths/numeric"]
            ours[row["id"]] = bool(value["value"] if isinstance(value, dict) else value)
        theirs = {script().case_id(i): p[system]["is_correct"] for i, p in enumerate(problems)}
        # not one of 4 × 1,319 verdicts parts from the text
        assert [i for i in theirs if theirs[i] != ours[i]] == []
        assert round(sum(ours.values()) / len(ours), 4) == accuracy
