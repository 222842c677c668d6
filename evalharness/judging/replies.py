"""What a judge replies: the schema it is held to, and the strict reading of the reply as a vote.

A verdict is taken from the one field that holds it and from nowhere else. A reply that is not exactly one object of
the schema is no vote: it is kept, with a sentence that says why, and never guessed at.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, NoReturn, TypeAlias

from evalharness.core.judges import Judge, Order, Vote

MAX_RAW: Final = 8_000
"""Characters of an unreadable reply that are kept."""
_MAX_REPLY: Final = 200_000
_MAX_RATIONALE: Final = 4_000
_MAX_CLAIM: Final = 500
_MAX_CLAIMS: Final = 500
_MAX_COPIES: Final = 2_000
_WINNERS: Final = ("A", "B", "TIE")
_CUT_OFF: Final = frozenset(
    ("length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded")
)
_DECLINED: Final = frozenset(("content_filter", "refusal", "safety"))
_FENCED: Final = re.compile(r"```(?:json)?[ \t]*\r?\n(?P<body>.*)\n[ \t]*```", re.DOTALL)
_SPACE: Final = " \t\r\n"
_SURROGATES: Final = re.compile("[\ud800-\udfff]")

_Read: TypeAlias = "tuple[float, str, dict[str, float]]"
"""value, rationale, marks"""


class _Unreadable(ValueError):
    """Why a reply is no verdict, without a word of the reply."""


def reply_schema(judge: Judge) -> dict[str, Any]:
    """The JSON Schema a reply of `judge` follows.

    Each rationale comes before what it decides. Only keywords that the strict modes of the APIs know are used: every
    property is required and no other is allowed.
    """
    text, yes_no = {"type": "string"}, {"type": "boolean"}
    if judge.mode == "pairwise":
        return _object({"rationale": text, "winner": {"type": "string", "enum": list(_WINNERS)}})
    if judge.mode == "pointwise":
        one = _object({"rationale": text, "met": yes_no})
        return _object({"criteria": _object({criterion.id: one for criterion in judge.criteria})})
    claim = _object({"claim": text, "rationale": text, "supported": yes_no})
    return _object({"claims": {"type": "array", "items": claim}})


def read_reply(
    judge: Judge,
    text: str,
    finish_reason: str | None,
    order: Order | None = None,
    *,
    judged: Sequence[str] = (),
    model: str | None = None,
) -> Vote:
    """One reply as a vote.

    The whole reply must be one JSON object of the schema; one code fence around it is tolerated. Extra, missing and
    doubled keys, NaN, other spellings of a verdict, text before or behind are not.

    Args:
        judge: who replied.
        text: the reply.
        finish_reason: as the endpoint gave it.
        order: which answer stood first; pairwise only.
        judged: the texts that were judged. A reply that stands in one of them word for word was copied, and is no
            verdict.
        model: the name the endpoint returned.

    Returns:
        `value` is None where the reply cannot be read, and `problem` says why.

    Raises:
        ValueError: pairwise without an order.
    """
    if judge.mode == "pairwise" and order is None:
        raise ValueError("a pairwise reply is read with the order of the answers")
    try:
        if finish_reason in _CUT_OFF:
            raise _Unreadable("the reply was cut off at its token limit")
        if finish_reason in _DECLINED:
            raise _Unreadable("the judge declined to answer")
        document = _parse(text)
        value, rationale, marks = _verdict(judge, document, order)
        if _copied(document, judged):
            raise _Unreadable("the reply repeats a verdict that stands in a judged text")
    except _Unreadable as error:
        return Vote(
            judge=judge.name, order=order, value=None, problem=str(error), raw=_kept(text), model=model
        )
    return Vote(judge=judge.name, order=order, value=value, rationale=rationale, marks=marks, model=model)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unreadable("a key stands twice in one object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise _Unreadable(f"{constant} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)
_LENIENT: Final = json.JSONDecoder()


def _parse(text: str) -> Any:
    text = text.strip(_SPACE)
    if not text:
        raise _Unreadable("the reply is empty")
    if len(text) > _MAX_REPLY:
        raise _Unreadable(f"the reply is longer than {_MAX_REPLY:,} characters")
    if found := _FENCED.fullmatch(text):
        text = found["body"].strip(_SPACE)
    try:
        document, end = _DECODER.raw_decode(text)
    except _Unreadable:
        raise
    except (ValueError, RecursionError):
        raise _Unreadable("the reply is not JSON") from None
    if end != len(text):
        raise _Unreadable("there is text after the JSON")
    return document


def _verdict(judge: Judge, document: Any, order: Order | None) -> _Read:
    if judge.mode == "pairwise":
        return _pairwise(document, order)
    return _pointwise(judge, document) if judge.mode == "pointwise" else _claims(document)


def _pairwise(document: Any, order: Order | None) -> _Read:
    rationale, winner = _fields(document, "the reply", ("rationale", "winner"))
    _want(rationale, str, "rationale must be text")
    if not isinstance(winner, str) or winner not in _WINNERS:
        raise _Unreadable('winner must be "A", "B" or "TIE"')
    value = 0.5 if winner == "TIE" else float((winner == "A") == (order == "BA"))
    return value, _clean(rationale, _MAX_RATIONALE), {}


def _pointwise(judge: Judge, document: Any) -> _Read:
    (criteria,) = _fields(document, "the reply", ("criteria",))
    found = _fields(criteria, "criteria", tuple(criterion.id for criterion in judge.criteria))
    marks: dict[str, float] = {}
    rationales: list[str] = []
    for criterion, entry in zip(judge.criteria, found, strict=True):
        rationale, met = _fields(entry, f"criterion {criterion.id!r}", ("rationale", "met"))
        _want(rationale, str, f"the rationale of {criterion.id!r} must be text")
        _want(met, bool, f"met of {criterion.id!r} must be true or false")
        marks[criterion.id] = float(met)
        rationales.append(f"{criterion.id}: {rationale}")
    return weighted(judge, marks), _clean("\n".join(rationales), _MAX_RATIONALE), marks


def weighted(judge: Judge, marks: Mapping[str, float]) -> float:
    """The share of the criteria met, by their weights: 1 where all are, whatever the weights add up to."""
    met = math.fsum(criterion.weight * marks[criterion.id] for criterion in judge.criteria)
    return met / math.fsum(criterion.weight for criterion in judge.criteria)


def _claims(document: Any) -> _Read:
    (claims,) = _fields(document, "the reply", ("claims",))
    _want(claims, list, "claims must be a list")
    if not claims:
        raise _Unreadable("no claims")
    if len(claims) > _MAX_CLAIMS:
        raise _Unreadable(f"more than {_MAX_CLAIMS} claims")
    marks: dict[str, float] = {}
    named: dict[str, str] = {}
    rationales: list[str] = []
    for number, entry in enumerate(claims, start=1):
        claim, rationale, supported = _fields(entry, f"claim {number}", ("claim", "rationale", "supported"))
        _want(claim, str, f"the text of claim {number} must be text")
        _want(rationale, str, f"the rationale of claim {number} must be text")
        _want(supported, bool, f"supported of claim {number} must be true or false")
        # A claim said twice counts once, or an answer could win by repeating what is right.
        folded = " ".join(claim.casefold().split())
        if not folded:
            raise _Unreadable(f"claim {number} is empty")
        shown = named.setdefault(folded, f"{number}. {_clean(claim, _MAX_CLAIM)}")
        if marks.setdefault(shown, float(supported)) != float(supported):
            raise _Unreadable(f"claim {number} is said to be supported and not supported")
        rationales.append(f"{number}: {rationale}")
    value = math.fsum(marks.values()) / len(marks)
    return value, _clean("\n".join(rationales), _MAX_RATIONALE), marks


def _fields(value: Any, where: str, names: tuple[str, ...]) -> list[Any]:
    _want(value, dict, f"{where} must be an object")
    if missing := [name for name in names if name not in value]:
        raise _Unreadable(f"{where} lacks {', '.join(map(repr, missing))}")
    if len(value) != len(names):
        raise _Unreadable(f"{where} has keys that the schema does not know")
    return [value[name] for name in names]


def _want(value: Any, kind: type, message: str) -> None:
    if type(value) is not kind:  # True is an int, and must not pass for one
        raise _Unreadable(message)


def _copied(document: Any, judged: Sequence[str]) -> bool:
    """Whether the very object of the reply stands in one of the judged texts."""
    names = "|".join(re.escape(json.dumps(name)) for name in document)
    start = re.compile(rf"\{{\s*(?:{names})")
    for text in judged:
        for found in islice(start.finditer(text), _MAX_COPIES):
            try:
                if _LENIENT.raw_decode(text, found.start())[0] == document:
                    return True
            except (ValueError, RecursionError):
                continue
    return False


def _clean(text: str, limit: int) -> str:
    text = _SURROGATES.sub("\ufffd", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _kept(text: str) -> str:
    return _clean(text, MAX_RAW)
