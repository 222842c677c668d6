"""Templates of prompts: sandboxed, compiled once, filled with data that is never itself a template.

Only an author's template is ever compiled. What it is filled with goes in as variables, so `{{ … }}` inside a value
stays text. A template reaches no private attribute and no other file, changes no value and draws no random number.
Powers and long repetitions are refused, and a text is given up where it grows beyond any prompt. A loop that writes
nothing is not counted, so a template can still run for long.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

_MAX_PRODUCT: Final = 1_000_000
_MAX_CHARS: Final = 50_000_000
_MAX_PIECES: Final = 5_000_000


class TemplateProblem(ValueError):
    """A template cannot be filled with these values; the message says why."""


def fill(text: str, variables: Mapping[str, Any]) -> str:
    """The template `text` filled with `variables`. As Jinja does, one line end at the template's end is dropped.

    Raises:
        TemplateProblem: it does not compile, names what is not there, or does what the sandbox refuses.
    """
    from jinja2 import TemplateError

    try:
        compiled = _compiled(text)
        return compiled if isinstance(compiled, str) else _bounded(compiled, variables)
    except (
        TemplateError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:
        raise TemplateProblem(str(error)) from error


def _bounded(template: Template, variables: Mapping[str, Any]) -> str:
    """The filled template, given up where nested loops would fill the memory.

    Raises:
        ValueError: the text is longer than any prompt could be.
    """
    pieces: list[str] = []
    size = 0
    for piece in template.generate(variables):
        pieces.append(piece)
        size += len(piece)
        if size > _MAX_CHARS or len(pieces) > _MAX_PIECES:
            raise ValueError(f"the text grows beyond {_MAX_CHARS:,} characters; is a loop too long?")
    return "".join(pieces)


@lru_cache(maxsize=1)
def environment() -> ImmutableSandboxedEnvironment:
    """The sandbox every template is compiled in; an undefined name is an error."""
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        # One short expression may not build a text or number that fills the memory.
        intercepted_binops = frozenset(("*", "**"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**":
                raise SecurityError("`**` is not available in templates")
            size = max(len(side) if hasattr(side, "__len__") else 1 for side in (left, right))
            times = max((side for side in (left, right) if isinstance(side, int)), default=1)
            if size * times > _MAX_PRODUCT and (hasattr(left, "__len__") or hasattr(right, "__len__")):
                raise SecurityError("the text would be too long")
            return left * right

    env = Environment(undefined=StrictUndefined, autoescape=False, cache_size=0)
    for name in ("lipsum", "cycler", "joiner"):
        env.globals.pop(name, None)
    env.filters.pop("random", None)  # a prompt is a function of its case
    env.policies["json.dumps_kwargs"] = {"sort_keys": True, "ensure_ascii": False}
    return env


@lru_cache(maxsize=256)
def _compiled(text: str) -> Template | str:
    """The compiled template, or the finished text where it holds no template syntax."""
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return text.removesuffix("\n")
    return environment().from_string(text)
