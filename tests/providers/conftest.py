from __future__ import annotations

from tests.servers.fixture import _model_server_process, model_server

__all__ = ["_model_server_process", "model_server"]
