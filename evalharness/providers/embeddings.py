"""Provider `embeddings`: retrieval by vectors. A case is a query; the answer is a ranking of documents."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evalharness._lazy import refuse_missing
from evalharness.core.attempts import Response, Usage
from evalharness.core.candidates import Candidate
from evalharness.core.cases import Case
from evalharness.core.protocols import Request
from evalharness.embedding import Embedder, RefusedTextError, ServerEmbedder, build_source
from evalharness.errors import CallError, ProviderError, UsageError
from evalharness.providers._endpoint import find_key
from evalharness.providers._retrieval_corpus import Corpus
from evalharness.providers._retrieval_index import Retrieval, Retriever
from evalharness.providers._retrieval_rerank import Reranker
from evalharness.providers._threads import DaemonThreads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WARM: Final = "warm up"


class Embeddings:
    """Ranks the documents of a corpus by the similarity of their vectors to the query's; exact, ties in corpus order.

    Vectors come from a sentence-transformers model in this process, an OpenAI-compatible server, or files. Documents
    are embedded once and their vectors kept beside the response cache, by what made them and the text; queries are
    embedded each time, so that `latency_ms` is what one takes: embedding, search, reranking, not the wait for a turn.
    A server's calls are tried again by its client as `limits` say, with `Retry-After` honoured.

    Options:
        documents: the corpus, a file (`_retrieval_corpus`).
        model_path: the folder, where the model is a local one; else `model` is a hub id, or the server's name of it.
        base_url: a server, ending in /v1.
        vectors: {"documents": file, "queries": file} of vectors made before; queries by the ids of the cases.
        query_prompt, document_prompt: put before the texts.
        dimensions: so many first dimensions are kept (Matryoshka). similarity: "cosine" (default) or "dot".
        top_k: documents given, default 100.
        reranker: a CrossEncoder, folder or hub id, that orders the first `rerank_top` (default 50) again.
        device, batch_size, revision: of local models.
    """

    name: ClassVar[str] = "embeddings"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = False
    cacheable: ClassVar[bool] = True
    queues: ClassVar[bool] = True

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._settings = Retrieval.of(candidate)
        self._corpus: Corpus | None = None
        self._folder: Path | None = None
        self._fresh = False
        self._retriever: Retriever | None = None
        self._reranker: Reranker | None = None
        self._slots: queue.SimpleQueue[Embedder] = queue.SimpleQueue()
        """Turns: as many as queries may be embedded at once, each with what embeds them."""
        self._told = threading.local()
        self._sessions = contextlib.ExitStack()
        self._asked: dict[str, NDArray[np.float32]] = {}
        self._threads = DaemonThreads("evalharness-embeddings")

    @property
    def depth(self) -> int:
        """Documents that are given for a query."""
        return self._settings.top_k

    def ready(self) -> None:
        """Refuse what cannot be embedded, before anything is.

        Raises:
            UsageError: the server needs a key. MissingExtraError: a library for a local model is not installed.
        """
        embedder = self._settings.embedder
        if embedder.base_url is not None:
            find_key(self._candidate, default_env="", endpoint="the embedding server")
        if self._settings.reranker is not None or (embedder.base_url is None and embedder.vectors is None):
            refuse_missing(
                "sentence_transformers", "transformers", extra="text", why="embed texts with a local model"
            )

    def prepare(self, cases: Sequence[Case], folder: Path, *, fresh: bool) -> None:
        """Read the documents, and refuse cases that they cannot answer. Vectors are kept in `folder`.

        Raises:
            SpecError: what is wrong with the documents, or relevant documents that are not among them.
        """
        self._folder, self._fresh = folder, fresh
        self._corpus = Corpus(self._settings.documents)
        self._settings.needs(self._corpus, cases)

    def facts(self) -> dict[str, Any]:
        """Documents, dimension, size of the index and what embedding took; {} where nothing was asked."""
        return self._retriever.facts() if self._retriever is not None else {}

    async def open(self) -> None:
        """Embed the documents whose vectors are not kept, and load what a query needs.

        Raises:
            SpecError: the documents are wrong. UsageError, MissingExtraError: a model or a file of vectors cannot be
                loaded. ProviderError: the server failed.
        """
        self._threads = DaemonThreads("evalharness-embeddings")
        try:
            await self._threads.run(self._ready)
        except UsageError as error:
            if type(error) is not UsageError:
                raise
            raise UsageError(f"{self._candidate.path or self._candidate.name}: {error}") from error

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """Rank the documents for one query; an empty ranking where all of them are equally near.

        Raises:
            CallError: `bad_request` where the server refuses the query, `server` where it failed to the end of the
                retries, `bad_response` where its vector has another length than the documents'.
        """
        response: Response = await self._threads.run(lambda: self._answer(request.case))
        return response

    async def close(self) -> None:
        """Keep the queries' vectors, and let go of models and threads."""
        asked, self._asked = self._asked, {}
        if asked and self._retriever is not None:
            import numpy as np

            self._retriever.keep_queries(list(asked), np.stack(list(asked.values())))
        self._threads.close()
        self._sessions.close()
        self._slots = queue.SimpleQueue()
        self._reranker = None

    def _ready(self) -> None:
        settings = self._settings
        corpus = self._corpus or Corpus(settings.documents)
        retriever = Retriever(settings, corpus, self._folder, fresh=self._fresh)
        retriever.refuse_another_model()
        retriever.load()
        if settings.embedder.base_url is not None:
            server = build_source(settings.embedder, on_tokens=self._count)
            assert isinstance(server, ServerEmbedder)
            self._sessions.enter_context(server.session())
            for _ in range(settings.calls):
                self._slots.put(server)
        else:
            if settings.embedder.vectors is None:  # or the first query would wait for the model
                retriever.source.embed([_WARM], role="query")
            self._slots.put(retriever.source)
        if settings.reranker is not None:
            size = settings.embedder.batch_size
            self._reranker = Reranker(settings.reranker, device=settings.device, batch_size=size)
            self._reranker.order(_WARM, [_WARM])
        self._retriever = retriever

    def _count(self, tokens: int) -> None:
        self._told.counts.append(tokens)

    def _answer(self, case: Case) -> Response:
        retriever = self._retriever
        assert retriever is not None, "open() comes first"
        slots = self._slots
        source = slots.get()
        counts = self._told.counts = []  # one text is one call, and a call tells its tokens in its own thread
        try:
            began = time.perf_counter()
            whole = self._embedded(source, case)
            places = retriever.search(retriever.shaped(whole), self._settings.depth)[0]
            if self._reranker is not None and places:
                places = self._reranked(self._reranker, case.question, places)
            took = (time.perf_counter() - began) * 1000
        finally:
            slots.put(source)
        self._asked[case.question] = whole[0]
        return Response(
            text="",
            ranking=tuple(retriever.corpus.ids[place] for place in places[: self._settings.top_k]),
            usage=Usage(sum(counts), 0) if counts else None,
            latency_ms=took,
        )

    def _embedded(self, source: Embedder, case: Case) -> NDArray[np.float32]:
        if not case.question.strip() and self._settings.embedder.vectors is None:
            raise CallError("bad_request", "the case has no question to search with")
        assert self._retriever is not None
        try:
            whole = source.embed([case.question], role="query", ids=[case.id])
        except RefusedTextError as error:
            raise CallError("bad_request", str(error)) from error
        except ProviderError as error:  # after all its retries
            raise CallError("server", str(error)) from error
        asked, there = whole.shape[1], self._retriever.whole_dimensions
        if asked != there and self._settings.embedder.base_url is not None:
            raise CallError(
                "bad_response", f"the vector has {asked} dimensions, and those of the documents {there}"
            )
        return whole

    def _reranked(self, reranker: Reranker, question: str, places: list[int]) -> list[int]:
        assert self._retriever is not None
        head, rest = places[: self._settings.rerank_top], places[self._settings.rerank_top :]
        order = reranker.order(question, self._retriever.corpus.texts(head))
        return [head[place] for place in order] + rest
