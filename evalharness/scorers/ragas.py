"""Ragas' four metrics of retrieval-augmented answers, judged case by case by a language model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from evalharness.content import model_digest
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.errors import MissingExtraError, ProviderError, UsageError
from evalharness.scorers import _ragas_worker as worker
from evalharness.scorers.normalise import one_of, written

PYTHON: Final = "EVALHARNESS_RAGAS_PYTHON"
"""The variable that names a Python which has Ragas. Not a parameter: a suite may not name a program to run."""
_METRIC: Final = Metric(direction="higher", unit="fraction", kind="bounded")
_NEEDS_TARGET: Final = ("context_precision", "context_recall")
_ENDPOINT: Final = ("base_url", "model", "api_key_env")
_OPTIONS: Final = ("temperature", "top_p", "max_tokens", "seed")
_STARTS_S: Final = 60


class Ragas:
    """Ragas' `metric`, 0 to 1: `faithfulness`, `answer_relevancy`, `context_precision` or `context_recall`.

    `llm` is the judge: `base_url` and `model` of an OpenAI-compatible server, `api_key_env`, and `temperature`,
    `top_p`, `max_tokens`, `seed` where Ragas' own (0.01, 0.1, 1024, none) are not meant. `answer_relevancy` also needs
    `embeddings` (a server with the same keys) or `embedding_model` (a sentence-transformers folder), and asks the judge
    `strictness` times. `concurrency`, `timeout_s` (a case) and `max_retries` (a call) bound the judge's work.

    Contexts are those of the response, else those of the case; the reference is the case's first target. A case without
    what the metric reads, one that the judge refuses, answers in another form or too late, and one that Ragas has no
    number for is Unscored with the reason, never NaN.

    It runs in this process, or by the Python that EVALHARNESS_RAGAS_PYTHON names, whose environment has Ragas alone.

    Raises:
        MissingExtraError: Ragas is in neither.
    """

    name: ClassVar[str] = "ragas"
    version: ClassVar[str] = "1"
    files: ClassVar[Mapping[str, str]] = {"embedding_model": "model"}
    judged: ClassVar[bool] = True

    def __init__(
        self,
        metric: str,
        llm: Mapping[str, Any],
        embeddings: Mapping[str, Any] | None = None,
        embedding_model: str | None = None,
        strictness: int = 3,
        concurrency: int = 8,
        timeout_s: float = 120.0,
        max_retries: int = 2,
    ) -> None:
        one_of("metric", metric, worker.METRICS)
        embedded = metric == "answer_relevancy"
        if embedded and (embeddings is None) == (embedding_model is None):
            raise ValueError(
                "answer_relevancy needs either embeddings (a server) or embedding_model (a folder)"
            )
        if not embedded and (embeddings is not None or embedding_model is not None):
            raise ValueError(f"{metric} uses no embeddings; take them out")
        judge = _endpoint("llm", llm, (*_ENDPOINT, *_OPTIONS))
        vectors = _endpoint("embeddings", embeddings, _ENDPOINT) if embeddings is not None else None
        for key, value, least in (
            ("strictness", strictness, 1), ("concurrency", concurrency, 1), ("max_retries", max_retries, 0),
        ):  # fmt: skip
            if type(value) is not int or value < least:
                raise ValueError(f"{key} must be a whole number of at least {least}, not {value!r}")
        seconds: object = timeout_s  # from YAML: its type is not to be trusted
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, int | float)
            or not 0 < seconds < float("inf")
        ):
            raise ValueError(f"timeout_s must be a number of seconds above 0, not {timeout_s!r}")
        self._name = metric
        self._python = os.environ.get(PYTHON) or None
        self._ragas = _version(self._python)
        self._settings: dict[str, Any] = {
            "metric": metric,
            "llm": {**judge, "options": {key: llm[key] for key in _OPTIONS if key in llm}},
            "embeddings": vectors,
            "embedding_model": embedding_model,
            "strictness": strictness,
            "concurrency": concurrency,
            "timeout_s": float(timeout_s),
            "max_retries": max_retries,
        }

    @property
    def needs(self) -> tuple[str, ...]:
        return ("targets",) if self._name in _NEEDS_TARGET else ()

    @property
    def metric(self) -> Metric:
        return _METRIC

    @property
    def identity(self) -> Mapping[str, Any]:
        folder = self._settings["embedding_model"]
        if folder is not None:
            folder = {"content": model_digest(Path(folder))} if Path(folder).is_dir() else {"name": folder}
        about = {
            key: {name: value for name, value in self._settings[key].items() if name != "api_key_env"}
            for key in ("llm", "embeddings")
            if self._settings[key] is not None
        }
        strictness = self._settings["strictness"] if self._name == "answer_relevancy" else None
        return {
            "metric": self._name,
            **about,
            "embedding_model": folder,
            "strictness": strictness,
            "ragas": self._ragas,
        }

    def ready(self) -> None:
        """Raises UsageError where a key is missing."""
        for name in ("llm", "embeddings"):
            variable = (self._settings[name] or {}).get("api_key_env")
            if variable is not None and not os.environ.get(variable, "").strip():
                raise UsageError(f"ragas: {name} needs a key: set the environment variable {variable}")

    @property
    def servers(self) -> tuple[tuple[str, str | None], ...]:
        """Addresses that are asked, each with the variable of its key."""
        known = [self._settings[name] for name in ("llm", "embeddings") if self._settings[name] is not None]
        return tuple((str(one["base_url"]), one["api_key_env"]) for one in known)

    def calls(self, case: Case) -> int:
        """How often the judge is asked about one answer; contexts that come with the answer are not known here."""
        if self._name == "context_precision":
            return max(1, len(case.contexts))
        return {"faithfulness": 2, "context_recall": 1}.get(self._name, int(self._settings["strictness"]))

    def score(self, case: Case, response: Response) -> Score:
        return self.score_many([(case, response)])[0]

    def score_many(self, items: Sequence[tuple[Case, Response]]) -> Sequence[Score]:
        """One score an item.

        Raises:
            UsageError: Ragas cannot be run, or a key is missing.
            ProviderError: the judge's endpoint refuses the key or the model, or cannot be reached for any case.
        """
        found: dict[int, Score] = {}
        rows = []
        for place, (case, response) in enumerate(items):
            row = self._row(case, response)
            if isinstance(row, Unscored):
                found[place] = row
            else:
                rows.append({"id": place, **row})
        results = self._run(rows) if rows else []
        if results and "fatal" in results[0]:
            raise ProviderError(f"ragas: {results[0]['fatal']}")
        if results and all(result.get("lost") for result in results):
            host = urlsplit(self._settings["llm"]["base_url"]).netloc.rpartition("@")[2]
            raise ProviderError(f"ragas: the judge at {host} cannot be reached: {results[0]['reason']}")
        for result in results:
            value = result.get("value")
            found[result["id"]] = Scored(value) if value is not None else Unscored(result["reason"])
        return [found.get(place, Unscored("ragas gave no result")) for place in range(len(items))]

    def _row(self, case: Case, response: Response) -> dict[str, Any] | Unscored:
        """What Ragas reads of a case, or what it lacks."""
        contexts = [text for text in response.contexts or case.contexts if text.strip()]
        reference = written(case.targets[0]) if case.targets else ""
        if not case.question.strip():
            return Unscored("the case has no question")
        if self._name in ("faithfulness", "answer_relevancy") and not response.text.strip():
            return Unscored("the answer is empty")
        if self._name != "answer_relevancy" and not contexts:
            return Unscored("neither the answer nor the case has contexts")
        if self._name in _NEEDS_TARGET and not reference.strip():
            return Unscored("the case has no target")
        return {
            "user_input": case.question,
            "response": response.text,
            "contexts": contexts,
            "reference": reference,
        }

    def _run(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._python is not None:
            return _by_python(self._python, self._settings, rows)
        try:
            if not _loop_runs():
                return worker.score_rows(self._settings, rows)
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(worker.score_rows, self._settings, rows).result()
        except ImportError as error:
            raise UsageError(f"ragas cannot be imported: {error}; {_HOW}") from error


_HOW: Final = (
    "pip install 'evalharness[rag]', or install ragas into an environment of its own and name its Python in "
    f"{PYTHON} (its dependencies clash with those of 'evalharness[benchmarks]')"
)


def _endpoint(key: str, given: object, known: Sequence[str]) -> dict[str, Any]:
    """Where a model answers. Raises ValueError or TypeError."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{key} must hold base_url and model, not {given!r}")
    unknown = sorted(set(map(str, given)) - set(known))
    if unknown:
        raise ValueError(f"{key} has no key {unknown[0]!r}; it takes {', '.join(known)}")
    for name in _ENDPOINT:
        value = given.get(name)
        if value is None and name == "api_key_env":
            continue
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{key}.{name} must be a text that is not empty, not {value!r}")
    for name in _OPTIONS:
        number = given.get(name)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
            raise TypeError(f"{key}.{name} must be a number, not {number!r}")
    parts = urlsplit(given["base_url"])
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"{key}.base_url {given['base_url']!r} is not an http(s) URL; write http://host:port/v1"
        )
    return {name: given.get(name) for name in _ENDPOINT}


