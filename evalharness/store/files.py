"""Writing files so that a crash, a full disk or a second process never leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from evalharness.errors import StoreError

# Built once: `json.dumps` with options makes a new encoder at every call.
encode: Final[Callable[[Any], str]] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
"""One line of compact JSON; NaN is refused."""
encode_ascii: Final[Callable[[Any], str]] = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
"""The same with everything but ASCII escaped."""


def explain(error: OSError, path: Path | str, doing: str) -> StoreError:
    """A StoreError that says what could not be done, why, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        fix = "free some space and run the same command again: what was collected is kept"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        fix = "choose another place with --store or --out, or change its permissions"
    else:
        fix = "check the path and run the same command again"
    return StoreError(f"{path}: cannot {doing}: {error.strerror or error}; {fix}")


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[Any]:
    """A text file that appears under `path` complete or not at all.

    Raises:
        StoreError: on any OSError; the temporary file is removed.
    """
    # Not mkstemp: its files are private, and what a run folder shows to others is for the umask to say.
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "x", encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise explain(error, path, "write the file") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a whole text file atomically."""
    with atomic_writer(path) as stream:
        stream.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_lines(path: Path, rows: Iterable[Any]) -> str:
    """Write JSON Lines atomically; returns the digest of the file, as `file_digest` gives it."""
    state = hashlib.sha256()
    with atomic_writer(path) as stream:
        for row in rows:
            line = encode(row) + "\n"
            state.update(line.encode("utf-8", "surrogatepass"))
            stream.write(line)
    return "sha256:" + state.hexdigest()


def file_digest(path: Path) -> str | None:
    """`sha256:<64 hex>` of a file's bytes, None where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        StoreError: the file is missing, unreadable or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    except OSError as error:
        raise explain(error, path, "read the file") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{path}: not valid JSON ({error}); the file is damaged, delete its folder and run again"
        ) from error


def read_lines(path: Path) -> Iterator[Any]:
    """Read JSON Lines of ours, one value at a time.

    Raises:
        StoreError: with the line number, when the file is missing or damaged.
    """
    number = 0
    try:
        with open(path, encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
            for line in stream:
                number += 1
                yield json.loads(line)
    except OSError as error:
        raise explain(error, path, "read the file") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{path}:{number}: not valid JSON ({error}); the file is damaged, delete its folder and run again"
        ) from error


def slug(name: str) -> str:
    """A name as a safe file name: letters, digits, dot, dash, underscore; at most 60 characters; never empty."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "unnamed"
