"""What each file may say: strict models, nothing unknown let through.

Models describe the file, not the run-time noun (`core`): loaders turn one into the other. Descriptions end up in
the JSON Schemas for editors and in error hints. Every model forbids unknown keys and converts nothing.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from evalharness.core.suites import Margin, MetricRule

_MARGIN: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(pp|%)\s*")
_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DATE: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_TARGET: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_KEY: Final = re.compile(
    r"\b(sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|AIza[A-Za-z0-9_-]{30,}"
    r"|AKIA[A-Z0-9]{16}|gsk_[A-Za-z0-9]{16,}|xai-[A-Za-z0-9]{16,}|Bearer\s+[A-Za-z0-9._-]{16,})"
)
SCORER_NAME: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)(?:@([1-9][0-9]{0,5}))?")
RECORDED_NAME: Final = re.compile(r"recorded:([A-Za-z0-9][A-Za-z0-9_.-]*)")


def looks_like_key(text: str) -> bool:
    """Whether the text holds what looks like a literal API key."""
    return _KEY.search(text) is not None


def wrong(message: str, hint: str | None = None) -> PydanticCustomError:
    """A validation error whose message and hint reach the user as written (braces included)."""
    return PydanticCustomError("spec", "{message}", {"message": message, "hint": hint})


def parse_margin(value: Any) -> Margin:
    """`2pp` (absolute) or `5%` (relative) as an exact margin.

    Raises:
        PydanticCustomError: anything else; a bare number is answered with the two ways to write it.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        size = f"{value * 100 if 0 < value < 1 else abs(value) or 2:.10g}"
        raise wrong(
            f"the number {value} has no unit",
            f"write {size}pp (percentage points) or {size}% (relative to the baseline)",
        )
    ways = "write 2pp (percentage points) or 5% (relative to the baseline)"
    if not isinstance(value, str):
        raise wrong("a margin is text such as 2pp or 5%", ways)
    match = _MARGIN.fullmatch(value)
    if match is None:
        negative = value.strip().startswith("-")
        raise wrong(f"{value!r} is not a margin" + (": it must be above zero" if negative else ""), ways)
    amount = Fraction(match.group(1)) / 100
    if amount == 0:
        raise wrong("a margin must be above zero: no test can show that nothing at all changed", ways)
    relative = match.group(2) == "%"
    if amount > (10 if relative else 1):
        raise wrong(f"{value!r} is more than any metric could lose", ways)
    return Margin(amount, relative)


def parse_share(value: Any) -> float:
    """`2%` as 0.02, in [0, 1]."""
    match = _MARGIN.fullmatch(value) if isinstance(value, str) else None
    if match is None or match.group(2) != "%":
        raise wrong("a share of the cases is a percentage", "write 1% (the default) or 5%")
    share = float(Fraction(match.group(1)) / 100)
    if share > 1:
        raise wrong(f"{value!r} is more than all cases")
    return share


def parse_rule(value: Any) -> MetricRule:
    """`advisory`, or a mapping of max_drop / max_rise / advisory; the direction is checked once scorers are known."""
    if value == "advisory":
        return MetricRule(advisory=True)
    ways = "write `advisory` or, for example, {max_drop: 3pp}"
    if not isinstance(value, dict):
        raise wrong(f"{value!r} is not a rule for a metric", ways)
    for name in value:
        if name not in ("max_drop", "max_rise", "advisory"):
            raise wrong(f"unknown key {name!r}", "a rule holds max_drop or max_rise, and advisory")
    advisory = value.get("advisory", False)
    if not isinstance(advisory, bool):
        raise wrong("advisory must be true or false")
    margins = [parse_margin(value[name]) for name in ("max_drop", "max_rise") if name in value]
    if len(margins) == 2:
        raise wrong(
            "a metric has one margin", "max_drop where higher is better, max_rise where lower is better"
        )
    if not margins and "advisory" not in value:
        raise wrong("the rule is empty", ways)
    return MetricRule(advisory=advisory, margin=margins[0] if margins else None)


