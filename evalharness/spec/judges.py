"""Judge folders: judge.yaml, prompt.md and calibration.jsonl, read and validated. Judging is done elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from evalharness._canon import digest
from evalharness.content import PathPolicy
from evalharness.errors import Problem
from evalharness.plugins import Registry
from evalharness.spec.candidates import check_provider, provider_options, resolve, template
from evalharness.spec.cases import MAX_SHOWN, BadLine, json_lines
from evalharness.spec.checking import check
from evalharness.spec.models import JudgeFile
from evalharness.spec.prompts import JUDGE_VARIABLES
from evalharness.spec.reader import Document, describe, did_you_mean, read_yaml

JUDGE: Final = "judge.yaml"
_MUST_USE: Final = {"pairwise": ("first", "second"), "pointwise": ("output",)}
_LABELS: Final = {"pairwise": ("first", "second", "tie"), "pointwise": ("pass", "fail")}
_TEXTS: Final = {"pairwise": ("first", "second"), "pointwise": ("output",)}
_OPTIONAL: Final = ("contexts", "target", "labeller", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One human label. `answers` are the judged texts: (first, second) pairwise, (output,) pointwise."""

    id: str
    input: str
    answers: tuple[str, ...]
    label: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSpec:
    """A judge as its folder describes it.

    `digest` covers what shapes a judgment: mode, provider, model, decoding, criteria, rubric, prompt. It does not
    cover the labels, which measure the judge.
    """

    name: str
    mode: Literal["pairwise", "pointwise"]
    provider: str
    model: str | None
    criteria: tuple[str, ...]
    rubric: str
    prompt: str
    decoding: Mapping[str, Any]
    options: Mapping[str, Any]
    api_key_env: str | None
    labels: tuple[Label, ...]
    digest: str
    path: str


def load_judge(path: Path, *, paths: PathPolicy, registry: Registry) -> JudgeSpec:
    """Read a judge's folder (or its judge.yaml).

    Raises:
        SpecError: every problem found in judge.yaml, the prompt and the calibration labels.
    """
    file = path / JUDGE if path.is_dir() else path
    document = read_yaml(file, paths)
    model = check(JudgeFile, document)
    check_provider(document, document.data, registry)
    if model is None:
        document.finish()
        raise AssertionError("a failed check always leaves a problem")
    if model.model is not None and model.model.rsplit("-", 1)[-1] == "latest":
        hint = "a calibration holds for one exact model: name the dated version"
        document.add(("model",), f"model {model.model!r} is not pinned", hint)
    text = template(document, ("prompt",), model.prompt, paths, JUDGE_VARIABLES[model.mode])
    for name in _MUST_USE[model.mode]:
        if text and name not in text:
            document.add(("prompt",), f"the prompt of a {model.mode} judge never shows {name!r}")
    labels: tuple[Label, ...] = ()
    calibration = resolve(document, ("calibration",), model.calibration, paths)
    if calibration is not None and not calibration.is_file():
        document.add(("calibration",), f"calibration: {model.calibration!r} is not a file")
    elif calibration is not None:
        labels = _read_labels(document, calibration, paths.show(calibration), model.mode)
    options, contents = provider_options(document, model, paths)
    document.finish()
    decoding = model.decoding.model_dump(exclude_none=True)
    identity = {
        "mode": model.mode,
        "provider": model.provider,
        "model": model.model,
        "decoding": decoding,
        "options": contents,
        "criteria": model.criteria,
        "rubric": model.rubric,
        "prompt": text,
    }
    return JudgeSpec(
        name=model.name,
        mode=model.mode,
        provider=model.provider,
        model=model.model,
        criteria=tuple(model.criteria),
        rubric=model.rubric,
        prompt=text,
        decoding=decoding,
        options=options,
        api_key_env=model.api_key_env,
        labels=labels,
        digest=digest(identity),
        path=paths.show(file.parent),
    )


def _read_labels(document: Document, path: Path, shown: str, mode: str) -> tuple[Label, ...]:
    labels: list[Label] = []
    lines: dict[str, int] = {}
    wrong = 0
    try:
        for number, value in json_lines(path):
            for message, hint in (
                [(str(value), value.hint)] if isinstance(value, BadLine) else _wrong(value, mode)
            ):
                wrong += 1
                if wrong <= MAX_SHOWN:
                    document.problems.append(Problem(message, shown, number, hint=hint))
                break
            else:
                first = lines.setdefault(value["id"], number)
                if first != number:
                    message = f"the id {value['id']!r} is already on line {first}"
                    document.problems.append(Problem(message, shown, number))
                answers = tuple(value[name] for name in _TEXTS[mode])
                labels.append(
                    Label(
                        id=value["id"],
                        input=value["input"],
                        answers=answers,
                        label=value["label"],
                        line=number,
                    )
                )
    except OSError as error:
        document.problems.append(Problem(f"cannot be read: {error.strerror or error}", shown))
    return tuple(labels)


def _wrong(value: Any, mode: str) -> Iterator[tuple[str, str | None]]:
    if not isinstance(value, dict):
        yield f"a label must be a JSON object, not {describe(value)}", None
        return
    texts = ("id", "input", *_TEXTS[mode])
    known = (*texts, "label", *_OPTIONAL)
    for name in value:
        if name not in known:
            yield f"unknown key {name!r}", did_you_mean(name, set(known) - value.keys())
    for name in texts:
        if name not in value:
            yield f"the key {name!r} is missing", f"a {mode} label holds {', '.join((*texts, 'label'))}"
        elif not isinstance(value[name], str):
            yield f"{name} must be text, not {describe(value[name])}", None
    options = _LABELS[mode]
    if value.get("label") not in options:
        yield f"label must be one of {', '.join(options)}", None
