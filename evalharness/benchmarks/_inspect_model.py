"""The candidate as a model of Inspect's: its calls go through the engine. Imports Inspect."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

from inspect_ai._util.registry import RegistryInfo, set_registry_info
from inspect_ai.hooks import Hooks, SampleEnd, hooks
from inspect_ai.hooks._startup import init_hooks
from inspect_ai.log import EvalSample
from inspect_ai.model import (
    ChatMessageSystem,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
)

from evalharness._canon import digest
from evalharness.core.attempts import Attempt, Failure
from evalharness.core.benchmarks import Work
from evalharness.core.candidates import Candidate
from evalharness.core.cases import Case, Message
from evalharness.core.protocols import Request
from evalharness.errors import EvalHarnessError, UsageError


@dataclass(slots=True)
class CandidateModel:
    """What Inspect is given.

    `stopped`: the engine's error that ended the run, if one did. `failed`: why a call for a sample and repeat gave no
    answer. Inspect is not told: for each sample in error it formats a traceback, which takes it longer than the call.
    `latency_ms`: what the calls for a sample and repeat took together. `repeats`: the repeat of each epoch.
    """

    model: Model
    stopped: EvalHarnessError | None = None
    failed: dict[tuple[str, int], Failure] = field(default_factory=dict)
    latency_ms: dict[tuple[str, int], float] = field(default_factory=dict)
    repeats: tuple[int, ...] = (0,)


def candidate_model(work: Work) -> CandidateModel:
    """The candidate as Inspect's model. `provider: inspect` is that model itself, tools and all.

    Raises:
        UsageError: the candidate's system prompt is a template, which needs a case of ours.
    """
    candidate = work.candidate
    system = candidate.prompt.system
    if system is not None and ("{{" in system or "{%" in system):
        raise UsageError(
            f"{candidate.path or candidate.name}: prompt.system is a template, and a benchmark's prompts are the "
            "tool's own; write it without {{ … }} to have it sent before them"
        )
    if candidate.provider == "inspect":
        config = config_of(candidate)
        if any(request.repeat for request in work.requests) and config.seed is not None:
            work.note(
                f"{candidate.name}: decoding.seed is not sent: with one seed every epoch would be the same"
            )
            config.seed = None
        native = native_model(candidate, config)
        return CandidateModel(_Uncached(native.api, config, native.model_args))
    api = _Api(work, system)
    set_registry_info(api, RegistryInfo(type="modelapi", name="evalharness"))
    made = CandidateModel(_Uncached(api, GenerateConfig(max_connections=candidate.limits.concurrency)))
    api.made = made
    return made


def native_model(candidate: Candidate, config: GenerateConfig) -> Model:
    """The model of Inspect's own that `provider: inspect` names.

    Raises:
        UsageError: Inspect knows no such model, or its library or key is missing.
    """
    try:
        return get_model(
            str(candidate.model), base_url=candidate.options.get("base_url"), config=config, memoize=False
        )
    except Exception as error:
        said = " ".join(str(error).split())[:400]
        raise UsageError(
            f"Inspect cannot make the model {candidate.model!r}: {said}; write it as Inspect does, provider/model"
        ) from error


def config_of(candidate: Candidate) -> GenerateConfig:
    """The candidate's decoding and limits in Inspect's words."""
    decoding = candidate.decoding
    stop = decoding.get("stop")
    return GenerateConfig(
        temperature=decoding.get("temperature"),
        max_tokens=decoding.get("max_tokens"),
        top_p=decoding.get("top_p"),
        top_k=decoding.get("top_k"),
        seed=decoding.get("seed"),
        stop_seqs=[stop] if isinstance(stop, str) else stop,
        presence_penalty=decoding.get("presence_penalty"),
        frequency_penalty=decoding.get("frequency_penalty"),
        max_connections=candidate.limits.concurrency,
        max_retries=candidate.limits.max_retries,
        extra_body=candidate.options.get("extra_body"),
    )


class _Uncached(Model):
    """A model whose answers Inspect does not keep, whatever a task says: `generate(cache=True)`.

    Inspect's cache knows a candidate by its name alone. It would give the answers of an earlier one of that name, the
    empty one that a failed call left, and the same ones where they are asked afresh. The engine keeps answers itself.
    """

    async def generate(self, *args: Any, **settings: Any) -> ModelOutput:
        """As the model's own, without its cache."""
        return await super().generate(*args[:4], **{**settings, "cache": False})


