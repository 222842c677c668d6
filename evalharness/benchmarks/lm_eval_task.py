"""`benchmark: {lm_eval: TASK}`: tasks of the Language Model Evaluation Harness, case by case."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, ClassVar, Final

from evalharness.benchmarks import _lm_eval_local as local
from evalharness.benchmarks import _lm_eval_server as server
from evalharness.benchmarks._lm_eval_calm import calm, library
from evalharness.benchmarks._lm_eval_cases import Loaded, fresh, loaded
from evalharness.benchmarks._lm_eval_chat import (
    refuse_doubled,
    system_text,
    template_marks,
    to_json,
)
from evalharness.benchmarks._lm_eval_decoding import merged
from evalharness.benchmarks._lm_eval_score import Scoring
from evalharness.benchmarks._lm_eval_tasks import Wanted, find
from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.core.benchmarks import Task, Work
from evalharness.core.protocols import Request
from evalharness.errors import UsageError
from evalharness.plugins import default_registry

SEED: Final = 1234
"""lm-eval's own for few-shot examples."""
_HELD: Final = 16
_AT_ONCE: Final = 256
_LOG: Final = "lm_eval.log"
_LOADED: dict[str, Loaded] = {}
"""Tasks between being loaded and being run: loading takes long, and both sides are asked the same."""
_MODELS: Final = local.LocalModels()


class LmEvalTask:
    """A task, or a group of tasks, of lm-eval.

    A candidate of provider `transformers` is asked by lm-eval's own class for local models; every other candidate
    through the engine. Log-likelihoods are the same whenever they are asked, so repeats of them are copies.

    Args:
        task: a task, group or tag by name, or a task's YAML file.
        limit: cases of each task: how many (from 1), or their share (below 1). Default: all.
        num_fewshot: examples in the prompt. Default: the task's own.
        include_path: a folder of task files beside lm-eval's own.
        only_local: do not look among lm-eval's own tasks.
        trust_code: task files of the user's may run code (`!function`), load metrics as code and read other files.
        apply_chat_template: prompts as chats. Default: answers are asked as a chat where the candidate has a chat
            template or a chat API; log-likelihoods are asked of plain text.
        fewshot_as_multiturn: in a chat, examples are turns of their own. Default: yes.
        gen_kwargs: generation settings that hold before the task's and the candidate's.
        seed: draws few-shot examples.
    """

    name: ClassVar[str] = "lm_eval"
    version: ClassVar[str] = "1"
    paths: ClassVar[tuple[str, ...]] = ("include_path",)

    def __init__(
        self,
        task: str,
        limit: int | float | None = None,
        num_fewshot: int | None = None,
        include_path: str | None = None,
        only_local: bool = False,
        trust_code: bool = False,
        apply_chat_template: bool | None = None,
        fewshot_as_multiturn: bool | None = None,
        gen_kwargs: Mapping[str, Any] | None = None,
        seed: int = SEED,
    ) -> None:
        # Parameters come from YAML, so their types are not to be trusted.
        flags: dict[str, object] = {
            "only_local": only_local,
            "trust_code": trust_code,
            "apply_chat_template": bool(apply_chat_template)
            if apply_chat_template is None
            else apply_chat_template,
            "fewshot_as_multiturn": fewshot_as_multiturn is None or fewshot_as_multiturn,
        }
        for key, flag in flags.items():
            if not isinstance(flag, bool):
                raise TypeError(f"{key} must be true or false, not {flag!r}")
        _check_number("limit", limit, least=0)
        if limit == 0 or (isinstance(limit, float) and not 0 < limit < 1):
            raise ValueError(f"limit must be a count from 1 or a share between 0 and 1, not {limit!r}")
        _check_number("num_fewshot", num_fewshot, least=0, whole=True)
        _check_number("seed", seed, least=0, whole=True)
        if include_path is not None and not isinstance(include_path, str):
            raise TypeError("include_path must be a path")
        if only_local and include_path is None and not task.endswith((".yaml", ".yml")):
            raise ValueError("only_local needs include_path, the folder of the task's file")
        self._chat = apply_chat_template
        self._multiturn = fewshot_as_multiturn is not False
        self._gen_kwargs = _settings(gen_kwargs)
        self._wanted = Wanted(
            task=task,
            limit=limit,
            num_fewshot=num_fewshot,
            include_path=include_path,
            only_local=only_local,
            trust_code=trust_code,
            gen_kwargs=self._gen_kwargs,
            seed=seed,
        )

    def load(self, name: str) -> Task:
        """The task's cases and metrics; its golden set is called `name`.

        Raises:
            UsageError: there is no such task, it has no cases, or its data cannot be had.
            SpecError: a task file would run code and may not.
            MissingExtraError: lm-eval, or a library the task needs, is not installed.
        """
        library()
        with calm():
            found = loaded(self._wanted, find(self._wanted), name)
        while len(_LOADED) >= _HELD:
            del _LOADED[next(iter(_LOADED))]
        _LOADED[self._wanted.key] = found
        return found.task

    def run(self, work: Work) -> Mapping[str, Any]:
        """Answer and score `work.requests`.

        Raises:
            UsageError: the candidate does not suit the task. ProviderError, BudgetError: of the engine.
        """
        library()
        found = self._loaded(work)
        log = work.folder / _LOG
        asking = _Asking(
            work=work,
            found=found,
            chat=self._chat,
            multiturn=self._multiturn,
            gen_kwargs=self._gen_kwargs,
        )
        with calm(log) as counted:
            try:
                if work.candidate.provider == "transformers":
                    asking.local(_MODELS.get(work.candidate))
                else:
                    asking.engine()
            finally:
                facts = self._facts(found, asking)
                files = asking.scoring.write(work.folder, facts)
        if log.stat().st_size:
            files.append(log)
        else:
            log.unlink()
        if counted.count:
            work.note(f"lm-eval warned {counted.count} times: see {log.name} in the run folder")
        base = work.folder.parents[1]
        return {**facts, "logs": [path.relative_to(base).as_posix() for path in files]}

    def _loaded(self, work: Work) -> Loaded:
        """The task that `load` gave, made again where it is no longer held.

        Raises:
            UsageError: it has changed since.
        """
        digest, name = work.task.golden_set.digest, work.task.golden_set.name
        held = _LOADED.get(self._wanted.key)
        if held is None or held.task.golden_set.digest != digest:
            self.load(name)
            held = _LOADED[self._wanted.key]
        if held.task.golden_set.digest != digest:
            raise UsageError(
                f"lm-eval task {self._wanted.shown!r} has changed since its cases were read; run again"
            )
        return held

    def _facts(self, found: Loaded, asking: _Asking) -> dict[str, Any]:
        tasks = found.found.tasks
        return {
            "lm_eval": metadata.version("lm_eval"),
            "datasets": metadata.version("datasets"),
            "tasks": {name: str(getattr(task, "VERSION", None)) for name, task in tasks.items()},
            "num_fewshot": {name: task.get_config("num_fewshot") for name, task in tasks.items()},
            "limit": self._wanted.limit,
            "seed": self._wanted.seed,
            "gen_kwargs": self._gen_kwargs,
            "model": asking.work.candidate.model,
            "asked_by": "lm-eval's HFLM"
            if asking.work.candidate.provider == "transformers"
            else "the engine",
            "apply_chat_template": asking.templated,
            "fewshot_as_multiturn": self._multiturn,
            "system_instruction": asking.work.candidate.prompt.system,
        }


