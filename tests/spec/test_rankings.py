"""Run files, qrels and the golden sets made of them: what is read, what is refused, and a retriever gated by them."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest

from evalharness import api
from evalharness.cli.main import run
from evalharness.errors import SpecError
from evalharness.store.rankings import read_qrels, read_run
from tests.docs.support import read, write_files


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, content: str | bytes) -> Path:
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(read_file: Any, name: str, content: str | bytes) -> list[str]:
    """The problems of a file, as a user reads them."""
    with pytest.raises(SpecError) as caught:
        read_file(write(name, content))
    return str(caught.value).split("\n")


def cli(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


# --- runs --------------------------------------------------------------------------------------------------------


def test_a_run_is_ordered_by_score_whatever_its_lines_and_ranks_say() -> None:
    text = "q1 Q0 low 1 -2.5 t\nq2\tQ0\tonly\t9\t1e-3\tt\r\n\nq1 Q0 high 2 14 t\nq1 Q0 middle 3 0.5 t\n"
    assert read_run(write("a.trec", "\ufeff" + text)) == {"q1": ("high", "middle", "low"), "q2": ("only",)}


def test_equal_scores_keep_the_order_of_the_file() -> None:
    ids = [f"d{i}" for i in random.Random(0).sample(range(100), 40)]
    scores = {document: 0.9 if document == ids[20] else 0.5 for document in ids}
    wanted = (ids[20], *ids[:20], *ids[21:])
    lines = "".join(f"q Q0 {document} 1 {score} t\n" for document, score in scores.items())
    assert read_run(write("a.run", lines)) == {"q": wanted}
    assert read_run(write("a.json", json.dumps({"q": scores}))) == {"q": wanted}


def test_a_json_run_may_say_that_a_query_found_nothing() -> None:
    run_file = write("a.json", '{"q1": {"a": 1, "b": 2.5}, "q2": {}}')
    assert read_run(run_file) == {"q1": ("b", "a"), "q2": ()}


def test_every_wrong_line_of_a_run_is_told_at_once() -> None:
    content = (
        b"q0 Q0 d1 1 0.9 t\nq0 Q0 d1 2 0.8 t\nq0 Q0 d2 3 nan t\nq1 Q0 d3 first 1.0 t\nq1 d3 1\n"
        b"q2 Q0 d\xff 1 1 t\nq3 Q0 d3 1 1_0 t\nq3 Q0 d3 1 high\x1b[31m t\n"
    )
    found = refused(read_run, "a.trec", content)
    assert [line.split(": ")[0] for line in found] == [f"a.trec:{n}" for n in range(2, 9)]
    assert 'document "d1" of query "q0" is already on line 1' in found[0]
    assert "not finite" in found[1]
    assert "the rank is" in found[2]
    assert "has 3 columns" in found[3]
    assert "not UTF-8: byte 0xff" in found[4]
    assert "not a number" in found[5]
    assert "\x1b" not in found[6]


def test_only_the_first_problems_are_told_in_words() -> None:
    found = refused(read_run, "a.trec", "one\n" * 200)
    assert len(found) == 51
    assert found[-1].endswith("and 150 more problems")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.trec", "", "holds no lines of a TREC run"),
        ("a.trec", "q Q0 d 1 1 t\n".encode("utf-16"), "UTF-16"),
        ("a.trec", '{"id": "q", "output": "text"}\n', "belong in a .jsonl file"),
        ("a.json", "", "is not JSON"),
        ("a.json", "{}", "holds no queries"),
        ("a.json", "[1]", "is not an object of queries"),
        ("a.json", '{"q": {"d": NaN}}', "NaN is not a number JSON has"),
        ("a.json", '{"q": {"d": 1e999}}', "Infinity"),
        ("a.json", '{"q": {"d": "1"}}', 'is "1"'),
        ("a.json", '{"q": {"d": true}}', "is true"),
        ("a.json", '{"q": {"": 1}}', "every document has an id"),
        ("a.json", '{"": {"d": 1}}', "empty id"),
        ("a.json", '{"q": {"d": 1, "d": 2}}', 'the key "d" stands 2 times'),
        ("a.json", '{"q": ["d"]}', "not documents with a score each"),
        ("a.json", '{"q": {"\\ud800": 1}}', "half a character"),
        ("a.json", '{"id": "a", "output": "x"}\n{"id": "b", "output": "x"}\n', ".jsonl"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", b'{"q\xff": {}}', "not UTF-8"),
    ],
)
def test_a_file_that_is_no_run_says_why(name: str, content: str | bytes, said: str) -> None:
    assert said in "\n".join(refused(read_run, name, content))


def test_a_missing_file_is_told() -> None:
    for name in ("none.trec", "none.json"):
        with pytest.raises(SpecError, match="cannot read the file"):
            read_run(Path(name))


def test_half_a_million_lines_are_read_in_seconds() -> None:
    lines = "".join(f"q{i // 10} Q0 d{i % 977} {i % 10} {10 - i % 10} t\n" for i in range(500_000))
    started = time.process_time()
    found = read_run(write("a.trec", lines))
    assert time.process_time() - started < 10
    assert len(found) == 50_000 and len(found["q0"]) == 10


# --- qrels -------------------------------------------------------------------------------------------------------


def test_qrels_are_read_in_three_forms() -> None:
    wanted = {"q1": {"a": 2.0, "b": 0.0}, "q2": {"c": 0.5}}
    assert read_qrels(write("q.txt", "q1 0 a 2\nq1 0 b -1\nq2 Q0 c 0.5\n")) == wanted
    assert (
        read_qrels(write("q.tsv", "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t0\nq2\tc\t0.5\n")) == wanted
    )
    assert read_qrels(write("q.json", json.dumps({"q1": {"a": 2, "b": -1}, "q2": {"c": 0.5}}))) == wanted


def test_wrong_qrels_are_told_with_their_lines() -> None:
    found = refused(read_qrels, "q.trec", "q1 0 a good\nq1 0 b 1\nq1 a\nq1 0 b 2\nquery-id corpus-id score\n")
    assert [line.split(": ")[0] for line in found] == ["q.trec:1", "q.trec:3", "q.trec:4", "q.trec:5"]
    assert "holds no lines of a TREC qrels" in refused(read_qrels, "e.trec", "\n\n")[0]


# --- golden sets -------------------------------------------------------------------------------------------------

QUERIES = '{"_id": "q2", "text": "two", "metadata": {"url": "x"}}\n{"_id": "q1", "text": "one"}\n'


def test_judged_queries_become_cases_in_the_order_of_the_queries() -> None:
    write("qrels.trec", "q1 0 a 2\nq1 0 b 0\nq2 0 c 0.5\nq3 0 a 0\n")
    write("queries.jsonl", QUERIES + '{"_id": "q3", "text": "three"}\n{"_id": "q4", "text": "four"}\n')
    code, out, err = cli(
        "golden", "from-qrels", "qrels.trec", "queries.jsonl", "--out", "g", "--name", "mine"
    )
    assert (code, err) == (0, "")
    assert "2 cases, 3 judgments" in out
    assert out.count("left out") == 2 and out.count(": 1\n") == 2
    golden = api.load_golden_set("g")
    assert golden.name == "mine"
    assert [(case.id, case.input, case.relevant) for case in golden.cases] == [
        ("q2", "two", {"c": 0.5}),
        ("q1", "one", {"a": 2, "b": 0}),
    ]
    assert cli("golden", "lock", "g")[0] == 0


def test_queries_may_be_tab_separated() -> None:
    write("qrels.trec", "1 0 a 1\n2 0 b 1\n")
    write("queries.tsv", "\ufeff1\twhat is\tthis?\r\n\n2\tß\n3\tnot judged\n")
    made = api.golden_from_qrels("qrels.trec", "queries.tsv", "g", name="g")
    assert (made.n_cases, made.n_unjudged, made.n_without_relevant) == (2, 1, 0)
    assert [case.input for case in api.load_golden_set("g").cases] == ["what is\tthis?", "ß"]


def test_everything_wrong_in_both_files_is_told_and_nothing_is_written() -> None:
    write("qrels.trec", "q1 0 a x\n")
    write("queries.tsv", "q1\tone\nno tab\nq1\tagain\n\tno id\nq 1 \tpadded\nq5\t\n")
    code, out, err = cli("golden", "from-qrels", "qrels.trec", "queries.tsv", "--out", "g", "--name", "g")
    assert (code, out) == (2, "")
    for where in ("qrels.trec:1", *(f"queries.tsv:{n}" for n in range(2, 7))):
        assert f"{where}: " in err
    assert not Path("g").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"_id": 7, "text": "x"}', "_id is not a text"),
        ('{"text": "x"}', "_id is missing"),
        ('{"_id": "a"}', "text is missing"),
        ('["a", "b"]', "is not an object"),
        ('{"_id": "a", "text": "\\ud800"}', "half a character"),
        ('{"_id": "a\\u0007", "text": "x"}', "control characters"),
        ("{", "ends in the middle"),
    ],
)
def test_a_wrong_query_says_why(line: str, said: str) -> None:
    write("qrels.trec", "q1 0 a 1\n")
    write("queries.jsonl", QUERIES + line + "\n")
    with pytest.raises(SpecError, match=said) as caught:
        api.golden_from_qrels("qrels.trec", "queries.jsonl", "g", name="g")
    assert str(caught.value).startswith("queries.jsonl:3: ")


def test_a_judged_query_without_a_text_is_an_error_not_a_smaller_set() -> None:
    write("qrels.trec", "q1 0 a 1\nq8 0 a 1\nq9 0 a 1\n")
    write("queries.jsonl", QUERIES)
    with pytest.raises(SpecError, match=r"2 judged queries have no text in queries\.jsonl: q8, q9"):
        api.golden_from_qrels("qrels.trec", "queries.jsonl", "g", name="g")


def test_nothing_relevant_a_bad_name_and_a_set_that_is_there_are_refused() -> None:
    write("zero.trec", "q1 0 a 0\n")
    write("qrels.trec", "q1 0 a 1\n")
    write("queries.jsonl", QUERIES)
    words = ("queries.jsonl", "--out", "g", "--name")
    assert "judges no document relevant" in cli("golden", "from-qrels", "zero.trec", *words, "g")[2]
    assert "is not a name" in cli("golden", "from-qrels", "qrels.trec", *words, "../g")[2]
    assert cli("golden", "from-qrels", "qrels.trec", *words, "g")[0] == 0
    before = Path("g/cases.jsonl").read_bytes()
    code, _, err = cli("golden", "from-qrels", "qrels.trec", *words, "g")
    assert code == 2 and "would be overwritten" in err
    assert Path("g/cases.jsonl").read_bytes() == before


# --- end to end --------------------------------------------------------------------------------------------------


def retrievers(noise: float, *, queries: int = 150) -> None:
    """A golden set, and two runs of which the second puts relevant documents lower by `noise`."""
    rng = random.Random(1)
    qrels, texts = [], []
    runs: dict[str, list[str]] = {"base": [], "candidate": []}
    for number in range(queries):
        documents = rng.sample(range(500), 15)
        relevant = documents[:3]
        qrels += [f"q{number} 0 d{d} {grade}" for d, grade in zip(relevant, (2, 1, 1), strict=True)]
        texts.append(json.dumps({"_id": f"q{number}", "text": f"query number {number}"}))
        # Both see the same luck, so that they differ by the noise alone.
        luck = {d: rng.random() for d in documents}
        for name, spread in (("base", 1.3), ("candidate", 1.3 + noise)):
            scores = {d: (d in relevant) + spread * luck[d] for d in documents}
            lines = (f"q{number} Q0 d{d} 0 {score:.5f} {name}" for d, score in scores.items())
            runs[name] += lines
    write("qrels.trec", "\n".join(qrels) + "\n")
    write("queries.jsonl", "\n".join(texts) + "\n")
    write("suite.yaml", "name: s\nevals:\n  - {id: e, golden_set: ./g, scorers: [ndcg@5, mrr, hit_rate@1]}\n")
    for name, lines in runs.items():
        write(f"{name}.trec", "\n".join(lines) + "\n")
        write(
            f"{name}.yaml", f"name: {name}\nsuite: ./suite.yaml\nprovider: replay\noutputs: ./{name}.trec\n"
        )
    api.golden_from_qrels("qrels.trec", "queries.jsonl", "g", name="g")


def compared(candidate: str = "candidate") -> tuple[int, dict[str, Any]]:
    code, out, err = cli("compare", "base.yaml", f"{candidate}.yaml", "--json", "--quiet", "--out", "r")
    assert out, err
    found: dict[str, Any] = json.loads(out)
    return code, found


def test_a_worse_retriever_is_a_regression_and_the_report_shows_what_was_found() -> None:
    retrievers(noise=0.8)
    code, found = compared()
    assert (code, found["verdict"]) == (1, "regression")
    metrics = {metric["id"]: metric for metric in found["metrics"]}
    assert metrics["e/ndcg@5"]["status"] == "regression"
    assert metrics["e/ndcg@5"]["delta"] < -0.02
    lost = found["flips"]["regressed"][0].split("/")[-1]
    best = read_run(Path("candidate.trec"))[lost][0]
    report = re.sub(r"<[^>]+>", "", Path("r/report.html").read_text(encoding="utf-8"))
    assert f"1. {best}\n2. " in report
    assert "(grade 2)" in report
    assert "empty answer" not in Path("r/summary.md").read_text(encoding="utf-8")
    stored = next(Path().glob("**/base-*/scores.jsonl")).read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(stored)["scores"]["e/mrr"]["detail"]["first_relevant_rank"] >= 1


def test_the_same_run_in_json_passes() -> None:
    retrievers(noise=0.0)
    scores: dict[str, dict[str, float]] = {}
    for line in Path("candidate.trec").read_text(encoding="utf-8").splitlines():
        query, _, document, _, score, _ = line.split()
        scores.setdefault(query, {})[document] = float(score)
    write("candidate.json", json.dumps(scores))
    text = Path("candidate.yaml").read_text(encoding="utf-8")
    write("candidate.yaml", text.replace(".trec", ".json"))
    code, found = compared()
    assert (code, found["verdict"]) == (0, "pass")
    assert {metric["delta"] for metric in found["metrics"]} == {0.0}


def test_queries_that_a_run_does_not_name_count_against_it() -> None:
    retrievers(noise=0.0)
    lines = Path("candidate.trec").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("q1 ")]
    write("candidate.trec", "".join(kept))
    _, found = compared()
    assert found["coverage"]["candidate"]["failed"] == 1
    assert {metric["n_missing"]["candidate"] for metric in found["metrics"]} == {1}
    assert next(m for m in found["metrics"] if m["id"] == "e/hit_rate@1")["delta"] < 0
    kept = [line for line in kept if not re.match(r"q\d ", line)]
    write("candidate.trec", "".join(kept))
    assert compared()[0] == 4


def test_a_wrong_run_file_is_told_with_file_and_line_before_anything_runs() -> None:
    retrievers(noise=0.0)
    write("candidate.trec", "q1 Q0 d1 1 zero t\n")
    for words in (("validate", "candidate.yaml"), ("validate", "candidate.trec"), ("run", "candidate.yaml")):
        code, out, err = cli(*words)
        assert (code, out) == (2, "")
        assert 'candidate.trec:1: the score is "zero", not a number' in err


def test_the_example_of_the_page_does_what_the_page_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # a narrow terminal has fewer columns than the page
    page = read("docs/retrieval.md")
    write_files(page, here)
    command = re.search(r"^evalharness (golden from-qrels .*)$", page, re.MULTILINE)
    assert command is not None
    words = command[1].replace("--out search", "--out made").split()
    code, out, _ = cli(*words)
    assert code == 0 and "6 cases, 10 judgments" in out and "none of their documents is relevant: 1" in out
    for name in ("cases.jsonl", "card.yaml"):
        made, shown = (Path(folder, name).read_text(encoding="utf-8") for folder in ("made", "search"))
        assert made == shown
    code, out, _ = cli("compare", "base.yaml", "candidate.yaml", "--quiet")
    assert code == 1
    row = re.search(r"^ search/ndcg@3 (.*)$", page, re.MULTILINE)
    printed = next(line for line in out.splitlines() if "search/ndcg@3 " in line)
    assert row is not None
    assert set(row[1].split()) - {"2pp"} <= set(printed.split())  # a narrow terminal has no column of margins


def test_the_code_of_the_page_runs() -> None:
    code = re.search(r"```python\n(.*?)```", read("docs/retrieval.md"), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    discount = math.log2(3)
    assert names["values"]["mrr"].tolist() == [1.0]
    assert names["values"]["ndcg@10"].tolist() == [pytest.approx((1 + 2 / discount) / (2 + 1 / discount))]
