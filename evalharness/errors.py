"""Every error a user can meet, and the exit code it ends with.

```
EvalHarnessError              70  internal unless a subclass says otherwise
├── UsageError                 2  the command line or the environment asks for something impossible
│   ├── MissingExtraError      2  an optional library is not installed
│   └── PluginError            2  an unknown, clashing or broken plugin name
├── SpecError                  2  files a user wrote are wrong; carries every Problem found
├── StoreError                 2  a run folder, cache or report cannot be read or written
├── InvalidComparisonError     4  two runs cannot be compared, or nothing is gated
├── ProviderError              5  the model endpoint failed; what was collected is kept
│   └── BudgetError            5  a spend cap was reached; what was collected is kept
└── CallError                     one call failed; the engine turns it into a Failure (never leaves the engine)
```

This module is the bottom floor: it imports nothing of the package. Exit codes are a contract; `cli.main` is the
only place that turns exceptions into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

EXIT_PASS: Final = 0
EXIT_REGRESSION: Final = 1
EXIT_USAGE: Final = 2
EXIT_INCONCLUSIVE: Final = 3
EXIT_INVALID: Final = 4
EXIT_PROVIDER: Final = 5
EXIT_INTERNAL: Final = 70
EXIT_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one place, with the way to mend it.

    `line` and `column` count from 1. `hint` is a sentence that tells the user what to change.
    """

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = ""
        if self.file is not None:
            where = self.file + (f":{self.line}" if self.line is not None else "") + ": "
        return where + self.message + (f"; {self.hint}" if self.hint else "")


class EvalHarnessError(Exception):
    """Root of every error raised on purpose. `exit_code` is what the process ends with."""

    exit_code: int = EXIT_INTERNAL


class UsageError(EvalHarnessError):
    """The request itself is wrong: an option, an argument, a missing variable."""

    exit_code = EXIT_USAGE


class MissingExtraError(UsageError):
    """An optional library is needed; the message is one sentence with the pip command."""


class PluginError(UsageError):
    """A plugin name is unknown (nearest names are suggested), clashes, or fails to load."""


class ParameterError(ValueError):
    """Parameters of a plugin are wrong in one or more places, so that the reader of the file can name each line.

    `places` holds (keys and indices from the parameters down, message).
    """

    def __init__(self, places: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        self.places = tuple(places)
        super().__init__("; ".join(message for _, message in self.places))


class SpecError(EvalHarnessError):
    """Files a user wrote do not say what they must. Holds every problem, not the first one."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class StoreError(EvalHarnessError):
    """A file of ours cannot be read or written (disk full, no permission, damaged)."""

    exit_code = EXIT_USAGE


class InvalidComparisonError(EvalHarnessError):
    """The two sides cannot be compared, the baseline is missing, or nothing is gated."""

    exit_code = EXIT_INVALID


class ProviderError(EvalHarnessError):
    """The endpoint failed for the whole run. Collected attempts are kept; the same command resumes."""

    exit_code = EXIT_PROVIDER


class BudgetError(ProviderError):
    """The spend cap was reached before the run was complete. The same command with a higher cap resumes."""


class CallError(EvalHarnessError):
    """One call failed. Raised by providers, handled by the engine, never seen by a user as such.

    Attributes:
        kind: a `core.attempts.FailureKind`.
        retryable: whether the same call may succeed later.
        retry_after_s: seconds the server asked to wait, None where it said nothing.
        fatal: True when every further call would fail the same way (wrong key, unknown model): the run stops.
    """

    exit_code = EXIT_PROVIDER

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after_s: float | None = None,
        fatal: bool = False,
    ) -> None:
        self.kind = kind
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.fatal = fatal
        super().__init__(message)
