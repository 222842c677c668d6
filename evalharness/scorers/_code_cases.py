"""The tests of a case: what its target holds, read and checked before anything is run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from evalharness.core.cases import Case
from evalharness.scorers._code_extract import parse

_CHECKING: Final = ("assert", "check", "fail", "raises")
"""A call to something so named can fail a test."""


@dataclass(frozen=True, slots=True)
class Block:
    """One text of test code.

    `own`: its own statements test something; `functions` and `methods` (class, name) are called after it was run, and
    `check` says that its function `check` is called with the entry point.
    """

    name: str
    source: str
    own: bool
    functions: tuple[str, ...]
    methods: tuple[tuple[str, str], ...]
    check: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The tests of this block as reports call them, in the order they are run."""
        own = (self.name,) if self.own else ()
        functions = tuple(f"{self.name}: {name}" for name in self.functions)
        methods = tuple(f"{self.name}: {kind}.{name}" for kind, name in self.methods)
        return (*own, *functions, *methods, *((f"{self.name}: check",) if self.check else ()))


@dataclass(frozen=True, slots=True)
class TestCode:
    """Tests as code that uses what the answer defines."""

    __test__ = False  # pytest collects by name

    blocks: tuple[Block, ...]
    entry_point: str | None
    setup: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for block in self.blocks for name in block.names)


@dataclass(frozen=True, slots=True)
class Streams:
    """Tests as pairs of standard input and expected standard output."""

    pairs: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"test {place}" for place in range(1, len(self.pairs) + 1))


Tests: TypeAlias = TestCode | Streams


def read_tests(case: Case) -> Tests:
    """The tests in a case's target.

    Raises:
        ValueError: there are none, or they cannot be run or could not fail; says why.
    """
    targets = case.targets
    if not targets:
        raise ValueError("the case has no tests in its target")
    if all(isinstance(target, str) for target in targets):
        return _code(targets, None, "")
    if any(not isinstance(target, Mapping) for target in targets):
        raise ValueError("a target is either test code (texts) or objects, not both and nothing else")
    if len(targets) == 1 and "stdin" not in targets[0]:
        return _from_object(targets[0])
    return Streams(tuple(_pair(target) for target in targets))


def _pair(target: Mapping[str, Any]) -> tuple[str, str]:
    if target.keys() != {"stdin", "stdout"} or not all(isinstance(text, str) for text in target.values()):
        raise ValueError('a test of a program is {"stdin": text, "stdout": text}')
    return target["stdin"], target["stdout"]


def _from_object(target: Mapping[str, Any]) -> TestCode:
    unknown = sorted(target.keys() - {"test", "entry_point", "setup"})
    if unknown:
        raise ValueError(f"a target of tests has no key {unknown[0]!r}; it has test, entry_point and setup")
    test = target.get("test")
    texts = [test] if isinstance(test, str) else test
    entry, setup = target.get("entry_point"), target.get("setup", "")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("test is a text of test code, or a list of such texts")
    if entry is not None and not (isinstance(entry, str) and entry.isidentifier()):
        raise ValueError("entry_point is the name of a function")
    if not isinstance(setup, str):
        raise ValueError("setup is a text of code")
    if isinstance(problem := parse(setup), str):
        raise ValueError(f"setup is not Python: {problem}")
    return _code(texts, entry, setup)


def _code(texts: tuple[str, ...] | list[str], entry: str | None, setup: str) -> TestCode:
    blocks = tuple(_block(f"test {place}", text, entry) for place, text in enumerate(texts, start=1))
    return TestCode(blocks, entry, setup)


def _block(name: str, source: str, entry: str | None) -> Block:
    tree = parse(source)
    if isinstance(tree, str):
        raise ValueError(f"{name} is not Python: {tree}")
    functions, methods, own, check = [], [], False, False
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test"):
            raise ValueError(f"{name}: {node.name} is async, which is not run")
        if isinstance(node, ast.FunctionDef):
            check = check or (node.name == "check" and entry is not None)
            if node.name.startswith("test"):
                _refuse_fixtures(name, node)
                functions.append(node.name)
        elif isinstance(node, ast.ClassDef):
            methods += [(node.name, found) for found in _methods(node)]
        else:
            own = own or _acts(node)
    if not (own or functions or methods or check):
        hint = "" if entry is not None else "; to call check(candidate), give the target an entry_point"
        raise ValueError(f"{name} runs nothing: it only defines things{hint}")
    if not any(_can_fail(node) for node in ast.walk(tree)):
        raise ValueError(f"{name} checks nothing: it holds no assert")
    return Block(name, source, own, tuple(functions), tuple(methods), check)


def _refuse_fixtures(name: str, node: ast.FunctionDef) -> None:
    given = node.args
    if len(given.posonlyargs) + len(given.args) > len(given.defaults) or None in given.kw_defaults:
        raise ValueError(f"{name}: {node.name} takes arguments; only test functions without any are run")


def _methods(node: ast.ClassDef) -> list[str]:
    """The tests of a unittest.TestCase."""
    bases = [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases]
    if not any(base.endswith("TestCase") for base in bases):
        return []
    return [
        item.name
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test")
    ]


def _acts(node: ast.stmt) -> bool:
    """Whether a statement of a module does more than define or import, the guard of a script not counted."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
        left = node.test.left
        return not (isinstance(left, ast.Name) and left.id == "__name__")
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    defining = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Pass, ast.Global)
    return not isinstance(node, defining)


def _can_fail(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert | ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return any(word in called.lower() for word in _CHECKING)
