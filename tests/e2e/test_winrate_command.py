"""`evalharness judge winrate`: recorded verdicts, their win rate at equal length, and files that are wrong."""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
from collections.abc import Sequence
from typing import Any

import pytest

from tests.e2e.conftest import Project


def winrate(project: Project, *options: str, name: str = "verdicts.jsonl") -> dict[str, Any]:
    done = project.run("judge", "winrate", name, "--json", *options, check=0)
    assert done.err == ""
    loaded: dict[str, Any] = json.loads(done.out)
    return loaded


def verdicts(project: Project, rows: Sequence[dict[str, Any]], name: str = "verdicts.jsonl") -> None:
    project.rows(name, rows)


def answers(project: Project, name: str, lengths: Sequence[int]) -> None:
    project.rows(name, [{"id": f"q{i}", "output": "x" * n} for i, n in enumerate(lengths)])


def noisy(i: int) -> int:
    """Whole numbers from 0 to 96 without an order, the same in every run."""
    return (i * 37 + i * i * 11) % 97


def test_the_arithmetic_of_alpacaeval_on_a_small_example(project: Project) -> None:
    """AlpacaEval: mean of preference − 1 and its standard error (n − 1), in percent; wins and losses about one half."""
    alpaca = [1.0, 2.0, 1.5, 1.9, 1.2, 1.0, 2.0, 1.65, 1.5, 1.05]  # 1 the baseline, 2 the candidate
    verdicts(project, [{"id": f"q{i}", "preference": round(p - 1, 6)} for i, p in enumerate(alpaca)])
    found = winrate(project)["win_rate"]
    ours = [p - 1 for p in alpaca]
    assert 100 * found["value"] == pytest.approx(48.0)
    assert found["standard_error"] == pytest.approx(statistics.stdev(ours) / math.sqrt(10))
    assert (found["won"], found["tied"], found["lost"], found["n_cases"]) == (4, 2, 4, 10)


def test_orders_and_repeats_are_averaged_within_the_case(project: Project) -> None:
    rows = []
    for i in range(40):
        for order, winner in (("AB", "candidate"), ("BA", "candidate" if i % 4 else "baseline")):
            rows.append({"id": f"q{i}", "order": order, "winner": winner})
    verdicts(project, rows)
    found = winrate(project)
    scores = [1.0 if i % 4 else 0.5 for i in range(40)]
    assert (found["n_verdicts"], found["n_pairs"], found["win_rate"]["n_cases"]) == (80, 40, 40)
    assert found["win_rate"]["value"] == pytest.approx(0.875)
    assert found["win_rate"]["standard_error"] == pytest.approx(statistics.stdev(scores) / math.sqrt(40))
    assert (found["win_rate"]["won"], found["win_rate"]["tied"]) == (30, 10)
    place = found["position"]
    assert (place["n_flipped"], place["n_first"], place["n_second"], place["n_reversed"]) == (10, 0, 10, 10)
    assert place["flip_rate"]["value"] == 0.25 and place["p_value"] == pytest.approx(2 * 0.5**11)
    # the same verdicts written five times over as repeats are no further cases
    verdicts(project, [{**row, "repeat": k} for row in rows for k in range(5)], "often.jsonl")
    often = winrate(project, name="often.jsonl")
    assert often["win_rate"] == found["win_rate"]
    assert (often["n_pairs"], often["position"]["flip_rate"]["n"]) == (200, 40)
    assert often["position"]["p_value"] == place["p_value"]


def longer_wins(project: Project, n: int = 120) -> list[dict[str, Any]]:
    """A judge that mostly takes the longer answer; the candidate's are longer. Both orders, and the two files."""
    lengths = [100 + noisy(i) for i in range(n)], [130 + noisy(i + 31) for i in range(n)]
    answers(project, "base.jsonl", lengths[0])
    answers(project, "cand.jsonl", lengths[1])
    rows = []
    for i in range(n):
        longer = "candidate" if lengths[1][i] > lengths[0][i] else "baseline"
        shorter = "baseline" if longer == "candidate" else "candidate"
        for order in ("AB", "BA"):
            rows.append({"id": f"q{i}", "order": order, "winner": shorter if i % 8 == 0 else longer})
    verdicts(project, rows)
    return rows


def test_a_lead_from_length_goes_at_equal_length(project: Project) -> None:
    longer_wins(project)
    found = winrate(project, "--baseline", "base.jsonl", "--candidate", "cand.jsonl")
    controlled, raw = found["length_controlled"], found["win_rate"]
    assert raw["low"] > 0.5
    assert controlled["raw"] == pytest.approx(raw["value"])
    assert controlled["low"] < 0.5 < controlled["high"] and controlled["slope"] > 1
    assert found["length_correlation"]["low"] > 0.3
    assert found["n_without_verdict"] == 0


def test_run_folders_give_the_same_figures_as_their_recordings(project: Project) -> None:
    project.binary(60, regressed=10, fixed=5)
    rows = [
        {"id": f"q{i}", "order": order, "winner": ("candidate", "baseline", "tie")[noisy(i) % 3]}
        for i in range(60)
        for order in ("AB", "BA")
    ]
    verdicts(project, rows)
    folders = [
        json.loads(project.run("run", f"{side}.yaml", "--json", check=0).out)["folder"]
        for side in ("base", "cand")
    ]
    from_runs = winrate(project, "--baseline", folders[0], "--candidate", folders[1])
    from_files = winrate(project, "--baseline", "base.jsonl", "--candidate", "cand.jsonl")
    assert from_runs == from_files
    assert from_files["length_controlled"].get("value") is not None


def test_the_order_of_lines_and_the_seed(project: Project) -> None:
    rows = longer_wins(project)
    first = winrate(project)
    verdicts(project, rows[::-1])
    assert winrate(project) == first
    other = winrate(project, "--seed", "5")
    assert other["win_rate"]["low"] != first["win_rate"]["low"]
    assert other["win_rate"]["value"] == first["win_rate"]["value"]


def test_answers_that_no_verdict_is_on_are_counted(project: Project) -> None:
    rows = longer_wins(project)
    verdicts(project, rows[:-6])
    found = winrate(project, "--baseline", "base.jsonl", "--candidate", "cand.jsonl")
    assert found["n_without_verdict"] == 3
    out = project.run(
        "judge", "winrate", "verdicts.jsonl", "--baseline", "base.jsonl", "--candidate", "cand.jsonl", check=0
    ).out
    assert "3 cases that both sides answered have no verdict" in out


def test_every_case_won_is_not_certain(project: Project) -> None:
    for n in (1, 5, 40):
        verdicts(project, [{"id": f"q{i}", "winner": "candidate"} for i in range(n)])
        found = winrate(project)["win_rate"]
        assert found["value"] == found["high"] == 1.0
        assert found["low"] < 0.92
        assert (found["standard_error"] is None) == (n == 1)


def test_what_cannot_be_told_is_said(project: Project) -> None:
    verdicts(project, [{"id": f"q{i}", "order": "AB", "winner": "tie"} for i in range(60)])
    found = winrate(project)
    assert found["position"] == {"kind": "no_cases", "reason": "no pair was judged in both orders"}
    assert found["length_controlled"]["kind"] == "no_cases"
    out = project.run("judge", "winrate", "verdicts.jsonl", check=0).out
    assert "(AB 60, BA 0, order not known 0)" in out
    assert "No win rate at equal length: the answers' texts are not given." in out
    answers(project, "same.jsonl", [5] * 60)
    both = ("--baseline", "same.jsonl", "--candidate", "same.jsonl")
    assert (
        winrate(project, *both)["length_controlled"]["reason"]
        == "both answers are equally long in every case"
    )


def test_the_table_fits_eighty_columns(project: Project) -> None:
    rows = longer_wins(project)
    models = ["m-1", "a" * 300, "third", "fourth"]
    verdicts(project, [{**row, "model": models[i % 4]} for i, row in enumerate(rows)])
    arguments = (
        "judge",
        "winrate",
        "verdicts.jsonl",
        "--baseline",
        "base.jsonl",
        "--candidate",
        "cand.jsonl",
    )
    done = project.process(*arguments, check=0, env={"PYTHONWARNINGS": "error"})
    assert done.err == ""
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert "Verdicts by more than one judge are pooled" in done.out and "and 1 more" in done.out
    table = done.out.split("\n\n")[1].splitlines()
    ends = [line.index("%") for line in table[1:] if "%" in line]
    assert len(ends) >= 4 and len(set(ends)) == 1  # values end in one column


