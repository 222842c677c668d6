"""The embedded example's judge: its verdicts are the stated rule's, and it is shown without deciding."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.e2e.conftest import Project

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support-desk"


@pytest.fixture
def rule() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_judge", EXAMPLE / "record" / "judge.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_recording_again_gives_the_same_file(
    rule: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "VERDICTS", tmp_path / "verdicts.jsonl")
    rule.main()
    assert (tmp_path / "verdicts.jsonl").read_bytes() == (EXAMPLE / "judge" / "verdicts.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ("49 euros", "2200 watts", "A"),
        ("12 euros", "49 Euros.", "B"),  # one word of two against both
        ("red", "blue", "TIE"),
        ("49", "49 euros", "TIE"),  # each equals one of the accepted wordings
    ],
)
def test_the_rule_goes_by_shared_words(rule: ModuleType, first: str, second: str, winner: str) -> None:
    accepted = ["49 euros", "49"]
    turned = {"A": "B", "B": "A", "TIE": "TIE"}
    assert rule.verdict(first, second, accepted)[0] == winner
    assert rule.verdict(second, first, accepted)[0] == turned[winner]


def test_every_verdict_says_that_no_model_gave_it() -> None:
    lines = (EXAMPLE / "judge" / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["model"] for line in lines} == {"shared-words rule (no model)"}
    assert "not by a model" in (EXAMPLE / "judge" / "judge.yaml").read_text(encoding="utf-8")


def test_it_is_shown_and_decides_nothing(project: Project) -> None:
    names = ("examples/support-desk/base.yaml", "examples/support-desk/candidate.yaml")
    project.run("compare", *names, "--out", "out", check=1)
    found = json.loads((project.root / "out" / "comparison.json").read_text(encoding="utf-8"))
    (metric,) = [row for row in found["metrics"] if row["id"] == "answers/judge"]
    assert (metric["status"], metric["gated"], metric["n"]) == ("advisory", False, 219)
    # 5 pairs won, 12 lost, 202 tied, equal answers among them
    assert metric["candidate"] == pytest.approx((5 + 0.5 * 202) / 219)
    assert found["warnings"][0].startswith(
        "answers/judge is advisory: the judge shared-words was never calibrated"
    )
    assert not [reason for reason in found["reasons"] if "judge" in reason]
