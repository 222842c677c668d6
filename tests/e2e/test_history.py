"""Stored runs over time, as a user looks at them: values, what is joined, the difference to the anchor."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evalharness import api
from evalharness.history.finding import find
from evalharness.history.reading import can_scan, read_scores
from evalharness.report.history_text import BARS
from tests.e2e.conftest import Project
from tests.e2e.judged import Bench
from tests.servers.fixture import ModelServerHandle

N = 100
DAYS = (1, 5, 9, 20)


def at(day: int) -> datetime:
    return datetime(2026, 8, day, 6, tzinfo=UTC)


def run(project: Project, day: int, wrong: Sequence[int], name: str = "bot", n: int = N, **more: Any) -> str:
    """A run of one name on that day, wrong on these cases; its folder."""
    rows: list[dict[str, Any]] = [
        {"id": f"q{i}", "output": "no" if i in wrong else f"t{i}", **more} for i in range(n)
    ]
    project.candidate(name, rows)
    use = api.Settings(cwd=project.root, now=lambda: at(day))
    return str(api.run(project.root / f"{name}.yaml", settings=use)[1].relative_to(project.root))


def golden_set(project: Project, change: str = "") -> None:
    project.golden_set(
        "questions",
        [
            {"id": f"q{i}", "input": f"question {i}{change}", "target": f"t{i}", "cluster": f"c{i // 2}"}
            for i in range(N)
        ],
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Four runs of one name that lose a little each time, one of another name, and a golden set that then changed."""
    project = Project(tmp_path_factory.mktemp("history"))
    project.suite(scorers="[exact_match, length]", gate="{max_drop: 3pp, metrics: {qa/length: advisory}}")
    golden_set(project, " (old)")
    run(project, 1, range(50))
    golden_set(project)
    for day, wrong in zip(DAYS, (2, 4, 8, 14), strict=True):
        run(project, day + 1, range(wrong))
    run(project, 12, range(3), name="other <b>")
    return project


