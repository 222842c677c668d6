"""Recorded outputs: what is read, what is refused and how the writer fits the reader."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.core.cases import Case
from evalharness.errors import CallError, SpecError, StoreError
from evalharness.providers.replay import Replay, write_outputs
from tests.providers.support import ask, ask_all, candidate, failure, request


def opened(path: Path) -> Replay:
    provider = Replay(candidate("replay", outputs=str(path)))
    asyncio.run(provider.open())
    return provider


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def refused(path: Path, data: bytes | str) -> list[str]:
    """The problems of a file with these bytes, as a user reads them."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with pytest.raises(SpecError) as caught:
        opened(path)
    return str(caught.value).split("\n")


def case(case_id: str) -> Case:
    return Case(id=case_id, input="?")


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out.jsonl"


def test_every_field_arrives(outputs: Path) -> None:
    row = {
        "id": "a",
        "output": "yes",
        "repeat": 1,
        "error": None,
        "contexts": ["d1", "d2"],
        "scores": {"quality": 1, "passed": True, "half": 0.5},
        "usage": {"input_tokens": 3, "output_tokens": None},
        "latency_ms": 12,
        "model": "m-1",
        "finish_reason": "stop",
    }
    provider = opened(write(outputs, row, {"id": "b", "output": ""}))
    assert provider.ids() == {"a", "b"}
    assert provider.repeats() == 2
    response = asyncio.run(provider.complete(request(case=case("a"), repeat=1), timeout_s=1))
    assert response == Response(
        text="yes",
        model="m-1",
        finish_reason="stop",
        usage=Usage(3, None),
        latency_ms=12,
        contexts=("d1", "d2"),
        scores={"quality": 1.0, "passed": 1.0, "half": 0.5},
    )
    assert asyncio.run(provider.complete(request(case=case("b")), timeout_s=1)).text == ""


def test_absent_and_recorded_failures_are_told_apart(outputs: Path) -> None:
    write(
        outputs,
        {"id": "a", "output": "x"},
        {"id": "b", "error": "HTTP 500"},
        {"id": "c", "output": "", "error": "e"},
    )
    for one, kind, message in [
        (request(case=case("nope")), "absent", "'nope', repeat 0"),
        (request(case=case("a"), repeat=2), "absent", "'a', repeat 2"),
        (request(case=case("b")), "recorded", "HTTP 500"),
        (request(case=case("c")), "recorded", "e"),
    ]:
        error = failure(Replay(candidate("replay", outputs=str(outputs))), one)
        assert (error.kind, error.retryable, error.fatal) == (kind, False, False)
        assert message in str(error)


def test_golden_set_tells_one_id_in_two_sets_apart(outputs: Path) -> None:
    write(
        outputs,
        {"id": "a", "output": "one", "golden_set": "g1"},
        {"id": "a", "output": "two", "golden_set": "g2"},
        {"id": "a", "output": "any"},
    )
    provider = Replay(candidate("replay", outputs=str(outputs)))
    asked = [request(case=case("a"), golden_set=name) for name in ("g1", "g2", "g3")]
    assert [r.text for r in ask_all(provider, asked) if isinstance(r, Response)] == ["one", "two", "any"]


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbf{"id": "a", "output": "x"}\r\n\r\n{"id": "b", "output": "y"}\r\n',
        b'\n  \n{"id": "a", "output": "x"}\n\n  {"id": "b", "output": "y"}  ',
    ],
    ids=["bom-and-crlf", "blank-lines-and-no-final-newline"],
)
def test_harmless_differences_are_accepted(outputs: Path, data: bytes) -> None:
    outputs.write_bytes(data)
    provider = opened(outputs)
    assert provider.ids() == {"a", "b"}
    assert asyncio.run(provider.complete(request(case=case("a")), timeout_s=1)).text == "x"


def test_a_very_long_line_works(outputs: Path) -> None:
    text = "ü" * 5_000_000
    write(outputs, {"id": "a", "output": text}, {"id": "b", "output": "short"})
    assert ask(Replay(candidate("replay", outputs=str(outputs))), request(case=case("a"))).text == text


