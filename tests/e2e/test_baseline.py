"""Runs that people bless: what stands under a name, how it is used, and what moves it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fsspec
import pytest

import evalharness
from evalharness import api
from evalharness.api import Settings
from tests.baselines.bucket import bucket
from tests.e2e.conftest import Done, Project

__all__ = ["bucket"]

N = 120


@pytest.fixture
def blessed(project: Project) -> Project:
    """A project whose base.yaml stands as main."""
    project.binary(N, 0, 0)
    bless(project)
    return project


def bless(project: Project, *extra: str, name: str = "main", check: int | None = 0) -> Done:
    project.run("run", "base.yaml", "-q", check=0)
    return project.run("baseline", "bless", "base.yaml", "--as", name, "--by", "Ana", *extra, check=check)


def entry(project: Project, name: str = "main", *extra: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.run("baseline", "show", name, "--json", *extra, check=0).out)[
        "baseline"
    ]
    return found


def against(
    project: Project, side: str = "main", *extra: str, check: int | None = None
) -> tuple[Done, dict[str, Any]]:
    done = project.run("compare", side, "cand.yaml", "--out", "out", *extra, check=check)
    path = project.root / "out" / "comparison.json"
    return done, json.loads(path.read_text()) if path.exists() else {}


def cases(project: Project, change: Any, version: str = "1.1.0") -> None:
    """The golden set of the project with changed cases, under a new version."""
    path = project.root / "questions" / "cases.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    project.golden_set("questions", change(rows))
    project.write("questions/card.yaml", f"name: questions\nversion: {version}\ntask: demonstration\n")


def stored_object(project: Project, store: str = "baselines") -> Path:
    (found,) = (project.root / store / "objects").iterdir()
    return found


# --- the first run, and the round trip -----------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["main", "baseline:main"])
def test_without_a_baseline_the_commands_that_bless_one_are_told_and_work(
    project: Project, side: str
) -> None:
    project.binary(N, 0, 0)
    done = project.run("compare", side, "cand.yaml", check=4)
    assert "there is no baseline" in done.err
    run, bless_command = done.err.partition("to bless one: ")[2].strip().split(" && ")
    for command in (run, bless_command):
        words = command.split()
        assert words[0] == "evalharness"
        project.run(*words[1:], check=0)
    project.run("compare", side, "cand.yaml", check=0)


def test_a_refused_comparison_leaves_reports_that_say_why(blessed: Project) -> None:
    out = blessed.root / "out"
    against(blessed, check=0)
    blessed.run("baseline", "expire", "main", check=0)
    done, found = against(blessed, "main", "--json", check=4)
    assert json.loads(done.out) == found
    assert (found["verdict"], found["exit_code"], found["metrics"]) == ("invalid", 4, [])
    assert (found["baseline"]["name"], found["candidate"]["name"]) == ("main", "cand")
    assert found["suite"]["name"] == "project" and found["candidate"]["run_id"] == ""
    assert len(found["reasons"]) == 1 and found["reasons"][0] in done.err
    suite = ElementTree.parse(out / "junit.xml").getroot()
    assert suite.get("errors") == "1" and "baseline bless base.yaml" in str(suite.find(".//error").attrib)  # type: ignore[union-attr]
    assert "\n`cand` against `main`\n" in (out / "summary.md").read_text()
    assert "baseline bless base.yaml --as main" in (out / "report.html").read_text()
    assert not (out / "manifest.json").exists()
    assert "was refused" in blessed.run("report", "out", check=2).err
    against(blessed, "main@1", check=0)
    assert (out / "manifest.json").exists()


def test_reports_of_a_refused_comparison_hold_no_key(
    blessed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPPORT_API_KEY", "canary-4711-abcdef")
    blessed.run("baseline", "expire", "main", check=0)
    path = blessed.root / "baselines" / "refs" / "main" / "000002.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "canary-4711-abcdef"}))
    against(blessed, check=4)
    for file in (blessed.root / "out").iterdir():
        assert "canary-4711" not in file.read_text(), file


def test_the_commands_that_bless_name_a_suite_that_the_candidate_does_not(project: Project) -> None:
    project.binary(N, 0, 0)
    for name in ("base", "cand"):
        text = (project.root / f"{name}.yaml").read_text().replace("suite: ./suite.yaml\n", "")
        project.write(f"{name}.yaml", text)
    compare = ["compare", "main", "cand.yaml", "--suite", "suite.yaml"]

    def follow(told: str) -> None:
        for command in told.strip().split(" && "):
            assert "--suite suite.yaml" in command
            project.run(*command.split()[1:], check=0)
        project.run(*compare, check=0)

    follow(project.run(*compare, check=4).err.partition("to bless one: ")[2])
    project.run("baseline", "expire", "main", check=0)
    follow(project.run(*compare, check=4).err.partition("what runs today: ")[2])
    cases(project, lambda rows: [{**rows[0], "input": "another question"}, *rows[1:]])
    follow(project.run(*compare, check=4).err.partition("and bless it: ")[2])


def test_a_blessed_run_is_a_side_as_its_own_folder_is(blessed: Project) -> None:
    _, by_name = against(blessed, check=0)
    (folder,) = [p for p in (blessed.root / ".evalharness" / "runs").iterdir() if p.name.startswith("base-")]
    _, by_path = against(blessed, f".evalharness/runs/{folder.name}", check=0)
    assert by_name == by_path


def test_bless_compare_report_round_trip_where_the_run_itself_is_gone(blessed: Project) -> None:
    shutil.rmtree(blessed.root / ".evalharness" / "runs")
    shutil.rmtree(blessed.root / ".evalharness" / "baselines")
    _done, first = against(blessed, check=0)
    pages = {p.name: p.read_bytes() for p in (blessed.root / "out").iterdir()}
    blessed.run("report", "out", check=0)
    assert {p.name: p.read_bytes() for p in (blessed.root / "out").iterdir()} == pages
    manifest = json.loads(pages["manifest.json"])
    assert manifest["baseline"]["blessed"]["baseline"] == "main@1"
    assert b"main@1, blessed by Ana" in pages["report.html"]
    assert "blessed by Ana on" in pages["summary.md"].decode()
    assert "baseline: main@1, blessed by Ana" in _done.out
    assert first["baseline"]["name"] == "base"


def test_warnings_of_a_baseline_are_in_the_report_rendered_again(project: Project) -> None:
    project.binary(N, 0, 0)
    bless(project)
    project.suite(scorers="[exact_match, length]", gate="{metrics: {qa/length: advisory}}")
    _, first = against(project)
    assert any("scored again" in text for text in first["warnings"])
    (project.root / "out" / "comparison.json").unlink()
    project.run("report", "out")
    assert json.loads((project.root / "out" / "comparison.json").read_text()) == first


def test_the_candidate_and_the_anchor_may_stand_under_a_name_too(project: Project) -> None:
    project.binary(N, 30, 0)
    bless(project)
    project.run("run", "cand.yaml", "-q", check=0)
    project.run("baseline", "bless", "cand.yaml", "--as", "next-1.2", check=0)
    done = project.run("compare", "main", "next-1.2", "--out", "out", check=1)
    assert "REGRESSION" in done.out
    _, found = against(project, "base.yaml", "--anchor", "main")
    assert found["anchor"]["run_id"] == found["baseline"]["run_id"]


def test_plan_takes_a_name(blessed: Project) -> None:
    done = blessed.run("plan", "main", "cand.yaml")
    assert "no baseline" not in done.err and "qa/exact_match" in done.out
    cases(blessed, retarget)
    done = blessed.run("plan", "main", "cand.yaml")
    assert done.code != 4 and "bless main --as main --rescore" in " ".join(done.out.split())
    cases(blessed, lambda rows: [{**rows[0], "input": "another question"}, *rows[1:]], "1.2.0")
    done = blessed.run("plan", "main", "cand.yaml", check=4)
    assert "1 asked differently" in done.err and "baseline bless base.yaml --as main" in done.err


def test_the_store_is_found_by_option_and_by_variable(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.binary(N, 0, 0)
    bless(project, "--baselines", "kept/here")
    assert not (project.root / "baselines").exists()
    against(project, check=4)
    against(project, "main", "--baselines", "kept/here", check=0)
    monkeypatch.setenv("EVALHARNESS_BASELINES", "kept/here")
    against(project, check=0)
    assert entry(project)["name"] == "main"


# --- names and paths -----------------------------------------------------------------------------------------------


def test_a_path_wins_over_a_name_only_where_there_is_no_such_name(blessed: Project) -> None:
    (run,) = [p for p in (blessed.root / ".evalharness" / "runs").iterdir() if p.name.startswith("base-")]
    shutil.copytree(run, blessed.root / "other")
    blessed.run("compare", "other", "cand.yaml", check=0)
    shutil.copytree(run, blessed.root / "main")
    done, _ = against(blessed, check=2)
    assert "./main" in done.err and "baseline:main" in done.err
    against(blessed, "./main", check=0)
    against(blessed, "baseline:main", check=0)
    verdict = evalharness.compare(Path("main"), "cand.yaml", settings=Settings(cwd=blessed.root))
    assert verdict.exit_code == 0  # a Path is a path


@pytest.mark.parametrize(
    "name", ["Main", "a/b", "../x", "base.yaml", "", "x" * 65, "main@2", "-x", "a b", "ma\u0456n"]
)
def test_names_that_are_none_are_refused(project: Project, name: str) -> None:
    project.binary(N, 0, 0)
    done = bless(project, name=name, check=2)
    assert "no name for a baseline" in done.err
    assert not (project.root / "baselines").exists()


def test_a_file_that_is_missing_is_no_baseline_and_asks_no_store(project: Project) -> None:
    project.binary(N, 0, 0)
    done = project.run("compare", "gone.yaml", "cand.yaml", "--baselines", "nosuch://x", check=4)
    assert "gone.yaml" in done.err and "nosuch" not in done.err


def test_a_mistyped_name_is_told_what_there_is(blessed: Project) -> None:
    done = blessed.run("compare", "mian", "cand.yaml", check=4)
    assert "there are: main" in done.err
    done = blessed.run("compare", "main@7", "cand.yaml", check=4)
    assert "baseline history main" in done.err
    blessed.run("baseline", "show", "mian", check=4)


# --- blessing ------------------------------------------------------------------------------------------------------


def test_an_entry_says_where_it_comes_from(project: Project) -> None:
    project.binary(N, 0, 0)
    git = ["git", "-c", "user.name=Kim", "-c", "user.email=kim@example.org"]
    subprocess.run([*git, "init", "-q", "."], cwd=project.root, check=True)
    subprocess.run([*git, "add", "suite.yaml"], cwd=project.root, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], cwd=project.root, check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project.root, capture_output=True, text=True, check=True
    ).stdout.strip()
    done = bless(project, "--note", "release 1.2", "--expires", "2999-12-31")
    assert "golden set questions is not locked" in done.err
    project.run("golden", "lock", "questions", check=0)
    first = entry(project)
    assert (first["by"], first["note"], first["commit"], first["expires"]) == (
        "Ana",
        "release 1.2",
        commit,
        "2999-12-31",
    )
    assert first["previous"] is None and first["state"] == "stands" and first["stored"] is True
    assert first["golden_sets"]["questions"]["version"] == "1.0.0"
    assert first["golden_sets"]["questions"]["digest"].startswith("sha256:")
    assert first["scorers"] == {"qa/exact_match": {"name": "exact_match", "version": "1", "params": {}}}
    assert first["suite"]["name"] == "project" and first["suite"]["digest"].startswith("sha256:")
    assert first["run"]["candidate"]["provider"] == "replay" and first["evalharness"]
    shallow = project.root / "clone"
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{project.root}", str(shallow)],
        check=True,
        capture_output=True,
    )
    for name in ("questions", "base.yaml", "base.jsonl"):
        source = project.root / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, shallow / name)
    clone = Project(shallow)
    bless(clone)
    assert entry(clone)["commit"] == commit


def test_blessing_the_same_again_changes_nothing_and_a_new_note_is_a_new_entry(blessed: Project) -> None:
    done = bless(blessed)
    assert "stands already" in done.out and entry(blessed)["number"] == 1
    bless(blessed, "--note", "the second look")
    assert (
        entry(blessed)["number"] == 2 and len(list((blessed.root / "baselines" / "objects").iterdir())) == 1
    )


def test_history_keeps_what_stood_and_a_number_goes_back(project: Project) -> None:
    project.binary(N, 30, 0)
    bless(project)
    project.run("run", "cand.yaml", "-q", check=0)
    project.run("baseline", "bless", "cand.yaml", "--as", "main", check=0)
    assert entry(project)["run"]["name"] == "cand"
    assert against(project)[1]["verdict"] == "pass"
    assert against(project, "main@1", check=1)[1]["verdict"] == "regression"
    project.run("baseline", "bless", "main@1", "--as", "main", "--note", "back", check=0)
    rows = json.loads(project.run("baseline", "history", "main", "--json", check=0).out)["history"]
    assert [(row["number"], row["run"]["name"], row["state"]) for row in rows] == [
        (3, "base", "stands"),
        (2, "cand", "superseded"),
        (1, "base", "superseded"),
    ]
    assert rows[0]["object"] == rows[2]["object"] == rows[1]["previous"]
    listed = json.loads(project.run("baseline", "list", "--json", check=0).out)["baselines"]
    assert listed == rows[:1]
    assert "back" in project.run("baseline", "history", "main", check=0).out


def test_no_command_but_bless_and_expire_writes_to_the_store(project: Project) -> None:
    project.binary(N, 0, 40)
    bless(project)
    before = {p: p.read_bytes() for p in (project.root / "baselines").rglob("*") if p.is_file()}
    _, found = against(project, check=0)
    assert found["metrics"][0]["status"] == "improved"
    for words in (
        ["report", "out"],
        ["plan", "main", "cand.yaml"],
        ["baseline", "diff", "main"],
        ["baseline", "list"],
    ):
        project.run(*words)
    assert {p: p.read_bytes() for p in (project.root / "baselines").rglob("*") if p.is_file()} == before


def test_runs_that_are_unfinished_damaged_or_of_other_cases_are_refused(project: Project) -> None:
    project.binary(N, 0, 0)
    done = project.run("baseline", "bless", "base.yaml", "--as", "main", check=2)
    assert "evalharness run base.yaml" in done.err
    project.run("run", "base.yaml", "-q", check=0)
    (folder,) = (project.root / ".evalharness" / "runs").iterdir()
    unfinished = project.root / "unfinished"
    unfinished.mkdir()
    (unfinished / "journal.jsonl").write_text("{}\n")
    assert "not finished" in project.run("baseline", "bless", "unfinished", "--as", "main", check=2).err
    damaged = project.root / "damaged"
    shutil.copytree(folder, damaged)
    text = (damaged / "attempts.jsonl").read_text()
    (damaged / "attempts.jsonl").write_text(text.replace("wrong", "t0", 1))
    assert "damaged" in project.run("baseline", "bless", "damaged", "--as", "main", check=2).err
    cases(project, lambda rows: [*rows, {"id": "new", "input": "?", "target": "!"}])
    done = project.run("baseline", "bless", f".evalharness/runs/{folder.name}", "--as", "main", check=4)
    assert "questions" in done.err and "evalharness run base.yaml" in done.err
    assert not (project.root / "baselines").exists()


def test_a_run_that_stopped_early_is_refused(project: Project) -> None:
    project.binary(400, 200, 0)
    project.write(
        "suite.yaml", (project.root / "suite.yaml").read_text() + "sampling: {initial: 100, looks: 3}\n"
    )
    project.write(
        "app.py",
        "def answer(request):\n    return 't' + request['id'][1:] if int(request['id'][1:]) % 2 else 'no'\n",
    )
    project.write("live.yaml", "name: live\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\n")
    project.run("compare", "base.yaml", "live.yaml", "-q")
    (folder,) = [p for p in (project.root / ".evalharness" / "runs").iterdir() if p.name.startswith("live-")]
    assert json.loads((folder / "manifest.json").read_text())["unasked"] > 0
    done = project.run("baseline", "bless", f".evalharness/runs/{folder.name}", "--as", "main", check=2)
    assert "were not asked" in done.err


def test_too_many_failures_are_refused_unless_a_reason_is_given_and_kept(project: Project) -> None:
    project.binary(N, 0, 0)
    project.candidate(
        "base",
        [
            {"id": f"q{i}", "output": f"t{i}"} if i >= 5 else {"id": f"q{i}", "error": "down"}
            for i in range(N)
        ],
    )
    done = bless(project, check=4)
    assert "5 of 120" in done.err and "max_failures" in done.err
    assert not (project.root / "baselines").exists()
    bless(project, "--allow-failures", "the endpoint was down for five")
    assert entry(project)["allowed_failures"] == "the endpoint was down for five"
    _, found = against(project)
    assert any("the endpoint was down for five" in text for text in found["warnings"])


def test_texts_of_people_drive_no_terminal_and_run_no_script(project: Project) -> None:
    project.binary(N, 0, 0)
    project.run("run", "base.yaml", "-q", check=0)
    evil = "\x1b]0;owned\x07<script>alert(1)</script>\u202e\x9b31m"
    done = project.run(
        "baseline",
        "bless",
        "base.yaml",
        "--as",
        "main",
        "--by",
        f"{evil}Eve",
        "--note",
        f"{evil}note",
        check=0,
    )
    outputs = [done.out, done.err]
    for words in (["show", "main"], ["list"], ["history", "main"], ["show", "main", "--json"]):
        outputs.append(project.run("baseline", *words, check=0).out)
    against(project, check=0)
    page = (project.root / "out" / "report.html").read_text()
    # an entry is a file: somebody may write another text into it than bless would
    path = project.root / "baselines" / "refs" / "main" / "000001.json"
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"note": evil, "by": evil}))
    for words in (["show", "main"], ["list"], ["history", "main", "--json"]):
        outputs.append(project.run("baseline", *words, check=0).out)
    done, _ = against(project, check=0)
    for text in (*outputs, done.out, done.err, page, (project.root / "out" / "report.html").read_text()):
        assert not any(c in text for c in "\x1b\x07\u202e\x9b")
    assert "<script>alert(1)" not in page
    assert "<script>alert(1)" not in (project.root / "out" / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page


def test_keys_in_a_note_are_not_written_down(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_API_KEY", "canary-4711-value")
    project.binary(N, 0, 0)
    bless(project, "--note", "made with canary-4711-value")
    found = [
        p for p in (project.root / "baselines").rglob("*") if p.is_file() and b"canary-4711" in p.read_bytes()
    ]
    assert not found and "[key]" in entry(project)["note"]


# --- stores ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "local", "file", "folder"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of every kind: `local` is fsspec's file system, `file` and a folder are our own."""
    return {
        "memory": f"memory://{uuid.uuid4().hex}/baselines",
        "local": f"local://{tmp_path}/store/baselines",
        "file": f"file://{tmp_path}/store/baselines",
        "folder": "store/baselines",
    }[request.param]


