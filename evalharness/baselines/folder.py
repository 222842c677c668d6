"""A store in a folder, as a rule one of the repository."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from evalharness.errors import StoreError

# Digests are of bytes: git must not turn line ends on the way in or out.
_ATTRIBUTES: Final = "objects/** -text linguist-generated=true\n"
# What a job that was killed left half written: nothing reads it, and no commit should hold it.
_IGNORED: Final = ".*.tmp\n.*.old\n"
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Folder:
    """Baselines under a folder, which is made at the first blessing."""

    def __init__(self, root: Path, shown: str) -> None:
        self.root = root
        self.shown = shown

    def names(self, folder: str) -> list[str]:
        with self._telling("read"):
            try:
                self.root.stat()  # below a file it raises: that is no place where nothing is blessed yet
            except FileNotFoundError:
                return []
            if not self.root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "a file stands in its place")
            place = self._inside(folder)
            if not place.exists():
                return []
            return sorted(entry.name for entry in place.iterdir() if not entry.name.startswith("."))

    def read(self, path: str) -> bytes | None:
        with self._telling("read"):
            try:
                return self._inside(path).read_bytes()
            except FileNotFoundError:
                return None

    def fetch(self, path: str, target: Path) -> bool:
        with self._telling("read"):
            try:
                shutil.copyfile(self._inside(path), target)
            except FileNotFoundError:
                return False
            return True

    def create(self, path: str, data: bytes) -> bool:
        """A hard link appears whole and only where there is nothing: no reader ever sees half a file."""
        with self._telling("written"):
            self._prepare()
            place = self._inside(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{place.name}.{secrets.token_hex(6)}.tmp")
            try:
                _write(temporary, data)
                try:
                    os.link(temporary, place)
                except FileExistsError:
                    return False
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    return _create_without_link(place, data)
                _settle(place.parent)
                return True
            finally:
                temporary.unlink(missing_ok=True)

    def put_folder(self, path: str, source: Path, names: Sequence[str], *, replace: bool) -> None:
        """Made beside its place and moved there by one rename."""
        with self._telling("written"):
            self._prepare()
            place = self._inside(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{place.name}.{secrets.token_hex(6)}.tmp")
            try:
                for name in names:
                    target = temporary / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source / name, target)
                    _flush(target)
                if replace and place.exists():
                    os.rename(place, temporary.with_suffix(".old"))
                try:
                    os.rename(temporary, place)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                _settle(place.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
                shutil.rmtree(temporary.with_suffix(".old"), ignore_errors=True)

    def drop(self, folder: str) -> None:
        with self._telling("written"), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._inside(folder))

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        for name, text in ((".gitattributes", _ATTRIBUTES), (".gitignore", _IGNORED)):
            if not (self.root / name).exists():
                (self.root / name).write_text(text, encoding="utf-8")

    def _inside(self, path: str) -> Path:
        """A path of the store, links resolved: a pull request can bring links as well as files."""
        place = self.root / path
        root = self.root.resolve()
        if root not in place.resolve().parents:
            raise OSError(errno.EPERM, f"{path} is a link that leads out of it")
        return place

    @contextlib.contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.shown}: the store of baselines cannot be {done}: {error.strerror or error}; check the path "
                "and its "
                "permissions, or name another with --baselines"
            ) from error


def _create_without_link(place: Path, data: bytes) -> bool:
    """For file systems without hard links: exclusive all the same, and removed where it could not be written whole."""
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return True


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    _flush(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _settle(folder: Path) -> None:
    """Put the folder's own entries on the disk, where the file system can."""
    with contextlib.suppress(OSError):
        _flush(folder)
