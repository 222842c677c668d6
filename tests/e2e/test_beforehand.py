"""What either side or a judge lacks is told before the first call of any of them is paid."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.judged import Bench
from tests.e2e.test_budget import write
from tests.servers.fixture import ModelServerHandle

KEY = "api_key_env: TEST_KEY"
WANTING = {
    "its key": ([(KEY, "api_key_env: NO_SUCH_KEY")], "set the environment variable NO_SUCH_KEY"),
    "its library": (
        [("provider: openai", "provider: transformers"), ("base_url", "#"), ("api_key_env", "#")],
        "torch is not installed; needed to run provider: transformers: pip install 'evalharness[local]'",
    ),
    "its adapter": (
        [
            ("provider: openai", "provider: transformers\nadapter: ./lora"),
            ("base_url", "#"),
            ("api_key_env", "#"),
        ],
        "lora",
    ),
    "its module": (
        [
            ("provider: openai", "provider: python\ntarget: nowhere:answer"),
            ("base_url", "#"),
            ("api_key_env", "#"),
        ],
        "there is no module 'nowhere'",
    ),
    "its prompt": (
        [("limits:", 'prompt: {user: "{{ tags.tone }} {{ input }}"}\nlimits:')],
        "tone",
    ),
    "its price": ([("price:", "#")], "what cand costs is not known"),
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "k")


@pytest.mark.parametrize("lack", WANTING)
def test_what_the_candidate_lacks_is_told_before_the_baseline_is_asked(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    changes, said = WANTING[lack]
    project = write(tmp_path, model_server, "{usd: 100}")
    text = (tmp_path / "cand.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    project.write("cand.yaml", text)
    if lack == "its library":
        monkeypatch.setitem(sys.modules, "torch", None)
    done = project.run("compare", "base.yaml", "cand.yaml", check=2)
    assert said in done.err
    assert model_server.counters()["requests"] == 0


def test_what_both_sides_lack_is_told_at_once(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server, "{usd: 100}")
    for side in ("base", "cand"):
        project.write(
            f"{side}.yaml",
            (tmp_path / f"{side}.yaml").read_text().replace(KEY, f"api_key_env: {side.upper()}_K"),
        )
    done = project.run("compare", "base.yaml", "cand.yaml", check=2)
    assert "BASE_K" in done.err and "CAND_K" in done.err and "2 problems" in done.err


def test_what_a_judge_lacks_is_told_before_a_side_is_asked(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    bench = Bench(write(tmp_path, model_server, "{usd: 100}"), model_server)
    bench.judge(api_key_env="NO_SUCH_KEY", price="{input_per_million: 1, output_per_million: 1}")
    bench.suite()
    done = bench.compare(check=2)
    assert done.calls == 0 and "set the environment variable NO_SUCH_KEY" in done.err


def test_answers_that_are_there_need_no_key(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write(tmp_path, model_server, "{usd: 100}")
    project.run("compare", "base.yaml", "cand.yaml", check=0)
    monkeypatch.delenv("TEST_KEY")
    project.run("compare", "base.yaml", "cand.yaml", check=0)
    (tmp_path / ".evalharness" / "cache.sqlite").unlink()
    project.run("compare", "base.yaml", "cand.yaml", check=0)
    assert model_server.counters()["requests"] == 60
