"""Tasks asked of a model in this process, by lm-eval's own class for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from evalharness._lazy import require
from evalharness.core.candidates import Candidate
from evalharness.errors import UsageError
from evalharness.plugins import default_registry

DEFAULT_BATCH: Final = 8
_TAKEN: Final = frozenset(("temperature", "top_p", "top_k", "max_tokens", "stop", "seed"))


class LocalModels:
    """Models by candidate digest. One is held: the next candidate's takes its place before it is loaded."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def get(self, candidate: Candidate) -> Any:
        """lm-eval's `HFLM` of a candidate's model.

        Raises:
            UsageError: it cannot be loaded, or its decoding is not supported. MissingExtraError: a library is missing.
        """
        unknown = sorted(k for k, v in candidate.decoding.items() if k not in _TAKEN and v is not None)
        if unknown:
            raise UsageError(f"provider 'transformers' does not support {', '.join(unknown)} in `decoding`")
        if candidate.digest not in self._held:
            self._held.clear()
            tokenizer, model = default_registry().load("providers", "transformers").weights(candidate)
            hf = require(
                "lm_eval.models.huggingface", extra="local", why="run lm-eval's tasks on a local model"
            )
            self._held[candidate.digest] = hf.HFLM(
                pretrained=model,
                tokenizer=tokenizer,
                backend="causal",
                batch_size=int(candidate.options.get("batch_size") or DEFAULT_BATCH),
            )
        return self._held[candidate.digest]


def answer(model: Any, requests: Sequence[Any], seed: int | None) -> None:
    """Ask lm-eval's requests, all of one kind, and put the answers into them. Blocks. Called inside `calm`."""
    cloned = [row for row in requests for _ in range(row.repeats or 1)]
    ask = getattr(model, requests[0].request_type)
    with _seeded(seed):
        answers = ask(cloned, disable_tqdm=True)
    for row, given in zip(cloned, answers, strict=True):
        row.resps.append(given)


def reach(model: Any, rows: Sequence[Any]) -> dict[str, float]:
    """What `perplexity` has to know of texts read from their first token: `tokens` of the longest and the `window`."""
    texts = [row.args[0] for row in rows if row.request_type == "loglikelihood_rolling"]
    if not texts:
        return {}
    longest = max(len(model.tok_encode(text)) for text in texts)
    return {"tokens": float(longest), "window": float(model.max_length)}


def sampled(kwargs: Mapping[str, Any]) -> bool:
    """Whether generation with these settings draws at random."""
    return bool(kwargs.get("do_sample")) and float(kwargs.get("temperature") or 0.0) > 0


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    import torch

    if seed is None:
        yield
        return
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
