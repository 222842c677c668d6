"""Where baselines are stored: a folder, or anything that fsspec reaches. Both do the same four things.

Content is put whole or not at all. A file is created only where there is none, and that alone decides a race.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from evalharness.errors import UsageError

DEFAULT: Final = "baselines"
"""The store of a project: a folder of its repository."""
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|::)")
_SLIP: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
"""A slash too few. One letter is a drive."""
_CREDENTIALS: Final = re.compile(r"//[^/@]*@")


class Place(Protocol):
    """A store. Paths are relative, of checked parts joined by '/'.

    Every method raises StoreError where the place cannot be reached, read or written.
    """

    @property
    def shown(self) -> str:
        """The address as messages show it, without credentials."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of what lies right under a folder, sorted, hidden ones left out; empty where there is no folder."""
        ...

    def read(self, path: str) -> bytes | None:
        """The content of a file, None where there is none."""
        ...

    def fetch(self, path: str, target: Path) -> bool:
        """Copy a file to `target`, whose folder is there; False where there is none."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write a file where there is none; False where there is one. Of two at once exactly one is told True."""
        ...

    def put_folder(self, path: str, source: Path, names: Sequence[str], *, replace: bool) -> None:
        """Copy these files of a local folder; the last of `names` is written last.

        A folder that is there stays as it is, unless `replace`.
        """
        ...

    def drop(self, folder: str) -> None:
        """Remove a folder with everything in it; nothing where there is none."""
        ...


def open_place(address: str, cwd: Path) -> Place:
    """The place at an address: a path, relative to `cwd`, or a URL. Nothing is touched yet.

    Raises:
        UsageError: it is no address. MissingExtraError: fsspec, or what it needs for this scheme, is not installed.
    """
    from evalharness.baselines.folder import Folder

    if not address.strip() or "\0" in address or "\n" in address:
        raise UsageError(
            "the address of the baselines is empty or holds a control character; give a folder or a URL"
        )
    if address.startswith("file://"):
        return Folder(_path_of(address), address)
    if _SCHEME.match(address):
        from evalharness.baselines.remote import Remote

        return Remote(address, shown(address))
    if found := _SLIP.match(address):
        raise UsageError(f"{shown(address)!r} is neither a folder nor a URL; did you mean {found[1]}://…?")
    if address.startswith("~"):
        raise UsageError(f"{address!r} starts with '~', which is not expanded; write the path out")
    return Folder(cwd / address, address)


def shown(address: str) -> str:
    """An address without the credentials that a URL may hold."""
    if not _SCHEME.match(address):
        return address
    return _CREDENTIALS.sub("//", address).partition("?")[0]


def option_for(address: str) -> str:
    """What a command needs to find this store: empty for the usual one."""
    return "" if address == DEFAULT else f" --baselines {shlex.quote(shown(address))}"


def _path_of(address: str) -> Path:
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise UsageError(f"{address!r}: a file URL names a whole path: file:///srv/baselines")
    return Path(unquote(parts.path))
