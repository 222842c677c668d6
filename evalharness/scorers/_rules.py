"""Rules that the fields of a document must keep, declared as data: what they say, and whether a document keeps them.

Every rule is a mapping with one operator. Reading one checks all of it; checking a document can then only find that a
rule holds, or why it does not. Arithmetic is decimal, so that 0.1 + 0.2 is 0.3.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final, TypeAlias

from evalharness.errors import ParameterError
from evalharness.scorers._json import equal
from evalharness.scorers._paths import Absent, Path
from evalharness.scorers._patterns import Pattern
from evalharness.scorers._rule_parts import (
    Loc,
    Reading,
    RuleError,
    date_in,
    key_of,
    number_in,
    path_of,
    paths_of,
    said,
    short,
    term,
    terms_of,
    tolerance_of,
    value_of,
)
from evalharness.scorers.normalise import shown, text_of

# More digits than any amount has; exponents without end, so that no document can make arithmetic raise.
_DECIMAL: Final = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_COMPARISONS: Final[Mapping[str, Callable[[Decimal, Decimal], bool]]] = {
    "<": lambda difference, tolerance: difference < tolerance,
    "<=": lambda difference, tolerance: difference <= tolerance,
    ">": lambda difference, tolerance: difference > -tolerance,
    ">=": lambda difference, tolerance: difference >= -tolerance,
    "==": lambda difference, tolerance: abs(difference) <= tolerance,
    "!=": lambda difference, tolerance: abs(difference) > tolerance,
}

Check: TypeAlias = Callable[[Any, Any], "str | None"]
"""(the element a rule is applied to, the document) → why the rule does not hold, None where it holds."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a list, by its name in a score's detail."""

    name: str
    check: Check


def read_rules(rules: object, reading: Reading) -> tuple[Rule, ...]:
    """The rules of a list (or of the key `rules` of a mapping).

    Raises:
        ParameterError: everything wrong with them; places begin with "rules".
    """
    at: Loc = ("rules",)
    if isinstance(rules, Mapping):
        other = sorted(str(key) for key in rules if key != "rules")
        if other or "rules" not in rules:
            what = f"unknown key {other[0]!r}" if other else "the key 'rules' is missing"
            raise ParameterError([(at, f"{what}; a file of rules has one key, rules, with the list")])
        at, rules = ("rules", "rules"), rules["rules"]
    if not isinstance(rules, list | tuple) or not rules:
        raise ParameterError([(at, "rules must be a list with at least one rule")])
    found: list[Rule] = []
    problems: list[tuple[Loc, str]] = []
    names: dict[str, int] = {}
    for index, written in enumerate(rules):
        number = index + 1
        try:
            name, check = _named(written, number, reading)
        except RuleError as error:
            problems.append(((*at, index, *error.at), f"rule {number}: {error}"))
            continue
        if names.setdefault(name, number) != number:
            problems.append(((*at, index), f"rule {number}: rule {names[name]} is called {name!r}, too"))
        found.append(Rule(name, check))
    if problems:
        raise ParameterError(problems)
    return tuple(found)


def _named(written: object, number: int, reading: Reading) -> tuple[str, Check]:
    if not isinstance(written, Mapping):
        raise RuleError(f"a rule is a mapping such as {{required: total}}, not {shown(repr(written), 40)}")
    name = written.get("id")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise RuleError(f"id must be a text, not {name!r}", "id")
    rule = {key: value for key, value in written.items() if key != "id"}
    check = _rule(rule, reading)
    return name or f"{number} {next(key for key in rule if key in _OPERATORS)}", check


def _rule(rule: Mapping[Any, Any], reading: Reading) -> Check:
    operators = [key for key in rule if key in _OPERATORS]
    if not operators:
        beside = {key for _, keys in _OPERATORS.values() for key in (*keys, "each")}
        unknown = next((str(key) for key in rule if key not in beside), "")
        near = get_close_matches(unknown, _OPERATORS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(_OPERATORS))}"
        message = f"unknown operator {shown(unknown, 40)!r}" if unknown else "there is no operator in it"
        raise RuleError(f"{message}; {hint}", *([unknown] if unknown else []))
    if len(operators) > 1:
        raise RuleError(f"has both {operators[0]} and {operators[1]}; write two rules", operators[1])
    operator = operators[0]
    build, further = _OPERATORS[operator]
    for key in rule:
        if key not in (operator, "each", *further):
            known = ", ".join(sorted({*further, "each", "id"}))
            raise RuleError(f"{operator} does not know {key!r}; known: {known}", key)
    check = build(rule, reading)
    return check if "each" not in rule else _each(path_of(rule["each"], "each"), check)


def _each(path: Path, check: Check) -> Check:
    """Apply a rule to every element of a list; `each: lines` means `lines[*]`."""
    everyone = path if not path.single else Path(path.text, (*path.steps, None), path.rooted)

    def holds(here: Any, root: Any) -> str | None:
        found = everyone.values(here, root)
        if isinstance(found, Absent):
            return found.reason
        for place, element in found:
            reason = check(element, root)
            if reason is not None:
                return f"{place}: {reason}"
        return None

    return holds


# --- operators -----------------------------------------------------------------------------------------------------


def _total(operator: str, combine: Callable[[Sequence[Decimal]], Decimal]) -> Callable[..., Check]:
    def build(rule: Mapping[Any, Any], reading: Reading) -> Check:
        if "equals" not in rule:
            raise RuleError(f"{operator} needs `equals`, a field or a number")
        terms = terms_of(rule[operator], reading, operator)
        wanted = term(rule["equals"], reading, "equals", single=True)
        tolerance = tolerance_of(rule)

        def holds(here: Any, root: Any) -> str | None:
            found, target = terms(here, root), wanted(here, root)
            if isinstance(found, Absent):
                return found.reason
            if isinstance(target, Absent):
                return target.reason
            with localcontext(_DECIMAL):
                total = combine([number for _, number in found])
                name, number = target[0]
                if abs(total - number) <= tolerance:
                    return None
                return f"the {operator} is {short(total)}, {name} is {short(number)}"

        return holds

    return build


def _product(numbers: Sequence[Decimal]) -> Decimal:
    result = Decimal(1)
    for number in numbers:
        result *= number
    return result


def _compare(rule: Mapping[Any, Any], reading: Reading) -> Check:
    written = rule["compare"]
    if not isinstance(written, list | tuple) or len(written) != 3:
        raise RuleError('compare is a list of three: [field, "<=", field or number]', "compare")
    left, operator, right = written
    if operator not in _COMPARISONS:
        raise RuleError(f"compare knows {' '.join(_COMPARISONS)}, not {operator!r} (in quotes)", "compare", 1)
    sides = [value_of(side, "compare", place) for side, place in ((left, 0), (right, 2))]
    tolerance = tolerance_of(rule)

    def holds(here: Any, root: Any) -> str | None:
        read = [side(here, root) for side in sides]
        for one in read:
            if isinstance(one, Absent):
                return one.reason
        (left_name, first), (right_name, second) = read
        numbers = number_in(first, reading), number_in(second, reading)
        if numbers[0] is not None and numbers[1] is not None:
            with localcontext(_DECIMAL):
                fits = _COMPARISONS[operator](numbers[0] - numbers[1], tolerance)
        elif operator in ("==", "!="):
            fits = equal(first, second) == (operator == "==")
        else:
            name, value = (left_name, first) if numbers[0] is None else (right_name, second)
            return f"{name} is no number: {said(value)}"
        return None if fits else f"{left_name} is {said(first)}, {right_name} is {said(second)}"

    return holds


def _dates(operator: str, in_order: Callable[[Any, Any], bool]) -> Callable[..., Check]:
    def build(rule: Mapping[Any, Any], reading: Reading) -> Check:
        written = rule[operator]
        if not isinstance(written, list | tuple) or len(written) < 2:
            raise RuleError(f"{operator} is a list of at least two fields: [issued, due]", operator)
        paths = [path_of(one, operator, place, single=True) for place, one in enumerate(written)]

        def holds(here: Any, root: Any) -> str | None:
            read: list[tuple[str, dt.datetime, bool]] = []
            for path in paths:
                found = path.values(here, root)
                if isinstance(found, Absent):
                    return found.reason
                place, value = found[0]
                date = date_in(value, reading)
                if date is None:
                    return f"{place} is no date: {said(value)}"
                read.append((place, *date))
            for (first, one, day), (second, other, other_day) in pairwise(read):
                left, right = (one.date(), other.date()) if day or other_day else (one, other)
                if isinstance(left, dt.datetime) and (one.tzinfo is None) != (other.tzinfo is None):
                    return f"one of {first} and {second} has a time zone"
                if not in_order(left, right):
                    return f"{first} is {left.isoformat()}, {second} is {right.isoformat()}"
            return None

        return holds

    return build


def _of_each(
    operator: str, wrong: Callable[[Any, Mapping[Any, Any], Reading], Callable[[Any], str | None]]
) -> Callable[..., Check]:
    """A rule on every value of one or more paths: `wrong` makes, of the rule, what says of a value what is amiss."""

    def build(rule: Mapping[Any, Any], reading: Reading) -> Check:
        paths = paths_of(rule[operator], operator)
        amiss = wrong(operator, rule, reading)

        def holds(here: Any, root: Any) -> str | None:
            for path in paths:
                found = path.values(here, root)
                if isinstance(found, Absent):
                    return found.reason
                for place, value in found:
                    reason = amiss(value)
                    if reason is not None:
                        return f"{place} {reason}"
            return None

        return holds

    return build


def _required(operator: str, rule: Mapping[Any, Any], reading: Reading) -> Callable[[Any], str | None]:
    def amiss(value: Any) -> str | None:
        if value is None:
            return "is null"
        return "is empty" if isinstance(value, str) and not value.strip() else None

    return amiss


def _is_date(operator: str, rule: Mapping[Any, Any], reading: Reading) -> Callable[[Any], str | None]:
    return lambda value: None if date_in(value, reading) else f"is no date: {said(value)}"


