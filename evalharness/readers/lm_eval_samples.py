"""lm-evaluation-harness: `samples_<task>_<date>.jsonl`, with the `results_<date>.json` beside it where there is one.

A row is one document under one filter. Its metrics are numbers, or what the tool needs to work out a metric over all
documents: a perplexity's log-likelihood and length are such, others have no value for a case and are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.benchmarks import Results
from evalharness.core.cases import Case
from evalharness.readers._files import head_object, read_lines, read_object
from evalharness.readers._tasks import (
    Measure,
    TaskBuilder,
    case_id,
    identity_of,
    lines_of,
    metric_id,
    put,
    text_of,
)

_FILE: Final = re.compile(r"samples_(.+)_(\d{4}-\d\d-\d\dT[\d:.\-]+)\.jsonl")
_FIXED: Final = frozenset(
    (
        *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "schema"),
        *("doc_hash", "prompt_hash", "target_hash"),
    )
)
_PERPLEXITIES: Final = ("word_perplexity", "byte_perplexity", "bits_per_byte")
_LOWER: Final = frozenset(("perplexity", *_PERPLEXITIES, "brier_score", "ter", "wer", "cer", "mse", "mae"))
_CONFIG: Final = ("dataset_path", "dataset_name", "test_split", "output_type", "num_fewshot", "filter_list")
_SIDE: Final = (
    "model_source",
    "model_name",
    "system_instruction_sha",
    "chat_template_sha",
    "fewshot_as_multiturn",
)
_NOTHING: Final[Mapping[str, Any]] = {}


class LmEvalSamples:
    """Reads one task's samples: `metric` under the task's first filter, `metric.filter` under each other."""

    name: ClassVar[str] = "lm_eval"
    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    def reads(self, path: Path, head: bytes) -> bool:
        """Rows with a document's id and what the model answered after a filter."""
        if _FILE.fullmatch(path.name) is not None:
            return True
        first = head_object(head)
        return b'"doc_id"' in first and b'"filtered_resps"' in first

    def read(self, path: Path) -> Results:
        """One samples file.

        Raises:
            SpecError: rows are wrong, or one document stands twice under one filter.
        """
        named = _FILE.fullmatch(path.name)
        beside = _beside(path, named[2] if named else None)
        task = named[1] if named else path.stem
        samples = _Samples(path, task)
        samples.read()
        about = beside.get("results", _NOTHING)
        config = _mapping(_mapping(about.get("configs")).get(task))
        version = _mapping(about.get("versions")).get(task)
        shots = _mapping(about.get("n-shot")).get(task)
        comparable = {key: config[key] for key in _CONFIG if key in config}
        if shots is not None:
            comparable["num_fewshot"] = shots
        found = samples.builder.build(
            samples.measures(_mapping(_mapping(about.get("higher_is_better")).get(task))),
            version=text_of(version),
            comparable=identity_of(comparable),
        )
        told = list(samples.builder.warnings) + samples.warnings
        if not about:
            told.append(
                f"there is no results_*.json beside {path.name}: the task's version and settings are not known"
            )
        side = _mapping(about.get("config"))
        model = about.get("model_name") or side.get("model")
        return Results(
            tool="lm_eval",
            tool_version=text_of(about.get("lm_eval_version")),
            name=path.stem if named is None else path.parent.name or path.stem,
            model=model if isinstance(model, str) else None,
            identity=identity_of(
                {
                    "tool": "lm_eval",
                    **{key: about.get(key) for key in _SIDE},
                    **{
                        key: side.get(key)
                        for key in ("model", "model_args", "gen_kwargs", "model_dtype", "model_sha")
                    },
                }
            ),
            tasks={task: found},
            warnings=tuple(told),
        )


def _beside(path: Path, date: str | None) -> dict[str, Mapping[str, Any]]:
    """The aggregated results of the same run."""
    place = path.with_name(f"results_{date}.json")
    if date is None or not place.is_file():
        return {}
    return {"results": read_object(place)}