@dataclass(slots=True)
class _Asking:
    """One run of a task against one candidate. `templated` says of each task whether its prompts went as chats."""

    work: Work
    found: Loaded
    chat: bool | None
    multiturn: bool
    gen_kwargs: Mapping[str, Any]
    templated: dict[str, bool] = field(default_factory=dict)
    scoring: Scoring = field(init=False)

    def __post_init__(self) -> None:
        self.scoring = Scoring(loaded=self.found)

    # --- a model in this process -----------------------------------------------------------------------------------

    def local(self, model: Any) -> None:
        """Ask lm-eval's own class, some cases at a time, so that what is answered is kept."""
        system = system_text(self.work.candidate)
        has_template = bool(getattr(model.tokenizer, "chat_template", None))
        if self.chat and not has_template:
            raise UsageError(
                f"apply_chat_template: the tokenizer of {self.work.candidate.name} has no chat template"
            )
        self._decide(lambda kind: has_template and kind == "generate_until")
        self._refuse_doubled(
            "apply_chat_template puts the tokenizer's own around them",
            "take it out of the task, or write apply_chat_template: false",
            template_marks(model.tokenizer) if has_template else (),
        )
        rows_by_case = self._built(model.apply_chat_template, system)
        for repeat, requests in self._by_repeat().items():
            for part in _parts(requests, rows_by_case):
                self._answer_part(model, part, rows_by_case, repeat)

    def _by_repeat(self) -> dict[int, list[Request]]:
        """Requests by the repeat they are answered in: the first one asked answers all that cannot differ."""
        grouped: dict[int, list[Request]] = {}
        seen: set[str] = set()
        for request in self.work.requests:
            if request.case.id not in seen or self._draws(request.case.id):
                grouped.setdefault(request.repeat, []).append(request)
                seen.add(request.case.id)
        return grouped

    def _answer_part(
        self, model: Any, part: Sequence[Request], rows_by_case: Mapping[str, Sequence[Any]], repeat: int
    ) -> None:
        asked = {request.case.id: self._prepared(rows_by_case[request.case.id]) for request in part}
        kinds: dict[str, list[Any]] = {}
        for rows in asked.values():
            for row in rows:
                kinds.setdefault(row.request_type, []).append(row)
        for rows in kinds.values():
            local.answer(model, rows, part[0].seed)
        for request in part:
            rows = asked[request.case.id]
            self._keep(request, rows, Response(text="", model=self.work.candidate.model))

    # --- everyone else ---------------------------------------------------------------------------------------------

    def engine(self) -> None:
        """Ask through the engine; cases are scored in order as their answers come."""
        candidate = self.work.candidate
        system = system_text(candidate)
        plain = candidate.options.get("api") == "completions"
        self._check_server(plain)
        self._decide(lambda kind: not plain and kind == "generate_until")
        if not plain:
            self._refuse_doubled(
                "the candidate's chat API puts the model's own around them",
                "take it out of the task, or ask a server's completions API (`api: completions`)",
                generated_only=True,
            )
        rows_by_case = self._built(to_json, system)
        waiting: deque[tuple[Request, list[Any], list[Any]]] = deque()
        seen: set[str] = set()
        try:
            for request in self.work.requests:
                case_id = request.case.id
                if case_id in seen and not self._generates(case_id):
                    continue  # a copy
                seen.add(case_id)
                rows = self._prepared(rows_by_case[case_id])
                asked = server.calls(
                    request,
                    rows,
                    provider=candidate.provider,
                    system=None if self._holds_system(case_id, plain) else system,
                    chat=self._is_chat(case_id),
                )
                waiting.append((request, rows, [self.work.submit(call) for call in asked]))
                while len(waiting) > _AT_ONCE + candidate.limits.concurrency:
                    self._receive(*waiting.popleft())
            while waiting:
                self._receive(*waiting.popleft())
        finally:
            for _, _, futures in waiting:
                for future in futures:
                    future.cancel()

    def _receive(self, request: Request, rows: Sequence[Any], futures: Sequence[Any]) -> None:
        try:
            attempts: list[Attempt] = [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
        failure = server.filled(rows, attempts)
        if failure is not None:
            for one in self._copies(request):
                self.work.keep(_attempt(one, failure))
            return
        cached = all(attempt.cached for attempt in attempts)
        self._keep(request, rows, server.together(attempts), cached=cached)

    def _check_server(self, plain: bool) -> None:
        candidate = self.work.candidate
        kinds = {self._kind(name) for name in self.found.found.tasks}
        if kinds == {"generate_until"}:
            if self.chat and plain:
                raise UsageError(
                    f"apply_chat_template: {candidate.name} is asked by `api: completions`, which applies none; "
                    "write `api: chat`"
                )
            return
        try:
            provider: Any = default_registry().load("providers", candidate.provider)
        except UsageError:
            provider = None  # of the caller's own registry: it will say itself what it cannot do
        if provider is not None and not getattr(provider, "log_likelihoods", False):
            raise UsageError(
                f"lm-eval task {self.found.wanted.shown!r} needs log-likelihoods, and provider "
                f"{candidate.provider!r} gives none; ask a server whose /completions endpoint echoes log-probabilities "
                "(vLLM does), use provider: transformers, or choose a task whose answers are generated"
            )
        if self.chat:
            raise UsageError(
                f"apply_chat_template: lm-eval task {self.found.wanted.shown!r} asks how likely given texts are, which "
                "a server reads as they are, without its chat template; leave it out, or use provider: transformers"
            )

    # --- both ------------------------------------------------------------------------------------------------------

    def _kind(self, task: str) -> str:
        return str(self.found.found.tasks[task].OUTPUT_TYPE)

    def _generates(self, case_id: str) -> bool:
        return any(row.request_type == "generate_until" for row in self.found.instances[case_id])

    def _is_chat(self, case_id: str) -> bool:
        return self.templated[self.found.sources[case_id][0]]

    def _holds_system(self, case_id: str, plain: bool) -> bool:
        """Whether the prompts hold the candidate's system prompt: as a turn, or as text where no role can be given."""
        return self._is_chat(case_id) or plain or not self._generates(case_id)

    def _draws(self, case_id: str) -> bool:
        return any(
            row.request_type == "generate_until" and local.sampled(self._decoding(row.args[1]))
            for row in self.found.instances[case_id]
        )

    def _decide(self, default: Callable[[str], bool]) -> None:
        for name in self.found.found.tasks:
            self.templated[name] = default(self._kind(name)) if self.chat is None else self.chat

    def _refuse_doubled(
        self, around: str, fix: str, more: Sequence[str] = (), *, generated_only: bool = False
    ) -> None:
        """`generated_only`: a template is put around every prompt that is answered with text, whatever was decided."""
        for request in self.work.requests:
            name = self.found.sources[request.case.id][0]
            applied = self._generates(request.case.id) if generated_only else self.templated[name]
            if applied and request.repeat == self.work.requests[0].repeat:
                prompts = [str(row.args[0]) for row in self.found.instances[request.case.id]]
                refuse_doubled(prompts, task=name, around=around, fix=fix, more=more)

    def _built(self, template: Callable[..., str], system: str | None) -> Mapping[str, list[Any]]:
        """Requests worded for this candidate, by case id."""
        result: dict[str, list[Any]] = {}
        for applied in sorted(set(self.templated.values())):
            plain_api = self.work.candidate.options.get("api") == "completions"
            direct = self.work.candidate.provider == "transformers" or plain_api
            built = (
                self.found.instances
                if not applied and system is None
                else self.found.build(
                    system_instruction=system if applied or direct else None,
                    apply_chat_template=applied,
                    fewshot_as_multiturn=applied and self.multiturn,
                    chat_template=template if applied else None,
                )
            )
            result |= {
                case_id: rows
                for case_id, rows in built.items()
                if self.templated[self.found.sources[case_id][0]] is applied
            }
        return result

    def _decoding(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return merged(kwargs, self.work.candidate.decoding, self.gen_kwargs)

    def _prepared(self, rows: Sequence[Any]) -> list[Any]:
        """Requests of a case without answers, with the settings that hold for this candidate."""
        made = fresh(rows)
        for row in made:
            if row.request_type == "generate_until":
                row.arguments = (row.args[0], self._decoding(row.args[1]), *row.args[2:])
        return made

    def _copies(self, request: Request) -> Iterator[Request]:
        """The request, and for what cannot differ its other repeats."""
        yield request
        candidate_is_local = self.work.candidate.provider == "transformers"
        case_id = request.case.id
        if self._draws(case_id) if candidate_is_local else self._generates(case_id):
            return
        for other in self.work.requests:
            if other.case.id == case_id and other.repeat != request.repeat:
                yield other

    def _keep(
        self, request: Request, rows: Sequence[Any], response: Response, *, cached: bool = False
    ) -> None:
        said = self.scoring.case(request.case.id, rows)
        response = replace(response, text=said.text, scores=said.scores, unscored=said.unscored)
        for one in self._copies(request):
            again = one is not request
            if again:  # it cost nothing
                response = replace(response, usage=Usage(0, 0), latency_ms=None)
            self.work.keep(_attempt(one, response, cached=cached or again))


def _attempt(request: Request, outcome: Response | Failure, *, cached: bool = False) -> Attempt:
    return Attempt(
        golden_set=request.golden_set,
        case_id=request.case.id,
        repeat=request.repeat,
        outcome=outcome,
        cached=cached,
    )


def _parts(requests: Sequence[Request], rows_by_case: Mapping[str, Sequence[Any]]) -> Iterator[list[Request]]:
    """Some cases at a time: enough to fill batches with texts of one length, few enough to lose little."""
    part: list[Request] = []
    size = 0
    for request in requests:
        part.append(request)
        size += len(rows_by_case[request.case.id])
        if size >= _AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _check_number(name: str, value: object, *, least: int, whole: bool = False) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise TypeError(f"{name} must be a {'whole number' if whole else 'number'}, not {value!r}")
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")


def _settings(gen_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    if gen_kwargs is None:
        return {}
    if not isinstance(gen_kwargs, Mapping) or not all(isinstance(key, str) for key in gen_kwargs):
        raise TypeError("gen_kwargs must be settings by name, for example {max_gen_toks: 512}")
    for key, value in gen_kwargs.items():
        texts = value if isinstance(value, list) else [value]
        if not all(item is None or isinstance(item, str | int | float) for item in texts):
            raise TypeError(f"gen_kwargs: {key} must be a number or a text, not {value!r}")
    temperature = gen_kwargs.get("temperature")
    if isinstance(temperature, str | bool) or (temperature is not None and temperature < 0):
        raise ValueError(f"gen_kwargs: temperature must be a number from 0, not {temperature!r}")
    return dict(gen_kwargs)
