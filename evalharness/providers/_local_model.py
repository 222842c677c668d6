"""A causal language model in this process: loading it and generating one batch. Imports torch and transformers."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalharness._lazy import quiet, require
from evalharness.core.attempts import Response, Usage
from evalharness.core.cases import Message
from evalharness.errors import CallError, UsageError

DEFAULT_MAX_TOKENS: Final = 512
_WHY: Final = "run provider: transformers"
_ADAPTER_FILES: Final = ("adapter_config.json", "adapter_model.safetensors")
# What a checkpoint may say about sampling. A candidate says it in its file or it does not apply.
_SAMPLING: Final = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_log = logging.getLogger("evalharness.providers.transformers")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. `temperature` 0 is greedy; `top_k` 0 is no limit. `seed` is None where greedy."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    stop: tuple[str, ...]
    seed: int | None = None

    @classmethod
    def of(cls, decoding: Mapping[str, Any], seed: int | None, *, max_tokens: int) -> Sampling:
        """From a request's decoding; what is not said is greedy with `max_tokens` tokens."""
        stop = decoding.get("stop") or ()
        temperature = float(decoding.get("temperature") or 0.0)
        return cls(
            temperature=temperature,
            top_p=float(decoding.get("top_p") or 1.0),
            top_k=int(decoding.get("top_k") or 0),
            max_tokens=int(decoding.get("max_tokens") or max_tokens),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            seed=seed if temperature > 0 else None,
        )

    @property
    def shareable(self) -> bool:
        """Whether requests with these settings may be generated together: a seed belongs to one request."""
        return self.seed is None


