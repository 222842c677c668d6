"""YAML is data: refused where it could be more, and every problem has its line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evalharness.content import PathPolicy
from evalharness.errors import SpecError
from evalharness.spec.reader import MAX_BYTES, Document, did_you_mean, parse_yaml, read_yaml


def parse(text: str) -> Document:
    return parse_yaml(text, Path("f.yaml"), "f.yaml")


def refused(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text).finish()
    return str(caught.value)


def test_values_and_places() -> None:
    document = parse("a: 1\nb:\n  - x: 1e-3\n    y: 'no'\n  - 2026-01-31\nc: 12:30\nd: ~\n")
    assert document.data == {"a": 1, "b": [{"x": 0.001, "y": "no"}, "2026-01-31"], "c": "12:30", "d": None}
    assert document.place(("b", 0, "y")).line == 4
    assert document.place(("b", 1)).line == 5
    assert document.place(("b", 0, "absent")).line == 3  # the nearest parent that is there
    assert not document.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", False),
        ("on", True),
        ("1_000", 1000),
        ("007", "007"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("0x10", "0x10"),
        ("1.0.0", "1.0.0"),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    assert parse(f"k: {text}").data["k"] == value


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [echo hi]",
        "!!python/name:os.system",
        "!custom x",
        "!!set {a, b}",
        "!!str 1",
    ],
)
def test_tags_are_refused(tag: str) -> None:
    message = refused(f"a: 1\nb: {tag}\n")
    assert message.startswith("f.yaml:2: YAML tags such as")


def test_repeated_keys_name_both_lines() -> None:
    message = refused("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert "f.yaml:2: the key 'c' is already on line 2" in message
    assert "f.yaml:3: the key 'a' is already on line 1" in message


def test_tab_in_indentation() -> None:
    assert "f.yaml:2: a tab is used for indentation; YAML wants spaces there" in refused("a:\n\tb: 1\n")


def test_tab_inside_text_is_fine() -> None:
    assert parse("a: 'x\ty'\nb: |\n  x\ty\n").data == {"a": "x\ty", "b": "x\ty\n"}


def test_alias_bomb() -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12)]
    start = time.perf_counter()
    message = refused("l0: &l0 [lol, lol]\n" + "\n".join(levels))
    assert "expands to" in message
    assert time.perf_counter() - start < 2


def test_alias_bomb_through_merge_keys() -> None:
    levels = [
        f"l{i}: &l{i} {{<<: *l{i - 1}, a{i}: *l{i - 1}, b{i}: *l{i - 1}, c{i}: *l{i - 1}}}"
        for i in range(1, 16)
    ]
    assert "expands to" in refused("l0: &l0 {x: 1}\n" + "\n".join(levels))


def test_aliases_and_merges_within_reason() -> None:
    document = parse("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: *b\n")
    assert document.data == {"base": {"x": 1, "y": 2}, "one": {"x": 1, "y": 3}, "two": {"x": 1, "y": 2}}


def test_an_alias_to_itself() -> None:
    assert "refers to itself" in refused("a: &a [1, *a]\n")


@pytest.mark.parametrize("text", ["a: " + "[" * 3000 + "]" * 3000, "{a: " * 3000])
def test_deep_nesting(text: str) -> None:
    assert "nested more than" in refused(text)


def test_deep_nesting_through_aliases() -> None:
    levels = [f"l{i}: &l{i} {'[' * 40}*l{i - 1}{']' * 40}" for i in range(1, 60)]
    assert "nested more than" in refused("l0: &l0 x\n" + "\n".join(levels))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1: the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n- b\n", "f.yaml:1: must be a mapping of `key: value` lines, not a list"),
        ("just text", "not text"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: holds more than one YAML document"),
        ("a: [1, 2\nb: 3\n", "f.yaml:2: is not YAML"),
        ("a: b: c\n", "f.yaml:1: is not YAML: mapping values are not allowed"),
        ("a: @x\n", "needs quotes"),
        ("a: .nan\n", "f.yaml:1: .nan is not a number a file may hold"),
        ("1: a\n", "the key '1' (read as a number) must be text"),
        ("a: 1\nno: b\n", "f.yaml:2: the key 'no' (read as false) must be text; write \"no\" in quotes"),
        ("? [a, b]\n: c\n", "a key must be text"),
        ("a: x\x07y\n", "f.yaml:1: holds the control character U+0007"),
        ("a: *nowhere\n", "nowhere"),
    ],
)
def test_what_is_no_mapping(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: \0\n", "f.yaml:2: holds a NUL byte"),
        (b"a: 1\nb: caf\xe9\n", "f.yaml:2: is not valid UTF-8 (byte 0xe9)"),
        ("a: 1\n".encode("utf-16"), "save it as UTF-8"),
        (b"a: " + b"x" * MAX_BYTES, "is larger than 5 MB"),
    ],
)
def test_bytes_that_are_no_text(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        read_yaml(file, PathPolicy(tmp_path))
    assert message in str(caught.value)


def test_bom_and_crlf_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: |\r\n  x\r\n  y\r\n")
    assert read_yaml(file, PathPolicy(tmp_path)).data == {"a": 1, "b": "x\ny\n"}


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "gone.yaml", "No such file")):
        with pytest.raises(SpecError, match=message):
            read_yaml(path, PathPolicy(tmp_path))


def test_did_you_mean() -> None:
    assert did_you_mean("modle", ["model", "name"]) == "did you mean model?"
    assert did_you_mean("zzz", ["model", "name"]) == "known: model, name"
    assert did_you_mean("x", []) is None
