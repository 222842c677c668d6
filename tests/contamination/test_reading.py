"""Files as they are found in the wild: cut off, broken, packed, enormous, of other kinds."""

from __future__ import annotations

import gzip
import json
import resource
from pathlib import Path
from typing import Any

import pytest

from evalharness.contamination import find_files, reading
from evalharness.contamination.reading import FileRefusedError, Unreadable, read_rows
from evalharness.contamination.rows import Row
from evalharness.errors import MissingExtraError, SpecError
from tests.contamination.conftest import Check, case, jsonl, sentence

QUESTION = sentence(1)
ROWS = [{"text": sentence(10)}, {"prompt": QUESTION, "completion": "x"}, {"text": sentence(11)}]


def rows_of(path: Path, **more: Any) -> list[Row | Unreadable]:
    return list(read_rows(path, path.name, **more))


def save(folder: Path, name: str, text: str | bytes) -> Path:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    path = folder / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = f'text,notes\n{sentence(10)},a\n\n"{QUESTION[:60]}\n{QUESTION[60:]}",b\n'


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.jsonl", LINES, 2),
        ("a.jsonl", "\ufeff" + LINES.replace("\n", "\r\n\r\n"), 3),
        ("a.ndjson", LINES.rstrip("\n"), 2),
        ("a.jsonl.gz", LINES, 2),
        ("a.json", json.dumps(ROWS), 1),
        ("a.json", json.dumps(ROWS, indent=1), 5),
        ("a.json", LINES, 2),
        ("a.json.gz", "\ufeff" + json.dumps(ROWS, indent=1), 5),
        ("a.csv", TABLE, 4),
        ("a.csv.gz", TABLE.replace("\n", "\r\n"), 4),
        ("a.csv", TABLE.replace(",", ";"), 4),
        ("a.tsv", TABLE.replace(",", "\t"), 4),
        ("a.txt", f"{sentence(10)}\n\n{sentence(12)}\n\n{QUESTION}\n", 5),
        ("a.txt", f"{sentence(10)}\n{QUESTION}\n{sentence(12)}", 2),
        ("a.md.gz", f"# Head\n\n{QUESTION[:80]}\n{QUESTION[80:]}", 3),
    ],
)
def test_every_kind_of_file_is_read_and_the_leak_is_placed(
    name: str, text: str, line: int, tmp_path: Path, check: Check
) -> None:
    found = check([case("q", QUESTION)], files=[save(tmp_path, name, text)])
    assert [(match.file, match.line) for match in found.leaks[0].matches] == [(name, line)]
    assert (found.problems, found.leaks[0].rows) == ([], 1)


