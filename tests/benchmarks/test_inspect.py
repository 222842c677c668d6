"""Tasks of Inspect AI, really run by it against a server on loopback: values, epochs, logs, what goes wrong."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle, _model_server_process, model_server

__all__ = ["_model_server_process", "model_server"]

TASKS = """
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, mean, scorer, match, model_graded_qa
from inspect_ai.solver import generate, system_message

CAPITALS = ["Oslo", "Rome", "Paris", "Bern", "Riga", "Kiev", "Lima", "Cairo", "Delhi", "Tokyo", "Seoul", "Quito"]

def samples(n=12, ids=True):
    return [
        Sample(
            id=f"c{i}" if ids else None, input=f"capital {i}", target=name,
            metadata={"region": "north" if i % 2 else "south", "note": str(i)},
        )
        for i, name in enumerate(CAPITALS[:n])
    ]

@scorer(metrics=[mean()])
def letters():
    async def score(state, target):
        text = state.output.completion
        return Score(value={"count": float(len(text)), "odd": float("nan") if text == "Rome" else 1.0})
    return score

@task
def capitals(n: int = 12):
    return Task(dataset=MemoryDataset(samples(n)), solver=generate(), scorer=match(location="exact"), version=3)

@task
def lengths():
    return Task(dataset=MemoryDataset(samples()), solver=generate(), scorer=[match(), letters()])

@task
def unnamed():
    brief = system_message("be brief")
    return Task(dataset=MemoryDataset(samples(ids=False)), solver=[brief, generate()], scorer=match())

@task
def cached():
    return Task(dataset=MemoryDataset(samples()), solver=generate(cache=True), scorer=match())

@task
def nothing():
    return Task(dataset=MemoryDataset([]), solver=generate(), scorer=match())
