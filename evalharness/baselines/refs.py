"""Refs: what stands under a name. Numbered entries, each created once and never changed; the highest counts.

```text
refs/main/000001.json   the first blessing
refs/main/000002.json   the second: it stands
```

The next number is created only where there is none, so that of two jobs that bless at once one wins and the other is
told by whom. No lock is held, nothing is replaced, and the history is what was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

from evalharness.baselines.names import check_name
from evalharness.baselines.places import Place
from evalharness.errors import StoreError, UsageError

FOLDER: Final = "refs"
SCHEMA: Final = 1
_NUMBERED: Final = re.compile(r"([0-9]{6,9})\.json")
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One blessing, or the end of one (`action` "expire").

    Attributes:
        name: of the baseline. number: of this entry, from 1.
        object: digest of what is stored; for an end, of what stood.
        previous: digest of what stood before, None for the first.
        at: when, ISO 8601 with the offset. by: who. note: why.
        commit: of the repository it was done in, None outside of one.
        expires: the last day it stands, ISO, None for no end.
        allowed_failures: why too many failed answers were allowed, None where they were not.
        run: {"id", "name", "candidate": {"digest", "provider", "model", "path"}, "models_returned", "coverage"}.
        suite: {"name", "digest", "path"}.
        golden_sets: name → {"version", "digest", "rotate_after", "locked"}.
        scorers: metric id → {"name", "version"}. judges: metric id → {"name", "digest", "model"}.
        plugins: what answered and scored, as in a run's manifest.
        evalharness: the version that blessed.
    """

    name: str
    number: int
    action: Literal["bless", "expire"]
    object: str
    at: str
    by: str
    note: str = ""
    previous: str | None = None
    commit: str | None = None
    expires: str | None = None
    allowed_failures: str | None = None
    run: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    suite: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    golden_sets: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    scorers: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    plugins: Sequence[Mapping[str, Any]] = ()
    evalharness: str = ""

    def row(self) -> dict[str, Any]:
        """The entry as JSON data."""
        return {"schema_version": SCHEMA, **asdict(self)}


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "name": (str,), "number": (int,), "action": (str,), "object": (str,), "at": (str,), "by": (str,), "note": (str,),
    "previous": (str, type(None)), "commit": (str, type(None)), "expires": (str, type(None)),
    "allowed_failures": (str, type(None)), "run": (dict,), "suite": (dict,), "golden_sets": (dict,),
    "scorers": (dict,), "judges": (dict,), "plugins": (list,), "evalharness": (str,),
}  # fmt: skip


def names(place: Place) -> list[str]:
    """Every name that was ever blessed, sorted.

    Raises:
        StoreError: the store cannot be read.
    """
    return [name for name in place.names(FOLDER) if _is_name(name)]


def numbers(place: Place, name: str) -> list[int]:
    """The numbers of the entries of a name, ascending; none where it was never blessed.

    Raises:
        StoreError: the store cannot be read.
    """
    found = (_NUMBERED.fullmatch(file) for file in place.names(f"{FOLDER}/{check_name(name)}"))
    return sorted(int(match[1]) for match in found if match is not None)


def read(place: Place, name: str, number: int) -> Entry | None:
    """An entry, None where there is none.

    Raises:
        StoreError: the store cannot be read, or the entry is damaged.
    """
    path = _path(name, number)
    data = place.read(path)
    if data is None:
        return None
    try:
        found = json.loads(data)
        version = found["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(place, path, str(error)) from error
    if version != SCHEMA:
        raise StoreError(
            f"{place.shown}: {path} is of schema {version!r}, and this evalharness knows {SCHEMA}; upgrade it"
        )
    wrong = [key for key, kinds in _TYPES.items() if type(found.get(key)) not in kinds]
    wrong += [key for key, value in (("name", name), ("number", number)) if found.get(key) != value]
    wrong += _wrong_inside(found) if not wrong else []
    if wrong:
        raise _damaged(place, path, f"{', '.join(wrong)} missing or wrong")
    return Entry(**{f.name: found[f.name] for f in fields(Entry)} | {"plugins": tuple(found["plugins"])})


def append(place: Place, entry: Entry) -> bool:
    """Create an entry; False where another one has its number already.

    Raises:
        StoreError: the store cannot be written.
    """
    text = json.dumps(entry.row(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return place.create(_path(entry.name, entry.number), text.encode("utf-8", "replace"))


def _path(name: str, number: int) -> str:
    return f"{FOLDER}/{check_name(name)}/{number:06d}.json"


def _is_name(name: str) -> bool:
    try:
        return bool(check_name(name))
    except UsageError:
        return False


def _wrong_inside(found: Mapping[str, Any]) -> list[str]:
    """Names of values that have the right type and cannot be used as what they are."""
    from datetime import date, datetime

    def day(text: str | None) -> bool:
        if text is None:
            return True
        try:
            return bool(date.fromisoformat(text))
        except ValueError:
            return False

    def moment(text: str) -> bool:
        try:
            return datetime.fromisoformat(text).tzinfo is not None
        except ValueError:
            return False

    run, candidate = found["run"], found["run"].get("candidate")
    right = {
        "action": found["action"] in ("bless", "expire"),
        "at": moment(found["at"]),
        "expires": day(found["expires"]),
        "run": isinstance(candidate, dict)
        and isinstance(run.get("name"), str)
        and isinstance(run.get("id"), str)
        and isinstance(run.get("models_returned"), list),
        "suite": isinstance(found["suite"].get("name"), str)
        and isinstance(found["suite"].get("digest"), str),
        **{
            key: all(isinstance(row, dict) for row in found[key].values())
            for key in ("golden_sets", "scorers", "judges")
        },
        "plugins": all(isinstance(row, dict) for row in found["plugins"]),
    }
    return [key for key, fine in right.items() if not fine]


def _damaged(place: Place, path: str, why: str) -> StoreError:
    return StoreError(
        f"{place.shown}: {path} is damaged ({why[:200]}); bring it back from git or the bucket's versions. Where it "
        "holds "
        "the marks of a merge, two branches blessed at once: keep one entry"
    )