def test_every_kind_of_store_keeps_and_gives(project: Project, address: str) -> None:
    project.binary(N, 30, 0)
    at = ("--baselines", address)
    assert project.run("baseline", "list", *at, check=0).out.strip() == f"nothing is blessed in {address}"
    against(project, "main", *at, check=4)
    assert ("memory of this process" in bless(project, *at).err) is address.startswith("memory:")
    shutil.rmtree(project.root / ".evalharness" / "baselines")
    against(project, "main", *at, check=1)
    project.run("run", "cand.yaml", "-q", check=0)
    project.run("baseline", "bless", "cand.yaml", "--as", "main", *at, check=0)
    rows = json.loads(project.run("baseline", "history", "main", "--json", *at, check=0).out)["history"]
    assert [row["number"] for row in rows] == [2, 1] and all(row["stored"] for row in rows)
    assert against(project, "main", *at)[1]["verdict"] == "pass"
    removed = json.loads(project.run("baseline", "expire", "--unused", "--json", *at, check=0).out)["removed"]
    assert removed == [rows[1]["object"]]
    rows = json.loads(project.run("baseline", "history", "main", "--json", *at, check=0).out)["history"]
    assert [row["stored"] for row in rows] == [True, False]
    shutil.rmtree(project.root / ".evalharness" / "baselines")
    done, _ = against(project, "main@1", *at, check=2)
    assert "is not there" in done.err


