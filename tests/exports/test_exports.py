"""What `export` writes is read back by other programs: csv, pyarrow, protobuf, MLflow, a collector."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project

BY_VALUE = "hunter2-correct-horse"
KEY = "sk-proj-abcdefghij0123456789ABCDEFGH"
EMAIL = "jane.doe@example.com"
CANARIES = (BY_VALUE, KEY, EMAIL)
FORMULA = '=HYPERLINK("http://127.0.0.1/?leak","total")'
N = 40
REPORT = "out"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A compared project: one failed answer, one unread one, hostile texts, and canaries wherever an export reads."""
    patch = pytest.MonkeyPatch()
    patch.setenv("SERVICE_SECRET", BY_VALUE)
    project = Project(tmp_path_factory.mktemp("exports"))
    ids = [f"q{i}" for i in range(N)]
    ids[0], ids[1] = FORMULA, f"q1 {EMAIL}"
    project.golden_set(
        "questions",
        [
            {
                "id": key,
                "input": "question",
                "target": f"t{i}",
                "tags": {"who": f"{KEY} {i % 2}", "-x": "a,b\r\n"},
            }
            for i, key in enumerate(ids)
        ],
    )
    project.suite(scorers="[exact_match, {regex: {pattern: 't(.+)'}}, 'recorded:grade']")
    text = (project.root / "suite.yaml").read_text()
    project.write("suite.yaml", text + "redact: {emails: true}\n")
    base: list[dict[str, Any]] = [
        {"id": key, "output": f"t{i}", "scores": {"grade": 0.5}} for i, key in enumerate(ids)
    ]
    cand = [{**row, "output": "wrong" if i > N - 4 else row["output"]} for i, row in enumerate(base)]
    cand[2] = {"id": ids[2], "error": f"timeout at {EMAIL} with {BY_VALUE}"}
    del cand[3]["scores"]
    project.candidate("base", base)
    project.candidate("cand", cand)
    project.compare()
    patch.undo()
    return project


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_SECRET", BY_VALUE)


def run_folder(project: Project, name: str) -> str:
    return str(next((project.root / ".evalharness/runs").glob(f"{name}-*")).relative_to(project.root))


def export(
    project: Project, source: str, to: str, *extra: str, out: str = "x", check: int = 0
) -> dict[str, Any]:
    where = () if to == "mlflow" or "--endpoint" in extra else ("--out", out)
    done = project.run("export", source, "--to", to, *where, *extra, "--json", check=check)
    found: dict[str, Any] = json.loads(done.out)
    return found


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))


def test_every_planned_score_is_a_row_and_a_missing_one_says_why(made: Project) -> None:
    found = export(made, REPORT, "csv", out="whole")
    rows = table(made.root / "whole/scores.csv")
    assert found["rows"] == {
        "comparison": len(table(made.root / "whole/comparison.csv")),
        "scores": len(rows),
    }
    assert len(rows) == 2 * N * 3
    assert {(row["side"], row["candidate"]) for row in rows} == {("baseline", "base"), ("candidate", "cand")}
    by_status: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        assert bool(row["value"]) == (row["status"] == "scored") != bool(row["reason"])
        by_status.setdefault(row["status"], []).append(row)
    assert {row["case_id"] for row in by_status["failed"]} == {"q2"}
    assert len(by_status["failed"]) == 3 and "timeout at [email]" in by_status["failed"][0]["reason"]
    assert [(row["case_id"], row["metric"]) for row in by_status["unscored"]] == [("q3", "qa/recorded:grade")]
    grades = {row["value"] for row in by_status["scored"] if row["metric"] == "qa/recorded:grade"}
    assert grades == {"0.5"}


def test_csv_is_rfc_4180_and_its_texts_are_as_they_are(made: Project) -> None:
    export(made, REPORT, "csv", out="raw")
    raw = (made.root / "raw/scores.csv").read_bytes()
    assert raw.count(b"\r\n") == 2 * N * 3 + 1 and not raw.replace(b"\r\n", b"").count(b"\n")
    assert any(row["case_id"] == FORMULA for row in table(made.root / "raw/scores.csv"))