class _Api(ModelAPI):
    """Asks through `work.submit`. What the candidate says of decoding wins over what the task says."""

    def __init__(self, work: Work, system: str | None) -> None:
        super().__init__(model_name=work.candidate.name)
        self._work = work
        self._system = system
        self._seeds = {(r.case.id, r.repeat): r.seed for r in work.requests}
        self._asked: Counter[tuple[str, int, str]] = Counter()
        self.made: CandidateModel | None = None

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        """The candidate's answer; an empty one where there is none, which `failed` tells apart."""
        assert self.made is not None
        sample = _sample(self.made.repeats)
        try:
            attempt = await self._ask(sample, input, tools, config)
        except EvalHarnessError as error:
            self.made.stopped = self.made.stopped or error
            return ModelOutput.from_content(model=self.model_name, content="")
        outcome = attempt.outcome if isinstance(attempt, Attempt) else attempt
        if isinstance(outcome, Failure):
            self.made.failed[sample] = outcome
            return ModelOutput.from_content(model=self.model_name, content="")
        self.made.latency_ms[sample] = self.made.latency_ms.get(sample, 0.0) + (outcome.latency_ms or 0.0)
        output = ModelOutput.from_content(
            model=outcome.model or self.model_name,
            content=outcome.text,
            stop_reason="max_tokens" if outcome.finish_reason == "length" else "stop",
        )
        usage = outcome.usage
        if usage is not None and usage.input_tokens is not None and usage.output_tokens is not None:
            output.usage = ModelUsage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                total_tokens=usage.input_tokens + usage.output_tokens,
            )
        return output

    async def _ask(
        self, sample: tuple[str, int], input: Any, tools: Any, config: GenerateConfig
    ) -> Attempt | Failure:
        if self.made is not None and self.made.stopped is not None:
            raise self.made.stopped
        if tools or any(m.role not in ("system", "user", "assistant") for m in input):
            hint = "name the model as `provider: inspect` to run it with them"
            return Failure(kind="bad_request", message=f"this task gives the model tools; {hint}", tries=0)
        return await asyncio.wrap_future(self._work.submit(self._request(sample, input, config)))

    def should_retry(self, ex: Exception) -> bool:
        """Never: the engine has."""
        return False

    def max_connections(self) -> int:
        """As many as the candidate's own limit."""
        return self._work.candidate.limits.concurrency

    def _request(self, of: tuple[str, int], input: Any, config: GenerateConfig) -> Request:
        messages = [Message(m.role, m.text) for m in input]
        if self._system is not None and not any(isinstance(m, ChatMessageSystem) for m in input):
            messages.insert(0, Message("system", self._system))
        sample, repeat = of
        content = digest([[m.role, m.content] for m in messages])
        self._asked[sample, repeat, content] += 1
        # asked the same twice for one sample (a vote), a model may answer otherwise: each has its place in the cache
        nth = self._asked[sample, repeat, content]
        candidate = self._work.candidate
        own = {k: v for k, v in candidate.decoding.items() if k != "seed"}
        schema = config.response_schema
        return Request(
            golden_set=self._work.task.golden_set.name,
            case=Case(id=sample if nth == 1 else f"{sample} #{nth}", input=None, messages=tuple(messages)),
            repeat=repeat,
            messages=tuple(messages),
            model=candidate.model,
            decoding={**_decoding(config), **own},
            seed=self._seeds.get((sample, repeat)),
            schema=schema.json_schema.model_dump(exclude_none=True) if schema is not None else None,
        )


def _decoding(config: GenerateConfig) -> dict[str, Any]:
    told = {
        "temperature": config.temperature,
        "max_tokens": config.max_tokens,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "stop": config.stop_seqs,
        "presence_penalty": config.presence_penalty,
        "frequency_penalty": config.frequency_penalty,
    }
    return {name: value for name, value in told.items() if value is not None}


def _sample(repeats: Sequence[int]) -> tuple[str, int]:
    """The sample that is being asked now, and its repeat from 0."""
    from inspect_ai.log._samples import sample_active

    active = sample_active()
    return (str(active.sample.id), repeats[active.epoch - 1]) if active is not None else ("", 0)


class _Ended(Hooks):
    """Hands samples on as they end. One instance serves the process; it does nothing outside of `as_samples_end`."""

    hear: ClassVar[Callable[[EvalSample], None] | None] = None

    def enabled(self) -> bool:
        """Whether somebody listens."""
        return _Ended.hear is not None

    async def on_sample_end(self, data: SampleEnd) -> None:
        """Hand the sample on."""
        if _Ended.hear is not None:
            _Ended.hear(data.sample)


@cache
def _register() -> None:
    init_hooks()  # before: Inspect prints how many hooks it finds when it looks for them, once
    hooks(name="evalharness", description="keeps each sample as it ends")(_Ended)


@contextmanager
def as_samples_end(hear: Callable[[EvalSample], None]) -> Iterator[None]:
    """Have `hear` called with each sample as it ends, scores and all."""
    _register()
    _Ended.hear = hear
    try:
        yield
    finally:
        _Ended.hear = None