def test_a_second_comparison_reads_no_content(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"memory://{uuid.uuid4().hex}"
    project.binary(N, 0, 0)
    bless(project, "--baselines", address)
    files = fsspec.filesystem("memory").store
    objects = [path for path in files if address.removeprefix("memory:/") in path and "/objects/" in path]
    assert objects
    for path in objects:
        monkeypatch.delitem(files, path)
    against(project, "main", "--baselines", address, check=0)
    shutil.rmtree(project.root / ".evalharness" / "baselines")
    against(project, "main", "--baselines", address, check=2)


RACER = """
import sys
sys.path.insert(0, sys.argv[4])
from evalharness.cli.main import run
import evalharness.api, evalharness.baselines.remote, evalharness.engine.sides, fsspec
print("ready", flush=True)
sys.stdin.readline()
sys.exit(run(["baseline", "bless", sys.argv[1], "--as", "main", "--by", sys.argv[2], "--baselines", sys.argv[3]]))
"""


@pytest.mark.parametrize("kind", ["folder", "local"])
def test_of_two_processes_that_bless_at_once_one_wins_and_the_other_is_told(
    project: Project, kind: str
) -> None:
    project.binary(N, 30, 0)
    sides = ("base", "cand")
    for side in sides:
        project.run("run", f"{side}.yaml", "-q", check=0)
    shared = str(project.root / "shared")
    address = {"folder": shared, "local": f"local://{shared}"}[kind]
    root = str(Path(__file__).resolve().parents[2])
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, f"{side}.yaml", f"job-{side}", address, root],
            cwd=project.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for side in sides
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate(timeout=60) for racer in racers]
    codes = [racer.returncode for racer in racers]
    rows = json.loads(
        project.run("baseline", "history", "main", "--json", "--baselines", address, check=0).out
    )["history"]
    assert [row["number"] for row in rows] == list(range(len(rows), 0, -1))
    if sorted(codes) == [
        0,
        0,
    ]:  # one was done before the other began: both are in the history, one after the other
        assert [row["previous"] for row in rows] == [rows[1]["object"], None]
    else:
        assert sorted(codes) == [0, 2] and len(rows) == 1, told
        winner, loser = codes.index(0), codes.index(2)
        assert rows[0]["by"] == f"job-{sides[winner]}"
        assert "was changed meanwhile" in told[loser][1] and f"job-{sides[winner]}" in told[loser][1]
    # whoever lost, what stands is whole
    shutil.rmtree(project.root / ".evalharness" / "baselines")
    against(project, "main", "--baselines", address)
    assert (project.root / "out" / "comparison.json").exists()


