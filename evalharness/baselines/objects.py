"""Content by digest: the files of a run, bound by an index whose digest is the object's name.

```text
objects/<64 hex>/
├── manifest.json  attempts.jsonl  scores.jsonl  …   the run folder's own files
├── asked.json                                       what each case asked (`baselines.asked`)
└── object.json                                      written last: {"files": {name: {"digest", "bytes"}}}
```

Every use checks every file. What is fetched is kept by digest, checked again each time, and fetched anew where it was
damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from evalharness._canon import digest
from evalharness.baselines.places import Place
from evalharness.errors import StoreError
from evalharness.store.files import explain, file_digest
from evalharness.store.folder import MANIFEST
from evalharness.store.journal import NAME as JOURNAL

FOLDER: Final = "objects"
INDEX: Final = "object.json"
_SCHEMA: Final = 1
_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PART: Final = re.compile(r"[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]{0,250}")
_MOST_FILES: Final = 10_000

Files = Mapping[str, Mapping[str, Any]]
"""name → {"digest", "bytes"}"""


def path_of(object_id: str) -> str:
    """Where an object lies in a store, and under which name in the cache.

    Raises:
        StoreError: it is no digest.
    """
    if not _ID.fullmatch(object_id):
        raise StoreError(
            f"{object_id[:100]!r} is no digest of a blessed run; the store of baselines is damaged"
        )
    return f"{FOLDER}/{object_id.removeprefix('sha256:')}"


def stage(run: Path, extra: Mapping[str, bytes], cache: Path) -> tuple[str, Path]:
    """A run folder as an object in the cache; returns its id and its folder. `extra`: further files.

    Raises:
        StoreError: a file cannot be read or written.
    """
    with _building(cache) as folder:
        for name in _run_files(run):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, target)
        for name, data in extra.items():
            (folder / name).write_bytes(data)
        files = {name: _described(folder / name) for name in _run_files(folder)}
        object_id = _id_of(files)
        (folder / INDEX).write_text(
            json.dumps({"schema_version": _SCHEMA, "files": files}, indent=2, sort_keys=True) + "\n",
            encoding="utf-8",
        )
        return object_id, _settled(folder, cache, object_id)


def put(place: Place, object_id: str, folder: Path) -> None:
    """Store an object from its folder in the cache, unless it is there whole already. A damaged one is replaced.

    Raises:
        StoreError: the store cannot be written.
    """
    path = path_of(object_id)
    files = _read_index(folder / INDEX, object_id)
    there = bool(place.names(path))
    if there and _is_stored(place, path, files, folder):
        return
    place.put_folder(path, folder, [*files, INDEX], replace=there)


def fetch(place: Place, object_id: str, cache: Path) -> Path:
    """The folder of an object in the cache, checked; copied from the store where it is not there whole.

    Raises:
        StoreError: the store has no such object, cannot be read, or a file is not what was blessed.
    """
    path = path_of(object_id)
    kept = cache / object_id.removeprefix("sha256:")
    if kept.is_dir():
        if _is_whole(kept, object_id):
            return kept
        shutil.rmtree(kept, ignore_errors=True)
    with _building(cache) as folder:
        if not place.fetch(f"{path}/{INDEX}", folder / INDEX):
            raise StoreError(
                f"{place.shown}: the content of a blessing is not there ({path}); bring it back (it was deleted, not "
                "committed, or is out of a shallow or partial copy), or bless again"
            )
        try:
            files = _read_index(folder / INDEX, object_id)
        except StoreError as error:
            raise _damaged(place, path, INDEX) from error
        for name, row in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not place.fetch(f"{path}/{name}", target) or _described(target) != row:
                raise _damaged(place, path, name)
        return _settled(folder, cache, object_id)


def _damaged(place: Place, path: str, name: str) -> StoreError:
    return StoreError(
        f"{place.shown}: {path}/{name} is not what was blessed (edited, damaged or gone); bring it back from git or "
        "the "
        "bucket's versions, or bless again"
    )


def _is_stored(place: Place, path: str, files: Files, folder: Path) -> bool:
    """Whether the store has every file of an object as it should be. `folder`: the object in the cache."""
    if place.read(f"{path}/{INDEX}") != (folder / INDEX).read_bytes():
        return False
    with _building(folder.parent) as copy:
        for number, (name, row) in enumerate(files.items()):
            target = copy / str(number)
            if not place.fetch(f"{path}/{name}", target) or _described(target) != row:
                return False
    return True


def _id_of(files: Files) -> str:
    return digest({"files": files})


def _is_whole(folder: Path, object_id: str) -> bool:
    try:
        files = _read_index(folder / INDEX, object_id)
    except StoreError:
        return False
    return all(file_digest(folder / name) == row["digest"] for name, row in files.items())


def _read_index(path: Path, object_id: str) -> Files:
    """The files that an index binds.

    Raises:
        StoreError: it is damaged, is of another object, or names what no run folder holds.
    """
    try:
        found = json.loads(path.read_bytes())
        files = {
            str(name): {"bytes": int(row["bytes"]), "digest": str(row["digest"])}
            for name, row in found["files"].items()
        }
    except OSError as error:
        raise explain(error, path, "read the file") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path}: damaged ({error!r})") from error
    if (
        _id_of(files) != object_id
        or len(files) > _MOST_FILES
        or not all(map(_is_safe, files))
        or MANIFEST not in files
    ):
        raise StoreError(f"{path}: not the index of this object")
    return files


def _is_safe(name: str) -> bool:
    """Whether a name can only mean a file inside the object."""
    return name != INDEX and all(_PART.fullmatch(part) for part in name.split("/"))


def _run_files(folder: Path) -> list[str]:
    """What a run folder holds for good, by path: no journal, no lock, no links."""
    found = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name not in (JOURNAL, INDEX)
    ]
    return [name for name in found if _is_safe(name)]


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        value = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "digest": f"sha256:{value}"}


@contextmanager
def _building(cache: Path) -> Iterator[Path]:
    """A folder of the cache to build an object in; gone at the end, whatever became of it."""
    folder = cache / f".{secrets.token_hex(8)}.tmp"
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise explain(error, cache, "keep a copy of a baseline") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settled(folder: Path, cache: Path, object_id: str) -> Path:
    """Move what was built to its place; what another process put there meanwhile is the same."""
    place = cache / object_id.removeprefix("sha256:")
    if place.is_dir() and not _is_whole(place, object_id):
        shutil.rmtree(place, ignore_errors=True)
    if not place.is_dir():
        try:
            os.rename(folder, place)
        except OSError:
            if not place.is_dir():
                raise
    return place
