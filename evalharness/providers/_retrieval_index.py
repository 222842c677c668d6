"""A corpus embedded and searched: what the provider answers with, and what `rank` cuts to fewer dimensions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from evalharness.core.candidates import Candidate
from evalharness.core.cases import Case
from evalharness.embedding import (
    CachedEmbedder,
    Embedder,
    EmbedderSpec,
    RefusedTextError,
    Role,
    VectorCache,
    build_source,
    normalised,
    truncated,
)
from evalharness.errors import Problem, SpecError, UsageError
from evalharness.providers._retrieval_corpus import Corpus, named
from evalharness.providers._retrieval_search import Index, gathered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VECTORS: Final = "vectors.sqlite"
"""Kept vectors, beside the response cache."""
TOP_K: Final = 100
RERANK_TOP: Final = 50
BATCH_SIZE: Final = 32
_AT_ONCE: Final = 1024
_SAME: Final = 0.99
"""Cosine of two vectors of one text below which they are of two models: batches and processors move it less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """The settings of a retrieval candidate.

    Attributes:
        documents: the corpus; `shown` as the candidate names it.
        embedder: where vectors come from; `dimensions` and `normalise` say what is done to them.
        similarity: what documents are ordered by.
        top_k: documents given for a query.
        reranker: a cross-encoder that puts the first `rerank_top` of them in a new order; None: none does.
        device: where models of this process run; None: the best there is.
        calls: queries answered at once: several only where a server does all of the work.
    """

    documents: Path
    shown: str
    embedder: EmbedderSpec
    similarity: Literal["cosine", "dot"]
    top_k: int
    reranker: str | None
    rerank_top: int
    device: str | None
    calls: int

    @classmethod
    def of(cls, candidate: Candidate) -> Retrieval:
        """What a candidate file says.

        Raises:
            UsageError: the settings do not go together.
        """
        given = candidate.options
        vectors = given.get("vectors") or {}
        similarity = given.get("similarity", "cosine")
        limits = candidate.limits
        try:
            embedder = EmbedderSpec(
                model=given.get("model_path") or candidate.model,
                revision=given.get("revision"),
                device=None if given.get("base_url") else given.get("device"),
                base_url=given.get("base_url"),
                api_key_env=candidate.api_key_env,
                timeout_s=limits.timeout_s,
                max_retries=limits.max_retries,
                concurrency=limits.concurrency,
                vectors=vectors.get("documents"),
                query_vectors=vectors.get("queries"),
                query_prompt=given.get("query_prompt"),
                document_prompt=given.get("document_prompt"),
                dimensions=given.get("dimensions"),
                normalise=similarity == "cosine",
                batch_size=given.get("batch_size", BATCH_SIZE),
            )
        except (ValueError, TypeError) as error:
            raise UsageError(f"{candidate.path or candidate.name}: {error}") from None
        documents = Path(given["documents"])
        return cls(
            documents=documents,
            shown=documents.name,
            embedder=embedder,
            similarity=similarity,
            top_k=given.get("top_k", TOP_K),
            reranker=given.get("reranker"),
            rerank_top=given.get("rerank_top", RERANK_TOP),
            device=given.get("device"),
            calls=limits.concurrency if embedder.base_url is not None and not given.get("reranker") else 1,
        )

    @property
    def depth(self) -> int:
        """Documents that are searched for: those given, or those a reranker reads where these are more."""
        return max(self.top_k, self.rerank_top) if self.reranker is not None else self.top_k

    def needs(self, corpus: Corpus, cases: Sequence[Case]) -> None:
        """Refuse cases that this corpus cannot answer: a relevant document that is not in it could never be found.

        Raises:
            SpecError: names the documents and the cases.
        """
        lost = {
            name: case.id
            for case in cases
            for name, grade in case.relevant.items()
            if grade > 0 and corpus.place(name) is None
        }
        if lost:
            count = "1 relevant document is" if len(lost) == 1 else f"{len(lost):,} relevant documents are"
            of = named(list(dict.fromkeys(lost.values())))
            raise SpecError(
                [
                    Problem(
                        f"{count} not among the documents: {named(list(lost))} (of case {of})",
                        self.shown,
                        hint="add them to the documents, or take them out of `relevant`",
                    )
                ]
            )


