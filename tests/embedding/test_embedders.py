"""Vectors from a model, a server and a file: what they are, and what is said where there are none."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalharness.embedding import (
    CachedEmbedder,
    Embedder,
    EmbedderSpec,
    PrecomputedEmbedder,
    RefusedTextError,
    ServerEmbedder,
    VectorCache,
    build_embedder,
    normalised,
    truncated,
)
from evalharness.errors import EvalHarnessError, ProviderError, SpecError, UsageError
from tests.servers.fixture import ModelServerHandle
from tests.servers.tiny_bert import save_sentence_model

TEXTS = ["the cat sat on the mat", "a dog ran", "paris is the capital of france", "a dog ran", "order paris"]


def server(handle: ModelServerHandle, model: str = "words", **settings: Any) -> ServerEmbedder:
    return ServerEmbedder(handle.base_url, model, max_retries=settings.pop("max_retries", 0), **settings)


# ------------------------------------------------------------------------------------------------------- server


@pytest.mark.parametrize("model", ["words", "reversed", "small"])
def test_a_server_gives_each_text_its_own_vector_in_order(rag_server: ModelServerHandle, model: str) -> None:
    found = server(rag_server, model, batch_size=3).embed(TEXTS)
    alone = np.stack([server(rag_server).embed([text])[0] for text in TEXTS])
    assert found.shape == (5, 64)
    assert found.dtype == np.float32
    assert np.array_equal(found, alone)


def test_equal_texts_are_sent_once_in_batches_at_once(rag_server: ModelServerHandle) -> None:
    embedder = server(rag_server, batch_size=10, concurrency=4)
    embedder.embed([f"text {i % 80}" for i in range(160)])
    counters = rag_server.counters()
    assert counters["texts"] == 80
    assert counters["/v1/embeddings"] == 8
    assert 1 < counters["max_in_flight"] <= 4


def test_a_busy_server_is_asked_again(rag_server: ModelServerHandle) -> None:
    assert server(rag_server, "busy", max_retries=3).embed(["x"]).shape == (1, 64)
    assert rag_server.counters()["/v1/embeddings"] == 3
    with pytest.raises(ProviderError, match="429"):
        server(rag_server, "busy", max_retries=1).embed(["y"])


def test_prompts_dimensions_and_key_are_sent(
    rag_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_KEY", "sesame")
    embedder = server(
        rag_server, api_key_env="EMBEDDING_KEY", query_prompt="query: ", document_prompt="passage: ",
        server_dimensions=16,
    )  # fmt: skip
    assert embedder.embed(["paris"], role="query").shape == (1, 16)
    last = rag_server.last()
    assert last["body"] == {
        "model": "words", "encoding_format": "float", "dimensions": 16, "input": ["query: paris"],
    }  # fmt: skip
    assert last["authorization"] == "Bearer sesame"
    embedder.embed(["paris"])
    assert rag_server.last()["body"]["input"] == ["passage: paris"]


def test_no_key_of_another_endpoint_is_sent(
    rag_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-place")
    server(rag_server).embed(["x"])
    assert "sk-of" not in rag_server.last()["authorization"]


def test_the_one_text_a_server_refuses_is_named(rag_server: ModelServerHandle) -> None:
    texts = [*TEXTS, "a TOO-LONG text", "more"]
    with pytest.raises(RefusedTextError) as caught:
        server(rag_server, batch_size=8).embed(texts)
    assert caught.value.index == 5
    assert "too long or empty" in str(caught.value)
    with pytest.raises(RefusedTextError):
        server(rag_server).embed(["half a pair \ud800"])


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("down", "HTTP 500"),
        ("nan", "not give|something else"),
        ("short", "something else"),
        ("page", "something else"),
    ],
)
def test_what_is_no_embedding_is_an_error(rag_server: ModelServerHandle, model: str, said: str) -> None:
    with pytest.raises(ProviderError, match=said) as caught:
        server(rag_server, model).embed(["x", "y"])
    assert not isinstance(caught.value, RefusedTextError)


def test_the_key_never_stands_in_an_error(
    rag_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_KEY", "sesame")
    with pytest.raises(ProviderError, match="401") as caught:
        server(rag_server, "secret", api_key_env="EMBEDDING_KEY").embed(["x"])
    assert "sesame" not in str(caught.value)
    monkeypatch.delenv("EMBEDDING_KEY")
    with pytest.raises(UsageError, match="EMBEDDING_KEY is not set"):
        server(rag_server, api_key_env="EMBEDDING_KEY").embed(["x"])


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ProviderError, match=r"no answer from 127\.0\.0\.1:9"):
        ServerEmbedder("http://127.0.0.1:9/v1", "m", max_retries=0).embed(["x"])


# -------------------------------------------------------------------------------------------------------- local


def test_a_local_model_gives_what_the_library_gives(sentence_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(sentence_model), device="cpu")
    embedder = build_embedder(EmbedderSpec(model=str(sentence_model), device="cpu"))
    expected = library.encode(TEXTS, normalize_embeddings=True)
    assert np.allclose(embedder.embed(TEXTS), expected, atol=1e-6)
    # The folder's own prompt for queries is used, and can be taken away.
    query = embedder.embed(["paris"], role="query")
    assert np.allclose(query, library.encode(["what is paris"], normalize_embeddings=True), atol=1e-6)
    bare = build_embedder(EmbedderSpec(model=str(sentence_model), device="cpu", query_prompt=""))
    assert np.allclose(bare.embed(["paris"], role="query"), embedder.embed(["paris"]), atol=1e-6)


def test_a_folder_is_known_by_its_content(sentence_model: Path, tmp_path: Path) -> None:
    def identity(folder: Path) -> Any:
        return build_embedder(EmbedderSpec(model=str(folder))).identity

    twin = save_sentence_model(tmp_path / "twin")
    assert identity(twin) == identity(sentence_model)
    save_sentence_model(twin, seed=1)
    assert identity(twin) != identity(sentence_model)


def test_a_folder_cannot_name_code_to_run(sentence_model: Path, tmp_path: Path) -> None:
    folder = save_sentence_model(tmp_path / "model")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Module: ...\n")
    (folder / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "evil.Module"}])
    )
    with pytest.raises(UsageError, match="cannot load embedding model"):
        build_embedder(EmbedderSpec(model=str(folder), device="cpu")).embed(["x"])
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot load embedding model"):
        build_embedder(EmbedderSpec(model=str(tmp_path), device="cpu")).embed(["x"])


# ------------------------------------------------------------------------------------------------------- files


def test_vectors_computed_before_are_found_by_id(tmp_path: Path) -> None:
    vectors = np.array([[3.0, 4.0], [1.0, 0.0]], dtype=np.float32)
    np.savez(tmp_path / "d.npz", ids=np.array(["d-1", "d-2"]), vectors=vectors)
    (tmp_path / "q.jsonl").write_text('{"id": "q-1", "vector": [0, 2]}\n\n')
    spec = EmbedderSpec(
        vectors=str(tmp_path / "d.npz"), query_vectors=str(tmp_path / "q.jsonl"), normalise=False
    )
    embedder = build_embedder(spec)
    assert embedder.embed(["", ""], ids=["d-2", "d-1"]).tolist() == [[1, 0], [3, 4]]
    assert embedder.embed([""], role="query", ids=["q-1"]).tolist() == [[0, 2]]
    with pytest.raises(UsageError, match=r"d.npz has no vector for 1 of 2 ids: 'd-9'"):
        embedder.embed(["", ""], ids=["d-1", "d-9"])
    with pytest.raises(UsageError, match="by id"):
        embedder.embed(["text"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "v.jsonl",
            '{"id": "a", "vector": [1, 2]}\n{"id": "b", "vector": [1]}',
            "v.jsonl:2: a vector of another",
        ),
        ("v.jsonl", '{"id": "a", "vector": [1]}\n{"id": "a", "vector": [2]}', "'a' is there twice"),
        ("v.jsonl", '{"id": "a", "vector": [NaN]}', "not finite"),
        ("v.jsonl", '{"id": "a"}', "v.jsonl:1: not"),
        ("v.jsonl", "", "0 ids"),
        ("v.npz", "no archive", "not an .npz"),
    ],
)
def test_a_file_that_holds_no_vectors(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SpecError, match=said):
        PrecomputedEmbedder(tmp_path / name).embed([""], ids=["a"])


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", ids=np.array([{"x": 1}], dtype=object), vectors=np.ones((1, 2)))
    with pytest.raises(SpecError, match=r"not an \.npz"):
        PrecomputedEmbedder(tmp_path / "v.npz").embed([""], ids=["a"])


# ------------------------------------------------------------------------------------------------- shape, cache


def test_vectors_are_cut_and_have_length_one() -> None:
    rows = np.array([[3, 4, 12], [0, 0, 0], [0, 0, 5]], dtype=np.float32)
    assert normalised(rows)[0].tolist() == pytest.approx([3 / 13, 4 / 13, 12 / 13])
    cut = truncated(rows, 2)
    assert cut.tolist() == [pytest.approx([0.6, 0.8]), [0, 0], [0, 0]]
    with pytest.raises(UsageError, match="3 dimensions cannot be cut to 4"):
        truncated(rows, 4)


def test_a_text_is_embedded_once(rag_server: ModelServerHandle, tmp_path: Path) -> None:
    spec = EmbedderSpec(base_url=rag_server.base_url, model="words", dimensions=8)

    def embed(given: EmbedderSpec, texts: list[str]) -> Any:
        return build_embedder(given, cache=VectorCache(tmp_path / "store" / "vectors.sqlite")).embed(texts)

    first = embed(spec, TEXTS)
    assert np.array_equal(embed(spec, TEXTS), first)
    assert rag_server.counters()["texts"] == 4
    # Other dimensions come from the same kept vectors; another model does not.
    assert embed(EmbedderSpec(base_url=rag_server.base_url, model="words", dimensions=4), TEXTS).shape == (
        5,
        4,
    )
    assert rag_server.counters()["texts"] == 4
    embed(EmbedderSpec(base_url=rag_server.base_url, model="reversed"), TEXTS[:1])
    assert rag_server.counters()["texts"] == 5


def test_a_damaged_cache_costs_calls_and_nothing_else(rag_server: ModelServerHandle, tmp_path: Path) -> None:
    (tmp_path / "vectors.sqlite").write_bytes(b"no database")
    cached: Embedder = CachedEmbedder(server(rag_server), VectorCache(tmp_path / "vectors.sqlite"))
    assert cached.embed(TEXTS).shape == (5, 64)
    assert cached.embed([]).shape[0] == 0
    with pytest.raises(RefusedTextError) as caught:
        cached.embed([*TEXTS, "TOO-LONG"])
    assert caught.value.index == 5


def test_damaged_vectors_are_embedded_again_or_said(rag_server: ModelServerHandle, tmp_path: Path) -> None:
    path = tmp_path / "vectors.sqlite"
    cached = CachedEmbedder(server(rag_server), VectorCache(path))
    expected = cached.embed(TEXTS)

    def damage(blob: bytes) -> None:
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE vectors SET vector = ? WHERE rowid = 1", (blob,))

    for blob in (np.full(64, np.nan, dtype="<f4").tobytes(), b"", b"abc"):
        damage(blob)
        assert np.array_equal(cached.embed(TEXTS), expected)
    damage(np.ones(63, dtype="<f4").tobytes())
    with pytest.raises(UsageError, match="holds damaged vectors"):
        cached.embed(TEXTS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either a model or a file"),
        ({"model": "m", "vectors": "v"}, "either a model or a file"),
        ({"model": "m", "api_key_env": "K"}, "needs base_url"),
        ({"model": "m", "base_url": "http://h/v1", "device": "cpu"}, "does not go with base_url"),
        ({"model": "m", "dimensions": 0}, "dimensions must be"),
        ({"model": "m", "batch_size": True}, "batch_size must be"),
        ({"model": "m", "timeout_s": float("nan")}, "timeout_s must be"),
        ({"model": 3}, "model must be a text"),
        ({"model": "m", "base_url": "file:///etc/passwd"}, "not an http"),
    ],
)
def test_settings_that_mean_nothing(settings: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        build_embedder(EmbedderSpec(**settings))


def test_every_error_has_an_exit_code() -> None:
    assert issubclass(RefusedTextError, EvalHarnessError)
    assert RefusedTextError(0, "x").exit_code == 5