def test_a_bucket_keeps_gives_and_refuses(project: Project, bucket: str) -> None:
    project.binary(N, 30, 0)
    at = ("--baselines", bucket)
    against(project, "main", *at, check=4)
    bless(project, *at)
    project.run("run", "cand.yaml", "-q", check=0)
    project.run("baseline", "bless", "cand.yaml", "--as", "main", *at, check=0)
    shutil.rmtree(project.root / ".evalharness" / "baselines")
    assert against(project, "main", *at)[1]["verdict"] == "pass"
    project.run("baseline", "expire", "--unused", *at, check=0)
    rows = json.loads(project.run("baseline", "history", "main", "--json", *at, check=0).out)["history"]
    assert [row["stored"] for row in rows] == [True, False]
    done = bless(project, "--baselines", "s3://mistyped/team", check=2)
    assert "NoSuchBucket" in done.err and "test-secret" not in done.err


@pytest.mark.parametrize("scheme", ["", "local://"], ids=["folder", "fsspec"])
def test_content_that_was_damaged_or_cut_is_never_used(project: Project, scheme: str) -> None:
    project.binary(N, 0, 0)
    address = scheme + (str(project.root / "baselines") if scheme else "baselines")
    at = ("--baselines", address)
    bless(project, *at)
    place = stored_object(project)
    for name in ("scores.jsonl", "attempts.jsonl", "asked.json", "object.json", "manifest.json"):
        whole = (place / name).read_bytes()
        for damaged in (whole[:-20], None) if name == "scores.jsonl" else (whole.replace(b"t", b"T", 1),):
            shutil.rmtree(project.root / ".evalharness" / "baselines", ignore_errors=True)
            shutil.rmtree(project.root / "out", ignore_errors=True)
            (place / name).unlink() if damaged is None else (place / name).write_bytes(damaged)
            done, found = against(project, "main", *at, check=2)
            assert name in done.err or "is not there" in done.err
            assert not found and not list((project.root / ".evalharness" / "baselines").glob("*"))
        (place / name).write_bytes(whole)
    (place / "attempts.jsonl").write_bytes(b"")
    project.run("baseline", "bless", "base.yaml", "--as", "main", *at, check=0)
    shutil.rmtree(project.root / ".evalharness" / "baselines")
    against(project, "main", *at, check=0)


