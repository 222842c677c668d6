"""Candidate files: YAML → `core.candidates.Candidate`, with the content of every file it names in the digest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from evalharness._canon import digest
from evalharness.content import PathPolicy, content_digest
from evalharness.core.candidates import Candidate, Limits, Prompt
from evalharness.errors import Problem, SpecError
from evalharness.plugins import Registry
from evalharness.spec.checking import check, part
from evalharness.spec.lines import BadLine, parse_json
from evalharness.spec.models import CandidateFile, PromptFile, ProviderFields
from evalharness.spec.prices import price_of
from evalharness.spec.prompts import VARIABLES, template_problems
from evalharness.spec.reader import Document, Loc, did_you_mean, read_text, read_yaml

MAX_PROMPT_BYTES: Final = 1_000_000
_PROMPT_PATH: Final = re.compile(r"[^\s{}]+\.(md|txt|j2|jinja)")

_RETRIEVER: Final = "embeddings"
_SCHEMA: Final = "answer_schema"
_REMOTE: Final = frozenset(
    ("base_url", "api_key_env", "api", "extra_body", "max_tokens_field", "organization", _SCHEMA)
)
_RETRIEVAL: Final = frozenset(
    ("documents", "base_url", "api_key_env", "vectors", "query_prompt", "document_prompt", "dimensions", "top_k",
     "similarity", "reranker", "rerank_top", "device", "batch_size", "revision")
)  # fmt: skip
TAKES: Final[Mapping[str, frozenset[str]]] = {
    "openai": _REMOTE | {"adapter"},
    "vllm": (_REMOTE | {"adapter"}) - {"organization"},
    "ollama": _REMOTE - {"organization"},
    "anthropic": frozenset(("base_url", "api_key_env", "extra_body", _SCHEMA)),
    "transformers": frozenset(("adapter", "dtype", "device", "batch_size", "revision", "window")),
    "inspect": frozenset(("base_url", "extra_body")),
    _RETRIEVER: _RETRIEVAL,
    "python": frozenset(("target",)),
    "replay": frozenset(("outputs",)),
}
"""Which provider uses which of the provider's own keys. A third party's provider may use any."""
NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("model",),
    "vllm": ("model",),
    "ollama": ("model",),
    "anthropic": ("model",),
    "transformers": ("model",),
    "inspect": ("model",),
    _RETRIEVER: ("documents",),
    "python": ("target",),
    "replay": ("outputs",),
}
_OWN_KEYS: Final = tuple(sorted({key for keys in TAKES.values() for key in keys}))
NOT_IN_DIGEST: Final = frozenset(("api_key_env", "organization"))
"""What changes no output: the key and whose bill it is."""


def load_candidate(path: Path, *, paths: PathPolicy, registry: Registry) -> Candidate:
    """Read a candidate file.

    Raises:
        SpecError: every problem found in it and in the prompts it names.
    """
    document = read_yaml(path, paths)
    if "evals" in document.data and "provider" not in document.data:
        hint = (
            "give a candidate file (it has a `provider`); this one goes under its `suite` or behind --suite"
        )
        raise SpecError(
            [*document.problems, Problem("is a suite, not a candidate", document.shown, hint=hint)]
        )
    model = check(CandidateFile, document)
    if model is None:
        check_provider(document, document.data, registry)
        _check_anyway(document, paths)
        document.finish()
        raise AssertionError("a failed check always leaves a problem")
    check_provider(document, document.data, registry)
    prompt = _prompt(document, model.prompt, paths)
    options, contents = provider_options(document, model, paths)
    if model.outputs is not None:
        outputs = resolve(document, ("outputs",), model.outputs, paths)
        if outputs is not None and not outputs.is_file():
            document.add(("outputs",), f"outputs: {model.outputs!r} is not a file; a JSONL file is needed")
        elif outputs is not None:
            options["outputs"], contents["outputs"] = str(outputs), _content(document, ("outputs",), outputs)
    if model.provider == _RETRIEVER:
        _retrieval(document, model, paths, options, contents)
    if model.target is not None:
        options["target"] = contents["target"] = model.target
        contents["source"] = _source(model.target, path.parent, paths.cwd)
    schema = _schema(document, model, paths) if model.answer_schema is not None else None
    suite = resolve(document, ("suite",), model.suite, paths) if model.suite is not None else None
    check_price(document, model)
    document.finish()
    decoding = model.decoding.model_dump(exclude_none=True)
    candidate = Candidate(
        name=model.name,
        provider=model.provider,
        model=model.model,
        digest="",
        prompt=prompt,
        decoding=decoding,
        options=options,
        api_key_env=model.api_key_env,
        repeats=model.repeats,
        limits=Limits(**model.limits.model_dump()),
        price=price_of(model),
        suite_path=str(suite) if suite is not None else None,
        path=paths.show(path),
        schema=schema,
    )
    return replace(candidate, digest=_digest(candidate, contents))


def _check_anyway(document: Document, paths: PathPolicy) -> None:
    """In a file that is wrong elsewhere, the prompts and paths that can be checked all the same."""
    prompt = part(PromptFile, document.data.get("prompt", {}))
    if prompt is not None:
        _prompt(document, prompt, paths)
    for key in ("suite", "outputs", "documents", _SCHEMA):
        text = document.data.get(key)
        if isinstance(text, str):
            resolve(document, (key,), text, paths)


def check_provider(
    document: Document,
    data: Mapping[str, Any],
    registry: Registry,
    takes: Mapping[str, frozenset[str]] = TAKES,
    needs: Mapping[str, tuple[str, ...]] = NEEDS,
) -> None:
    """Record an unknown provider, keys it does not use and keys it needs."""
    name = data.get("provider")
    if not isinstance(name, str):
        return
    known = registry.names("providers")
    if name not in known:
        document.add(("provider",), f"unknown provider {name!r}", did_you_mean(name, known))
        return
    if name not in takes:
        return
    for key in sorted({key for keys in takes.values() for key in keys}):
        if key in data and key not in takes[name]:
            users = [provider for provider, keys in takes.items() if key in keys]
            document.add(
                (key,), f"provider {name!r} does not use {key!r}", f"it belongs to {', '.join(users)}"
            )
    for key in needs[name]:
        if data.get(key) is None:
            document.add((key,), f"provider {name!r} needs the key {key!r}")


def check_price(document: Document, model: ProviderFields) -> None:
    """Record a spend cap without a price to count by."""
    if model.limits.max_cost_usd is not None and price_of(model) is None:
        document.add(
            ("limits", "max_cost_usd"),
            "limits.max_cost_usd needs `price`",
            "there is no list price of this model here: state yours",
        )


def provider_options(
    document: Document, model: ProviderFields, paths: PathPolicy
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The provider's own settings, and the same with paths replaced by content digests (for the identity).

    For `transformers` a local model folder becomes the absolute path `model_path`, a local adapter the absolute
    `adapter`; hub ids stay as written.
    """
    options: dict[str, Any] = {}
    for key in _OWN_KEYS:
        value = getattr(model, key, None)
        if value is not None and key not in ("outputs", "target", "api_key_env", "vectors", _SCHEMA):
            options[key] = value
    contents = dict(options)
    models: dict[str, tuple[tuple[str, str], ...]] = {
        "transformers": (("model", "model_path"), ("adapter", "adapter")),
        # a server's name of its model is no path, whatever it looks like
        _RETRIEVER: (
            *((("model", "model_path"),) if model.base_url is None else ()),
            ("reranker", "reranker"),
        ),
    }
    for key, option in models.get(model.provider or "", ()):
        text = getattr(model, key, None)
        if text is not None and is_local(text, document, paths):
            found = resolve(document, (key,), text, paths)
            if found is not None:
                options[option], contents[option] = str(found), _content(document, (key,), found)
    return options, contents