"""
CAPITALS = [
    "Oslo",
    "Rome",
    "Paris",
    "Bern",
    "Riga",
    "Kiev",
    "Lima",
    "Cairo",
    "Delhi",
    "Tokyo",
    "Seoul",
    "Quito",
]
GATE = "gate: {max_drop: 2pp, on_underpowered: warn}\n"


def write(
    tmp_path: Path, server: ModelServerHandle, task: str = "capitals", extra: str = "", more: str = ""
) -> Project:
    project = Project(tmp_path)
    project.write("tasks.py", TASKS)
    project.write(
        "suite.yaml",
        f"name: inspected\nevals:\n  - id: capitals\n    benchmark: {{inspect: ./tasks.py@{task}{extra}}}\n"
        f"{more}{GATE}",
    )
    for side, model in (("base", "lookup"), ("cand", "lookup?text=wrong")):
        project.write(
            f"{side}.yaml",
            f"name: {side}\nsuite: ./suite.yaml\nprovider: openai\nmodel: '{model}'\nbase_url: {server.base_url}\n"
            "api_key_env: TEST_KEY\nlimits: {concurrency: 4}\n",
        )
    server.answers({f"capital {i}": name for i, name in enumerate(CAPITALS)})
    return project


# Inspect leaves streams of its display and sandboxes open; they are collected here, not in the middle of another test.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEST_KEY", "k")
    yield
    gc.collect()


def test_a_regression_in_an_inspect_task_blocks_and_its_log_is_kept(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    from inspect_ai.log import read_eval_log

    project = write(tmp_path, model_server)
    done = project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=1)
    assert "capitals/match" in done.out
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    (metric,) = result["metrics"]
    assert (metric["baseline"], metric["candidate"], metric["n"], metric["status"]) == (
        1.0,
        0.0,
        12,
        "regression",
    )
    assert len(result["flips"]["regressed"]) == 12
    assert {row["slice"] for row in result["slices"]} == {
        "region=north",
        "region=south",
    }  # not the note: twelve values
    page = (tmp_path / "out" / "report.html").read_text()
    linked = re.findall(r'<a href="([^"#]+\.eval)">', page)
    assert len(linked) == 2 and all((tmp_path / "out" / link).is_file() for link in linked)
    folder = next(p for p in (tmp_path / ".evalharness" / "runs").iterdir() if p.name.startswith("base"))
    (log,) = json.loads((folder / "manifest.json").read_text())["facts"]["benchmarks"]["capitals"]["logs"]
    assert read_eval_log(str(folder / log)).results.scores[0].metrics["accuracy"].value == 1.0  # type: ignore[union-attr]


def test_a_second_comparison_asks_nobody_and_neither_does_a_report(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    project = write(tmp_path, model_server)
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=1)
    first = (tmp_path / "out" / "comparison.json").read_bytes()
    model_server.reset()
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=1)
    project.run("report", "out", check=1)
    assert model_server.counters()["requests"] == 0
    assert (tmp_path / "out" / "comparison.json").read_bytes() == first


def test_stored_runs_are_compared_where_inspect_and_the_task_are_gone(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write(tmp_path, model_server)
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=1)
    runs = sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / ".evalharness" / "runs").iterdir())
    (tmp_path / "tasks.py").write_text("raise RuntimeError('gone')")
    project.run("compare", *runs, "--suite", "suite.yaml", "--out", "again", check=1)


def test_epochs_are_repeats_with_seeds_of_their_own(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server, extra=", limit: 3")
    text = (tmp_path / "base.yaml").read_text().replace("'lookup'", "seeded")
    (tmp_path / "base.yaml").write_text(text + "repeats: 4\ndecoding: {temperature: 1, seed: 7}\n")
    project.run("run", "base.yaml", check=0)
    folder = next((tmp_path / ".evalharness" / "runs").iterdir())
    rows = [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]
    assert sorted((row["id"], row["repeat"]) for row in rows) == [
        (f"c{i}", k) for i in range(3) for k in range(4)
    ]
    for i in range(3):
        assert len({row["output"] for row in rows if row["id"] == f"c{i}"}) == 4


def test_values_of_a_scorer_are_read_as_the_suite_says_and_nan_is_unscored(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    scores = ", scores: {letters.count: {kind: unbounded, unit: letters, direction: lower}, letters.odd: {}}"
    project = write(tmp_path, model_server, "lengths", scores)
    project.run("run", "base.yaml", check=0)
    folder = next((tmp_path / ".evalharness" / "runs").iterdir())
    rows = {
        json.loads(line)["id"]: json.loads(line)["scores"]
        for line in (folder / "scores.jsonl").read_text().splitlines()
    }
    assert rows["c0"] == {"capitals/match": 1.0, "capitals/letters.count": 4.0, "capitals/letters.odd": 1.0}
    assert rows["c1"]["capitals/letters.odd"] == {"unscored": "Inspect's scorer gave nan"}
    manifest = json.loads((folder / "manifest.json").read_text())
    metrics = manifest["tasks"]["capitals"]["metrics"]
    assert [m["advisory"] == "" for m in metrics] == [True, False, False]


def test_samples_without_ids_are_counted_and_a_failed_call_is_a_failed_case(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    project = write(tmp_path, model_server, "unnamed")
    text = (tmp_path / "base.yaml").read_text().replace("'lookup'", "'lookup?every=6&code=400'")
    (tmp_path / "base.yaml").write_text(text)
    project.run("run", "base.yaml", check=0)
    folder = next((tmp_path / ".evalharness" / "runs").iterdir())
    rows = [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]
    assert sorted(int(row["id"]) for row in rows) == list(range(1, 13))
    assert sum("failure" in row for row in rows) == 2
    coverage = json.loads((folder / "manifest.json").read_text())["coverage"]
    assert (coverage["planned"], coverage["failed"]) == (12, 2)


def test_a_task_that_caches_answers_does_not_give_those_of_another_candidate(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inspect's own cache knows our candidates by their names alone, and would keep what a failed call left."""
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    project = write(tmp_path, model_server, "cached")
    right, wrong = ((tmp_path / f"{side}.yaml").read_text() for side in ("base", "cand"))
    for text in (right, wrong.replace("name: cand", "name: base")):
        (tmp_path / "base.yaml").write_text(text)
        project.run("run", "base.yaml", check=0)
    outputs = [
        {json.loads(line)["output"] for line in (folder / "attempts.jsonl").read_text().splitlines()}
        for folder in (tmp_path / ".evalharness" / "runs").iterdir()
    ]
    assert sorted(outputs, key=len) == [{"wrong"}, set(CAPITALS)]