class _Samples:
    """The rows of one file. Rows of one document under several filters are one case."""

    def __init__(self, path: Path, task: str) -> None:
        self.path = path
        self.builder = TaskBuilder(task, path)
        self.warnings: list[str] = []
        self.names: dict[str, str] = {}
        self.perplexities: set[str] = set()
        self.left_out: dict[str, None] = {}
        self.documents: dict[str, _Document] = {}

    def read(self) -> None:
        """Every row; what is wrong with them is kept with the builder."""
        problems = self.builder.problems
        rows: dict[tuple[str, str], int] = {}
        for line, row in read_lines(self.path, problems):
            doc_id, under = row.get("doc_id"), row.get("filter", "none")
            if not isinstance(doc_id, int | str) or not isinstance(under, str):
                problems.add("is no sample of lm-eval: it has no doc_id", line)
                continue
            name = case_id(doc_id)
            first = rows.setdefault((name, under), line)
            if first != line:
                hint = "the file holds more than one run; keep the rows of one"
                problems.add(f"document {name} under filter {under!r} is already on line {first}", line, hint)
                continue
            document = self.documents.setdefault(name, _Document(name, row, line))
            if document.line != line and document.case != _case(name, row):
                problems.add(f"document {name} is another than on line {document.line}", line)
                continue
            metrics = row.get("metrics")
            listed = metrics if isinstance(metrics, list) else [key for key in row if key not in _FIXED]
            document.values[under] = {text_of(key): row.get(text_of(key)) for key in listed}
        first_filter = next((under for _, under in rows), "")
        for document in self.documents.values():
            scores: dict[str, float] = {}
            unscored: dict[str, str] = {}
            for under, values in document.values.items():
                suffix = "" if under == first_filter else f".{metric_id(under)}"
                self._take(values, suffix, scores, unscored)
            outcome = Response(text=document.text, scores=scores, unscored=unscored)
            self.builder.add(document.case, outcome, place=document.line, about=document.about)
        if self.left_out:
            self.warnings.append(
                f"{', '.join(self.left_out)}: worked out over all documents, without a value for one, and so left "
                "out; where the answers are texts, score them in a suite"
            )

    def _take(
        self, values: Mapping[str, Any], suffix: str, scores: dict[str, float], unscored: dict[str, str]
    ) -> None:
        for metric, value in values.items():
            if metric == "bits_per_byte":  # the logarithm of that, from the same two numbers
                metric = "byte_perplexity"
            found = metric_id(metric) + suffix
            pair = _nats_and_units(metric, value)
            if pair is not None:
                self.perplexities.add(found)
                put(scores, unscored, f"{found}.nll", pair[0])
                put(scores, unscored, f"{found}.tokens", pair[1])
            elif isinstance(value, list | dict | str):
                self.left_out.setdefault(metric)
                continue
            else:
                put(scores, unscored, found, value)
            self.names.setdefault(found, metric)

    def measures(self, higher: Mapping[str, Any]) -> list[Measure]:
        """The first metric that has a value for each case is the headline."""
        found: list[Measure] = []
        for name, metric in self.names.items():
            told = higher.get(metric)
            known = True if metric in _LOWER else None
            ratio = name in self.perplexities
            found.append(
                Measure(
                    id=name,
                    lower=not told if isinstance(told, bool) else known,
                    headline=not ratio and not any(item.headline for item in found),
                    perplexity=ratio,
                )
            )
        return found


class _Document:
    """One document, and its metrics by filter."""

    __slots__ = ("about", "case", "line", "text", "values")

    def __init__(self, name: str, row: Mapping[str, Any], line: int) -> None:
        self.line = line
        self.case = _case(name, row)
        self.text = _answer(row)
        self.values: dict[str, Mapping[str, Any]] = {}
        self.about = {key: value for key, value in _mapping(row.get("doc")).items() if isinstance(value, str)}


def _case(name: str, row: Mapping[str, Any]) -> Case:
    doc = row.get("doc")
    target = row.get("target")
    return Case(
        id=name,
        input=lines_of(doc if isinstance(doc, dict) else {"doc": doc}),
        targets=(text_of(target),) if target not in (None, "") else (),
    )


def _answer(row: Mapping[str, Any]) -> str:
    """The text that was generated, or the choice found likeliest."""
    filtered = row.get("filtered_resps")
    answers = filtered if isinstance(filtered, list) else [filtered]
    if len(answers) == 1:  # of a document that was read and not answered, its likelihood
        read = row.get("metrics") and set(map(text_of, row["metrics"])) <= {"perplexity", *_PERPLEXITIES}
        return answers[0] if isinstance(answers[0], str) and not read else ""
    likelihoods = [_likelihood(item) for item in answers]
    if not likelihoods or None in likelihoods:
        return ""
    best = max(range(len(likelihoods)), key=lambda place: likelihoods[place] or 0.0)
    asked = _mapping(_mapping(row.get("arguments")).get(f"gen_args_{best}"))
    return text_of(asked.get("arg_1")).strip()


def _likelihood(value: Any) -> float | None:
    """The log-likelihood of a choice, which lm-eval writes as text; with it stands whether it was the greedy one."""
    try:
        found = float(value[0])
    except (ValueError, TypeError, LookupError):
        return None
    return found if math.isfinite(found) else None


def _nats_and_units(metric: str, value: Any) -> tuple[float, float] | None:
    """The negative log-likelihood of a document, and the words, bytes or documents it is spread over."""
    if metric == "perplexity" and isinstance(value, int | float) and not isinstance(value, bool):
        return -value, 1
    if metric not in _PERPLEXITIES or not isinstance(value, list) or len(value) != 2:
        return None
    likelihood, units = value
    if any(isinstance(item, bool) or not isinstance(item, int | float) for item in value):
        return None
    return -likelihood, units


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING
