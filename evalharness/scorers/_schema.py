"""A JSON Schema validator that fetches nothing and cannot be stalled by a pattern."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from evalharness.scorers._patterns import Pattern
from evalharness.scorers.normalise import shown

_DATA_KEYWORDS: Final = frozenset({"const", "enum", "default", "examples"})


def validator(schema: Any) -> Any:
    """A `jsonschema` validator of `schema`.

    Raises:
        TypeError: the schema is not a JSON Schema at all (a list, a text).
        ValueError: it breaks its own draft, refers to something outside itself, or has a pattern RE2 cannot read.
    """
    import jsonschema
    import referencing
    from jsonschema.validators import extend, validator_for

    if not isinstance(schema, dict | bool):
        raise TypeError(f"schema must be a JSON Schema (an object), not {type(schema).__name__}")
    declared = schema.get("$schema") if isinstance(schema, dict) else None
    if declared is not None and not isinstance(declared, str):
        raise TypeError(f"$schema must be a text, not {declared!r}")
    draft = validator_for(schema, default=jsonschema.Draft202012Validator)
    if declared is not None and draft.META_SCHEMA.get("$schema", "").rstrip("#") != declared.rstrip("#"):
        raise ValueError(f"$schema {declared!r} is not known; leave it out for Draft 2020-12")
    try:
        draft.check_schema(cast(Any, schema))
    except jsonschema.SchemaError as error:
        path = ".".join(map(str, error.absolute_path)) or "the top"
        raise ValueError(f"not a valid JSON Schema at {path}: {shown(error.message)}") from None
    except RecursionError:
        raise ValueError("the schema is nested too deeply") from None
    _check(schema)
    safe: Any = extend(  # type: ignore[no-untyped-call]
        draft,
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
        },
    )
    # An empty registry: without one the library would fetch remote references.
    built = safe(schema, registry=referencing.Registry())
    _check_references(schema, built)
    return built


def _subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, Mapping):
        yield schema
        for key, value in schema.items():
            if key not in _DATA_KEYWORDS:
                yield from _subschemas(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _subschemas(value)


def _check(schema: Any) -> None:
    for part in _subschemas(schema):
        named = part.get("patternProperties")
        if isinstance(named, Mapping):
            for source in named:
                _compiled(source)
            if "unevaluatedProperties" in part:
                raise ValueError(
                    "patternProperties beside unevaluatedProperties is not supported; use additionalProperties"
                )
        if isinstance(part.get("pattern"), str):
            _compiled(part["pattern"])


def _check_references(schema: Any, built: Any) -> None:
    import referencing.exceptions

    for part in _subschemas(schema):
        for keyword in ("$ref", "$dynamicRef"):
            reference = part.get(keyword)
            if not isinstance(reference, str):
                continue
            try:
                built._resolver.lookup(reference)
            except (referencing.exceptions.Unresolvable, ValueError):
                raise ValueError(
                    f"{keyword} {reference!r} points at nothing inside the schema; copy what it names into $defs"
                ) from None


@lru_cache(maxsize=256)
def _compiled(source: str) -> Pattern:
    return Pattern(source)


def _pattern(validator: Any, source: str, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(instance, "string") and not _compiled(source).search(instance):
        yield ValidationError(f"{shown(instance)!r} does not match {source!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for source, subschema in patterns.items():
            for key, value in instance.items():
                if _compiled(source).search(key):
                    yield from validator.descend(value, subschema, path=key, schema_path=source)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [
        key for key in instance if key not in known and not any(_compiled(p).search(key) for p in patterns)
    ]
    if validator.is_type(allowed, "object"):
        for key in extra:
            yield from validator.descend(instance[key], allowed, path=key)
    elif allowed is False and extra:
        names = ", ".join(shown(repr(key), 40) for key in extra[:5])
        yield ValidationError(f"additional properties are not allowed: {names}")