def _retrieval(
    document: Document,
    model: CandidateFile,
    paths: PathPolicy,
    options: dict[str, Any],
    contents: dict[str, Any],
) -> None:
    """The files of a retriever, and what does not go together in it."""
    named: list[tuple[Loc, str]] = [] if model.documents is None else [(("documents",), model.documents)]
    if model.vectors is not None:
        options["vectors"], contents["vectors"] = {}, {}
        named += [(("vectors", key), getattr(model.vectors, key)) for key in ("documents", "queries")]
    for loc, text in named:
        found = resolve(document, loc, text, paths)
        if found is None:
            continue
        if not found.is_file():
            document.add(loc, f"{'.'.join(map(str, loc))}: {text!r} is not a file")
            continue
        for group, value in ((options, str(found)), (contents, _content(document, loc, found))):
            (group["vectors"] if len(loc) > 1 else group)[str(loc[-1])] = value
    _check_retrieval(document, model)


def _check_retrieval(document: Document, model: CandidateFile) -> None:
    """Record keys of a retriever that do not go together."""
    if (model.model is None) == (model.vectors is None):
        message = "names a model and vectors, too" if model.vectors is not None else "names no model"
        hint = "give `model` (a folder, a hub id, or with base_url a server's), or `vectors`, and not both"
        document.add(
            ("vectors",) if model.vectors is not None else ("provider",), f"the candidate {message}", hint
        )
    idle = {
        "vectors": ("base_url", "api_key_env", "query_prompt", "document_prompt", "revision"),
        "base_url": ("revision",),
    }
    for with_key, keys in idle.items():
        for key in keys:
            if getattr(model, with_key) is not None and getattr(model, key) is not None:
                document.add((key,), f"{key} does not go with {with_key}")
    if model.device is not None and model.reranker is None and (model.base_url or model.vectors):
        document.add(("device",), "no model of this candidate runs on a device here")
    if model.api_key_env is not None and model.base_url is None and model.vectors is None:
        document.add(("api_key_env",), "api_key_env needs base_url")
    if model.rerank_top is not None and model.reranker is None:
        document.add(("rerank_top",), "rerank_top needs `reranker`")
    for key, instead in (("prompt", "query_prompt"), ("decoding", "dimensions, top_k, similarity")):
        if key in document.data:
            document.add((key,), f"provider {_RETRIEVER!r} does not use {key!r}", f"its keys are {instead}")


