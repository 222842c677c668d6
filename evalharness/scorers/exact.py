"""Is the answer, or does it hold, what was asked for: exact match, containment, pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers._json import BadJSON, equal, parse
from evalharness.scorers._patterns import Pattern
from evalharness.scorers.normalise import Normalise, by_name, flag, text_of, texts, written

RIGHT: Final = Scored(1.0)
WRONG: Final = Scored(0.0)
BINARY: Final = Metric(direction="higher", unit="fraction", kind="binary")
CORPUS: Final = Metric(direction="higher", unit="fraction", kind="corpus")
NO_TARGETS: Final = Unscored("the case has no target")


@lru_cache(maxsize=8192)
def _prepared(normalise: Normalise, target: str) -> str:
    """A target normalised once for both sides and all repeats; bounded, so that a large set costs no memory."""
    return normalise(target)


@dataclass(frozen=True)
class ExactMatch:
    """1 when the output equals any accepted target after normalisation, else 0.

    `normalise`: "none", "trim", "loose" (default) or "squad"; see `scorers.normalise`. A target that is a number
    equals an output that is that number ("3", "3.0"); true and false equal those words; an object or a list equals
    an output that is the same JSON, whatever its key order.
    """

    normalise: str = "loose"
    _normalise: Normalise = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "exact_match"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "_normalise", by_name(self.normalise))

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        normalise = self._normalise
        output = normalise(response.text)
        for target in case.targets:
            if isinstance(target, str):
                if output == _prepared(normalise, target):
                    return RIGHT
            elif self._equals(target, output, response.text):
                return RIGHT
        return WRONG if case.targets else NO_TARGETS

    def _equals(self, target: Any, output: str, raw: str) -> bool:
        if isinstance(target, bool) or target is None:
            return output == self._normalise(text_of(target))
        if isinstance(target, int | float):
            try:
                return equal(parse(output), target)
            except BadJSON:
                return False
        try:
            return equal(parse(raw), target)
        except BadJSON:
            return False


@dataclass(frozen=True)
class Contains:
    """1 when the output contains an accepted target (or one of `values`) after normalisation, else 0.

    `all` asks for every one of them; `whole_words` for a match that is not part of a longer word ("no" in "know").
    """

    values: tuple[str, ...] | None = None
    all: bool = False
    normalise: str = "loose"
    whole_words: bool = False
    _normalise: Normalise = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "contains"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "_normalise", by_name(self.normalise))
        flag("all", self.all)
        flag("whole_words", self.whole_words)
        if self.values is not None:
            object.__setattr__(self, "values", texts("values", self.values))
            object.__setattr__(self, "needs", ())  # what is looked for is given, so the cases need no target

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        wanted = case.targets if self.values is None else self.values
        if not wanted:
            return NO_TARGETS
        normalise = self._normalise
        output = normalise(response.text)
        missing: list[str] = []
        for target in wanted:
            text = written(target)
            needle = _prepared(normalise, text)
            if needle and (_has_word(output, needle) if self.whole_words else needle in output):
                if not self.all:
                    return RIGHT
            else:
                missing.append(text)
        if self.all and not missing:
            return RIGHT
        return Scored(0.0, detail={"missing": missing}) if self.all else WRONG


def _has_word(text: str, word: str) -> bool:
    """Whether `word` stands in `text` with no letter or digit against its own outer letters or digits."""
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        before = at > 0 and word[0].isalnum() and text[at - 1].isalnum()
        after = end < len(text) and word[-1].isalnum() and text[end].isalnum()
        if not before and not after:
            return True
        at = text.find(word, at + 1)
    return False


_FLAGS: Final = {"i": "ignore_case", "m": "multiline", "s": "dotall"}


@dataclass(frozen=True)
class Regex:
    """1 when `pattern` matches the output, else 0.

    `pattern` is RE2 syntax: no lookaround, no backreferences, and time linear in the output whatever the pattern.
    `flags` is any of "i" (letter case ignored), "m" (^ and $ at every line), "s" (a dot matches a line end).
    `full` asks the pattern to match the whole output, white space at its ends aside. `absent` turns it round: 1
    when the pattern does not match.
    """

    pattern: str
    flags: str = ""
    full: bool = False
    absent: bool = False
    _compiled: Pattern = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "regex"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        pattern: object = self.pattern  # parameters come from YAML, so their types are not to be trusted
        if not isinstance(pattern, str):
            raise TypeError(f"pattern must be a text, not {type(pattern).__name__}; put it in quotes")
        if not self.pattern:
            raise ValueError("pattern is empty and would match everything; write what to look for")
        flags: object = self.flags
        if not isinstance(flags, str) or set(flags) - set(_FLAGS):
            raise ValueError(f"flags must be made of the letters i, m and s, not {self.flags!r}")
        flag("full", self.full)
        flag("absent", self.absent)
        options = {_FLAGS[letter]: True for letter in self.flags}
        object.__setattr__(self, "_compiled", Pattern(self.pattern, **options))

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        compiled, text = self._compiled, response.text
        matched = compiled.fullmatch(text.strip()) if self.full else compiled.search(text)
        return RIGHT if matched != self.absent else WRONG
