"""Ragas' metrics over rows of plain data. Runs inside this process, or by path in an environment of its own.

This file imports nothing of the package: Ragas' dependencies may clash with what the harness has installed, and the
Python that runs it then has Ragas and no harness. By path it reads one line of settings and one line a row from
standard input, and writes one line a result to standard output, all of them JSON:

settings  {"metric", "llm": {"model", "base_url", "api_key_env", "options"}, "embeddings": the same | null,
           "embedding_model": a folder | null, "strictness", "concurrency", "timeout_s", "max_retries"}
row       {"id", "user_input", "response", "contexts", "reference"}
result    {"id", "value"} | {"id", "reason", "lost": the endpoint could not be reached} | {"fatal": reason}

A key is read from the variable that the settings name and never written. Requires ragas 0.4.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import math
import os
import sys
import warnings
from typing import Any

METRICS = ("faithfulness", "answer_relevancy", "context_precision", "context_recall")
_READS = {
    "faithfulness": ("user_input", "response", "retrieved_contexts"),
    "answer_relevancy": ("user_input", "response"),
    "context_precision": ("user_input", "reference", "retrieved_contexts"),
    "context_recall": ("user_input", "reference", "retrieved_contexts"),
}
_ROUNDING = 1e-6
_EXCERPT = 200


class FatalError(Exception):
    """Every further row would fail the same way."""


def score_rows(settings: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One result a row, in order, or a single {"fatal"}. Starts an event loop: call it where none runs.

    Raises:
        ImportError: ragas or something that it needs is not installed.
    """
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"  # read once, when ragas first looks
    log = logging.getLogger("instructor")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it writes each failure to the terminal; here failures are results
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore"
            )  # what ragas' own imports will stop doing is not the user's concern
            for module in ("ragas.embeddings", "ragas.llms", "ragas.metrics.collections"):
                importlib.import_module(module)
            return asyncio.run(_score(settings, rows))
    finally:
        log.setLevel(level)


async def _score(settings: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows on one client of each endpoint in one event loop: a client does not outlive its loop."""
    clients: list[Any] = []
    gate = asyncio.Semaphore(settings["concurrency"])
    try:
        metric = _metric(settings, clients)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_row(metric, settings, row, gate)) for row in rows]
        return [task.result() for task in tasks]
    except BaseExceptionGroup as several:
        fatal = several.subgroup(FatalError)
        if fatal is None:
            raise
        first: BaseException = fatal
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        return [{"fatal": str(first)}]
    except FatalError as error:
        return [{"fatal": str(error)}]
    finally:
        for client in clients:
            await client.close()


def _metric(settings: dict[str, Any], clients: list[Any]) -> Any:
    from ragas.embeddings import HuggingFaceEmbeddings, OpenAIEmbeddings
    from ragas.llms import llm_factory
    from ragas.metrics import collections

    about = settings["llm"]
    client = _client(about, settings, clients)
    llm = llm_factory(about["model"], client=client, **about["options"])
    if settings["metric"] == "answer_relevancy":
        folder, server = settings["embedding_model"], settings["embeddings"]
        embeddings: Any
        if folder is not None:
            safe: Any = {"trust_remote_code": False, "model_kwargs": {"use_safetensors": True}}
            embeddings = HuggingFaceEmbeddings(model=folder, **safe)
        else:
            embeddings = OpenAIEmbeddings(client=_client(server, settings, clients), model=server["model"])
        return collections.AnswerRelevancy(llm=llm, embeddings=embeddings, strictness=settings["strictness"])
    name = "".join(word.capitalize() for word in settings["metric"].split("_"))
    return getattr(collections, name)(llm=llm)


def _client(about: dict[str, Any], settings: dict[str, Any], clients: list[Any]) -> Any:
    import openai

    client = openai.AsyncOpenAI(
        api_key=_key(about) or "none",
        base_url=about["base_url"],
        timeout=settings["timeout_s"],
        max_retries=settings["max_retries"],
        # A redirect would carry the key elsewhere.
        http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
    )
    clients.append(client)
    return client


def _key(about: dict[str, Any] | None) -> str | None:
    variable = about["api_key_env"] if about is not None else None
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise FatalError(f"a key is needed: set the environment variable {variable}")
    return key


async def _row(
    metric: Any, settings: dict[str, Any], row: dict[str, Any], gate: asyncio.Semaphore
) -> dict[str, Any]:
    given = {**row, "retrieved_contexts": row["contexts"]}
    async with gate:
        try:
            wanted = {name: given[name] for name in _READS[settings["metric"]]}
            async with asyncio.timeout(settings["timeout_s"]):
                result = await metric.ascore(**wanted)
        except TimeoutError:
            return {
                "id": row["id"],
                "reason": f"no verdict within {settings['timeout_s']:g} s",
                "lost": False,
            }
        except Exception as error:  # noqa: BLE001 - whatever Ragas, instructor or the SDK raise is a reason
            return {"id": row["id"], **_reason(error, settings)}
    return {"id": row["id"], **_value(settings["metric"], result.value)}


def _value(metric: str, value: Any) -> dict[str, Any]:
    """A number from 0 to 1, or why there is none. Ragas says NaN where it has nothing to count."""
    number = float(value)
    if math.isnan(number):
        return {"reason": "the judge found no statement to check", "lost": False}
    if metric == "answer_relevancy":
        number = max(number, 0.0)  # a mean of cosines: below 0 is no relevance
    if not -_ROUNDING <= number <= 1 + _ROUNDING:
        return {"reason": f"the judge's verdicts give {number:g}, which lies outside 0 to 1", "lost": False}
    return {"value": min(1.0, max(0.0, number))}


def _reason(error: BaseException, settings: dict[str, Any]) -> dict[str, Any]:
    """Why a row has no value. instructor wraps what the SDK raised, so the whole chain is asked.

    Raises:
        FatalError: a wrong key, or a model or address that is not there.
    """
    import openai

    chain = _chain(error)
    raised = next((e for e in chain if isinstance(e, openai.OpenAIError)), None)
    words = next((text for e in chain if (text := _last_words(e)) is not None), None)
    if raised is None and words is not None:
        said = f"the judge did not answer in the form asked for: {words!r}"
    else:
        said = f"{type(raised or error).__name__}: {raised or error}"
    for about in (settings["llm"], settings["embeddings"]):
        key = _key(about)
        if key is not None:
            said = said.replace(key, "[key]")
    said = " ".join("".join(c if c.isprintable() else " " for c in said).split())[:_EXCERPT]
    if isinstance(raised, openai.AuthenticationError | openai.PermissionDeniedError | openai.NotFoundError):
        raise FatalError(said) from None
    lost = isinstance(raised, openai.APIConnectionError) and not isinstance(raised, openai.APITimeoutError)
    return {"reason": said, "lost": lost}


def _last_words(error: BaseException) -> str | None:
    """What the judge said last, where instructor gave up on making it follow the schema."""
    try:
        return str(error.last_completion.choices[0].message.content)[:_EXCERPT]  # type: ignore[attr-defined]
    except (AttributeError, IndexError):
        return None


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found


def main() -> int:
    """Standard input to standard output; what libraries print goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    lines = [json.loads(line) for line in sys.stdin if line.strip()]
    try:
        results = score_rows(lines[0], lines[1:])
    except ImportError as error:
        results = [{"fatal": f"this Python cannot import ragas: {error}"}]
    for result in results:
        out.write(json.dumps(result) + "\n")
    out.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
