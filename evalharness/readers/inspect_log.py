"""Inspect AI's logs: `.eval` (a zip of JSON) and the older `.json`. Inspect itself is not needed.

A log that is not finished holds fewer samples than were planned: those that are not there count as failed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Failure, Response, Usage
from evalharness.core.benchmarks import Results
from evalharness.core.cases import Case, Message
from evalharness.readers._files import BadJson, a, parse, read_object, refuse
from evalharness.readers._tasks import (
    Measure,
    TaskBuilder,
    case_id,
    identity_of,
    lines_of,
    metric_id,
    number,
    put,
    text_of,
)
from evalharness.readers._zip import Archive

_SAMPLE: Final = re.compile(r"samples/.+_epoch_[0-9]+(?:\.json|/sample\.json)")
_SHELL: Final = "/sample.json"
_ATTACHMENT: Final = "attachment://"
_GRADES: Final[Mapping[str, float]] = {
    "C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0,
    "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0,
}  # fmt: skip
"""As Inspect's own `value_to_float` has them."""
_ROLES: Final = ("system", "user", "assistant")
_NOTHING: Final[Mapping[str, Any]] = {}


class InspectLog:
    """Reads a log of `inspect eval`: epochs are repeats, each scorer is a metric."""

    name: ClassVar[str] = "inspect"
    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = (".eval", ".json")

    def reads(self, path: Path, head: bytes) -> bool:
        """A zip file called `.eval`, or JSON that says what was evaluated and how it ended."""
        if path.suffix == ".eval":
            return True
        return (
            re.search(rb'"eval"\s*:\s*\{\s*"', head) is not None and b'"status"' in head and b'"task"' in head
        )

    def read(self, path: Path) -> Results:
        """The whole log.

        Raises:
            SpecError: damaged, or not a log of Inspect. MissingExtraError: it needs Zstandard to be read.
        """
        if path.suffix != ".eval":
            log = read_object(path)
            samples = log.get("samples")
            if samples is not None and not isinstance(samples, list):
                raise refuse(path, f"samples is {a(samples)}, not a list")
            named = ((f"sample {place}", sample) for place, sample in enumerate(samples or [], 1))
            return _Log(path, log).results(named)
        with Archive(path) as archive:
            return _Log(path, _header(archive)).results(_samples(archive))


def _header(archive: Archive) -> dict[str, Any]:
    for name, status in (("header.json", None), ("_journal/start.json", "started")):
        if name in archive.members:
            found = _json(archive, name)
            return found if status is None else {**found, "status": status}
    raise refuse(archive.path, "holds no header.json", "it is no log of Inspect, or was never begun")


def _json(archive: Archive, name: str, kind: type = dict) -> Any:
    try:
        found = parse(archive.read(name))
    except BadJson as error:
        raise refuse(archive.path, f"{name!r} {error}", error.hint) from None
    if not isinstance(found, kind):
        raise refuse(archive.path, f"{name!r} holds {a(found)}")
    return found


def _samples(archive: Archive) -> Iterator[tuple[str, Any]]:
    for name in archive.members:
        if not _SAMPLE.fullmatch(name):
            continue
        sample = _json(archive, name)
        if name.endswith(_SHELL):  # a large sample in parts
            folder = name.removesuffix(_SHELL)
            if f"{folder}/metadata.json" in archive.members:
                sample["metadata"] = _json(archive, f"{folder}/metadata.json")
            sample["attachments"] = _attachments(archive, f"{folder}/attachments/")
        yield name, sample