def test_parquet_is_read_row_by_row(tmp_path: Path, check: Check) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    chats = [[{"role": "user", "content": text}] for text in (sentence(10), QUESTION, sentence(11))]
    table = pyarrow.table({"messages": chats, "n": [1, 2, None]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    found = check([case("q", QUESTION)], files=[tmp_path / "a.parquet"])
    assert (found.leaks[0].matches[0].line, found.formats) == (2, {"chat": 3})
    save(tmp_path, "b.parquet", b"PAR1 no table PAR1")
    with pytest.raises(FileRefusedError, match="is not Parquet that can be read"):
        rows_of(tmp_path / "b.parquet")


def test_parquet_without_pyarrow_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        rows_of(save(tmp_path, "a.parquet", b""))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"text": "cut', "is not JSON"),
        (b'{"text": "a"} {"text": "b"}', "is not JSON"),
        (b'{"text": "\xff"}', "is not valid UTF-8"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"n": ' + b"9" * 10_000 + b"}", "holds a number that is too long"),
    ],
    ids=["cut off", "two values", "latin-1", "deep", "long number"],
)
def test_a_broken_line_is_told_and_the_others_are_read(line: bytes, why: str, tmp_path: Path) -> None:
    path = save(tmp_path, "a.jsonl", b'{"text": "one"}\n' + line + b'\n{"text": "three"}\n')
    first, broken, last = rows_of(path)
    assert isinstance(broken, Unreadable) and (broken.line, why in broken.why) == (2, True)
    assert isinstance(first, Row) and isinstance(last, Row)
    assert (first.line, last.line) == (1, 3)


def test_lone_surrogates_and_control_characters_are_text(tmp_path: Path, check: Check) -> None:
    words = QUESTION.split()
    text = json.dumps({"text": "\ud800 \x1b[31m" + " \x00 ".join(words)})
    found = check([case("q", QUESTION)], files=[save(tmp_path, "a.jsonl", text)])
    assert found.leaks[0].case_id == "q"
    assert found.problems == []


def test_a_row_of_ten_megabytes_is_searched_in_little_memory(tmp_path: Path, check: Check) -> None:
    long = " ".join(f"x{number}" for number in range(1_400_000))
    path = jsonl(tmp_path / "a.jsonl", [{"text": f"{long} {QUESTION} {long[:1000]}"}])
    assert path.stat().st_size > 10_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = check([case("q", QUESTION)], files=[path])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert QUESTION[:40] in found.leaks[0].matches[0].train_text
    assert len(found.leaks[0].matches[0].train_text) < 310
    assert grown < 600_000


def test_a_line_without_end_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROW", 1_000)
    text = json.dumps({"text": "x" * 5_000}) + "\n" + json.dumps({"text": "behind it"}) + "\n"
    long, behind = rows_of(save(tmp_path, "a.jsonl.gz", text))
    assert isinstance(long, Unreadable) and (long.line, "is longer than" in long.why) == (1, True)
    assert isinstance(behind, Row) and (behind.line, behind.fields) == (2, ["behind it"])
    with pytest.raises(FileRefusedError, match="too long"):
        rows_of(save(tmp_path, "b.json", '[{"text": "' + "x" * 3_000_000))


def test_an_archive_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_EXPANSION_FROM", 2**22)
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        for _ in range(50):
            stream.write(b"0" * 2**20)
    found = check([case("q", QUESTION)], files=[path])
    assert found.exit_code == 2
    (problem,) = (problem for problem in found.problems if "200 times" in problem.message)
    assert problem.hint == "is it an archive bomb?"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", b"", "holds no rows"),
        ("a.jsonl.gz", gzip.compress(LINES.encode())[:-20], "is not a whole .gz file"),
        ("a.txt.gz", b"no gzip", "is not a whole .gz file"),
        ("a.jsonl", LINES.encode("utf-16"), "is UTF-16"),
        ("a.json", b'[{"text": "a"}, {"text": ', "is not JSON"),
        ("a.json", b'[{"text": "a"}, oops, {"text": "b"}]', "is not JSON"),
        ("a.json", b'[{"text": "\xff"}]', "is not valid UTF-8"),
        ("a.json", b"[" * 100_000, "is nested too deeply"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.jsonl", b"\n \n", "holds no rows"),
        ("a.csv", b"text\n", "holds no rows"),
        ("a.txt", b" \n\n", "holds no rows"),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_no_clean_result(
    name: str, content: bytes, message: str, tmp_path: Path, check: Check
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = check([case("q", sentence(500))], files=[path])
    assert found.exit_code == 2
    assert any(message in problem.message and problem.file == name for problem in found.problems), (
        found.problems
    )
    assert "could not be read to the end, or held no rows" in found.errors[0]


def test_what_stands_before_the_fault_is_still_searched(tmp_path: Path, check: Check) -> None:
    path = save(tmp_path, "a.json", json.dumps(ROWS)[:-5])
    found = check([case("q", QUESTION)], files=[path])
    assert found.exit_code == 4
    assert found.refused == 1


def test_a_csv_row_with_too_many_cells_is_told(tmp_path: Path) -> None:
    good, bad = rows_of(save(tmp_path, "a.csv", "prompt,completion\na,b\na,b,c\n"))
    assert isinstance(good, Row) and good.fields == ["a", "b"]
    assert isinstance(bad, Unreadable) and (bad.line, "3 cells" in bad.why) == (3, True)


def test_a_json_list_longer_than_any_buffer_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_CHUNK", 64)
    rows = [{"text": f"número {number} " + "é" * (number * 7 % 300)} for number in range(200)]
    for indent in (None, 2):
        text = json.dumps(rows, indent=indent, ensure_ascii=False)
        read = rows_of(save(tmp_path, "a.json", text))
        assert [row.fields[0] for row in read if isinstance(row, Row)] == [row["text"] for row in rows]
        assert [row.line for row in read] == [1 if indent is None else 2 + 3 * n for n in range(200)]


def test_a_leak_over_the_seam_of_two_stretches_of_text_is_found_once(tmp_path: Path, check: Check) -> None:
    filler = "\n\n".join(sentence(seed) for seed in range(100, 1_600))
    for shift in range(0, 40, 13):
        text = f"{filler[: 2**18 - 200 + shift]}\n\n{QUESTION}\n\n{filler}"
        found = check([case("q", QUESTION)], files=[save(tmp_path, "a.txt", text)])
        assert found.leaks[0].rows == 1
        line = text[: text.index(QUESTION)].count("\n") + 1
        assert found.leaks[0].matches[0].line == line


def test_paragraphs_of_a_text_are_counted_once(tmp_path: Path, check: Check) -> None:
    texts = [sentence(seed) for seed in range(100, 2_600)]
    found = check([case("q", QUESTION)], files=[save(tmp_path, "a.txt", "\n\n".join(texts))])
    assert (found.rows, found.duplicates, found.formats) == (2_500, 0, {"plain": 2_500})


def test_patterns_find_files_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/er/c.jsonl.gz", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = find_files(["*.jsonl", "**/*.gz", "a.jsonl", str(tmp_path / "b.jsonl")], tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.jsonl", "b.jsonl", "deep/er/c.jsonl.gz"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_text("x")
    assert [path.name for path in find_files(["a[1].jsonl"], tmp_path)] == ["a[1].jsonl"]


def test_patterns_that_name_nothing_to_read_are_errors_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "a.zst").write_text("x")
    with pytest.raises(SpecError) as caught:
        find_files(["*.jsonl", "data", "a.zst", "gone.jsonl"], tmp_path)
    said = [str(problem) for problem in caught.value.problems]
    assert "'*.jsonl' matches no file" in said[0]
    assert "'data' is a folder; name its files: 'data/*.jsonl'" in said[1]
    assert "is of no kind that is read as training data" in said[2]
    assert "'gone.jsonl' matches no file" in said[3]