def _in(operator: str, rule: Mapping[Any, Any], reading: Reading) -> Callable[[Any], str | None]:
    values = rule.get("values")
    if not isinstance(values, list | tuple) or not values:
        raise RuleError("in needs `values`, a list with at least one", "values")
    return lambda value: (
        None
        if any(equal(value, one) for one in values)
        else f"is {said(value)}, which is not among the values"
    )


def _pattern(operator: str, rule: Mapping[Any, Any], reading: Reading) -> Callable[[Any], str | None]:
    regex = rule.get("regex")
    if not isinstance(regex, str) or not regex:
        raise RuleError("pattern needs `regex`, a text in single quotes", "regex")
    try:
        compiled = Pattern(regex)
    except ValueError as error:
        raise RuleError(str(error), "regex") from None

    def amiss(value: Any) -> str | None:
        if not isinstance(value, str | int | float):
            return f"is no text: {said(value)}"
        return None if compiled.search(text_of(value)) else f"is {said(value)}, which does not match"

    return amiss


def _unique(rule: Mapping[Any, Any], reading: Reading) -> Check:
    paths = paths_of(rule["unique"], "unique")

    def holds(here: Any, root: Any) -> str | None:
        seen: dict[Any, str] = {}
        for path in paths:
            found = path.values(here, root)
            if isinstance(found, Absent):
                return found.reason
            for place, value in found:
                first = seen.setdefault(key_of(value), place)
                if first != place:
                    return f"{place} is {said(value)}, as {first} is"
        return None

    return holds


def _count(rule: Mapping[Any, Any], reading: Reading) -> Check:
    path = path_of(rule["count"], "count")
    if path.single:
        path = Path(path.text, (*path.steps, None), path.rooted)
    bounds = [(key, operator) for key, operator in (("at_least", ">="), ("at_most", "<=")) if key in rule]
    if not bounds and "equals" not in rule:
        raise RuleError("count needs `equals`, `at_least` or `at_most`")
    limits = []
    for key, operator in [*bounds, *([("equals", "==")] if "equals" in rule else [])]:
        limits.append(
            (_COMPARISONS[operator], term(rule[key], reading, key, single=True), key.replace("_", " "))
        )

    def holds(here: Any, root: Any) -> str | None:
        found = path.values(here, root)
        if isinstance(found, Absent):
            return found.reason
        for fits, limit, word in limits:
            wanted = limit(here, root)
            if isinstance(wanted, Absent):
                return wanted.reason
            if not fits(Decimal(len(found)) - wanted[0][1], Decimal(0)):
                bound = "" if word == "equals" else f"{word} "
                return f"{len(found)} of {path.text}, not {bound}{short(wanted[0][1])}"
        return None

    return holds


def _if(rule: Mapping[Any, Any], reading: Reading) -> Check:
    if "then" not in rule and "else" not in rule:
        raise RuleError("if needs `then`, a rule or a list of rules")
    parts = {key: _all(rule[key], reading, key) for key in ("if", "then", "else") if key in rule}

    def holds(here: Any, root: Any) -> str | None:
        branch = "then" if parts["if"](here, root) is None else "else"
        return parts[branch](here, root) if branch in parts else None

    return holds


def _all(written: object, reading: Reading, key: str) -> Check:
    listed = isinstance(written, list | tuple)
    checks: list[Check] = []
    for place, one in enumerate(written if isinstance(written, list | tuple) else [written]):
        at: Loc = (key, place) if listed else (key,)
        if not isinstance(one, Mapping):
            raise RuleError(f"{key} holds a rule or a list of rules, not {shown(repr(one), 40)}", *at)
        try:
            checks.append(_rule(one, reading))
        except RuleError as error:
            raise RuleError(f"{key}: {error}", *at, *error.at) from None
    if not checks:
        raise RuleError(f"{key} holds no rule", key)
    return lambda here, root: next(_reasons(checks, here, root), None)


def _reasons(checks: Sequence[Check], here: Any, root: Any) -> Iterator[str]:
    for check in checks:
        reason = check(here, root)
        if reason is not None:
            yield reason


_OPERATORS: Final[Mapping[str, tuple[Callable[..., Check], tuple[str, ...]]]] = {
    "sum": (_total("sum", lambda numbers: sum(numbers, Decimal(0))), ("equals", "tolerance")),
    "product": (_total("product", _product), ("equals", "tolerance")),
    "compare": (_compare, ("tolerance",)),
    "before": (_dates("before", lambda left, right: bool(left < right)), ()),
    "not_after": (_dates("not_after", lambda left, right: bool(left <= right)), ()),
    "date": (_of_each("date", _is_date), ()),
    "required": (_of_each("required", _required), ()),
    "in": (_of_each("in", _in), ("values",)),
    "pattern": (_of_each("pattern", _pattern), ("regex",)),
    "unique": (_unique, ()),
    "count": (_count, ("equals", "at_least", "at_most")),
    "if": (_if, ("then", "else")),
}
