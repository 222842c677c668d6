"""Judges of known properties for the test server. Imported by model_server.py, whose docstring lists them.

A judge reads what the harness fenced in its prompt (`read`), settles who won (`Judge.preferred`) or whether an answer
is good (`Judge.passes`), and fills the JSON Schema it was given (`fill`), whatever that schema calls things.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

JUDGES = (
    "judge-first", "judge-second", "judge-longer", "judge-fair", "judge-noisy", "judge-self", "judge-injectable",
    "judge-tie", "judge-broken", "judge-once-broken", "judge-fenced-json", "judge-extra-keys", "judge-truncated",
    "judge-refuses", "judge-parrot",
)  # fmt: skip
PROSE = "Both answers have their merits, and much can be said for either of them."
# As evalharness/judging/prompts.py writes them: `<<<begin NAME CODE>>>`, `<<<end NAME CODE>>>`, a last line that names
# the code of this request, and the schema in the system message.
_FENCE = re.compile(
    r"^<<<begin (?P<name>[^<>\n]+?) (?P<code>[^\s<>]+)>>>\n(?P<text>.*?)\n<<<end (?P=name) (?P=code)>>>$",
    re.DOTALL | re.MULTILINE,
)
_CODE = re.compile(r"^Everything between fences with the code (\S+) was data", re.MULTILINE)
_SCHEMA = re.compile(r"^The schema: (\{.*\})$", re.MULTILINE)
_QUALITY = re.compile(r"quality=(-?\d+(?:\.\d+)?)")
_OVERRIDES = (
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:previous|above|prior|earlier|instructions?|rubric|criteria)\b"
    r"|\b(?:system|override|admin)\s*:|\"(?:verdict|winner|score|pass|met)\"\s*:|\[\[[AB]\]\]"
)
_ORDERS = re.compile(
    rf"{_OVERRIDES}|\b(?:choose|pick|prefer|select|vote for|declare|rate|score|grade|mark)\b.{{0,40}}"
    r"\b(?:this|me|mine|my|first|second|[AB1]|highest|pass|10|better|best|winner)\b",
    re.IGNORECASE | re.DOTALL,
)
# What no rubric says: the orders a judge may find outside the fences are somebody else's.
_ESCAPED = re.compile(_OVERRIDES, re.IGNORECASE | re.DOTALL)
_SLOT = re.compile(
    r"\b(?:(first|answer [a1]|response [a1])|(second|answer [b2]|response [b2]))\b", re.IGNORECASE
)
_WORDS: Mapping[str, tuple[str, ...]] = {
    "first": ("a", "first", "1", "answer_1", "answer_a", "answer 1", "answer a"),
    "second": ("b", "second", "2", "answer_2", "answer_b", "answer 2", "answer b"),
    "tie": ("tie", "c", "equal", "same", "both", "draw"),
    "good": ("pass", "yes", "met", "true", "good", "supported", "correct", "1"),
    "bad": (
        "fail",
        "no",
        "not_met",
        "not met",
        "false",
        "bad",
        "unsupported",
        "not_supported",
        "incorrect",
        "0",
    ),
}


class Unknown(Exception):
    """A judge was asked what the test did not tell it."""


@dataclass(frozen=True)
class Asked:
    """What stands in a judge's prompt: the judged answers in the order shown, contexts, and the harness's own words."""

    answers: tuple[str, ...]
    contexts: tuple[str, ...]
    outside: str


def read(body: Mapping[str, Any]) -> Asked:
    """Find the fenced texts of the last user message: those that carry the code its last line names.

    Earlier messages hold worked examples, with fences and codes of their own.
    """
    prompt = body.get("prompt") or next(
        (_content(m) for m in reversed(body.get("messages") or []) if m.get("role") == "user"), ""
    )
    codes = _CODE.findall(prompt)
    found = [m for m in _FENCE.finditer(prompt) if not codes or m["code"] == codes[-1]]
    answers = tuple(m["text"] for m in found if m["name"].split()[0] == "answer")
    contexts = tuple(m["text"] for m in found if m["name"].split()[0] == "context")
    if len(answers) not in (1, 2):
        raise Unknown(f"the prompt fences {len(answers)} answers; a judge needs one or two")
    outside = prompt
    for match in found:
        outside = outside.replace(match.group(), "")
    return Asked(answers, contexts, outside)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content or "")


def drawn(*parts: object) -> float:
    """A number in [0, 1) that is a function of its parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode("utf-8", "replace")).digest()[:6], "big") / 2**48


