"""A provider's library is loaded when a run uses it, not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "openai",
    "anthropic",
    "aiohttp",
    "httpx2",
    "pydantic",
    "torch",
    "transformers",
    "peft",
    "numpy",
    "jinja2",
)


@pytest.mark.parametrize(
    "module", ["replay", "openai_compatible", "anthropic", "python_callable", "transformers_local"]
)
def test_a_provider_module_loads_no_heavy_library(module: str) -> None:
    source = f"import sys, evalharness.providers.{module}; print(sorted({HEAVY!r} & sys.modules.keys()))"
    source = source.replace(repr(HEAVY), repr(set(HEAVY)))
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "[]\n"