def resolve(document: Document, loc: Loc, text: str, paths: PathPolicy) -> Path | None:
    """The file that the text at `loc` names, None after recording why there is none."""
    try:
        return paths.resolve(text, document.path, line=document.place(loc).line)
    except SpecError as error:
        document.problems.extend(error.problems)
        return None


def template(
    document: Document, loc: Loc, text: str, paths: PathPolicy, allowed: frozenset[str] = VARIABLES
) -> str:
    """The template that a value means, itself or the file it names, after recording what is wrong with it."""
    found = named_text(document, loc, text, paths)
    if found is None:
        return ""
    text, where, first = found
    for line, message, hint in template_problems(text, allowed):
        document.problems.append(Problem(message, where, first + line - 1, hint=hint))
    return text


def named_text(document: Document, loc: Loc, text: str, paths: PathPolicy) -> tuple[str, str, int] | None:
    """The text that a value means, itself or the .md, .txt or .j2 file it names, with its file and first line.

    None after recording why there is none.
    """
    if not _PROMPT_PATH.fullmatch(text):
        return text, document.shown, document.place(loc).text_line
    found = resolve(document, loc, text, paths)
    if found is None:
        return None
    shown = paths.show(found)
    try:
        return read_text(found, shown, limit=MAX_PROMPT_BYTES), shown, 1
    except SpecError as error:
        document.problems.extend(error.problems)
        return None


def _prompt(document: Document, model: PromptFile, paths: PathPolicy) -> Prompt:
    system = model.system
    if system is not None:
        system = template(document, ("prompt", "system"), system, paths)
    return Prompt(system=system, user=template(document, ("prompt", "user"), model.user, paths))


def is_local(text: str, document: Document, paths: PathPolicy) -> bool:
    """Whether a model or adapter is a path: written as one, or an existing folder. A hub id is `org/name`."""
    if text.startswith(("./", "../", "/")) or text.count("/") > 1:
        return True
    try:
        paths.resolve(text, document.path)
    except SpecError:
        return False
    return True


def _schema(document: Document, model: CandidateFile, paths: PathPolicy) -> dict[str, Any] | None:
    """The schema of answers with a title, None after recording what is wrong with it or with asking for it here."""
    import jsonschema
    from jsonschema.validators import validator_for

    loc = (_SCHEMA,)
    assert model.answer_schema is not None
    if model.api == "completions":
        document.add(loc, "the completions API takes no schema", "leave `api` out: the chat API does")
    if "response_format" in (model.extra_body or {}):
        message = "answer_schema and extra_body.response_format both say how answers look"
        document.add(("extra_body", "response_format"), message, "keep one of them")
    found = resolve(document, loc, model.answer_schema, paths)
    if found is None:
        return None
    shown = paths.show(found)
    try:
        schema = parse_json(read_text(found, shown, limit=MAX_PROMPT_BYTES), last=True)
        if not isinstance(schema, dict):
            raise BadLine("a JSON Schema of answers must be an object")
        validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(schema)
    except SpecError as error:
        document.problems.extend(error.problems)
    except BadLine as error:
        document.problems.append(Problem(str(error), shown, hint=error.hint))
    except jsonschema.SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "the top"
        document.problems.append(Problem(f"not a valid JSON Schema at {place}: {error.message[:200]}", shown))
    else:
        return {"title": "answer", **schema}
    return None


def _digest(candidate: Candidate, contents: Mapping[str, Any]) -> str:
    model = None if "model_path" in contents else candidate.model
    # as written: a model that is held to a schema writes its keys in this order
    schema = {} if candidate.schema is None else {"schema": json.dumps(candidate.schema, ensure_ascii=False)}
    return digest(
        {
            **schema,
            "provider": candidate.provider,
            "model": model,
            "prompt": {"system": candidate.prompt.system, "user": candidate.prompt.user},
            "decoding": dict(candidate.decoding),
            "options": {key: value for key, value in contents.items() if key not in NOT_IN_DIGEST},
        }
    )


def _content(document: Document, loc: Loc, path: Path) -> str:
    try:
        return content_digest(path)
    except OSError as error:
        document.add(loc, f"{path.name} cannot be read: {error.strerror or error}")
        return ""


def _source(target: str, *folders: Path) -> str | None:
    """A digest of the module file a `target` names, where it lies beside the candidate or in the working directory.

    What that module imports is not in it.
    """
    module = Path(*target.partition(":")[0].split("."))
    for folder in folders:
        for file in (folder / module.with_suffix(".py"), folder / module / "__init__.py"):
            if file.is_file():
                return content_digest(file)
    return None