D, OTHER = (hashlib.sha256(text).hexdigest() for text in (b"text", b"other"))
WRONG: list[tuple[str, str | None]] = [
    ('{"id": "a", "order": "AB", "winner": "candidate"}', None),
    ('{"id": "a", "order": "BA", "preference": 0.25, "rationale": "r", "model": "m", "repeat": 0}', None),
    ('{"id": "a", "order": "AB", "winner": "candidate"}', "on 'a' in the order AB is already on line 1"),
    ('{"id": "a", "order": "BA", "preference": 1}', "contradicts that on line 2"),
    ('{"id": "a", "winner": "tie"}', "with an order and one without (line 1)"),
    ('{"id": "b", "order": "AC", "winner": "tie"}', "order must be AB"),
    ('{"id": "b", "winner": "A"}', "name the side, since the place depends on the order"),
    ('{"id": "b", "winner": "candidat"}', "did you mean candidate?"),
    ('{"id": "b", "winner": "tie", "preference": 0.5}', "both preference and winner"),
    ('{"id": "b", "order": "AB"}', "neither preference nor winner"),
    ('{"id": "b", "preference": 2}', "subtract 1 in every line"),
    ('{"id": "b", "preference": -0.1}', "between 0 and 1, not -0.1"),
    ('{"id": "b", "preference": NaN}', "NaN is not JSON"),
    ('{"id": "b", "preference": 1e999}', "between 0 and 1, not inf"),
    ('{"id": "b", "preference": true}', "not true"),
    ('{"id": "b", "preference": null}', "leave the line out where there is no verdict"),
    ('{"id": "b", "prefrence": 1}', "unknown key 'prefrence'; did you mean preference?"),
    ('{"id": "b", "side": "candidate", "score": 1}', "must be on pairs"),
    ('{"id": "b", "side": "candidate", "winner": "tie"}', "has both 'winner'"),
    ('{"winner": "tie"}', "the key 'id' is missing"),
    ('{"id": 7, "winner": "tie"}', 'id must be text, not a number; write "7" in quotes'),
    ('{"id": "b\\u001b[2J", "winner": "tie"}', "control characters"),
    ('{"id": "b", "winner": "tie", "repeat": -1}', "repeat must be a whole number"),
    ('{"id": "b", "winner": "tie", "rationale": 3}', "rationale must be text"),
    ('{"id": "b", "winner": "tie", "baseline_digest": "abc"}', "64 hex digits"),
    (f'{{"id": "c", "order": "AB", "winner": "tie", "baseline_digest": "{D}"}}', None),
    (
        f'{{"id": "c", "order": "BA", "winner": "tie", "baseline_digest": "sha256:{OTHER}"}}',
        "baseline_digest differs from that on line 26",
    ),
    ('{"id": "b", "winner": "tie", "model": "m\\u202e"}', "control characters"),
    ('{"id": "a", "golden_set": "s", "order": "AB", "winner": "tie"}', "golden set and one without (line 1)"),
    ("[1]", "a verdict must be a JSON object, not a list"),
    ('{"id": "b", "id": "c", "winner": "tie"}', "stands twice"),
    ("tie", "is not JSON"),
]


def test_every_problem_at_once_with_file_line_and_fix(project: Project) -> None:
    project.write("verdicts.jsonl", "\n".join(line for line, _ in WRONG) + "\n")
    done = project.run("judge", "winrate", "verdicts.jsonl", check=2)
    assert done.out == ""
    said = done.err.splitlines()
    expected = [(n, text) for n, (_, text) in enumerate(WRONG, start=1) if text is not None]
    for line, (number, text) in zip(said, expected, strict=False):
        assert line.startswith(f"error: verdicts.jsonl:{number}: ") and text in line, (line, number, text)
    assert len(said) == len(expected) + 1  # and the count


