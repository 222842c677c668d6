"""The `bucket` fixture: a store in a bucket on loopback. Import it to use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.fixture import running_server


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address; reached through s3fs, as any bucket is."""
    pytest.importorskip("s3fs")
    with running_server(script=Path(__file__).parent / "s3_server.py") as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.root_url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield "s3://bucket/team/baselines"
