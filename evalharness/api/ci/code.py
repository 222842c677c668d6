"""Code of another commit: what is imported while it answers comes from its files, and not from the checkout's.

A package that is installed from the checkout (`pip install -e .`), or found by PYTHONPATH, is on the import path
wherever the candidate file lies: the base of a comparison would be answered by the code that it is compared with.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from evalharness.errors import UsageError
from evalharness.github.git import Tree


@contextlib.contextmanager
def code_of(tree: Tree) -> Iterator[None]:
    """Within, modules of the checkout are not loaded, and where the import path leads into it, it leads into `tree`.

    Raises:
        UsageError: something was imported from the checkout all the same.
    """
    hidden = {
        name: module for name, module in list(sys.modules.items()) if _is_of(module, tree.checkout, tree)
    }
    path = list(sys.path)
    for name in hidden:
        del sys.modules[name]
    sys.path[:] = [place for entry in path if (place := _placed(entry, tree)) is not None]
    importlib.invalidate_caches()
    try:
        yield
        wrong = [name for name, module in sys.modules.items() if _is_of(module, tree.checkout, tree)]
        if wrong:
            raise UsageError(
                f"{', '.join(sorted(wrong)[:5])}: imported from the checkout while the base of {tree.commit[:12]} "
                "answered, so the base would be the candidate's code; have the target's module beside its candidate "
                "file, or on a path of the repository, and in no import hook"
            )
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if _is_of(module, tree.root, None) or _is_of(module, tree.checkout, tree):
                del sys.modules[name]
        sys.modules.update(hidden)
        importlib.invalidate_caches()


def _placed(entry: str, tree: Tree) -> str | None:
    """An entry of the import path, in the tree where it is in the checkout; None where the tree has no such folder."""
    place = Path(os.path.realpath(entry))
    if not _within(place, tree.checkout) or _within(place, tree.root):
        return entry
    there = tree.root / place.relative_to(os.path.realpath(tree.checkout))
    return str(there) if there.exists() else None


def _is_of(module: ModuleType, folder: Path, but: Tree | None) -> bool:
    """Whether a module was loaded from a folder of the user's, and not from the tree `but`."""
    about = getattr(module, "__dict__", {})  # asking a lazy module for its attributes would load it
    if (about.get("__name__") or "").partition(".")[0] in ("evalharness", "__main__"):
        return False
    file = about.get("__file__")
    try:
        places = [file] if file else list(about.get("__path__") or ())
    except (KeyError, TypeError):  # a namespace package whose parent is gone
        return False
    found = [Path(os.path.realpath(str(place))) for place in places]
    return any(_within(place, folder) and not (but and _within(place, but.root)) for place in found)


def _within(place: Path, folder: Path) -> bool:
    """Whether a path is in a folder, and not in an environment that lies there."""
    if "site-packages" in place.parts or place.is_relative_to(os.path.realpath(sys.prefix)):
        return False
    return place.is_relative_to(os.path.realpath(folder))
