"""`evalharness judge calibrate`: judges of known properties are found out, and only the good ones gate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.e2e.conftest import Done, Project
from tests.e2e.judged import Bench, of
from tests.servers.fixture import ModelServerHandle

N = 120


@pytest.fixture
def bench(project: Project, model_server: ModelServerHandle) -> Bench:
    return Bench(project, model_server)


def pairs(bench: Bench, n: int = N, *, labels: Sequence[str] = ("first", "second"), chars: int = 0) -> None:
    """`n` labelled pairs; people take turns to prefer first and second, and the preferred text is the better one."""
    rows = []
    for i in range(n):
        label = labels[i % len(labels)]
        quality = {"first": (0.9, 0.1), "second": (0.1, 0.9), "tie": (0.5, 0.5)}[label]
        texts = [of(q, f"answer {k} to {i}") for k, q in enumerate(quality)]
        texts[i % 3 == 0] += " " + "more words " * (chars + i % 7)
        rows.append(
            {"id": f"l{i}", "input": f"question {i}", "first": texts[0], "second": texts[1], "label": label}
        )
    bench.project.rows("judge/calibration.jsonl", rows)


def answers(bench: Bench, n: int = N, *, bad_every: int = 2) -> None:
    bench.project.rows(
        "judge/calibration.jsonl",
        [
            {
                "id": f"l{i}",
                "input": f"question {i}",
                "output": of(0.1 if i % bad_every == 0 else 0.9, i),
                "label": "fail" if i % bad_every == 0 else "pass",
            }
            for i in range(n)
        ],
    )


def calibrate(bench: Bench, *options: str, check: int | None = None) -> dict[str, Any]:
    done = bench.project.run("judge", "calibrate", "judge", "--quiet", "--json", *options, check=check)
    found: dict[str, Any] = json.loads(done.out)
    return found


def covers(measured: dict[str, Any], truth: float) -> bool:
    return bool(measured["low"] <= truth <= measured["high"])


def compared(bench: Bench, n: int = N, *, base: float, cand: float) -> None:
    bench.cases(n)
    bench.suite()
    bench.sides([of(base, "b", i) for i in range(n)], [of(cand, "c", i) for i in range(n)])


def test_a_fair_judge_may_gate_and_then_blocks_what_is_worse_and_passes_what_is_not(bench: Bench) -> None:
    bench.judge("judge-fair")
    pairs(bench)
    found = calibrate(bench, check=0)
    assert found["standing"] == {"may_gate": True, "reasons": []}
    measured = found["calibration"]
    assert (measured["n_labels"], measured["n_judged"], measured["problem"]) == (N, N, None)
    assert measured["agreement"]["value"] == measured["kappa"]["value"] == 1.0
    assert measured["flip_rate"]["value"] == 0.0 and measured["first_slot"] is None
    assert measured["agreement"]["low"] < 1.0
    assert found["facts"]["calls"] == 2 * N
    assert json.loads((bench.root / "judge/calibration.json").read_text())["models"] == ["judge-fair"]

    compared(bench, base=0.8, cand=0.3)
    worse = bench.compare("--quiet", check=1)
    assert worse.metric()["status"] == "regression" and worse.metric()["gated"]
    bench.sides(
        [of(0.8 if i % 10 else 0.3, "b", i) for i in range(N)],
        [of(0.8 if i % 10 != 5 else 0.3, "c", i) for i in range(N)],
    )
    equal = bench.compare("--quiet", check=0)
    assert equal.metric()["candidate"] == pytest.approx(0.5)
    assert not any("advisory" in line for line in equal.document["warnings"])


def test_a_noisy_judge_of_one_answer_is_measured_as_noisy_as_it_is(bench: Bench) -> None:
    bench.judge("judge-noisy?sensitivity=0.9&specificity=0.7&key=4", mode="pointwise")
    answers(bench, 300)
    found = calibrate(bench, check=4)
    measured = found["calibration"]
    assert covers(measured["sensitivity"], 0.9) and covers(measured["specificity"], 0.7)
    assert measured["sensitivity"]["n"] == measured["specificity"]["n"] == 150
    assert covers(measured["agreement"], 0.8)
    assert covers(measured["kappa"], 0.6)
    youden = measured["sensitivity"]["value"] + measured["specificity"]["value"] - 1
    assert measured["correlation2"] == pytest.approx(youden**2, abs=0.06)
    assert measured["flip_rate"] is None and found["standing"]["may_gate"] is False


def test_a_noisy_judge_of_pairs_through_the_anthropic_api(bench: Bench) -> None:
    bench.judge(
        "judge-noisy?sensitivity=0.95&specificity=0.85&key=2&by=pair&candidate=answer+1",
        provider="anthropic",
    )
    pairs(bench, 200)
    found = calibrate(bench)
    measured = found["calibration"]
    assert covers(measured["sensitivity"], 0.95) and covers(measured["specificity"], 0.85)
    assert measured["flip_rate"]["value"] == 0.0
    assert bench.server.last()["path"].endswith("/messages")


def test_a_judge_that_takes_the_first_answer_flips_and_stays_advisory(bench: Bench) -> None:
    bench.judge("judge-first")
    pairs(bench)
    found = calibrate(bench, check=4)
    measured = found["calibration"]
    assert measured["flip_rate"]["value"] == 1.0 and measured["first_slot"]["value"] == 1.0
    assert measured["agreement"]["value"] == 0.0  # a flip is a tie, and people never said tie
    assert any("the order changes the verdict" in reason for reason in found["standing"]["reasons"])

    compared(bench, base=0.8, cand=0.3)
    result = bench.compare("--quiet", check=4)  # nothing but this judge could have gated
    assert result.metric()["status"] == "advisory" and not result.metric()["gated"]
    assert "qa/judge is advisory: the judge judge " in result.document["warnings"][0]
    assert "order changes the verdict" in result.document["warnings"][0]


def test_a_share_of_first_slot_verdicts_is_recovered(bench: Bench) -> None:
    bench.judge("judge-noisy?first=0.3&key=9")
    pairs(bench, 200)
    measured = calibrate(bench, check=4)["calibration"]
    # each order on its own takes the first answer with 0.3; only the order in which that is wrong changes the verdict
    assert covers(measured["flip_rate"], 0.3)
    assert measured["first_slot"]["value"] == 1.0


def test_a_judge_that_likes_length_shows_it(bench: Bench) -> None:
    bench.judge("judge-longer")
    pairs(bench, chars=3)
    found = calibrate(bench, check=4)
    measured = found["calibration"]
    assert measured["length_correlation"]["low"] > 0.6
    assert measured["flip_rate"]["value"] == 0.0
    bench.judge("judge-fair")
    fair = calibrate(bench, check=0)["calibration"]
    assert abs(fair["length_correlation"]["value"]) < 0.5 * measured["length_correlation"]["value"]


@pytest.mark.parametrize("what", ["rubric", "labels", "model"])
def test_a_change_after_calibration_makes_the_judge_advisory(bench: Bench, what: str) -> None:
    bench.judge("judge-fair")
    pairs(bench)
    calibrate(bench, check=0)
    if what == "rubric":
        bench.judge("judge-fair", rubric="Prefer the other answer.")
        said = "has changed since it was calibrated"
    elif what == "labels":
        pairs(bench, N - 1)
        said = "the labels of the judge judge have changed"
    else:
        path = bench.root / "judge/calibration.json"
        path.write_text(path.read_text().replace('"judge-fair"', '"judge-older-2025"'))
        said = "was answered by judge-fair, and it was calibrated with judge-older-2025"
    compared(bench, base=0.8, cand=0.3)
    result = bench.compare("--quiet", check=4)
    assert result.metric()["status"] == "advisory"
    assert said in result.document["warnings"][0]
    assert "evalharness judge calibrate judge" in result.document["warnings"][0]


def test_an_endpoint_that_answers_as_another_model_is_named(bench: Bench) -> None:
    """The same name is asked for; what answers says it is another model."""
    bench.judge("judge-fair")
    pairs(bench)
    calibrate(bench, check=0)
    known = json.loads((bench.root / "judge/calibration.json").read_text())
    bench.judge("judge-fair?returned=judge-mini-2026-01-01")
    moved = calibrate(bench, check=4)  # it agrees with people, and nobody knows who it is
    assert moved["calibration"]["models"] == ["judge-mini-2026-01-01"]
    assert "judge-mini-2026-01-01 answered when it was calibrated" in moved["standing"]["reasons"][0]
    # as if the very same judge had been calibrated when the name still meant the other model
    path = bench.root / "judge/calibration.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "models": known["models"]}))
    compared(bench, base=0.8, cand=0.3)
    result = bench.compare("--quiet", check=4)
    assert result.metric()["status"] == "advisory"
    warning = result.document["warnings"][0]
    assert "was answered by judge-mini-2026-01-01, and it was calibrated with judge-fair" in warning


def test_few_labels_one_class_and_contradicting_labellers_are_told(bench: Bench) -> None:
    bench.judge("judge-fair")
    pairs(bench, 40)
    few = calibrate(bench, check=4)
    assert "on 40 labelled items, and at least 50 are needed" in few["standing"]["reasons"][0]
    assert few["file"] == "judge/calibration.json"

    pairs(bench, 60, labels=("second",))
    single = calibrate(bench, check=4)
    assert "people gave no label but 'second'" in single["calibration"]["problem"]
    assert single["calibration"]["specificity"] is None

    pairs(bench, 60)
    path = bench.root / "judge/calibration.jsonl"
    rows = [json.loads(line) | {"labeller": "ann"} for line in path.read_text().splitlines()]
    other = {"first": "second", "second": "first"}
    rows += [
        {**row, "labeller": "bob", "label": other[row["label"]] if i < 5 else row["label"]}
        for i, row in enumerate(rows)
    ]
    bench.project.rows("judge/calibration.jsonl", rows)
    split = calibrate(bench, check=0)
    assert (split["n_items"], split["n_tied"], split["calibration"]["n_labels"]) == (60, 5, 55)
    assert split["n_labellers"] == 2
    assert any(
        "5 items left out, as many people said one thing as the other: l0" in note for note in split["notes"]
    )
    before = bench.calls()
    assert calibrate(bench, check=0)["calibration"] == split["calibration"]
    assert bench.calls() == before  # nothing is asked twice


def test_a_judge_that_never_replies_readably_leaves_no_calibration(bench: Bench) -> None:
    bench.judge("judge-fair")
    pairs(bench, 60)
    calibrate(bench, check=0)
    bench.judge("judge-broken")
    found = calibrate(bench, check=4)
    assert found["calibration"] is None and found["file"] is None
    assert "gave no verdict on any of 60 labelled items" in found["standing"]["reasons"][0]
    assert not (bench.root / "judge/calibration.json").exists()


def test_an_endpoint_that_fails_leaves_the_calibration_of_before(bench: Bench) -> None:
    bench.judge("judge-fair")
    pairs(bench, 60)
    calibrate(bench, check=0)
    before = (bench.root / "judge/calibration.json").read_bytes()
    done = bench.project.run("judge", "calibrate", "judge", "-q", "--fresh", check=0)
    assert "May gate: yes." in done.out
    bench.judge("judge-fair?code=400")
    done = bench.project.run("judge", "calibrate", "judge", "-q")
    assert done.code == 5, done.err
    assert (bench.root / "judge/calibration.json").read_bytes() == before


def test_verdicts_that_cannot_be_had_count_against_the_agreement(bench: Bench) -> None:
    bench.judge("judge-fair")
    pairs(bench, 100)
    path = bench.root / "judge/calibration.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[:25]:  # nobody told the judge how good these are: it refuses to answer
        row["first"], row["second"] = f"no word of {row['id']}", f"nor of {row['id']}"
    bench.project.rows("judge/calibration.jsonl", rows)
    found = calibrate(bench, check=4)
    measured = found["calibration"]
    assert (measured["n_labels"], measured["n_judged"]) == (100, 75)
    assert (
        "25 of 100 labelled items have no verdict" in measured["problem"] and "75.0%" in measured["problem"]
    )
    assert any("25 items without a verdict" in note for note in found["notes"])


def test_a_judge_that_is_asked_once_is_measured_in_both_orders(bench: Bench) -> None:
    bench.judge("judge-noisy?first=0.5&key=3", orders="random")
    pairs(bench, 100)
    found = calibrate(bench, check=4)
    measured = found["calibration"]
    assert found["facts"]["calls"] == 200
    assert covers(measured["flip_rate"], 0.5)
    # one order at a time: half the pairs are decided by the slot, and half of those are right all the same
    assert covers(measured["agreement"], 0.75)


def test_recorded_verdicts_are_calibrated_from_their_file(bench: Bench) -> None:
    bench.project.write(
        "judge/judge.yaml", "name: june\nmode: pairwise\nprovider: replay\nverdicts: ./verdicts.jsonl\n"
    )
    pairs(bench, 80)
    rows = [json.loads(line) for line in (bench.root / "judge/calibration.jsonl").read_text().splitlines()]
    side = {"first": "baseline", "second": "candidate"}
    recorded = [
        {"id": row["id"], "order": order, "winner": side[row["label"]], "model": "june-1"}
        for row in rows
        for order in ("AB", "BA")
    ]
    cases = [
        {"id": f"q{i}", "order": o, "winner": "baseline", "model": "june-1"}
        for i in range(N)
        for o in ("AB", "BA")
    ]
    bench.project.rows("judge/verdicts.jsonl", [*recorded, *cases])
    found = calibrate(bench, check=0)
    assert found["calibration"]["models"] == ["june-1"] and found["facts"] == {}
    compared(bench, base=0.5, cand=0.5)
    assert bench.compare("--quiet", check=1).metric()["status"] == "regression"

    bench.project.rows("judge/verdicts.jsonl", [*recorded[: 2 * 40], *cases])
    missing = calibrate(bench, check=4)
    assert missing["calibration"]["n_judged"] == 40
    assert "there is no recorded verdict on it (40)" in " ".join(missing["notes"])


def test_a_panel_stands_on_a_calibration_of_its_own(bench: Bench) -> None:
    for name, model in (("a", "judge-fair"), ("b", "judge-fair?key=2"), ("c", "judge-first")):
        bench.judge(model, name=name)
    bench.panel("a", "b", "c")
    pairs(bench, 60)
    found = calibrate(bench, check=0)
    measured = found["calibration"]
    assert measured["agreement"]["value"] == 1.0  # two of three are right, in either order
    assert (measured["flip_rate"]["value"], measured["flip_rate"]["n"]) == (0.0, 60)
    assert measured["models"] == ["judge-fair", "judge-fair?key=2", "judge-first"]
    assert found["facts"]["calls"] == 360


def test_a_judge_of_claims(bench: Bench) -> None:
    bench.judge("judge-fair", mode="claims")
    bench.project.rows(
        "judge/calibration.jsonl",
        [
            {
                "id": f"l{i}",
                "input": f"question {i}",
                "output": f"Fact {i} holds." if i % 2 else f"Fact {i} does not hold.",
                "contexts": [f"As is known, fact {i} holds."],
                "label": "pass" if i % 2 else "fail",
            }
            for i in range(60)
        ],
    )
    assert calibrate(bench, check=0)["calibration"]["agreement"]["value"] == 1.0


def test_the_table_and_what_it_cost(bench: Bench) -> None:
    bench.judge("judge-first", price="{input_per_million: 1, output_per_million: 4}")
    pairs(bench, 60)
    done: Done = bench.project.run("judge", "calibrate", "judge", "--quiet", check=4)
    lines = done.out.splitlines()
    assert lines[0] == "judge judge, pairwise, answered by judge-first"
    row = next(line for line in lines if line.startswith("flips with the order"))
    assert row.split()[4] == "100.0%" and row.endswith("at most 10%")
    assert "May gate: no." in lines
    assert any(line.startswith("Asked: 120 calls") and "$" in line for line in lines)
    assert all(len(line) <= 100 for line in lines)
    again = bench.project.run("judge", "calibrate", "judge", "--quiet", check=4)
    assert [x for x in again.out.splitlines() if not x.startswith("Asked")][:8] == lines[:8]


def test_without_labels_there_is_nothing_to_hold_it_against(bench: Bench) -> None:
    bench.judge("judge-fair")
    done = bench.project.run("judge", "calibrate", "judge", check=2)
    assert "has no human labels" in done.err and "evalharness judge sample" in done.err