def test_another_version_of_the_task_is_refused(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server)
    project.run("run", "base.yaml", check=0)
    base = next((tmp_path / ".evalharness" / "runs").iterdir())
    (tmp_path / "tasks.py").write_text(TASKS.replace("version=3", "version=4"))
    asked = model_server.counters()["requests"]
    done = project.run(
        "compare",
        str(base.relative_to(tmp_path)),
        "cand.yaml",
        "--suite",
        "suite.yaml",
        "--out",
        "o",
        check=4,
    )
    assert "another version" in done.err
    assert model_server.counters()["requests"] == asked


@pytest.mark.parametrize(
    ("task", "extra", "said"),
    [
        ("capital", "", "tasks.py has no Inspect task 'capital'; did you mean capitals?"),
        ("nothing", "", "has no samples"),
        ("capitals", ", limit: 0", "limit must be a whole number from 1"),
        ("capitals", ", limits: 3", "inspect has no setting 'limits'; did you mean limit?"),
        ("capitals", ", args: {m: 3}", "takes no argument 'm'; it takes n"),
    ],
)
def test_a_wrong_task_is_a_clear_error(
    tmp_path: Path, model_server: ModelServerHandle, task: str, extra: str, said: str
) -> None:
    project = write(tmp_path, model_server, task, extra)
    assert said in project.run("run", "base.yaml", check=2).err


def test_a_package_that_is_not_installed_is_named(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server)
    text = (tmp_path / "suite.yaml").read_text().replace("./tasks.py@capitals", "inspect_evals/gpqa_diamond")
    (tmp_path / "suite.yaml").write_text(text)
    assert "pip install inspect-evals" in project.run("run", "base.yaml", check=2).err


def test_a_cap_stops_inspect_with_everything_kept(tmp_path: Path, model_server: ModelServerHandle) -> None:
    project = write(tmp_path, model_server)
    (tmp_path / "base.yaml").write_text(
        (tmp_path / "base.yaml").read_text().replace("concurrency: 4", "concurrency: 1, max_tokens_total: 20")
    )
    assert "cap of 20 tokens" in project.run("run", "base.yaml", check=5).err
    (tmp_path / "base.yaml").write_text(
        (tmp_path / "base.yaml").read_text().replace("max_tokens_total: 20", "max_tokens_total: 20000")
    )
    before = model_server.counters()["requests"]
    project.run("run", "base.yaml", check=0)
    assert model_server.counters()["requests"] < before + 12  # what was answered came from the cache


@pytest.mark.parametrize(("sent", "code"), [("SIGKILL", -9), ("SIGINT", 130)])
def test_a_run_that_was_stopped_goes_on_with_the_samples_and_epochs_that_are_missing(
    tmp_path: Path, model_server: ModelServerHandle, sent: str, code: int
) -> None:
    project = write(tmp_path, model_server)
    project.write(
        "app.py",
        "import os, signal\n"
        "def answer(case):\n"
        "    with open('asked', 'a') as log:\n"
        "        print(case['messages'][-1]['content'], case['repeat'], file=log)\n"
        "    if sum(1 for _ in open('asked')) == 18 and not os.path.exists('again'):\n"
        f"        os.kill(os.getpid(), signal.{sent})\n"
        "    return 'Oslo' if case['repeat'] else 'Rome'\n",
    )
    project.write(
        "own.yaml",
        "name: own\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\nrepeats: 2\n"
        "limits: {concurrency: 1}\n",
    )
    done = project.process("run", "own.yaml", check=code)
    asked = (tmp_path / "asked").read_text().splitlines()
    project.write("again", "")
    done = project.process("run", "own.yaml", check=0)
    assert "answers kept from an earlier run" in done.err
    after = (tmp_path / "asked").read_text().splitlines()
    twice = len(after) - len(set(after))
    assert set(after) == {f"capital {i} {repeat}" for i in range(12) for repeat in (0, 1)}
    assert len(asked) >= 18 and twice <= 2, "more was asked again than what was under way"
    (folder,) = (tmp_path / ".evalharness" / "runs").iterdir()
    answers = [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]
    assert {(a["repeat"], a["output"]) for a in answers} == {(0, "Rome"), (1, "Oslo")}
    assert (
        len(json.loads((folder / "manifest.json").read_text())["facts"]["benchmarks"]["capitals"]["logs"])
        == 2
    )


