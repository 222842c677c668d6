"""One run of a task against one candidate: by lm-eval's own class for local models, or through the engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from evalharness.benchmarks import _lm_eval_local as local
from evalharness.benchmarks import _lm_eval_server as server
from evalharness.benchmarks._lm_eval_cases import Loaded, fresh
from evalharness.benchmarks._lm_eval_chat import refuse_doubled, system_text, template_marks, to_json
from evalharness.benchmarks._lm_eval_decoding import merged
from evalharness.benchmarks._lm_eval_score import Scoring
from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.core.benchmarks import Work
from evalharness.core.protocols import Request
from evalharness.errors import UsageError
from evalharness.plugins import default_registry

_AT_ONCE: Final = 256


@dataclass(slots=True)
class Asking:
    """One run of a task against one candidate. `templated` says of each task whether its prompts went as chats."""

    work: Work
    found: Loaded
    chat: bool | None
    multiturn: bool
    gen_kwargs: Mapping[str, Any]
    templated: dict[str, bool] = field(default_factory=dict)
    scoring: Scoring = field(init=False)
    by_case: dict[str, list[Request]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for request in self.work.requests:
            self.by_case.setdefault(request.case.id, []).append(request)
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
        rolling = {self._kind(name) for name in self.found.found.tasks} == {"loglikelihood_rolling"}
        model._max_length = self.work.candidate.options.get("window") if rolling else None
        for requests in self._by_repeat():
            for part in _parts(requests, rows_by_case):
                self._answer_part(model, part, rows_by_case)

    def _by_repeat(self) -> list[list[Request]]:
        """Requests by the repeat they are answered in: the first one asked answers all that cannot differ."""
        grouped: dict[int, list[Request]] = {}
        for requests in self.by_case.values():
            for request in requests if self._draws(requests[0].case.id) else requests[:1]:
                grouped.setdefault(request.repeat, []).append(request)
        return list(grouped.values())

    def _answer_part(
        self, model: Any, part: Sequence[Request], rows_by_case: Mapping[str, Sequence[Any]]
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
            reach = local.reach(model, rows)
            self._keep(request, rows, Response(text="", model=self.work.candidate.model, scores=reach))

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
        try:
            for request in self.work.requests:
                case_id = request.case.id
                if request is not self.by_case[case_id][0] and not self._generates(case_id):
                    continue  # a copy
                rows = self._prepared(rows_by_case[case_id])
                asked = server.calls(
                    request,
                    rows,
                    provider=candidate.provider,
                    system=None if self._holds_system(self._task(case_id)) else system,
                    chat=self.templated[self._task(case_id)],
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
        if "loglikelihood_rolling" in kinds:
            self.work.note(
                f"{candidate.name}: a server gives no value for the first token of a text, which a local model reads "
                "after its token of beginning: compare perplexities of two servers, or of two local models"
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

    def _task(self, case_id: str) -> str:
        return self.found.sources[case_id][0]

    def _holds_system(self, task: str) -> bool:
        """Whether prompts hold the system prompt: as a turn, or as text where no role can be given."""
        candidate = self.work.candidate
        texts_only = candidate.provider == "transformers" or candidate.options.get("api") == "completions"
        return self.templated[task] or texts_only or self._kind(task) != "generate_until"

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
            name = self._task(request.case.id)
            applied = self._generates(request.case.id) if generated_only else self.templated[name]
            if applied and request is self.by_case[request.case.id][0]:
                prompts = [str(row.args[0]) for row in self.found.instances[request.case.id]]
                refuse_doubled(prompts, task=name, around=around, fix=fix, more=more)

    def _built(self, template: Callable[..., str], system: str | None) -> Mapping[str, list[Any]]:
        """Requests worded for this candidate, by case id."""
        result: dict[str, list[Any]] = {}
        ways = {name: (self.templated[name], self._holds_system(name)) for name in self.found.found.tasks}
        for way in sorted(set(ways.values())):
            applied, held = way
            built = self.found.instances
            if applied or (held and system is not None):
                built = self.found.build(
                    system_instruction=system if held else None,
                    apply_chat_template=applied,
                    fewshot_as_multiturn=applied and self.multiturn,
                    chat_template=template if applied else None,
                )
            result |= {case_id: rows for case_id, rows in built.items() if ways[self._task(case_id)] == way}
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
        case_id = request.case.id
        local_model = self.work.candidate.provider == "transformers"
        if not (self._draws(case_id) if local_model else self._generates(case_id)):
            yield from (other for other in self.by_case[case_id] if other is not request)

    def _keep(
        self, request: Request, rows: Sequence[Any], response: Response, *, cached: bool = False
    ) -> None:
        said = self.scoring.case(request.case.id, rows)
        scores = {**response.scores, **said.scores}
        response = replace(response, text=said.text, scores=scores, unscored=said.unscored)
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