GOOD = '{"id": "a", "output": "x"}\n'


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            GOOD + '{"id": "b", "outp',
            "out.jsonl:2: the last line is cut off; the file was not written to its end",
        ),
        (GOOD.encode() + b'{"id": "b", "output": "\xc3', "out.jsonl:2: the last line is cut off"),
        (GOOD + "not json\n", "out.jsonl:2: is not JSON: Expecting value at column 1"),
        (GOOD + '{"id": "b", "output": "x\0y"}\n', "out.jsonl:2: holds a NUL byte at byte 24 of the line"),
        (
            GOOD.encode() + b'{"id": "b", "output": "\xff"}\n',
            "out.jsonl:2: is not UTF-8: byte 0xff at byte 23",
        ),
        (
            '{"id": "a", "output": "x"}\n'.encode("utf-16"),
            "out.jsonl:1: the file is UTF-16; save it as UTF-8",
        ),
        (GOOD + "[1]\n", "out.jsonl:2: is [1], not an object; write one object a line, not a list"),
        (GOOD + "null\n", "out.jsonl:2: is null, not an object"),
        (GOOD + "[" * 100_000 + "\n", "out.jsonl:2: is nested too deeply"),
        ('{"id": "a", "ouput": "x"}\n', 'out.jsonl:1: unknown key "ouput"; did you mean output?'),
        ('{"id": 7, "output": "x"}\n', 'out.jsonl:1: id is the number 7; ids are strings: write "id": "7"'),
        ('{"id": "", "output": "x"}\n', 'out.jsonl:1: id is ""; id must be a string that is not empty'),
        ('{"output": "x"}\n', "out.jsonl:1: id is missing"),
        ('{"id": "a"}\n', "out.jsonl:1: output is missing and error is null"),
        ('{"id": "a", "output": null}\n', "out.jsonl:1: output is null and error is null"),
        ('{"id": "a", "output": {"k": 1}}\n', 'out.jsonl:1: output is {"k": 1}, not a string; quote it'),
        (
            '{"id": "a", "output": "x", "error": ""}\n',
            'out.jsonl:1: error is ""; error must be null or what went',
        ),
        (
            '{"id": "a", "output": "x", "repeat": -1}\n',
            "out.jsonl:1: repeat is -1; repeat must be a whole number",
        ),
        ('{"id": "a", "output": "x", "repeat": true}\n', "out.jsonl:1: repeat is true"),
        (
            '{"id": "a", "output": "x", "contexts": "d"}\n',
            'out.jsonl:1: contexts is "d"; contexts must be a list',
        ),
        (
            '{"id": "a", "output": "x", "contexts": ["d", 1]}\n',
            "out.jsonl:1: contexts[1] is 1; contexts must be",
        ),
        (
            '{"id": "a", "output": "x", "scores": {"q": null}}\n',
            'out.jsonl:1: scores["q"] is null; scores must be',
        ),
        (
            '{"id": "a", "output": "x", "scores": {"q": NaN}}\n',
            "out.jsonl:1: is not JSON: NaN is not JSON; leave",
        ),
        (
            '{"id": "a", "output": "x", "latency_ms": Infinity}\n',
            "out.jsonl:1: is not JSON: Infinity is not JSON",
        ),
        ('{"id": "a", "output": "x", "scores": {"q": 1e999}}\n', 'out.jsonl:1: scores["q"] is Infinity'),
        (
            '{"id": "a", "output": "x", "latency_ms": "12"}\n',
            'out.jsonl:1: latency_ms is "12"; latency_ms must be',
        ),
        (
            '{"id": "a", "output": "x", "usage": {"input": 1}}\n',
            'out.jsonl:1: unknown key "input" in usage; did you',
        ),
        (
            '{"id": "a", "output": "x", "usage": {"input_tokens": 1.5}}\n',
            "out.jsonl:1: usage.input_tokens is 1.5",
        ),
        ("", "out.jsonl: holds no outputs"),
        ("\n\n", "out.jsonl: holds no outputs"),
    ],
)
def test_bad_files_are_refused_with_the_line_and_the_fix(
    outputs: Path, data: bytes | str, expected: str
) -> None:
    (problem,) = refused(outputs, data)
    assert problem.startswith(expected)


