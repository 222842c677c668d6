"""Case, GoldenSet, Slice: what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message. `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One item of a golden set, immutable and identified by `id` inside its set.

    `input` or `messages` holds the question. `targets` are the accepted answers (strings, numbers, or JSON
    objects for extraction); empty when the case has none. `relevant` maps document id to grade (retrieval).
    `cluster` names the group of dependent cases this one belongs to; None: it stands alone. `tags` give slices.
    `line` is the line in cases.jsonl, 0 when unknown.
    """

    id: str
    input: str | None = None
    messages: tuple[Message, ...] = ()
    targets: tuple[Any, ...] = ()
    choices: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    relevant: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    cluster: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    critical: bool = False
    human: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    line: int = 0

    @property
    def question(self) -> str:
        """The text a person would read as the question: `input`, else the last user message, else ""."""
        if self.input is not None:
            return self.input
        for message in reversed(self.messages):
            if message.role == "user":
                return message.content
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What `card.yaml` says about a golden set. `held_out`: its cases must never be trained on."""

    name: str
    version: str
    task: str
    description: str = ""
    licence: str = ""
    provenance: str = ""
    reviewed: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    created: str = ""
    rotate_after: str = ""
    cases_digest: str = ""
    held_out: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """An ordered, digested set of cases. `digest` covers every field of every case in order."""

    card: Card
    cases: tuple[Case, ...]
    digest: str
    path: str = ""

    @property
    def name(self) -> str:
        return self.card.name


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """The cases whose tag `key` has `value`."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"