def _attachments(archive: Archive, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in archive.members:
        start = name.removeprefix(folder).removesuffix(".json")
        if name.startswith(folder) and start.isdecimal() and len(start) < 10:
            texts = _json(archive, name, list)
            found |= {str(int(start) + place): text for place, text in enumerate(texts)}
    return found


class _Log:
    """One log and what has been found in it."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        about = header.get("eval")
        if not isinstance(about, dict) or not isinstance(about.get("task"), str) or not about["task"].strip():
            raise refuse(path, "does not say which task was evaluated", "it is no log of Inspect")
        self.path = path
        self.header = header
        self.about: dict[str, Any] = about
        self.task = " ".join(about["task"].split())
        self.builder = TaskBuilder(self.task, path)
        self.measures: dict[str, str] = {}
        self.warnings: list[str] = []

    def results(self, samples: Iterator[tuple[str, Any]]) -> Results:
        for place, sample in samples:
            self._take(place, sample)
        self._expect()
        found = self.builder.build(
            self._measures(),
            version=text_of(self.about.get("task_version", "")),
            comparable=self._comparable(),
        )
        packages = _mapping(self.about.get("packages"))
        model = self.about.get("model")
        config = {
            name: self.header.get(name) if name == "plan" else self.about.get(name)
            for name in (
                "model",
                "model_args",
                "model_generate_config",
                "model_base_url",
                "model_roles",
                "plan",
            )
        }
        return Results(
            tool="inspect",
            tool_version=text_of(packages.get("inspect_ai")),
            name=self.path.stem,
            model=model if isinstance(model, str) else None,
            identity=identity_of({"tool": "inspect", **config}),
            tasks={self.task: found},
            warnings=(*self.warnings, *self.builder.warnings),
            facts={
                "status": text_of(self.header.get("status")),
                "created": text_of(self.about.get("created")),
            },
        )

    def _take(self, place: str, sample: Any) -> None:
        if not isinstance(sample, dict) or not isinstance(sample.get("id"), int | str):
            self.builder.problems.add(f"{place}: is no sample: it has no id")
            return
        epoch = sample.get("epoch", 1)
        if type(epoch) is not int:
            self.builder.problems.add(f"{place}: its epoch is {a(epoch)}")
            return
        attachments = _mapping(sample.get("attachments"))
        self.builder.add(
            _case(sample, attachments),
            self._outcome(sample, attachments),
            place=place,
            repeat=epoch - 1,
            about=_mapping(sample.get("metadata")),
        )

    def _outcome(self, sample: Mapping[str, Any], attachments: Mapping[str, Any]) -> Response | Failure:
        error, invalid = sample.get("error"), sample.get("invalidation")
        if error is not None:
            return Failure(kind="recorded", message=text_of(_mapping(error).get("message", error))[:500])
        if invalid is not None:
            reason = text_of(_mapping(invalid).get("reason")) or "no reason given"
            return Failure(kind="recorded", message=f"invalidated: {reason}"[:500])
        scores: dict[str, float] = {}
        unscored: dict[str, str] = {}
        for scorer, score in _mapping(sample.get("scores")).items():
            self._score(str(scorer), _mapping(score).get("value"), scores, unscored)
        output = _mapping(sample.get("output"))
        text, ended = _answer(output, attachments)
        took = sample.get("working_time", sample.get("total_time"))
        seconds = number(took)
        return Response(
            text=text,
            model=output["model"] if isinstance(output.get("model"), str) and output["model"] else None,
            finish_reason=ended,
            usage=_usage(_mapping(sample.get("model_usage")), self.about.get("model")),
            latency_ms=seconds * 1000 if isinstance(seconds, float) and seconds >= 0 else None,
            scores=scores,
            unscored=unscored,
        )

    def _score(self, scorer: str, value: Any, scores: dict[str, float], unscored: dict[str, str]) -> None:
        """One scorer's value: a grade, a number, or several of them by name or place."""
        parts: Sequence[tuple[str, Any]] = [(scorer, value)]
        if isinstance(value, dict):
            parts = [(f"{scorer}.{key}", item) for key, item in value.items()]
        elif isinstance(value, list):
            parts = [(f"{scorer}.{place}", item) for place, item in enumerate(value)]
        for name, item in parts:
            found = metric_id(name)
            if self.measures.setdefault(found, name) != name:
                self.builder.problems.add(f"two scores are both called {found!r}: {name!r} and another")
                continue
            graded = _GRADES.get(item, _GRADES.get(item.lower(), item)) if isinstance(item, str) else item
            if isinstance(graded, str):
                with contextlib.suppress(ValueError):
                    graded = float(graded)
            put(scores, unscored, found, graded)

    def _measures(self) -> list[Measure]:
        """The scorer that Inspect calls the headline first, in the order of the header otherwise."""
        results = _mapping(self.header.get("results"))
        names = [item.get("name") for item in map(_mapping, _list(results.get("scores")))]
        names += [item.get("name") for item in map(_mapping, _list(self.about.get("scorers")))]
        order = [metric_id(name) for name in names if isinstance(name, str)]
        first = _mapping(results.get("headline")).get("score")
        if isinstance(first, str):
            order.insert(0, metric_id(first))

        def place(name: str) -> tuple[int, int]:
            for number_, start in enumerate(order):
                if name == start or name.startswith(f"{start}."):
                    return number_, found.index(name)
            return len(order), found.index(name)

        found = list(self.measures)
        return [Measure(id=name, headline=not rank) for rank, name in enumerate(sorted(found, key=place))]

    def _expect(self) -> None:
        """What was planned and is not there counts as failed, and is said."""
        dataset = _mapping(self.about.get("dataset"))
        epochs = _mapping(self.about.get("config")).get("epochs")
        repeats = epochs if type(epochs) is int and epochs > 0 else 1
        ids = [case_id(item) for item in _list(dataset.get("sample_ids"))]
        planned = dataset.get("samples")
        missing = self.builder.expect([Case(id=name) for name in ids if name], repeats)
        if not ids and type(planned) is int and planned * repeats > len(self.builder):
            raise refuse(
                self.path,
                f"holds {len(self.builder):,} of {planned * repeats:,} samples and does not say which are missing",
                "finish it with: inspect eval-retry",
            )
        status = self.header.get("status")
        if missing > 0:
            self.warnings.append(
                f"{missing:,} of {missing + len(self.builder):,} planned samples are not in the log (status "
                f"{text_of(status) or 'unknown'}); they count as failed"
            )
        elif status != "success":
            self.warnings.append(
                f"the log ended with status {text_of(status) or 'unknown'}, with every sample in it"
            )
        if self.header.get("invalidated") is True:
            self.warnings.append("the log holds samples that were invalidated; they count as failed")

    def _comparable(self) -> dict[str, Any]:
        """The arguments of the task, its data set, and each scorer's options."""
        dataset = _mapping(self.about.get("dataset"))
        scorers = {
            metric_id(item["name"]): {"options": item.get("options")}
            for item in map(_mapping, _list(self.about.get("scorers")))
            if isinstance(item.get("name"), str)
        }
        found = {
            "arguments": self.about.get("task_args", {}),
            "data set": dataset.get("name"),
            "metrics": scorers,
        }
        same: dict[str, Any] = identity_of(found)
        return same


def _case(sample: Mapping[str, Any], attachments: Mapping[str, Any]) -> Case:
    given = sample.get("input", "")
    text: str | None = None
    messages: tuple[Message, ...] = ()
    if isinstance(given, list):
        chat = [item for item in given if isinstance(item, dict)]
        texts = [(item.get("role"), _content(item.get("content"), attachments)) for item in chat]
        if texts and all(role in _ROLES for role, _ in texts):
            messages = tuple(Message(str(role), content) for role, content in texts)
        else:
            text = lines_of({f"{place} {role}": content for place, (role, content) in enumerate(texts, 1)})
    else:
        text = text_of(_resolved(given, attachments))
    target = sample.get("target")
    targets = target if isinstance(target, list) else [target]
    choices = [text_of(choice) for choice in _list(sample.get("choices"))]
    return Case(
        id=case_id(sample["id"]),
        input=text,
        messages=messages,
        targets=tuple(text_of(item) for item in targets if item not in (None, "")),
        choices=tuple(choices) if len(set(choices)) == len(choices) else (),
    )


def _answer(output: Mapping[str, Any], attachments: Mapping[str, Any]) -> tuple[str, str | None]:
    """The answer's text and why it ended."""
    choice = _mapping(next(iter(_list(output.get("choices"))), None))
    reason = choice.get("stop_reason")
    completion = output.get("completion")
    if completion is None:
        completion = _content(_mapping(choice.get("message")).get("content"), attachments)
    return text_of(_resolved(completion, attachments)), reason if isinstance(reason, str) else None


def _content(content: Any, attachments: Mapping[str, Any]) -> str:
    """The text of a message; parts that are no text are named."""
    if not isinstance(content, list):
        return text_of(_resolved(content, attachments))
    parts = []
    for part in map(_mapping, content):
        kind = text_of(part.get("type"))
        shown = part.get("text") if kind == "text" else part.get(kind)
        parts.append(
            text_of(_resolved(shown, attachments)) if kind == "text" else f"[{kind}: {text_of(shown)[:200]}]"
        )
    return "\n".join(parts)


def _resolved(value: Any, attachments: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        return attachments.get(value.removeprefix(_ATTACHMENT), value)
    return value


def _usage(by_model: Mapping[str, Any], model: Any) -> Usage | None:
    """Tokens of the model under test; of the judges' where it alone is not told, none."""
    own = by_model.get(model) if isinstance(model, str) else None
    if own is None and len(by_model) == 1:
        own = next(iter(by_model.values()))
    counts = [_mapping(own).get(name) for name in ("input_tokens", "output_tokens")]
    known = [count if type(count) is int and 0 <= count < 2**53 else None for count in counts]
    return None if known == [None, None] else Usage(known[0], known[1])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