def test_a_copy_that_was_damaged_is_fetched_again(blessed: Project) -> None:
    (copy,) = (blessed.root / ".evalharness" / "baselines").iterdir()
    (copy / "attempts.jsonl").write_text("{}\n")
    against(blessed, check=0)
    (copy / "object.json").write_text('{"files": {"../../../evil": {"bytes": 1, "digest": "x"}}}')
    against(blessed, check=0)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema_version": 1}', '<<<<<<< HEAD\n{"schema_version": 1}\n=======\n'],
    ids=str,
)
def test_a_damaged_entry_is_an_error_of_the_store(blessed: Project, text: str) -> None:
    path = blessed.root / "baselines" / "refs" / "main" / "000001.json"
    path.write_text(text)
    for words in (["compare", "main", "cand.yaml"], ["baseline", "show", "main"], ["baseline", "list"]):
        assert "is damaged" in blessed.run(*words, check=2).err
    done = blessed.run("baseline", "bless", "base.yaml", "--as", "main", check=2)
    assert "is damaged" in done.err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("object", "sha256:../../x"), ("object", "x"), ("at", "yesterday"), ("expires", "never"), ("run", {}),
        ("number", 2), ("name", "other"), ("golden_sets", {"q": 1}), ("action", "steal"), ("schema_version", 2),
    ],
)  # fmt: skip
def test_an_entry_that_was_edited_into_nonsense_is_an_error(blessed: Project, key: str, value: Any) -> None:
    path = blessed.root / "baselines" / "refs" / "main" / "000001.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    against(blessed, check=2)


