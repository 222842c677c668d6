"""Answers to a task's requests scored by the task itself, case by case, and kept as lm-eval keeps them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalharness.benchmarks._lm_eval_calm import library
from evalharness.benchmarks._lm_eval_cases import Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScores:
    """What the task says of one case: the recorded scores, why others are missing, and the text to show."""

    scores: Mapping[str, float]
    unscored: Mapping[str, str]
    text: str


@dataclass(slots=True, kw_only=True)
class Scoring:
    """Scores cases of a loaded task, and collects lm-eval's own rows of them."""

    loaded: Loaded
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def case(self, case_id: str, requests: Sequence[Any], keep_row: bool = True) -> CaseScores:
        """Score one case. `requests` are lm-eval's, with their answers in `resps`. Called inside `calm`."""
        name, doc_id = self.loaded.sources[case_id]
        task = self.loaded.found.tasks[name]
        unscored: dict[str, str] = {}
        said: dict[str, Mapping[str, Any]] = {}
        trouble = ""
        try:
            task._instances = list(requests)
            task.apply_filters()
            for filtered in requests[0].filtered_resps:
                said[filtered] = task.process_results(
                    requests[0].doc, [row.filtered_resps[filtered] for row in requests]
                )
        except Exception as error:  # noqa: BLE001 - a task's own code on one odd answer; the others stand
            trouble = f"lm-eval's {name} cannot score this answer: {type(error).__name__}: {str(error)[:200]}"
        scores: dict[str, float] = {}
        for reading in self.loaded.readings:
            values = said.get(reading.filter, {})
            try:
                if trouble or reading.metric not in values:
                    raise ValueError(trouble or "lm-eval gave no value for this case")
                scores |= reading.read(values[reading.metric])
            except Exception as error:  # noqa: BLE001 - also what a task's own aggregation raises on one case
                unscored |= dict.fromkeys(reading.names(), str(error) or type(error).__name__)
        if keep_row:
            self.rows.setdefault(name, []).extend(
                _row(task, doc_id, requests, filtered, values) for filtered, values in said.items()
            )
        return CaseScores(scores=scores, unscored=unscored, text=_text(task, requests))

    def write(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write `samples_<task>.jsonl` and `results.json` as lm-eval does, numbered where there are some."""
        dump = functools.partial(
            json.dumps, default=library("lm_eval.utils").handle_non_serializable, ensure_ascii=False
        )
        results: dict[str, Any] = {}
        for name, rows in self.rows.items():
            path = _free(folder, f"samples_{name.replace('/', '_')}", ".jsonl")
            with path.open("w", encoding="utf-8") as stream:
                for row in rows:
                    stream.write(dump(row) + "\n")
            results[name] = self._totals(name, rows)
        if results:
            tasks = {name: self.loaded.found.tasks[name] for name in results}
            whole = {
                "results": results,
                "configs": {name: task.dump_config() for name, task in tasks.items()},
                "versions": {name: task.VERSION for name, task in tasks.items()},
                "n-shot": {name: task.get_config("num_fewshot") for name, task in tasks.items()},
                "higher_is_better": {name: task.higher_is_better() for name, task in tasks.items()},
                "n-samples": {
                    name: {
                        "original": len(task.eval_docs),
                        "effective": len({r["doc_id"] for r in self.rows[name]}),
                    }
                    for name, task in tasks.items()
                },
                "config": dict(about),
            }
            path = _free(folder, "results", ".json")
            path.write_text(dump(whole, indent=2), encoding="utf-8")

    def _totals(self, name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """lm-eval's own sums over the rows, those that can be had."""
        task = self.loaded.found.tasks[name]
        totals: dict[str, Any] = {"alias": name}
        for metric, whole in task.aggregation().items():
            for filtered in dict.fromkeys(row["filter"] for row in rows):
                values = [row[metric] for row in rows if row["filter"] == filtered and metric in row]
                try:
                    totals[f"{metric},{filtered}"] = whole(values)
                except Exception:  # noqa: BLE001 - a sum of the whole set that cannot be made of this part
                    totals[f"{metric},{filtered}"] = None
        return totals


def _row(
    task: Any, doc_id: int, requests: Sequence[Any], filtered: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    utils = library("lm_eval.utils")
    target = str(task.doc_to_target(requests[0].doc))
    document = json.dumps(
        requests[0].doc, indent=2, default=utils.handle_non_serializable, ensure_ascii=False
    )
    return {
        "doc_id": doc_id,
        "doc": requests[0].doc,
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": argument for j, argument in enumerate(row.args)}
            for i, row in enumerate(requests)
        },
        "resps": [row.resps for row in requests],
        "filtered_resps": [row.filtered_resps[filtered] for row in requests],
        "filter": filtered,
        "metrics": list(values),
        "doc_hash": utils.hash_string(document),
        "prompt_hash": utils.hash_string(requests[0].args[0]),
        "target_hash": utils.hash_string(target),
        **values,
    }


def _text(task: Any, requests: Sequence[Any]) -> str:
    """What the model answered: its text, or the choice it finds likeliest."""
    if task.OUTPUT_TYPE == "generate_until":
        return str(requests[0].resps[0]) if requests[0].resps else ""
    if len(requests) < 2:
        greedy = task.OUTPUT_TYPE == "loglikelihood" and bool(requests[0].resps[0][1])
        return str(requests[0].args[1]).strip() if greedy else ""
    choices: list[str] = []
    try:
        choices = [str(choice) for choice in task.doc_to_choice(requests[0].doc)]
    except Exception:  # noqa: BLE001 - tasks written in Python keep their choices where they like
        choices = [str(row.args[1]).strip() for row in requests]
    likely = [row.resps[0][0] for row in requests[: len(choices)]]
    return choices[max(range(len(likely)), key=likely.__getitem__)]


def _free(folder: Path, stem: str, ending: str) -> Path:
    number = 1
    while (path := folder / f"{stem}{f'_{number}' if number > 1 else ''}{ending}").exists():
        number += 1
    return path
