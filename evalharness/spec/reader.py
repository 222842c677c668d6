"""YAML as data, with the line of every key and value.

The reader builds its own tree from parser events, so nothing in a file can name a type, run code or grow without
bound. It differs from PyYAML's SafeLoader on purpose: any tag, a repeated key, a second document, an alias that
expands past a limit and deep nesting are refused; dates and `12:30` stay text; `1e-3` is a number; `.nan` and `.inf`
are refused. Plain `yes`, `no`, `on`, `off` stay booleans as YAML 1.1 has them, and the error that follows where text
is asked says so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from evalharness.content import PathPolicy
from evalharness.errors import Problem, SpecError

MAX_BYTES: Final = 5_000_000
MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 50

Loc: TypeAlias = "tuple[str | int, ...]"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOL: Final = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BAD_CHARACTER: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def did_you_mean(word: str, options: Iterable[str]) -> str | None:
    """A hint naming the options nearest to `word`, the whole list when none is near, None without options."""
    known = sorted(set(options))
    if not known:
        return None
    ratios = {option: difflib.SequenceMatcher(a=word.lower(), b=option.lower()).ratio() for option in known}
    best = max(ratios.values())
    if best >= 0.6:
        near = [option for option in known if ratios[option] >= best - 0.05]
        return f"did you mean {' or '.join(near[:3])}?"
    shown = known if len(known) <= 40 else [*known[:40], "…"]
    return f"known: {', '.join(shown)}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: the line and column of its key (or list item) and of the value, counted from 1.

    `raw` is the plain scalar as written, None for quoted text, lists and mappings. `text_line` is the line of the
    first character of a scalar's text (a block scalar starts on the line after its `|`).
    """

    line: int
    column: int
    text_line: int
    raw: str | None = None


@dataclass(slots=True)
class Document:
    """One YAML file: its data, where everything stands, and the problems found so far.

    `shown` is the file's name in messages. Loaders add problems as they go and call `finish` once at the end, so a
    user sees everything at once.
    """

    path: Path
    shown: str
    data: dict[str, Any]
    places: Mapping[Loc, Place]
    problems: list[Problem] = field(default_factory=list)

    def place(self, loc: Loc) -> Place:
        """The place of `loc`, or of the nearest parent that is in the file."""
        while loc not in self.places:
            loc = loc[:-1]
        return self.places[loc]

    def add(self, loc: Loc, message: str, hint: str | None = None) -> None:
        """Record a problem at `loc`."""
        place = self.place(loc)
        self.problems.append(Problem(message, self.shown, place.line, place.column, hint))

    def finish(self, *more: Problem) -> None:
        """Raise SpecError when any problem was recorded here or given."""
        raise_problems([*self.problems, *more])


def raise_problems(problems: list[Problem]) -> None:
    """Raise SpecError with the problems sorted by file and line, each once; do nothing without any."""
    if problems:
        unique = list(dict.fromkeys(problems))
        files = {name: rank for rank, name in enumerate(dict.fromkeys(p.file for p in unique))}
        raise SpecError(sorted(unique, key=lambda p: (files[p.file], p.line or 0, p.column or 0)))


def read_yaml(path: Path, paths: PathPolicy) -> Document:
    """Read a YAML mapping.

    Raises:
        SpecError: the file cannot be read or parsed at all. Lesser problems (a repeated key, a tag) are recorded in
            `Document.problems` so that they are reported with the rest.
    """
    shown = paths.show(path)
    return parse_yaml(read_text(path, shown, limit=MAX_BYTES), path, shown)