def test_verdicts_on_other_texts_are_refused(project: Project) -> None:
    answers(project, "base.jsonl", [4, 5])
    answers(project, "cand.jsonl", [6, 7])

    def digest(length: int) -> str:
        return hashlib.sha256(b"x" * length).hexdigest()

    rows = [
        {"id": "q0", "winner": "tie", "baseline_digest": digest(4), "candidate_digest": "sha256:" + digest(6)},
        {"id": "q1", "winner": "tie", "baseline_digest": digest(5), "candidate_digest": digest(6)},
        {"id": "q2", "winner": "tie"},
        {"id": "q0", "winner": "tie", "repeat": 1},
    ]  # fmt: skip
    verdicts(project, rows)
    arguments = (
        "judge",
        "winrate",
        "verdicts.jsonl",
        "--baseline",
        "base.jsonl",
        "--candidate",
        "cand.jsonl",
    )
    said = project.run(*arguments, check=2).err
    assert "verdicts.jsonl:1" not in said
    assert "verdicts.jsonl:2: the candidate's answer to 'q1' is not the text that was judged" in said
    for line, what in ((3, "to 'q2'"), (4, "to 'q0', repeat 1")):
        for side in ("baseline", "candidate"):
            assert f"verdicts.jsonl:{line}: there is no answer of the {side} {what}" in said
    verdicts(project, rows[:1])
    project.run(*arguments, check=0)


def test_a_golden_set_tells_apart_an_id_of_two(project: Project) -> None:
    both = [{"id": "q", "golden_set": s, "output": "x" * n} for s, n in (("one", 3), ("two", 9))]
    project.rows("base.jsonl", both)
    project.rows("cand.jsonl", both)
    options = ("--baseline", "base.jsonl", "--candidate", "cand.jsonl")
    verdicts(project, [{"id": "q", "winner": "tie"}])
    said = project.run("judge", "winrate", "verdicts.jsonl", *options, check=2).err
    assert "and the golden_set where several have this id" in said
    verdicts(project, [{"id": "q", "golden_set": s, "winner": "tie"} for s in ("one", "two")])
    assert winrate(project, *options)["win_rate"]["n_cases"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["empty.jsonl"], "empty.jsonl:1: holds no verdicts"),
        (["missing.jsonl"], "does not exist"),
        (["."], "a JSONL file of verdicts is needed"),
        (["pipe"], "a JSONL file of verdicts is needed"),
        (["ok.jsonl", "--baseline", "ok.jsonl"], "name those of the candidate too"),
        (["ok.jsonl", "--candidate", "ok.jsonl"], "name those of the baseline too"),
        (["ok.jsonl", "--candidate", "no.jsonl", "--baseline", "base.jsonl"], "does not exist"),
        (["ok.jsonl", "--candidate", ".", "--baseline", "base.jsonl"], "not a run folder"),
        (["ok.jsonl", "--candidate", "ok.jsonl", "--baseline", "base.jsonl"], "ok.jsonl:1: unknown key"),
        (["single.jsonl"], "single.jsonl:1: this file's verdicts must be on pairs of answers"),
        (["ok.jsonl", "--seed", "-1"], "-1"),
    ],
)
def test_requests_that_cannot_be_met(project: Project, arguments: list[str], message: str) -> None:
    project.write("empty.jsonl", "\n\n")
    os.mkfifo(project.root / "pipe")
    answers(project, "base.jsonl", [3])
    verdicts(project, [{"id": "q0", "winner": "tie"}], "ok.jsonl")
    verdicts(project, [{"id": "q0", "side": "baseline", "score": 1}], "single.jsonl")
    assert message in project.run("judge", "winrate", *arguments, check=2).err


def test_a_thousand_wrong_lines_are_cut_to_fifty(project: Project) -> None:
    project.write("verdicts.jsonl", "{}\n" * 1000)
    done = project.run("judge", "winrate", "verdicts.jsonl", check=2)
    assert done.err.count("has neither preference nor winner") == 50 and "and 950 more problems" in done.err
