"""Where a blessing was done: the commit of the repository around it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
_SECONDS: Final = 10


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out around a folder, None outside of a repository, or where git does not tell.

    A shallow clone has it as well. The folder's own settings may name programs to watch it; none is started.
    """
    return _git(folder, "rev-parse", "--verify", "--quiet", "HEAD", like=_COMMIT)


def author_of(folder: Path) -> str | None:
    """The name that git would commit under, None where none is set."""
    return _git(folder, "config", "user.name", like=re.compile(r"[^\n]{1,200}"))


def _git(folder: Path, *arguments: str, like: re.Pattern[str]) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-c", "core.fsmonitor=false", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    said = done.stdout.decode("utf-8", "replace").strip()
    return said if done.returncode == 0 and like.fullmatch(said) else None
