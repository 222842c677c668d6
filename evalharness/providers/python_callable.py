"""Provider `python`: the user's own program, called in this process.

This is the only place that imports code of the user's, and only the module that the user names in a candidate file.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response, Usage
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Request
from evalharness.errors import CallError, UsageError
from evalharness.providers._threads import DaemonThreads

_NAME: Final = r"[^\W\d]\w*"
_TARGET: Final = re.compile(rf"(?P<module>{_NAME}(\.{_NAME})*):(?P<attribute>{_NAME}(\.{_NAME})*)")
_KEYS: Final = ("output", "contexts", "usage", "model", "ranking")
_TOKENS: Final = ("input_tokens", "output_tokens")
_LONGEST_MESSAGE: Final = 500


class PythonCallable:
    """Calls `package.module:attribute` with one dict for each request.

    The function, plain or async (or an object that can be called, or a class whose instance can), gets
    `{"id", "input", "messages": [{"role", "content"}], "tags", "choices", "contexts", "repeat", "seed"}` and returns
    a text or `{"output": str, "contexts": [str], "usage": {"input_tokens", "output_tokens"}, "model": str,
    "ranking": [document id, best first]}`; one that retrieves may leave `output` out. Plain functions run in threads,
    several at once; `limits.concurrency: 1` is for those that cannot.

    The module is looked for beside the candidate file, then in the working directory, then among what is installed.

    Options:
        target: what to call.
    """

    name: ClassVar[str] = "python"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = False
    cacheable: ClassVar[bool] = False

    def __init__(self, candidate: Candidate) -> None:
        self._target = str(candidate.options["target"])
        beside = os.path.dirname(candidate.path) if candidate.path else "."
        self._folders = list(dict.fromkeys(os.path.realpath(folder) for folder in (beside, ".")))
        self._call: Callable[[dict[str, Any]], Any] | None = None
        self._threads = DaemonThreads("evalharness-python")
        self._imports = _Imports(self._folders)

    def ready(self) -> None:
        """Refuse a target that is not there. Nothing is imported.

        Raises:
            UsageError: the target is no dotted path, or there is no such module.
        """
        top = self._named()["module"].partition(".")[0]
        files = [os.path.join(folder, top) for folder in self._folders]
        if not any(os.path.isdir(file) or os.path.exists(file + ".py") for file in files):
            with contextlib.suppress(ValueError):  # a module without a spec, such as __main__, is there
                if importlib.util.find_spec(top) is None:
                    raise UsageError(_absent(top, self._folders))

    def _named(self) -> re.Match[str]:
        match = _TARGET.fullmatch(self._target)
        if match is None or match["module"].endswith(".py"):
            raise UsageError(
                f"target {self._target!r} does not name a callable; write package.module:function"
            )
        return match

    async def open(self) -> None:
        """Import the module and find the callable.

        Raises:
            UsageError: the target is no dotted path, cannot be imported, or cannot be called.
        """
        match = self._named()
        self._threads = DaemonThreads("evalharness-python")
        self._imports.begin()
        try:
            module = self._imports.load(match["module"])
            self._call = _callable(module, match["attribute"], self._target)
        except BaseException:
            self._imports.end()
            raise

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """Call the function once. After the deadline a plain function runs on, unheard.

        Raises:
            CallError: `callable` for what it raised or a wrong return value, `timeout`.
        """
        assert self._call is not None, "open() comes first"
        call, payload = self._call, _payload(request)
        began = time.perf_counter()
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__):
                    result = await call(payload)
                else:
                    result = await self._threads.run(lambda: call(payload))
                    if inspect.isawaitable(result):
                        result = await result
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if deadline.expired():
                raise CallError("timeout", f"no answer within {timeout_s:g} s", retryable=True) from error
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                raise
            # sys.exit() in the user's program must not end this one, least of all with code 0.
            raise CallError("callable", _described(error)) from error
        return _response(result, (time.perf_counter() - began) * 1000, self._target)

    async def close(self) -> None:
        """Let go of the threads and of the modules that were imported for this candidate."""
        self._threads.close()
        self._imports.end()
        self._call = None


class _Imports:
    """Imports from folders, and forgets what came from them afterwards.

    Two candidates may each bring an `app.py`. Without forgetting, the second would be answered by the first one's code.
    """

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders
        self._added: list[str] = []
        self._path: frozenset[str] = frozenset()
        self._before: set[str] = set()

    def begin(self) -> None:
        self._before = set(sys.modules)
        self._path = frozenset(sys.path)
        self._added = list(self._folders)
        sys.path[:0] = self._added
        importlib.invalidate_caches()

    def end(self) -> None:
        for folder in self._added:
            if folder in sys.path:
                sys.path.remove(folder)
        if self._added:
            # what the program added itself leads to its own modules, and the next candidate would find them there
            sys.path[:] = [entry for entry in sys.path if entry in self._path or not self._holds(entry)]
            for name in set(sys.modules) - self._before:
                if self._ours(sys.modules[name]):
                    del sys.modules[name]
        self._added = []

    def load(self, name: str) -> ModuleType:
        """Import the module.

        Raises:
            UsageError: for whatever goes wrong on the way, SystemExit included.
        """
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or name
            if name == missing or name.startswith(missing + "."):
                raise UsageError(_absent(missing, self._folders)) from error
            raise UsageError(f"cannot import {name!r}: {_described(error)}") from error
        except (Exception, SystemExit) as error:
            raise UsageError(f"cannot import {name!r}: {_described(error)}") from error
        self._check_origin(name, module)
        return module

    def _check_origin(self, name: str, module: ModuleType) -> None:
        """Refuse a module that was loaded from elsewhere before, where these folders hold one of that name."""
        top = name.partition(".")[0]
        if top not in self._before or self._ours(module):
            return
        for folder in self._folders:
            if os.path.exists(os.path.join(folder, top + ".py")) or os.path.isdir(os.path.join(folder, top)):
                raise UsageError(
                    f"the module {top!r} in {folder} cannot be imported: another module of that name is already "
                    f"loaded from {getattr(module, '__file__', None) or 'Python itself'}; give it another name"
                )

    def _ours(self, module: ModuleType) -> bool:
        if (getattr(module, "__name__", "") or "").partition(".")[0] == "evalharness":
            return False
        file = getattr(module, "__file__", None)
        places = [file] if file else list(getattr(module, "__path__", ()))
        return any(self._holds(str(place)) for place in places)

    def _holds(self, place: str) -> bool:
        path = Path(os.path.realpath(place))
        # A virtual environment may well lie inside the working directory.
        return "site-packages" not in path.parts and any(path.is_relative_to(f) for f in self._folders)


def _absent(module: str, folders: Sequence[str]) -> str:
    return f"there is no module {module!r} in {' and '.join(folders)}, nor among what is installed"


def _callable(module: ModuleType, attribute: str, target: str) -> Callable[[dict[str, Any]], Any]:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"target {target!r}: there is no {part!r}{hint}")
        found = getattr(found, part)
    if isinstance(found, type):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"target {target!r} is a class that cannot be made: {_described(error)}"
            ) from error
    if not callable(found):
        raise UsageError(f"target {target!r} is {type(found).__name__}, which cannot be called")
    call: Callable[[dict[str, Any]], Any] = found
    return call


def _payload(request: Request) -> dict[str, Any]:
    """What the user's function may see: never the targets, and nothing it could change for others."""
    case = request.case
    return {
        "id": case.id,
        "input": case.question,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "tags": dict(case.tags),
        "choices": list(case.choices),
        "contexts": list(case.contexts),
        "repeat": request.repeat,
        "seed": request.seed,
    }


