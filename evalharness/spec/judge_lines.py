"""The JSONL files of a judge's folder: human labels (calibration.jsonl) and worked examples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from evalharness.core.judges import Example, Label, Mode
from evalharness.errors import Problem
from evalharness.spec.lines import BadLine, capped, checked_lines, json_lines
from evalharness.spec.reader import describe, did_you_mean

TEXTS: Final[Mapping[Mode, tuple[str, ...]]] = {
    "pairwise": ("first", "second"),
    "pointwise": ("output",),
    "claims": ("output",),
}
"""The judged texts by the names that prompts, labels and examples call them."""
LABELS: Final[Mapping[Mode, tuple[str, ...]]] = {
    "pairwise": ("first", "second", "tie"),
    "pointwise": ("pass", "fail"),
    "claims": ("pass", "fail"),
}
_OPTIONAL: Final = ("contexts", "target", "labeller", "note")

_Line = TypeVar("_Line")
_Item: TypeAlias = "tuple[str, tuple[str, ...], tuple[str, ...], str | None]"


def read_labels(path: Path, shown: str, mode: Mode) -> tuple[tuple[Label, ...], list[Problem]]:
    """Human labels in the order of the file, with everything wrong in it.

    Several labellers may label one item (`labeller` tells them apart); an item has one id and one set of texts.

    Args:
        path: a JSONL file.
        shown: its name in messages.
        mode: decides the keys and the labels there are.
    """
    return _read(path, shown, _Labels(mode).take)


def read_examples(
    path: Path, shown: str, mode: Mode, criteria: Sequence[str]
) -> tuple[tuple[Example, ...], list[Problem]]:
    """Worked examples in the order of the file, with everything wrong in it.

    Args:
        path: a JSONL file.
        shown: its name in messages.
        mode: decides the keys, and with the criteria's ids the shape of a reply.
        criteria: their ids.
    """
    one = {"rationale": str, "met": bool}
    shape: Mapping[Mode, Any] = {
        "pairwise": {"rationale": str, "winner": ("A", "B", "TIE")},
        "pointwise": {"criteria": dict.fromkeys(criteria, one)},
        "claims": {"claims": [{"claim": str, "rationale": str, "supported": bool}]},
    }

    def take(number: int, line: Any) -> Example:
        texts = ("input", *TEXTS[mode])
        _check_texts(line, "an example", texts, (*texts, "reply", "contexts", "target", "note"))
        if "reply" not in line:
            raise BadLine("the key 'reply' is missing", "show the reply the judge should give")
        _check_shape(line["reply"], shape[mode], "reply")
        contexts, target = _background(line, mode)
        return Example(
            input=line["input"],
            answers=tuple(line[name] for name in TEXTS[mode]),
            reply=line["reply"],
            contexts=contexts,
            target=target,
        )

    return _read(path, shown, take)


def _check_shape(value: Any, shape: Any, where: str) -> None:
    """Hold a reply against a shape: a type, a tuple of texts, a mapping with just these keys, a list of one shape."""
    if isinstance(shape, dict):
        if type(value) is not dict:
            raise BadLine(f"{where} must be an object, not {describe(value)}")
        for name in value:
            if name not in shape:
                raise BadLine(
                    f"{where} has the unknown key {name!r}", did_you_mean(name, shape.keys() - value.keys())
                )
        for name, inner in shape.items():
            if name not in value:
                raise BadLine(f"{where} lacks {name!r}", f"it holds {', '.join(shape)}")
            _check_shape(value[name], inner, f"{where}.{name}")
    elif isinstance(shape, list):
        if type(value) is not list:
            raise BadLine(f"{where} must be a list, not {describe(value)}")
        for index, item in enumerate(value):
            _check_shape(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, tuple):
        if value not in shape:
            raise BadLine(f"{where} must be one of {', '.join(shape)}")
    elif type(value) is not shape:
        raise BadLine(f"{where} must be {'text' if shape is str else 'true or false'}, not {describe(value)}")


def _read(
    path: Path, shown: str, take: Callable[[int, Any], _Line]
) -> tuple[tuple[_Line, ...], list[Problem]]:
    lines, problems = checked_lines(json_lines(path), shown, take)
    return tuple(lines), capped(problems, shown)


class _Labels:
    """Takes lines one by one and holds each against those before it."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._texts: dict[str, tuple[_Item, int]] = {}
        self._ids: dict[_Item, tuple[str, int, str]] = {}
        self._given: dict[tuple[str, str], tuple[str, int]] = {}

    def take(self, number: int, line: Any) -> Label:
        label = self._label(number, line)
        item: _Item = (label.input, label.answers, label.contexts, label.target)
        self._check_given(label)
        known, first = self._texts.setdefault(label.id, (item, number))
        if known != item:
            raise BadLine(
                f"the id {label.id!r} stands for other texts on line {first}",
                "all labels of an item show the same texts; give another item another id",
            )
        other, first, said = self._ids.setdefault(item, (label.id, number, label.label))
        if other != label.id:
            message = f"the texts are those of line {first}, id {other!r}"
            if said != label.label:
                message += f", labelled {said!r} there and {label.label!r} here"
            hint = "an item counts once: take one out, or give both its id and name the labellers"
            raise BadLine(message, hint)
        return label

    def _check_given(self, label: Label) -> None:
        said, first = self._given.setdefault((label.id, label.labeller), (label.label, label.line))
        if first == label.line:
            return
        if not label.labeller:
            message = f"the id {label.id!r} is already on line {first}"
            hint = "give each label a `labeller` where several people labelled one item"
        else:
            message = f"{label.labeller!r} already labelled {label.id!r} on line {first}"
            hint = "keep one of them"
        if said != label.label:
            message += f", and called it {said!r} there and {label.label!r} here"
        raise BadLine(message, hint)

    def _label(self, number: int, line: Any) -> Label:
        texts = ("id", "input", *TEXTS[self._mode])
        _check_texts(line, f"a {self._mode} label", texts, (*texts, "label", *_OPTIONAL))
        options = LABELS[self._mode]
        if line.get("label") not in options:
            given = line.get("label")
            near = did_you_mean(given, options) if isinstance(given, str) else None
            raise BadLine(
                f"label must be one of {', '.join(options)}", near if near and "mean" in near else None
            )
        contexts, target = _background(line, self._mode)
        if "labeller" in line and type(line["labeller"]) is not str:
            raise BadLine(f"labeller must be text, not {describe(line['labeller'])}")
        for name in ("id", "labeller"):
            text = line.get(name, "-")
            if not text.strip() or text != text.strip() or not text.isprintable():
                raise BadLine(f"{name} {text!r} is empty, padded with spaces, or holds control characters")
        return Label(
            id=line["id"],
            input=line["input"],
            answers=tuple(line[name] for name in TEXTS[self._mode]),
            label=line["label"],
            line=number,
            contexts=contexts,
            target=target,
            labeller=line.get("labeller", ""),
            note=note if type(note := line.get("note")) is str else "",
        )


def _background(line: Mapping[str, Any], mode: Mode) -> tuple[tuple[str, ...], str | None]:
    """The contexts and the reference beside the judged texts."""
    contexts = line.get("contexts", [])
    if type(contexts) is not list or not all(type(text) is str for text in contexts):
        raise BadLine("contexts must be a list of texts")
    if mode == "claims" and not contexts:
        raise BadLine("has no contexts, which the claims are held against", 'add "contexts": [text, …]')
    if "target" in line and type(line["target"]) is not str:
        raise BadLine(f"target must be text, not {describe(line['target'])}")
    return tuple(contexts), line.get("target")


def _check_texts(line: Any, what: str, texts: Sequence[str], known: Collection[str]) -> None:
    if type(line) is not dict:
        raise BadLine(f"{what} must be a JSON object, not {describe(line)}")
    for name in line:
        if name not in known:
            raise BadLine(f"unknown key {name!r}", did_you_mean(name, set(known) - line.keys()))
    for name in texts:
        if name not in line:
            raise BadLine(f"the key {name!r} is missing", f"{what} holds {', '.join(texts)}")
        if type(line[name]) is not str:
            raise BadLine(f"{name} must be text, not {describe(line[name])}")
