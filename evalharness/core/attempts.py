"""Attempt: one response to one case, or the reason there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

FailureKind: TypeAlias = Literal[
    "timeout",  # no complete answer before the deadline
    "rate_limited",  # 429 to the end of the retries
    "server",  # 5xx to the end of the retries
    "connection",  # refused, reset, closed mid-body, name not resolved
    "auth",  # wrong or missing key, no permission
    "bad_request",  # the endpoint refuses this request (too long, unknown parameter)
    "bad_response",  # the endpoint answered with something that is not an answer
    "filtered",  # the endpoint declined to answer (content filter)
    "callable",  # the user's own function raised
    "recorded",  # the recording says it failed
    "absent",  # no recording for this case and repeat
]

_NO_SCORES: Mapping[str, float] = {}
_NO_REASONS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, None where the provider did not say. Never guessed."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the candidate answered.

    `model` is the name the endpoint returned, which may differ from the one asked for. `latency_ms` is the wall time
    of the successful call. `scores` are recorded values (`recorded:<name>` takes them as given), `unscored` says of
    such a value why there is none. `ranking` holds document ids, best first, of a candidate that retrieves.
    `cost_usd` is what the call cost at the candidate's stated price: known while responses are scored, never stored.
    """

    text: str
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    latency_ms: float | None = None
    contexts: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=lambda: _NO_SCORES)
    unscored: Mapping[str, str] = field(default_factory=lambda: _NO_REASONS)
    ranking: tuple[str, ...] = ()
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no response. `tries` counts calls made, retries included."""

    kind: FailureKind
    message: str
    tries: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The outcome of asking case `case_id` of `golden_set` for the `repeat`-th time (from 0).

    `cached` says the response came from the cache and cost nothing now.
    """

    golden_set: str
    case_id: str
    repeat: int
    outcome: Response | Failure
    cached: bool = False

    @property
    def failed(self) -> bool:
        return isinstance(self.outcome, Failure)