def test_all_problems_are_reported_at_once(outputs: Path) -> None:
    lines = refused(outputs, GOOD + '{"id": 1, "output": 2}\nnope\n{"id": "b", "output": "x", "k": 1}\n')
    assert [line.split(": ")[0] for line in lines] == [
        "out.jsonl:2",
        "out.jsonl:2",
        "out.jsonl:3",
        "out.jsonl:4",
    ]


def test_a_long_list_of_problems_is_cut_and_counted(outputs: Path) -> None:
    lines = refused(outputs, "nope\n" * 173)
    assert len(lines) == 51
    assert lines[-1] == "out.jsonl: and 123 more problems"


def test_duplicates_name_both_lines(outputs: Path) -> None:
    rows = [
        '{"id": "a", "output": "x"}',
        '{"id": "b", "output": "x", "repeat": 1}',
        '{"id": "a", "output": "y", "repeat": 0}',
        '{"id": "b", "output": "z", "repeat": 1}',
        '{"id": "a", "output": "x", "golden_set": "g"}',
        '{"id": "a", "output": "x", "golden_set": "g"}',
    ]
    assert refused(outputs, "\n".join(rows)) == [
        'out.jsonl:3: case "a", repeat 0 is already on line 1; keep one of them, or number them with "repeat"',
        'out.jsonl:4: case "b", repeat 1 is already on line 2; keep one of them, or number them with "repeat"',
        "out.jsonl:6: case \"a\", repeat 0, golden set 'g' is already on line 5; keep one of them, or number them "
        'with "repeat"',
    ]


def test_messages_carry_no_control_characters(outputs: Path) -> None:
    (problem,) = refused(outputs, '{"id": "a", "output": "x", "\\u001b[31m": 1}\n')
    assert problem.isprintable()


def test_a_missing_file_is_a_problem_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.jsonl: cannot read the file: No such file"):
        opened(tmp_path / "nothing.jsonl")
    with pytest.raises(SpecError, match="cannot read the file"):
        opened(tmp_path)


def test_what_is_written_is_read_back_the_same(outputs: Path) -> None:
    responses = {
        ("g", "a", 0): Response(text="plain"),
        ("g", "b", 0): Response(text='line\n"quoted" \u2028 😀 \x00 end'),
        ("g", "b", 1): Response(text="cut inside an emoji \ud83d"),
        ("h", "b", 0): Response(
            text="",
            model="m-1",
            finish_reason="length",
            usage=Usage(1, 2),
            latency_ms=3.25,
            contexts=("d",),
            scores={"q": 0.5},
        ),
    }
    attempts = [Attempt(golden_set=g, case_id=i, repeat=r, outcome=o) for (g, i, r), o in responses.items()]
    attempts.append(
        Attempt(golden_set="g", case_id="z", repeat=0, outcome=Failure(kind="timeout", message="60 s"))
    )
    write_outputs(outputs, attempts)

    provider = Replay(candidate("replay", outputs=str(outputs)))
    asked = [request(case=case(i), golden_set=g, repeat=r) for g, i, r in responses]
    *read, failed = ask_all(provider, [*asked, request(case=case("z"))])
    assert read == list(responses.values())
    assert isinstance(failed, CallError)
    assert (failed.kind, str(failed)) == ("recorded", "timeout: 60 s")


def test_a_failed_write_leaves_the_old_file(outputs: Path) -> None:
    write(outputs, {"id": "old", "output": "x"})
    bad = Attempt(golden_set="g", case_id="a", repeat=0, outcome=Response(text="x", latency_ms=float("nan")))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_outputs(outputs, [bad])
    assert opened(outputs).ids() == {"old"}
    assert [p.name for p in outputs.parent.iterdir()] == ["out.jsonl"]
    with pytest.raises(StoreError):
        write_outputs(outputs / "below-a-file.jsonl", [])


def test_reading_scales_linearly(outputs: Path) -> None:
    def seconds(count: int) -> float:
        rows = ({"id": f"c{i}", "output": "some answer", "repeat": 0, "latency_ms": 5} for i in range(count))
        write(outputs, *rows)
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            opened(outputs)
            best = min(best, time.process_time() - began)
        return best

    small, large = seconds(5_000), seconds(40_000)
    # Eight times the rows; a quadratic step would show as 64.
    assert large < 20 * small
