"""`golden check --train` and `golden diff` as a user runs them, and a suite that scores two versions side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contamination.conftest import sentence
from tests.e2e.conftest import Project
from tests.servers.tiny_bert import save_sentence_model

QUESTIONS = [sentence(seed) for seed in range(120)]


@pytest.fixture
def set_up(project: Project) -> Project:
    project.golden_set(
        "golden",
        [
            {"id": f"q{n}", "input": text, "target": f"t{n}", "critical": n == 7}
            for n, text in enumerate(QUESTIONS)
        ],
    )
    project.rows("data/clean.jsonl", [{"text": sentence(900 + n)} for n in range(30)])
    return project


def leaky(project: Project) -> None:
    project.rows(
        "data/more.jsonl",
        [
            {"messages": [{"role": "user", "content": QUESTIONS[3]}, {"role": "assistant", "content": "T3"}]},
            {"text": "\x1b\x07 " + QUESTIONS[7]},
        ],
    )


def test_clean_data_exits_0(set_up: Project) -> None:
    done = set_up.run("golden", "check", "golden", "--train", "data/*.jsonl", check=0)
    assert "contamination: none of 120 cases was found in 30 rows" in done.out
    assert done.out.rstrip().endswith("CLEAN: no leak was found")
    assert "data/clean.jsonl: 30 rows read" in done.err


def test_a_leak_exits_4_and_is_shown_critical_cases_first(set_up: Project) -> None:
    leaky(set_up)
    done = set_up.run("golden", "check", "golden", "--train", "data/*.jsonl", check=4)
    lines = done.out.splitlines()
    rows = [line.split() for line in lines if "data/more.jsonl:" in line]
    assert rows == [
        ["q7", "(critical)", "input", "exact", "1.00", "1", "data/more.jsonl:2"],
        ["q3", "input+target", "exact", "1.00", "1", "data/more.jsonl:1"],
    ]
    assert "\x1b" not in done.out and "\x07" not in done.out
    place = next(place for place, line in enumerate(lines) if "q7 (critical)" in line)
    assert lines[place + 1].split(maxsplit=1) == ["case:", lines[place + 2].split(maxsplit=1)[1]]
    assert "CONTAMINATED" in lines[-1]


def test_json_and_the_report_are_one_document(set_up: Project) -> None:
    leaky(set_up)
    options = ("golden", "check", "golden", "--train", "data/*.jsonl", "--json", "--report", "out/found.json")
    done = set_up.run(*options, check=4)
    shown = json.loads(done.out)
    assert shown == json.loads((set_up.root / "out/found.json").read_text())
    assert set(shown) == {"findings", "contamination", "exit_code"}
    found = shown["contamination"]
    assert set(found) == {
        "leaks", "cases", "whole_only", "too_short", "template", "files", "rows", "duplicates", "duplicate_rate",
        "formats", "sources", "problems", "unusable", "refused", "open_sets", "errors", "warnings", "exit_code",
    }  # fmt: skip
    assert set(found["leaks"][0]) == {
        "golden_set", "case_id", "line", "critical", "kind", "rows", "matches",
    }  # fmt: skip
    assert set(found["leaks"][0]["matches"][0]) == {
        "file", "line", "kind", "detector", "score", "scores", "case_text", "train_text",
    }  # fmt: skip
    assert found["leaks"][0]["matches"][0]["train_text"].strip() == QUESTIONS[7]
    assert (shown["exit_code"], found["rows"], found["formats"]) == (4, 32, {"chat": 1, "text": 31})
    # the same command again gives the same bytes, over its own report
    assert set_up.run(*options, check=4).out == done.out


def test_without_training_data_it_says_that_nothing_was_checked(set_up: Project) -> None:
    done = set_up.run("golden", "check", "golden", check=0)
    assert "contamination not checked: no training data was given" in done.out
    rows = json.loads(set_up.run("golden", "check", "golden", "--json", check=0).out)
    assert rows[-1]["code"] == "contamination"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("golden", "--train", "nothing/*.jsonl"), "'nothing/*.jsonl' matches no file"),
        (("golden", "--train", "data"), "'data' is a folder"),
        (("golden", "--train", "golden/card.yaml"), "is of no kind that is read as training data"),
        (("golden", "data/clean.jsonl", "--train", "data/more.jsonl"), "has to be quoted"),
        (("golden", "--threshold", "0.5"), "--threshold needs --train FILES"),
        (("golden", "--text-key", "body"), "--text-key needs --train FILES"),
        (("golden", "--train", "data/*.jsonl", "--threshold", "0"), "--threshold"),
        (("golden", "--train", "data/*.jsonl", "--embedding-threshold", "0.5"), "needs --embeddings MODEL"),
        (("golden", "--train", "data/*.jsonl", "--report", "out.html"), "name a .json file"),
        (("golden", "--train", "data/*.jsonl", "--report", "mine.json"), "holds something else"),
        (("golden", "--train", "data/*.jsonl", "--embeddings", "./no-model"), "cannot load embedding model"),
        (("nowhere", "--train", "data/*.jsonl"), "'nowhere' does not exist"),
    ],
)
def test_what_cannot_be_checked_is_an_error_and_never_clean(
    arguments: tuple[str, ...], message: str, set_up: Project
) -> None:
    leaky(set_up)
    set_up.write("mine.json", '{"mine": true}')
    if "no-model" in " ".join(arguments):
        pytest.importorskip("sentence_transformers")
    done = set_up.run("golden", "check", *arguments, check=2)
    assert message in done.err
    assert (set_up.root / "mine.json").read_text() == '{"mine": true}'


def test_data_that_cannot_be_read_is_undecided(set_up: Project) -> None:
    set_up.write("data/cut.json", '[{"text": "a"}, {"te')
    done = set_up.run("golden", "check", "golden", "--train", "data/*", check=2)
    assert "data/cut.json:1: is not JSON" in done.out
    assert "UNDECIDED" in done.out and "CLEAN" not in done.out


def test_an_open_set_is_not_looked_for(set_up: Project) -> None:
    leaky(set_up)
    card = (set_up.root / "golden/card.yaml").read_text()
    set_up.write("golden/card.yaml", card + "held_out: false\n")
    done = set_up.run("golden", "check", "golden", "--train", "data/*.jsonl", check=2)
    assert "no golden set is held out" in done.err
    set_up.golden_set(
        "other", [{"id": f"o{n}", "input": sentence(400 + n), "target": "t"} for n in range(110)]
    )
    done = set_up.run("golden", "check", "golden", "other", "--train", "data/*.jsonl")
    assert "golden: not looked for, its card says held_out: false" in done.out
    assert "none of 110 cases" in done.out


def test_a_golden_set_with_errors_stays_an_error_when_nothing_leaked(set_up: Project) -> None:
    set_up.golden_set("small", [{"id": "a", "input": sentence(700), "target": "t"}])
    set_up.run("golden", "check", "small", "--train", "data/*.jsonl", check=2)
    set_up.run("golden", "check", "small", "--train", "data/*.jsonl", "--allow-small", check=0)


def test_meaning_and_minhash_through_the_command(set_up: Project) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("datasketch")
    save_sentence_model(set_up.root / "model")
    # the tiny model knows these words; their order hardly moves its mean
    one = "where is the capital of france and what is paris no"
    other = "what is paris no and where is the capital of france"
    set_up.golden_set("few", [{"id": "a", "input": one, "target": "t"}])
    set_up.rows("data/other.jsonl", [{"text": other}])
    options = (
        "golden",
        "check",
        "few",
        "--allow-small",
        "--train",
        "data/other.jsonl",
        "--ngram",
        "11",
        "--json",
    )
    set_up.run(*options, "--threshold", "0.9", check=0)
    done = set_up.run(
        *options, "--threshold", "0.9", "--embeddings", "./model", "--embedding-threshold", "0.6", check=4
    )
    (match,) = json.loads(done.out)["contamination"]["leaks"][0]["matches"]
    assert match["detector"] == "embedding" and 0.6 <= match["score"] <= 1
    set_up.rows("data/other.jsonl", [{"text": one}])
    done = set_up.run(*options, "--near", "minhash", check=4)
    assert json.loads(done.out)["contamination"]["leaks"][0]["matches"][0]["scores"]["near"] == 1.0


def test_diff_of_two_versions(project: Project) -> None:
    versions(project)
    done = project.run("golden", "diff", "routing-1", "routing-2", check=0)
    assert done.out.splitlines()[0] == "routing-1 1 → routing-2 2"
    assert "added: q110, q111, q112, q113, q114 and 5 more" in done.out
    assert "changed: q10 (target)" in done.out
    shown = json.loads(project.run("golden", "diff", "routing-1", "routing-2", "--json", check=0).out)
    assert shown["new"] == {"name": "routing-2", "version": "2"}
    assert (len(shown["removed"]), shown["same"], shown["changed"]) == (10, 99, {"q10": ["target"]})
    assert shown["slices"][0] == {
        "slice": "",
        "old": 110,
        "new": 110,
        "added": 10,
        "removed": 10,
        "changed": 1,
    }
    project.write("routing-2/card.yaml", (project.root / "routing-1/card.yaml").read_bytes())
    assert "a version never changes" in project.run("golden", "diff", "routing-1", "routing-2", check=2).out


def versions(project: Project) -> None:
    """Version 2 drops ten cases of version 1, adds ten and mends one."""
    for name, first, version in (("routing-1", 0, "1"), ("routing-2", 10, "2")):
        cases = [
            {"id": f"q{n}", "input": QUESTIONS[n], "target": "mended" if n == 10 and first else f"t{n}"}
            for n in range(first, first + 110)
        ]
        project.golden_set(name, cases)
        project.write(f"{name}/card.yaml", f'name: {name}\nversion: "{version}"\ntask: demonstration\n')


SIDE_BY_SIDE = """name: project
evals:
  - {id: routing, golden_set: ./routing-1, scorers: [exact_match]}
  - {id: routing-next, golden_set: ./routing-2, scorers: [exact_match]}
