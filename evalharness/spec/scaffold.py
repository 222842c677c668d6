"""What `evalharness init` writes: a small project that compares at once, without a key or a network."""

from __future__ import annotations

from pathlib import Path

from evalharness.errors import StoreError, UsageError

_STARTER = Path(__file__).parent / "starter"


def scaffold(directory: Path) -> list[Path]:
    """Copy the starter files into `directory`, which is made where it is missing.

    Returns:
        the files written, in reading order.

    Raises:
        UsageError: one of the files is there already; nothing is written then.
        StoreError: the folder cannot be written.
    """
    sources = sorted(path for path in _STARTER.rglob("*") if path.is_file())
    # Files at the top first: they are where a reader starts.
    sources.sort(key=lambda path: len(path.relative_to(_STARTER).parts))
    targets = [directory / source.relative_to(_STARTER) for source in sources]
    there = [str(target) for target in targets if target.exists() or target.is_symlink()]
    if there:
        raise UsageError(
            f"{', '.join(there)} would be overwritten; name an empty folder: evalharness init DIR"
        )
    try:
        for source, target in zip(sources, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    except OSError as error:
        raise StoreError(f"{directory} cannot be written: {error.strerror or error}") from error
    return targets