def _loop_runs() -> bool:
    """Whether this thread's event loop runs (a notebook), in which another cannot be started."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@lru_cache(maxsize=8)
def _version(python: str | None) -> str:
    """Ragas' version where it will run: its prompts are part of what a value means.

    Raises:
        MissingExtraError: it is not there.
        UsageError: the Python that the environment names cannot be run.
    """
    if python is None:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version("ragas")
        raise MissingExtraError(f"ragas is not installed: {_HOW}")
    said = _output(python, ["-c", "from importlib import metadata; print(metadata.version('ragas'))"], "")
    return said.strip()


def _by_python(python: str, settings: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results from the worker's file, run by another Python."""
    lines = "".join(json.dumps(row) + "\n" for row in (settings, *rows))
    said = _output(python, [str(Path(worker.__file__).resolve())], lines)
    try:
        return [json.loads(line) for line in said.splitlines()]
    except ValueError as error:
        raise UsageError(f"{PYTHON}: {python} did not answer as Ragas' worker does") from error


def _output(python: str, arguments: Sequence[str], given: str) -> str:
    """What a Python writes. Isolated (-I): neither this process's PYTHONPATH nor the script's folder is in its path."""
    try:
        done = subprocess.run(
            [python, "-I", *arguments],
            input=given,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=_STARTS_S if not given else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{PYTHON} names {python!r}, which cannot be run: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UsageError(f"{PYTHON} names {python!r}, which failed: {last[:300]}")
    return done.stdout
