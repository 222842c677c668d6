"""What an answer costs and how it arrives: time, tokens, money, failures, form. They are metrics like any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, get_args

from evalharness.core.attempts import Failure, FailureKind, Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers._patterns import Pattern
from evalharness.scorers.exact import BINARY, RIGHT, WRONG
from evalharness.scorers.normalise import flag, texts
from evalharness.scorers.structured import JsonSchema, JsonValid

LOWER_SHARE: Final = Metric(direction="lower", unit="fraction", kind="binary")
"""A share of the cases that should be small: 1 where it happened, 0 where it did not."""
_KINDS: Final[tuple[str, ...]] = get_args(FailureKind)
_CUT: Final = frozenset(("length", "max_tokens", "model_context_window_exceeded"))
_ENDED: Final = frozenset(("stop", "end_turn", "stop_sequence", "eos", "eos_token", "tool_calls", "tool_use"))
_NO_LATENCY: Final = Unscored("no latency is known of this answer")
_NO_REASON: Final = Unscored("why the answer ended is not known (no finish_reason)")


def _per_case(unit: str, *, direction: str = "lower", timed: bool = False) -> Metric:
    return Metric(
        direction="higher" if direction == "higher" else "lower",
        unit=unit,
        kind="unbounded",
        low=None,
        high=None,
        timed=timed,
    )


_TOKENS: Final = _per_case("tokens")


class _Measure:
    """What scorers without parameters or needs share. `reads` says how the values are read."""

    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}
    reads: ClassVar[Metric]

    @property
    def metric(self) -> Metric:
        return self.reads


@dataclass(frozen=True)
class Latency:
    """Wall time of the call that answered, in milliseconds; lower is better.

    With `q`, in (0, 1), the metric is that quantile over all attempts; without, the mean over cases. A failed call is
    slower than any other in a quantile, and left out of the mean and counted. An answer from the cache keeps the time
    of the call that was made.
    """

    q: float | None = None

    name: ClassVar[str] = "latency"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        q: object = self.q  # parameters come from YAML, so their types are not to be trusted
        if q is None:
            return
        if isinstance(q, bool) or not isinstance(q, int | float):
            raise TypeError(f"q must be a number such as 0.95, not {q!r}")
        if not 0 < q < 1:
            raise ValueError(f"q must lie between 0 and 1 (0.95 is the 95th percentile), not {q!r}")

    @property
    def metric(self) -> Metric:
        if self.q is None:
            return _per_case("ms", timed=True)
        return Metric(
            direction="lower", unit="ms", kind="quantile", low=0.0, high=None, quantile=self.q, timed=True
        )

    def score(self, case: Case, response: Response) -> Score:
        return _NO_LATENCY if response.latency_ms is None else Scored(response.latency_ms)


class _Percentile(Latency):
    """A percentile by its usual name."""

    of: ClassVar[float]

    def __init__(self) -> None:
        super().__init__(q=self.of)


class LatencyP50(_Percentile):
    """Median latency over all attempts, in milliseconds."""

    name: ClassVar[str] = "latency_p50"
    of: ClassVar[float] = 0.5


class LatencyP95(_Percentile):
    """95th percentile of latency over all attempts, in milliseconds."""

    name: ClassVar[str] = "latency_p95"
    of: ClassVar[float] = 0.95


class LatencyP99(_Percentile):
    """99th percentile of latency over all attempts, in milliseconds. It takes 299 cases to be bounded at all."""

    name: ClassVar[str] = "latency_p99"
    of: ClassVar[float] = 0.99


class InputTokens(_Measure):
    """Tokens of the request, as the provider counted them; lower is better."""

    name: ClassVar[str] = "input_tokens"
    reads: ClassVar[Metric] = _TOKENS

    def score(self, case: Case, response: Response) -> Score:
        return _known(_tokens(response)[0], "input tokens")


class OutputTokens(_Measure):
    """Tokens of the answer, as the provider counted them; lower is better."""

    name: ClassVar[str] = "output_tokens"
    reads: ClassVar[Metric] = _TOKENS

    def score(self, case: Case, response: Response) -> Score:
        return _known(_tokens(response)[1], "output tokens")


class TotalTokens(_Measure):
    """Tokens of request and answer together; lower is better."""

    name: ClassVar[str] = "total_tokens"
    reads: ClassVar[Metric] = _TOKENS

    def score(self, case: Case, response: Response) -> Score:
        asked, answered = _tokens(response)
        return _known(
            None if asked is None or answered is None else asked + answered, "input or output tokens"
        )


class Cost(_Measure):
    """US dollars for the answer at the candidate's stated price; lower is better."""

    name: ClassVar[str] = "cost"
    reads: ClassVar[Metric] = _per_case("USD")

    def score(self, case: Case, response: Response) -> Score:
        if response.cost_usd is not None:
            return Scored(response.cost_usd)
        if None in _tokens(response):
            return Unscored("the provider did not say how many tokens the answer took")
        return Unscored(
            "the candidate states no price; add `price: {input_per_million: …, output_per_million: …}`"
        )