def test_links_out_of_a_store_are_not_followed(blessed: Project) -> None:
    secret = blessed.root.parent / f"{blessed.root.name}-secret"
    secret.write_text("secret")
    place = stored_object(blessed)
    (place / "attempts.jsonl").unlink()
    (place / "attempts.jsonl").symlink_to(secret)
    shutil.rmtree(blessed.root / ".evalharness" / "baselines")
    done, _ = against(blessed, check=2)
    assert "leads out" in done.err


@pytest.mark.parametrize(
    "address", ["blocked", "blocked/below", "file:///proc/evalharness", "local:///proc/evalharness/x"]
)
def test_a_store_that_cannot_be_written_is_told_and_nothing_is_left(project: Project, address: str) -> None:
    project.binary(N, 0, 0)
    project.write("blocked", "a file in its place")
    done = bless(project, "--baselines", address, check=2)
    assert "store of baselines cannot be" in done.err
    assert (project.root / "blocked").read_text() == "a file in its place"
    assert not list((project.root / ".evalharness").glob(".rescored*"))


def test_a_store_that_can_only_be_read_says_so(blessed: Project) -> None:
    """A site with the folder of a repository: good enough to compare with, and no place to bless."""
    folder = str(blessed.root / "baselines")
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", folder],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = server.stdout.readline().partition(" port ")[2].split()[0]
        at = ("--baselines", f"http://127.0.0.1:{port}")
        shutil.rmtree(blessed.root / ".evalharness" / "baselines")
        against(blessed, "main", *at, check=0)
        assert "can only be read" in bless(blessed, "--note", "again", *at, check=2).err
    finally:
        server.terminate()
        server.communicate(timeout=10)


def test_a_store_below_a_file_is_no_empty_store(project: Project) -> None:
    project.binary(N, 0, 0)
    project.write("blocked", "a file in its place")
    against(project, "main", "--baselines", "blocked/below", check=2)
    assert "cannot be read" in project.run("baseline", "list", "--baselines", "blocked/below", check=2).err


def test_a_run_that_is_mistyped_is_told_what_is_near(project: Project) -> None:
    project.binary(N, 0, 0)
    done = project.run("baseline", "bless", "base", "--as", "main", check=2)
    assert "did you mean base.yaml" in done.err


def test_a_store_that_takes_content_and_no_entry_names_nothing(project: Project) -> None:
    project.binary(N, 0, 0)
    project.write("baselines/refs", "a file in its place")
    bless(project, check=2)
    assert (project.root / "baselines" / "refs").read_text() == "a file in its place"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nosuch://bucket/x", "Protocol not known"), ("file://host/x", "file:///"),
        ("~/x", "not expanded"), ("http://u:canary-pass@127.0.0.1:9/x", "cannot be"),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_reached_is_told(project: Project, address: str, says: str) -> None:
    project.binary(N, 0, 0)
    done, _ = against(project, "main", "--baselines", address, check=2)
    assert says in done.err and "canary-pass" not in done.err


# --- expiry ----------------------------------------------------------------------------------------------------------


def at_day(project: Project, day: str) -> Settings:
    from datetime import datetime

    moment = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    return Settings(cwd=project.root, now=lambda: moment)


def test_an_expired_baseline_is_invalid_and_the_last_days_are_told(project: Project) -> None:
    project.binary(N, 0, 0)
    evalharness.run("base.yaml", settings=at_day(project, "2026-01-01"))
    api.bless_baseline("base.yaml", "main", expires="2026-03-31", settings=at_day(project, "2026-01-01"))
    fine = evalharness.compare("main", "cand.yaml", settings=at_day(project, "2026-02-01"))
    assert not any("expires" in text for text in fine.comparison.warnings)
    soon = evalharness.compare("main", "cand.yaml", settings=at_day(project, "2026-03-31"))
    assert soon.exit_code == 0 and any(
        "expires after 2026-03-31" in text for text in soon.comparison.warnings
    )
    with pytest.raises(
        evalharness.errors.InvalidComparisonError, match=r"baseline bless base[.]yaml --as main"
    ):
        evalharness.compare("main", "cand.yaml", settings=at_day(project, "2026-04-01"))
    assert api.show_baseline("main", at_day(project, "2026-04-01")).standing.state == "expired"
    old = evalharness.compare("main@1", "cand.yaml", settings=at_day(project, "2026-04-01"))
    assert any("has expired" in text for text in old.comparison.warnings)


def test_a_clock_that_is_behind_is_told(project: Project) -> None:
    project.binary(N, 0, 0)
    evalharness.run("base.yaml", settings=at_day(project, "2026-01-02"))
    api.bless_baseline("base.yaml", "main", settings=at_day(project, "2026-01-02"))
    found = evalharness.compare("main", "cand.yaml", settings=at_day(project, "2026-01-01"))
    assert any("one of the two clocks is wrong" in text for text in found.comparison.warnings)
    behind = at_day(project, "2026-01-01")
    assert any("one of the two clocks is wrong" in text for text in api.show_baseline("main", behind).told)
    again = api.bless_baseline("base.yaml", "main", note="again", settings=behind)
    assert any("one of the two is wrong" in text for text in again.warnings)
    assert api.show_baseline("main", behind).entry.number == 2 and not api.show_baseline("main", behind).told


@pytest.mark.parametrize("day", ["2020-01-01", "2026-02-30", "soon", ""])
def test_days_that_cannot_be_meant_are_refused(project: Project, day: str) -> None:
    project.binary(N, 0, 0)
    bless(project, "--expires", day, check=2)


