"""Entities as models and tools write them, and which of two lists are the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from evalharness.scorers._json import BadJSON, extract
from evalharness.scorers._tags import BadTag, are_tags, chunks
from evalharness.scorers.normalise import Normalise, shown, text_of

MATCHES: Final = ("strict", "exact", "partial", "type")
_TYPES: Final = ("type", "label", "entity_group", "entity_type")
_TEXTS: Final = ("text", "word")
_EITHER: Final = "entity"  # the type beside a text, the text beside a type
_LISTS: Final = ("entities", "ents", "tags")
_MOST: Final = 2_000  # entities of an answer that are compared; each costs a look at those of the target


class Entity(NamedTuple):
    """What one entity is. `start` and `end` are characters (or tokens, of tags), both None where not given."""

    type: str
    text: str
    start: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        place = "" if self.start is None else f" [{self.start}:{self.end}]"
        return shown(f"{self.type}: {self.text}{place}", 80)


@dataclass(frozen=True, slots=True)
class Entities:
    """One text's entities. `bad` counts what stands among them and is none. `tags`: places are tokens."""

    items: tuple[Entity, ...]
    bad: int = 0
    tags: bool = False

    @property
    def placed(self) -> bool:
        return all(item.start is not None for item in self.items)


class Unreadable(ValueError):
    """What holds no entities; the message says why."""


def of_text(text: str, how: str, scheme: str, *, tags: bool | None = None) -> Entities:
    """The entities of an answer: JSON, or tags with white space between them.

    Args:
        text: the answer.
        how: "fenced" or "strict", as `extract`.
        scheme: how tags are read.
        tags: True: tags are expected; False: entities are; None: either.

    Raises:
        Unreadable: it holds none of what is expected.
    """
    if tags is not False:
        words = text.replace(",", " ").split()
        if words and are_tags(words):
            return _of_tags(words, scheme)
    try:
        found = of_document(extract(text, how), scheme)
    except BadJSON as error:
        raise Unreadable(
            "not a list of tags"
            if tags and not text.lstrip().startswith(("[", "{"))
            else f"not JSON: {error}"
        ) from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    if tags is not None and found.tags != tags and (found.items or found.bad):
        raise Unreadable("entities where tags are asked for" if tags else "tags where entities are asked for")
    return found


def of_document(document: Any, scheme: str) -> Entities:
    """The entities of a JSON document.

    Raises:
        Unreadable: it is no list and no object, or its tags are not of the scheme.
    """
    if isinstance(document, dict):
        for name in _LISTS:
            if isinstance(document.get(name), list):
                return of_document(document[name], scheme)
        return (
            _of_pairs([(None, document)]) if entity(document) is not None else _of_pairs(_by_type(document))
        )
    if isinstance(document, list):
        if document and are_tags(document):
            return _of_tags(document, scheme)
        return _of_pairs([(None, item) for item in document])
    raise Unreadable("neither a JSON object nor a list")


