"""lm-eval kept from the process it runs in: its output, log, warnings, bars, random state and templates."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import random  # noqa: TID251 - lm-eval's tasks draw from it: it is seeded for them and put back
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness._lazy import require
from evalharness.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment, Template

RANDOM_SEED: Final = 0
NUMPY_SEED: Final = 1234
"""What lm-eval itself seeds the global generators with: some of its tasks shuffle by them while they load."""


class Counted(logging.Handler):
    """Counts warnings and worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


@contextlib.contextmanager
def calm(log: Path | None = None) -> Iterator[Counted]:
    """Everything of lm-eval's is called inside of this.

    What it prints and logs goes into the file `log`, or nowhere. It draws from global generators that are seeded as
    its own command line seeds them, and put back afterwards. Templates of tasks run in this project's sandbox: in
    lm-eval's own environment a template in a YAML file can run any code.

    Yields:
        The count of warnings it logged.
    """
    with contextlib.ExitStack() as held:
        stream: Any = io.StringIO()
        if log is not None:
            stream = held.enter_context(log.open("a", encoding="utf-8", errors="replace"))
        held.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore")
        for module in ("datasets", "lm_eval.api.task", "lm_eval.utils"):  # they set up logging of their own
            library(module)
        held.enter_context(contextlib.redirect_stdout(stream))
        counted = Counted()
        held.enter_context(_logging_to(stream, counted))
        held.enter_context(_seeded())
        held.enter_context(_replaced())
        yield counted


@contextlib.contextmanager
def _logging_to(stream: Any, counted: Counted) -> Iterator[None]:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub", "fsspec")]
    before = [(logger, logger.propagate, logger.level, list(logger.handlers)) for logger in loggers]
    for logger in loggers:
        logger.propagate = False
        logger.handlers = [handler, counted] if logger.name == "lm_eval" else [handler]
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, propagate, level, handlers in before:
            logger.propagate, logger.handlers = propagate, handlers
            logger.setLevel(level)


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    import numpy as np

    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(RANDOM_SEED)
    np.random.seed(NUMPY_SEED)  # noqa: NPY002, TID251
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002


@contextlib.contextmanager
def _replaced() -> Iterator[None]:
    """No bars, no counting of downloads, sandboxed templates."""
    tqdm = library("tqdm").tqdm
    datasets, tasks, utils = library("datasets"), library("lm_eval.api.task"), library("lm_eval.utils")

    def no_bar(items: Iterable[Any], *_: Any, **__: Any) -> Iterable[Any]:
        return items

    def silent(*items: Any, **options: Any) -> Any:
        return tqdm(*items, **{**options, "disable": True})

    models = sys.modules.get("lm_eval.models.huggingface")
    swaps: list[tuple[Any, str, Any]] = [
        (tasks, "tqdm", no_bar),
        (models, "tqdm", silent),
        (utils, "apply_template", _fill),
        (datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in swaps if hasattr(owner, name)]
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    for owner, name, value in swaps:
        if hasattr(owner, name):
            setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        if not bars:
            datasets.enable_progress_bars()


def _fill(template: str, doc: dict[str, Any]) -> str:
    return _compiled(template).render(**doc)


@functools.lru_cache(maxsize=4096)
def _compiled(text: str) -> Template:
    return _environment().from_string(text)


@functools.lru_cache(maxsize=1)
def _environment() -> Environment:
    """The sandbox with what lm-eval's own environment offers beside: a filter, and line ends that are kept."""
    env = environment().overlay(keep_trailing_newline=True)
    regex_replace: Callable[..., str] = _regex_replace
    env.filters = {**env.filters, "regex_replace": regex_replace}
    return env


def _regex_replace(string: str, pattern: str, repl: str, count: int = 0) -> str:
    return re.sub(pattern, repl, string, count=count)


def library(module: str = "lm_eval") -> Any:
    """A module of lm-eval's.

    Raises:
        MissingExtraError: it is not installed.
    """
    return require(module, extra="benchmarks", why="run lm-eval's tasks")