def test_a_spreadsheet_runs_no_cell_of_a_csv_made_for_it(made: Project) -> None:
    export(made, REPORT, "csv", "--spreadsheet", out="sheet")
    for name in ("scores", "comparison"):
        for row in table(made.root / f"sheet/{name}.csv"):
            for column, cell in row.items():
                numeric = column in ("value", "delta", "ci_low", "ci_high", "bound")
                assert numeric or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")), (column, cell)
    assert any(row["case_id"] == f"'{FORMULA}" for row in table(made.root / "sheet/scores.csv"))
    assert any(float(row["delta"]) < 0 for row in table(made.root / "sheet/comparison.csv") if row["delta"])


def test_json_lines_and_parquet_hold_the_same_rows(made: Project) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(made, REPORT, "jsonl", out="same")
    export(made, REPORT, "parquet", out="same")
    for name in ("scores", "comparison"):
        lines = (made.root / f"same/{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        read = parquet.read_table(made.root / f"same/{name}.parquet").to_pylist()
        assert [{**row, "tags": dict(row.get("tags") or ())} for row in read] == [
            {**row, "tags": row.get("tags") or {}} for row in rows
        ]
    assert rows[0]["n"] == 40 and type(rows[0]["gated"]) is bool


def test_the_comparison_is_that_of_comparison_json(made: Project) -> None:
    export(made, REPORT, "jsonl", out="compared")
    lines = (made.root / "compared/comparison.jsonl").read_text(encoding="utf-8").splitlines()
    document = json.loads((made.root / REPORT / "comparison.json").read_text(encoding="utf-8"))
    whole = {row["metric"]: row for row in map(json.loads, lines) if row["slice"] is None}
    assert len(lines) == len(document["metrics"]) + len(document["slices"])
    for metric in document["metrics"]:
        row = whole[metric["id"]]
        same = ("delta", "bound", "p_value", "status", "n", "kind", "gated", "reason")
        assert {key: row[key] for key in same} == {key: metric[key] for key in same}
        assert (row["ci_low"], row["ci_high"]) == (metric["ci"]["low"], metric["ci"]["high"])
        assert (row["verdict"], row["candidate_run"]) == (
            document["verdict"],
            document["candidate"]["run_id"],
        )


def test_a_run_by_itself(made: Project) -> None:
    found = export(made, run_folder(made, "cand"), "csv", out="single")
    assert found["rows"] == {"scores": 3 * N} and not (made.root / "single/comparison.csv").exists()
    assert {row["side"] for row in table(made.root / "single/scores.csv")} == {"run"}


def requests(path: Path) -> list[Any]:
    """OTLP JSON lines as the protocol's own schema reads them; an unknown field is an error."""
    pytest.importorskip("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
    from google.protobuf.json_format import Parse
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    lines = path.read_text(encoding="utf-8").splitlines()
    return [Parse(line, ExportLogsServiceRequest()) for line in lines]


def records(found: list[Any]) -> list[tuple[str, int, dict[str, Any]]]:
    """(event name, time, attributes) of every log record."""
    return [
        (
            record.event_name,
            record.time_unix_nano,
            {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in record.attributes},
        )
        for request in found
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]  # fmt: skip


def test_events_are_those_of_the_semantic_conventions(made: Project) -> None:
    found = export(made, REPORT, "otel", out="events.jsonl")
    events = records(requests(made.root / "events.jsonl"))
    assert found["rows"] == {"events": len(events)} and len(events) == 2 * N * 3 + 4
    assert {name for name, _, _ in events} == {"gen_ai.evaluation.result"}
    assert all(when > 10**18 for _, when, _ in events)
    by_scope: dict[str, list[dict[str, Any]]] = {}
    for _, _, attributes in events:
        by_scope.setdefault(attributes["evalharness.scope"], []).append(attributes)
    (verdict,) = by_scope["comparison"]
    document = json.loads((made.root / REPORT / "comparison.json").read_text(encoding="utf-8"))
    assert verdict["gen_ai.evaluation.score.label"] == document["verdict"]
    assert {a["gen_ai.evaluation.name"] for a in by_scope["metric"]} == {
        f"comparison/{metric['id']}" for metric in document["metrics"]
    }
    for attributes in by_scope["case"]:
        has_value = "gen_ai.evaluation.score.value" in attributes
        assert has_value != ("error.type" in attributes)
        if not has_value:
            assert attributes["gen_ai.evaluation.explanation"]
    kinds = {a["error.type"] for a in by_scope["case"] if "error.type" in a}
    assert kinds == {"recorded", "unscored"}
    exact = [a for a in by_scope["case"] if a["gen_ai.evaluation.name"] == "qa/exact_match"]
    labels = {(a.get("gen_ai.evaluation.score.value"), a.get("gen_ai.evaluation.score.label")) for a in exact}
    assert labels == {(1.0, "pass"), (0.0, "fail"), (None, None)}


@contextmanager
def collector(kept: Path, *status: str) -> Iterator[str]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("collector.py")), str(kept), *status],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def test_a_collector_gets_what_the_file_holds(made: Project, tmp_path: Path) -> None:
    export(made, REPORT, "otel", out="filed.jsonl")
    with collector(tmp_path / "kept.jsonl") as address:
        found = export(made, REPORT, "otel", "--endpoint", address)
    sent, filed = records(requests(tmp_path / "kept.jsonl")), records(requests(made.root / "filed.jsonl"))
    assert found["rows"] == {"events": len(sent)}
    assert sent == filed