def _by_type(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The entities of {"PER": ["Ada", ...]}."""
    for kind, values in document.items():
        for value in values if isinstance(values, list) else [] if values is None else [values]:
            yield kind, value


def _of_pairs(pairs: Sequence[tuple[str | None, Any]] | Iterator[tuple[str | None, Any]]) -> Entities:
    found = [entity(value, kind) for kind, value in pairs]
    items = tuple(item for item in found if item is not None)
    return Entities(items, bad=len(found) - len(items))


def _of_tags(tags: Sequence[str], scheme: str) -> Entities:
    try:
        found = chunks(tags, scheme)
    except BadTag as error:
        raise Unreadable(str(error)) from None
    return Entities(tuple(Entity(kind, "tokens", start, end) for kind, start, end in found), tags=True)


def entity(value: Any, kind: str | None = None) -> Entity | None:
    """One entity, None for what is none: it needs a type (or `kind`), and a text or a place."""
    if not isinstance(value, dict):
        if kind is None or isinstance(value, list | bool) or value is None or not text_of(value).strip():
            return None
        return Entity(kind.strip(), text_of(value))
    kind = kind if kind is not None else _first(value, _TYPES)
    text = _first(value, _TEXTS)
    if kind is None and text is not None:
        kind = _first(value, (_EITHER,))
    elif text is None and kind is not None:
        text = _first(value, (_EITHER,))
    start, end = value.get("start"), value.get("end")
    placed = type(start) is int and type(end) is int and 0 <= start < end
    if kind is None or not kind.strip() or not (placed or (text or "").strip()):
        return None
    return Entity(kind.strip(), text or "", *((start, end) if placed else ()))


def _first(value: Mapping[str, Any], names: Sequence[str]) -> str | None:
    for name in names:
        if isinstance(value.get(name), str | int | float) and not isinstance(value[name], bool):
            return text_of(value[name])
    return None


@dataclass(frozen=True, slots=True)
class Matched:
    """How an answer's entities meet the target's: (verdict, entity) with the words of MUC-5 and SemEval-2013 task 9.

    Verdicts are "correct", "incorrect", "partial" and "missed" (with the target's entity) and "spurious" (with the
    answer's).
    """

    verdicts: tuple[tuple[str, Entity], ...]


Same = Callable[[Entity], Any]


def matched(wanted: Entities, given: Entities, *, match: str, by_text: bool, normalise: Normalise) -> Matched:
    """Compare two lists, each entity used once.

    Args:
        wanted: the target's.
        given: the answer's.
        match: one of MATCHES. "strict": type and place are the same, or else both entities are wrong. The others pair
            entities that overlap, too: "exact" asks for the same place and no type, "type" for the type and some
            overlap, "partial" for no type, with half a point where the places only overlap.
        by_text: compare texts even where all have places.
        normalise: of a text, where texts are compared.
    """
    placed = not by_text and wanted.placed and given.placed
    where: Same = _place if placed else lambda item: normalise(item.text)
    compared, rest = given.items[:_MOST], given.items[_MOST:]
    if match == "strict":
        verdicts = _strict(wanted.items, compared, where)
    else:
        verdicts = _aligned(wanted.items, compared, match, where, _shared_places if placed else _shared_words)
    return Matched((*verdicts, *(("spurious", item) for item in rest)))


def _place(item: Entity) -> Any:
    return item.start, item.end


def _strict(wanted: Sequence[Entity], given: Sequence[Entity], where: Same) -> list[tuple[str, Entity]]:
    left = Counter((item.type, where(item)) for item in given)
    verdicts = []
    for item in wanted:
        key = item.type, where(item)
        verdicts.append(("correct" if left[key] > 0 else "missed", item))
        left[key] -= 1
    for item in given:
        key = item.type, where(item)
        if left[key] > 0:
            left[key] -= 1
            verdicts.append(("spurious", item))
    return verdicts


def _aligned(
    wanted: Sequence[Entity],
    given: Sequence[Entity],
    match: str,
    where: Same,
    shared: Callable[[Any, Any], int],
) -> list[tuple[str, Entity]]:
    """Same place and type first, then same place, then overlaps: the same type first, the larger first."""
    places = [where(item) for item in wanted], [where(item) for item in given]
    free = set(range(len(wanted))), set(range(len(given)))
    pairs: list[tuple[int, int, bool]] = []

    def take(left: int, right: int, exact: bool) -> None:
        if left in free[0] and right in free[1]:
            free[0].remove(left)
            free[1].remove(right)
            pairs.append((left, right, exact))

    at: dict[Any, list[int]] = defaultdict(list)
    for right, place in enumerate(places[1]):
        at[place].append(right)
    for typed in (True, False):
        for left, place in enumerate(places[0]):
            for right in at.get(place, ()):
                if not typed or wanted[left].type == given[right].type:
                    take(left, right, True)
    overlaps = [
        (wanted[left].type != given[right].type, -size, left, right)
        for left in sorted(free[0])
        for right in sorted(free[1])
        if (size := shared(places[0][left], places[1][right]))
    ]
    for _, _, left, right in sorted(overlaps):
        take(left, right, False)
    verdicts = [
        (_verdict(match, exact, wanted[left].type == given[right].type), wanted[left])
        for left, right, exact in pairs
    ]
    verdicts += [("missed", wanted[left]) for left in sorted(free[0])]
    return verdicts + [("spurious", given[right]) for right in sorted(free[1])]


def _verdict(match: str, exact: bool, typed: bool) -> str:
    if match == "partial":
        return "correct" if exact else "partial"
    return "correct" if (exact if match == "exact" else typed) else "incorrect"


def _shared_places(left: tuple[int, int], right: tuple[int, int]) -> int:
    return max(0, min(left[1], right[1]) - max(left[0], right[0]))


def _shared_words(left: str, right: str) -> int:
    """The shorter text's length where it stands in the other, word for word."""
    short, long = sorted((left, right), key=len)
    return len(short) if short and f" {short} " in f" {long} " else 0
