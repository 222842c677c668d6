"""What the engine tells of its progress, and the listener that says nothing."""

from __future__ import annotations

from typing import Protocol

from evalharness.core.attempts import Attempt


class Progress(Protocol):
    """Listens to a run. Implementations must be quick: they are called for every attempt."""

    def start(self, name: str, total: int, done: int) -> None:
        """A run of `total` attempts begins; `done` of them need no call."""
        ...

    def advance(self, attempt: Attempt, spent_usd: float | None) -> None:
        """An attempt arrived. `spent_usd` is the money spent in this run so far, None where no price is known."""
        ...

    def note(self, text: str) -> None:
        """Something a person should read: a wait, a resume, a slow endpoint."""
        ...

    def finish(self) -> None:
        """The run ended, well or not."""
        ...


class Silent:
    """Progress for library use."""

    def start(self, name: str, total: int, done: int) -> None:
        """Say nothing."""

    def advance(self, attempt: Attempt, spent_usd: float | None) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""
