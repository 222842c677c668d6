"""Texts without keys and personal data. Taking out twice changes nothing more."""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from evalharness.core.suites import Redaction
from evalharness.redaction.keys import KEY_PATTERN, Secret
from evalharness.redaction.personal import KINDS, PersonalData

_MARK: Final = re.compile(rf"\[(?:key|redacted|{'|'.join(KINDS)})\]")
_ONLY_MARKS: Final = re.compile(rf"(?:{_MARK.pattern}|[\W_])+")
_MOST_ROUNDS: Final = 20
_ALIKE: Final[Mapping[int, str]] = {
    **dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "),
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFE63], "-"),
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    # half of a surrogate pair (an answer cut inside an emoji) has no UTF-8 form, which RE2 needs
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}
"""What a character reads like: answers of models are set with other hyphens and spaces than are typed."""
_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0000-\U000e007f]+"
)
"""Characters that take no room: a key with one in it reads and is copied as a key."""
_Span: TypeAlias = tuple[int, int, str]
_T = TypeVar("_T")


def is_marks(text: str) -> bool:
    """Whether a text holds marks of what was taken out, and not a word beside them."""
    return _MARK.search(text) is not None and _ONLY_MARKS.fullmatch(text) is not None


class Redactor:
    """Replaces in texts: secret values, what looks like a key, personal data asked for, patterns of the user."""

    def __init__(self, rules: Redaction, secrets: Iterable[str] = ()) -> None:
        import re2  # type: ignore[import-untyped]

        self._secrets = tuple(Secret(value) for value in secrets)
        self._keys = re2.compile(KEY_PATTERN)
        self._patterns = [re2.compile(pattern) for pattern in rules.patterns]
        self._personal = PersonalData(rules.kinds)

    def text(self, text: str) -> str:
        """The text without them. What was taken out is named in its place: `[key]`, `[email]`, `[redacted]`.

        `text(text(x)) == text(x)`: it is repeated until there is nothing more to find, and names are left alone.
        """
        for _ in range(_MOST_ROUNDS):
            spans = _around_marks(text, self._found(text))
            if not spans:
                return text
            text = _replaced(text, spans)
        return "[redacted]"  # a pattern of the user that finds more each time

    def all(self, value: _T) -> _T:
        """`value` with every text in it redacted: in data classes, mappings and sequences, to any depth.

        Words that the type of a field lists (a verdict's outcome) are nobody's and stay, whatever a pattern finds.
        """
        found: _T = _mapped(value, self.text)
        return found

    def _found(self, text: str) -> list[_Span]:
        """Where something is to be taken out, overlaps joined under the mark that comes first here."""
        places: list[int] | None = None
        if not text.isascii():
            text = text.translate(_ALIKE)
            if _UNSEEN.search(text):
                text, places = _seen(text)
        found = list(self._spans(text))
        if len(found) > 1:
            found = _joined(found)
        if places is not None:
            found = [(places[start], places[end - 1] + 1, mark) for start, end, mark in found]
        return found

    def _spans(self, text: str) -> Iterator[_Span]:
        for secret in self._secrets:
            for start, end in secret.spans(text):
                yield start, end, "[key]"
        for match in self._keys.finditer(text):
            yield (*match.span(1 if match.group(1) else 0), "[key]")
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                if match[0]:  # `\b[A-Z]*\b` fits at the edge of a word, where there is nothing to take out
                    yield (*match.span(), "[redacted]")
        for start, end, kind in self._personal.spans(text):
            yield start, end, f"[{kind}]"


def _seen(text: str) -> tuple[str, list[int]]:
    """The text as it reads, and for each of its characters the place it has in `text`."""
    parts: list[str] = []
    places: list[int] = []
    last = 0
    for start, end in (*(match.span() for match in _UNSEEN.finditer(text)), (len(text), len(text))):
        parts.append(text[last:start])
        places.extend(range(last, start))
        last = end
    return "".join(parts), places


def _joined(spans: list[_Span]) -> list[_Span]:
    order = {mark: place for place, mark in reversed(list(enumerate(span[2] for span in spans)))}
    found: list[_Span] = []
    for start, end, mark in sorted(spans, key=lambda span: span[:2]):
        if found and start < found[-1][1]:
            first, last, before = found[-1]
            found[-1] = (first, max(last, end), min(before, mark, key=order.__getitem__))
        else:
            found.append((start, end, mark))
    return found


def _around_marks(text: str, spans: list[_Span]) -> list[_Span]:
    """Without those inside of a mark that stands there already; one that overlaps it takes it in whole."""
    if not spans or "[" not in text:
        return spans
    marks = [match.span() for match in _MARK.finditer(text)]
    starts, ends = [start for start, _ in marks], [end for _, end in marks]
    found: list[_Span] = []
    for start, end, name in spans:
        beside = marks[bisect_right(ends, start) : bisect_left(starts, end)]
        if any(mark[0] <= start and end <= mark[1] for mark in beside):
            continue
        start = min(start, *(mark[0] for mark in beside)) if beside else start
        end = max(end, *(mark[1] for mark in beside)) if beside else end
        found.append((start, end, name))
    return _joined(found) if len(found) > 1 else found


def _replaced(text: str, spans: Iterable[_Span]) -> str:
    parts: list[str] = []
    last = 0
    for start, end, mark in spans:
        parts += [text[last:start], mark]
        last = end
    return "".join([*parts, text[last:]])


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A copy where something changes, else the very same object."""
    if value is None or type(value) in (int, float, bool):
        return value
    if isinstance(value, str):
        changed = change(value)
        return value if changed == value else changed
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: new
            for f in dataclasses.fields(value)
            if f.init
            and f.name not in _fixed(type(value))
            and (new := _mapped(old := getattr(value, f.name), change)) is not old
        }
        return dataclasses.replace(value, **fields) if fields else value
    if isinstance(value, Mapping):
        pairs = [(key, item, _mapped(key, change), _mapped(item, change)) for key, item in value.items()]
        if all(key is new_key and item is new_item for key, item, new_key, new_item in pairs):
            return value
        return {new_key: new_item for _, _, new_key, new_item in pairs}
    if isinstance(value, tuple | list):
        items = [_mapped(item, change) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(items) if not hasattr(value, "_fields") else type(value)(*items)
    return value


@cache
def _fixed(of: type) -> frozenset[str]:
    """Fields of a data class that can only hold words which its own types list."""
    try:
        hints = get_type_hints(of)
    except NameError:  # of a type that is imported for type checkers alone
        return frozenset()
    return frozenset(name for name, hint in hints.items() if _is_fixed(hint))


def _is_fixed(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return all(part is NoneType or _is_fixed(part) for part in get_args(hint))
    return get_origin(hint) is Literal
