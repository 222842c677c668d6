"""A pairwise judge corrected by people's labels on these answers, from the draw to the verdict."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalharness.spec.labelling import first_side
from tests.e2e.conftest import Project
from tests.e2e.judged import Bench, answer
from tests.servers.fixture import ModelServerHandle

N = 400
SAME = range(0, N, 4)
GATE = '{metrics: {qa/judge: {labels: "./labels.jsonl", drawn: random}}}'


@pytest.fixture
def bench(project: Project, model_server: ModelServerHandle) -> Bench:
    """300 pairs that differ and 100 that do not; the judge likes the candidate's longer answers, people do not."""
    bench = Bench(project, model_server)
    bench.cases(N)
    flattered(bench)
    bench.suite(gate=GATE)
    return bench


def worse(i: int) -> bool:
    return i % 5 < 3


def flattered(bench: Bench, base: str = "base", cand: str = "cand") -> None:
    """Answers of both sides, and verdicts of a judge who sees a third of what people see in them."""
    rng = np.random.default_rng(1)
    bench.sides(
        [f"{base} {i}" for i in range(N)],
        [f"{base if i in SAME else cand} {i}" for i in range(N)],
    )
    seen = {i: "baseline" if worse(i) and rng.random() < 0.4 else "candidate" for i in range(N)}
    bench.recorded(
        [{"id": f"q{i}", "order": order, "winner": seen[i]} for i in range(N) for order in ("AB", "BA")]
    )
    bench.calibrate()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def number(row: Mapping[str, Any]) -> int:
    return int(str(row["id"]).partition("#")[0].removeprefix("questions/q"))


def said(row: Mapping[str, Any]) -> str:
    """People see what is worse, and call the other pairs a tie or the candidate's."""
    i = number(row)
    if not worse(i):
        return "tie" if i % 5 == 3 else place(row, "candidate")
    return place(row, "baseline")


def place(row: Mapping[str, Any], side: str) -> str:
    return "first" if first_side(row["note"]) == side else "second"


def label(
    bench: Bench,
    n: int,
    *sides: str,
    who: Callable[[dict[str, Any]], str] = said,
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda rows: rows,
) -> None:
    """Draw, label and collect, as people do; `change` is what happens to the labels before they are joined."""
    run, root = bench.project.run, bench.root
    for name in ("sheet.jsonl", "labels.jsonl"):
        (root / name).unlink(missing_ok=True)
    cand, base = sides or ("cand.jsonl", "base.jsonl")
    bench.suite()  # nothing to read yet
    run(
        "judge", "sample", cand, "--against", base, "--suite", "suite.yaml", "--n", str(n),
        "--out", "sheet.jsonl", check=0,
    )  # fmt: skip
    rows = change([{**row, "label": who(row)} for row in lines(root / "sheet.jsonl")])
    bench.project.rows("filled.jsonl", rows)
    run("judge", "collect", "filled.jsonl", "--out", "labels.jsonl", check=0)
    bench.suite(gate=GATE)


def test_labels_find_what_a_judge_that_likes_length_hides(bench: Bench) -> None:
    label(bench, 150)
    corrected = bench.compare(check=1)
    metric = corrected.metric()
    truth = np.mean([0.0 if i in SAME else -0.5 if worse(i) else 0.5 * (i % 5 == 4) for i in range(N)])
    assert metric["delta"] == pytest.approx(truth, abs=0.05)
    assert metric["ci"]["low"] < truth < metric["ci"]["high"]
    assert (metric["test"], metric["ci"]["method"]) == ("PPI++ (t), 150 labels", "PPI++ (t)")
    assert (metric["status"], metric["baseline"], metric["n"]) == ("regression", 0.5, N)
    assert metric["note"].startswith("corrected by 150 labels of labels.jsonl (PPI++): weight 0.")
    assert metric["note"].endswith("; 100 of 400 cases need no label")
    for name in ("report.html", "summary.md"):
        assert "150 labels" in (bench.root / "out" / name).read_text(encoding="utf-8"), name
    bench.project.run("report", "out", check=1)
    labels = (bench.root / "labels.jsonl").read_text(encoding="utf-8")
    (bench.root / "labels.jsonl").write_text(labels.replace('"tie"', '"first"', 1), encoding="utf-8")
    assert "are not those that this report was made under" in bench.project.run("report", "out", check=2).err
    (bench.root / "labels.jsonl").write_text(labels, encoding="utf-8")
    # the judge alone calls it an improvement
    bench.suite()
    alone = bench.compare(check=0).metric()
    assert (alone["status"], alone["note"]) == ("improved", None)
    # labels on these answers do not make up for a calibration
    bench.suite(gate=GATE)
    (bench.root / "judge/calibration.json").unlink()
    found = bench.compare(check=4)
    assert (found.metric()["status"], found.metric()["delta"]) == ("advisory", metric["delta"])
    assert any("was never calibrated" in text for text in found.document["warnings"])


