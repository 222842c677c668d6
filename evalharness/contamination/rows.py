"""One row of training data: which format it has, and the texts in it.

Formats are recognised row by row, so one file may mix them:

| format | keys |
|---|---|
| chat | `messages` (role, content) |
| sharegpt | `conversations` (from, value) |
| gemini | `contents` (role, parts) |
| preference | `chosen` and `rejected`, mostly with `prompt` |
| alpaca | `instruction`, `input`, `output` |
| completion | `prompt`, `completion` (or `response`, `answer`) |
| text | `text` |
| question | `question` (or `query`, `input`) and `answer` (or `output`, `target`) |
| pairs | `anchor` and `positive`, `negative` (embedding models) |
| tokens | `tokens`: words one by one (tagging) |
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

FORMATS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("chat", frozenset(("messages",))),
    ("sharegpt", frozenset(("conversations",))),
    ("gemini", frozenset(("contents",))),
    ("preference", frozenset(("chosen", "rejected"))),
    ("alpaca", frozenset(("instruction",))),
    ("completion", frozenset(("prompt",))),
    ("text", frozenset(("text",))),
    ("text", frozenset(("content",))),
    ("pairs", frozenset(("anchor", "positive"))),
    ("pairs", frozenset(("query", "positive"))),
    ("question", frozenset(("question",))),
    ("question", frozenset(("query",))),
    ("question", frozenset(("input",))),
    ("tokens", frozenset(("tokens",))),
)
"""A row has the first format all of whose keys it has."""
UNKNOWN: Final = "unknown"
PLAIN: Final = "plain"

_ORDER: Final = {
    key: place
    for place, key in enumerate(
        (
            "system", "systemInstruction", "instruction", "prompt", "question", "query", "anchor", "context", "input",
            "history", "messages", "conversations", "contents", "text", "content", "tokens", "completion", "response",
            "output", "outputs", "answer", "answers", "target", "label", "chosen", "rejected", "positive", "negative",
            "rationale", "reasoning", "explanation", "solution",
        )
    )
}  # fmt: skip
KNOWN_KEYS: Final = frozenset((*_ORDER, "source"))
_LISTS: Final = frozenset(("messages", "conversations", "contents", "tokens"))
_INSIDE: Final = ("content", "value", "text", "parts")
_MAX_SOURCE: Final = 200


@dataclass(slots=True)
class Row:
    """A row of training data as read.

    Attributes:
        file, line: where; in a Parquet file `line` counts rows, from 1.
        format: as in `FORMATS`, `plain` for text files, or `unknown`.
        fields: its texts in the order a model would see them.
        source: its `source` key; None: it has none.
        why: of an unknown row, why it is that.
        lines: of `plain`: the line of each field.
        seen_before: of `plain`: so many first fields were in the row before and stand here for what spans both.
    """

    file: str
    line: int
    format: str
    fields: list[str]
    source: str | None = None
    why: str = ""
    lines: list[int] | None = None
    seen_before: int = 0


class _OddError(ValueError):
    pass


def row_of(value: Any, file: str, line: int, text_keys: Collection[str] = ()) -> Row:
    """The row that a JSON value is.

    Args:
        value: any JSON value.
        file: where it stands.
        line: its line there.
        text_keys: further keys whose values are text.

    A row of no known format holds every text in it, however deep, so that nothing in it goes unseen.
    """
    if type(value) is not dict:
        kind = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(
            type(value), "a number"
        )
        return Row(file, line, UNKNOWN, list(_every_text(value)), why=f"is {kind}, not an object")
    source = value.get("source")
    if type(source) is not str or not 0 < len(source) <= _MAX_SOURCE:
        source = None
    name = next((name for name, keys in FORMATS if keys <= value.keys()), None)
    if name is None and text_keys and any(key in value for key in text_keys):
        name = "text"
    if name is None:
        keys = ", ".join(repr(str(key))[:40] for key in list(value)[:6]) or "none"
        return Row(
            file, line, UNKNOWN, list(_every_text(value)), source, f"has no known format (keys: {keys})"
        )
    fields: list[str] = []
    try:
        for key in sorted((key for key in value if key in _ORDER), key=_ORDER.__getitem__):
            _collect(value[key], key, fields)
        for key in text_keys:
            if key in value and key not in _ORDER:
                _collect(value[key], key, fields)
    except (_OddError, RecursionError) as odd:
        why = str(odd) if isinstance(odd, _OddError) else "is nested too deeply"
        return Row(file, line, UNKNOWN, list(_every_text(value)), source, why)
    return Row(file, line, name, fields, source)


def _collect(value: Any, key: str, fields: list[str]) -> None:
    """Add the texts of a known key: a text, a list of texts, a chat, or a message."""
    if key in _LISTS:
        if value is None:
            return
        if type(value) is not list:
            raise _OddError(f"{key} is not a list")
        if key == "tokens":
            if not all(type(item) is str for item in value):
                raise _OddError("tokens is not a list of texts")
            fields.append(" ".join(value))
            return
    if type(value) is str:
        if value:
            fields.append(value)
    elif type(value) is list:
        for item in value:
            _collect_item(item, key, fields)
    elif type(value) is dict:
        _collect_item(value, key, fields)
    elif type(value) in (int, float) and key != "label":
        fields.append(str(value))  # an answer that is a number; a label's number says nothing
    # true, false and null are labels and gaps, not text


def _collect_item(item: Any, key: str, fields: list[str]) -> None:
    if type(item) is dict:
        inside = [name for name in _INSIDE if name in item]
        for name in inside:
            _collect(item[name], name, fields)
        if inside:
            return
        if key in _LISTS:
            raise _OddError(f"an item of {key} has none of {', '.join(_INSIDE)}")
        fields.extend(_every_text(item))
    elif key in _LISTS:
        raise _OddError(f"an item of {key} is not an object")
    else:
        fields.extend(_every_text(item))  # a text, or the turns of a history


def _every_text(value: Any) -> Iterator[str]:
    """Every text inside a JSON value, in order. Without recursion: depth is the writer's choice."""
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is str:
            if item:
                yield item
        elif isinstance(item, Mapping):
            stack.extend(reversed(list(item.values())))
        elif type(item) is list:
            stack.extend(reversed(item))
