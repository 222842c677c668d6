"""The user's own program as a candidate."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalharness.core.attempts import Response, Usage
from evalharness.core.cases import Case, Message
from evalharness.core.protocols import Provider
from evalharness.errors import CallError, UsageError
from evalharness.providers.python_callable import PythonCallable
from tests.providers.support import ask, ask_all, candidate, failure, request


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def program(folder: Path, source: str, name: str = "app.py") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(textwrap.dedent(source), encoding="utf-8")


def python(target: str, **options: Any) -> PythonCallable:
    return PythonCallable(candidate("python", target=target, **options))


def test_a_plain_function_gets_the_case_and_nothing_more(here: Path) -> None:
    program(
        here,
        """
        import json
        def answer(case):
            case["tags"]["slice"] = "changed"
            return json.dumps(case)
        """,
    )
    import json

    case = Case(
        id="c7",
        input="why?",
        targets=("secret",),
        choices=("a", "b"),
        contexts=("d1",),
        tags={"slice": "x"},
        human={"score": 1},
    )
    one = request("rendered", system="be kind", case=case, repeat=2, seed=9)
    assert json.loads(ask(python("app:answer"), one).text) == {
        "id": "c7",
        "input": "why?",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "rendered"}],
        "tags": {"slice": "changed"},
        "choices": ["a", "b"],
        "contexts": ["d1"],
        "repeat": 2,
        "seed": 9,
    }
    assert case.tags == {"slice": "x"}


def test_the_input_of_a_chat_case_is_its_last_question(here: Path) -> None:
    program(here, "def answer(case): return case['input']")
    case = Case(
        id="c", messages=(Message("user", "first"), Message("assistant", "ok"), Message("user", "last"))
    )
    assert ask(python("app:answer"), request(case=case)).text == "last"


def test_a_dict_carries_contexts_usage_and_model(here: Path) -> None:
    program(
        here,
        """
        def answer(case):
            usage = {"input_tokens": 3, "output_tokens": 4}
            return {"output": "yes", "contexts": ["d1", "d2"], "usage": usage, "model": "m-1"}
        """,
    )
    response = ask(python("app:answer"), request())
    assert (response.text, response.contexts, response.model) == ("yes", ("d1", "d2"), "m-1")
    assert response.usage == Usage(3, 4)
    assert response.latency_ms is not None


def test_async_functions_objects_and_classes(here: Path) -> None:
    program(
        here,
        """
        import asyncio, functools
        async def later(case):
            await asyncio.sleep(0)
            return "async"
        class App:
            def __init__(self): self.calls = 0
            def __call__(self, case): return "object"
            def method(self, case): return "method"
            async def later(self, case): return "async method"
        class Async:
            async def __call__(self, case): return "async object"
        app, other = App(), Async()
        partial = functools.partial(lambda word, case: later(case), "x")
        """,
        "pipeline.py",
    )
    for target, said in [
        ("later", "async"),
        ("app", "object"),
        ("App", "object"),
        ("other", "async object"),
        ("app.method", "method"),
        ("app.later", "async method"),
        ("partial", "async"),
    ]:
        assert ask(python(f"pipeline:{target}"), request()).text == said, target


def test_plain_functions_run_at_the_same_time(here: Path) -> None:
    program(
        here, "import time\ndef answer(case):\n    time.sleep(0.1)\n    return case['messages'][0]['content']"
    )
    began = time.perf_counter()
    results = ask_all(python("app:answer"), [request(f"q{i}") for i in range(40)])
    assert [r.text for r in results if isinstance(r, Response)] == [f"q{i}" for i in range(40)]
    assert time.perf_counter() - began < 2  # one after another would take four seconds


def test_what_the_function_raises_is_a_failure_of_the_case(here: Path) -> None:
    program(
        here,
        """
        import asyncio, sys
        def boom(case):
            raise ValueError("no index \\x1b[31m for this")
        def leave(case):
            sys.exit(0)
        async def cancelled(case):
            raise asyncio.CancelledError("inside")
        def slow(case):
            raise TimeoutError("their own clock")
        def stop(case):
            raise StopIteration
        """,
    )
    for name, said in [
        ("boom", "ValueError: no index [31m for this (app.py:4)"),
        ("leave", "SystemExit: 0 (app.py:6)"),
        ("cancelled", "CancelledError: inside (app.py:8)"),
        ("slow", "TimeoutError: their own clock (app.py:10)"),
        ("stop", "StopIteration"),
    ]:
        error = failure(python(f"app:{name}"), request())
        assert (error.kind, error.retryable, error.fatal) == ("callable", False, False)
        assert said in str(error)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_ctrl_c_inside_the_function_is_ctrl_c(here: Path, kind: str) -> None:
    program(here, f"{kind} answer(case):\n    raise KeyboardInterrupt")

    async def work() -> None:
        provider = python("app:answer")
        await provider.open()
        try:
            await provider.complete(request(), timeout_s=5)
        finally:
            await provider.close()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(work())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("7", "app:answer returned int 7; return a text or a dict with 'output'"),
        ("None", "app:answer returned None; return a text"),
        ("b'x'", "app:answer returned bytes"),
        ("{'outptu': 'x'}", "the unknown key 'outptu'; did you mean 'output'?"),
        ("{'contexts': []}", "app:answer returned None as 'output'; it must be a text"),
        ("{'output': 'x', 'contexts': 'd'}", "returned str as 'contexts'; it must be a list of texts"),
        ("{'output': 'x', 'contexts': ['d', 1]}", "returned list of int, str as 'contexts'"),
        ("{'output': 'x', 'usage': 5}", "returned int 5 as 'usage'"),
        ("{'output': 'x', 'usage': {'input_tokens': 1.5}}", "returned dict as 'usage'"),
        ("{'output': 'x', 'model': 5}", "returned int 5 as 'model'"),
    ],
)
def test_wrong_return_values_are_named(here: Path, value: str, said: str) -> None:
    program(here, f"def answer(case): return {value}")
    error = failure(python("app:answer"), request())
    assert (error.kind, error.retryable) == ("callable", False)
    assert said in str(error)


def test_a_function_that_never_returns_times_out_and_holds_nothing_up(here: Path) -> None:
    program(here, "import time\ndef answer(case):\n    time.sleep(3600)")
    source = """
        import asyncio
        from evalharness.errors import CallError
        from evalharness.providers.python_callable import PythonCallable
        from tests.providers.support import candidate, failure, request
        error = failure(PythonCallable(candidate("python", target="app:answer")), request(), timeout_s=0.2)
        print(error.kind, error.retryable)
    """
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
    )
    assert done.stdout == "timeout True\n", done.stderr
    assert time.perf_counter() - began < 20


# --- finding the program ---------------------------------------------------------------------------------------------


def opening(provider: Provider) -> str:
    with pytest.raises(UsageError) as caught:
        asyncio.run(provider.open())
    return str(caught.value)


def test_each_candidate_runs_the_program_beside_it(here: Path) -> None:
    for name in ("base", "new"):
        program(here / name, "from words import WORD\ndef answer(case): return WORD")
        program(here / name, f"WORD = {name!r}", "words.py")
    program(here, "def answer(case): return 'working directory'")
    before, path = set(sys.modules), list(sys.path)
    asked = candidate("python", target="app:answer")
    texts = [
        ask(PythonCallable(replace(asked, path=str(here / name / "candidate.yaml"))), request()).text
        for name in ("base", "new")
    ]
    assert texts == ["base", "new"]
    assert ask(python("app:answer"), request()).text == "working directory"
    assert not {"app", "words"} & (set(sys.modules) - before)
    assert sys.path == path


def test_a_path_that_a_program_adds_ends_with_it(here: Path) -> None:
    for side in ("base", "cand"):
        source = """
        import os, sys
        sys.path.append(os.path.join(os.path.dirname(__file__), "src"))
        from their_words import word
        def answer(case):
            return word
        """
        program(here / side, source)
        program(here / side / "src", f"word = '{side}'", "their_words.py")
    before = list(sys.path)
    for side in ("base", "cand"):
        one = replace(candidate("python", target="app:answer"), path=str(here / side / "c.yaml"))
        assert ask(PythonCallable(one), request()).text == side
    assert sys.path == before


def test_a_module_of_the_same_name_that_is_loaded_already_is_an_error(here: Path) -> None:
    program(here, "def answer(case): return 'mine'", "textwrap.py")
    assert "the module 'textwrap' in" in opening(python("textwrap:answer"))


def test_packages_and_functions_inside_classes(here: Path) -> None:
    program(here / "rag", "", "__init__.py")
    program(here / "rag", "class App:\n    @staticmethod\n    def run(case): return 'deep'", "main.py")
    assert ask(python("rag.main:App.run"), request()).text == "deep"


@pytest.mark.parametrize(
    "target",
    [
        "app",
        "app.py:answer",
        "../app:answer",
        "app:answer()",
        "app:answer;import os",
        "a b:c",
        ":x",
        "x:",
        "a:b:c",
        "",
    ],
)
def test_what_is_no_dotted_path_is_never_imported(here: Path, target: str) -> None:
    program(here, "raise SystemExit('imported')")
    message = opening(python(target))
    assert "imported" not in message
    assert "module" in message


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("", "nothing_here:answer", "there is no module 'nothing_here' in"),
        ("", "app.part:answer", "there is no module 'app.part' in"),
        (
            "import not_installed_here",
            "app:answer",
            "No module named 'not_installed_here' (app.py:1)",
        ),
        ("def answer(case): return 'x'", "app:anser", "there is no 'anser'; did you mean answer?"),
        ("answer = 5", "app:answer", "is int, which cannot be called"),
        ("1 / 0", "app:answer", "cannot import 'app': ZeroDivisionError: division by zero (app.py:1)"),
        ("def (", "app:answer", "cannot import 'app': SyntaxError"),
        ("raise SystemExit(0)", "app:answer", "cannot import 'app': SystemExit: 0"),
        (
            "class App:\n    def __init__(self): raise OSError('no index')",
            "app:App",
            "that cannot be made: OSError",
        ),
    ],
)
def test_programs_that_cannot_be_called(here: Path, source: str, target: str, said: str) -> None:
    program(here, source)
    path = list(sys.path)
    assert said in opening(python(target))
    assert sys.path == path
    assert "app" not in sys.modules


def test_cancelling_reaches_the_async_function(here: Path) -> None:
    program(here, "import asyncio\nasync def answer(case):\n    await asyncio.sleep(3600)")

    async def work() -> None:
        provider = python("app:answer")
        await provider.open()
        task = asyncio.create_task(provider.complete(request(), timeout_s=60))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(CallError, match="no answer within"):
            await provider.complete(request(), timeout_s=0.05)
        await provider.close()

    asyncio.run(work())
