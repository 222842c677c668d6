"""Values that files hold as text, read and refused: margins, rules, scorers, names, dates, URLs.

Each parser raises a PydanticCustomError whose message and hint reach the user; each type pairs a parser with what
the JSON Schema says of it.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from evalharness.core.suites import Margin, MetricRule
from evalharness.spec.reader import did_you_mean

_MARGIN: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(pp|%)\s*")
_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DATE: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_TARGET: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_KEY: Final = re.compile(
    r"\b(sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|AIza[A-Za-z0-9_-]{30,}"
    r"|AKIA[A-Z0-9]{16}|gsk_[A-Za-z0-9]{16,}|xai-[A-Za-z0-9]{16,}|Bearer\s+[A-Za-z0-9._-]{16,})"
)
SCORER_NAME: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)(?:@([1-9][0-9]{0,5}))?")
RECORDED_NAME: Final = re.compile(r"recorded:([A-Za-z0-9][A-Za-z0-9_.-]*)")


_RULE_KEYS: Final = ("max_drop", "max_rise", "advisory", "labels", "drawn")
ONE_MARGIN: Final = (
    "a metric has one margin",
    "max_drop where higher is better, max_rise where lower is better",
)


def looks_like_key(text: str) -> bool:
    """Whether the text holds what looks like a literal API key."""
    return _KEY.search(text) is not None


def wrong(message: str, hint: str | None = None) -> PydanticCustomError:
    """A validation error whose message and hint reach the user as written (braces included)."""
    return PydanticCustomError("spec", "{message}", {"message": message, "hint": hint})


def parse_margin(value: Any) -> Margin:
    """`2pp` (absolute) or `5%` (relative) as an exact margin.

    Raises:
        PydanticCustomError: anything else; a bare number is answered with the two ways to write it.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        size = f"{value * 100 if 0 < value < 1 else abs(value) or 2:.10g}"
        raise wrong(
            f"the number {value} has no unit",
            f"write {size}pp (percentage points) or {size}% (relative to the baseline)",
        )
    ways = "write 2pp (percentage points) or 5% (relative to the baseline)"
    if not isinstance(value, str):
        raise wrong("a margin is text such as 2pp or 5%", ways)
    match = _MARGIN.fullmatch(value)
    if match is None:
        negative = value.strip().startswith("-")
        raise wrong(f"{value!r} is not a margin" + (": it must be above zero" if negative else ""), ways)
    amount = Fraction(match.group(1)) / 100
    if amount == 0:
        raise wrong("a margin must be above zero: no test can show that nothing at all changed", ways)
    relative = match.group(2) == "%"
    if amount > (10 if relative else 1):
        raise wrong(f"{value!r} is more than any metric could lose", ways)
    return Margin(amount, relative)


def parse_share(value: Any) -> float:
    """`2%` as 0.02, in [0, 1]."""
    match = _MARGIN.fullmatch(value) if isinstance(value, str) else None
    if match is None or match.group(2) != "%":
        raise wrong("a share of the cases is a percentage", "write 1% (the default) or 5%")
    share = float(Fraction(match.group(1)) / 100)
    if share > 1:
        raise wrong(f"{value!r} is more than all cases")
    return share


def parse_rule(value: Any) -> MetricRule:
    """`advisory`, or a mapping of max_drop / max_rise / advisory / labels with drawn.

    What depends on the scorers (the direction, whether the labels' metric exists) is checked once they are known.
    """
    if value == "advisory":
        return MetricRule(advisory=True)
    ways = "write `advisory` or, for example, {max_drop: 3pp}"
    if not isinstance(value, dict):
        raise wrong(f"{value!r} is not a rule for a metric", ways)
    for name in value:
        if name not in _RULE_KEYS:
            raise wrong(f"unknown key {name!r}", did_you_mean(str(name), _RULE_KEYS))
    if not value:
        raise wrong("the rule is empty", ways)
    advisory = value.get("advisory", False)
    if not isinstance(advisory, bool):
        raise wrong("advisory must be true or false")
    margins = [parse_margin(value[name]) for name in ("max_drop", "max_rise") if name in value]
    if len(margins) == 2:
        raise wrong(*ONE_MARGIN)
    labels = _labels(value)
    return MetricRule(advisory=advisory, margin=margins[0] if margins else None, labels=labels)


def _labels(rule: dict[Any, Any]) -> str | None:
    """The metric, or of a pairwise judge the file, that holds human labels; they must be declared a random draw."""
    if "labels" not in rule:
        if "drawn" in rule:
            raise wrong("drawn says how labels were drawn, and there are none", "add labels: <eval>/<scorer>")
        return None
    labels = rule["labels"]
    if not isinstance(labels, str) or not labels.strip():
        hint = 'write labels: "<eval>/<scorer>", or the file of preferences that correct a pairwise judge'
        raise wrong("labels names the metric that holds them", hint)
    if rule.get("drawn") != "random":
        said = "and the rule does not say how" if "drawn" not in rule else f"not {rule['drawn']!r}"
        raise wrong(
            f"the labelled cases must have been drawn at random, {said}: labels on disputed or hand-picked cases "
            "say nothing of the others and cannot be used",
            "write `drawn: random` where that is true, or take labels out",
        )
    return labels


