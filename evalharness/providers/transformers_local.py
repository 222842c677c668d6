"""Provider `transformers`: a model in this process, requests gathered into batches."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from evalharness._lazy import refuse_missing
from evalharness.core.attempts import Response, Usage
from evalharness.core.candidates import Candidate
from evalharness.core.cases import Message
from evalharness.core.protocols import Request
from evalharness.errors import CallError, UsageError

if TYPE_CHECKING:
    from evalharness.providers._local_model import LocalModel, Sampling

DEFAULT_BATCH: Final = 8
_GATHER_S: Final = 0.005
_JOIN_S: Final = 30.0
_TAKEN: Final = frozenset(("temperature", "top_p", "top_k", "max_tokens", "stop", "seed"))
_Outcome: TypeAlias = "Response | BaseException"


@dataclass(eq=False, slots=True)
class _Job:
    messages: Sequence[Message]
    sampling: Sampling
    timeout_s: float
    done: asyncio.Future[Response]
    loop: asyncio.AbstractEventLoop
    continuation: str | None = None


class Transformers:
    """Generates with `transformers`, greedily unless the candidate sets a temperature above 0.

    The tokenizer's chat template is applied; without one the messages are joined by blank lines, and the log says so.
    An adapter that brings its own tokenizer is used with it. `max_tokens` is 512 where the candidate says nothing, or
    half the model's context where that is less. Requests that arrive together share a batch, except sampled ones with
    a seed: a seed belongs to one request.
    The deadline of a call counts from the moment its batch starts.

    Options:
        model_path: the folder, where the model is a local one; else `model` is a hub id.
        adapter: a PEFT adapter: a folder or a hub id.
        dtype: "auto" (default: as stored), "float32", "float16", "bfloat16".
        device: default: cuda, else mps, else cpu.
        batch_size: most requests in a batch, default 8. Batches of 1 make the last bits independent of what else
            is asked, which matters for 16-bit types.
        revision: the hub's branch, tag or commit.
        window: most tokens read at once where log-likelihoods are asked, default the model's context.
    """

    name: ClassVar[str] = "transformers"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = False
    cacheable: ClassVar[bool] = True
    log_likelihoods: ClassVar[bool] = True
    # a call may wait for the batch before it: `timeout_s` counts from when its own batch starts
    queues: ClassVar[bool] = True

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._batch_size = int(candidate.options.get("batch_size") or DEFAULT_BATCH)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: deque[_Job] = deque()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._model: LocalModel | None = None

    @staticmethod
    def weights(candidate: Candidate) -> tuple[Any, Any]:
        """Tokenizer and model of a candidate as this provider loads them, for a tool that asks a model itself.

        Raises:
            UsageError, MissingExtraError: as `open` does.
        """
        from evalharness.providers._local_model import load

        loaded = load(str(candidate.model), candidate.options)
        return loaded.tokenizer, loaded.model

    def ready(self) -> None:
        """Refuse what cannot be loaded, before anything is.

        Raises:
            UsageError, MissingExtraError: as `open` does.
        """
        options = self._candidate.options
        libraries = ("transformers", "torch", *(("peft",) if options.get("adapter") else ()))
        refuse_missing(*libraries, extra="local", why="run provider: transformers")
        from evalharness.providers._local_model import refuse_absent

        refuse_absent(self._checked_model(), options)

    async def open(self) -> None:
        """Load the model and start the thread that generates.

        Raises:
            UsageError: no such model, or decoding settings that are not supported here.
            MissingExtraError: transformers, torch or peft is not installed.
        """
        name = self._checked_model()
        from evalharness.providers._local_model import load

        self._model = load(name, self._candidate.options)
        self._closing.clear()
        # A daemon: a generation that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="evalharness-generate", daemon=True)
        self._thread.start()

    def _checked_model(self) -> str:
        """The model's name, of a candidate whose settings are supported here."""
        if not self._candidate.model:
            raise UsageError("provider 'transformers' needs a model")
        unknown = sorted(k for k, v in self._candidate.decoding.items() if k not in _TAKEN and v is not None)
        if unknown:
            raise UsageError(f"provider 'transformers' does not support {', '.join(unknown)} in `decoding`")
        return self._candidate.model

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """Generate one answer.

        Raises:
            CallError: the prompt is refused or too long, the deadline passed, or generating failed.
        """
        from evalharness.providers._local_model import Sampling

        assert self._model is not None, "open() comes first"
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Response] = loop.create_future()
        sampling = Sampling.of(request.decoding, request.seed, max_tokens=self._model.default_max_tokens)
        continuation = request.continuation or "" if request.want == "log_likelihood" else None
        self._jobs.put(_Job(request.messages, sampling, timeout_s, done, loop, continuation))
        return await done

    async def close(self) -> None:
        """Stop generating and free the model."""
        self._closing.set()
        self._jobs.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _JOIN_S)
            self._thread = None
        self._model = None

    # --- the generating thread -------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._closing.is_set():
            jobs = self._next_batch()
            if jobs:
                for job, outcome in zip(jobs, self._answer(jobs), strict=True):
                    _settle(job, outcome)

    def _next_batch(self) -> list[_Job]:
        """The oldest request and those that may share its batch, waiting a moment for others to arrive."""
        if not self._waiting:
            self._receive(timeout_s=None)
        while len(self._waiting) < self._batch_size and self._receive(timeout_s=_GATHER_S):
            pass
        jobs: list[_Job] = []
        rest: deque[_Job] = deque()
        for job in self._waiting:
            if job.done.cancelled():
                continue
            alike = job.sampling == jobs[0].sampling and job.continuation is None if jobs else True
            fits = not jobs or (job.sampling.shareable and alike and jobs[0].continuation is None)
            (jobs if fits and len(jobs) < self._batch_size else rest).append(job)
        self._waiting = rest
        return jobs

    def _receive(self, timeout_s: float | None) -> bool:
        try:
            job = self._jobs.get(timeout=timeout_s)
        except queue.Empty:
            return False
        if job is None:
            return False
        self._waiting.append(job)
        return True

    def _answer(self, jobs: list[_Job]) -> list[_Outcome]:
        model = self._model
        assert model is not None
        if jobs[0].continuation is not None:
            return [self._likely(model, jobs[0].messages, jobs[0].continuation)]
        outcomes: list[_Outcome | None] = []
        prompts: list[list[int]] = []
        for job in jobs:
            try:
                prompts.append(model.encode(job.messages, job.sampling))
                outcomes.append(None)
            except Exception as error:  # noqa: BLE001  one bad prompt must not end the thread that serves all
                outcomes.append(_as_call_error(error))
        if not prompts:
            return [o for o in outcomes if o is not None]
        made: list[Any]
        try:
            made = model.generate(
                prompts,
                jobs[0].sampling,
                timeout_s=min(job.timeout_s for job in jobs),
                stopped=self._closing.is_set,
            )
        except Exception as error:  # noqa: BLE001  as above
            made = [_as_call_error(error) for _ in prompts]
        answers = iter(made)
        return [next(answers) if outcome is None else outcome for outcome in outcomes]

    def _likely(self, model: LocalModel, messages: Sequence[Message], continuation: str) -> _Outcome:
        context = "\n\n".join(m.content for m in messages)
        began = time.perf_counter()
        try:
            scores = model.log_likelihood(context, continuation, self._candidate.options.get("window"))
        except Exception as error:  # noqa: BLE001  one bad text must not end the thread that serves all
            return _as_call_error(error)
        return Response(
            text="",
            model=model.name,
            usage=Usage(int(scores["tokens"]), 0),
            latency_ms=(time.perf_counter() - began) * 1000,
            scores=scores,
        )


def _as_call_error(error: Exception) -> CallError:
    if isinstance(error, CallError):
        return error
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if "out of memory" in str(error).lower():
        return CallError("server", f"{said}; set a smaller batch_size or max_tokens", fatal=True)
    return CallError("server", f"generating failed: {said}")


def _settle(job: _Job, outcome: _Outcome) -> None:
    def set_result() -> None:
        if job.done.cancelled():
            return
        if isinstance(outcome, BaseException):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)

    try:
        job.loop.call_soon_threadsafe(set_result)
    except RuntimeError:
        return  # the loop is closed: nobody waits for this any more