def parse_scorer(value: Any) -> tuple[str, Any]:
    """Any spelling of a scorer as (name as written, parameters: mapping, single value, or None)."""
    if isinstance(value, str):
        name, params = value, None
    elif isinstance(value, dict) and len(value) == 1:
        ((name, params),) = value.items()
    else:
        raise wrong(
            "a scorer is a name, or a name with its parameters",
            "write `exact_match` or `{numeric: {tolerance: 0.01}}`",
        )
    if not SCORER_NAME.fullmatch(name) and not RECORDED_NAME.fullmatch(name):
        raise wrong(f"{name!r} is not a scorer's name")
    return name, params


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise wrong(f"{value!r} is not a name", "use letters, digits, '.', '_' and '-'")
    return value


def _printable(value: str) -> str:
    if not value.strip():
        raise wrong("the text is empty")
    if not value.isprintable():
        raise wrong("the text holds line breaks or control characters")
    return value


def _date(value: str) -> str:
    if not _DATE.fullmatch(value):
        raise wrong(f"{value!r} is not a date", "write it as 2026-01-31")
    return value


def _variable(value: str) -> str:
    if looks_like_key(value) or not _VARIABLE.fullmatch(value):
        raise wrong(
            "this is not the name of an environment variable", "write the name, such as OPENAI_API_KEY"
        )
    return value


def _url(value: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong("this is not a URL", "write http://host:port/v1") from None
    if parts.scheme not in ("http", "https") or not host:
        raise wrong(f"{value!r} is not an http(s) URL", "write http://host:port/v1")
    if parts.username or parts.password:
        raise wrong("a URL must not carry a user name or password", "name the key's variable in api_key_env")
    return value


def _callable(value: str) -> str:
    if not _TARGET.fullmatch(value):
        raise wrong(f"{value!r} does not name a callable", "write package.module:function")
    return value


def _stop(value: Any) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or not all(isinstance(item, str) and item for item in items):
        raise wrong("stop is a text or a list of texts")
    return items


Slug: TypeAlias = Annotated[str, AfterValidator(_slug)]
Line: TypeAlias = Annotated[str, AfterValidator(_printable)]
Date: TypeAlias = Annotated[str, AfterValidator(_date)]
Variable: TypeAlias = Annotated[str, AfterValidator(_variable)]
URL: TypeAlias = Annotated[str, AfterValidator(_url)]
Stop: TypeAlias = Annotated[
    list[str],
    BeforeValidator(_stop),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
_MARGIN_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": r"^\s*([0-9]+(\.[0-9]+)?|\.[0-9]+)\s*(pp|%)\s*$",
    "examples": ["2pp", "5%"],
}
MarginText: TypeAlias = Annotated[Any, BeforeValidator(parse_margin), WithJsonSchema(_MARGIN_SCHEMA)]
ShareText: TypeAlias = Annotated[
    Any, BeforeValidator(parse_share), WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+\s*%$"})
]
RuleItem: TypeAlias = Annotated[
    Any,
    BeforeValidator(parse_rule),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "advisory"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "max_drop": _MARGIN_SCHEMA,
                        "max_rise": _MARGIN_SCHEMA,
                        "advisory": {"type": "boolean"},
                    },
                },
            ]
        }
    ),
]
ScorerItem: TypeAlias = Annotated[
    Any,
    BeforeValidator(parse_scorer),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}
    ),
]