class LocalModel:
    """Tokenizer and model, ready to generate."""

    def __init__(self, tokenizer: Any, model: Any, *, name: str) -> None:
        self._torch = require("torch", extra="local", why=_WHY)
        self._tokenizer = tokenizer
        self._model = model
        self._name = name
        self._chat = bool(getattr(tokenizer, "chat_template", None))
        if not self._chat:
            _log.warning("%s has no chat template: messages are joined by blank lines as they are", name)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token_id = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
        config = model.generation_config
        ends = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends]) - {None}
        config.do_sample = False
        for field in (*_SAMPLING, "max_length", "max_new_tokens"):
            setattr(config, field, None)
        self._limit: int | None = getattr(model.config, "max_position_embeddings", None)
        self.default_max_tokens = min(
            DEFAULT_MAX_TOKENS, self._limit // 2 if self._limit else DEFAULT_MAX_TOKENS
        )

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, with something to pad with."""
        return self._tokenizer

    @property
    def model(self) -> Any:
        """The model, on its device, with nothing of the checkpoint's own about sampling."""
        return self._model

    def encode(self, messages: Sequence[Message], sampling: Sampling) -> list[int]:
        """The prompt's token ids.

        Raises:
            CallError: the chat template refuses the messages, or there is no room for the answer.
        """
        import jinja2

        if self._chat:
            turns = [{"role": m.role, "content": m.content} for m in messages]
            try:
                text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            except jinja2.TemplateError as error:
                raise CallError("bad_request", f"the chat template refuses the messages: {error}") from error
        else:
            text = "\n\n".join(m.content for m in messages)
        # A chat template writes its own special tokens.
        ids: list[int] = self._tokenizer(text, add_special_tokens=not self._chat, verbose=False)["input_ids"]
        if not ids:
            raise CallError("bad_request", "the prompt is empty")
        if self._limit is not None and len(ids) + sampling.max_tokens > self._limit:
            room = f"{len(ids)} tokens and max_tokens {sampling.max_tokens} exceed the model's {self._limit}"
            raise CallError("bad_request", f"the prompt's {room}")
        return ids

    def generate(
        self,
        prompts: Sequence[list[int]],
        sampling: Sampling,
        *,
        timeout_s: float,
        stopped: Callable[[], bool],
    ) -> list[Response | CallError]:
        """Answer prompts that share their settings, as one batch. Blocks.

        Args:
            prompts: token ids.
            sampling: of all of them.
            timeout_s: seconds for the whole batch; answers that are not complete by then are `timeout` errors.
            stopped: asked at every token; True ends the batch early.
        """
        torch = self._torch
        began = time.perf_counter()

        def give_up(ids: Any, scores: Any, **_: Any) -> Any:
            late = stopped() or time.perf_counter() - began > timeout_s
            return torch.full((ids.shape[0],), late, device=ids.device, dtype=torch.bool)

        ids, mask = self._padded(prompts)
        with torch.inference_mode(), self._seeded(sampling.seed):
            output = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=sampling.max_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
                stopping_criteria=[give_up],
                **self._how(sampling),
            )
        latency_ms = (time.perf_counter() - began) * 1000
        rows = output[:, ids.shape[1] :].tolist()
        results: list[Response | CallError] = []
        for prompt, row in zip(prompts, rows, strict=True):
            response = self._response(prompt, row, sampling, latency_ms)
            if response.finish_reason == "stop" or len(row) >= sampling.max_tokens:
                results.append(response)
            else:  # neither finished nor full: the deadline cut it
                said = f"no complete answer within {timeout_s:g} s"
                results.append(CallError("timeout", said, retryable=True))
        return results

    def log_likelihood(self, context: str, continuation: str, window: int | None) -> dict[str, float]:
        """How likely `continuation` is after `context`, both taken as they are: no chat template. Blocks.

        Both are tokenised together, and the context alone tells where the continuation begins (spaces at the end of
        the context go to the continuation), as lm-evaluation-harness does. An empty context is the token that begins a
        text (bos, else eos). What does not fit the window is read in windows whose tokens count once, each after the
        token before it; the last one reaches back as far as the window allows (lm-evaluation-harness' rolling windows).

        Returns:
            `nll` in nats, `tokens`, `greedy` (1.0 or 0.0), `window` (most tokens read at once).

        Raises:
            CallError: the continuation is empty or, after a context, longer than the window.
        """
        torch = self._torch
        limit = min(window or 10**9, self._limit or 10**9)
        kept = context.rstrip()
        context, continuation = kept, context[len(kept) :] + continuation
        whole: list[int] = self._tokenizer(context + continuation, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        before = (
            len(self._tokenizer(context, add_special_tokens=False, verbose=False)["input_ids"])
            if context
            else 0
        )
        asked = whole[before:]
        if not asked:
            raise CallError("bad_request", "there is no token to find likely")
        if before == 0:
            start = self._tokenizer.bos_token_id
            prefix = [start if start is not None else self._tokenizer.eos_token_id]
            if prefix == [None]:
                raise CallError(
                    "bad_request", "the tokenizer has neither a bos nor an eos token to begin with"
                )
        else:
            prefix = whole[:before]
            if len(asked) > limit:
                raise CallError("bad_request", f"the text's {len(asked)} tokens exceed the window of {limit}")
        nll, greedy = 0.0, True
        for at in range(0, len(asked), limit):
            part = asked[at : at + limit]
            row = ([*prefix, *asked[:at], *part][:-1])[-limit:]
            with torch.inference_mode():
                ids = torch.tensor([row], device=self._model.device)
                logits = self._model(input_ids=ids).logits[0, -len(part) :].float().log_softmax(dim=-1)
            wanted = torch.tensor(part, device=logits.device)
            nll -= float(logits.gather(1, wanted[:, None]).double().sum())
            greedy = greedy and bool((logits.argmax(dim=-1) == wanted).all())
        return {"nll": nll, "tokens": float(len(asked)), "greedy": float(greedy), "window": float(limit)}

    @property
    def name(self) -> str:
        """What responses call the model."""
        return self._name

    def _padded(self, prompts: Sequence[list[int]]) -> tuple[Any, Any]:
        """Token ids and attention mask, shape (prompts, longest), padded on the left: answers begin in one column."""
        width = max(len(prompt) for prompt in prompts)
        pad, torch = self._tokenizer.pad_token_id, self._torch
        ids = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _how(self, sampling: Sampling) -> dict[str, Any]:
        how: dict[str, Any] = {"do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            how |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        if sampling.stop:
            how |= {"stop_strings": list(sampling.stop), "tokenizer": self._tokenizer}
        return how

    @contextlib.contextmanager
    def _seeded(self, seed: int | None) -> Iterator[None]:
        if seed is None:
            yield
            return
        torch = self._torch
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield

    def _response(self, prompt: list[int], row: list[int], sampling: Sampling, latency_ms: float) -> Response:
        end = next((i for i, token in enumerate(row) if token in self._ends), None)
        tokens = row if end is None else row[:end]
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        cuts = [at for stop in sampling.stop if (at := text.find(stop)) >= 0]
        if cuts:
            text = text[: min(cuts)]
            # What follows the stop text in the row is padding of the batch, except the token that ended it.
            pad = self._tokenizer.pad_token_id
            while tokens and tokens[-1] == pad:
                tokens = tokens[:-1]
        made = len(tokens) + (1 if end is not None and not cuts else 0)
        return Response(
            text=text,
            model=self._name,
            finish_reason="stop" if end is not None or cuts else "length",
            usage=Usage(len(prompt), made),
            latency_ms=latency_ms,
        )


def load(name: str, options: Mapping[str, Any]) -> LocalModel:
    """Load a model and its adapter. Safetensors only, and never code of the checkpoint's.

    Args:
        name: the model as the candidate writes it; `options["model_path"]` is the folder where it is a local one.
        options: adapter, dtype, device, revision.

    Raises:
        UsageError: the model cannot be loaded; the message says why.
        MissingExtraError: transformers, torch or peft is not installed.
    """
    transformers = require("transformers", extra="local", why=_WHY)
    torch = require("torch", extra="local", why=_WHY)
    place = refuse_absent(name, options)
    adapter = _adapter_folder(str(options["adapter"])) if options.get("adapter") else None
    own = adapter is not None and (adapter / "tokenizer_config.json").is_file()
    safe = {"trust_remote_code": False, "revision": options.get("revision") or "main"}
    try:
        with quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                # An adapter that brings a tokenizer was trained with that tokenizer's chat template.
                **(safe | {"revision": "main"} if own else safe),
                pretrained_model_name_or_path=str(adapter) if own else place,
            )
            model = transformers.AutoModelForCausalLM.from_pretrained(
                place, use_safetensors=True, dtype=options.get("dtype") or "auto", **safe
            )
            if adapter is not None:
                peft = require("peft", extra="local", why="load an adapter")
                model = peft.PeftModel.from_pretrained(model, str(adapter)).get_base_model()
            model = model.to(options.get("device") or _best_device(torch)).eval()
    except (OSError, ValueError, ImportError, RuntimeError, KeyError) as error:
        hint = "a folder needs config.json, tokenizer files and model.safetensors; a hub id needs the network"
        said = " ".join(str(error).split())[:300]
        with_adapter = f" with adapter {options['adapter']!r}" if adapter is not None else ""
        raise UsageError(f"cannot load model {name!r}{with_adapter}: {said}; {hint}") from error
    commit = getattr(model.config, "_commit_hash", None)
    return LocalModel(tokenizer, model, name=f"{name}@{commit}" if commit else name)


def refuse_absent(name: str, options: Mapping[str, Any]) -> str:
    """The place of a model, given as `load` takes it. A hub id is not looked for.

    Raises:
        UsageError: it, or the adapter, is a folder that is not there.
    """
    place, adapter = str(options.get("model_path") or name), options.get("adapter")
    if not os.path.isdir(place) and _looks_local(place):
        raise UsageError(f"there is no model folder {place}; name a folder with config.json, or a hub id")
    if adapter and not os.path.isdir(adapter) and _looks_local(adapter):
        raise UsageError(f"there is no adapter folder {adapter}")
    return place


def _looks_local(place: str) -> bool:
    return place.startswith((".", "~", "/")) or os.sep != "/" or place.count("/") > 1


def _adapter_folder(adapter: str) -> Path:
    """The folder of an adapter, fetched where it is a hub id. Pickled weights are neither fetched nor accepted."""
    folder = Path(adapter)
    if not folder.is_dir():
        hub = require("huggingface_hub", extra="local", why="fetch an adapter")
        try:
            wanted = [*_ADAPTER_FILES, "tokenizer*", "special_tokens_map.json", "chat_template.jinja"]
            folder = Path(hub.snapshot_download(adapter, allow_patterns=wanted))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot fetch adapter {adapter!r}: {' '.join(str(error).split())[:300]}"
            ) from error
    missing = [name for name in _ADAPTER_FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"adapter {adapter!r} has no {' and no '.join(missing)}; save it with PEFT's save_pretrained"
        )
    return folder


def _best_device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
