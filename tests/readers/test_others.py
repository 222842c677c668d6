"""promptfoo, DeepEval, OpenAI Evals, Ragas and tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.benchmarks import Results
from evalharness.engine.reading import find_reader, read_results
from evalharness.errors import SpecError, UsageError
from evalharness.plugins import default_registry
from evalharness.readers.deepeval import DeepEval
from evalharness.readers.openai_evals import OpenAIEvals
from evalharness.readers.promptfoo import Promptfoo
from evalharness.readers.ragas_frame import RagasFrame
from evalharness.readers.table import Table, parse_mapping

DATA = Path(__file__).parent / "data"
PROMPTFOO = DATA / "promptfoo-0.121.20.json"
DEEPEVAL = DATA / "deepeval-4.3.1.json"
REGISTRY = default_registry(third_party=False)


def answer(attempt: Attempt) -> Response:
    assert isinstance(attempt.outcome, Response), attempt.outcome
    return attempt.outcome


def metrics(found: Results) -> dict[str, tuple[str, str, bool]]:
    """Direction, kind and whether it gates, by id, of a file with one task."""
    (task,) = found.tasks.values()
    return {
        m.scorer.id: (m.scorer.params["direction"], m.scorer.params["kind"], not m.advisory)
        for m in task.task.metrics
    }


def edited(source: Path, tmp_path: Path, change: Callable[[Any], object]) -> Path:
    data = json.loads(source.read_text())
    change(data)
    path = tmp_path / source.name
    path.write_text(json.dumps(data))
    return path


# --- promptfoo ---------------------------------------------------------------------------------------------------


def test_promptfoo_wants_one_of_several_sides() -> None:
    with pytest.raises(UsageError) as caught:
        Promptfoo().read(PROMPTFOO)
    assert all(f"@{side}" in str(caught.value) for side in ("echo#0", "echo#1", "flip#2", "flip#3"))
    with pytest.raises(UsageError, match="'nobody' is none of its sides"):
        Promptfoo(part="nobody").read(PROMPTFOO)
    with pytest.raises(UsageError, match="several sides"):
        Promptfoo(part="echo").read(PROMPTFOO)


def test_promptfoo_tests_are_cases_whatever_the_prompt() -> None:
    one, other = (Promptfoo(part=part).read(PROMPTFOO) for part in ("echo#0", "flip#3"))
    assert one.tasks["promptfoo"].task.golden_set.cases == other.tasks["promptfoo"].task.golden_set.cases
    assert one.identity != other.identity and (one.tool_version, one.model) == ("0.121.20", "echo")
    task = other.tasks["promptfoo"]
    assert task.repeats == 2 and len(task.task.golden_set.cases) == 4
    first, boom = task.task.golden_set.cases[:2]
    assert (first.input, first.targets) == (
        "bananas",
        ("contains: banana (metric: has_banana)", "equals: Say bananas"),
    )
    found = answer(task.attempts[first.id, 0])
    assert found.scores == {"pass": 0.0, "score": 0.5, "has_banana": 1.0} and found.text == "x Say bananas"
    assert found.usage is not None and (found.usage.input_tokens, found.usage.output_tokens) == (3, 2)
    failed = task.attempts[boom.id, 1].outcome
    assert isinstance(failed, Failure) and failed.message == "endpoint down"
    assert metrics(other)["pass"] == ("higher", "binary", True) and not metrics(other)["score"][2]


def test_promptfoo_of_another_version(tmp_path: Path) -> None:
    path = edited(PROMPTFOO, tmp_path, lambda data: data["results"].update(version=2))
    with pytest.raises(SpecError, match="of version 3"):
        Promptfoo(part="echo#0").read(path)


def test_promptfoo_tests_that_differ_in_what_they_assert_are_two(tmp_path: Path) -> None:
    def change(data: Any) -> None:
        for row in data["results"]["results"]:
            if row["testIdx"] == 1:
                row["testCase"]["assert"] = [{"type": "is-json"}]

    found = Promptfoo(part="echo#0").read(edited(PROMPTFOO, tmp_path, change)).tasks["promptfoo"]
    names = [case.id for case in found.task.golden_set.cases]
    assert names[1] == f"{names[0]}#2", "the first test no longer stands twice, so none was repeated"
    assert len(names) == len(set(names)) == 8 and found.repeats == 1


def test_promptfoo_a_grader_that_failed_says_nothing(tmp_path: Path) -> None:
    def change(data: Any) -> None:
        row = next(r for r in data["results"]["results"] if r["promptIdx"] == 0 and r["testIdx"] == 4)
        row["gradingResult"] = {"pass": False, "score": 0, "reason": "", "metadata": {"graderError": True}}
        row.update(success=False, score=0)

    found = Promptfoo(part="echo#0").read(edited(PROMPTFOO, tmp_path, change)).tasks["promptfoo"]
    third = answer(found.attempts[found.task.golden_set.cases[2].id, 0])
    assert "pass" not in third.scores and third.unscored["pass"] == "the grader failed"


# --- DeepEval ----------------------------------------------------------------------------------------------------


def test_deepeval() -> None:
    found = DeepEval().read(DEEPEVAL)
    assert metrics(found) == {
        "passed": ("higher", "binary", True),
        "Toxicity": ("lower", "bounded", False),
        "Exact_Match": ("higher", "binary", False),
    }
    task = found.tasks["deepeval"]
    assert answer(task.attempts["case-1", 0]).scores == {"passed": 1.0, "Toxicity": 0.2, "Exact_Match": 1.0}
    last = answer(task.attempts["case-3", 0])
    assert last.scores == {"Exact_Match": 1.0} and "judge down" in last.unscored["Toxicity"]
    assert "judge down" in last.unscored["passed"], "nobody knows whether the answer was bad or the judge"


def test_deepeval_scores_that_fail_above_their_threshold_are_better_when_lower(tmp_path: Path) -> None:
    def change(data: Any) -> None:
        for row in data["testRunData"]["testCases"]:
            row["metricsData"][1] = {"name": "My Own", "score": 0.9, "threshold": 0.5, "success": False}

    assert metrics(DeepEval().read(edited(DEEPEVAL, tmp_path, change)))["My_Own"][0] == "lower"


def test_deepeval_test_cases_of_one_name_go_by_their_input(tmp_path: Path) -> None:
    def change(data: Any) -> None:
        for row in data["testRunData"]["testCases"]:
            row["name"] = "test_case_0"

    found = DeepEval().read(edited(DEEPEVAL, tmp_path, change))
    assert len(found.tasks["deepeval"].task.golden_set.cases) == 4 and "by their input" in found.warnings[0]

    def twins(data: Any) -> None:
        change(data)
        data["testRunData"]["testCases"].append(data["testRunData"]["testCases"][0])

    with pytest.raises(SpecError, match="is already in test case 1"):
        DeepEval().read(edited(DEEPEVAL, tmp_path, twins))


# --- OpenAI Evals ------------------------------------------------------------------------------------------------

SPEC = {
    "spec": {
        "completion_fns": ["gpt-x"],
        "eval_name": "own.dev.v0",
        "base_eval": "own",
        "split": "dev",
        "run_config": {},
    }
}


def event(kind: str, sample: str, **data: Any) -> dict[str, Any]:
    return {
        "run_id": "r",
        "event_id": 0,
        "sample_id": sample,
        "type": kind,
        "data": data,
        "created_by": "",
        "created_at": "",
    }


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_openai_evals(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "2+2?"}]
    rows = [
        SPEC,
        event(
            "sampling",
            "own.0",
            prompt=chat,
            sampled=["4"],
            usage={"prompt_tokens": 5, "completion_tokens": 1},
        ),
        event("match", "own.0", correct=True, expected="4", picked="4"),
        event("metrics", "own.0", accuracy=1.0, f1_score=0.5),
        event("sampling", "own.1", prompt=chat, sampled=["5"]),
        event("sampling", "own.1", prompt="Is it right? 5", sampled=["No"]),
        event("match", "own.1", correct=False, expected=["4"], picked=None),
        event("metrics", "own.1", accuracy=0.0, f1_score=math.nan),
        event("error", "own.2", type="Timeout", message="too slow"),
        {"final_report": {"accuracy": 0.5}, "run_id": "r"},
    ]
    path = lines(tmp_path / "log.jsonl", rows)
    assert find_reader(path, REGISTRY) == "openai_evals"
    found = OpenAIEvals().read(path)
    task = found.tasks["own"]
    first, second = (answer(task.attempts[name, 0]) for name in ("own.0", "own.1"))
    assert (first.text, first.scores) == ("4", {"correct": 1.0, "accuracy": 1.0, "f1_score": 0.5})
    assert (second.text, second.scores) == ("5", {"correct": 0.0, "accuracy": 0.0})
    assert isinstance(task.attempts["own.2", 0].outcome, Failure)
    assert task.task.golden_set.cases[0].question == "2+2?"
    assert metrics(found)["correct"] == ("higher", "binary", True) and found.warnings == ()
    assert "did not end" in OpenAIEvals().read(lines(tmp_path / "log.jsonl", rows[:-1])).warnings[0]


def test_openai_evals_of_two_runs_in_one_file(tmp_path: Path) -> None:
    path = lines(tmp_path / "log.jsonl", [SPEC, event("match", "own.0", correct=True), SPEC])
    with pytest.raises(SpecError, match=":3: a second run starts here"):
        OpenAIEvals().read(path)


# --- Ragas -------------------------------------------------------------------------------------------------------


def frame() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(
        {
            "user_input": ["Who?", "Where?", "When?"],
            "retrieved_contexts": [["a", "b"], ["c"], []],
            "response": ["Ann", "Rome", "1999"],
            "reference": ["Ann", "Rome", "1998"],
            "faithfulness": [1.0, 0.5, math.nan],
            "answer_relevancy": [0.9, 0.8, 0.7],
            "harmfulness": [0, 0, 1],
        }
    )


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_ragas_frames(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"run.{form}"
    data = frame()
    if form == "csv":
        data.to_csv(path)  # with pandas' index
    elif form == "parquet":
        data.to_parquet(path)
    else:
        data.to_json(path, orient="records", lines=form == "jsonl")
    assert find_reader(path, REGISTRY) == "ragas"
    found = RagasFrame().read(path)
    task = found.tasks["ragas"]
    assert metrics(found) == {
        "faithfulness": ("higher", "bounded", True),
        "answer_relevancy": ("higher", "bounded", True),
        "harmfulness": ("higher", "binary", False),
    }
    assert any('{"recorded:harmfulness": {direction: lower}}' in text for text in found.warnings)
    third = answer(task.attempts[task.task.golden_set.cases[2].id, 0])
    assert "faithfulness" not in third.scores and third.unscored["faithfulness"]
    assert third.scores["answer_relevancy"] == 0.7
    if form != "csv":
        assert answer(task.attempts[task.task.golden_set.cases[0].id, 0]).contexts == ("a", "b")


def test_a_ragas_metric_that_always_failed_is_still_a_metric(tmp_path: Path) -> None:
    data = frame()
    data["faithfulness"] = math.nan
    data.to_csv(tmp_path / "run.csv", index=False)
    assert "faithfulness" in metrics(RagasFrame().read(tmp_path / "run.csv"))


def test_a_ragas_question_that_stands_twice(tmp_path: Path) -> None:
    data = frame()
    data.loc[1] = data.loc[0]
    data.to_csv(tmp_path / "run.csv", index=False)
    with pytest.raises(SpecError, match=r":3: case 'row-.*' is already on line 2"):
        RagasFrame().read(tmp_path / "run.csv")


# --- tables ------------------------------------------------------------------------------------------------------


def table(tmp_path: Path, text: str | bytes, name: str = "run.csv", mapping: str | None = None) -> Results:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Table(parse_mapping(mapping) if mapping is not None else None).read(path)


def test_a_table_under_its_usual_names(tmp_path: Path) -> None:
    rows = ['1,"a, b?",x,y,1,de,n1', "2,c?,y,y,0,en,n2", "3,d?,z,z,1,de,n3", "4,e,f,f,0,en,n4"]
    text = "\n".join(["id,question,response,expected,accuracy,language,note", *rows, ""])
    found = table(tmp_path, text)
    task = found.tasks["results"]
    assert metrics(found) == {"accuracy": ("higher", "binary", True)}
    case = task.task.golden_set.cases[0]
    assert (case.id, case.input, case.targets, dict(case.tags)) == ("1", "a, b?", ("y",), {"language": "de"})
    assert answer(task.attempts["1", 0]).text == "x"


def test_a_table_with_a_mapping(tmp_path: Path) -> None:
    text = "nr;said;right;tongue;ms\n7;hello;TRUE;de;12\n8;=cmd|' /C calc'!A0;no;en;nan\n9;x;n/a;de;3\n10;y;1;en;4\n"
    found = table(tmp_path, text, mapping="id=nr,output=said,score:ok=right,tag:lang=tongue,latency_ms=ms")
    task = found.tasks["results"]
    assert [answer(a).scores.get("ok") for a in task.attempts.values()] == [1.0, 0.0, None, 1.0]
    assert "no number ('n/a')" in answer(task.attempts["9", 0]).unscored["ok"]
    assert answer(task.attempts["8", 0]).text == "=cmd|' /C calc'!A0", (
        "a cell is a text, whatever it begins with"
    )
    assert (
        answer(task.attempts["7", 0]).latency_ms == 12.0 and answer(task.attempts["8", 0]).latency_ms is None
    )
    assert dict(task.task.golden_set.cases[0].tags) == {"lang": "de"}


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ("id=nr,score:ok=wright", "did you mean 'right'"),
        ("id=nr,skore:ok=right", "did you mean score:NAME"),
        ("id", "is not ROLE=COLUMN"),
        ("id=nr,id=said", "stands twice"),
    ],
)
def test_a_mapping_that_does_not_fit(tmp_path: Path, mapping: str, told: str) -> None:
    with pytest.raises((SpecError, UsageError), match=told):
        table(tmp_path, "nr,said,right\n1,a,1\n", mapping=mapping)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,acc\n1,1\n1,0\n", ":3: case '1' is already on line 2"),
        ("id,acc\n1,1,0\n", ":2: has 3 cells where the header has 2"),
        ("id,acc,acc\n1,1,1\n", ":1: the column 'acc' stands twice"),
        ("1,0.5\n2,0.7\n", ":1: has no header"),
        ("id,acc\n", "holds no cases"),
        ("", "is empty"),
        ("id,note\n1,a\n2,b\n", "holds no score"),
        ("acc\n1\n0\n", "no column says which case a row is"),
        ("id,acc\n1,1\n".encode("utf-16"), "UTF-16; save it as CSV in UTF-8"),
        (b"id,acc\n1,1\n\xff,0\n", ":3: is not UTF-8"),
        (b"id,acc\n1,1\n2\0,0\n", ":3: holds a NUL byte"),
        (",acc\n,1\n", "the id is empty|already"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, text: str | bytes, told: str) -> None:
    if text == ",acc\n,1\n":
        text = "id,acc\n,1\n"
    with pytest.raises(SpecError, match=told):
        table(tmp_path, text)


def test_rows_of_json_lines_with_scores_of_their_own(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "output": "x", "scores": {"acc": 1, "words": 12}, "repeat": 0},
        {"id": "a", "output": "y", "scores": {"acc": 0, "words": None}, "repeat": 1},
        {"id": "b", "error": "timeout", "repeat": 0},
        {"id": "b", "output": "z", "scores": {"acc": True, "words": 3}, "repeat": 1},
    ]
    found = table(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "run.jsonl")
    task = found.tasks["results"]
    assert task.repeats == 2 and metrics(found)["acc"] == ("higher", "binary", True)
    assert metrics(found)["words"] == ("higher", "unbounded", False), (
        "what is no fraction needs a margin of its own"
    )
    assert isinstance(task.attempts["b", 0].outcome, Failure)
    assert answer(task.attempts["a", 1]).unscored["words"] == "no value recorded"


def test_json_lines_that_are_wrong_are_told_line_by_line(tmp_path: Path) -> None:
    text = (
        '{"id": "a", "acc": 1}\n[1]\n{"id": \n'
        + "[" * 100_000
        + "\n"
        + '{"id": "b", "acc": 1e400}\n{"id": "c"'
    )
    with pytest.raises(SpecError) as caught:
        table(tmp_path, text, "run.jsonl")
    assert [(p.line, p.message.split()[0]) for p in caught.value.problems] == [
        (2, "is"), (3, "ends"), (4, "is"), (6, "ends"),
    ]  # fmt: skip


def test_numbers_that_are_none(tmp_path: Path) -> None:
    text = (
        '{"id": "a", "acc": 1}\n{"id": "b", "acc": 1e400}\n{"id": "c", "acc": NaN}\n{"id": "d", "acc": 0}\n'
    )
    task = table(tmp_path, text, "run.jsonl").tasks["results"]
    assert [answer(a).scores.get("acc") for a in task.attempts.values()] == [1.0, None, None, 0.0]


def test_a_file_that_no_reader_knows(tmp_path: Path) -> None:
    for name, text in (("a.txt", "x"), ("b.json", '{"some": "thing"}'), ("c.json", "[1, 2]")):
        (tmp_path / name).write_text(text)
        assert read_results(tmp_path / name, REGISTRY) is None


def test_a_side_of_a_file_that_has_one(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text("id,acc\n1,1\n")
    with pytest.raises(UsageError, match="leave @base out"):
        read_results(tmp_path / "run.csv", REGISTRY, part="base")
