"""Embeddings from a sentence-transformers model in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness._lazy import quiet, require
from evalharness.content import model_digest
from evalharness.embedding.protocol import Role
from evalharness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHY: Final = "embed texts with a local model"


class LocalEmbedder:
    """A sentence-transformers model. Safetensors only, and never code of the checkpoint's.

    `model` is a folder or a hub id, `revision` the hub's. A prompt of None is the one the model's own configuration
    names for the role, if any; "" is none. `device` None: the best there is. A text longer than the model's window is
    cut by the model. The model is loaded at the first text.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> None:
        self._name = model
        self._revision = revision
        self._device = device
        self._batch_size = batch_size
        self._prompts: dict[Role, str | None] = {"query": query_prompt, "document": document_prompt}
        self._model: Any = None

    @property
    def identity(self) -> Mapping[str, Any]:
        folder = Path(self._name)
        local = {"content": model_digest(folder)} if folder.is_dir() else {"name": self._name}
        return {"kind": "local", **local, "revision": self._revision, "prompts": dict(self._prompts)}

    def embed(
        self, texts: Sequence[str], *, role: Role = "document", ids: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        import numpy as np

        if self._model is None:
            self._model = self._load()
        encode = self._model.encode_query if role == "query" else self._model.encode_document
        unique = list(dict.fromkeys(texts))
        prompt = self._prompts[role]
        vectors = encode(
            unique,
            # The library takes the prompt of its configuration for None, and "" for none.
            prompt=prompt,
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        rows = np.asarray(vectors, dtype=np.float32).reshape(len(unique), -1)
        if not np.isfinite(rows).all():
            raise UsageError(f"embedding model {self._name!r} gives vectors that are not finite")
        places = {text: place for place, text in enumerate(unique)}
        return rows[[places[text] for text in texts]]

    def _load(self) -> Any:
        library = require("sentence_transformers", extra="text", why=_WHY)
        transformers = require("transformers", extra="text", why=_WHY)
        if int(library.__version__.partition(".")[0]) < 6:
            # Before 6.0 a local folder could name any class to be imported.
            raise UsageError(
                "sentence-transformers 6.0 or newer is needed: pip install -U sentence-transformers"
            )
        try:
            with quiet(transformers):
                return library.SentenceTransformer(
                    self._name,
                    revision=self._revision,
                    device=self._device,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                ).eval()
        except (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError) as error:
            said = " ".join(str(error).split())[:300]
            hint = "a folder needs modules.json and model.safetensors; a hub id needs the network"
            raise UsageError(f"cannot load embedding model {self._name!r}: {said}; {hint}") from error