def test_all_pairs_that_differ_labelled_are_enough_however_few(bench: Bench) -> None:
    bench.sides(
        [f"base {i}" for i in range(N)],
        [f"{'cand' if i < 40 else 'base'} {i}" for i in range(N)],
    )
    label(bench, 60)
    metric = bench.compare(check=1).metric()
    expected = sum(-0.5 if worse(i) else 0.5 * (i % 5 == 4) for i in range(40)) / N
    assert metric["delta"] == pytest.approx(expected)
    assert metric["note"].startswith("40 labels of labels.jsonl on all pairs that differ: people decide")
    label(bench, 39)
    problem = bench.compare(check=4).metric()["problem"]
    assert "only 39 of the 40 pairs that differ have a label; at least 100" in problem
    assert "or a label on every one of them" in problem


def test_a_pair_the_judge_failed_on_counts_as_lost_whatever_people_say(bench: Bench) -> None:
    """Within `max_failures`: 3 of 400 pairs have no verdict."""
    label(bench, 300, who=lambda row: "tie")
    path = bench.root / "judge/verdicts.jsonl"
    bench.project.rows("judge/verdicts.jsonl", [r for r in lines(path) if r["id"] not in ("q1", "q2", "q3")])
    metric = bench.compare(check=0).metric()
    assert metric["delta"] == pytest.approx(-1.5 / N)
    assert metric["n_missing"] == {"baseline": 0, "candidate": 3}
    assert "297 labels" in metric["test"] and "103 of 400 cases need no label" in metric["note"]


