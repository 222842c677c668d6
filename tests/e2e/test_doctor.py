"""`doctor`: what would stop tonight's gate is found now, and no key is ever printed."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.e2e.judged import Bench
from tests.servers.fixture import ModelServerHandle

SECRET = "sk-proj-canary-0123456789abcdefghij"


def write(tmp_path: Path, url: str) -> Project:
    project = Project(tmp_path)
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": f"question {i}", "target": "a"} for i in range(30)]
    )
    project.suite()
    project.write(
        "base.yaml",
        f"name: base\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {url}\napi_key_env: TEST_KEY\n",
    )
    return project


def found(project: Project, *arguments: str, code: int) -> dict[tuple[str, str], list[dict[str, Any]]]:
    done = project.run("doctor", *arguments, "--json", check=code)
    assert SECRET not in done.out + done.err
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in json.loads(done.out)["findings"]:
        rows.setdefault((row["area"], row["state"]), []).append(row)
    return rows


def test_a_bare_machine_is_looked_at(tmp_path: Path) -> None:
    done = Project(tmp_path).run("doctor", check=0)
    assert "GiB free" in done.out and "nothing would stop the gate" in done.out
    assert not (tmp_path / ".evalharness").exists()


def test_a_key_and_a_server_that_are_there(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    rows = found(write(tmp_path, model_server.base_url), "base.yaml", code=0)
    said = [row["text"] for row in rows["candidates", "ok"]]
    assert said[0] == "a key is in TEST_KEY" and said[1].endswith("answers")
    assert any("30 cases" in row["text"] for row in rows["power", "warning"])
    assert any("not locked" in row["text"] for row in rows["suite", "warning"])
    assert model_server.counters()["requests"] == 0


def test_a_missing_key_and_a_dead_server_are_problems(tmp_path: Path) -> None:
    rows = found(write(tmp_path, "http://127.0.0.1:9/v1"), "base.yaml", code=2)
    assert [(row["text"], row["fix"]) for row in rows["candidates", "problem"]] == [
        ("no key in TEST_KEY", "export TEST_KEY=…"),
        (
            "127.0.0.1:9 does not answer: the connection was refused",
            "start the server, or mend base_url in base.yaml",
        ),
    ]


def test_wrong_files_are_told_all_at_once_and_nothing_else_is_tried(tmp_path: Path) -> None:
    project = write(tmp_path, "http://127.0.0.1:9/v1")
    project.write("suite.yaml", (tmp_path / "suite.yaml").read_text().replace("exact_match", "exact_mtch"))
    rows = found(project, "base.yaml", code=2)
    (row,) = rows["files", "problem"]
    assert row["about"] == "suite.yaml:5" and "exact_mtch" in row["text"]
    assert ("candidates", "problem") not in rows


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("store", "a file")
    rows = found(project, "--store", "store", code=2)
    assert rows["surroundings", "problem"][0]["about"] == "store"


def test_only_what_there_is_to_do(tmp_path: Path) -> None:
    done = write(tmp_path, "http://127.0.0.1:9/v1").run("doctor", "base.yaml", "--problems", check=2)
    assert "✓" not in done.out and "✗ base: no key in TEST_KEY" in done.out


# --- servers -------------------------------------------------------------------------------------------------------


def about_server(project: Project, *, code: int) -> tuple[str, str, str]:
    """State, text and fix of what is said of the candidate's server."""
    rows = json.loads(project.run("doctor", "base.yaml", "--json", check=code).out)["findings"]
    (row,) = [r for r in rows if r["area"] == "candidates" and "127.0.0.1" in r["text"]]
    return row["state"], row["text"], row["fix"]


def test_a_key_that_the_server_refuses(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "wrong-key")
    state, text, fix = about_server(write(tmp_path, model_server.base_url), code=2)
    assert state == "problem" and "refuses the key in TEST_KEY (status 401)" in text and "TEST_KEY" in fix
    assert "wrong-key" not in text + fix


def test_anthropic_s_server_is_asked_as_its_api_wants(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "wrong-key")
    project = write(tmp_path, model_server.root_url)
    project.write("base.yaml", (tmp_path / "base.yaml").read_text().replace("openai", "anthropic"))
    assert "refuses the key" in about_server(project, code=2)[1]
    monkeypatch.setenv("TEST_KEY", SECRET)
    assert about_server(project, code=0)[0] == "ok"