def test_a_collector_that_refuses_is_told(made: Project, tmp_path: Path) -> None:
    with collector(tmp_path / "kept.jsonl", "401") as address:
        secret = address.replace("://", "://me:passw0rd@")
        done = made.run("export", REPORT, "--to", "otel", "--endpoint", secret, check=2)
    assert (
        "passw0rd" not in done.err
        and "took 0 events" in done.err
        and f"{address}/v1/logs" in done.err
        and "401" in done.err
    )


def test_mlflow_reads_back_what_was_measured(made: Project) -> None:
    mlflow = pytest.importorskip("mlflow")
    found = export(made, REPORT, "mlflow", "--tracking-uri", "tracked", "--project", "gate")
    single = export(
        made, run_folder(made, "cand"), "mlflow", "--tracking-uri", "tracked", "--project", "gate"
    )
    client = mlflow.MlflowClient(tracking_uri=(made.root / "tracked").as_uri())
    run = client.get_run(found["place"])
    document = json.loads((made.root / REPORT / "comparison.json").read_text(encoding="utf-8"))
    assert run.info.status == "FINISHED" and run.data.tags["verdict"] == document["verdict"]
    metric = document["metrics"][0]
    assert run.data.metrics["qa/exact_match.delta"] == metric["delta"]
    assert run.data.metrics["qa/exact_match.ci_low"] == metric["ci"]["low"]
    assert run.data.params["candidate_run_id"] == document["candidate"]["run_id"]
    beside = {item.path for item in client.list_artifacts(found["place"])}
    assert beside == {"report.html", "comparison.json", "summary.md", "junit.xml", "scores.csv"}
    alone = client.get_run(single["place"])
    assert alone.data.metrics["qa/exact_match"] == metric["candidate"]
    assert alone.data.metrics["qa/exact_match.missing"] == 1
    assert client.get_experiment(alone.info.experiment_id).name == "gate"


def test_wandb_offline_writes_a_run(made: Project) -> None:
    pytest.importorskip("wandb")
    home = made.root / "home"
    folders = {f"WANDB_{name}_DIR": str(home / name) for name in ("DATA", "CACHE", "CONFIG", "ARTIFACT")}
    done = made.process(
        "export", REPORT, "--to", "wandb", "--out", "tracked-w", "--json", check=0,
        env={"WANDB_MODE": "offline", **folders},
    )  # fmt: skip
    place = made.root / json.loads(done.out)["place"]
    assert place.parent == made.root / "tracked-w/wandb"
    (kept,) = place.glob("*.wandb")
    data = kept.read_bytes()
    for text in (b"qa/exact_match.delta", b"verdict", b"evaluation"):
        assert text in data
    shown = json.loads(next(place.rglob("comparison*.table.json")).read_text(encoding="utf-8"))
    assert "delta" in shown["columns"] and len(shown["data"]) >= 3


def test_no_canary_is_exported(made: Project) -> None:
    pytest.importorskip("pyarrow")
    for to in ("csv", "jsonl", "parquet"):
        export(made, REPORT, to, out="clean")
    export(made, REPORT, "otel", out="clean/events.jsonl")
    files = [path for path in (made.root / "clean").iterdir() if path.is_file()]
    assert len(files) == 7
    for path in files:
        data = path.read_bytes()
        assert not [canary for canary in CANARIES if canary.encode() in data], path.name
    tracked = [made.root / "tracked", made.root / "tracked-w", made.root / "home"]
    for path in (p for folder in tracked for p in folder.rglob("*") if p.is_file()):
        assert not [canary for canary in CANARIES if canary.encode() in path.read_bytes()], path


