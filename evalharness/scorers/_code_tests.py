"""The side with the tests: runs them on what the answer defines and says of each how it went.

Never imported: its text runs inside a sandbox, after `_code_peer`'s unless the answer is here, too. JOB holds `blocks`
(of `_code_cases.Block`), `setup`, `entry_point`, `shared` (the answer is a file here, not a program elsewhere) and
`token`, which ends the report.
"""

import builtins
import json
import os
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from evalharness.scorers._code_peer import Peer


class _Runner:
    """Runs the tests of one job and reports on `report`."""

    def __init__(self, job: Any, report: Any, peer: Any) -> None:
        self.job, self.report, self.peer = job, report, peer
        self.space: dict[str, Any] = {"__name__": "tests"}
        self.sources: dict[str, list[str]] = {}

    def say(self, **row: Any) -> None:
        self.report.write(json.dumps(row) + "\n")
        self.report.flush()

    def take(self, names: "list[tuple[str, Any]]") -> None:
        """Make what the answer defines known to the tests, and to `import answer` in them."""
        module = types.ModuleType("answer")
        for name, value in names:
            setattr(module, name, value)
            # An answer cannot redefine what the tests mean by `abs` or `all`, unless that is what it was asked for.
            if not hasattr(builtins, name) or name == self.job["entry_point"]:
                self.space[name] = value
        sys.modules.setdefault("answer", module)

    def attempt(self, name: "str | None", what: "Callable[..., object]", *args: Any) -> bool:
        """Do one thing; say how it went where it has a name, or where it failed."""
        kind, why = "passed", ""
        try:
            what(*args)
        except AssertionError as error:
            kind, why = "failed", self.line(error)
        except BaseException as error:  # noqa: BLE001 - whatever a test raises, the next one is run
            kind, why = "error", self.line(error)
        if self.peer is not None and self.peer.gone:  # also where the test caught that
            kind, why = "ended", "the answer's process ended"
        if name is not None or kind != "passed":
            self.say(test=name, kind=kind, why=why)
        return kind == "passed"

    def line(self, error: BaseException) -> str:
        """What the error says, with the line of the tests where it came up."""
        said = "".join(traceback.format_exception_only(type(error), error)).strip()[-400:]
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            lines = self.sources.get(frame.filename)
            if lines and frame.lineno and frame.lineno <= len(lines):
                return f"{said} (at: {lines[frame.lineno - 1].strip()[:200]})"
        return said

    def source(self, text: str, name: str) -> None:
        """Run test code among the names it shares with the rest of the case's."""
        self.sources[name] = text.splitlines()
        exec(compile(text, name, "exec"), self.space)

    def function(self, name: str) -> None:
        self.space[name]()

    def method(self, kind: str, name: str) -> None:
        """Run one method of a unittest.TestCase, with what its class sets up."""
        import unittest

        result = unittest.TestResult()
        unittest.TestSuite([self.space[kind](name)]).run(result)
        for _, text in result.failures:
            raise AssertionError(text.strip().splitlines()[-1])
        for _, text in result.errors:
            raise RuntimeError(text.strip().splitlines()[-1])
        if result.skipped or result.testsRun != 1:
            raise RuntimeError("the test was skipped")

    def check(self) -> None:
        """HumanEval's form."""
        self.space["check"](self.space[self.job["entry_point"]])

    def block(self, block: Any) -> None:
        """Run one text of tests, then the tests that it defines."""
        name = block["name"]
        if not self.attempt(name if block["own"] else None, self.source, block["source"], name):
            return
        for function in block["functions"]:
            self.attempt(f"{name}: {function}", self.function, function)
        for kind, method in block["methods"]:
            self.attempt(f"{name}: {kind}.{method}", self.method, kind, method)
        if block["check"]:
            self.attempt(f"{name}: check", self.check)


def _main(job: Any) -> None:
    shared = job["shared"]
    report = os.fdopen(os.dup(1 if shared else 2), "w", encoding="utf-8")
    peer = None if shared else Peer(os.dup(0), os.dup(1), False)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2 if shared else nothing, 1)
    if not shared:
        os.dup2(nothing, 2)
    runner = _Runner(job, report, peer)
    names = _load() if peer is None else peer.greeted()
    if isinstance(names, str):
        runner.say(refused=names)
        return
    runner.take(names)
    if job["setup"] and not runner.attempt(None, runner.source, job["setup"], "setup"):
        return
    for block in job["blocks"]:
        runner.block(block)
    runner.say(done=job["token"])


def _load() -> "list[tuple[str, Any]] | str":
    try:
        import answer  # type: ignore[import-not-found]
    except BaseException as error:  # noqa: BLE001 - whatever an answer raises, the report says so
        return f"{type(error).__name__}: {str(error)[:300]}"
    return [(name, value) for name, value in vars(answer).items() if not name.startswith("__")]


_main(globals().pop("JOB"))