@pytest.fixture
def bench(project: Project, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    return Bench(project, model_server)


def history(project: Project, *arguments: str, check: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.run("history", *arguments, "--json", check=check).out)
    return found


def points(found: dict[str, Any], name: str = "bot") -> list[dict[str, Any]]:
    (metric,) = found["metrics"]
    return [point for point in metric["points"] if point["name"] == name]


def test_values_and_differences_are_those_of_a_comparison_with_the_anchor(stored: Project) -> None:
    own = points(history(stored, "qa/exact_match"))
    assert [point["when"] for point in own] == sorted(point["when"] for point in own)
    assert [point["value"] for point in own] == [0.5, 0.98, 0.96, 0.92, 0.86]
    old, first, *later = own
    assert old["anchor"] and first["anchor"] and not any(point["anchor"] for point in later)
    for point in later:
        stored.run("compare", first["place"], point["place"], "--out", "x", "--quiet")
        document = json.loads((stored.root / "x/comparison.json").read_text(encoding="utf-8"))
        metric = next(m for m in document["metrics"] if m["id"] == "qa/exact_match")
        since = point["since_anchor"]
        assert since["delta"] == metric["delta"] and since["n"] == metric["n"] == N
        assert since["ci"] == metric["ci"]
        length = next(m for m in document["metrics"] if m["id"] == "qa/length")
        other = next(p for p in points(history(stored, "qa/length")) if p["run_id"] == point["run_id"])
        assert other["since_anchor"]["ci"] == length["ci"] and not other["since_anchor"]["exceeds"]
        assert since["p_drop"] == metric["p_value"] and since["anchor"] == first["run_id"]
        assert since["exceeds"] == (metric["delta"] <= -0.03 and metric["p_value"] <= 0.05)
    assert [point["since_anchor"]["exceeds"] for point in later] == [False, True, True]


def test_a_changed_golden_set_breaks_the_line_and_is_never_joined(stored: Project) -> None:
    found = history(stored, "qa/exact_match")
    (metric,) = found["metrics"]
    old, *new = points(found)
    assert {point["segment"] for point in new} == {new[0]["segment"]} != {old["segment"]}
    segments = {segment["number"]: segment for segment in metric["segments"]}
    assert segments[new[0]["segment"]]["apart"] == "another version of the golden set"
    assert segments[new[0]["segment"]]["current"] and not segments[old["segment"]]["current"]
    assert segments[new[0]["segment"]]["golden_set"] == "questions 1.0.0"
    said = stored.run("history", "qa/exact_match", check=0).out
    assert "bot from here on: another version of the golden set" in said
    held = points(history(stored, "qa/exact_match", "--anchor", new[1]["run_id"][7:20]))
    assert held[0]["since_anchor"] is None and "another suite or golden set" in held[0]["problem"]
    assert held[1]["since_anchor"]["delta"] == pytest.approx(0.02) and held[2]["anchor"]


def test_names_are_lines_of_their_own(stored: Project) -> None:
    found = history(stored, "qa/exact_match")
    (other,) = points(found, "other <b>")
    assert other["anchor"] and other["segment"] not in {point["segment"] for point in points(found)}
    folder = points(found)[1]["place"]
    (held,) = points(history(stored, "qa/exact_match", "--anchor", folder), "other <b>")
    assert held["since_anchor"]["delta"] == pytest.approx(-0.01)


def test_both_ways_of_reading_give_the_same(stored: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    found = find([stored.root / ".evalharness/runs"])
    manifests = {item.folder: item.manifest for item in found.runs}
    metrics = ["qa/exact_match", "qa/length"]
    scanned = read_scores(manifests, metrics, scan=True)
    assert scanned == read_scores(manifests, metrics, scan=False)
    assert len(scanned) == 6 and all(len(run.scores["qa/length"]) == N for run in scanned.values())
    both = history(stored, "--all")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not can_scan() and history(stored, "--all") == both


def test_the_newest_are_shown_and_held_against_the_same_anchor(stored: Project) -> None:
    every, newest = history(stored, "qa/exact_match"), history(stored, "qa/exact_match", "--last", "2")
    assert newest["metrics"][0]["left_out"] == 4
    assert points(newest) == [{**point, "segment": 1} for point in points(every)[-1:]]
    since = points(history(stored, "qa/exact_match", "--since", "2026-08-09"))
    assert [point["value"] for point in since] == [0.92, 0.86] and since[0]["anchor"]


def test_the_terminal_shows_bars_and_marks_what_fell(stored: Project) -> None:
    done = stored.run("history", "qa/exact_match", check=0)
    (old, new) = re.findall(rf"^  bot\s+┆?\s+([{BARS}]+)$", done.out, re.MULTILINE)
    assert len(old) == 1 and len(new) == 4 and [*new] == sorted(new, reverse=True)
    assert done.out.count("▼") == 2 and "lost the margin or more since the anchor" in done.out
    assert "−12.0pp" in done.out


def test_the_page_is_one_file_that_runs_and_loads_nothing(stored: Project) -> None:
    stored.run("history", "--all", "--out", "history.html", check=0)
    page = (stored.root / "history.html").read_text(encoding="utf-8")
    assert "<script" not in page and "http" not in re.sub(r'http-equiv="[^"]*"', "", page)
    assert "default-src &#39;none&#39;" in page
    assert "other &lt;b&gt;" in page and "other <b>" not in page
    assert page.count('class="point') == 2 * 6 and page.count('class="break"') == 2
    assert "--out history.txt" in stored.run("history", "--all", "--out", "history.txt", check=2).err


def test_reports_speak_for_runs_that_are_gone(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.binary(60, 6, 0)
    _, document = project.compare()
    shutil.rmtree(tmp_path / ".evalharness")
    (tmp_path / "suite.yaml").unlink()
    found = history(project, "qa/exact_match", "--runs", "out")
    assert (found["runs"], found["reports"], found["suite"]) == (0, 1, None)
    metric = document["metrics"][0]
    by_name = {point["name"]: point for point in found["metrics"][0]["points"]}
    assert by_name["base"]["value"] == metric["baseline"] and by_name["cand"]["value"] == metric["candidate"]
    assert by_name["cand"]["since_anchor"] is None and "its run is not there" in by_name["cand"]["problem"]


def test_an_edited_run_is_said_and_not_used(stored: Project, tmp_path: Path) -> None:
    shutil.copytree(stored.root, tmp_path / "copy")
    project = Project(tmp_path / "copy")
    before = points(history(project, "qa/exact_match"))
    scores = project.root / before[2]["place"] / "scores.jsonl"
    scores.write_text(scores.read_text().replace('"qa/exact_match":0.0', '"qa/exact_match":1.0'))
    (project.root / before[4]["place"] / "manifest.json").write_text("{")
    after = history(project, "qa/exact_match")
    edited = points(after)[2]
    assert edited["value"] is None and "edited or damaged" in edited["problem"]
    assert [point["value"] for point in points(after)] == [0.5, 0.98, None, 0.92]
    assert [item["place"] for item in after["skipped"]] == [before[4]["place"]]
    said = " ".join(project.run("history", "qa/exact_match", check=0).out.split())
    assert f"! {before[4]['place']}/manifest.json: not valid JSON" in said and str(tmp_path) not in said


def test_missing_answers_count_as_the_worst_value(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.suite(scorers="[exact_match, macro_f1]")
    project.golden_set("questions", [{"id": f"q{i}", "input": "q", "target": f"t{i % 2}"} for i in range(20)])
    for day, failed in ((1, 0), (2, 5)):
        rows = [{"id": f"q{i}", "output": f"t{i % 2}"} for i in range(20)]
        rows[:failed] = [{"id": f"q{i}", "error": "down"} for i in range(failed)]
        project.candidate("bot", rows)
        api.run(tmp_path / "bot.yaml", settings=api.Settings(cwd=tmp_path, now=lambda day=day: at(day)))
    found = history(project, "--all")
    for metric in found["metrics"]:
        first, second = metric["points"]
        assert (first["value"], second["missing"], second["n"]) == (1.0, 5, 20)
        assert second["value"] < 0.9 and second["since_anchor"]["delta"] == pytest.approx(second["value"] - 1)
    assert found["metrics"][0]["points"][1]["value"] == 0.75


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("qa/exact_match", "--all"), "not both"),
        (("qa/exact_mach",), "did you mean qa/exact_match"),
        (("--all", "--since", "yesterday"), "write 2026-08-01"),
        (("--all", "--anchor", "0123456789"), "no run that was found, and no blessed baseline"),
        (("--all", "--anchor", "questions"), "no run that was found, and no blessed baseline"),
        (
            ("--all", "--since", "2030-01-01"),
            "no run and no report in the store and in reports since 2030-01-01",
        ),
        (("--all", "--runs", "nowhere"), "no such folder: nowhere"),
        (("--all", "--runs", "questions"), "no run and no report in questions"),
    ],
)
def test_what_is_asked_wrongly(stored: Project, arguments: tuple[str, ...], says: str) -> None:
    assert says in stored.run("history", *arguments, check=2).err


def test_an_anchor_is_used_though_it_is_older_than_what_is_shown(stored: Project) -> None:
    own = points(history(stored, "qa/exact_match"))
    first = next(point for point in own if point["when"].startswith("2026-08-02"))
    for named in (first["run_id"][7:15], first["place"]):
        shown = points(history(stored, "qa/exact_match", "--since", "2026-08-10", "--anchor", named))
        assert [point["when"][:10] for point in shown] == ["2026-08-02", "2026-08-10", "2026-08-21"]
        assert shown[-1]["since_anchor"]["anchor"] == first["run_id"]


def test_runs_of_names_of_their_own_are_held_against_a_blessed_one(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.suite()
    golden_set(project)
    for day, wrong, name in ((1, 2, "first"), (2, 20, "second")):
        run(project, day, range(wrong), name=name)
    alone = project.run("history", check=0).out
    assert "qa/exact_match" in alone and "--anchor RUN names one for all" in " ".join(alone.split())
    folder = next((tmp_path / ".evalharness/runs").glob("first-*"))
    project.run("baseline", "bless", str(folder.relative_to(tmp_path)), "--as", "main", check=0)
    shutil.rmtree(folder)  # what is blessed is kept by itself
    found = history(project, "--anchor", "main")
    second = points(found, "second")[0]
    assert second["since_anchor"]["delta"] == pytest.approx(-0.18) and second["since_anchor"]["exceeds"]
    assert found["warnings"] == []


def test_a_suite_that_moved_is_named_with_its_option(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.suite()
    golden_set(project)
    folder = run(project, 1, ())
    (tmp_path / "suite.yaml").rename(tmp_path / "moved.yaml")
    for asked in (("history",), ("export", folder, "--to", "csv")):
        assert "suite.yaml is not there; name it with --suite" in project.run(*asked, check=2).err
        project.run(*asked, "--suite", "moved.yaml", check=0)


def test_a_run_from_the_future_is_told(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.suite()
    golden_set(project)
    run(project, 1, ())
    use = api.Settings(cwd=tmp_path, now=lambda: datetime(2026, 7, 30, tzinfo=UTC))
    (told,) = api.history(settings=use).warnings
    assert "2026-08-01T06:00:00+00:00" in told and "yet to come" in told
    assert not api.history(settings=api.Settings(cwd=tmp_path, now=lambda: at(2))).warnings


def test_keys_in_names_are_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_SECRET", "hunter2-correct-horse")
    project = Project(tmp_path)
    project.suite()
    golden_set(project)
    run(project, 1, (), name="bot hunter2-correct-horse")
    shown = project.run("history", "--all", "--out", "h.html", check=0).out
    text = shown + project.run("history", "--all", "--json").out + (tmp_path / "h.html").read_text()
    assert "bot [key]" in text and "hunter2" not in re.sub(r'"place": .*', "", text)


def test_thousands_of_stored_runs_stay_quick(stored: Project, tmp_path: Path) -> None:
    """Only the newest are read. 2,000 manifests and 100 runs of 100 cases."""
    source = stored.root / points(history(stored, "qa/exact_match"))[1]["place"]
    manifest = json.loads((source / "manifest.json").read_text())
    for number in range(2000):
        folder = tmp_path / "runs" / f"r{number}"
        folder.mkdir(parents=True)
        day, second = divmod(number, 80)
        manifest["environment"]["started"] = f"2026-07-{day + 1:02}T06:00:{second % 60:02}+00:00"
        manifest["run_id"] = f"sha256:{number:064x}"
        (folder / "manifest.json").write_text(json.dumps(manifest))
        for name in ("attempts.jsonl", "scores.jsonl"):
            (folder / name).hardlink_to(source / name)
    begun = time.process_time()
    found = history(stored, "qa/exact_match", "--runs", str(tmp_path / "runs"))
    assert time.process_time() - begun < 8
    assert found["runs"] == 2000 and found["metrics"][0]["left_out"] == 1900
    assert {point["value"] for point in points(found)} == {0.98}


def test_a_preference_is_joined_against_one_and_the_same_baseline(tmp_path: Path) -> None:
    """Reports of a judge's win rate, as comparison.json tells them; two are against one baseline, one is not."""
    project = Project(tmp_path)
    project.binary(40, 4, 0)
    project.compare()
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    document = json.loads((tmp_path / "out/comparison.json").read_text())
    shutil.rmtree(tmp_path / ".evalharness")
    for day, (baseline, rate) in enumerate([("a", 0.5), ("a", 0.6), ("b", 0.4)], start=1):
        manifest["candidate"]["environment"]["started"] = at(day).isoformat()
        document["candidate"]["run_id"] = f"sha256:{day:064}"
        document["baseline"] |= {"name": baseline, "run_id": f"sha256:{baseline * 64}"}
        document["metrics"][0] |= {"id": "qa/judge", "kind": "preference", "candidate": rate, "baseline": 0.5}
        for name, content in (("manifest", manifest), ("comparison", document)):
            project.write(f"kept/{day}/{name}.json", json.dumps(content))
    found = history(project, "qa/judge", "--runs", "kept")
    own = points(found, "cand")
    assert [(point["value"], point["against"]) for point in own] == [(0.5, "a"), (0.6, "a"), (0.4, "b")]
    assert own[0]["segment"] == own[1]["segment"] != own[2]["segment"]
    assert found["metrics"][0]["segments"][1]["apart"] == "held against another baseline (b)"
    assert not points(found, "a") and not points(found, "base")


def test_a_run_that_asked_critical_cases_again_is_none_of_the_suite(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.suite()
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": "q", "target": f"t{i}", "critical": i == 0} for i in range(20)]
    )
    run(project, 1, (), name="base", n=20)
    project.write("app.py", "def answer(case):\n    return 'wrong'\n")
    project.write("cand.yaml", "name: cand\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\n")
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", "--quiet", check=1)
    folders = {path.name.rpartition("-")[0] for path in (tmp_path / ".evalharness/runs").iterdir()}
    assert folders == {"base", "cand", "cand-critical"}
    names = {point["name"] for point in history(project, "--all")["metrics"][0]["points"]}
    assert names == {"base", "cand"}
    run(project, 2, (), name="base-critical", n=20)
    names = {point["name"] for point in history(project, "--all")["metrics"][0]["points"]}
    assert names == {"base", "cand", "base-critical"}


def test_the_replies_of_judges_are_no_runs_of_a_suite(bench: Bench) -> None:
    bench.judge("judge-first")
    bench.cases(3)
    bench.suite(scorers="[exact_match]")
    bench.sides(["t"] * 3, ["u"] * 3)
    bench.compare(check=3)
    runs = bench.root / ".evalharness/runs"
    (of_the_judge,) = runs.glob("judge-judge-*")
    manifest = json.loads((of_the_judge / "manifest.json").read_text(encoding="utf-8"))
    manifest["environment"]["started"] = (
        "2099-01-01T00:00:00+00:00"  # asked after all else, as calibrate does
    )
    (of_the_judge / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = history(bench.project)
    assert (found["suite"], found["runs"], found["warnings"][0][:13]) == ("project", 2, "each run here")


def test_a_judged_run_is_one_run_in_its_report_and_in_the_store_also_at_a_look(bench: Bench) -> None:
    bench.judge("judge-first")
    bench.cases(40)
    bench.suite(scorers="[exact_match]", more="sampling: {initial: 20, max: 40, looks: 2}\n")
    bench.sides(["t"] * 40, ["u"] * 40)
    _, document = bench.project.compare(check=1)
    assert document["looks"]["look"] == 1
    found = history(bench.project, "qa/exact_match", "--runs", ".evalharness/runs", "--runs", "out")
    assert [(point["source"], point["n"]) for point in points(found, "base")] == [("run", 40)]
    asked = dict.fromkeys(("base", "cand"), "provider: openai\nmodel: echo\n")
    for name, how in asked.items():  # asked as far as the look goes: the very run of the report
        bench.project.write(
            f"{name}.yaml", f"name: {name}\nsuite: ./suite.yaml\n{how}base_url: {bench.server.base_url}\n"
            f"prompt: {{user: \"{{{{ input }}}}{name}\"}}\n",
        )  # fmt: skip
    _, document = bench.project.compare()
    ids = {point["run_id"] for point in points(history(bench.project, "qa/exact_match"), "base")}
    assert document["baseline"]["run_id"] in ids


def test_a_run_that_is_there_as_another_suite_scored_it_is_not_called_gone(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.suite()
    golden_set(project)
    folders = [run(project, 1, (), name="base"), run(project, 1, (1, 2), name="cand")]
    project.suite(scorers="[exact_match, length]", gate="{max_drop: 5pp, metrics: {qa/length: advisory}}")
    project.run("compare", *folders, "--quiet", check=0)  # scores in memory
    (problem,) = {point["problem"] for point in points(history(project, "qa/exact_match"), "base")} - {None}
    assert f"evalharness score {folders[0]} scores it as the suite is now" in problem
    for folder in folders:
        project.run("score", folder, check=0)
    assert len(points(history(project, "qa/exact_match"), "base")) == 1
    shutil.rmtree(tmp_path / ".evalharness/runs")
    (left,) = points(history(project, "qa/exact_match"), "base")
    assert left["problem"] == "known from a report alone: its run is not there"


def test_suites_of_one_store_are_kept_apart_by_name(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.suite()
    golden_set(project)
    run(project, 1, range(10))
    first = (tmp_path / "suite.yaml").read_text()
    project.write("suite.yaml", first.replace("name: project", "name: other"))
    run(project, 2, ())
    found = history(project, "qa/exact_match")
    assert [point["value"] for point in points(found)] == [1.0] and found["suite"] == "other"
    assert "left out of project: 1 run and 0 reports" in found["warnings"][0]
    project.write("first.yaml", first)
    found = history(project, "qa/exact_match", "--suite", "first.yaml")
    assert [point["value"] for point in points(found)] == [0.9] and found["suite"] == "project"
