"""A store at an fsspec address: s3://, gs://, abfs://, memory:// and whatever else has a file system there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from evalharness._lazy import require
from evalharness._waiting import within
from evalharness.errors import EvalHarnessError, MissingExtraError, StoreError, UsageError

_BUCKETS: Final = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "r2", "memory"))
_NO_BUCKET: Final = re.compile(
    r"NoSuchBucket|ContainerNotFound|(?:bucket|container) does not exist", re.IGNORECASE
)
PATIENCE_S: Final = 60.0
"""How long a store may take to say what it holds. Libraries go on for many minutes where a host is silent."""


class Remote:
    """Baselines under a URL. Listings are asked for anew every time: another job may have blessed meanwhile."""

    def __init__(self, address: str, shown: str) -> None:
        fsspec = require("fsspec", extra="remote", why=f"reach baselines at {shown}")
        self.shown = shown
        self._address = address
        try:
            self._fs, root = within(
                PATIENCE_S,
                lambda: fsspec.core.url_to_fs(address, use_listings_cache=False, skip_instance_cache=True),
            )
        except ImportError as error:
            raise MissingExtraError(f"{shown}: {error}") from error
        except ValueError as error:
            raise UsageError(f"{shown}: no address of a store: {self._said(error)}") from error
        except Exception as error:
            raise self._failed("reached", error) from error
        self._root = str(root).rstrip("/")

    def names(self, folder: str) -> list[str]:
        with self._telling("read"):
            try:
                found = within(PATIENCE_S, lambda: self._fs.ls(self._at(folder), detail=False))
            except FileNotFoundError as error:
                if _is_of_bucket(error):  # a mistyped address is no store in which nothing is blessed
                    raise
                return []
            names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
            return sorted(name for name in names if name and not name.startswith("."))

    def read(self, path: str) -> bytes | None:
        with self._telling("read"):
            try:
                return bytes(within(PATIENCE_S, lambda: self._fs.cat_file(self._at(path))))
            except FileNotFoundError:
                return None

    def fetch(self, path: str, target: Path) -> bool:
        with self._telling("read"):
            try:
                self._fs.get_file(self._at(path), str(target))
            except FileNotFoundError:
                return False
            return True

    def create(self, path: str, data: bytes) -> bool:
        """Mode "xb" is a conditional write on S3 and GCS. How a loser is told differs: what is there decides."""
        place = self._at(path)
        with self._telling("written"):
            if self._fs.exists(place):
                return False
            self._make_parent(place)
            try:
                with self._fs.open(place, "xb") as stream:
                    stream.write(data)
            except Exception:
                found = self._there(path)
                if found is None:
                    raise
                return found == data
            return self._there(path) == data

    def put_folder(self, path: str, source: Path, names: Sequence[str], *, replace: bool) -> None:
        """File by file; what is written last says that the others are there."""
        with self._telling("written"):
            last = f"{path}/{names[-1]}"
            if not replace and self._fs.exists(self._at(last)):
                return
            try:
                for name in names:
                    place = self._at(f"{path}/{name}")
                    self._make_parent(place)
                    self._fs.put_file(str(source / name), place)
            except Exception:
                with contextlib.suppress(Exception):
                    if not self._fs.exists(self._at(last)):  # another job's may be whole
                        self._fs.rm(self._at(path), recursive=True)
                raise

    def drop(self, folder: str) -> None:
        with self._telling("written"), contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._at(folder), recursive=True)

    def _there(self, path: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(self._at(path)))
        except FileNotFoundError:
            return None

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _make_parent(self, place: str) -> None:
        # Buckets have no folders, and asked for one some file systems make a bucket of a mistyped name.
        protocols = self._fs.protocol
        if _BUCKETS.isdisjoint((protocols,) if isinstance(protocols, str) else protocols):
            self._fs.makedirs(place.rpartition("/")[0], exist_ok=True)

    @contextlib.contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        try:
            yield
        except EvalHarnessError:
            raise
        except Exception as error:  # each file system raises its own library's errors
            raise self._failed(done, error) from error

    def _failed(self, done: str, error: Exception) -> StoreError:
        return StoreError(
            f"{self.shown}: the store of baselines cannot be {done}: {self._said(error)}; check the address, the "
            "network "
            "and the credentials of this machine, or name another with --baselines"
        )

    def _said(self, error: Any) -> str:
        if isinstance(error, NotImplementedError):
            return "a store of this kind can only be read"
        text = " ".join(str(error).split()) or type(error).__name__
        text = text.replace(self._address, self.shown)
        login = re.search(r"//([^/@]+)@", self._address)  # libraries quote parts of the address
        return (text.replace(login[1], "…") if login else text)[:500]


def _is_of_bucket(error: BaseException | None) -> bool:
    """Whether what was not found is the bucket: file systems have one error for both, and say it in words."""
    while error is not None:
        if _NO_BUCKET.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
