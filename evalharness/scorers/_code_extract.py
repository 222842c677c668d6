"""The code in an answer, and whether it is Python."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final

MOST_CHARACTERS: Final = 200_000
"""Of one answer's code or one case's tests; more is not read as code."""
_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_PYTHON: Final = ("python", "py", "python3")


def extract(text: str) -> str:
    """The code of an answer.

    The first fenced block marked as Python, else the first without a mark, else the whole text. A block that is not
    closed ends with the text. White space at the start is kept: a completion is indented.
    """
    unmarked = None
    for mark, code in _blocks(text):
        if mark in _PYTHON:
            return code
        if mark == "" and unmarked is None:
            unmarked = code
    return text if unmarked is None else unmarked


def _blocks(text: str) -> list[tuple[str, str]]:
    """(language, lower case, code) of every fenced block."""
    found: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2]:
            found.append((opened[2].lower(), text[opened.end() + 1 : fence.start()]))
            opened = None
    if opened is not None:
        found.append((opened[2].lower(), text[opened.end() + 1 :]))
    return found


def parse(source: str) -> ast.Module | str:
    """The syntax tree of Python source, nothing of it run; why there is none, else."""
    if len(source) > MOST_CHARACTERS:
        return f"longer than {MOST_CHARACTERS:,} characters"
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # '\d' in a text: a remark on code that is no one's here
            return ast.parse(source)
    except SyntaxError as error:
        where = f" (line {error.lineno})" if error.lineno else ""
        return f"{type(error).__name__}: {error.msg}{where}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}: {str(error) or 'nested too deeply'}"


def is_code(tree: ast.Module) -> bool:
    """Whether a tree does anything: a word of prose is a valid expression, and so is a quotation."""
    return any(
        not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Name | ast.Constant | ast.Tuple))
        for node in tree.body
    )
