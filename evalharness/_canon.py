"""Canonical JSON and content digests: the identity of everything that is compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

_LINES_AT_ONCE: Final = 1024


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces, no NaN: equal values give equal text.

    Raises:
        ValueError: the value holds NaN or an infinity, which have no JSON form.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """`sha256:<64 hex>` of the canonical JSON of `value`."""
    # surrogatepass: text that came from broken input still has an identity instead of a crash.
    return digest_bytes(canonical_json(value).encode("utf-8", "surrogatepass"))


def digest_bytes(data: bytes) -> str:
    """`sha256:<64 hex>` of raw bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_lines(lines: Iterable[str]) -> str:
    """`sha256:<64 hex>` of a stream of texts, each ended by a newline; memory does not grow with the stream."""
    state = hashlib.sha256()
    stream = iter(lines)
    # in blocks: one encode and one update for each line costs more than the hash itself
    while block := list(islice(stream, _LINES_AT_ONCE)):
        block.append("")
        state.update("\n".join(block).encode("utf-8", "surrogatepass"))
    return "sha256:" + state.hexdigest()


def short(value: str) -> str:
    """The first 12 hex digits of a digest, for names and tables."""
    return value.removeprefix("sha256:")[:12]
