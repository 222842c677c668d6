"""The judges that ship, asked for real: the test server reads their prompts and answers by their schemas."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.judged import Bench, of
from tests.servers.fixture import ModelServerHandle

JUDGES = Path(__file__).resolve().parents[2] / "judges"


@pytest.fixture
def bench(project: Project, model_server: ModelServerHandle) -> Bench:
    return Bench(project, model_server)


def copied(bench: Bench, name: str) -> None:
    """A judge as a user copies it, its model and address changed and nothing else."""
    shutil.copytree(JUDGES / name, bench.root / "judge")
    file = bench.root / "judge" / "judge.yaml"
    lines = [
        f"model: judge-fair\nbase_url: {bench.server.base_url}" if line.startswith("model:") else line
        for line in file.read_text(encoding="utf-8").splitlines()
        if not line.startswith("api_key_env:")
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", ["helpfulness-pairwise", "correctness-pointwise", "groundedness", "safety"])
def test_its_verdicts_are_read_and_follow_the_answers(bench: Bench, name: str) -> None:
    copied(bench, name)
    n = 12
    bench.cases(n, more={i: {"contexts": [of(0.9, i), of(0.95, i)]} for i in range(n)})
    bench.suite()
    bench.sides([of(0.9, i) for i in range(n)], [of(0.1 if i % 3 else 0.95, i) for i in range(n)])
    found = bench.compare()
    rows = bench.judgments()
    assert all(row["value"] is not None for row in rows), [row["problem"] for row in rows]
    metric = found.metric()
    assert metric["status"] == "advisory" and metric["delta"] < 0
    assert "was never calibrated; run: evalharness judge calibrate judge" in " ".join(found.out.split())
    assert all(vote["rationale"] for row in rows for vote in row["votes"])