def test_a_gate_on_a_metric_the_task_does_not_have_is_refused_with_its_line(
    tmp_path: Path, model_server: ModelServerHandle
) -> None:
    project = write(tmp_path, model_server)
    text = (tmp_path / "suite.yaml").read_text().replace(GATE, "gate: {primary: [capitals/mach]}\n")
    (tmp_path / "suite.yaml").write_text(text)
    assert (
        "suite.yaml:5: there is no metric 'capitals/mach'; did you mean"
        in project.run("run", "base.yaml", check=2).err
    )


def test_any_model_of_inspect_can_be_a_candidate(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOP_API_KEY", "k")
    monkeypatch.setenv("LOOP_BASE_URL", model_server.base_url)
    project = write(tmp_path, model_server)
    native = "name: native\nsuite: ./suite.yaml\nprovider: inspect\nmodel: openai-api/loop/lookup\n"
    project.write("native.yaml", native + "limits: {concurrency: 2}\n")
    done = project.run("compare", "base.yaml", "native.yaml", "--out", "out", check=0)
    assert "capitals/match" in done.out
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": f"capital {i}", "target": n} for i, n in enumerate(CAPITALS)]
    )
    project.suite()
    project.run("run", "native.yaml", check=0)
    folder = max((tmp_path / ".evalharness" / "runs").iterdir(), key=lambda p: p.stat().st_mtime)
    assert [
        json.loads(line)["output"] for line in (folder / "attempts.jsonl").read_text().splitlines()
    ] == CAPITALS


# --- from Inspect's side -------------------------------------------------------------------------------------------


def test_a_golden_set_is_run_by_inspect_and_its_log_compared(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspect_ai import eval as inspect_eval

    monkeypatch.setenv("LOOP_API_KEY", "k")
    monkeypatch.setenv("LOOP_BASE_URL", model_server.base_url)
    monkeypatch.chdir(tmp_path)
    project = write(tmp_path, model_server)
    cases = [{"id": f"q{i}", "input": f"capital {i}", "target": n} for i, n in enumerate(CAPITALS)]
    project.golden_set("questions", cases)
    project.suite("[exact_match, length, macro_f1]", gate="{metrics: {qa/length: advisory}}")
    project.write(
        "cand.yaml", "name: c\nprovider: replay\noutputs: ./none.jsonl\nprompt: {system: 'Be brief.'}\n"
    )
    project.rows("none.jsonl", [{"id": "q0", "output": ""}])
    (log,) = inspect_eval(
        "evalharness/suite",
        task_args={"suite": "suite.yaml", "candidate": "cand.yaml"},
        model="openai-api/loop/lookup",
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    assert log.status == "success" and log.results is not None
    assert {s.name: s.metrics["mean"].value for s in log.results.scores} == {
        "exact_match": 1.0,
        "length": pytest.approx(sum(map(len, CAPITALS)) / 12),
    }
    assert [m["role"] for m in model_server.last()["body"]["messages"]] == ["system", "user"]


def test_an_eval_that_is_not_there_is_named_to_inspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalharness.errors import UsageError
    from evalharness.inspect_side import suite

    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    project.golden_set("questions", [{"id": "q", "input": "a", "target": "b"}])
    project.suite()
    with pytest.raises(UsageError, match="name one of: qa"):
        suite("suite.yaml", eval="qq")
