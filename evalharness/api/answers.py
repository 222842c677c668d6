"""The answers that recorded verdicts are on, from recorded outputs or a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from evalharness.api.settings import Settings
from evalharness.core.attempts import Failure
from evalharness.core.cases import Case
from evalharness.core.protocols import Request
from evalharness.core.runs import Run
from evalharness.errors import CallError

if TYPE_CHECKING:
    from evalharness.spec.verdicts import RecordedVerdict

Key: TypeAlias = "tuple[str | None, str, int]"
"""Golden set (None: any), case id, repeat."""


def key_of(row: RecordedVerdict) -> Key:
    """The answer of either side that a verdict is on."""
    return row.golden_set, row.id, row.repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The texts of one side that verdicts are on, and the ids of all cases that it answered."""

    texts: Mapping[Key, str]
    answered: frozenset[str]

    def length(self, row: RecordedVerdict) -> int:
        """Characters of the answer that a verdict is on."""
        return len(self.texts[key_of(row)])


def read_answers(given: str | Path, rows: Sequence[RecordedVerdict], use: Settings) -> Answers:
    """From recorded outputs or a run folder. A call that failed, or an id of several golden sets, gives no text."""
    from evalharness.engine.sides import finished_run
    from evalharness.store.folder import load_run

    path = use.paths.argument(str(given))
    keys = sorted({key_of(row) for row in rows}, key=repr)
    if path.is_dir():
        return _of_run(load_run(finished_run(path)), keys)
    return _of_recording(path, keys, use)


def _of_run(run: Run, keys: Sequence[Key]) -> Answers:
    texts = {
        (attempt.golden_set, attempt.case_id, attempt.repeat): attempt.outcome.text
        for group in run.attempts.values()
        for attempt in group.values()
        if not isinstance(attempt.outcome, Failure)
    }
    found: dict[Key, str] = {}
    for key in keys:
        sets = run.attempts if key[0] is None else (key[0],)
        here = [texts[name, *key[1:]] for name in sets if (name, *key[1:]) in texts]
        if len(here) == 1:
            found[key] = here[0]
    return Answers(texts=found, answered=frozenset(case_id for _, case_id, _ in texts))


def _of_recording(path: Path, keys: Sequence[Key], use: Settings) -> Answers:
    """Read through the provider of recordings, which knows the format."""
    from evalharness.engine.loop import run_sync
    from evalharness.spec.load import recording

    provider: Any = use.registry.load("providers", "replay")(recording(path))

    async def one(golden_set: str, case_id: str, repeat: int) -> str | None:
        case = Case(id=case_id)
        request = Request(golden_set=golden_set, case=case, repeat=repeat, messages=(), model=None)
        try:
            return str((await provider.complete(request, timeout_s=60.0)).text)
        except CallError:
            return None

    async def any_set(case_id: str, repeat: int) -> list[str]:
        # A row without a golden set answers for every set, so also for "", which none is called.
        for sets in ([""], sorted(provider.golden_sets())):
            texts = [await one(name, case_id, repeat) for name in sets]
            found = [text for text in texts if text is not None]
            if found:
                return found
        return []

    async def read() -> Answers:
        await provider.open()
        try:
            found: dict[Key, str] = {}
            for key in keys:
                golden_set, case_id, repeat = key
                if golden_set is None:
                    texts = await any_set(case_id, repeat)
                    text = texts[0] if len(texts) == 1 else None
                else:
                    text = await one(golden_set, case_id, repeat)
                if text is not None:
                    found[key] = text
            answered = frozenset([name for name in sorted(provider.ids()) if await any_set(name, 0)])
            return Answers(texts=found, answered=answered)
        finally:
            await provider.close()

    return run_sync(read())