def _response(result: Any, latency_ms: float, target: str) -> Response:
    if isinstance(result, str):
        return Response(text=result, latency_ms=latency_ms)
    if not isinstance(result, Mapping):
        raise CallError(
            "callable", f"{target} returned {_kind(result)}; return a text or a dict with 'output'"
        )
    unknown = [key for key in result if key not in _KEYS]
    if unknown:
        near = difflib.get_close_matches(str(unknown[0]), _KEYS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(_KEYS)}"
        raise CallError("callable", f"{target} returned a dict with the unknown key {unknown[0]!r}; {hint}")
    output, contexts, model = result.get("output"), result.get("contexts"), result.get("model")
    ranking = result.get("ranking")
    if ranking is not None and not (_texts(ranking) and all(ranking) and len(set(ranking)) == len(ranking)):
        raise CallError(
            "callable",
            f"{target} returned {_kind(ranking)} as 'ranking'; it must be a list of document ids, each once",
        )
    if ranking is not None and "output" not in result:
        output = ""
    if not isinstance(output, str):
        raise CallError("callable", f"{target} returned {_kind(output)} as 'output'; it must be a text")
    if contexts is not None and not _texts(contexts):
        raise CallError(
            "callable", f"{target} returned {_kind(contexts)} as 'contexts'; it must be a list of texts"
        )
    if model is not None and not isinstance(model, str):
        raise CallError("callable", f"{target} returned {_kind(model)} as 'model'; it must be a text")
    return Response(
        text=output,
        model=model,
        usage=_usage(result.get("usage"), target),
        latency_ms=latency_ms,
        contexts=tuple(contexts or ()),
        ranking=tuple(ranking or ()),
    )


def _usage(value: Any, target: str) -> Usage | None:
    if value is None:
        return None
    counts = [value.get(key) for key in _TOKENS] if isinstance(value, Mapping) else []
    if not counts or any(key not in _TOKENS for key in value) or not all(_count(count) for count in counts):
        wanted = "{'input_tokens': int, 'output_tokens': int}"
        raise CallError("callable", f"{target} returned {_kind(value)} as 'usage'; it must be {wanted}")
    return Usage(*counts)


def _count(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _kind(value: Any) -> str:
    """A short description of a wrong value: its type, and itself where that is short."""
    if value is None:
        return "None"
    items: Iterable[Any] = value if isinstance(value, list | tuple) else ()
    inside = sorted({type(item).__name__ for item in items})
    of = f" of {', '.join(inside)}" if inside else ""
    return f"{type(value).__name__}{of}" + (f" {value!r}" if isinstance(value, int | float) else "")


def _described(error: BaseException) -> str:
    """Type, message and the line it came from, as one line without control characters."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if frames and not frames[-1].filename.startswith("<"):
        text = f"{text[:_LONGEST_MESSAGE]} ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})"
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
