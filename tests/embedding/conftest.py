"""A server of embeddings, and a tiny sentence-transformers model with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.fixture import ModelServerHandle, running_server
from tests.servers.tiny_bert import save_sentence_model

SCRIPT = Path(__file__).parents[1] / "servers" / "rag_server.py"


@pytest.fixture(scope="session")
def _rag_process() -> Iterator[ModelServerHandle]:
    with running_server(script=SCRIPT) as handle:
        yield handle


@pytest.fixture
def rag_server(_rag_process: ModelServerHandle) -> ModelServerHandle:
    _rag_process.reset()
    return _rag_process


@pytest.fixture(scope="session")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sentence_model(tmp_path_factory.mktemp("models") / "sentences")