def test_an_ended_baseline_is_refused_and_can_be_blessed_again(blessed: Project) -> None:
    blessed.run("baseline", "expire", check=2)
    blessed.run("baseline", "expire", "nothing", check=4)
    blessed.run("baseline", "expire", "main", "--unused", check=2)
    done = blessed.run("baseline", "expire", "--older-than", "30", check=0)
    assert "nothing to do" in done.out
    blessed.run("baseline", "expire", "main", "--by", "Kim", "--note", "no longer served", check=0)
    done, _ = against(blessed, check=4)
    assert "ended by Kim" in done.err and "no longer served" in done.err
    against(blessed, "main@1", check=0)
    assert "is no blessing" in against(blessed, "main@2", check=2)[0].err
    bless(blessed)
    against(blessed, check=0)
    assert entry(blessed)["number"] == 3


# --- what moved since ------------------------------------------------------------------------------------------------


def test_a_golden_set_that_asks_more_is_told_with_versions_before_a_call(blessed: Project) -> None:
    cases(
        blessed,
        lambda rows: [
            {**rows[0], "input": "another question"},
            *rows[1:],
            {"id": "new", "input": "?", "target": "!"},
        ],
    )
    blessed.write("app.py", "def answer(request):\n    open('asked', 'a').write('x')\n    return ''\n")
    blessed.write("cand.yaml", "name: cand\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\n")
    done, found = against(blessed, check=4)
    assert found["verdict"] == "invalid" and not (blessed.root / "asked").exists()
    for part in ("questions 1.0.0", "→ 1.1.0", "1 new and 1 asked differently", "of 121 cases"):
        assert part in done.err
    assert "evalharness run base.yaml && evalharness baseline bless base.yaml --as main" in done.err
    moved = json.loads(blessed.run("baseline", "diff", "main", "--json", check=0).out)
    assert [change["needs"] for change in moved["changes"]] == ["run"] and moved["next"] in done.err
    rows = [{"id": f"q{i}", "output": f"t{i}"} for i in range(N)] + [{"id": "new", "output": "!"}]
    blessed.candidate("base", rows)
    blessed.candidate("cand", rows)
    bless(blessed)
    against(blessed, check=0)
    history = json.loads(blessed.run("baseline", "history", "main", "--json", check=0).out)["history"]
    assert [row["golden_sets"]["questions"]["version"] for row in history] == ["1.1.0", "1.0.0"]


