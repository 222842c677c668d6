"""Reading `cases.jsonl`: strict, every problem with its line, fast enough for 100,000 cases.

A line is checked by hand (a pydantic model per line costs several times as much); only a line where something is off
takes the slow path that says what.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from evalharness._canon import digest_lines
from evalharness.core.cases import Case, Message
from evalharness.errors import Problem
from evalharness.spec.lines import BadLine, capped, json_lines
from evalharness.spec.reader import describe, did_you_mean

_FIELDS: Final = frozenset(
    (
        "id",
        "input",
        "messages",
        "target",
        "choices",
        "contexts",
        "relevant",
        "cluster",
        "tags",
        "critical",
        "human",
    )
)
_ROLES: Final = ("system", "user", "assistant")
_NOTHING: Final[Mapping[str, Any]] = {}
_MISSING: Final = object()
_ENCODE: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode


def read_cases(path: Path, shown: str) -> tuple[tuple[Case, ...], str, list[Problem]]:
    """Read and check cases.jsonl.

    Returns:
        cases in order, the digest of all of them, and problems, as `capped` has them. With problems, the
        cases and the digest are those of the good lines only.
    """
    cases: list[Case] = []
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    # Most cases carry one of a few sets of tags: one object for each saves a quarter of the memory.
    shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}

    def canonical() -> Iterator[str]:
        for number, value in json_lines(path):
            try:
                if isinstance(value, BadLine):
                    raise value
                case = _case(value, number, shared)
                first = lines.setdefault(case.id, number)
                if first != number:
                    raise BadLine(
                        f"the id {case.id!r} is already on line {first}", "ids are unique in a golden set"
                    )
                text = _encode(value)
            except BadLine as error:
                problems.append(Problem(str(error), shown, number, hint=error.hint))
                continue
            cases.append(case)
            yield text

    try:
        digest = digest_lines(canonical())
    except OSError as error:
        return (), "", [Problem(f"cannot be read: {error.strerror or error}", shown)]
    if not cases and not problems:
        problems.append(Problem("holds no cases", shown, 1, hint="one JSON object a line, with id and input"))
    return tuple(cases), digest, capped(problems, shown)


def _encode(value: Any) -> str:
    try:
        text = _ENCODE(value)
        if not text.isascii():
            text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadLine("holds half a character (a lone surrogate such as \\ud800)") from None
    except ValueError:
        raise BadLine("holds a number that is too large") from None
    return text


def _case(obj: Any, line: int, shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]]) -> Case:
    """One checked case, or BadLine. The checks in a row are the fast path; `_explain` words what failed."""
    if type(obj) is not dict or not obj.keys() <= _FIELDS:
        raise _explain(obj)
    get = obj.get
    case_id, text, messages = get("id"), get("input"), get("messages")
    if type(case_id) is not str or not case_id or not case_id.isprintable() or case_id != case_id.strip():
        raise _explain(obj)
    chat: tuple[Message, ...] = ()
    if messages is None:
        if type(text) is not str:
            raise _explain(obj)
    elif text is not None or not _is_chat(messages):
        raise _explain(obj)
    else:
        chat = tuple(Message(item["role"], item["content"]) for item in messages)
    targets: tuple[Any, ...] = ()
    target = get("target", _MISSING)
    if target is not _MISSING:
        if target is None or target == []:
            raise _explain(obj)
        targets = tuple(target) if type(target) is list else (target,)
        if None in targets:
            raise _explain(obj)
    choices, contexts, tags = get("choices"), get("contexts"), get("tags")
    relevant, human, cluster, critical = get("relevant"), get("human"), get("cluster"), get("critical", False)
    if (
        (choices is not None and not (_are_texts(choices) and choices and len(set(choices)) == len(choices)))
        or (contexts is not None and not _are_texts(contexts))
        or (tags is not None and not (type(tags) is dict and all(type(tag) is str for tag in tags.values())))
        or (relevant is not None and not _are_grades(relevant))
        or (human is not None and type(human) is not dict)
        or (cluster is not None and not (type(cluster) is str and cluster.strip()))
        or type(critical) is not bool
        or None in obj.values()
    ):
        raise _explain(obj)
    return Case(
        id=case_id,
        input=text,
        messages=chat,
        targets=targets,
        choices=tuple(choices) if choices else (),
        contexts=tuple(contexts) if contexts else (),
        relevant=relevant or _NOTHING,
        cluster=cluster,
        tags=shared.setdefault(tuple(tags.items()), tags) if tags else _NOTHING,
        critical=critical,
        human=human or _NOTHING,
        line=line,
    )


def _is_chat(value: Any) -> bool:
    return (
        type(value) is list
        and bool(value)
        and all(
            type(item) is dict
            and item.keys() == {"role", "content"}
            and item["role"] in _ROLES
            and type(item["content"]) is str
            for item in value
        )
    )


def _are_texts(value: Any) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


def _are_grades(value: Any) -> bool:
    return type(value) is dict and all(
        type(item) in (int, float) and 0 <= item < float("inf") for item in value.values()
    )


def _explain(obj: Any) -> BadLine:
    """Why `_case` refused the line: the first reason that holds."""
    if type(obj) is not dict:
        return BadLine(
            f"a case must be a JSON object, not {describe(obj)}", 'write {"id": ..., "input": ...}'
        )
    for name in obj:
        if name not in _FIELDS:
            return BadLine(f"unknown key {name!r}", did_you_mean(name, _FIELDS - obj.keys()))
    for name, value in obj.items():
        if value is None:
            return BadLine(f"{name} is null", "leave the key out where there is no value")
    case_id = obj.get("id")
    if case_id is None:
        return BadLine("the key 'id' is missing", "every case needs an id that is unique in its golden set")
    if type(case_id) is not str:
        return BadLine(f"id must be text, not {describe(case_id)}", f'write "{case_id}" in quotes')
    if not case_id.strip() or case_id != case_id.strip() or not case_id.isprintable():
        return BadLine(f"id {case_id!r} is empty, padded with spaces, or holds control characters")
    if ("input" in obj) == ("messages" in obj):
        both = "input" in obj
        return BadLine(
            "has both input and messages" if both else "has neither input nor messages", "give one of them"
        )
    if "input" in obj and type(obj["input"]) is not str:
        return BadLine(f"input must be text, not {describe(obj['input'])}")
    if "messages" in obj and not _is_chat(obj["messages"]):
        return BadLine(
            'messages must be a list of {"role": "system" | "user" | "assistant", "content": text}'
        )
    if obj.get("target") == [] or (type(obj.get("target")) is list and None in obj["target"]):
        return BadLine("target holds no answer or null", "leave the key out where there is none")
    return _explain_rest(obj)


def _explain_rest(obj: dict[str, Any]) -> BadLine:
    for name in ("choices", "contexts"):
        if name in obj and not _are_texts(obj[name]):
            return BadLine(f"{name} must be a list of texts")
    choices = obj.get("choices")
    if choices is not None and (not choices or len(set(choices)) != len(choices)):
        return BadLine("choices is empty or names one twice")
    tags = obj.get("tags")
    if tags is not None and type(tags) is not dict:
        return BadLine(f"tags must be an object of texts, not {describe(tags)}")
    for name, value in (tags or {}).items():
        if type(value) is not str:
            return BadLine(
                f"the tag {name!r} must be text, not {describe(value)}", f'write "{value}" in quotes'
            )
    if "relevant" in obj and not _are_grades(obj["relevant"]):
        return BadLine("relevant must be an object of document id and grade (0 or more)")
    if "human" in obj and type(obj["human"]) is not dict:
        return BadLine(f"human must be an object, not {describe(obj['human'])}")
    if "cluster" in obj and not (type(obj["cluster"]) is str and obj["cluster"].strip()):
        return BadLine("cluster must be a text that is not empty")
    return BadLine(f"critical must be true or false, not {describe(obj.get('critical'))}")