def test_people_who_disagree_are_averaged_and_not_left_out(bench: Bench) -> None:
    def two(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        other = {"first": "second", "second": "first", "tie": "tie"}
        return [
            {**row, "label": text, "labeller": name}
            for row in rows[1:]
            for name, text in (("ann", row["label"]), ("bob", other[row["label"]]))
        ]

    label(bench, 300, change=two)
    metric = bench.compare(check=0).metric()
    assert (metric["delta"], metric["status"]) == (0.0, "underpowered")
    assert metric["note"].startswith("corrected by 299 labels")
    assert metric["note"].endswith("; 1 of the 300 pairs drawn has no label")


def test_one_answer_a_case_is_labelled_where_there_are_several(bench: Bench) -> None:
    """Of two repeats the second is often the baseline's own text: an equal pair counts as a tie beside the label."""
    rng = np.random.default_rng(3)
    equal = rng.random((N, 2)) < 0.5
    for side in ("base", "cand"):
        rows = [
            answer(f"q{i}", f"{'base' if side == 'base' or equal[i, r] else 'cand'} {i} {r}", repeat=r)
            for i in range(N)
            for r in range(2)
        ]
        bench.project.candidate(side, rows)
    verdicts = [
        {"id": f"q{i}", "repeat": r, "order": order, "winner": "candidate"}
        for i in range(N)
        for r in range(2)
        for order in ("AB", "BA")
    ]
    bench.recorded(verdicts)
    bench.calibrate()
    label(bench, N, who=lambda row: place(row, "baseline"))
    metric = bench.compare(check=1).metric()
    # people never like it: every pair that differs is lost
    assert metric["delta"] == pytest.approx(-0.5 * (1 - equal.mean()))
    assert f"{int(equal.all(axis=1).sum())} of 400 cases need no label" in metric["note"]


def test_slices_and_looks_go_the_way_of_every_corrected_metric(bench: Bench) -> None:
    bench.cases(N, more={i: {"tags": {"half": "first" if i < 200 else "second"}} for i in range(N)})
    label(bench, 250)
    slices = {row["slice"]: row for row in bench.compare().document["slices"]}
    assert all("PPI++" in row["test"] for row in slices.values())
    bench.suite(gate=GATE, more="sampling: {initial: 300, looks: 2}\n")
    metric = bench.compare(check=1).metric()
    assert metric["test"].startswith("PPI++ (t), ") and ", look 1 of 2" in metric["test"]


def test_labels_of_other_answers_are_refused(bench: Bench) -> None:
    label(bench, 150)
    flattered(bench, cand="another")
    problem = bench.compare(check=4).metric()["problem"]
    assert "150 labels in labels.jsonl are of other answers than these (such as that of q" in problem
    label(bench, 150, "base.jsonl", "cand.jsonl")
    problem = bench.compare(check=4).metric()["problem"]
    assert "are of a comparison the other way round" in problem
    assert "judge sample CANDIDATE --against BASELINE" in problem


def test_labels_of_disputed_pairs_are_refused(bench: Bench) -> None:
    preferred = {
        row["id"] for row in lines(bench.root / "judge/verdicts.jsonl") if row["winner"] == "baseline"
    }
    label(
        bench,
        300,
        change=lambda rows: sorted(
            rows, key=lambda row: row["id"].removeprefix("questions/") not in preferred
        )[:120],
    )
    problem = bench.compare(check=4).metric()["problem"]
    assert "the labelled cases are no random subset" in problem


def test_files_that_hold_no_labels_of_these_pairs(bench: Bench) -> None:
    label(bench, 110)
    rows = lines(bench.root / "labels.jsonl")

    def refused(name: str, changed: list[dict[str, Any]], *told: str) -> None:
        bench.project.rows(name, changed)
        done = bench.project.run("validate", "suite.yaml", check=2)
        for text in told:
            assert text in done.err + done.out, done.err + done.out

    refused("labels.jsonl", [*rows, {**rows[4], "label": "tie"}], "labels.jsonl:111", "is already on line 5")
    refused("labels.jsonl", [{**rows[0], "note": "by hand"}, *rows[1:]], "labels.jsonl:1", "note has no key")
    turned = next(row["note"] for row in rows if first_side(row["note"]) != first_side(rows[0]["note"]))
    twice = [{**rows[0], "labeller": "ann"}, {**rows[0], "labeller": "bob", "note": turned}]
    refused("labels.jsonl", twice, "labels.jsonl:2", "stood first is another on line 1")
    refused(
        "labels.jsonl", [{**rows[0], "id": "questions/q999"}], "there is no case 'questions/q999' to label"
    )
    refused("labels.jsonl", [{**rows[0], "id": "others/q1"}], "none of the 1 labelled pairs is of golden set")
    single = {"id": "questions/q1", "input": "?", "output": "x", "label": "pass"}
    refused("labels.jsonl", [single], "holds labels of one answer at a time", "--against BASELINE")
    refused("labels.jsonl", [], "labels.jsonl: holds no label")
    (bench.root / "labels.jsonl").unlink()
    (bench.root / "labels.jsonl").mkdir()
    assert "labels.jsonl: is a folder" in bench.project.run("validate", "suite.yaml", check=2).err
    (bench.root / "labels.jsonl").rmdir()
    bench.project.write("sheet.csv", "id,input,label\n")
    bench.suite(gate=GATE.replace("labels.jsonl", "sheet.csv"))
    assert (
        "sheet.csv: is a sheet or page to label in; join"
        in bench.project.run("validate", "suite.yaml", check=2).err
    )
    bench.suite(gate=GATE)
    assert "labels.jsonl" in bench.project.run("validate", "suite.yaml", check=2).err
    bench.suite(gate=GATE.replace("./labels.jsonl", "qa/recorded:human"), scorers='["recorded:human"]')
    told = bench.project.run("validate", "suite.yaml", check=2).err
    assert "qa/judge compares two answers, and the metric 'qa/recorded:human' has no preference" in told
    bench.suite(
        gate='{metrics: {"qa/recorded:a": {labels: "./labels.jsonl", drawn: random}}}',
        scorers='["recorded:a"]',
    )
    assert (
        "a file of labels corrects a pairwise judge"
        in bench.project.run("validate", "suite.yaml", check=2).err
    )


def test_labels_from_a_spreadsheet_are_of_these_answers_too(bench: Bench) -> None:
    """Line ends, control characters and formulas come back as the spreadsheet left them."""
    odd = ["=1+1\r\nline 2", "a\x1b[31m b", "'quoted", "tab\tand more"]
    bench.sides(
        [f"base {i}" for i in range(N)], [f"{odd[i % 4]} {i}" if i < 40 else f"base {i}" for i in range(N)]
    )
    bench.suite()
    run = bench.project.run
    run("judge", "sample", "cand.yaml", "--against", "base.yaml", "--out", "sheet.csv", check=0)
    text = (bench.root / "sheet.csv").read_bytes().decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(table[0]), lineterminator="\r\n")
    writer.writeheader()
    for row in table:
        changed = {name: cell.replace("\n", "\r\n") for name, cell in row.items()}
        writer.writerow({**changed, "label": "tie", "labeller": "ann"})
    bench.project.write("filled.csv", "\ufeff" + out.getvalue())
    run("judge", "collect", "filled.csv", "--out", "labels.jsonl", check=0)
    bench.suite(gate=GATE)
    assert bench.compare(check=0).metric()["note"].startswith("40 labels of labels.jsonl on all pairs")
