"""Regular expressions from data, matched in time linear in the text whatever the pattern.

Python's `re` backtracks: `(a+)+$` against forty letters outlives the build. RE2 cannot (Cox, "Regular Expression
Matching in the Wild", 2010), and unlike a time limit its answer does not depend on the machine. The price is no
lookaround and no backreferences; a pattern that uses them is refused when the suite is read.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from evalharness.errors import MissingExtraError

MAX_PATTERN: Final = 10_000


class Pattern:
    """A compiled pattern over text. `search` and `fullmatch` say whether it matches."""

    __slots__ = ("_compiled", "source")

    def __init__(
        self, source: str, *, ignore_case: bool = False, multiline: bool = False, dotall: bool = False
    ) -> None:
        """Compile. Raises ValueError for a pattern RE2 does not read."""
        self.source = source
        self._compiled = _compile(source, ignore_case, multiline, dotall)

    def search(self, text: str) -> bool:
        return self._compiled.search(_encoded(text)) is not None

    def fullmatch(self, text: str) -> bool:
        return self._compiled.fullmatch(_encoded(text)) is not None


def _encoded(text: str) -> bytes:
    # Matching bytes skips RE2's translation of offsets, which are not wanted; a lone surrogate becomes "?".
    return text.encode("utf-8", "replace")


def _compile(source: str, ignore_case: bool, multiline: bool, dotall: bool) -> Any:
    if len(source) > MAX_PATTERN:
        raise ValueError(f"the pattern has {len(source)} characters; at most {MAX_PATTERN} are read")
    try:
        re2 = importlib.import_module("re2")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "google-re2 is not installed; needed to match patterns: pip install google-re2"
        ) from error
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    options.dot_nl = dotall
    # RE2 reads ^ and $ as the ends of the text unless (?m) says otherwise.
    whole = f"(?m:{source})" if multiline else source
    try:
        return re2.compile(whole, options=options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0] if error.args else ""
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(error)
        raise ValueError(
            f"pattern {source[:80]!r} is not RE2 syntax ({said}); lookaround and backreferences are not "
            "supported, and a backslash needs single quotes in YAML"
        ) from error