gate:
  metrics:
    routing-next/exact_match: advisory
"""


@pytest.mark.parametrize(("broken", "exit_code"), [(range(110, 120), 0), (range(0, 20), 1)])
def test_a_suite_scores_both_versions_and_only_the_old_one_decides(
    project: Project, broken: range, exit_code: int
) -> None:
    versions(project)
    project.write("suite.yaml", SIDE_BY_SIDE)
    for side in ("base", "cand"):
        wrong = set(broken) if side == "cand" else set()
        project.candidate(
            side, [{"id": f"q{n}", "output": "wrong" if n in wrong else f"t{n}"} for n in range(120)]
        )
    _, shown = project.compare(check=exit_code)
    metrics = {one["id"]: one for one in shown["metrics"]}
    assert metrics["routing-next/exact_match"]["status"] == "advisory"
    old = {n for n in broken if n < 110}
    new = {n for n in broken if n >= 10} - {10}
    assert metrics["routing/exact_match"]["delta"] == pytest.approx(-len(old) / 110)
    assert metrics["routing-next/exact_match"]["delta"] == pytest.approx(-len(new) / 110)


def test_the_page_shows_this_suite() -> None:
    page = (Path(__file__).parents[2] / "docs/contamination.md").read_text(encoding="utf-8")
    assert SIDE_BY_SIDE.partition("evals:")[2] in page
