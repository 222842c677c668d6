"""Candidate: what is judged. The baseline is a Candidate in a role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

AGAIN: Final = "-again"
"""What the name of a candidate gains where it is run a second time, to be compared with itself."""

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Template texts (not paths), rendered with the case in a sandbox. None: that message is not sent.

    Cases that carry `messages` keep them; `system` is put in front and `user` is not used.
    """

    system: str | None = None
    user: str = "{{ input }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How hard an endpoint may be pushed. None: no limit of that kind.

    `timeout_s` bounds one call from first byte sent to last byte read. `max_retries` counts calls after the first.
    """

    concurrency: int = 16
    requests_per_minute: int | None = None
    timeout_s: float = 60.0
    max_retries: int = 5
    max_cost_usd: float | None = None
    max_tokens_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens. `listed`: the month of the list price it is, "" where the user states it."""

    input_per_million: float
    output_per_million: float
    listed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model with everything that shapes its outputs.

    `options` are the provider's own settings as validated data (base_url, adapter, outputs, target, ...).
    `schema` is a JSON Schema every answer must follow, where one is wanted (a judge's verdict, constrained decoding);
    its `title` is what a provider calls it.
    `digest` covers what shapes outputs (provider, model, prompt, decoding, options, schema, content of named files) and
    nothing else: not the name, limits, prices or key.
    """

    name: str
    provider: str
    model: str | None
    digest: str
    prompt: Prompt = field(default_factory=Prompt)
    decoding: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    api_key_env: str | None = None
    repeats: int | None = None
    limits: Limits = field(default_factory=Limits)
    price: Price | None = None
    suite_path: str | None = None
    path: str = ""
    schema: Mapping[str, Any] | None = None
