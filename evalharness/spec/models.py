"""What each file may say: strict models, nothing unknown let through.

Models describe the file, not the run-time noun (`core`): loaders turn one into the other. Descriptions end up in
the JSON Schemas for editors and in error hints. Every model forbids unknown keys and converts nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from evalharness.spec.values import (
    URL,
    Date,
    Day,
    Line,
    MarginText,
    Pattern,
    Reason,
    RuleItem,
    ScorerItem,
    ShareText,
    Slug,
    Stop,
    Variable,
    callable_target,
)


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

    provider: Line | None = Field(
        default=None, description="Who answers: openai, anthropic, vllm, ollama, transformers, replay"
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
    window: int | None = Field(
        default=None,
        ge=2,
        description="Most tokens read at once where perplexity is asked; default: the context",
    )
    decoding: DecodingFile = DecodingFile()
    limits: LimitsFile = LimitsFile()
    price: PriceFile | None = None


class VectorsFile(Spec):
    """Vectors that were computed before: .npz with arrays `ids` and `vectors`, or JSON Lines of `id` and `vector`."""

    documents: Line = Field(description="Path of the documents' vectors, by the documents' ids")
    queries: Line = Field(description="Path of the queries' vectors, by the ids of the cases")


class CandidateFile(ProviderFields):
    """A model with everything that shapes its outputs."""

    name: Line = Field(description="How reports call it")
    provider: Line = Field(
        description="Who answers: openai, anthropic, vllm, ollama, transformers, embeddings, python, replay"
    )
    suite: Line | None = Field(
        default=None, description="Path of the suite; --suite on the command line replaces it"
    )
    prompt: PromptFile = PromptFile()
    repeats: int | None = Field(default=None, ge=1, le=1000, description="Answers asked for each case")
    answer_schema: Line | None = Field(
        default=None,
        description="Path of a JSON Schema that answers have to follow: constrained decoding where the server has it",
    )
    outputs: Line | None = Field(default=None, description="Recorded outputs (JSONL), for provider: replay")
    target: Annotated[str, AfterValidator(callable_target)] | None = Field(
        default=None, description="package.module:function, for provider: python"
    )
    documents: Line | None = Field(
        default=None, description="The documents to rank (JSONL or TSV), for provider: embeddings"
    )
    vectors: VectorsFile | None = Field(
        default=None, description="Vectors computed before, in place of a model"
    )
    query_prompt: str | None = Field(default=None, description="Put before each query")
    document_prompt: str | None = Field(default=None, description="Put before each document")
    dimensions: int | None = Field(
        default=None, ge=1, description="Keep so many first dimensions of each vector (Matryoshka)"
    )
    top_k: int | None = Field(
        default=None, ge=1, le=100_000, description="Documents ranked for each query; default 100"
    )
    similarity: Literal["cosine", "dot"] | None = Field(
        default=None, description="What documents are ordered by; default cosine"
    )
    reranker: Line | None = Field(
        default=None,
        description="A cross-encoder that orders the first documents again: a folder or a hub id",
    )
    rerank_top: int | None = Field(
        default=None, ge=1, le=10_000, description="So many first documents are reranked; default 50"
    )


class EvalFile(Spec):
    """One golden set, benchmark or task of result files, and the scorers that read the answers to it."""

    id: Slug = Field(description="First half of the metric's id: <eval>/<scorer>")
    golden_set: Line | None = Field(default=None, description="Path of a golden set's folder")
    benchmark: dict[str, Any] | None = Field(
        default=None,
        description="Instead of golden_set: `{lm_eval: TASK}` or `{inspect: TASK}`, with their settings",
    )
    results: Line | None = Field(
        default=None,
        description="Instead of golden_set: a task by its name in the result files that are compared",
    )
    scorers: list[ScorerItem] = Field(
        default=[], description="`name`, `{name: value}` or `{name: {parameter: value}}`"
    )
    judge: Line | None = Field(default=None, description="Path of a judge's folder")


class SliceFile(Spec):
    """A slice that gates: one metric on the cases of one slice."""

    metric: Line = Field(description="The metric's id: <eval>/<scorer>")
    slice: Line = Field(description="A tag and its value, such as language=de")
    max_drop: MarginText | None = Field(default=None, description="Default: the metric's margin")
    max_rise: MarginText | None = Field(
        default=None, description="Instead of max_drop, where lower is better"
    )


class WaiverFile(Spec):
    """A known trade-off: what one metric may lose instead of its own margin, why, and until when."""

    metric: Line = Field(description="The metric's id: <eval>/<scorer>")
    max_drop: MarginText | None = Field(default=None, description="Wider than the metric's own margin")
    max_rise: MarginText | None = Field(
        default=None, description="Instead of max_drop, where lower is better"
    )
    reason: Reason = Field(description="Why this is accepted; reports show it")
    expires: Day = Field(
        description="The last day it counts, such as 2027-01-31; then the margin is the old one"
    )


class GateFile(Spec):
    """What may not get worse."""

    max_drop: MarginText = Field(
        default="2pp", validate_default=True, description="2pp is absolute, 5% relative"
    )
    alpha: float = Field(
        default=0.05,
        ge=0.0001,
        lt=0.5,
        description="Chance of a false alarm over the whole suite, such as 0.05",
    )
    on_inconclusive: Literal["block", "warn"] = "block"
    on_underpowered: Literal["block", "warn"] = "warn"
    primary: list[str] = Field(default=[], description="Metrics tested first; default: every gated metric")
    metrics: dict[str, RuleItem] = Field(default={}, description="Rules for single metrics, by id")
    max_failures: ShareText = Field(
        default="1%", validate_default=True, description="Failed cases allowed on one side"
    )
    slices: list[SliceFile] = Field(
        default=[], description="Slices that gate, in one family with the primary metrics"
    )
    waivers: list[WaiverFile] = Field(default=[], description="Known trade-offs, one a metric at most")


class SamplingFile(Spec):
    """How much is asked before each decision, fixed before the first call. Cases are counted for each golden set."""

    initial: int = Field(ge=10, description="Cases at the first look")
    max: int | None = Field(default=None, ge=10, description="Most cases ever asked; default: all of them")
    looks: int = Field(
        default=5, ge=1, le=20, description="Looks from the first to the last; their levels are computed"
    )
    reserve: int = Field(default=0, ge=0, description="Cases held back for --extend, the last of `max`")
    max_repeats: int | None = Field(
        default=None, ge=2, description="Answers for each case that --extend may go up to"
    )


class BudgetFile(Spec):
    """What one command may spend, over all sides, judges and benchmarks; asked before each call."""

    usd: float | None = Field(
        default=None, gt=0, description="US dollars; every model asked then needs a price"
    )
    calls: int | None = Field(default=None, ge=1, description="Requests sent, retries among them")
    tokens: int | None = Field(default=None, ge=1, description="Tokens, in and out")

    @model_validator(mode="after")
    def _caps_something(self) -> Self:
        if self.usd is None and self.calls is None and self.tokens is None:
            raise ValueError("caps nothing: write usd, calls or tokens, or take it out")
        return self


class RedactFile(Spec):
    """What is taken out of reports, summaries and comments, beside keys and tokens, which always are."""

    emails: bool = False
    phones: bool = False
    cards: bool = Field(default=False, description="Card numbers, IBANs and US social security numbers")
    patterns: list[Pattern] = Field(default=[], description="Regular expressions (RE2), such as ORD-[0-9]{6}")
    stored: bool = Field(
        default=False,
        description="Also of answers as they arrive: nothing of it is stored, scored or judged (run folders, journal, "
        "cache, verdicts)",
    )


class SuiteFile(Spec):
    """What is run, and what may not get worse."""

    name: Slug
    description: str = ""
    evals: list[EvalFile] = Field(min_length=1)
    gate: GateFile = GateFile()
    sampling: SamplingFile | None = Field(
        default=None, description="Looks before all cases are asked; default: one look at all of them"
    )
    budget: BudgetFile | None = Field(
        default=None, description="What one command may spend; then it ends with exit 5 and keeps what it has"
    )
    redact: RedactFile = Field(
        default=RedactFile(), description="What is taken out of everything that is shown, before it is cut"
    )


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
    held_out: bool = Field(
        default=True,
        description="false: not kept from training; `judge export` may make preference pairs of these cases",
    )
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


class CriterionFile(Spec):
    """One thing an answer is judged by; text alone stands for `{text: …}`."""

    id: Slug | None = Field(default=None, description="Default: c1, c2, … by place")
    text: Line = Field(description="What is judged, in one sentence")
    weight: float = Field(default=1.0, gt=0, description="Share in the value, against the other weights")


CriterionItem: TypeAlias = Annotated[
    CriterionFile,
    BeforeValidator(lambda value: {"text": value} if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, CriterionFile.model_json_schema()]}),
]


class JudgeFile(ProviderFields):
    """A model that judges answers, a recording of one, or a panel of several."""

    name: Slug
    mode: Literal["pairwise", "pointwise", "claims"] = Field(
        description="Two answers side by side; one by criteria; one claim by claim against the case's contexts"
    )
    criteria: list[CriterionItem] = Field(default=[], description="What is judged, one sentence each")
    rubric: str | None = Field(default=None, min_length=1, description="How to decide: plain text")
    prompt: Line | None = Field(default=None, description="The prompt's template; default ./prompt.md")
    examples: Line | None = Field(default=None, description="Worked examples (JSONL) shown to the judge")
    orders: Literal["both", "random"] | None = Field(
        default=None, description="Pairwise: each pair twice (default), or once in a balanced random order"
    )
    max_chars: int | None = Field(
        default=None, ge=200, description="Longer answers are cut and the judge is told; default 20,000"
    )
    flagged: Literal["refuse", "judge"] | None = Field(
        default=None,
        description="Candidate answers that try to steer a judge where the baseline's do not: left unjudged, which "
        "counts against the candidate (default), or judged",
    )
    verdicts: Line | None = Field(default=None, description="Recorded verdicts (JSONL), for provider: replay")
    panel: list[Line] | None = Field(
        default=None, min_length=2, description="Folders of the judges that vote, instead of a provider"
    )
    combine: Literal["majority", "mean"] | None = Field(
        default=None, description="How a panel's votes become one; default majority"
    )
    calibration: Line | None = Field(
        default=None, description="Human labels (JSONL); default ./calibration.jsonl where it is there"
    )


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
    unscored: dict[str, str] | None = Field(
        default=None, description="Why such a value is missing, by its name"
    )
    ranking: list[str] | None = Field(
        default=None, description="Document ids, best first, of a candidate that retrieves"
    )
    usage: UsageLine | None = None
    latency_ms: float | None = Field(default=None, ge=0)
    model: str | None = Field(default=None, description="The model's name as the endpoint returned it")
    finish_reason: str | None = None