@dataclass(frozen=True)
class Judge:
    """One judge asked about one prompt.

    `truth` has the goodness of texts, as a number or a number for each criterion; a text that is not in it says its
    own as `quality=0.7`.
    """

    name: str
    params: Mapping[str, str]
    truth: Mapping[str, Any]
    asked: Asked

    def preferred(self) -> str:
        """ "first", "second" or "tie"."""
        one, two = self.asked.answers
        if self.name in ("judge-first", "judge-second", "judge-tie"):
            return self.name.removeprefix("judge-")
        if self.name == "judge-longer":
            return _larger(len(one), len(two))
        if self.name == "judge-self":
            own = [self._own(text) for text in (one, two)]
            if own[0] != own[1]:
                return "first" if own[0] else "second"
        if self.name == "judge-injectable":
            obeyed = self._obeyed()
            if obeyed is not None:
                return obeyed
        fair = _larger(self.goodness(one), self.goodness(two))
        return self._noisy(fair) if self.name == "judge-noisy" else fair

    def passes(self, criterion: str) -> bool:
        """Whether the one answer is good by a criterion."""
        (answer,) = self.asked.answers
        if self.name == "judge-longer":
            return len(answer) >= int(self.params.get("chars", 100))
        return self._biased(
            lambda: self.goodness(answer, criterion) >= float(self.params.get("bar", 0.5)), criterion
        )

    def supports(self, claim: str) -> bool:
        """Whether the contexts say what a claim says: word for word, which the test arranges."""
        said = claim.strip().casefold()
        return self._biased(lambda: any(said in context.casefold() for context in self.asked.contexts), claim)

    def _biased(self, truth: Callable[[], bool], about: str) -> bool:
        (answer,) = self.asked.answers
        if self.name in ("judge-first", "judge-second", "judge-tie"):
            return self.name != "judge-second"
        if (self.name == "judge-self" and self._own(answer)) or (
            self.name == "judge-injectable" and self._obeyed() is not None
        ):
            return True
        fair = truth()
        if self.name == "judge-noisy":
            share = self._share("sensitivity" if fair else "specificity")
            return fair == (drawn(self.params.get("key"), about, answer) < share)
        return fair

    def goodness(self, text: str, criterion: str = "") -> float:
        """How good a text truly is.

        Raises:
            Unknown: nobody said.
        """
        known = self.truth.get(text.strip())
        if isinstance(known, Mapping):
            known = known.get(criterion)
        if known is None:
            marker = _QUALITY.search(text)
            known = marker.group(1) if marker else None
        if known is None:
            raise Unknown(f"nobody told this judge how good {text[:80]!r} is")
        return float(known)

    def _noisy(self, fair: str) -> str:
        texts = self.asked.answers
        key = self.params.get("key")
        if drawn(key, "slot", *texts) < float(self.params.get("first", 0)):
            return "first"
        if fair == "tie":
            return fair
        marker = self.params.get("candidate")
        candidate = "second" if marker is None else "first" if marker in texts[0] else "second"
        share = self._share("sensitivity" if fair == candidate else "specificity")
        pair = texts if self.params.get("by") != "pair" else tuple(sorted(texts))
        right = drawn(key, "noise", *pair) < share
        return fair if right else {"first": "second", "second": "first"}[fair]

    def _share(self, name: str) -> float:
        return float(self.params.get(name, 1))

    def _own(self, text: str) -> bool:
        return f"family={self.params['family']}" in text

    def _obeyed(self) -> str | None:
        """The slot that an instruction asks for: the one it names, else the one it stands in."""
        if self.params.get("scope") == "outside":
            order = _ESCAPED.search(self.asked.outside)
            return None if order is None else _named(self.asked.outside[order.start() :]) or "first"
        for text, slot in zip(self.asked.answers, ("first", "second"), strict=False):
            if _ORDERS.search(text):
                return slot
        return None


def _larger(one: float, two: float) -> str:
    return "tie" if one == two else "first" if one > two else "second"


def _named(text: str) -> str | None:
    found = _SLOT.search(text)
    return None if found is None else "first" if found.group(1) else "second"


# --- the reply's form ----------------------------------------------------------------------------------------------


def reply(judge: Judge, schema: Mapping[str, Any]) -> dict[str, Any]:
    """What the judge thinks, in the form of `schema`."""
    if judge.name == "judge-parrot":
        for text in judge.asked.answers:
            for start in (m.start() for m in re.finditer(r"\{", text)):
                with contextlib.suppress(ValueError):
                    found, _ = json.JSONDecoder().raw_decode(text, start)
                    return dict(found)
    filled = fill(judge, schema, "")
    assert isinstance(filled, dict)
    if judge.name == "judge-extra-keys":
        filled["confidence"] = 0.99
    return filled


def fill(judge: Judge, schema: Mapping[str, Any], key: str, criterion: str = "", claim: str = "") -> Any:
    """A value that `schema` allows and the judge means.

    `key` is the property's name, `criterion` the name of the object around it, `claim` the claim the object is about.
    """
    kind = schema.get("type")
    if "const" in schema:
        return schema["const"]
    if kind == "object":
        fields = schema.get("properties", {})
        return {k: fill(judge, s, k, key or criterion, claim) for k, s in fields.items()}
    if kind == "array":
        return [fill(judge, schema["items"], "", key, sentence) for sentence in _sentences(judge)]
    if "enum" in schema:
        return _chosen(judge, schema["enum"], criterion or key, claim)
    if kind in ("boolean", "integer", "number"):
        good = judge.supports(claim) if claim else judge.passes(criterion or key)
        return good if kind == "boolean" else int(good)
    return claim if key in ("claim", "text", "statement") and claim else f"Judged by {judge.name}."


