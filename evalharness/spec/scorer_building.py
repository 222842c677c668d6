"""One scorer line of a suite → a scorer, built once and held against the cases it is to score."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evalharness.content import PathPolicy
from evalharness.core.cases import GoldenSet
from evalharness.core.protocols import IdentifiedScorer, Scorer
from evalharness.core.scores import Want
from evalharness.core.suites import ScorerSpec
from evalharness.errors import ParameterError, PluginError, Problem, SpecError, UsageError
from evalharness.plugins import Registry
from evalharness.spec.candidates import is_local, resolve
from evalharness.spec.golden_sets import CASES
from evalharness.spec.lines import BadLine, parse_json
from evalharness.spec.reader import MAX_BYTES, Document, Loc, did_you_mean, read_text, read_yaml
from evalharness.spec.values import RECORDED_NAME, SCORER_NAME

_WRITTEN_AS: Final = {"targets": "target"}
"""Fields of a case that cases.jsonl calls otherwise."""
_MOST_CASES: Final = 10
"""Cases named one by one that a scorer cannot score."""


@dataclass(frozen=True, slots=True)
class Built:
    """One scorer of one eval after a first, checking, construction."""

    spec: ScorerSpec
    scorer: Scorer

    @property
    def identity(self) -> dict[str, Any]:
        """What stands for the parameters in the suite's digest."""
        return dict(self.scorer.identity if isinstance(self.scorer, IdentifiedScorer) else self.spec.params)


