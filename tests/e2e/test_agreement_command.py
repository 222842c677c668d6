"""`evalharness judge agreement`: the table, its JSON, its sentences, and files that are wrong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project

PAGE = Path(__file__).resolve().parents[2] / "docs/agreement.md"


def rating(item: str, rater: str, value: Any) -> dict[str, Any]:
    return {"id": item, "rater": rater, "value": value}


def two(project: Project, pairs: list[tuple[Any, Any]], name: str = "ratings.jsonl") -> None:
    project.rows(
        name,
        [
            rating(f"q{i}", who, v)
            for i, pair in enumerate(pairs)
            for who, v in zip(("ann", "judge"), pair, strict=True)
        ],
    )


def agreement(project: Project, *options: str, name: str = "ratings.jsonl") -> dict[str, Any]:
    done = project.run("judge", "agreement", name, "--json", *options, check=0)
    assert done.err == ""
    loaded: dict[str, Any] = json.loads(done.out)
    return loaded


def row(table: dict[str, Any], coefficient: str) -> dict[str, Any]:
    (found,) = (r for r in table["coefficients"] if r["coefficient"] == coefficient)
    assert isinstance(found, dict)
    return found


# a = both pass, b and c = one of them, d = both fail: kappa (.9 − .82)/(1 − .82), worked by hand.
RARE_FAILS = (
    [("pass", "pass")] * 88 + [("pass", "fail")] * 6 + [("fail", "pass")] * 4 + [("fail", "fail")] * 2
)


def test_the_page_shows_what_the_command_prints(project: Project) -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"<!-- file: ratings.jsonl -->\n```json\n(.*?)```\n", text, re.DOTALL)
    printed = re.search(
        r"<!-- output: agreement -->\n```text\n\$ evalharness (.*?)\n\n(.*?)```\n", text, re.DOTALL
    )
    assert shown is not None and printed is not None
    project.write("ratings.jsonl", shown[1])
    assert project.run(*printed[1].split(), check=0).out == printed[2]


def test_values_and_counts_of_every_coefficient(project: Project) -> None:
    two(project, RARE_FAILS)
    table = agreement(project)
    assert (table["n_items"], table["n_raters"], table["n_ratings"], table["scale"]) == (
        100,
        2,
        200,
        "nominal",
    )
    expected = 0.94 * 0.92 + 0.06 * 0.08
    assert row(table, "raw_agreement")["value"] == pytest.approx(0.9)
    assert row(table, "cohen_kappa")["value"] == pytest.approx((0.9 - expected) / (1 - expected))
    chance = 2 * 0.93 * 0.07
    assert row(table, "gwet_ac1")["value"] == pytest.approx((0.9 - chance) / (1 - chance))
    # Scott's pi is Fleiss' kappa of two raters, and alpha is pi with a correction for the number of ratings.
    pi = (0.9 - (1 - chance)) / chance
    assert row(table, "fleiss_kappa")["value"] == pytest.approx(pi)
    assert row(table, "krippendorff_alpha")["value"] == pytest.approx(1 - (1 - pi) * 199 / 200)
    for found in table["coefficients"]:
        assert -1 <= found["low"] < found["value"] < found["high"] <= 1
        assert (found["n_items"], found["n_ratings"], found["reason"]) == (100, 200, None)


def test_kappa_that_falls_because_fails_are_rare_is_explained(project: Project) -> None:
    two(project, RARE_FAILS)
    out = project.run("judge", "agreement", "ratings.jsonl", check=0).out
    assert "93% of the ratings are 'pass'" in out and "alpha 0.24" in out
    two(project, [("pass", "pass"), ("fail", "fail")] * 45 + [("pass", "fail")] * 10)
    assert "of the ratings are" not in project.run("judge", "agreement", "ratings.jsonl", check=0).out


def test_a_missing_rating_is_a_line_left_out(project: Project) -> None:
    rows = [rating(f"q{i}", who, i % 3) for i in range(60) for who in ("ann", "bob", "judge")]
    project.rows("ratings.jsonl", rows[:-1])
    table = agreement(project)
    assert [tuple(r["raters"]) for r in table["coefficients"] if r["raters"]] == [
        ("ann", "bob"),
        ("ann", "judge"),
        ("bob", "judge"),
    ]
    assert [r["coefficient"] for r in table["coefficients"] if r["raters"] is None] == [
        "raw_agreement",
        "krippendorff_alpha",
        "gwet_ac1",
    ]
    assert row(table, "krippendorff_alpha")["n_ratings"] == 179


def test_the_scale_says_how_far_apart_values_are(project: Project) -> None:
    two(project, [(s, min(5, s + (i % 4 == 0))) for i in range(80) for s in (i % 5 + 1,)])
    nominal, ordinal, interval = (
        agreement(project, "--scale", s) for s in ("nominal", "ordinal", "interval")
    )
    values = [row(t, "krippendorff_alpha")["value"] for t in (nominal, ordinal, interval)]
    assert values[0] < 0.8 < 0.9 < min(values[1:])
    assert [row(t, "cohen_kappa")["weights"] for t in (nominal, ordinal, interval)] == [
        "unweighted",
        "linear",
        "quadratic",
    ]


def test_the_order_of_lines_and_the_seed(project: Project) -> None:
    two(project, RARE_FAILS)
    first = agreement(project)
    lines = (project.root / "ratings.jsonl").read_text().splitlines(keepends=True)
    project.write("ratings.jsonl", "".join(reversed(lines)))
    assert agreement(project) == first
    other = agreement(project, "--seed", "5")
    assert other != first and row(other, "gwet_ac1")["value"] == row(first, "gwet_ac1")["value"]
    wide, usual = (row(agreement(project, "--level", p), "gwet_ac1") for p in ("0.99", "0.95"))
    assert wide["low"] < usual["low"] and wide["high"] > usual["high"]


def test_all_passes_is_no_agreement_beyond_chance(project: Project) -> None:
    two(project, [("pass", "pass")] * 60)
    table = agreement(project)
    for name in ("cohen_kappa", "fleiss_kappa", "krippendorff_alpha", "gwet_ac1"):
        found = row(table, name)
        assert found["value"] is None and "every rating is 'pass'" in found["reason"]
    # 60 of 60 agree: not "100%, for certain".
    assert row(table, "raw_agreement")["low"] == pytest.approx(0.025 ** (1 / 60))
    out = project.run("judge", "agreement", "ratings.jsonl", check=0).out
    assert re.search(r"Gwet's AC1 +all +none", out) and out.count("every rating is 'pass'") == 1


def test_many_raters_have_no_pairs_and_it_is_said(project: Project) -> None:
    project.rows("ratings.jsonl", [rating(f"q{i}", f"r{j}", i % 2) for i in range(9) for j in range(11)])
    table = agreement(project)
    assert not [r for r in table["coefficients"] if r["coefficient"] == "cohen_kappa"]
    assert any("11 make too many pairs" in note for note in table["notes"])


def test_labels_that_differ_in_case_are_pointed_out(project: Project) -> None:
    two(project, [("Pass", "pass"), ("fail", "fail")] * 5)
    assert any("'Pass' and 'pass'" in note for note in agreement(project)["notes"])


WRONG = [
    ('{"id": "a", "rater": "ann", "value": "x"}', None),
    ('{"id": "a", "rater": "ann", "value": "y"}', "'ann' already rated 'a' on line 1; keep one"),
    ('{"id": "b", "ratr": "ann", "value": "x"}', "unknown key 'ratr'; did you mean rater?"),
    ('{"id": "b", "rater": "ann", "value": NaN}', "NaN is not JSON"),
    ('{"id": "b", "rater": "ann", "value": 1e999}', "never NaN or infinite"),
    ('{"id": "c", "rater": "ann", "value": 3}', "numbers beside texts"),
    ('{"id": "b", "rater": "ann", "value": null}', "leave the line out where there is no rating"),
    ('{"id": "b", "rater": "ann", "value": ["x"]}', "a label or a number, not a list"),
    ('{"id": "b", "rater": "ann"}', "the key 'value' is missing"),
    ('{"id": 7, "rater": "ann", "value": "x"}', "id must be text, not a number"),
    ('{"id": "b", "rater": "", "value": "x"}', "rater '' is empty"),
    ('{"id": "b", "rater": "a\\u001b[2J", "value": "x"}', "control characters"),
    ('"b"', "a rating must be a JSON object"),
    ("pass", "is not JSON"),
]


def test_every_problem_at_once_with_file_line_and_fix(project: Project) -> None:
    project.write("ratings.jsonl", "\n".join(line for line, _ in WRONG) + "\n")
    done = project.run("judge", "agreement", "ratings.jsonl", check=2)
    assert done.out == ""
    said = done.err.splitlines()
    expected = [(n, text) for n, (_, text) in enumerate(WRONG, start=1) if text is not None]
    assert len(said) == len(expected) + 2  # the single rater, and the count
    for line, (number, text) in zip(said, expected, strict=False):
        assert line.startswith(f"error: ratings.jsonl:{number}: ") and text in line
    assert "every rating is by 'ann'; agreement needs at least two raters" in said[-2]


@pytest.mark.parametrize(("value", "what"), [("good", "texts"), (True, "truth values")])
def test_labels_on_a_scale_of_numbers_are_refused(project: Project, value: Any, what: str) -> None:
    two(project, [(value, 1)])
    done = project.run("judge", "agreement", "ratings.jsonl", "--scale", "ordinal", check=2)
    assert f"ordinal values are numbers, not {what}; write a number, or use --scale nominal" in done.err


def test_a_thousand_wrong_lines_are_cut_to_fifty(project: Project) -> None:
    project.write("ratings.jsonl", "{}\n" * 1000)
    done = project.run("judge", "agreement", "ratings.jsonl", check=2)
    assert done.err.count("is missing") == 50 and "and 950 more lines" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["empty.jsonl"], "empty.jsonl:1: holds no ratings"),
        (["missing.jsonl"], "does not exist"),
        (["."], "a JSONL file of ratings is needed"),
        (["pipe"], "a JSONL file of ratings is needed"),
        (["ok.jsonl", "--level", "nan"], "level must lie between 0 and 1"),
        (["ok.jsonl", "--level", "95"], "level must lie between 0 and 1"),
        (["ok.jsonl", "--scale", "ratio"], "ratio"),
        (["ok.jsonl", "--seed", "-1"], "-1"),
    ],
)
def test_requests_that_cannot_be_met(project: Project, arguments: list[str], message: str) -> None:
    project.write("empty.jsonl", "\n\n")
    os.mkfifo(project.root / "pipe")
    two(project, [("x", "x")], "ok.jsonl")
    assert message in project.run("judge", "agreement", *arguments, check=2).err


def test_no_warning_on_awkward_ratings(project: Project) -> None:
    """One item, constants, values far apart: a table and exit 0, as its own process with warnings as errors."""
    awkward: list[list[tuple[Any, Any]]] = [
        [(0, 1)],
        [(1e100, -1e100), (0, 1e-300)],
        [(1, 1), (1, 2)],
        [(5, 5)] * 3,
    ]
    for i, pairs in enumerate(awkward):
        two(project, pairs, f"{i}.jsonl")
        done = project.process(
            "judge",
            "agreement",
            f"{i}.jsonl",
            "--scale",
            "interval",
            check=0,
            env={"PYTHONWARNINGS": "error"},
        )
        assert done.err == ""
