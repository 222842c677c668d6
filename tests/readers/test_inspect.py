"""Logs that Inspect wrote in this test, and logs that somebody damaged."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.benchmarks import TaskResults
from evalharness.errors import SpecError
from evalharness.readers import _zip
from evalharness.readers.inspect_log import InspectLog
from tests.readers.tools import QUESTIONS, inspect_logs, log_of


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspect_logs(tmp_path_factory.getbasetemp())


def read(path: Path) -> TaskResults:
    (found,) = InspectLog().read(path).tasks.values()
    return found


def answer(attempt: Attempt) -> Response:
    assert isinstance(attempt.outcome, Response)
    return attempt.outcome


def test_a_log_says_what_was_asked_answered_and_scored(logs: Path) -> None:
    found = InspectLog().read(log_of(logs, "base"))
    assert (found.tool, found.tool_version, found.model) == ("inspect", "0.3.285", "mockllm/model")
    task = found.tasks["sums"]
    assert task.task.golden_set.card.version == "1" and task.comparable["data set"] == "numbers"
    assert [case.id for case in task.task.golden_set.cases] == [str(i) for i in range(1, QUESTIONS + 1)]
    chat, text = task.task.golden_set.cases[1], task.task.golden_set.cases[0]
    assert (text.input, text.targets, text.question) == ("Say 1", ("1",), "Say 1")
    assert chat.messages[0].content == chat.question == "Say 2"
    first = answer(task.attempts["1", 0])
    assert (first.text, first.finish_reason, first.scores) == ("1", "stop", {"match": 1.0, "length": 1.0})
    assert first.usage is not None and (first.usage.input_tokens, first.usage.output_tokens) == (7, 2)
    assert first.latency_ms is not None and first.latency_ms >= 0
    assert answer(task.attempts["5", 0]).scores == {"match": 0.0, "length": 7.0}
    match, length = task.task.metrics
    assert match.scorer.params["kind"] == "binary" and match.advisory == ""
    assert length.scorer.params["kind"] == "unbounded" and length.advisory
    assert found.warnings == ()


def test_what_sorts_cases_becomes_slices_and_nothing_else(logs: Path) -> None:
    cases = read(log_of(logs, "base")).task.golden_set.cases
    assert dict(cases[0].tags) == {"parity": "odd"}, (
        "a long note and a number of its own for each case are no slices"
    )


def test_epochs_are_repeats_and_errors_are_failures(logs: Path) -> None:
    found = read(log_of(logs, "epochs"))
    assert found.repeats == 2 and len(found.attempts) == 12
    for repeat in (0, 1):
        outcome = found.attempts["3", repeat].outcome
        assert isinstance(outcome, Failure) and outcome.kind == "recorded" and "down" in outcome.message
    assert answer(found.attempts["4", 1]).scores["match"] == 1.0


def test_the_json_form_reads_alike(logs: Path) -> None:
    path = log_of(logs, "json")
    assert InspectLog().reads(path, path.read_bytes()[:65536])
    found = read(path)
    assert len(found.attempts) == 6 and answer(found.attempts["1", 0]).scores["match"] == 1.0


def test_a_log_that_broke_off_counts_what_is_missing(logs: Path) -> None:
    results = InspectLog().read(log_of(logs, "broken"))
    found = results.tasks["sums"]
    assert len(found.task.golden_set.cases) == 12, "all that was planned, not what is there"
    kinds = [a.outcome.kind for a in found.attempts.values() if isinstance(a.outcome, Failure)]
    assert kinds.count("recorded") >= 1 and kinds.count("absent") >= 6
    assert (
        f"{kinds.count('absent')} of 12 planned samples are not in the log (status error)"
        in results.warnings[0]
    )


def test_grades_scores_by_name_and_nan(logs: Path) -> None:
    found = read(log_of(logs, "kinds"))
    assert answer(found.attempts["1", 0]).scores == {"parts.kind": 0.5, "parts.exact": 0.25}
    second = answer(found.attempts["2", 0])
    assert second.scores == {"parts.kind": 0.5}
    assert "not finite" in second.unscored["parts.exact"] or "no value" in second.unscored["parts.exact"]


def sample(number: Any = 1, **more: Any) -> dict[str, Any]:
    scores = {"match": {"value": "C"}}
    return {
        "id": number,
        "epoch": 1,
        "input": "q",
        "target": "t",
        "output": {"completion": "a"},
        "scores": scores,
    } | more


def header(ids: list[Any]) -> dict[str, Any]:
    return {
        "status": "success",
        "eval": {"task": "own", "dataset": {"sample_ids": ids}, "config": {"epochs": 1}},
    }


def write(path: Path, members: Mapping[str, Any], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in members.items():
            archive.writestr(name, value if isinstance(value, bytes) else json.dumps(value))
    return path


def refused(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        InspectLog().read(path)
    assert all(problem.file for problem in caught.value.problems)
    return str(caught.value)


def test_a_log_without_zstandard_and_with_stored_members(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = write(
            tmp_path / "own.eval", {"header.json": header([1]), "samples/1_epoch_1.json": sample()}, method
        )
        assert answer(read(path).attempts["1", 0]).text == "a"


def test_a_sample_that_was_logged_again_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path / "own.eval", {"header.json": header([1]), "samples/1_epoch_1.json": sample()})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("samples/1_epoch_1.json", json.dumps(sample(output={"completion": "again"})))
    assert answer(read(path).attempts["1", 0]).text == "again"


def test_duplicate_ids_are_refused_with_both_places(tmp_path: Path) -> None:
    members = {
        "header.json": header([1]),
        "samples/1_epoch_1.json": sample(1),
        "samples/x_epoch_1.json": sample("1"),
    }
    told = refused(write(tmp_path / "own.eval", members))
    assert "samples/x_epoch_1.json" in told and "samples/1_epoch_1.json" in told and "already" in told


def test_attachments_and_large_samples_in_parts(tmp_path: Path) -> None:
    shell = sample(input="attachment://1", output={"completion": "attachment://0"})
    members = {
        "header.json": header([1]),
        "samples/1_epoch_1/sample.json": shell,
        "samples/1_epoch_1/metadata.json": {"k": "v"},
        "samples/1_epoch_1/attachments/0.json": ["the answer", "the question"],
        "samples/1_epoch_1/events/0.json": [],
    }
    found = read(write(tmp_path / "own.eval", members))
    assert found.task.golden_set.cases[0].input == "the question"
    assert answer(found.attempts["1", 0]).text == "the answer"


def test_names_of_members_never_become_files(tmp_path: Path) -> None:
    members = {"header.json": header([1]), "samples/../../evil_epoch_1.json": sample(), "/etc/own": b"x"}
    before = sorted(tmp_path.parent.rglob("*evil*"))
    read(write(tmp_path / "own.eval", members))
    assert sorted(tmp_path.parent.rglob("*evil*")) == before


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data[: len(data) // 2], "not a whole zip file"),
        (lambda data: b"", "not a whole zip file"),
        (lambda data: b"PK\x03\x04" + bytes(200), "not a whole zip file"),
        (lambda data: data.replace(b'"id"', b'"iD"'), "checksum"),
    ],
    ids=["cut", "empty", "zeros", "bytes"],
)
def test_a_damaged_log_is_refused(tmp_path: Path, damage: Any, told: str) -> None:
    members = {"header.json": header([1]), "samples/1_epoch_1.json": sample()}
    path = write(tmp_path / "own.eval", members, zipfile.ZIP_STORED)
    path.write_bytes(damage(path.read_bytes()))
    assert told in refused(path)


def test_an_encrypted_log_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "own.eval", {"header.json": header([1])})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    assert "encrypted" in refused(path)


def test_a_bomb_that_says_how_large_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_zip, "MOST_MEMBER_BYTES", 1_000_000)
    path = write(
        tmp_path / "own.eval", {"header.json": header([1]), "samples/1_epoch_1.json": b" " * 5_000_000}
    )
    assert path.stat().st_size < 50_000
    assert "grows beyond 1 MB" in refused(path)


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    """The directory says 1,000 bytes; 50 million come out, of which no more than that are unpacked."""
    packed = zlib.compress(b" " * 50_000_000, 9)[2:-4]
    name = b"samples/1_epoch_1.json"
    sizes = struct.pack("<3L", 0, len(packed), 1000)
    local = (
        b"PK\x03\x04" + struct.pack("<5H", 20, 0, 8, 0, 0) + sizes + struct.pack("<2H", len(name), 0) + name
    )
    path = write(tmp_path / "own.eval", {"header.json": header([1])})
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("header.json")
    raw = path.read_bytes()
    start = raw.index(b"PK\x01\x02")
    central = b"PK\x01\x02" + struct.pack("<6H", 20, 20, 0, 8, 0, 0) + sizes
    central += struct.pack("<5H2L", len(name), 0, 0, 0, 0, 0, start) + name
    directory = raw[start : raw.index(b"PK\x05\x06")] + central
    body = raw[:start] + local + packed
    end = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 2, 2, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    assert info.file_size < 1000
    assert "holds more than its header says" in refused(path)


def test_members_share_one_allowance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_zip, "MOST_TOTAL_BYTES", 3_000_000)
    monkeypatch.setattr(_zip, "MOST_RATIO", 1)
    members = {f"samples/{i}_epoch_1.json": {**sample(i), "store": {"x": "0" * 900_000}} for i in range(5)}
    assert "all members beyond 3 MB" in refused(
        write(tmp_path / "own.eval", {"header.json": header([]), **members})
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "truncated"),
        (b'{"id": 1', "truncated"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "a list"),
        (b'{"epoch": 1}', "has no id"),
        (b'{"id": 1, "epoch": "one"}', "epoch is a text"),
        ('{"id": 1}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_a_sample_that_is_none(tmp_path: Path, text: bytes, told: str) -> None:
    path = write(tmp_path / "own.eval", {"header.json": header([1]), "samples/1_epoch_1.json": text})
    message = refused(path)
    assert told in message and "samples/1_epoch_1.json" in message


def test_a_zip_file_of_something_else(tmp_path: Path) -> None:
    assert "no header.json" in refused(write(tmp_path / "own.eval", {"word/document.xml": b"<x/>"}))
    assert "which task" in refused(write(tmp_path / "own.eval", {"header.json": {"status": "success"}}))


def test_a_log_that_does_not_say_what_was_planned(tmp_path: Path) -> None:
    about = header([])
    about["eval"]["dataset"] = {"samples": 3}
    path = write(tmp_path / "own.eval", {"header.json": about, "samples/1_epoch_1.json": sample()})
    assert "holds 1 of 3 samples" in refused(path)


def test_a_log_that_was_killed_has_its_start_alone(tmp_path: Path) -> None:
    path = write(
        tmp_path / "own.eval", {"_journal/start.json": header([1, 2]), "samples/1_epoch_1.json": sample()}
    )
    results = InspectLog().read(path)
    assert "1 of 2 planned samples are not in the log (status started)" in results.warnings[0]


def test_half_a_surrogate_pair_and_control_characters(tmp_path: Path) -> None:
    text = json.dumps(sample("a\n\x1b[31m", output={"completion": "x\ud83d"})).encode()
    path = write(tmp_path / "own.eval", {"header.json": header([]), "samples/1_epoch_1.json": text})
    found = read(path)
    (case,) = found.task.golden_set.cases
    assert case.id.isprintable() and answer(found.attempts[case.id, 0]).text == "x\ud83d"
