"""Embeddings from any server with OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from evalharness.embedding.protocol import RefusedTextError, Role
from evalharness.errors import ProviderError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EXCERPT: Final = 200
_NO_KEY: Final = "none"
_REFUSES: Final = frozenset((400, 413, 422))
"""What a server says to a text, or to a batch, that it does not take."""


class ServerEmbedder:
    """Vectors from `base_url` (ending in /v1) through the `openai` SDK.

    Batches of `batch_size` texts, `concurrency` of them at once; a batch that the server refuses is halved until the
    text at fault is alone. 408, 409, 429, 5xx and lost connections are tried again up to `max_retries` times with
    exponential backoff, `Retry-After` honoured (the SDK's own). `server_dimensions` is sent as `dimensions`. Prompts
    are put in front of the texts. `api_key_env` names the variable that holds the key; without it none is sent.
    `on_tokens` is told the tokens of each call where the server says them, in the thread of the call: that of `embed`
    where one batch is enough. May be used from several threads at once.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        query_prompt: str = "",
        document_prompt: str = "",
        server_dimensions: int | None = None,
        batch_size: int = 32,
        concurrency: int = 4,
        timeout_s: float = 60.0,
        max_retries: int = 5,
        on_tokens: Callable[[int], object] | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url {base_url!r} is not an http(s) URL; write http://host:port/v1")
        self._url = base_url
        self._host = parts.netloc.rpartition("@")[2]
        self._model = model
        self._api_key_env = api_key_env
        self._prompts: dict[Role, str] = {"query": query_prompt, "document": document_prompt}
        self._server_dimensions = server_dimensions
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._on_tokens = on_tokens
        self._open: _Call | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "kind": "server",
            "url": self._url,
            "name": self._model,
            "prompts": dict(self._prompts),
            "server_dimensions": self._server_dimensions,
        }

    def embed(
        self, texts: Sequence[str], *, role: Role = "document", ids: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        import numpy as np

        prompt = self._prompts[role]
        unique = list(dict.fromkeys(texts))
        size = self._batch_size
        batches = [[prompt + text for text in unique[i : i + size]] for i in range(0, len(unique), size)]
        if not batches:
            return np.zeros((0, 0), dtype=np.float32)
        with self._connected() as call:
            try:
                rows = self._rows(call, batches)
            except RefusedTextError as error:
                raise RefusedTextError(list(texts).index(unique[error.index]), str(error)) from None
        if len({len(row) for row in rows}) > 1:
            raise ProviderError(f"{self._host} gave vectors of several lengths")
        places = {text: place for place, text in enumerate(unique)}
        return np.stack(rows)[[places[text] for text in texts]]

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Keep the connection between calls, of all threads: to make one takes longer than to embed a query.

        Raises:
            UsageError: the key is missing.
        """
        with self._connected() as call:
            self._open = call
            try:
                yield
            finally:
                self._open = None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[_Call]:
        import openai

        if self._open is not None:
            yield self._open
            return
        http = openai.DefaultHttpxClient(follow_redirects=False)  # a redirect would carry the key elsewhere
        key = self._key()
        with openai.OpenAI(
            api_key=key or _NO_KEY,
            base_url=self._url,
            timeout=self._timeout_s,
            max_retries=self._max_retries,
            http_client=http,
        ) as client:
            yield _Call(client, self._host, self._model, self._server_dimensions, key, self._on_tokens)

    def _rows(self, call: _Call, batches: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        size = self._batch_size
        if len(batches) == 1:
            return call.batch(batches[0], 0)
        with ThreadPoolExecutor(self._concurrency) as pool:
            jobs = [pool.submit(call.batch, batch, i * size) for i, batch in enumerate(batches)]
            try:
                return [row for job in jobs for row in job.result()]
            finally:
                pool.shutdown(cancel_futures=True)

    def _key(self) -> str | None:
        if self._api_key_env is None:
            return None
        key = os.environ.get(self._api_key_env, "").strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            said = "is not set" if not key else "does not hold a key"
            raise UsageError(f"the embedding server needs a key: {self._api_key_env} {said}")
        return key


class _Call:
    """One call a batch, checked."""

    def __init__(
        self,
        client: Any,
        host: str,
        model: str,
        dimensions: int | None,
        key: str | None,
        on_tokens: Callable[[int], object] | None,
    ) -> None:
        import httpx2

        self._client = client
        self._host = host
        self._body: dict[str, Any] = {"model": model, "encoding_format": "float"}
        if dimensions is not None:
            self._body["dimensions"] = dimensions
        self._key = key
        self._on_tokens = on_tokens
        self._raw = httpx2.Response

    def batch(self, texts: Sequence[str], start: int) -> list[NDArray[np.float32]]:
        """The vectors of `texts`, the first of which is the `start`-th of all."""
        import openai

        try:
            response = self._client.post(
                "/embeddings", cast_to=self._raw, body={**self._body, "input": texts}
            )
        except openai.APIStatusError as error:
            status = error.response.status_code
            said = f"HTTP {status} from {self._host}: {self._clean(error.response.text)}"
            if status not in _REFUSES:
                hint = "; check `api_key_env`" if status in (401, 403) else ""
                hint = "; check `base_url` and `model`" if status == 404 else hint
                raise ProviderError(f"embeddings: {said}{hint}") from None
            if len(texts) == 1:
                raise RefusedTextError(start, f"the embedding server refuses the text: {said}") from None
            half = len(texts) // 2
            return self.batch(texts[:half], start) + self.batch(texts[half:], start + half)
        except openai.APIConnectionError as error:
            cause = self._clean(str(error.__cause__ or error))
            raise ProviderError(f"embeddings: no answer from {self._host}: {cause}") from None
        except (ValueError, TypeError) as error:  # half a surrogate pair has no JSON form
            if len(texts) == 1:
                raise RefusedTextError(start, f"the text cannot be sent: {self._clean(str(error))}") from None
            half = len(texts) // 2
            return self.batch(texts[:half], start) + self.batch(texts[half:], start + half)
        return self._vectors(response.content, len(texts))

    def _vectors(self, content: bytes, count: int) -> list[NDArray[np.float32]]:
        import numpy as np

        try:
            answer = json.loads(content)
            rows = answer["data"]
            # Servers may answer in another order; `index` says which text a vector is of.
            placed = {row.get("index", place): row["embedding"] for place, row in enumerate(rows)}
            vectors = [np.asarray(placed[place], dtype=np.float32) for place in range(count)]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            excerpt = self._clean(content[:_EXCERPT].decode("utf-8", "replace"))
            raise ProviderError(
                f"{self._host} answered with something else than embeddings: {excerpt}"
            ) from None
        if len(placed) != count or any(
            v.ndim != 1 or not v.size or not np.isfinite(v).all() for v in vectors
        ):
            raise ProviderError(f"{self._host} did not give {count} vectors of finite numbers")
        usage = answer.get("usage")
        tokens = usage.get("total_tokens", usage.get("prompt_tokens")) if isinstance(usage, dict) else None
        if self._on_tokens is not None and type(tokens) is int and tokens >= 0:
            self._on_tokens(tokens)
        return vectors

    def _clean(self, text: str) -> str:
        if self._key is not None:
            text = text.replace(self._key, "[key]")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_EXCERPT]
