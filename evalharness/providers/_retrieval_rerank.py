"""A cross-encoder that reads query and document together and puts the first documents in a new order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from evalharness._lazy import quiet, require
from evalharness.errors import UsageError

_WHY: Final = "rerank with a cross-encoder"


class Reranker:
    """A sentence-transformers CrossEncoder with one output. Safetensors only, and never code of the checkpoint's.

    `model` is a folder or a hub id. It is loaded at the first call. One thread at a time.
    """

    def __init__(self, model: str, *, device: str | None = None, batch_size: int = 32) -> None:
        self._name = model
        self._device = device
        self._batch_size = batch_size
        self._model: Any = None

    def order(self, query: str, documents: Sequence[str]) -> list[int]:
        """The places of the documents, best first; equal scores keep the order they came in.

        Scores are the model's raw outputs: a sigmoid would make all that are sure equal.

        Raises:
            UsageError: the model cannot be loaded, has several outputs, or gives what is no number.
        """
        import numpy as np

        if self._model is None:
            self._model = self._load()
        torch = require("torch", extra="text", why=_WHY)
        scores = np.asarray(
            self._model.predict(
                [(query, document) for document in documents],
                batch_size=self._batch_size,
                show_progress_bar=False,
                activation_fn=torch.nn.Identity(),
                convert_to_numpy=True,
            ),
            dtype=np.float64,
        )
        if scores.shape != (len(documents),):
            raise UsageError(
                f"reranker {self._name!r} gives {scores.shape[-1]} numbers to a pair; one with a single label is needed"
            )
        if not np.isfinite(scores).all():
            raise UsageError(f"reranker {self._name!r} gives scores that are not finite")
        return [int(place) for place in np.argsort(-scores, kind="stable")]

    def _load(self) -> Any:
        library = require("sentence_transformers", extra="text", why=_WHY)
        transformers = require("transformers", extra="text", why=_WHY)
        if int(library.__version__.partition(".")[0]) < 6:
            raise UsageError(
                "sentence-transformers 6.0 or newer is needed: pip install -U sentence-transformers"
            )
        try:
            with quiet(transformers):
                return library.CrossEncoder(
                    self._name,
                    device=self._device,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                )
        except (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError) as error:
            said = " ".join(str(error).split())[:300]
            hint = "a folder needs config.json, a tokenizer and model.safetensors; a hub id needs the network"
            raise UsageError(f"cannot load reranker {self._name!r}: {said}; {hint}") from error
