"""Do the fields of a document agree with each other: sums, dates in order, codes out of a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored
from evalharness.errors import ParameterError
from evalharness.scorers._json import BadJSON, extract
from evalharness.scorers._rule_parts import Reading, date_format
from evalharness.scorers._rules import Rule, read_rules
from evalharness.scorers.exact import BINARY, RIGHT
from evalharness.scorers.normalise import one_of, shown, texts

_SHOWN: Final = 20


@dataclass(frozen=True)
class _Rules:
    """What the two share: rules, and which of them an answer breaks."""

    rules: Any
    numbers: str = "strict"
    formats: tuple[str, ...] = ()
    extract: str = "fenced"
    _rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {"rules": "yaml"}

    def __post_init__(self) -> None:
        one_of("extract", self.extract, ("fenced", "strict"))
        one_of("numbers", self.numbers, ("strict", "loose"))
        if self.formats != ():
            object.__setattr__(self, "formats", texts("formats", self.formats))
            try:
                for form in self.formats:
                    date_format(form)
            except ValueError as error:
                raise ParameterError([(("formats",), str(error))]) from None
        reading = Reading(loose=self.numbers == "loose", formats=self.formats)
        object.__setattr__(self, "_rules", read_rules(self.rules, reading))

    def _broken(self, text: str) -> dict[str, str] | str:
        """Why each broken rule is broken, by its name; a text where there is no document to look at."""
        try:
            document = extract(text, self.extract)
        except BadJSON as error:
            return f"not JSON: {error}"
        try:
            found = {rule.name: rule.check(document, document) for rule in self._rules}
        except RecursionError:
            return "nested too deeply"
        return {name: shown(reason) for name, reason in found.items() if reason is not None}

    def _scored(self, text: str, value: Any) -> Scored:
        broken = self._broken(text)
        if isinstance(broken, str):
            return Scored(0.0, detail={"reason": broken})
        if not broken:
            return RIGHT
        return Scored(value(len(broken)), detail={"broken": dict(list(broken.items())[:_SHOWN])})


@dataclass(frozen=True)
class Rules(_Rules):
    """Share of the rules that the output's JSON keeps; 0 to 1.

    `rules` is a list of rules, or a path to a YAML file with the key `rules`: sum, product, compare, before, not_after,
    date, required, unique, count, in, pattern and if, on fields named by paths such as `lines[*].total`. A field that
    is missing breaks the rule that names it; an output that is not JSON breaks all. `numbers`: "strict" reads JSON
    numbers only, "loose" texts that hold one number, too ("1,234.50 €", "19%" as 0.19). `formats`: of dates beside
    ISO 8601, such as %d.%m.%Y. `extract` as for json_valid.
    """

    name: ClassVar[str] = "rules"

    @property
    def metric(self) -> Metric:
        return Metric(direction="higher", unit="fraction", kind="bounded")

    def score(self, case: Case, response: Response) -> Score:
        return self._scored(response.text, lambda broken: 1.0 - broken / len(self._rules))


@dataclass(frozen=True)
class RulesAll(_Rules):
    """1 when the output's JSON keeps every rule, else 0, with each broken rule and why in the detail.

    Parameters as for `rules`.
    """

    name: ClassVar[str] = "rules_all"

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        return self._scored(response.text, lambda broken: 0.0)