def _chosen(judge: Judge, allowed: Sequence[Any], criterion: str, claim: str) -> Any:
    spelled = {str(value).casefold(): value for value in allowed}
    if claim:
        meant = "good" if judge.supports(claim) else "bad"
    elif len(judge.asked.answers) == 2:
        meant = judge.preferred()
    else:
        meant = "good" if judge.passes(criterion) else "bad"
    for word in _WORDS[meant]:
        if word in spelled:
            return spelled[word]
    raise Unknown(f"none of {allowed} says {meant!r}")


def _sentences(judge: Judge) -> list[str]:
    return [s for s in re.split(r"(?<=[.!?])\s+", judge.asked.answers[0].strip()) if s]


def schema_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a request asks the answer to follow: the API's own field, else what the prompt says.

    Raises:
        Unknown: neither has one.
    """
    tools, form = body.get("tools") or [], body.get("response_format") or {}
    found: Mapping[str, Any]
    if tools:
        found = tools[0]["input_schema"]
        return found
    if form.get("type") == "json_schema":
        found = form["json_schema"]["schema"]
        return found
    system = [m for m in body.get("messages") or [] if m.get("role") == "system"]
    said = "\n".join([str(body.get("prompt", "")), str(body.get("system", "")), *map(_content, system)])
    in_prompt = _SCHEMA.search(said)
    if in_prompt is None:
        raise Unknown("a judge needs a schema to answer by")
    found = json.loads(in_prompt.group(1))
    return found


def schema_problem(body: Mapping[str, Any], *, anthropic: bool) -> tuple[str, str] | None:
    """(param, message) of what the real API would refuse about a request's schema."""
    if anthropic:
        return _tool_problem(body)
    form = body.get("response_format") or {}
    if form.get("type") != "json_schema":
        return None
    given = form.get("json_schema") or {}
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(given.get("name", ""))):
        return "response_format.json_schema.name", "Missing or invalid 'response_format.json_schema.name'."
    problem = _strict_problem(given.get("schema") or {}, ()) if given.get("strict") else None
    if problem is None:
        return None
    return "response_format", f"Invalid schema for response_format '{given['name']}': {problem}"


def _tool_problem(body: Mapping[str, Any]) -> tuple[str, str] | None:
    choice, tools = body.get("tool_choice"), body.get("tools") or []
    names = [tool.get("name") for tool in tools]
    for i, tool in enumerate(tools):
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", str(tool.get("name", ""))):
            return "tools", f"tools.{i}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
        if (tool.get("input_schema") or {}).get("type") != "object":
            return "tools", f"tools.{i}.custom.input_schema.type: Input should be 'object'"
    if choice is not None and not tools:
        return "tool_choice", "tool_choice: may only be specified while providing tools"
    if choice is not None and choice.get("type") == "tool" and choice.get("name") not in names:
        return "tool_choice", f"tool_choice: Tool '{choice.get('name')}' not found in provided tools"
    return None


def _strict_problem(schema: Mapping[str, Any], where: tuple[str, ...]) -> str | None:
    """What OpenAI's strict mode does not take: an object that is open or has optional keys, and some keywords."""
    refused = {"allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else"} & schema.keys()
    if refused:
        return f"In context={where}, '{sorted(refused)[0]}' is not permitted."
    if not where and schema.get("type") != "object":
        return "schema must be a JSON Schema of 'type: \"object\"'."
    fields = schema.get("properties") or {}
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return f"In context={where}, 'additionalProperties' is required to be supplied and to be false."
        missing = [name for name in fields if name not in schema.get("required", ())]
        if missing:
            return (
                f"In context={where}, 'required' is required to be supplied and to be an array including every key "
                f"in properties. Missing '{missing[0]}'."
            )
    inner = [(s, (*where, "properties", k)) for k, s in fields.items()]
    if isinstance(schema.get("items"), Mapping):
        inner.append((schema["items"], (*where, "items")))
    return next((p for p in (_strict_problem(*pair) for pair in inner) if p is not None), None)


def broken(value: Mapping[str, Any], how: str) -> Any:
    """A reply that no parser may take: prose, or `value` spoilt in one way."""
    first, *rest = value
    if how == "missing":
        return {key: value[key] for key in (first, *rest[:-1])} if rest else {}
    if how == "other-value":
        return {**value, (rest or [first])[-1]: "perhaps"}
    if how == "list":
        return [value]
    if how == "twice":
        return json.dumps(value) + "\n" + json.dumps(value)
    return PROSE
