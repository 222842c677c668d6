"""Prompts of candidates: what their templates may name, and each filled with a case as data.

Only the author's template is ever compiled. What a case holds is passed as variables, so `{{ … }}` inside a question
stays text. A template sees `input`, `id`, `tags`, `choices`, `contexts`, `task` and `messages`; an unknown name, a
private attribute, or another file is refused when the candidate is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, Any, Final

from evalharness.core.candidates import Prompt
from evalharness.core.cases import Case, Message
from evalharness.errors import Problem, SpecError
from evalharness.spec.reader import did_you_mean
from evalharness.templates import TemplateProblem, environment, fill

if TYPE_CHECKING:
    from jinja2 import nodes

VARIABLES: Final = frozenset(("input", "id", "tags", "choices", "contexts", "task", "messages"))
_ONLY_INPUT: Final = re.compile(r"\{\{ *input *\}\}\n?")


def render_messages(prompt: Prompt, case: Case, task: str) -> tuple[Message, ...]:
    """The messages to send for one case.

    A case with `messages` keeps them, and `prompt.system` is put in front.

    Args:
        prompt: templates, as texts.
        case: the data.
        task: the golden set's `task`.

    Raises:
        SpecError: a template fails on this case (a tag it uses is absent, for example); names the case.
    """
    if case.messages:
        rest = case.messages
    elif _ONLY_INPUT.fullmatch(prompt.user):
        rest = (Message("user", case.question),)
    else:
        rest = (Message("user", _render("user", prompt.user, case, task)),)
    if prompt.system is None:
        return rest
    return (Message("system", _render("system", prompt.system, case, task)), *rest)


def template_problems(text: str, allowed: Set[str]) -> Iterator[tuple[int, str, str | None]]:
    """What is wrong with a template before any case is seen, as (line from 1, message, hint)."""
    from jinja2 import TemplateSyntaxError, nodes
    from jinja2.meta import find_referenced_templates, find_undeclared_variables

    env = environment()
    try:
        tree = env.parse(text)
        env.compile(text)
    except TemplateSyntaxError as error:
        yield error.lineno, f"template: {error.message}", None
        return
    if any(True for _ in find_referenced_templates(tree)):
        node = next(tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)))
        yield node.lineno, "template: include, import and extends are not available", "write the text out"
    unknown = find_undeclared_variables(tree) - allowed - set(env.globals)
    for name in sorted(unknown):
        line = next((n.lineno for n in tree.find_all(nodes.Name) if n.name == name), 1)
        yield line, f"template: unknown variable {name!r}", did_you_mean(name, allowed)
    for access in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter)):
        reached = _reached(access)
        if reached.startswith("_"):
            yield access.lineno, f"template: the attribute {reached!r} is private", None


def _reached(node: nodes.Node) -> str:
    """The attribute that `x.name`, `x["name"]` or `x | attr("name")` reaches; "" where it is not written out."""
    from jinja2 import nodes

    if isinstance(node, nodes.Getattr):
        return node.attr
    written: Any = None
    if isinstance(node, nodes.Getitem):
        written = node.arg
    elif isinstance(node, nodes.Filter) and node.name == "attr" and node.args:
        written = node.args[0]
    return written.value if isinstance(written, nodes.Const) and isinstance(written.value, str) else ""


def _render(role: str, text: str, case: Case, task: str) -> str:
    variables = {
        "input": case.question,
        "id": case.id,
        "tags": case.tags,
        "choices": case.choices,
        "contexts": case.contexts,
        "task": task,
        "messages": case.messages,
    }
    try:
        return fill(text, variables)
    except TemplateProblem as error:
        why = str(error).replace("'dict object' has no attribute", "`tags` has no")
        message = f"prompt.{role} cannot be filled for case {case.id!r}: {why}"
        raise SpecError([Problem(message, hint=_render_hint(case))]) from error


def _render_hint(case: Case) -> str:
    tags = ", ".join(sorted(case.tags)) or "none"
    return f"its tags are: {tags}; for one that may be absent write {{{{ tags.name | default('text') }}}}"
