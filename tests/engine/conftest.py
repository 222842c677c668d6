from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.support import Place
from tests.servers.fixture import _model_server_process, model_server

__all__ = ["_model_server_process", "model_server"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