class Retriever:
    """A corpus and its vectors, in the order of the corpus. Documents without text have none and are never found.

    Args:
        settings: of the candidate.
        corpus: its documents.
        folder: where vectors are kept; None: nowhere.
        fresh: embed the documents again and keep those vectors in place of the old ones.
    """

    def __init__(
        self, settings: Retrieval, corpus: Corpus, folder: Path | None, *, fresh: bool = False
    ) -> None:
        self.settings = settings
        self.corpus = corpus
        self._folder = folder
        self._fresh = fresh
        self._tokens: list[int] = []
        self._document_tokens = 0
        self._source = _Counting(build_source(settings.embedder, on_tokens=self._tokens.append))
        # vectors from a file need no text
        self._rows = list(range(len(corpus)))
        if settings.embedder.vectors is None:
            empty = set(corpus.empty)
            self._rows = [place for place in self._rows if place not in empty]
        self.index: Index | None = None
        self.whole_dimensions = 0
        """Of the documents' vectors as they come, before they are cut; 0 before `load`."""

    @property
    def source(self) -> Embedder:
        """Where the vectors come from, as they come."""
        return self._source

    def load(self) -> None:
        """Embed the documents, as far as their vectors are not kept, and get ready to search.

        Raises:
            UsageError: no document has a text, the server refuses one, the model cannot be loaded, vectors are missing
                or of several lengths. ProviderError: the server cannot be reached or failed to the end of the retries.
        """
        if not self._rows:
            raise UsageError(f"{self.settings.shown}: no document has a text")
        self.index = Index(gathered(self._vectors(), len(self._rows), self._folder))
        self._document_tokens = sum(self._tokens)

    def refuse_another_model(self) -> None:
        """Ask a server for a document whose vector is kept: queries and documents have to come from one model.

        Raises:
            UsageError: it gives another vector now. ProviderError: it cannot be reached or failed.
        """
        spec = self.settings.embedder
        if spec.base_url is None or self._fresh:
            return
        places = self._rows[:_AT_ONCE]
        known = self._known(texts := self.corpus.texts(places), "document")
        first = next((at for at, text in enumerate(texts) if text in known), None)
        if first is None:
            return
        name, before = self.corpus.ids[places[first]], normalised(known[texts[first]][None])[0]
        try:
            now = normalised(build_source(spec).embed([texts[first]], role="document"))[0]
        except RefusedTextError as error:
            raise self._refused(name, error) from None
        if len(now) != len(before):
            how = f"of {len(now)} dimensions, and the one kept has {len(before)}"
        elif (cosine := float(now @ before)) < _SAME and (now.any() or before.any()):
            how = f"whose cosine to the one kept is {cosine:.2f}"
        else:
            return
        raise UsageError(
            f"the server gives document {name!r} a vector {how}: another model answers under the name {spec.model!r} "
            "now; --fresh embeds everything again"
        )

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the index; {} before `load`."""
        if self.index is None:
            return {}
        counted = self._source
        found: dict[str, Any] = {
            "documents": len(self.corpus),
            "dimension": self.index.dimensions,
            "index_mib": round(self.index.mib, 3),
            "documents_embedded": counted.texts,
            "embed_s": round(counted.seconds, 3),
        }
        if self.corpus.empty:
            found["documents_empty"] = len(self.corpus.empty)
        if self._document_tokens:
            found["document_tokens"] = self._document_tokens
        return found

    def shaped(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Whole vectors as they are searched with: cut to the candidate's dimensions, at length 1 for the cosine.

        Raises:
            UsageError: they have fewer dimensions.
        """
        spec = self.settings.embedder
        if spec.dimensions is not None:
            return truncated(vectors, spec.dimensions, normalise=spec.normalise)
        return normalised(vectors) if spec.normalise else vectors

    def search(self, queries: NDArray[np.float32], k: int | None = None) -> list[list[int]]:
        """Places in the corpus of the nearest documents of each query, nearest first; equal ones in corpus order.

        None for a query to which all of several documents are equally near (`Index.top`).
        `queries`: shape (m, d), as `shaped` gives them. `k`: how many; None: the candidate's `top_k`.
        """
        assert self.index is not None, "load() comes first"
        found = self.index.top(queries, k or self.settings.top_k)
        return [[self._rows[row] for row in rows] for rows in found]

    def queries(self, cases: Sequence[Case]) -> NDArray[np.float32]:
        """The questions' vectors as they are searched with, kept ones where there are any; shape (len(cases), d)."""
        source = self._kept(fresh=False) if self.settings.embedder.vectors is None else self._source
        texts, ids = [case.question for case in cases], [case.id for case in cases]
        return self.shaped(source.embed(texts, role="query", ids=ids))

    def cut(self, dimensions: int) -> Retriever:
        """The same documents by their first dimensions, with nothing embedded again.

        Raises:
            UsageError: the vectors have fewer.
        """
        assert self.index is not None, "load() comes first"
        spec = replace(self.settings.embedder, dimensions=dimensions)
        smaller = Retriever(replace(self.settings, embedder=spec), self.corpus, self._folder)
        whole = self.index.vectors
        parts = (
            truncated(whole[start : start + _AT_ONCE], dimensions, normalise=spec.normalise)
            for start in range(0, len(whole), _AT_ONCE)
        )
        smaller.index = Index(gathered(parts, len(whole), self._folder))
        return smaller

    def known(self, texts: Sequence[str], role: Role) -> Mapping[str, NDArray[np.float32]]:
        """Kept vectors by text, as they are searched with. Nothing is embedded; from a file of vectors none is kept."""
        return {text: self.shaped(vector[None])[0] for text, vector in self._known(texts, role).items()}

    def keep_queries(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep whole vectors of queries; shape (len(texts), d)."""
        if self._folder is not None and len(texts) and self.settings.embedder.vectors is None:
            cache = VectorCache(self._folder / VECTORS, replace=True)
            CachedEmbedder(self._source, cache).keep(texts, vectors, role="query")

    def _known(self, texts: Sequence[str], role: Role) -> Mapping[str, NDArray[np.float32]]:
        if self._folder is None or self.settings.embedder.vectors is not None:
            return {}
        return CachedEmbedder(self._source, VectorCache(self._folder / VECTORS)).known(texts, role=role)

    def _kept(self, *, fresh: bool) -> Embedder:
        if self._folder is None:
            return self._source
        return CachedEmbedder(self._source, VectorCache(self._folder / VECTORS, replace=fresh))

    def _vectors(self) -> Iterator[NDArray[np.float32]]:
        spec = self.settings.embedder
        source = self._source if spec.vectors is not None else self._kept(fresh=self._fresh)
        for start in range(0, len(self._rows), _AT_ONCE):
            places = self._rows[start : start + _AT_ONCE]
            names = [self.corpus.ids[place] for place in places]
            try:
                whole = source.embed(self.corpus.texts(places), role="document", ids=names)
            except RefusedTextError as error:
                raise self._refused(names[error.index], error) from None
            self.whole_dimensions = self.whole_dimensions or whole.shape[1]
            if whole.shape[1] != self.whole_dimensions:
                raise UsageError(
                    f"documents have vectors of {self.whole_dimensions} and of {whole.shape[1]} dimensions; "
                    "--fresh embeds everything again"
                )
            yield self.shaped(whole)

    def _refused(self, name: str, error: RefusedTextError) -> UsageError:
        return UsageError(f"{self.settings.shown}: document {name!r}: {error}; shorten it, or leave it out")


class _Counting:
    """Another embedder, with how many documents it embedded and how long it took."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.texts = 0
        self.seconds = 0.0

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._inner.identity

    def embed(
        self, texts: Sequence[str], *, role: Role = "document", ids: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        began = time.perf_counter()
        vectors = self._inner.embed(texts, role=role, ids=ids)
        if role == "document":
            self.seconds += time.perf_counter() - began
            self.texts += len(texts)
        return vectors
