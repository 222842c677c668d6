"""Settings of an embedder as plain data, and the embedder they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evalharness.embedding.cache import CachedEmbedder, VectorCache
from evalharness.embedding.local import LocalEmbedder
from evalharness.embedding.precomputed import PrecomputedEmbedder
from evalharness.embedding.protocol import Embedder
from evalharness.embedding.server import ServerEmbedder
from evalharness.embedding.shape import ShapedEmbedder


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderSpec:
    """Where vectors come from: `model` (a folder or a hub id), `base_url` with `model`, or `vectors`.

    Attributes:
        model: a sentence-transformers folder or hub id; with `base_url` the server's name of its model.
        revision: the hub's, for a local model.
        device: "cpu", "cuda", …; None: the best there is.
        base_url: an OpenAI-compatible server, ending in /v1.
        api_key_env: the variable that holds the server's key.
        server_dimensions: asked of the server as `dimensions`.
        timeout_s, max_retries, concurrency: of the server's calls.
        vectors, query_vectors: files of documents' and of queries' vectors (None: the same file).
        query_prompt, document_prompt: put before the texts. None: the local model's own, if it has one.
        dimensions: the first so many dimensions are kept; None: all.
        normalise: vectors get length 1.
        batch_size: texts a batch.

    Raises:
        ValueError, TypeError: settings that do not go together or have no meaning.
    """

    model: str | None = None
    revision: str | None = None
    device: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    server_dimensions: int | None = None
    timeout_s: float = 60.0
    max_retries: int = 5
    concurrency: int = 4
    vectors: str | None = None
    query_vectors: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    dimensions: int | None = None
    normalise: bool = True
    batch_size: int = 32

    def __post_init__(self) -> None:
        if (self.model is None) == (self.vectors is None):
            raise ValueError("name either a model or a file of vectors")
        if self.vectors is not None and self.base_url is not None:
            raise ValueError("base_url belongs to a model, not to vectors")
        if self.query_vectors is not None and self.vectors is None:
            raise ValueError("query_vectors needs vectors")
        remote = ("api_key_env", "server_dimensions")
        local = ("revision", "device")
        for key in remote if self.base_url is None else local:
            if getattr(self, key) is not None:
                word = "needs base_url" if self.base_url is None else "does not go with base_url"
                raise ValueError(f"{key} {word}")
        for key in (
            "model", "revision", "device", "base_url", "api_key_env", "vectors", "query_vectors", "query_prompt",
            "document_prompt",
        ):  # fmt: skip
            value = getattr(self, key)
            if value is not None and (not isinstance(value, str) or (not value and "prompt" not in key)):
                raise TypeError(f"{key} must be a text, not {value!r}")
        for key, least in (
            ("server_dimensions", 1), ("dimensions", 1), ("batch_size", 1), ("concurrency", 1), ("max_retries", 0),
        ):  # fmt: skip
            value = getattr(self, key)
            if value is not None and (type(value) is not int or value < least):
                raise ValueError(f"{key} must be a whole number of at least {least}, not {value!r}")
        seconds: object = self.timeout_s  # settings come from YAML: their types are not to be trusted
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise ValueError(f"timeout_s must be a number of seconds above 0, not {self.timeout_s!r}")
        if type(self.normalise) is not bool:
            raise TypeError(f"normalise must be true or false, not {self.normalise!r}")


def build_embedder(spec: EmbedderSpec, *, cache: VectorCache | None = None) -> Embedder:
    """The embedder that settings stand for. Nothing is loaded or called yet. Whole vectors are kept in `cache`.

    Raises:
        ValueError: base_url is no URL.
    """
    source = build_source(spec)
    if cache is not None and spec.vectors is None:
        source = CachedEmbedder(source, cache)
    return ShapedEmbedder(source, dimensions=spec.dimensions, normalise=spec.normalise)


def build_source(spec: EmbedderSpec, *, on_tokens: Callable[[int], object] | None = None) -> Embedder:
    """Where the vectors come from, as they come: whole, and of whatever length.

    `on_tokens` is told the tokens of each call of a server that says them, from any thread.

    Raises:
        ValueError: base_url is no URL.
    """
    if spec.vectors is not None:
        queries = Path(spec.query_vectors) if spec.query_vectors is not None else None
        return PrecomputedEmbedder(Path(spec.vectors), queries)
    assert spec.model is not None
    if spec.base_url is not None:
        return ServerEmbedder(
            spec.base_url,
            spec.model,
            api_key_env=spec.api_key_env,
            query_prompt=spec.query_prompt or "",
            document_prompt=spec.document_prompt or "",
            server_dimensions=spec.server_dimensions,
            batch_size=spec.batch_size,
            concurrency=spec.concurrency,
            timeout_s=spec.timeout_s,
            max_retries=spec.max_retries,
            on_tokens=on_tokens,
        )
    return LocalEmbedder(
        spec.model,
        revision=spec.revision,
        device=spec.device,
        batch_size=spec.batch_size,
        query_prompt=spec.query_prompt,
        document_prompt=spec.document_prompt,
    )
