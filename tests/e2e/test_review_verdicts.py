"""What a reviewer of the gate would try: worse candidates that look fine, and the same inputs seen from elsewhere."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.e2e.conftest import Project


def answers(n: int, wrong: Sequence[int] = (), absent: Sequence[int] = ()) -> list[Mapping[str, Any]]:
    return [
        {"id": f"q{i}", "output": "wrong" if i in wrong else f"t{i}"} for i in range(n) if i not in absent
    ]


def test_a_real_drop_within_the_margin_is_said(project: Project) -> None:
    project.binary(3000, 30, 2)
    _, found = project.compare(check=0)
    (metric,) = found["metrics"]
    assert metric["status"] == "pass" and metric["p_adjusted"] < 0.001
    assert any("qa/exact_match got worse by less than its margin" in w for w in found["warnings"])


def test_noise_within_the_margin_is_not_called_a_drop(project: Project) -> None:
    project.binary(3000, 32, 30)
    _, found = project.compare(check=0)
    assert not any("got worse" in w for w in found["warnings"])


def test_a_pass_says_nothing_of_metrics_that_do_not_decide(project: Project) -> None:
    project.binary(
        200,
        30,
        0,
        scorers="[exact_match, {'recorded:fine': {kind: binary}}]",
        gate="{primary: ['qa/recorded:fine']}",
    )
    for side in ("base", "cand"):
        rows = [json.loads(line) for line in (project.root / f"{side}.jsonl").read_text().splitlines()]
        project.candidate(side, [{**row, "scores": {"fine": 1}} for row in rows])
    _, found = project.compare(check=0)
    assert found["reasons"] == ["the primary metric excludes a drop of its margin"]
    assert any("secondary metric qa/exact_match (regression)" in w for w in found["warnings"])


def test_a_critical_case_without_a_baseline_answer_is_named(project: Project) -> None:
    project.binary(200, 0, 0, cases=lambda i: {"critical": i in (5, 6)})
    project.candidate("base", answers(200, absent=[5]))
    project.candidate("cand", answers(200, wrong=[5]))
    _, found = project.compare(check=0)
    (warning,) = [w for w in found["warnings"] if "not guarded" in w]
    assert "q5" in warning and "q6" not in warning


def test_case_names_stay_apart_when_an_id_looks_like_a_prefix(project: Project) -> None:
    project.golden_set("A", [{"id": "x", "input": "q", "target": "t0"}])
    project.golden_set(
        "B", [{"id": "x", "input": "q", "target": "t0"}, {"id": "A:x", "input": "q", "target": "t0"}]
    )
    project.write(
        "suite.yaml",
        "name: s\nevals:\n  - {id: a, golden_set: ./A, scorers: [exact_match]}\n"
        "  - {id: b, golden_set: ./B, scorers: [exact_match]}\n",
    )
    rows = [{"id": "x", "output": "t0"}, {"id": "A:x", "output": "t0"}]
    project.candidate("base", rows)
    project.candidate("cand", [rows[0], {"id": "A:x", "output": "wrong"}])
    _, found = project.compare()
    assert found["flips"]["regressed"] == ["B:A:x"]


def test_recorded_rows_for_a_golden_set_that_is_not_there_are_said(project: Project) -> None:
    project.binary(150, 0, 0)
    project.candidate("cand", [*answers(150), {"id": "q0", "golden_set": "qeustions", "output": "wrong"}])
    _, found = project.compare()
    assert any("qeustions" in w and "not used" in w for w in found["warnings"])


def test_a_repeat_of_a_billion_is_refused_before_it_is_planned(project: Project) -> None:
    project.binary(150, 0, 0)
    project.candidate("cand", [*answers(150), {"id": "q0", "repeat": 10**9, "output": "t0"}])
    done = project.run("compare", "base.yaml", "cand.yaml", check=2)
    assert "cand.jsonl:151" in done.err and "999" in done.err


def test_the_same_recording_on_both_sides_is_said(project: Project) -> None:
    project.binary(150, 0, 0)
    done = project.run("compare", "base.yaml", "base.yaml", check=0)
    assert "both sides are the same candidate" in " ".join(done.out.split())


def test_missing_answers_are_counted_in_their_slice(project: Project) -> None:
    project.binary(300, 0, 0, cases=lambda i: {"tags": {"k": "rare" if i < 2 else "x"}})
    project.candidate("base", answers(300, absent=[0, 1]))
    project.candidate("cand", answers(300, absent=[1, 299]))
    _, found = project.compare()
    slices = {entry["slice"]: entry for entry in found["slices"]}
    assert slices["k=x"]["n_missing"] == {"baseline": 0, "candidate": 1}
    # nobody can say anything of it, and it is shown all the same
    assert slices["k=rare"]["n_missing"] == {"baseline": 2, "candidate": 1}
    assert (slices["k=rare"]["n"], slices["k=rare"]["problem"]) == (None, "no case has a score on both sides")


def test_exactly_the_allowed_share_of_failures_is_allowed(project: Project) -> None:
    project.binary(100, 0, 0, gate="{max_failures: 29%}")
    project.candidate("base", answers(100))
    project.candidate("cand", answers(100, absent=range(29)))
    _, found = project.compare()
    assert found["verdict"] == "regression"


def test_an_unchanged_candidate_does_not_drop_by_a_tiny_margin(project: Project) -> None:
    project.binary(200, 0, 0, gate="{max_drop: 0.00000001pp}")
    _, found = project.compare(check=0)
    assert found["metrics"][0]["status"] == "underpowered"


def test_comparison_json_does_not_depend_on_where_it_was_made(project: Project) -> None:
    project.binary(200, 20, 0, scorers="[exact_match, macro_f1]")
    project.compare(check=1)
    above = Project(project.root.parent)
    name = project.root.name
    above.run("compare", f"{name}/base.yaml", f"{name}/cand.yaml", "--out", f"{name}/out2", check=1)
    found = [(project.root / out / "comparison.json").read_bytes() for out in ("out", "out2")]
    assert found[0] == found[1]
    assert str(project.root).encode() not in found[0]


@pytest.mark.parametrize(
    "env",
    [
        {"OPENBLAS_CORETYPE": "Nehalem"},  # another processor's way of adding up
        {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONOPTIMIZE": "1"},
    ],
)
def test_comparison_json_does_not_depend_on_the_machine(project: Project, env: dict[str, str]) -> None:
    project.binary(
        400,
        40,
        30,
        scorers="[exact_match, macro_f1, rouge_l, {length: {id: size}}]",
        gate="{metrics: {qa/size: {max_rise: 10%}}}",
    )
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out")
    project.process("compare", "base.yaml", "cand.yaml", "--out", "out2", env=env)
    found = [(project.root / out / "comparison.json").read_bytes() for out in ("out", "out2")]
    assert found[0] == found[1]


@pytest.mark.parametrize("text", ["{}", "[]", '{"baseline": 3, "candidate": "x", "suite": "s", "seed": "a"}'])
def test_a_damaged_report_folder_is_a_file_error(project: Project, text: str) -> None:
    project.write("out/manifest.json", text)
    done = project.run("report", "out", check=2)
    assert "manifest.json: damaged" in done.err


@pytest.mark.parametrize(("sides", "code"), [(("base.yaml", "a" * 5000), 2), (("a" * 5000, "base.yaml"), 4)])
def test_a_name_that_no_file_can_have(project: Project, sides: tuple[str, str], code: int) -> None:
    project.binary(10, 0, 0)
    done = project.run("compare", *sides, check=code)
    assert "too long" in done.err


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("repeats", [(1, 1), (2, 2), (3, 1)])
def test_the_way_back_is_the_mirror_image(
    project: Project, clustered: bool, repeats: tuple[int, int]
) -> None:
    rng = random.Random(5)
    n, labels = 240, ["a", "b", "c"]
    project.golden_set(
        "questions",
        [
            {"id": f"q{i}", "input": f"question {i}", "target": labels[i % 3]}
            | ({"cluster": f"c{i // 5}"} if clustered else {})
            for i in range(n)
        ],
    )
    project.suite(
        "[exact_match, macro_f1, rouge_l, {length: {id: size}}, 'recorded:grade',"
        " {'recorded:bad': {direction: lower, kind: binary}}]",
        gate="{metrics: {qa/size: {max_rise: 10%}, 'qa/recorded:bad': {max_rise: 2pp}}}",
    )
    for side, count, right in (("base", repeats[0], 0.8), ("cand", repeats[1], 0.74)):
        project.candidate(
            side,
            [
                {
                    "id": f"q{i}",
                    "repeat": k,
                    "output": labels[i % 3] if rng.random() < right else "b" * rng.randint(1, 3),
                    "scores": {"grade": round(rng.random() * right, 3), "bad": int(rng.random() > right)},
                }
                for i in range(n)
                for k in range(count)
            ],
        )
    _, there = project.compare()
    project.run("compare", "cand.yaml", "base.yaml", "--out", "back")
    back = json.loads((project.root / "back" / "comparison.json").read_text(encoding="utf-8"))
    assert there["flips"]["regressed"] == back["flips"]["fixed"]
    for one, other in zip(there["metrics"], back["metrics"], strict=True):
        name = one["id"]
        assert one["delta"] == pytest.approx(-other["delta"], abs=1e-9), name
        assert one["p_value"] == pytest.approx(other["p_gain"], rel=1e-6), name
        assert one["ci"]["low"] == pytest.approx(-other["ci"]["high"], abs=1e-9), name
        assert one["ci"]["high"] == pytest.approx(-other["ci"]["low"], abs=1e-9), name
        if one["kind"] != "corpus":
            assert (one["n_regressed"], one["n_fixed"]) == (other["n_fixed"], other["n_regressed"]), name


@pytest.mark.parametrize(
    "edit",
    [
        {"repeats": 0},
        {"coverage": {}},
        {"models_returned": [None]},
        {"warnings": [1]},
        {"plugins": [1]},
        {"suite": {"name": "s", "digest": "x", "path": 5}},
        {"candidate": {"digest": "x"}},
    ],
)
def test_a_manifest_that_no_run_has_is_a_file_error(project: Project, edit: dict[str, Any]) -> None:
    project.binary(150, 0, 0)
    project.run("run", "cand.yaml", check=0)
    (folder,) = (project.root / ".evalharness" / "runs").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    project.write(str(folder / "manifest.json"), json.dumps(manifest | edit))
    for arguments in (["compare", "base.yaml", str(folder)], ["score", str(folder)]):
        done = project.run(*arguments, check=2)
        assert "manifest.json: damaged" in done.err


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (1.0, 1e308, 4),  # no finite sum of squares
        (1.0, -1e300, 4),
        (1e-300, 0.0, 1),  # the square of a margin of 5% of it is 0
        (1.0, 10**400, 2),  # no float
    ],
)
def test_numbers_at_the_ends_of_the_scale(project: Project, before: float, after: float, code: int) -> None:
    project.binary(150, 0, 0)
    project.suite(
        "[{'recorded:x': {unit: seconds, kind: unbounded}}]",
        gate="{metrics: {'qa/recorded:x': {max_drop: 5%}}}",
    )
    project.candidate(
        "base", [{"id": f"q{i}", "output": "", "scores": {"x": before * (1 + i % 2)}} for i in range(150)]
    )
    project.candidate("cand", [{"id": f"q{i}", "output": "", "scores": {"x": after}} for i in range(150)])
    done = project.run("compare", "base.yaml", "cand.yaml", check=code)
    assert "defect" not in done.err