class TokensPerSecond(_Measure):
    """Tokens of the answer per second of the call that made it; higher is better."""

    name: ClassVar[str] = "tokens_per_second"
    reads: ClassVar[Metric] = _per_case("tokens/s", direction="higher", timed=True)

    def score(self, case: Case, response: Response) -> Score:
        tokens = _tokens(response)[1]
        if tokens is None:
            return _known(None, "output tokens")
        if response.latency_ms is None:
            return _NO_LATENCY
        if response.latency_ms <= 0:
            return Unscored("the call took no time, so there is no rate")
        return Scored(tokens / (response.latency_ms / 1000))


def _tokens(response: Response) -> tuple[int | None, int | None]:
    usage = response.usage
    return (None, None) if usage is None else (usage.input_tokens, usage.output_tokens)


def _known(count: int | None, what: str) -> Score:
    return (
        Unscored(f"the provider did not say how many {what} there were")
        if count is None
        else Scored(float(count))
    )


@dataclass(frozen=True)
class ErrorRate:
    """1 for a case without an answer, 0 for one with: the share of failed attempts; lower is better.

    Nothing is missing from it. `kinds` names the failures that count ("timeout", "rate_limited", ...). An attempt that
    failed in another way does not tell whether it would have in one of these: it is missing.
    """

    kinds: tuple[str, ...] | None = None

    name: ClassVar[str] = "error_rate"
    version: ClassVar[str] = "2"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        if self.kinds is None:
            return
        kinds = texts("kinds", self.kinds)
        unknown = [kind for kind in kinds if kind not in _KINDS]
        if unknown:
            raise ValueError(f"there is no failure {unknown[0]!r}; kinds are {', '.join(_KINDS)}")
        object.__setattr__(self, "kinds", kinds)

    @property
    def metric(self) -> Metric:
        return LOWER_SHARE

    def score(self, case: Case, response: Response) -> Score:
        return WRONG  # 0: it did not fail

    def score_failure(self, case: Case, failure: Failure) -> Score:
        if self.kinds is not None and failure.kind not in self.kinds:
            return Unscored(f"failed in another way: {failure.kind.replace('_', ' ')}")
        return Scored(1.0, detail={"kind": failure.kind})


@dataclass(frozen=True)
class FormatCompliance:
    """1 when the answer satisfies every part of a declared format, else 0, with what failed in the detail.

    `json`: it is JSON and nothing else. `schema`: the same, and the schema accepts it. `pattern`: RE2 syntax, matches
    the whole answer but for white space at its ends. `max_characters`: no longer. `complete`: it ended by itself and
    was not cut off.
    """

    json: bool = False
    schema: Any = None
    pattern: str | None = None
    max_characters: int | None = None
    complete: bool = False
    _pattern: Pattern | None = field(init=False, repr=False, compare=False, default=None)
    _reader: JsonValid | JsonSchema | None = field(init=False, repr=False, compare=False, default=None)

    name: ClassVar[str] = "format_compliance"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {"schema": "json"}

    def __post_init__(self) -> None:
        flag("json", self.json)
        flag("complete", self.complete)
        most: object = self.max_characters
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ValueError(f"max_characters must be a whole number from 1, not {most!r}")
        if self.schema is not None:
            object.__setattr__(self, "_reader", JsonSchema(schema=self.schema, extract="strict"))
        elif self.json:
            object.__setattr__(self, "_reader", JsonValid(extract="strict"))
        pattern: object = self.pattern
        if pattern is not None:
            if not isinstance(pattern, str) or not pattern:
                raise ValueError(f"pattern must be a text that is not empty, not {pattern!r}")
            object.__setattr__(self, "_pattern", Pattern(pattern))
        if self._reader is None and self._pattern is None and most is None and not self.complete:
            raise ValueError("no format is declared; give json, schema, pattern, max_characters or complete")

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        failed: dict[str, Any] = {}
        if self._reader is not None:
            found = self._reader.score(case, response)
            if isinstance(found, Scored) and found.value < 1:
                path = found.detail.get("path")
                failed["json"] = f"{path}: {found.detail['reason']}" if path else found.detail["reason"]
        if self._pattern is not None and not self._pattern.fullmatch(response.text.strip()):
            failed["pattern"] = "the answer does not match"
        if self.max_characters is not None and len(response.text) > self.max_characters:
            failed["max_characters"] = len(response.text)
        if self.complete:
            if response.finish_reason is None:
                return _NO_REASON
            if response.finish_reason not in _ENDED:
                failed["complete"] = response.finish_reason[:80]
        return Scored(0.0, detail={"failed": failed}) if failed else RIGHT


class Truncated(_Measure):
    """1 when the answer was cut off by the token limit, else 0; lower is better."""

    name: ClassVar[str] = "truncated"
    reads: ClassVar[Metric] = LOWER_SHARE

    def score(self, case: Case, response: Response) -> Score:
        if response.finish_reason is None:
            return _NO_REASON
        return RIGHT if response.finish_reason in _CUT else WRONG


class Empty(_Measure):
    """1 when the answer holds nothing but white space, else 0; lower is better."""

    name: ClassVar[str] = "empty"
    reads: ClassVar[Metric] = LOWER_SHARE

    def score(self, case: Case, response: Response) -> Score:
        return WRONG if response.text.strip() else RIGHT
