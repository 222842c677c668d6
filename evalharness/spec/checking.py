"""From a pydantic validation to problems a user can act on: file, line, what is wrong, what to write instead."""

from __future__ import annotations

import typing
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from evalharness.spec.models import Spec
from evalharness.spec.reader import Document, Loc, Place, describe, did_you_mean
from evalharness.spec.values import looks_like_key

_Model = TypeVar("_Model", bound=Spec)

_ASKED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of `key: value` lines",
    "model_type": "a mapping of `key: value` lines",
    "model_attributes_type": "a mapping of `key: value` lines",
}


def check(model: type[_Model], document: Document) -> _Model | None:
    """Validate a document against its model; None after recording what is wrong in the document."""
    refuse_keys(document)
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _report(model, document, detail)
        return None


def part(model: type[_Model], value: Any) -> _Model | None:
    """The part of a wrong file that is right on its own, so that what it names is checked in the same pass."""
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def refuse_keys(document: Document) -> None:
    """Record every text value that looks like a literal API key, without repeating it."""
    pending: list[tuple[Loc, Any]] = [((), document.data)]
    while pending:
        loc, value = pending.pop()
        if isinstance(value, dict):
            pending.extend(((*loc, name), item) for name, item in value.items())
        elif isinstance(value, list):
            pending.extend(((*loc, index), item) for index, item in enumerate(value))
        elif isinstance(value, str) and looks_like_key(value):
            document.add(
                loc,
                f"{_dotted(loc)} holds what looks like an API key",
                "name its environment variable in api_key_env, and revoke the key if this file was shared",
            )


def _report(model: type[Spec], document: Document, detail: ErrorDetails) -> None:
    loc: Loc = tuple(detail["loc"])
    kind, value = detail["type"], detail["input"]
    if isinstance(value, str) and looks_like_key(value) and kind != "extra_forbidden":
        return  # already reported, and not to be repeated
    name = _dotted(loc)
    if kind == "extra_forbidden":
        if str(loc[-1]) in ("api_key", "key", "token", "apikey"):
            document.add(loc, f"{name}: keys do not belong in files", "name the variable in api_key_env")
            return
        options = [
            field for field in _fields_at(model, loc[:-1]) if field not in _mapping_at(document, loc[:-1])
        ]
        document.add(loc, f"unknown key {name!r}", did_you_mean(str(loc[-1]), options))
    elif kind == "missing":
        document.add(loc, f"the key {name!r} is missing", _what(model, loc))
    elif kind == "spec":
        context = detail.get("ctx", {})
        document.add(loc, f"{name}: {context['message']}", context["hint"])
    elif kind == "literal_error" and isinstance(value, str):
        options = _literals(model, loc)
        document.add(
            loc, f"{name}: {value!r} is not one of {', '.join(options)}", did_you_mean(value, options)
        )
    elif kind == "too_short":
        document.add(loc, f"{name} is empty; it needs at least one entry")
    elif kind in _ASKED:
        asked = _ASKED[kind]
        document.add(
            loc, f"{name} must be {asked}, not {_got(value)}", _type_hint(document.place(loc), asked, value)
        )
    else:
        message = detail["msg"].removeprefix("Input ")
        document.add(loc, f"{name} {message}, not {_got(value)}", _what(model, loc))


def _got(value: Any) -> str:
    if value is None or isinstance(value, (dict, list, bool)):
        return describe(value)
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"


def _type_hint(place: Place, asked: str, value: Any) -> str | None:
    if value is None:
        return "give it a value or take the key out"
    if asked == "text" and place.raw:
        if isinstance(value, bool) and place.raw.lower() not in ("true", "false"):
            return f'YAML reads {place.raw} as {describe(value)}; write "{place.raw}" in quotes'
        if not isinstance(value, (dict, list)):
            return f'write "{place.raw}" in quotes'
    if asked in ("a number", "a whole number") and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return None
        return "remove the quotes"
    if asked == "true or false" and isinstance(value, str):
        return "write true or false without quotes"
    return None


def _dotted(loc: Loc) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text or "the file"


def _mapping_at(document: Document, loc: Loc) -> dict[str, Any]:
    value: Any = document.data
    for part in loc:
        value = value[part]
    return value if isinstance(value, dict) else {}


def _fields_at(model: type[BaseModel], loc: Loc) -> list[str]:
    found = _model_at(model, loc)
    return list(found.model_fields) if found is not None else []


def _model_at(model: type[BaseModel] | None, loc: Loc) -> type[BaseModel] | None:
    for part in loc:
        if model is None:
            return None
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        model = _inner_model(field.annotation) if field is not None else None
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None


def _field(model: type[BaseModel], loc: Loc) -> Any:
    names = [part for part in loc if isinstance(part, str)]
    parent = _model_at(model, tuple(names[:-1])) if names else None
    return parent.model_fields.get(names[-1]) if parent is not None else None


def _what(model: type[BaseModel], loc: Loc) -> str | None:
    field = _field(model, loc)
    return field.description if field is not None and field.description else None


def _literals(model: type[BaseModel], loc: Loc) -> list[str]:
    field = _field(model, loc)
    found: list[str] = []
    pending = [field.annotation] if field is not None else []
    while pending:
        annotation = pending.pop()
        if typing.get_origin(annotation) is typing.Literal:
            found += [str(item) for item in typing.get_args(annotation)]
        else:
            pending += typing.get_args(annotation)
    return found