def test_options_that_do_not_fit_are_all_told(made: Project) -> None:
    done = made.run(
        "export", REPORT, "--to", "parquet", "--spreadsheet", "--endpoint", "http://127.0.0.1:1", "--project", "p",
        check=2,
    )  # fmt: skip
    for text in (
        "--spreadsheet is for --to csv",
        "--endpoint is for --to otel",
        "--project is for --to mlflow or wandb",
    ):
        assert text in done.err
    assert (
        "not an http(s) address"
        in made.run("export", REPORT, "--to", "otel", "--endpoint", "localhost", check=2).err
    )


@pytest.mark.parametrize(
    ("source", "extra", "says"),
    [
        ("nothing-here", (), "no such folder"),
        ("questions", (), "not a run folder"),
        ("questions", ("--no-scores",), "not a run folder"),
    ],
)
def test_what_is_no_run_and_no_report_is_refused(
    made: Project, source: str, extra: tuple[str, ...], says: str
) -> None:
    done = made.run("export", source, "--to", "csv", "--out", "never", *extra, check=2)
    assert says in done.err and not (made.root / "never").exists()


def test_a_report_whose_runs_are_elsewhere(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.binary(20, 2, 0)
    project.compare()
    (tmp_path / ".evalharness").rename(tmp_path / "moved")
    (tmp_path / "suite.yaml").unlink()
    done = project.run("export", "out", "--to", "csv", check=2)
    assert "run is not there" in done.err and "--no-scores" in done.err
    project.run("export", "out", "--to", "csv", "--out", "x", "--no-scores", check=0)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["comparison.csv"]
    project.write("out/comparison.json", '{"schema_version": 1, "verdict": "pass"}')
    assert "damaged" in project.run("export", "out", "--to", "csv", "--no-scores", check=2).err


def test_rows_of_a_golden_set_that_changed_have_no_tags(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.binary(20, 2, 0, cases=lambda i: {"tags": {"half": str(i % 2)}})
    project.run("run", "base.yaml", check=0)
    folder = run_folder(project, "base")
    project.run("export", folder, "--to", "csv", "--out", "before", check=0)
    cases = (tmp_path / "questions/cases.jsonl").read_text().replace("question 3", "another question")
    project.write("questions/cases.jsonl", cases)
    done = project.run("export", folder, "--to", "csv", "--out", "after", check=0)
    assert "has changed since" in done.err
    before, after = table(tmp_path / "before/scores.csv"), table(tmp_path / "after/scores.csv")
    assert [{**row, "tags": ""} for row in before] == after and before[0]["tags"] == '{"half":"0"}'


@pytest.mark.parametrize(
    "lacking", ["sqlalchemy", "alembic"]
)  # other libraries bring the first without the second
def test_a_database_of_mlflow_needs_more_than_its_skinny_package(
    made: Project, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setitem(sys.modules, lacking, None)
    address = "postgresql+psycopg://me:hunter2@127.0.0.1/runs"
    said = made.run("export", REPORT, "--to", "mlflow", "--tracking-uri", address, check=2).err
    assert "for a database: pip install mlflow" in said and "hunter2" not in said


def test_wandb_that_is_disabled_is_no_export(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "writes nothing" in made.run("export", REPORT, "--to", "wandb", "--out", "none", check=2).err


@pytest.mark.parametrize(
    ("to", "module", "extra"),
    [("parquet", "pyarrow", ()), ("mlflow", "mlflow", ()), ("wandb", "wandb", ()),
     ("otel", "opentelemetry", ("--endpoint", "http://127.0.0.1:1"))],
)  # fmt: skip
def test_a_missing_library_is_one_sentence_with_the_command(
    made: Project, monkeypatch: pytest.MonkeyPatch, to: str, module: str, extra: tuple[str, ...]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    done = made.run("export", REPORT, "--to", to, *extra, check=2)
    assert re.search(rf"; needed to (write|export|send) .*: pip install 'evalharness\[{to}\]'", done.err)