class ScorerBuilder:
    """Builds the scorers of one suite; what is wrong goes to the document, or to `elsewhere` for other files."""

    def __init__(
        self, document: Document, paths: PathPolicy, registry: Registry, elsewhere: list[Problem]
    ) -> None:
        self.document = document
        self.paths = paths
        self.registry = registry
        self.elsewhere = elsewhere

    def build(self, loc: Loc, written: str, given: Any) -> Built | None:
        """Reduce a scorer's spelling to its ScorerSpec and construct it once."""
        recorded = RECORDED_NAME.fullmatch(written)
        match = SCORER_NAME.fullmatch(written)
        name = "recorded" if recorded else (match.group(1) if match else written)
        try:
            cls = self.registry.load("scorers", name)
        except (PluginError, UsageError) as error:
            message, _, hint = str(error).partition("; ")
            self.document.add(loc, message, hint or None)
            return None
        known = _parameters(cls)
        params: dict[str, Any] = {}
        if recorded:
            params["name"] = recorded.group(1)
        elif match is not None and match.group(2) is not None:
            params["k"] = int(match.group(2))
        if isinstance(given, Mapping):
            params |= given
        elif given is not None:
            free = [parameter for parameter in known if parameter not in params]
            if not free:
                self.document.add(loc, f"{written} takes no value")
                return None
            params[free[0]] = given
        spec_id = params.pop("id", written)
        if not isinstance(spec_id, str) or "/" in spec_id or not spec_id.isprintable() or not spec_id.strip():
            self.document.add((*loc, written, "id"), "id must be a text without '/'")
            return None
        return self.construct(loc, written, cls, known, ScorerSpec(name=name, id=spec_id, params=params))

    def construct(
        self, loc: Loc, written: str, cls: Any, known: Mapping[str, inspect.Parameter], spec: ScorerSpec
    ) -> Built | None:
        inner = (*loc, written)
        params = dict(spec.params)
        before = len(self.document.problems)
        for key in params:
            if known and key not in known:
                self.document.add(
                    (*inner, key), f"{written} has no parameter {key!r}", did_you_mean(key, [*known, "id"])
                )
        for key, parameter in known.items():
            if parameter.default is parameter.empty and key not in params:
                self.document.add(loc, f"{written} needs the parameter {key!r}")
        read: dict[str, Document] = {}
        for key, how in cls.files.items():
            if isinstance(params.get(key), str):
                if how == "yaml":
                    found = self.yaml((*inner, key), params[key])
                    if found is not None:
                        read[key], params[key] = found, found.data
                else:
                    params[key] = self.file((*inner, key), params[key], how)
        if len(self.document.problems) > before:
            return None
        try:
            scorer = cls(**params)
            scorer.metric  # noqa: B018  (some scorers check their parameters here)
        except UsageError as error:  # a library that is not installed
            self.document.add(loc, f"{written}: {error}")
            return None
        except ParameterError as error:
            for place, message in error.places:
                self.add_inside(inner, read, place, f"{written}: {message}")
            return None
        except (ValueError, TypeError) as error:
            self.document.add(loc, f"{written}: {error}")
            return None
        asks: Want = getattr(scorer, "asks", "answer")
        return Built(ScorerSpec(name=spec.name, id=spec.id, params=params, asks=asks), scorer)

    def add_inside(self, inner: Loc, read: Mapping[str, Document], place: Loc, message: str) -> None:
        """Record a problem inside a scorer's parameters: where it stands in the file that holds them, or here."""
        key = place[0]
        if key in read:
            elsewhere = read[str(key)]
            elsewhere.add(place[1:], message)
            self.elsewhere.append(elsewhere.problems[-1])
        elif (*inner, key) in self.document.places:
            self.document.add((*inner, *place), message)
        else:  # the first parameter, written without its name
            self.document.add((*inner, *place[1:]), message)

    def yaml(self, loc: Loc, text: str) -> Document | None:
        """The YAML file that a parameter names."""
        found = resolve(self.document, loc, text, self.paths)
        try:
            document = read_yaml(found, self.paths) if found is not None else None
        except SpecError as error:
            self.document.problems += error.problems
            return None
        if document is not None and document.problems:
            self.document.problems += document.problems
            return None
        return document

    def file(self, loc: Loc, text: str, how: str) -> Any:
        if how == "model" and not is_local(text, self.document, self.paths):
            return text
        found = resolve(self.document, loc, text, self.paths)
        if found is None:
            return None
        if how == "model":
            return str(found)
        shown = self.paths.show(found)
        try:
            content = read_text(found, shown, limit=MAX_BYTES)
            return parse_json(content) if how == "json" else content
        except SpecError as error:
            self.document.problems += error.problems
        except BadLine as error:
            self.document.problems.append(Problem(str(error), shown, hint=error.hint))
        return None

    def check_needs(self, loc: Loc, who: str, needs: Sequence[str], golden_set: GoldenSet) -> None:
        for attribute in needs:
            field = _WRITTEN_AS.get(attribute, attribute)
            without = [case for case in golden_set.cases if not getattr(case, attribute, None)]
            if without:
                named = ", ".join(f"{case.id} (line {case.line})" for case in without[:5])
                more = ", …" if len(without) > 5 else ""
                self.document.add(
                    loc,
                    f"{who} needs `{field}`, and {len(without)} of {len(golden_set.cases)} cases of "
                    f"{golden_set.path} have none: {named}{more}",
                    f"add `{field}` to them or take {who} out",
                )

    def check_cases(self, loc: Loc, built: Built, golden_set: GoldenSet) -> None:
        """Name the cases that a scorer says it cannot score, each with its line, and a set that tells it nothing."""
        blind = getattr(built.scorer, "blind", None)
        if blind is not None and golden_set.cases and (why := blind(golden_set.cases)):
            self.document.add(loc, f"{built.spec.id} can show nothing on {golden_set.path}: {why}")
        problem = getattr(built.scorer, "problem", None)
        if problem is None:
            return
        wrong = [(case, why) for case in golden_set.cases if case.targets and (why := problem(case))]
        for case, why in wrong[:_MOST_CASES]:
            said = Problem(
                f"case {case.id!r} cannot be scored: {why}", f"{golden_set.path}/{CASES}", case.line
            )
            if said not in self.elsewhere:  # by several scorers
                self.elsewhere.append(said)
        if len(wrong) > _MOST_CASES:
            self.document.add(loc, f"{built.spec.id} cannot score {len(wrong) - _MOST_CASES} further cases")


def _parameters(cls: Any) -> Mapping[str, inspect.Parameter]:
    """The constructor's named parameters, in order; {} where it takes any."""
    parameters = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return {}
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
