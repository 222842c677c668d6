"""What is asked of git: which commit is checked out, and the tree of another one. argv lists only, never a shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evalharness.errors import InvalidComparisonError, UsageError

_TIMEOUT_S: Final = 300
_REPOSITORY: Final = re.compile(r"[/:]([^/:\s]+/[^/\s]+?)(?:\.git)?/?$")
_SHA: Final = re.compile(r"[0-9a-f]{40,64}")
# Nothing of a repository's own configuration is to start a program here.
_CALM: Final = (
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "advice.detachedHead=false",
)


class _Failed(Exception):
    """git ended with an error. Never leaves this module."""


def head(folder: Path) -> str | None:
    """The commit that is checked out in `folder`, None where it is no repository or git will not say."""
    try:
        found = _git(folder, "rev-parse", "--verify", "HEAD^{commit}")
    except _Failed:
        return None
    return found if _SHA.fullmatch(found) else None


def parents(folder: Path, commit: str) -> tuple[str, ...]:
    """The parents that a commit names. They are read from the commit itself, so a shallow clone has them too."""
    try:
        text = _git(folder, "cat-file", "commit", commit)
    except _Failed:
        return ()
    lines = text.split("\n\n", 1)[0].splitlines()
    return tuple(line.removeprefix("parent ") for line in lines if line.startswith("parent "))


def remote(folder: Path) -> str | None:
    """The "owner/name" that a checkout was cloned from, None where it names no such remote."""
    try:
        url = _git(folder, "config", "--get", "remote.origin.url")
    except _Failed:
        return None
    found = _REPOSITORY.search(url)
    return found[1] if found else None


def contains(folder: Path, commit: str, older: str) -> bool:
    """Whether `older` is `commit`, one of its parents, or, as far as this clone reaches, an ancestor."""
    if older == commit or older in parents(folder, commit):
        return True
    try:
        _git(folder, "merge-base", "--is-ancestor", older, commit)
    except _Failed:  # it is not, or this clone does not hold it
        return False
    return True


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a commit, laid out in `root`. `folder` in it stands for where in `checkout` they were asked for."""

    folder: Path
    commit: str
    root: Path
    checkout: Path

    def place_of(self, place: Path) -> Path:
        """Where these files have what stands at `place` in the checkout; a place elsewhere as it is."""
        real, checkout = place.resolve(), self.checkout.resolve()
        return self.root / real.relative_to(checkout) if real.is_relative_to(checkout) else real


@contextmanager
def base_tree(folder: Path, ref: str, parent: Path) -> Iterator[Tree]:
    """The files of another commit in a folder of their own below `parent`, removed again at the end.

    Args:
        folder: inside of the checkout.
        ref: the commit: a branch, a tag, a digest, `HEAD^1`.
        parent: an existing folder.

    Raises:
        UsageError: there is no git repository, or this clone does not hold `ref`.
        InvalidComparisonError: git cannot write the tree.
    """
    try:
        top = Path(_git(folder, "rev-parse", "--show-toplevel"))
    except _Failed as error:
        raise UsageError(f"base-ref {ref!r} needs a git checkout: {error}") from error
    commit = _commit(top, ref)
    below = folder.resolve().relative_to(top.resolve())
    place = parent / f"base-{commit[:12]}-{os.getpid()}"
    try:
        try:
            _git(top, "worktree", "add", "--detach", "--force", str(place), commit)
        except _Failed as error:
            raise InvalidComparisonError(f"the files of {ref} cannot be laid out: {error}") from error
        yield Tree(place / below, commit, place, top)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(_Failed):
            _git(top, "worktree", "prune")


def _commit(top: Path, ref: str) -> str:
    if ref.startswith("-") or any(ord(c) < 33 for c in ref):
        raise UsageError(f"base-ref {ref!r} is not the name of a commit")
    try:
        return _git(top, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except _Failed:
        shallow = _git(top, "rev-parse", "--is-shallow-repository") == "true"
    if shallow:
        raise UsageError(
            f"base-ref {ref!r} is not in this clone, which is shallow; give actions/checkout `fetch-depth: 2` (the "
            "base of a pull request is HEAD^1 then), or `fetch-depth: 0`"
        )
    raise UsageError(f"base-ref {ref!r} is not in this clone; fetch it, or name a commit that is")


def _git(folder: Path, *arguments: str) -> str:
    """Output of git without its last line end.

    Raises:
        _Failed: what git said.
        UsageError: there is no git.
    """
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *_CALM, *arguments],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            env={**environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed") from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _Failed(str(error)) from error
    if done.returncode != 0:
        raise _Failed(
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"git {arguments[0]} failed"
        )
    return done.stdout.rstrip("\n")