def test_an_address_that_is_not_that_of_the_api(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    state, text, fix = about_server(write(tmp_path, model_server.root_url), code=0)
    assert state == "warning" and "status 404" in text and "end in /v1" in fix


def test_a_server_without_tls(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    url = model_server.base_url.replace("http://", "https://")
    assert "does not answer: TLS: " in about_server(write(tmp_path, url), code=2)[1]


def test_a_server_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    monkeypatch.setattr("evalharness.api.diagnosing.servers.TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:  # connections are made, and nobody speaks
        project = write(tmp_path, f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        state, text, _ = about_server(project, code=2)
    assert state == "problem" and "no answer within 0.3 s" in text


def test_a_server_that_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte of its headers comes in time, and there is no end of them."""
    monkeypatch.setenv("TEST_KEY", SECRET)
    monkeypatch.setattr("evalharness.api.diagnosing.servers.TIMEOUT_S", 0.3)
    ended = threading.Event()

    def trickle(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
            for _ in range(100):
                connection.sendall(b"a")
                if ended.wait(0.1):
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=trickle, args=[listening])
        serving.start()
        state, text, _ = about_server(
            write(tmp_path, f"http://127.0.0.1:{listening.getsockname()[1]}/v1"), code=2
        )
        given_up = serving.is_alive()
        ended.set()
        serving.join()
    assert given_up and state == "problem" and "no answer within 0.3 s" in text


def test_a_model_that_the_server_does_not_list(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    project = write(tmp_path, model_server.base_url)
    project.write("base.yaml", (tmp_path / "base.yaml").read_text().replace("lookup", "lokup"))
    (row, *_) = found(project, "base.yaml", code=0)["candidates", "warning"]
    assert "does not list the model lokup; it lists lookup" in row["text"]


# --- money, libraries, cache ---------------------------------------------------------------------------------------


def test_a_budget_that_is_too_small_and_a_price_that_is_missing(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    project = write(tmp_path, model_server.base_url)
    suite = (tmp_path / "suite.yaml").read_text()
    project.write("suite.yaml", suite + "budget: {calls: 10}\n")
    (row,) = found(project, "base.yaml", code=0)["money", "warning"]
    assert "budget.calls (10) may stop the comparison: 30 are planned" in row["text"]
    project.write("suite.yaml", suite + "budget: {usd: 10}\n")
    (row,) = found(project, "base.yaml", code=2)["candidates", "problem"]
    assert "its price is unknown" in row["text"] and row["fix"].startswith("add `price:")


def test_a_library_that_a_candidate_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    project = write(tmp_path, "http://127.0.0.1:9/v1")
    (tmp_path / "nothing").mkdir()
    text = "name: base\nsuite: ./suite.yaml\nprovider: transformers\nmodel: ./nothing\n"
    project.write("base.yaml", text)
    rows = found(project, "base.yaml", code=2)["candidates", "problem"]
    assert {row["fix"] for row in rows} == {"pip install 'evalharness[local]'"}


def test_a_damaged_response_cache(tmp_path: Path) -> None:
    (tmp_path / ".evalharness").mkdir()
    (tmp_path / ".evalharness" / "cache.sqlite").write_bytes(b"not a database, though long enough" * 100)
    (row,) = found(Project(tmp_path), code=2)["surroundings", "problem"]
    assert row["about"] == "response cache" and row["fix"].startswith("rm ")


def test_extras_are_looked_for_by_what_they_install(tmp_path: Path) -> None:
    rows = json.loads(Project(tmp_path).run("doctor", "--json", check=0).out)["findings"]
    extras = {row["about"]: row for row in rows if row["area"] == "extras"}
    assert {"benchmarks", "local", "text", "otel"} <= extras.keys() and "all" not in extras
    missing = [row for row in extras.values() if row["state"] == "note"]
    assert all(row["fix"].startswith(f"pip install 'evalharness[{row['about']}]'") for row in missing)


# --- golden sets and baselines -------------------------------------------------------------------------------------


def test_a_golden_set_that_is_due(tmp_path: Path) -> None:
    project = write(tmp_path, "http://127.0.0.1:9/v1")
    card = tmp_path / "questions" / "card.yaml"
    card.write_text(card.read_text() + "rotate_after: 2020-01-31\n")
    rows = found(project, "--suite", "suite.yaml", code=0)["suite", "warning"]
    said = {row["text"]: row["fix"] for row in rows}
    assert said["the golden set is not locked: its cases can change unseen"] == (
        "evalharness golden lock questions"
    )
    assert any("was to be renewed after 2020-01-31" in text for text in said)


def blessed(tmp_path: Path, *more: str) -> Project:
    """A project whose recorded baseline is blessed as `main`."""
    project = write(tmp_path, "http://127.0.0.1:9/v1")
    for name in ("base", "cand"):
        project.candidate(name, [{"id": f"q{i}", "output": "a"} for i in range(30)])
    project.run("run", "base.yaml", check=0)
    project.run("baseline", "bless", "base.yaml", "--as", "main", *more, check=0)
    return project


def test_blessed_baselines_are_listed_and_held_against_the_suite(tmp_path: Path) -> None:
    project = blessed(tmp_path)
    rows = found(project, "main", "cand.yaml", code=0)["baselines", "ok"]
    assert [row["about"] for row in rows] == ["main@1", "main@1"]
    assert rows[0]["text"].startswith("blessed today by ") and rows[1]["text"].startswith("fits suite ")
    (row,) = found(project, code=0)["baselines", "ok"]
    assert row["about"] == "main@1"
    # a case more: its answers are not to what is asked now
    cases = tmp_path / "questions" / "cases.jsonl"
    cases.write_text(cases.read_text() + json.dumps({"id": "q30", "input": "new", "target": "a"}) + "\n")
    (row,) = found(project, "main", "cand.yaml", code=2)["baselines", "problem"]
    assert "did not answer what suite" in row["text"]
    assert row["fix"].startswith(
        "evalharness run base.yaml && evalharness baseline bless base.yaml --as main"
    )


def test_a_baseline_that_has_expired_stops_the_gate_that_names_it(tmp_path: Path) -> None:
    project = blessed(tmp_path)
    project.run("baseline", "expire", "main", check=0)
    (row,) = found(project, "base.yaml", "cand.yaml", code=0)["baselines", "note"]
    assert row["text"].startswith("ended by ")  # a person ended it, and nothing here asks for it
    (row,) = found(project, "main", "cand.yaml", code=2)["baselines", "problem"]
    assert "baseline bless base.yaml --as main" in row["fix"]


# --- what is printed -----------------------------------------------------------------------------------------------


def test_what_would_stop_the_gate_comes_first_and_fits_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    done = write(tmp_path, "http://127.0.0.1:9/v1").run("doctor", "base.yaml", check=2)
    lines = done.out.splitlines()
    assert lines[0] == "would stop the gate" and lines[1].startswith("  ✗ ")
    assert all(len(line) <= 50 for line in lines if not line.startswith("      "))
    assert "\x1b" not in done.out


def test_three_sides_are_refused(tmp_path: Path) -> None:
    assert "not at 3 sides" in Project(tmp_path).run("doctor", "a", "b", "c", check=2).err


def test_sides_that_compare_takes_are_no_files_to_validate(tmp_path: Path) -> None:
    project = blessed(tmp_path)
    (run,) = (tmp_path / ".evalharness" / "runs").iterdir()
    rows = found(project, str(run), "cand.yaml", code=0)["candidates", "ok"]
    assert [row["text"] for row in rows] == [
        "a stored run: nothing is asked",
        "recorded answers: nothing is asked",
    ]
    results = str(Path(__file__).parents[1] / "readers" / "data" / "promptfoo-0.121.20.json")
    rows = found(project, f"{results}@echo#0", f"{results}@flip#2", code=0)["candidates", "ok"]
    assert {row["text"] for row in rows} == {"results of another tool: nothing is asked"}
    (row,) = found(project, "nothing", "cand.yaml", code=2)["suite", "problem"]
    assert row["fix"] == "evalharness run base.yaml && evalharness baseline bless base.yaml --as nothing"


def test_a_judge_s_fix_names_its_folder(tmp_path: Path, model_server: ModelServerHandle) -> None:
    bench = Bench(write(tmp_path, model_server.base_url), model_server)
    bench.judge(name="judge")
    bench.suite(scorers="[exact_match]")
    (row,) = found(bench.project, "--suite", "suite.yaml", code=0)["judges", "warning"]
    assert row["fix"] == "evalharness judge calibrate judge" and "evalharness" not in row["text"]