def parse_scorer(value: Any) -> tuple[str, Any]:
    """Any spelling of a scorer as (name as written, parameters: mapping, single value, or None)."""
    if isinstance(value, str):
        name, params = value, None
    elif isinstance(value, dict) and len(value) == 1:
        ((name, params),) = value.items()
    else:
        raise wrong(
            "a scorer is a name, or a name with its parameters",
            "write `exact_match` or `{numeric: {tolerance: 0.01}}`",
        )
    if not SCORER_NAME.fullmatch(name) and not RECORDED_NAME.fullmatch(name):
        raise wrong(f"{name!r} is not a scorer's name")
    return name, params


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise wrong(f"{value!r} is not a name", "use letters, digits, '.', '_' and '-'")
    return value


def _printable(value: str) -> str:
    if not value.strip():
        raise wrong("the text is empty")
    if not value.isprintable():
        raise wrong("the text holds line breaks or control characters")
    return value


def _date(value: str) -> str:
    if not _DATE.fullmatch(value):
        raise wrong(f"{value!r} is not a date", "write it as 2026-01-31")
    return value


def parse_day(value: Any) -> date:
    """`2027-01-31` as a date."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise wrong(f"there is no day {value}") from None
    raise wrong(f"{value!r} is not a date", "write it as 2027-01-31; nothing is waived for ever")


def _reason(value: str) -> str:
    if len(_printable(value).split()) < 2:
        raise wrong(f"{value!r} is no reason", "say in a sentence why this may get worse; reports show it")
    return value


def _pattern(value: str) -> str:
    import re2  # type: ignore[import-untyped]

    try:
        compiled = re2.compile(value)
    except re2.error as error:
        raise wrong(
            f"{value!r} is no RE2 expression: {error}", "RE2 has no look-around and no back references"
        ) from None
    if compiled.search("") is not None:
        raise wrong(f"{value!r} also fits nothing at all", "write what has to stand there")
    return value


Pattern: TypeAlias = Annotated[str, AfterValidator(_pattern)]
"""A regular expression that is matched in linear time and needs at least one character."""


def _variable(value: str) -> str:
    if looks_like_key(value) or not _VARIABLE.fullmatch(value):
        raise wrong(
            "this is not the name of an environment variable", "write the name, such as OPENAI_API_KEY"
        )
    return value


def _url(value: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong("this is not a URL", "write http://host:port/v1") from None
    if parts.scheme not in ("http", "https") or not host:
        raise wrong(f"{value!r} is not an http(s) URL", "write http://host:port/v1")
    if parts.username or parts.password:
        raise wrong("a URL must not carry a user name or password", "name the key's variable in api_key_env")
    return value


def callable_target(value: str) -> str:
    """`package.module:function` as it is."""
    if not _TARGET.fullmatch(value):
        raise wrong(f"{value!r} does not name a callable", "write package.module:function")
    return value


def _stop(value: Any) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or not all(isinstance(item, str) and item for item in items):
        raise wrong("stop is a text or a list of texts")
    return items


Slug: TypeAlias = Annotated[str, AfterValidator(_slug)]
Line: TypeAlias = Annotated[str, AfterValidator(_printable)]
Date: TypeAlias = Annotated[str, AfterValidator(_date)]
Day: TypeAlias = Annotated[
    Any, BeforeValidator(parse_day), WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"})
]
Reason: TypeAlias = Annotated[str, AfterValidator(_reason)]
Variable: TypeAlias = Annotated[str, AfterValidator(_variable)]
URL: TypeAlias = Annotated[str, AfterValidator(_url)]
Stop: TypeAlias = Annotated[
    list[str],
    BeforeValidator(_stop),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
_MARGIN_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": r"^\s*([0-9]+(\.[0-9]+)?|\.[0-9]+)\s*(pp|%)\s*$",
    "examples": ["2pp", "5%"],
}
MarginText: TypeAlias = Annotated[Any, BeforeValidator(parse_margin), WithJsonSchema(_MARGIN_SCHEMA)]
ShareText: TypeAlias = Annotated[
    Any, BeforeValidator(parse_share), WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+\s*%$"})
]
RuleItem: TypeAlias = Annotated[
    Any,
    BeforeValidator(parse_rule),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "advisory"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "max_drop": _MARGIN_SCHEMA,
                        "max_rise": _MARGIN_SCHEMA,
                        "advisory": {"type": "boolean"},
                        "labels": {
                            "type": "string",
                            "description": "The metric of the same eval that holds human labels of some cases; "
                            "for a pairwise judge the file of people's preferences",
                        },
                        "drawn": {"const": "random", "description": "How the labelled cases were chosen"},
                    },
                    "dependentRequired": {"labels": ["drawn"], "drawn": ["labels"]},
                },
            ]
        }
    ),
]
ScorerItem: TypeAlias = Annotated[
    Any,
    BeforeValidator(parse_scorer),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}
    ),
]
