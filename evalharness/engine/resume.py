"""What need not be asked: answers of a killed run, of an identical earlier one, of a moment ago, of the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalharness.core.attempts import Attempt, Response
from evalharness.core.protocols import Provider, Request
from evalharness.core.runs import Run
from evalharness.engine.plan import Asked, Plan
from evalharness.engine.sink import CacheWriter, FullKey, key_of
from evalharness.errors import StoreError
from evalharness.redaction import Arrival
from evalharness.store.cache import ResponseCache
from evalharness.store.folder import ATTEMPTS, changed_files, is_run_folder, read_attempts, read_manifest
from evalharness.store.journal import NAME as JOURNAL
from evalharness.store.journal import Recovered, read_journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What earlier runs of one plan left in its folder: a finished run, a journal, or both.

    `fresh`: nothing stored counts but the journal. `usable`: finished answers and cached responses count. They do not
    for a provider that cannot be cached, whose finished runs are made anew and whose unfinished ones are resumed.
    """

    folder: Path
    plan: Plan
    journaled: Recovered
    fresh: bool
    usable: bool

    @classmethod
    def read(cls, folder: Path, plan: Plan, provider: Provider, *, fresh: bool, commit: str = "") -> Leftover:
        """What is there. `commit`: as `journal_mark`.

        Raises:
            StoreError: the journal cannot be read.
        """
        journaled = read_journal(folder / JOURNAL, journal_mark(plan, provider, commit))
        # a run that was to use nothing stored stays so when it is resumed
        fresh = fresh or (journaled.fresh and bool(journaled.attempts))
        return cls(
            folder=folder,
            plan=plan,
            journaled=journaled,
            fresh=fresh,
            usable=provider.cacheable and not fresh,
        )

    def attempts(self, asked: Asked | None = None) -> dict[FullKey, Attempt]:
        """The responses that count.

        Failures are not answers: what is `asked` now (None: everything) is asked again. Those of other cases stay, so
        that a whole run remains one.
        """
        found = [*(self._finished() if self.usable else ()), *self.journaled.attempts]
        planned = {key_of(r) for r in self.plan.requests}
        elsewhere = planned - {key_of(r) for r in self.plan.wanted(asked)}
        kept: dict[FullKey, Attempt] = {}
        for attempt in found:
            key = (attempt.golden_set, attempt.case_id, attempt.repeat)
            if isinstance(attempt.outcome, Response):
                if key in planned:
                    kept[key] = attempt
            elif key in elsewhere:
                kept.setdefault(key, attempt)
        return kept

    def _finished(self) -> list[Attempt]:
        """The attempts of the stored run; none where they are damaged: ask again rather than trust them."""
        if not is_run_folder(self.folder):
            return []
        try:
            manifest = read_manifest(self.folder)
            if manifest["plan"] != self.plan.digest:
                return []
            # a journal beside them says that storing them again was cut short, so the manifest may be older
            interrupted = bool(self.journaled.attempts)
            if ATTEMPTS in changed_files(self.folder, manifest) and not interrupted:
                return []
            return list(read_attempts(self.folder))
        except (StoreError, KeyError, TypeError, AttributeError):
            return []

    def remember(self, attempts: Mapping[FullKey, Attempt], writer: CacheWriter) -> None:
        """Hand what a killed run had not yet committed to the cache, of the `attempts` that count."""
        for journaled in self.journaled.attempts:
            key = (journaled.golden_set, journaled.case_id, journaled.repeat)
            attempt = attempts.get(key)
            if attempt is not None and isinstance(attempt.outcome, Response):
                writer.put(key, attempt.outcome)


def journal_mark(plan: Plan, provider: Provider, commit: str) -> str:
    """What a journal is of: a plan and, where that does not pin the code that answers, the `commit` it stands in.

    "": which commit that is, nobody said.
    """
    return f"{plan.digest} {commit}" if commit and not provider.cacheable else plan.digest


def answers_of(run: Run | None, plan: Plan) -> dict[FullKey, Attempt]:
    """The responses of a run that this plan asks for too."""
    if run is None:
        return {}
    wanted = {key_of(r) for r in plan.requests}
    return {
        (name, *key): attempt
        for name, group in run.attempts.items()
        for key, attempt in group.items()
        if (name, *key) in wanted and isinstance(attempt.outcome, Response)
    }


def from_cache(
    requests: Sequence[Request],
    cache: ResponseCache,
    keys: Mapping[FullKey, Sequence[str]],
    attempts: dict[FullKey, Attempt],
    arrive: Arrival,
) -> list[Request]:
    """Answer from the cache what it knows, into `attempts`; returns the requests that stay open.

    `keys`: of each request those that answer it, the first one known counts.
    """
    known = cache.get_many([key for request in requests for key in keys[key_of(request)]])
    still_open = []
    for request in requests:
        response = next((known[key] for key in keys[key_of(request)] if key in known), None)
        if response is None:
            still_open.append(request)
            continue
        attempts[key_of(request)] = Attempt(
            golden_set=request.golden_set,
            case_id=request.case.id,
            repeat=request.repeat,
            outcome=arrive.response(response),
            cached=True,
        )
    return still_open


def facts_of_part(folder: Path, plan: Plan) -> Mapping[str, Any]:
    """The facts of a stored run of this plan that asked a part of it: what it cost is part of the whole's cost."""
    if not is_run_folder(folder):
        return {}
    try:
        manifest = read_manifest(folder)
    except StoreError:
        return {}
    return manifest["facts"] if manifest["plan"] == plan.digest and manifest.get("unasked") else {}


def loads_before(folder: Path, plan: Plan) -> set[int]:
    """The concurrency under which a stored run of this plan made its calls: every value it had."""
    if not is_run_folder(folder):
        return set()
    try:
        manifest = read_manifest(folder)
    except StoreError:
        return set()
    return set(manifest["facts"].get("concurrency", ())) if manifest["plan"] == plan.digest else set()


def summed(earlier: Mapping[str, Any], facts: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """`facts`, with those named (calls, tokens, time and money) added to those of an earlier run."""
    found = dict(facts)
    for name in names:
        before, now = earlier.get(name), facts.get(name)
        if before is not None or now is not None:
            found[name] = round((before or 0) + (now or 0), 6)
    return found
