"""lm-eval and Inspect through a server that is not ours: `transformers serve` with a tiny real model, on loopback."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("uvicorn")
pytest.importorskip("lm_eval")
pytest.importorskip("inspect_ai")

from tests.e2e.conftest import Project
from tests.servers.tiny_llama import save_llama

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
]
WORDS = ["apple", "bread", "chair", "delta", "eagle", "flint"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The server's URL and the model's name there, which is its folder."""
    folder = save_llama(tmp_path_factory.mktemp("served") / "model")
    home = tmp_path_factory.mktemp("home")
    (home / "hub").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder)]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--host", "127.0.0.1", "--port", str(port), "--default-seed", "0"],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(timeout=30)
        gc.collect()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        assert process.poll() is None and time.monotonic() < deadline
        with contextlib.suppress(OSError), opener.open(url, timeout=5):
            return
        time.sleep(0.2)


def write(tmp_path: Path, served: tuple[str, str], benchmark: str) -> Project:
    url, model = served
    project = Project(tmp_path)
    project.write("suite.yaml", f"name: served\nevals:\n  - id: words\n    benchmark: {benchmark}\n")
    project.write(
        "base.yaml",
        f"name: base\nsuite: ./suite.yaml\nprovider: openai\nmodel: {model}\nbase_url: {url}\napi_key_env: TEST_KEY\n"
        "decoding: {temperature: 0, max_tokens: 8}\nlimits: {concurrency: 2}\n",
    )
    return project


def answers(tmp_path: Path) -> dict[str, str]:
    (attempts,) = (tmp_path / ".evalharness").glob("runs/*/attempts.jsonl")
    return {row["id"]: row["output"] for row in map(json.loads, attempts.read_text().splitlines())}


def test_lm_eval_generates_through_it(
    tmp_path: Path, served: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "k")
    project = write(tmp_path, served, "{lm_eval: words, include_path: ./tasks, only_local: true}")
    project.rows("tasks/words.jsonl", [{"q": word, "a": word.upper()} for word in WORDS])
    project.write(
        "tasks/words.yaml",
        "task: words\ndataset_path: json\ndataset_kwargs: {data_files: {test: tasks/words.jsonl}}\ntest_split: test\n"
        "output_type: generate_until\ndoc_to_text: 'Say {{q}}'\ndoc_to_target: a\ngeneration_kwargs: {until: ['.']}\n"
        "metric_list:\n  - {metric: exact_match, aggregation: mean, higher_is_better: true}\n"
        "metadata: {version: 1.0}\n",
    )
    project.run("run", "base.yaml", check=0)
    found = answers(tmp_path)
    assert len(found) == len(WORDS) and all(found.values())


def test_log_likelihoods_are_refused_of_a_server_that_gives_none(
    tmp_path: Path, served: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "k")
    project = write(tmp_path, served, "{lm_eval: pick, include_path: ./tasks, only_local: true}")
    project.rows("tasks/pick.jsonl", [{"q": word, "c": ["yes", "no"], "a": 0} for word in WORDS])
    project.write(
        "tasks/pick.yaml",
        "task: pick\ndataset_path: json\ndataset_kwargs: {data_files: {test: tasks/pick.jsonl}}\ntest_split: test\n"
        "output_type: multiple_choice\ndoc_to_text: '{{q}}:'\ndoc_to_choice: '{{c}}'\ndoc_to_target: a\n"
        "metric_list:\n  - {metric: acc, aggregation: mean, higher_is_better: true}\nmetadata: {version: 1.0}\n",
    )
    assert "cannot be trusted with log-likelihoods" in project.run("run", "base.yaml", check=2).err


def test_inspect_runs_through_it(
    tmp_path: Path, served: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "k")
    project = write(tmp_path, served, '{inspect: "./tasks.py@words"}')
    project.write(
        "tasks.py",
        "from inspect_ai import Task, task\nfrom inspect_ai.dataset import MemoryDataset, Sample\n"
        "from inspect_ai.scorer import includes\nfrom inspect_ai.solver import generate\n\n"
        f"@task\ndef words():\n    samples = [Sample(input=w, target=w[0]) for w in {WORDS!r}]\n"
        "    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes())\n",
    )
    project.run("run", "base.yaml", check=0)
    found = answers(tmp_path)
    assert len(found) == len(WORDS) and all(found.values())