def read_text(path: Path, shown: str, *, limit: int) -> str:
    """The text of a UTF-8 file (a BOM is dropped, line ends become LF) of at most `limit` bytes.

    Raises:
        SpecError: not a regular file, unreadable, too large, NUL bytes, invalid UTF-8.
    """
    try:
        if path.is_dir():
            raise SpecError([Problem("this is a folder, a file is needed", shown)])
        if path.exists() and not path.is_file():
            raise SpecError([Problem("this is not a regular file", shown)])
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise SpecError([Problem(f"cannot be read: {error.strerror or error}", shown)]) from error
    if len(data) > limit:
        raise SpecError([Problem(f"is larger than {limit // 1_000_000} MB", shown)])
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        hint = "save it as UTF-8 text" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "is it a text file?"
        raise SpecError([Problem("holds a NUL byte", shown, line, hint=hint)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        bad = data[error.start]
        raise SpecError(
            [Problem(f"is not valid UTF-8 (byte 0x{bad:02x})", shown, line, hint="save it as UTF-8")]
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_yaml(text: str, path: Path, shown: str) -> Document:
    """Parse YAML text; see `read_yaml`."""
    bad = _BAD_CHARACTER.search(text)
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        raise SpecError([Problem(f"holds the control character U+{ord(bad.group()):04X}", shown, line)])
    tree = _Tree(shown)
    try:
        root = tree.build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_problem(error, text, shown)]) from None
    except yaml.YAMLError as error:
        raise SpecError([Problem(f"is not YAML: {error}", shown)]) from None
    if root is None:
        raise SpecError([*tree.problems, Problem("the file is empty", shown, 1)])
    if not isinstance(root.value, dict):
        message = f"must be a mapping of `key: value` lines, not {describe(root.value)}"
        raise SpecError([*tree.problems, Problem(message, shown, root.line, root.column)])
    places: dict[Loc, Place] = {}
    data = _plain(root, (), None, places)
    return Document(path, shown, data, places, tree.problems)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, shown: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else None
    column = mark.column + 1 if mark is not None else None
    lines = text.split("\n")
    for number in (line, line - 1 if line else None):
        if number is not None and 0 < number <= len(lines):
            source = lines[number - 1]
            if "\t" in source[: len(source) - len(source.lstrip())]:
                return Problem("a tab is used for indentation", shown, number, hint="YAML wants spaces there")
    message = " ".join(part for part in (error.context, error.problem) if part)
    hint = None
    source = lines[line - 1] if line is not None and line <= len(lines) else ""
    if "mapping values are not allowed" in message or "could not find expected ':'" in message:
        hint = "text that holds ': ' needs quotes; otherwise check the indentation"
    elif "cannot start any token" in message and ("@" in source or "`" in source or "%" in source):
        hint = "text that starts with @, ` or % needs quotes"
    return Problem(f"is not YAML: {message}", shown, line, column, hint)


@dataclass(slots=True)
class _Node:
    """A parsed value. `size` counts the values it expands to, so that aliases cannot multiply unseen."""

    value: Any  # scalar | list[_Node] | dict[str, tuple[_Node key, _Node value]]
    line: int
    column: int
    text_line: int
    size: int = 1
    raw: str | None = None
    depth: int = 0  # levels below; bounds the recursion over a finished tree, aliases included


@dataclass(slots=True)
class _Frame:
    """A collection being built: list items, or key/value nodes in turn."""

    node: _Node
    anchor: str | None
    key: _Node | None = None
    merged: list[_Node] = field(default_factory=list)


class _Tree:
    """Builds nodes from parser events with an explicit stack: no recursion on input."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.problems: list[Problem] = []
        self.stack: list[_Frame] = []
        self.anchors: dict[str, _Node] = {}
        self.root: _Node | None = None
        self.documents = 0
        self.total = 0

    def fail(self, message: str, line: int, column: int, hint: str | None = None) -> SpecError:
        return SpecError([*self.problems, Problem(message, self.shown, line, column, hint)])

    def note(self, message: str, node: _Node, hint: str | None = None) -> None:
        self.problems.append(Problem(message, self.shown, node.line, node.column, hint))

    def build(self, events: Iterable[yaml.Event]) -> _Node | None:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise self.fail(
                        "holds more than one YAML document", _position(event)[0], 1, "remove the `---` line"
                    )
            elif isinstance(event, yaml.NodeEvent):
                self.node(event)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                self.close()
        return self.root

    def node(self, event: yaml.NodeEvent) -> None:
        line, column = _position(event)
        if isinstance(event, yaml.AliasEvent):
            self.alias(event, line, column)
            return
        node = _Node(None, line, column, line)
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            hint = "quote text that must stay text" if shown == "!!str" else "files are plain data here"
            self.note(f"YAML tags such as {shown!r} are not allowed", node, hint)
        if isinstance(event, yaml.ScalarEvent):
            self.scalar(node, event, tagged=tag is not None)
            if event.anchor is not None:
                self.anchors[event.anchor] = node
            self.put(node)
            return
        if len(self.stack) >= MAX_DEPTH:
            raise self.fail(f"is nested more than {MAX_DEPTH} levels deep", line, column)
        node.value = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self.stack.append(_Frame(node, event.anchor))

    def scalar(self, node: _Node, event: yaml.ScalarEvent, *, tagged: bool) -> None:
        node.size = 1 + len(event.value) // 1000
        if event.style or tagged:  # libyaml gives plain scalars the style "", the Python parser None
            node.value = event.value
            if event.style in ("|", ">"):
                node.text_line += 1
            return
        node.raw = event.value
        if _NOT_FINITE.fullmatch(event.value):
            self.note(f"{event.value} is not a number a file may hold", node, "quote it if it is text")
        node.value = _resolve(event.value)

    def alias(self, event: yaml.AliasEvent, line: int, column: int) -> None:
        assert event.anchor is not None  # the parser gives every alias its name
        target = self.anchors.get(event.anchor)
        if target is None:
            if any(frame.anchor == event.anchor for frame in self.stack):
                raise self.fail(f"the alias *{event.anchor} refers to itself", line, column)
            raise self.fail(f"the alias *{event.anchor} has no anchor &{event.anchor}", line, column)
        self.put(_Node(target.value, line, column, target.text_line, target.size, target.raw, target.depth))

    def put(self, node: _Node) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.node.size += node.size
        frame.node.depth = max(frame.node.depth, node.depth + 1)
        if frame.node.depth > MAX_DEPTH:
            raise self.fail(f"is nested more than {MAX_DEPTH} levels deep", node.line, node.column)
        if frame.node.size > MAX_NODES:
            hint = "write the values out instead of nesting aliases" if self.anchors else None
            raise self.fail(
                f"holds (or expands to) more than {MAX_NODES:,} values", node.line, node.column, hint
            )
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
        elif frame.key is None:
            frame.key = node
        else:
            key, frame.key = frame.key, None
            self.pair(frame, key, node)

    def pair(self, frame: _Frame, key: _Node, value: _Node) -> None:
        if key.raw == "<<":
            sources = value.value if isinstance(value.value, list) else [value]
            if all(isinstance(source.value, dict) for source in sources):
                frame.merged.extend(sources)
            else:
                self.note("`<<` merges a mapping or a list of mappings", key)
            return
        if not isinstance(key.value, str):
            if key.raw is None:
                self.note("a key must be text", key)
                return
            meant = f" (read as {describe(key.value)})" if key.value is not None else ""
            self.note(f"the key {key.raw!r}{meant} must be text", key, f'write "{key.raw}" in quotes')
            return
        if key.value in frame.node.value:
            first = frame.node.value[key.value][0].line
            self.note(f"the key {key.value!r} is already on line {first}", key, "remove one of them")
            return
        frame.node.value[key.value] = (key, value)

    def close(self) -> None:
        frame = self.stack.pop()
        for source in frame.merged:
            for name, pair in source.value.items():
                frame.node.value.setdefault(name, pair)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = frame.node
        self.put(frame.node)


def _position(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    assert mark is not None  # events that come from text carry marks
    return mark.line + 1, mark.column + 1


def _resolve(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    # 4,000 digits are below the interpreter's own limit for text → int.
    if len(text) < 4000 and _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if abs(number) != float("inf") else text
    return text


def _plain(node: _Node, loc: Loc, key: _Node | None, places: dict[Loc, Place]) -> Any:
    """Plain data of a node, filling `places`. The depth is bounded by MAX_DEPTH."""
    at = key or node
    places[loc] = Place(at.line, at.column, node.text_line, node.raw)
    if isinstance(node.value, dict):
        return {
            name: _plain(value, (*loc, name), name_node, places)
            for name, (name_node, value) in node.value.items()
        }
    if isinstance(node.value, list):
        return [_plain(item, (*loc, index), None, places) for index, item in enumerate(node.value)]
    return node.value


def describe(value: Any) -> str:
    """What a value is, in the words of an error message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    for kind, word in (
        (dict, "a mapping"),
        (list, "a list"),
        (str, "text"),
        (int, "a number"),
        (float, "a number"),
    ):
        if isinstance(value, kind):
            return word
    return type(value).__name__
