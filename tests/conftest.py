"""Shared by every test: a clean environment, so that no key, proxy or setting of the machine reaches a test."""

from __future__ import annotations

import pytest

_SCRUBBED = (
    "OPENAI_",
    "ANTHROPIC_",
    "EVALHARNESS_",
    "HF_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_COLOR",
    "FORCE_COLOR",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith(_SCRUBBED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