class Spec(BaseModel):
    """Base of every file model."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PromptFile(Spec):
    """What is sent: templates, or paths of files that hold them."""

    system: str | None = Field(
        default=None, description="System message: a Jinja template, or a .md/.txt/.j2 path"
    )
    user: str = Field(
        default="{{ input }}", description="User message: a Jinja template, or a .md/.txt/.j2 path"
    )


class DecodingFile(Spec):
    """How the model is sampled. Anything else an endpoint takes goes into extra_body."""

    temperature: float | None = Field(default=None, ge=0, le=5)
    max_tokens: int | None = Field(default=None, ge=1, description="Most tokens in one answer")
    seed: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="Repeats derive their own seeds from it"
    )
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    stop: Stop | None = Field(default=None, description="Text, or a list of texts, that ends an answer")
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)


class LimitsFile(Spec):
    """How hard the endpoint may be pushed, and what a run may cost."""

    concurrency: int = Field(default=16, ge=1, le=10_000, description="Calls in flight at once")
    requests_per_minute: int | None = Field(default=None, ge=1)
    timeout_s: float = Field(default=60.0, gt=0, description="Seconds for one call")
    max_retries: int = Field(default=5, ge=0, le=100, description="Further tries after the first")
    max_cost_usd: float | None = Field(default=None, gt=0, description="Stop the run here; needs `price`")
    max_tokens_total: int | None = Field(default=None, ge=1, description="Stop the run at this many tokens")


class PriceFile(Spec):
    """US dollars for a million tokens."""

    input_per_million: float = Field(ge=0)
    output_per_million: float = Field(ge=0)


class ProviderFields(Spec):
    """The keys that say which model answers and how it is reached; shared by candidates and judges."""

    provider: Line = Field(
        description="Who answers: openai, anthropic, vllm, ollama, transformers, python, replay"
    )
    model: Line | None = Field(
        default=None, description="The model's exact name, or a local folder for transformers"
    )
    api_key_env: Variable | None = Field(
        default=None, description="Name of the environment variable that holds the key"
    )
    base_url: URL | None = Field(
        default=None, description="An OpenAI-compatible server, such as http://127.0.0.1:8000/v1"
    )
    adapter: Line | None = Field(
        default=None, description="A LoRA adapter by name, or by path for transformers"
    )
    api: Literal["chat", "completions"] | None = Field(default=None, description="Which endpoint to use")
    extra_body: dict[str, Any] | None = Field(
        default=None, description="Further fields of the request, sent as they are"
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    organization: Line | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    device: Line | None = Field(default=None, description="cpu, cuda, cuda:1, mps")
    batch_size: int | None = Field(default=None, ge=1)
    revision: Line | None = Field(default=None, description="Commit or tag on the hub")
    decoding: DecodingFile = DecodingFile()
    limits: LimitsFile = LimitsFile()
    price: PriceFile | None = None


class CandidateFile(ProviderFields):
    """A model with everything that shapes its outputs."""

    name: Line = Field(description="How reports call it")
    suite: Line | None = Field(
        default=None, description="Path of the suite; --suite on the command line replaces it"
    )
    prompt: PromptFile = PromptFile()
    repeats: int | None = Field(default=None, ge=1, le=1000, description="Answers asked for each case")
    outputs: Line | None = Field(default=None, description="Recorded outputs (JSONL), for provider: replay")
    target: Annotated[str, AfterValidator(_callable)] | None = Field(
        default=None, description="package.module:function, for provider: python"
    )


class EvalFile(Spec):
    """One golden set and the scorers that read the answers to it."""

    id: Slug = Field(description="First half of the metric's id: <eval>/<scorer>")
    golden_set: Line | None = Field(default=None, description="Path of a golden set's folder")
    benchmark: dict[str, Any] | None = Field(default=None, description="Not available in this version")
    scorers: list[ScorerItem] = Field(
        default=[], description="`name`, `{name: value}` or `{name: {parameter: value}}`"
    )
    judge: Line | None = Field(default=None, description="Path of a judge's folder")


class GateFile(Spec):
    """What may not get worse."""

    max_drop: MarginText = Field(
        default="2pp", validate_default=True, description="2pp is absolute, 5% relative"
    )
    alpha: float = Field(default=0.05, ge=0.0001, lt=0.5, description="False alarms over the whole suite")
    on_inconclusive: Literal["block", "warn"] = "block"
    on_underpowered: Literal["block", "warn"] = "warn"
    primary: list[str] = Field(default=[], description="Metrics tested first; default: every gated metric")
    metrics: dict[str, RuleItem] = Field(default={}, description="Rules for single metrics, by id")
    max_failures: ShareText = Field(
        default="1%", validate_default=True, description="Failed cases allowed on one side"
    )


class SuiteFile(Spec):
    """What is run, and what may not get worse."""

    name: Slug
    description: str = ""
    evals: list[EvalFile] = Field(min_length=1)
    gate: GateFile = GateFile()


class CardFile(Spec):
    """What is known about a golden set."""

    name: Slug
    version: Line = Field(description='Text: write "1.0" in quotes. Changed cases need a new version')
    task: Line = Field(description="What is asked, in one line; templates see it as `task`")
    description: str = ""
    licence: str = ""
    provenance: str = Field(default="", description="Where the cases come from and how they were made")
    reviewed: dict[str, str] = Field(default={}, description="Who reviewed the cases and how")
    created: Date | None = None
    rotate_after: Date | None = Field(
        default=None, description="From this date on, the set should be renewed"
    )
    allow_small: str | None = Field(default=None, description="Why fewer than 100 cases are enough here")
    cases_digest: str | None = Field(
        default=None, description="The lock; written by `evalharness golden lock`"
    )
    locked_version: str | None = Field(
        default=None, description="The version it belongs to; written by the same command"
    )


class MessageLine(Spec):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class CaseLine(Spec):
    """One line of cases.jsonl. Read by hand for speed; this model gives the JSON Schema."""

    id: str = Field(min_length=1)
    input: str | None = Field(default=None, description="The question; or use messages")
    messages: list[MessageLine] | None = Field(default=None, min_length=1)
    target: Any = Field(default=None, description="The accepted answer, or a list of accepted answers")
    choices: list[str] | None = Field(default=None, min_length=1)
    contexts: list[str] | None = None
    relevant: dict[str, float] | None = Field(default=None, description="Document id → grade")
    cluster: str | None = Field(default=None, description="Cases of one cluster are not independent")
    tags: dict[str, str] | None = Field(default=None, description="Each key and value is a slice")
    critical: bool = Field(
        default=False, description="Passed before and fails now: a regression whatever the mean says"
    )
    human: dict[str, Any] | None = None


class JudgeFile(ProviderFields):
    """A model that judges answers."""

    name: Slug
    mode: Literal["pairwise", "pointwise"]
    criteria: list[Line] = Field(min_length=1, description="What is judged, one sentence each")
    rubric: str = Field(min_length=1, description="How to decide")
    prompt: Line = Field(default="./prompt.md", description="The prompt's template")
    calibration: Line = Field(default="./calibration.jsonl", description="Human labels")


class UsageLine(Spec):
    """Tokens of one call."""

    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)


class OutputLine(Spec):
    """One line of a file of recorded outputs. Read by the replay provider; this model gives the JSON Schema."""

    id: str = Field(min_length=1, description="The case's id")
    output: str | None = Field(default=None, description="The answer's text; null where the call failed")
    error: str | None = Field(default=None, description="Why there is no answer: the case counts as failed")
    repeat: int = Field(default=0, ge=0)
    golden_set: str | None = Field(default=None, description="Where two golden sets share the id")
    contexts: list[str] | None = Field(default=None, description="Passages the answer was written from")
    scores: dict[str, float] | None = Field(default=None, description="Values for the scorer recorded:<name>")
    usage: UsageLine | None = None
    latency_ms: float | None = Field(default=None, ge=0)
    model: str | None = Field(default=None, description="The model's name as the endpoint returned it")
    finish_reason: str | None = None
