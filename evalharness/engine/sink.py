"""Where attempts go as they arrive: memory, journal, cache, progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evalharness.core.attempts import Attempt, Response
from evalharness.core.protocols import Request
from evalharness.engine.progress import Progress
from evalharness.errors import StoreError
from evalharness.store.cache import ResponseCache
from evalharness.store.journal import Journal

FullKey = tuple[str, str, int]
"""(golden set, case id, repeat)"""


def key_of(request: Request) -> FullKey:
    """The identity of a request inside its plan."""
    return request.golden_set, request.case.id, request.repeat


class CacheWriter:
    """Writes to the response cache until it fails once: a run that has its answers does not die for the cache.

    `keys` are the cache keys of the requests that may be written.
    """

    def __init__(
        self, cache: ResponseCache, keys: Mapping[FullKey, str], note: Callable[[str], None]
    ) -> None:
        self._cache = cache
        self._keys = keys
        self._note = note
        self._broken = False

    def put(self, key: FullKey, response: Response) -> None:
        """Remember a response."""
        if not self._broken:
            self._try(lambda: self._cache.put(self._keys[key], response))

    def flush(self) -> None:
        """Commit what was put."""
        if not self._broken:
            self._try(self._cache.flush)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StoreError as error:
            self._broken = True
            self._cache.forget()
            self._note(f"{error}; this run goes on without it")


class Sink:
    """Takes every attempt of an execution. The journal comes before everything that could fail."""

    def __init__(
        self,
        attempts: dict[FullKey, Attempt],
        journal: Journal,
        cache: CacheWriter | None,
        progress: Progress,
        spent_usd: Callable[[], float | None],
    ) -> None:
        self._attempts = attempts
        self._journal = journal
        self._cache = cache
        self._progress = progress
        self._spent_usd = spent_usd

    def __call__(self, request: Request, attempt: Attempt) -> None:
        """Keep one attempt.

        Raises:
            StoreError: the journal cannot be written.
        """
        self._journal.append(attempt)
        key = key_of(request)
        self._attempts[key] = attempt
        if self._cache is not None and isinstance(attempt.outcome, Response):
            self._cache.put(key, attempt.outcome)
        self._progress.advance(attempt, self._spent_usd())