def retarget(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Everything that may change without a call, at once: one case goes, the order turns."""
    changed = [{**row, "critical": True, "cluster": "c", "tags": {"kind": "new"}} for row in rows[1:]]
    changed[3] = {**changed[3], "target": ["other", changed[3]["target"]]}
    return changed[::-1]


def test_a_golden_set_that_asks_the_same_is_scored_again_without_a_call(blessed: Project) -> None:
    cases(blessed, retarget)
    _done, found = against(blessed, check=0)
    (told,) = [text for text in found["warnings"] if "scored again" in text]
    assert "1.0.0" in told and "1.1.0" in told and "every case asks what it asked before" in told
    command = told.partition("to keep that: ")[2].split()
    blessed.run("baseline", "bless", "main", "--as", "main", check=2)
    blessed.run(*command[1:], check=0)
    assert entry(blessed)["golden_sets"]["questions"]["version"] == "1.1.0"
    _, again = against(blessed, check=0)
    assert not any("scored again" in text for text in again["warnings"])
    assert again["metrics"] == found["metrics"]
    # carried on: what was asked is known of the new blessing, too
    cases(blessed, lambda rows: rows[::-1], version="1.2.0")
    against(blessed, check=0)


ASK = "def answer(request):\n    return 't' + request['id'][1:]\n"


@pytest.mark.parametrize(
    ("prompt", "code"),
    [('"{{ input }} {{ tags.kind }}"', 4), ('"{{ input }}"', 0)],
    ids=["sees tags", "does not"],
)
def test_tags_were_asked_where_the_prompt_shows_them(
    project: Project, model_server: Any, prompt: str, code: int
) -> None:
    project.binary(N, 0, 0, cases=lambda i: {"tags": {"kind": "old"}})
    model_server.answers({f"question {i}{tail}": f"t{i}" for i in range(N) for tail in ("", " old", " new")})
    project.write(
        "base.yaml",
        f"name: base\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {model_server.base_url}\n"
        f"prompt: {{user: {prompt}}}\n",
    )
    bless(project)
    cases(project, lambda rows: [{**row, "tags": {"kind": "new"}} for row in rows])
    project.candidate("cand", [{"id": f"q{i}", "output": f"t{i}"} for i in range(N)])
    against(project, check=code)


def test_code_that_sees_a_whole_case_was_asked_its_tags(project: Project) -> None:
    project.binary(N, 0, 0)
    project.write("app.py", ASK)
    project.write("base.yaml", "name: base\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\n")
    bless(project)
    cases(project, lambda rows: [{**row, "tags": {"kind": "new"}} for row in rows])
    against(project, check=4)


def test_changed_scorers_are_applied_without_a_call_and_named(blessed: Project) -> None:
    blessed.suite(
        scorers="[{exact_match: {normalise: trim}}, length]", gate="{metrics: {qa/length: advisory}}"
    )
    _, found = against(blessed, check=0)
    (told,) = [text for text in found["warnings"] if "scored again" in text]
    assert "qa/length" in told and "qa/exact_match" in told and "other parameters" in told
    assert {metric["id"] for metric in found["metrics"]} == {"qa/exact_match", "qa/length"}
    assert "--rescore" in blessed.run("baseline", "diff", "main", check=0).out


def test_a_gate_that_changed_moves_nothing(blessed: Project) -> None:
    blessed.suite(gate="{max_drop: 5pp}")
    _, found = against(blessed, check=0)
    assert not any("scored again" in text for text in found["warnings"])
    assert "nothing moved" in blessed.run("baseline", "diff", "main", check=0).out


@pytest.mark.parametrize("same", [True, False], ids=["behind the name", "asked for"])
def test_another_model_is_named_with_the_one_before(project: Project, same: bool) -> None:
    project.binary(N, 0, 0)
    project.write(
        "app.py",
        "def answer(request):\n"
        "    model = request['messages'][0]['content']\n"
        "    return {'output': 't' + request['id'][1:], 'model': model}\n",
    )
    for name, model in (("base", "large-2026-01-01"), ("cand", "large-2026-06-01")):
        asked = "large" if same else model
        project.write(
            f"{name}.yaml",
            f"name: {name}\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\nmodel: {asked}\n"
            f"prompt: {{system: {model}}}\n",
        )
    bless(project)
    _, found = against(project, check=0)
    (told,) = [
        text for text in found["warnings"] if "large-2026-01-01" in text and "large-2026-06-01" in text
    ]
    assert ("behind its name" in told) is same and "main@1" in told
    (folder,) = [p for p in (project.root / ".evalharness" / "runs").iterdir() if p.name.startswith("base-")]
    _, plain = against(project, f".evalharness/runs/{folder.name}", check=0)
    assert any("behind its name" in text for text in plain["warnings"]) is same


def test_another_judge_is_told_and_needs_nothing(project: Project) -> None:
    from evalharness.baselines.changes import changes_since
    from evalharness.baselines.refs import Entry

    project.run("init", ".", check=0)
    project.write(
        "suite.yaml",
        (project.root / "suite.yaml").read_text().replace("scorers:", "judge: ./judge\n    scorers:", 1),
    )
    suite = evalharness.load_suite("suite.yaml", Settings(cwd=project.root))
    judged = next(iter(suite.judged), None)
    if judged is None:
        pytest.skip("the starter suite takes no judge")
    before = Entry(
        name="main", number=1, action="bless", object="", at="", by="",
        suite={"name": "x", "digest": "y"}, judges={judged[0]: {"name": "old", "digest": "sha256:0", "model": "m"}},
    )  # fmt: skip
    changes = changes_since(before, project.root, suite, Settings().registry)
    (told,) = [change for change in changes if change.what == "judge"]
    assert told.needs == "nothing" and "old" in str(told)


# --- a base branch without the suite ---------------------------------------------------------------------------------


def test_a_baseline_whose_suite_is_not_here_uses_the_one_of_the_other_side(blessed: Project) -> None:
    text = (blessed.root / "suite.yaml").read_text()
    (blessed.root / "suite.yaml").unlink()
    done, _ = against(blessed, check=2)
    assert "suite.yaml" in done.err
    blessed.write("suites/moved.yaml", text.replace("./questions", "../questions"))
    blessed.write(
        "cand.yaml", "name: cand\nsuite: suites/moved.yaml\nprovider: replay\noutputs: ./cand.jsonl\n"
    )
    against(blessed, check=0)


def test_results_of_another_tool_can_stand_under_a_name(project: Project) -> None:
    for name, right in (("base", 1.0), ("cand", 1.0)):
        rows = [f"{i},question {i},{'a' if i % 4 else 'b'},{right if i % 4 else 0.0}" for i in range(N)]
        project.write(f"{name}.csv", "\n".join(["id,input,output,accuracy", *rows]) + "\n")
    columns = "id=id,input=input,output=output,score:accuracy=accuracy"
    done = project.run("import", "base.csv", "--map", columns, "--json", check=0)
    folder = json.loads(done.out)[0]["folder"]
    project.run("baseline", "bless", folder, "--as", "main", check=0)
    done = project.run("import", "cand.csv", "--map", columns, "--json", check=0)
    project.run("compare", "main", json.loads(done.out)[0]["folder"], "--out", "out", check=0)
    found = json.loads((project.root / "out" / "comparison.json").read_text())
    assert found["verdict"] == "pass" and found["metrics"][0]["id"].endswith("/accuracy")


def test_two_blessings_and_a_run_are_held_against_each_other(project: Project) -> None:
    project.binary(N, 30, 0)
    bless(project)
    project.run("run", "cand.yaml", "-q", check=0)
    project.run("baseline", "bless", "cand.yaml", "--as", "main", check=0)
    found: Mapping[str, Any] = json.loads(
        project.run("baseline", "diff", "main@1", "main", "--json", check=0).out
    )
    assert found["answers"] == {"same": N - 30, "changed": 30, "gone": 0, "new": 0}
    (metric,) = found["metrics"]
    assert metric["what"] == "qa/exact_match" and metric["before"] - metric["after"] == pytest.approx(0.25)
    assert [row["what"] for row in found["rows"]] == ["candidate"]
    (folder,) = [p for p in (project.root / ".evalharness" / "runs").iterdir() if p.name.startswith("cand-")]
    same = project.run("baseline", "diff", "main", f".evalharness/runs/{folder.name}", check=0)
    assert f"{N} same, 0 changed" in same.out and "nothing differs in what made them" in same.out
    assert "is a file" in project.run("baseline", "diff", "main", "cand.yaml", check=2).err
