"""OpenAI Evals' logs (`oaieval --record_path log.jsonl`): a line that says what was run, then events by sample.

`match` events say whether an answer was right, `metrics` events hold numbers, `sampling` events the prompt and the
answer. Several `match` events of one sample are its mean; a metric that is recorded twice is the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Failure, Response, Usage
from evalharness.core.benchmarks import Results
from evalharness.core.cases import Case, Message
from evalharness.readers._files import head_object, read_lines, refuse
from evalharness.readers._tasks import Measure, TaskBuilder, case_id, identity_of, metric_id, put, text_of

_CORRECT: Final = "correct"
_ROLES: Final = ("system", "user", "assistant")
_NOTHING: Final[Mapping[str, Any]] = {}


class OpenAIEvals:
    """Reads a recorded eval: `correct` where answers were matched, and each number of its metrics."""

    name: ClassVar[str] = "openai_evals"
    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json")

    def reads(self, path: Path, head: bytes) -> bool:
        """A first line that names completion functions."""
        first = head_object(head)
        return re.match(rb'\s*\{\s*"spec"\s*:', first) is not None and b'"completion_fns"' in first

    def read(self, path: Path) -> Results:
        """The whole log.

        Raises:
            SpecError: lines are wrong, or it records no sample.
        """
        spec: Mapping[str, Any] = _NOTHING
        samples: dict[str, _Sample] = {}
        finished = False
        builder = TaskBuilder("openai_evals", path)
        for line, row in read_lines(path, builder.problems):
            if "spec" in row:
                if spec:
                    builder.problems.add("a second run starts here", line, "keep one run a file")
                spec = _mapping(row["spec"])
            elif "final_report" in row:
                finished = True
            elif isinstance(row.get("sample_id"), int | str):
                samples.setdefault(case_id(row["sample_id"]), _Sample(line)).take(row)
        builder.problems.finish()
        if not spec:
            raise refuse(path, "does not say what was run", "its first line must be the spec")
        task = text_of(spec.get("base_eval")) or text_of(spec.get("eval_name")) or "openai_evals"
        builder.name = " ".join(task.split())
        for name, sample in samples.items():
            builder.add(sample.case(name), sample.outcome(), place=sample.line)
        if not finished:
            builder.warnings.append(
                "the log has no final report: the run did not end, and samples may be missing"
            )
        names = list(dict.fromkeys(name for sample in samples.values() for name in sample.values()))
        names.sort(key=lambda name: name != _CORRECT)
        measures = [
            Measure(id=name, lower=False if name == _CORRECT else None, headline=not place)
            for place, name in enumerate(names)
        ]
        config = _mapping(spec.get("run_config"))
        found = builder.build(
            measures,
            version=text_of(spec.get("eval_name")),
            comparable=identity_of({"split": spec.get("split"), "eval": config.get("eval_spec")}),
        )
        models = spec.get("completion_fns")
        model = text_of(models[0]) if isinstance(models, list) and len(models) == 1 else None
        return Results(
            tool="openai_evals",
            tool_version="",
            name=path.stem,
            model=model,
            identity=identity_of(
                {"tool": "openai_evals", "completion_fns": models, "args": config.get("completion_fn_args")}
            ),
            tasks={builder.name: found},
            warnings=tuple(builder.warnings),
            facts={"created": text_of(spec.get("created_at"))},
        )


@dataclass(slots=True)
class _Sample:
    """The events of one sample."""

    line: int
    prompt: Any = None
    expected: Any = None
    answer: str = ""
    usage: Usage | None = None
    matches: list[bool] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def take(self, row: Mapping[str, Any]) -> None:
        data = _mapping(row.get("data"))
        kind = row.get("type")
        if kind == "match":
            if isinstance(data.get("correct"), bool):
                self.matches.append(data["correct"])
            self.expected = data.get("expected", self.expected)
            self.answer = self.answer or text_of(data.get("sampled", data.get("picked")))
        elif kind == "metrics":
            self.metrics |= {metric_id(name): value for name, value in data.items() if _is_value(value)}
        elif kind == "sampling":
            if self.prompt is not None:
                return  # a model that grades is asked after the one under test
            self.prompt = data.get("prompt")
            sampled = data.get("sampled")
            self.answer = text_of(sampled[0] if isinstance(sampled, list) and len(sampled) == 1 else sampled)
            self.usage = _usage(_mapping(data.get("usage")))
        elif kind == "error":
            self.error = text_of(data.get("message")) or text_of(data.get("type")) or "error"

    def values(self) -> list[str]:
        return [*([_CORRECT] if self.matches else []), *self.metrics]

    def case(self, name: str) -> Case:
        chat = self.prompt if isinstance(self.prompt, list) else []
        told = all(isinstance(item, dict) and item.get("role") in _ROLES for item in chat)
        messages = tuple(Message(item["role"], text_of(item.get("content"))) for item in chat) if told else ()
        expected = self.expected if isinstance(self.expected, list) else [self.expected]
        return Case(
            id=name,
            input=None if messages else text_of(self.prompt),
            messages=messages,
            targets=tuple(text_of(item) for item in expected if item not in (None, "")),
        )

    def outcome(self) -> Response | Failure:
        if self.error is not None and not self.values():
            return Failure(kind="recorded", message=self.error[:500])
        scores: dict[str, float] = {}
        unscored: dict[str, str] = {}
        if self.matches:
            scores[_CORRECT] = sum(self.matches) / len(self.matches)
        for name, value in self.metrics.items():
            put(scores, unscored, name, value)
        return Response(text=self.answer, usage=self.usage, scores=scores, unscored=unscored)


def _is_value(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _usage(data: Mapping[str, Any]) -> Usage | None:
    counts = [data.get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [count if type(count) is int and count >= 0 else None for count in counts]
    return None if known == [None, None] else Usage(known[0], known[1])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING
