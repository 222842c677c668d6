"""Finding the files that other files name, keeping them inside the folders a user meant, and what they hold.

The rules (one place, every file kind):

- `./x` and `../x` are relative to the file that names them;
- any other relative path is looked up in the working directory, then in the content that ships with the package;
- a path named by a *file* must end, links resolved, inside the working directory, the shipped content or a folder
  allowed by `--allow-path`. A path typed on the command line is the user's own word and may lie anywhere.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

from evalharness.errors import Problem, SpecError, UsageError

CONTENT_FOLDERS: Final = ("golden_sets", "suites", "judges", "examples")


def builtin_root() -> Path | None:
    """The folder that holds shipped golden_sets/, suites/, judges/ and examples/; None when there is none.

    In a wheel it is `evalharness/_content`, in a checkout the repository root.
    """
    package = Path(__file__).resolve().parent
    shipped = package / "_content"
    if shipped.is_dir():
        return shipped
    root = package.parent
    if (root / "pyproject.toml").is_file() and any((root / name).is_dir() for name in CONTENT_FOLDERS):
        return root
    return None


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """Where paths may lead.

    Attributes:
        cwd: the working directory.
        allow: further folders (or files) that paths in files may reach, from `--allow-path`.
    """

    cwd: Path
    allow: tuple[Path, ...] = ()

    def resolve(self, text: str, naming_file: Path, *, line: int | None = None) -> Path:
        """The existing file or folder that `text`, written in `naming_file`, means.

        Args:
            text: the path as written.
            naming_file: the file that names it.
            line: where in that file, for the error.

        Raises:
            SpecError: nothing there (near names are suggested), or it lies outside the allowed folders.
        """
        try:
            return self._resolve(text, naming_file)
        except _Refused as refused:
            problem = Problem(refused.message, self.show(naming_file), line, hint=refused.hint)
            raise SpecError([problem]) from None

    def argument(self, text: str) -> Path:
        """The existing file or folder that a command-line argument means: working directory, then shipped content.

        Raises:
            SpecError: nothing there; near names are suggested.
        """
        try:
            if not text.strip():  # the working directory would be meant, on both sides of a comparison
                raise _Refused("an argument is empty", "is a variable of the shell not set?")
            for path in self._places(text, self.cwd / text):
                if _exists(path):
                    return path.resolve()
            raise _missing(self.cwd / text, text)
        except _Refused as refused:
            raise SpecError([Problem(refused.message, hint=refused.hint)]) from None

    def show(self, path: Path) -> str:
        """`path` as a user would write it: relative to the working directory where it lies inside."""
        try:
            return str(path.relative_to(self.cwd))
        except ValueError:
            pass
        try:
            return str(path.resolve().relative_to(self.cwd.resolve()))
        except (ValueError, OSError):
            return str(path)

    def _resolve(self, text: str, naming_file: Path) -> Path:
        if not text.strip():
            raise _Refused("the path is empty")
        if "\0" in text or "\n" in text:
            raise _Refused("the path holds a control character")
        if text.startswith("~"):
            raise _Refused(f"{text!r} starts with '~', which is not expanded", "write the path out")
        if text.startswith(("./", "../")) or text in (".", ".."):
            first = naming_file.parent / text
            places = [first]
        else:
            first = self.cwd / text
            places = self._places(text, first)
        for place in places:
            try:
                real = place.resolve(strict=True)
            except FileNotFoundError:
                continue
            except (OSError, RuntimeError) as error:
                raise _Refused(f"{text!r} cannot be read: {error}") from None
            self._confine(text, real)
            return real
        # The confinement comes first: a refusal must not tell which files exist outside.
        self._confine(text, first.resolve())
        raise _missing(first, text)

    def _places(self, text: str, first: Path) -> list[Path]:
        places = [first]
        root = builtin_root()
        parts = Path(text).parts
        if root is not None and not Path(text).is_absolute() and parts and parts[0] in CONTENT_FOLDERS:
            places.append(root / text)
        return places

    def _confine(self, text: str, real: Path) -> None:
        roots = [self.cwd.resolve(), *(path.resolve() for path in self.allow)]
        builtin = builtin_root()
        if builtin is not None:
            roots += [(builtin / name).resolve() for name in CONTENT_FOLDERS]
        if not any(real == root or root in real.parents for root in roots):
            raise _Refused(
                f"{text!r} leads out of the working directory",
                f"if that is meant, add --allow-path {real.parent}",
            )


def content_digest(path: Path) -> str:
    """A digest of a file, or of every file below a folder by relative name. Read whole: weights that differ in one
    tensor are another model, and an answer of the old one must not be taken for its.

    Raises:
        OSError: something cannot be read.
    """
    if path.is_file():
        return "sha256:" + _file_hash(path)
    state = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        state.update(f"{file.relative_to(path).as_posix()}\0{_file_hash(file)}\n".encode())
    return "sha256:" + state.hexdigest()


def model_digest(path: Path) -> str:
    """`content_digest` of a model's files, read again in this process only where a file's size or time changed.

    Raises:
        UsageError: something cannot be read.
    """
    try:
        files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        stats = ((file, file.stat()) for file in files)
        return _digest_once(path, tuple((str(f), s.st_size, s.st_mtime_ns) for f, s in stats))
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror or error}") from error


_Signature: TypeAlias = tuple[tuple[str, int, int], ...]


@lru_cache(maxsize=64)
def _digest_once(path: Path, signature: _Signature) -> str:
    return content_digest(path)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Refused(Exception):
    # Never leaves this module.
    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise _Refused(f"{str(path)[:200]!r} cannot be read: {error.strerror}") from None


def _missing(path: Path, text: str) -> _Refused:
    folder = path.parent
    if folder.is_dir():
        try:
            names = [entry.name for entry in folder.iterdir()]
        except OSError:
            names = []
        near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
        prefix = text[: len(text) - len(path.name)] if text.endswith(path.name) else ""
        if near:
            return _Refused(f"{text!r} does not exist", f"did you mean {prefix}{near[0]}?")
        return _Refused(f"{text!r} does not exist", f"looked in {folder}")
    return _Refused(f"{text!r} does not exist", f"there is no folder {folder}")
