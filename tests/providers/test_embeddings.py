"""Provider `embeddings`: rankings from a model, a server and files, exact and in bounded memory."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalharness.core.attempts import Response
from evalharness.core.candidates import Candidate, Limits
from evalharness.core.cases import Case
from evalharness.embedding import CachedEmbedder, VectorCache, normalised, truncated
from evalharness.errors import CallError, EvalHarnessError, ProviderError, SpecError, UsageError
from evalharness.providers._retrieval_corpus import Corpus
from evalharness.providers._retrieval_index import Retrieval, Retriever
from evalharness.providers._retrieval_search import BUDGET, Index, blocks_for, gathered, index_mib
from evalharness.providers.embeddings import Embeddings
from tests.embedding.conftest import _rag_process, rag_server, sentence_model
from tests.providers.support import request
from tests.servers.fixture import ModelServerHandle
from tests.servers.tiny_bert import save_bert

__all__ = ["_rag_process", "rag_server", "sentence_model"]

DOCUMENTS = {
    "d-cat": "the cat sat on the mat",
    "d-dog": "a dog ran",
    "d-paris": "paris is the capital of france",
    "d-money": "you get your money back in ten days",
    "d-dog-again": "a dog ran",
}


WORDS = ("the", "a", "no", "yes", "ten", "five", "paris", "order")


def corpus(folder: Path, documents: dict[str, str] = DOCUMENTS) -> Path:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": k, "text": v}) + "\n" for k, v in documents.items()))
    return path


def candidate(documents: Path, model: str | None = None, **options: Any) -> Candidate:
    limits = Limits(concurrency=4, max_retries=0)
    given = {"documents": str(documents), **options}
    return Candidate(
        name="c", provider="embeddings", model=model, digest="sha256:0", options=given, limits=limits
    )


def cases(*questions: str) -> list[Case]:
    return [Case(id=f"q{i}", input=question) for i, question in enumerate(questions)]


def answers(
    who: Candidate, asked: Sequence[Case], store: Path | None = None, *, fresh: bool = False
) -> tuple[list[Response], dict[str, Any]]:
    async def run() -> tuple[list[Response], dict[str, Any]]:
        provider = Embeddings(who)
        if store is not None:
            provider.prepare(asked, store, fresh=fresh)
        await provider.open()
        try:
            found = [provider.complete(request(case=case), timeout_s=60) for case in asked]
            return list(await asyncio.gather(*found)), provider.facts()
        finally:
            await provider.close()

    return asyncio.run(run())


# ------------------------------------------------------------------------------------------------------- search


def brute_force(documents: Any, queries: Any, k: int) -> list[list[int]]:
    found = []
    for query in queries:
        scores = [
            (-float(np.dot(row.astype(float), query.astype(float))), i) for i, row in enumerate(documents)
        ]
        found.append([i for _, i in sorted(scores)[:k]])
    return found


@pytest.mark.parametrize("k", [1, 7, 300, 1000])
def test_the_search_is_that_of_a_loop_over_all_documents(k: int) -> None:
    rng = np.random.default_rng(1)
    documents = rng.normal(size=(300, 24)).astype(np.float32)
    documents[100:120] = documents[40:60]  # twins: they tie, and the earlier one comes first
    documents[200:] = documents[199] * (1 + 1e-7 * rng.normal(size=(100, 1)))  # nearer than float32 can tell
    queries = rng.normal(size=(20, 24)).astype(np.float32)
    expected = brute_force(documents, queries, k)
    for budget in (BUDGET, 24 * 4 * 7):  # one block, and blocks of seven documents and one query
        found = Index(documents, budget=budget).top(queries, k)
        assert [rows.tolist() for rows in found] == expected


def test_alike_documents_keep_their_order_and_none_is_found_where_all_are_alike() -> None:
    documents = np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (500, 1))
    query = np.array([[0.3, 0.1]], dtype=np.float32)
    for k in (1, 10, 1_000):
        assert not len(Index(documents, budget=64).top(query, k)[0]), "their order in the file is no ranking"
    assert not len(Index(np.eye(2, dtype=np.float32)).top(query * 0, 1)[0]), "zeros are near to nothing"
    documents[-1] = 0
    (found,) = Index(documents, budget=64).top(query, 10)
    assert found.tolist() == list(range(10))
    assert Index(documents[:1]).top(query, 5)[0].tolist() == [0], "one document cannot be told apart"


def test_blocks_hold_no_more_than_the_budget_whatever_the_sizes() -> None:
    for documents, dimensions, queries in ((50_000, 384, 1_000), (8_800_000, 1_024, 7_000), (1, 1, 1)):
        found = blocks_for(documents, dimensions, queries)
        assert 4 * found.documents * dimensions <= BUDGET
        assert 4 * found.queries * documents <= BUDGET or found.queries == 1
    assert blocks_for(50_000, 384, 1_000).queries < 1_000, "all scores at once would be 191 MiB"


def test_a_search_allocates_blocks_and_not_all_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    count, budget = 20_000, 2**20
    parts = (rng.normal(size=(1_000, 32)).astype(np.float32) for _ in range(count // 1_000))
    index = Index(gathered(parts, count, tmp_path), budget=budget)
    queries = rng.normal(size=(100, 32)).astype(np.float32)
    tracemalloc.start()
    index.top(queries, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * budget < 4 * count * 100
    assert not list(tmp_path.iterdir()), "the file of vectors has no name"


def test_the_size_of_an_index() -> None:
    """MiB of 10,000 vectors in float32."""
    sizes = {384: 14.65, 1024: 39.06, 1536: 58.59, 2560: 97.66, 3072: 117.19, 4096: 156.25}
    assert {d: round(index_mib(10_000, d), 2) for d in sizes} == sizes


# ------------------------------------------------------------------------------------------------------- corpus


def test_a_corpus_in_each_form(tmp_path: Path) -> None:
    lines = '\ufeff{"_id": "a", "title": "Refunds", "text": "ten days", "metadata": {}}\r\n\n{"id": 7, "text": ""}\n'
    (tmp_path / "c.jsonl").write_text(lines, encoding="utf-8")
    found = Corpus(tmp_path / "c.jsonl")
    assert (found.ids, found.empty, found.texts([1, 0])) == (["a", "7"], [1], ["", "Refunds ten days"])
    (tmp_path / "c.tsv").write_text("a\tten days\nb\tRefunds\tten days\n")
    assert Corpus(tmp_path / "c.tsv").texts([0, 1]) == ["ten days", "Refunds ten days"]


def test_everything_wrong_with_a_corpus_is_told_with_its_line(tmp_path: Path) -> None:
    rows = [
        '{"_id": "a", "text": "x"}',
        '{"_id": "a", "text": "y"}',
        '{"_id": "b"}',
        "[1]",
        '{"_id": "c", "te',
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(rows))
    with pytest.raises(SpecError) as caught:
        Corpus(tmp_path / "c.jsonl")
    said = str(caught.value).splitlines()
    assert [line.split(" ")[0] for line in said] == [f"c.jsonl:{n}:" for n in (2, 3, 4, 5)]
    assert "'a' is already on line 1" in said[0]
    assert "text is missing" in said[1]
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(SpecError, match="holds no documents"):
        Corpus(tmp_path / "empty.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b'{"_id": "a", "text": "\xff"}')
    with pytest.raises(SpecError, match=r"bytes.jsonl:1: is not valid UTF-8"):
        Corpus(tmp_path / "bytes.jsonl")


# ------------------------------------------------------------------------------------------------------- server


def test_a_server_ranks_and_is_asked_once_for_each_document(
    rag_server: ModelServerHandle, tmp_path: Path
) -> None:
    who = candidate(corpus(tmp_path), "words", base_url=rag_server.base_url, top_k=3)
    asked = cases("a dog ran", "the capital of france")
    found, facts = answers(who, asked, tmp_path)
    assert found[0].ranking[:2] == ("d-dog", "d-dog-again"), "equal documents stand in their order"
    assert found[1].ranking[0] == "d-paris"
    assert all(len(r.ranking) == 3 and r.text == "" and (r.latency_ms or 0) > 0 for r in found)
    assert found[0].usage is not None and found[0].usage.input_tokens == 1, "what the server says a call took"
    assert (facts["documents"], facts["documents_embedded"]) == (5, 4), "two documents are equal"
    assert (facts["dimension"], facts["document_tokens"]) == (64, 1)
    assert rag_server.counters()["texts"] == 4 + 2
    # Kept vectors: only queries are sent again, since their latency is measured; --fresh sends everything.
    again, facts = answers(who, asked, tmp_path)
    assert [r.ranking for r in again] == [r.ranking for r in found]
    assert facts["documents_embedded"] == 0 and "document_tokens" not in facts
    assert rag_server.counters()["texts"] == 6 + 2 + 1, "and one document, to see that the model is the same"
    answers(who, asked, tmp_path, fresh=True)
    assert rag_server.counters()["texts"] == 9 + 6


def test_vectors_of_two_models_are_not_searched_together(
    rag_server: ModelServerHandle, tmp_path: Path
) -> None:
    """Behind one address and name another model may answer, before a run and in the middle of it."""
    who = candidate(corpus(tmp_path), "words", base_url=rag_server.base_url, dimensions=4)
    keep = Retriever(Retrieval.of(who), Corpus(tmp_path / "corpus.jsonl"), tmp_path)
    for vectors, said in (
        (np.ones((len(DOCUMENTS), 16)), "a vector of 64 dimensions, and the one kept has 16"),
        (np.eye(64)[: len(DOCUMENTS)], r"a vector whose cosine to the one kept is -?0\.\d"),
    ):
        kept = CachedEmbedder(keep.source, VectorCache(tmp_path / "vectors.sqlite", replace=True))
        kept.keep(list(DOCUMENTS.values()), vectors.astype(np.float32), role="document")
        with pytest.raises(UsageError, match=rf"c: the server gives document 'd-cat' {said}.*--fresh"):
            answers(who, cases("a dog"), tmp_path)
        answers(who, cases("a dog"), tmp_path, fresh=True)
    changed = candidate(corpus(tmp_path), "changing", base_url=rag_server.base_url, dimensions=4)
    with pytest.raises(
        CallError, match="the vector has 32 dimensions, and those of the documents 64"
    ) as caught:
        answers(changed, cases("a dog", "a cat"))
    assert caught.value.kind == "bad_response"


def test_what_a_server_refuses_or_cannot_do(rag_server: ModelServerHandle, tmp_path: Path) -> None:
    url = rag_server.base_url
    who = candidate(corpus(tmp_path), "words", base_url=url)
    for question in ("a TOO-LONG question", "  "):
        with pytest.raises(CallError) as caught:
            answers(who, cases(question))
        assert (caught.value.kind, caught.value.retryable) == ("bad_request", False)
    with pytest.raises(ProviderError, match="HTTP 500"):
        answers(candidate(corpus(tmp_path), "down", base_url=url), cases("x"))
    documents = corpus(tmp_path, {"d-1": "fine", "d-2": "TOO-LONG"})
    with pytest.raises(UsageError, match=r"corpus.jsonl: document 'd-2'.*too long.*leave it out"):
        answers(candidate(documents, "words", base_url=url), cases("x"))


def test_documents_without_text_are_counted_and_never_found(
    rag_server: ModelServerHandle, tmp_path: Path
) -> None:
    documents = corpus(tmp_path, {"d-none": " ", **DOCUMENTS})
    (found,), facts = answers(candidate(documents, "words", base_url=rag_server.base_url), cases("a dog"))
    assert set(found.ranking) == set(DOCUMENTS) and found.ranking[0] == "d-dog"
    assert (facts["documents"], facts["documents_empty"], facts["documents_embedded"]) == (6, 1, 5)
    with pytest.raises(UsageError, match="no document has a text"):
        answers(candidate(corpus(tmp_path, {"d": ""}), "words", base_url=rag_server.base_url), cases("a"))


def test_relevant_documents_that_are_not_there_are_named_before_anything_is_asked(
    rag_server: ModelServerHandle, tmp_path: Path
) -> None:
    who = candidate(corpus(tmp_path), "words", base_url=rag_server.base_url)
    case = Case(id="q", input="dog", relevant={"d-dog": 1, "d-lost": 2, "d-judged-not-relevant": 0})
    with pytest.raises(
        SpecError, match=r"1 relevant document is not among the documents: 'd-lost' \(of case 'q'\)"
    ):
        answers(who, [case], tmp_path)
    assert rag_server.counters().get("texts", 0) == 0


# -------------------------------------------------------------------------------------------------------- files


def vectors(folder: Path, name: str, table: dict[str, Sequence[float]]) -> str:
    path = folder / f"{name}.npz"
    np.savez(path, ids=np.array(list(table)), vectors=np.array(list(table.values()), dtype=np.float32))
    return str(path)


GEOMETRY = {
    "east": (1, 0, 0.1),
    "far-east": (9, 1, 0),
    "north": (0, 0.1, 0),
    "west": (-1, 0, 0),
    "up": (0, 0.1, 3),
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["far-east", "east", "north", "up", "west"]),
        ({"similarity": "dot"}, ["far-east", "east", "up", "north", "west"]),
        ({"dimensions": 1}, ["east", "far-east", "north", "up", "west"]),
        ({"dimensions": 1, "similarity": "dot", "top_k": 2}, ["far-east", "east"]),
    ],
)
def test_vectors_of_known_geometry(tmp_path: Path, options: dict[str, Any], expected: list[str]) -> None:
    files = {
        "documents": vectors(tmp_path, "d", GEOMETRY),
        "queries": vectors(tmp_path, "q", {"q0": (4, 0.4, 0.05)}),
    }
    # a file of vectors needs no text, and no order of its own
    documents = corpus(tmp_path, dict.fromkeys(GEOMETRY, ""))
    (found,), facts = answers(candidate(documents, vectors=files, **options), cases("anything"), tmp_path)
    assert list(found.ranking) == expected
    assert facts["dimension"] == options.get("dimensions", 3)
    assert facts["index_mib"] == round(5 * options.get("dimensions", 3) * 4 / 2**20, 3)


def test_cutting_is_cutting_by_hand(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    documents = {f"d{i}": rng.normal(size=16).tolist() for i in range(60)}
    queries = {f"q{i}": rng.normal(size=16).tolist() for i in range(5)}
    files = {"documents": vectors(tmp_path, "d", documents), "queries": vectors(tmp_path, "q", queries)}
    found, _ = answers(
        candidate(corpus(tmp_path, dict.fromkeys(documents, "")), vectors=files, dimensions=6, top_k=10),
        cases(*("x" * 5)),
    )
    by_hand = [normalised(np.array(list(t.values()), dtype=np.float32)[:, :6]) for t in (documents, queries)]
    expected = brute_force(*by_hand, 10)
    assert [list(r.ranking) for r in found] == [[f"d{i}" for i in row] for row in expected]
    assert np.allclose(truncated(np.array([[3.0, 4.0, 9.0]], dtype=np.float32), 2), [[0.6, 0.8]], atol=1e-7)


def test_vectors_that_are_missing_or_of_another_length_are_told(tmp_path: Path) -> None:
    documents = corpus(tmp_path, {"a": "x", "b": "y"})
    queries = vectors(tmp_path, "q", {"q0": (1, 2)})
    files = {"documents": vectors(tmp_path, "d", {"a": (1, 2)}), "queries": queries}
    with pytest.raises(UsageError, match=r"d.npz has no vector for 1 of 2 ids: 'b'"):
        answers(candidate(documents, vectors=files), cases("x"))
    files["documents"] = vectors(tmp_path, "d", {"a": (1, 2, 3), "b": (1, 2, 3)})
    with pytest.raises(UsageError, match="queries have 2 dimensions and documents 3"):
        answers(candidate(documents, vectors=files), cases("x"))
    with pytest.raises(UsageError, match="cannot be cut to 4"):
        answers(candidate(documents, vectors=files, dimensions=4), cases("x"))


# -------------------------------------------------------------------------------------------------------- local


def test_a_local_model_ranks_as_the_library_does(sentence_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(sentence_model), device="cpu")
    who = candidate(corpus(tmp_path), model_path=str(sentence_model), device="cpu")
    asked = cases("where is the cat", "money back")
    found, facts = answers(who, asked, tmp_path)
    left = library.encode_document(list(DOCUMENTS.values()), normalize_embeddings=True)
    right = library.encode_query([c.question for c in asked], normalize_embeddings=True)
    expected = brute_force(left, right, 5)
    assert [list(r.ranking) for r in found] == [[list(DOCUMENTS)[i] for i in row] for row in expected]
    assert (facts["dimension"], facts["documents_embedded"]) == (32, 4)
    assert found[0].usage is None, "a model here counts no tokens"


def cross_encoder(folder: Path, *, labels: int = 1) -> Path:
    """A cross-encoder of random weights, as its library writes one."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    save_bert(folder)
    config = BertConfig.from_pretrained(folder, num_labels=labels)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_reranker_orders_the_first_documents_and_no_others(
    rag_server: ModelServerHandle, tmp_path: Path
) -> None:
    from sentence_transformers import CrossEncoder

    encoder = cross_encoder(tmp_path / "cross")
    documents = {f"d{i}": f"{word} dog ran" for i, word in enumerate(WORDS)}
    settings = {"base_url": rag_server.base_url, "device": "cpu"}
    asked = cases("yes a dog ran")
    (first,), _ = answers(candidate(corpus(tmp_path, documents), "words", **settings), asked)
    (second,), _ = answers(
        candidate(corpus(tmp_path, documents), "words", reranker=str(encoder), rerank_top=5, **settings),
        asked,
    )
    head = first.ranking[:5]
    library = CrossEncoder(str(encoder), device="cpu")
    scores = library.predict([("yes a dog ran", documents[name]) for name in head])
    expected = [head[i] for i in np.argsort(-scores, kind="stable")]
    assert list(second.ranking) == [*expected, *first.ranking[5:]]
    assert expected != list(head), "or nothing was ordered"
    (few,), _ = answers(
        candidate(
            corpus(tmp_path, documents), "words", reranker=str(encoder), rerank_top=5, top_k=2, **settings
        ),
        asked,
    )
    assert list(few.ranking) == expected[:2], "a reranker reads more than is given"


def test_a_reranker_that_is_none(rag_server: ModelServerHandle, tmp_path: Path) -> None:
    def told(encoder: Path) -> EvalHarnessError:
        with pytest.raises(UsageError) as caught:
            answers(
                candidate(corpus(tmp_path), "words", base_url=rag_server.base_url, reranker=str(encoder)),
                cases("x"),
            )
        return caught.value

    assert "cannot load reranker" in str(told(tmp_path))
    assert "single label" in str(told(cross_encoder(tmp_path / "three", labels=3)))
