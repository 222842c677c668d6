"""Input that no statistic should be made of, from the command line: a typed outcome, a sentence, never a verdict.

Warnings are errors in this suite, so every comparison here also shows that numpy and scipy had nothing to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.e2e.conftest import Done, Project

Scores = Mapping[str, float] | None
"""Recorded scores of one answer; None: the answer failed."""

BINARY = "'recorded:x': {kind: binary}"
BOUNDED = "'recorded:x': {}"
UNBOUNDED = "'recorded:x': {kind: unbounded, unit: points}"
RELATIVE = "{metrics: {'qa/recorded:x': {max_drop: 5%}}}"
PERPLEXITY = "{metrics: {qa/perplexity: {max_rise: 15%}}}"
LABELS = "{metrics: {'qa/recorded:judge': {labels: 'qa/recorded:human', drawn: random}}}"
LOOKS = "sampling: {initial: 60, max: 150, looks: 3}\n"
FINDINGS = ("pass", "improved", "regression")


def answers(n: int, scores: Callable[[int], Scores], repeats: int = 1) -> list[dict[str, Any]]:
    """Recorded answers to `n` cases, each `repeats` times; what failed is recorded as failed."""
    return [
        {
            "id": f"q{i}",
            "repeat": k,
            **({"error": "no"} if found is None else {"output": "", "scores": found}),
        }
        for i in range(n)
        for k in range(repeats)
        for found in [scores(i)]
    ]


def recorded(
    project: Project,
    base: Sequence[Mapping[str, Any]],
    cand: Sequence[Mapping[str, Any]],
    scorers: str = BOUNDED,
    *,
    gate: str = "",
    sampling: str = "",
    case: Callable[[int], Mapping[str, Any]] = lambda i: {},
) -> None:
    """A project whose two sides are these recorded answers."""
    n = 1 + max(int(row["id"][1:]) for row in (*base, *cand))
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": "?", "target": "t", **case(i)} for i in range(n)]
    )
    project.write(
        "suite.yaml",
        f"name: s\nevals:\n  - {{id: qa, golden_set: ./questions, scorers: [{scorers}]}}\n"
        + (f"gate: {gate}\n" if gate else "")
        + sampling,
    )
    project.candidate("base", base)
    project.candidate("cand", cand)


def x(values: Any) -> list[dict[str, Any]]:
    return answers(len(values), lambda i: {"x": float(values[i])})


def refuse(name: str) -> NoReturn:
    raise AssertionError(f"{name} in comparison.json")


def quiet(done: Done) -> None:
    """No library had anything to say, and the tool did not break."""
    assert "Warning" not in done.err and "Traceback" not in done.err and "defect" not in done.err


def compared(project: Project, code: int) -> dict[str, Any]:
    """comparison.json of the two sides: strict JSON, and reports that stand beside it."""
    done, _ = project.compare(check=code)
    quiet(done)
    assert not {"nan", "inf", "-inf"} & set(done.out.lower().split()), "a number that is none"
    text = (project.root / "out" / "comparison.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    assert (project.root / "out" / "report.html").exists()
    return found


def expect(project: Project, code: int, status: str, says: str) -> dict[str, Any]:
    """The first metric's status with its sentence, and a verdict that fits."""
    found = compared(project, code)
    metric: dict[str, Any] = found["metrics"][0]
    assert (metric["status"], says in metric["reason"]) == (status, True), metric["reason"]
    if status == "invalid":
        assert found["verdict"] == "invalid" and says in " ".join(found["reasons"])
    if status == "underpowered":
        assert any("is underpowered" in warning for warning in found["warnings"])
        assert not any("all" in reason and "exclude" in reason for reason in found["reasons"])
    return metric


def refused(project: Project, *says: str) -> None:
    """A file error before anything is compared."""
    done = project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=2)
    quiet(done)
    assert all(text in done.err for text in says), done.err
    assert not (project.root / "out").exists()


# --- numbers that are none, in files -----------------------------------------------------------------------------

NOT_JSON = "leave the value out, or record the case with an `error`"
A_SCORE = "scores must be an object of finite numbers; leave out a score that is missing"
ROWS = [
    ('"scores": {"x": NaN}', "NaN is not JSON", NOT_JSON),
    ('"scores": {"x": Infinity}', "Infinity is not JSON", NOT_JSON),
    ('"scores": {"x": -Infinity}', "-Infinity is not JSON", NOT_JSON),
    ('"scores": {"x": 1e999}', 'scores["x"] is Infinity', A_SCORE),
    ('"scores": {"x": "NaN"}', 'scores["x"] is "NaN"', A_SCORE),
    ('"scores": {"x": "0.5"}', 'scores["x"] is "0.5"', A_SCORE),
    ('"scores": {"x": null}', 'scores["x"] is null', A_SCORE),
    ('"scores": {"x": [1]}', 'scores["x"] is [1]', A_SCORE),
    ('"scores": {"x": 1' + "0" * 400 + "}", 'scores["x"] is 1000', A_SCORE),
    ('"scores": {"x": 1' + "0" * 5000 + "}", "a whole number of thousands of digits", NOT_JSON),
    ('"latency_ms": NaN', "NaN is not JSON", NOT_JSON),
    ('"latency_ms": 1e999', "latency_ms is Infinity", "a number from 0"),
    ('"latency_ms": -1', "latency_ms is -1", "a number from 0"),
    ('"usage": {"input_tokens": NaN}', "NaN is not JSON", NOT_JSON),
    ('"usage": {"input_tokens": 1.5}', "usage.input_tokens is 1.5", "a whole number from 0"),
    ('"usage": {"input_tokens": -3}', "usage.input_tokens is -3", "a whole number from 0"),
    ('"usage": {"output_tokens": 1e308}', "usage.output_tokens is 1e+308", "a whole number from 0"),
    ('"usage": {"output_tokens": ' + "9" * 400 + "}", "usage.output_tokens is 999", "a whole number from 0"),
    ('"repeat": NaN', "NaN is not JSON", NOT_JSON),
]


@pytest.mark.parametrize(("part", "what", "fix"), ROWS, ids=[row[0][:36] for row in ROWS])
def test_a_recorded_row_without_a_number_is_refused_with_its_line(
    project: Project, part: str, what: str, fix: str
) -> None:
    recorded(project, x([1.0] * 3), x([1.0] * 3))
    lines = (project.root / "cand.jsonl").read_text().splitlines()
    lines[1] = '{"id": "q1", "output": "", ' + part + "}"
    project.write("cand.jsonl", "\n".join(lines) + "\n")
    refused(project, "cand.jsonl:2: ", what, fix)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("NaN", "NaN is not JSON; leave the value out"),
        ("-Infinity", "-Infinity is not JSON; leave the value out"),
        ('["4", NaN]', "NaN is not JSON"),
        ("1e999", "a number that is too large"),
        ("1" + "0" * 5000, "a whole number of thousands of digits; write"),
        ("[]", "leave the key out where there is none"),
        ("null", "leave the key out where there is no value"),
    ],
    ids=["NaN", "-Infinity", "NaN-in-list", "1e999", "5000-digits", "empty", "null"],
)
@pytest.mark.parametrize("scorer", ["numeric", "exact_match"])
def test_a_target_that_is_no_number_is_refused_with_its_line(
    project: Project, scorer: str, target: str, says: str
) -> None:
    recorded(project, x([1.0] * 3), x([1.0] * 3), scorer)
    lines = (project.root / "questions" / "cases.jsonl").read_text().splitlines()
    lines[2] = '{"id": "q2", "input": "?", "target": ' + target + "}"
    project.write("questions/cases.jsonl", "\n".join(lines) + "\n")
    refused(project, "cases.jsonl:3: ", says)


@pytest.mark.parametrize("target", ['"NaN"', '"inf"', '"about 4 or 5"', "true"])
def test_a_target_that_holds_no_number_leaves_its_case_out_and_says_so(project: Project, target: str) -> None:
    recorded(project, x([1.0] * 30), x([1.0] * 30), "numeric")
    project.write(
        "questions/cases.jsonl",
        "".join(f'{{"id": "q{i}", "input": "?", "target": {target}}}\n' for i in range(30)),
    )
    expect(project, 4, "invalid", "does not hold exactly one number")


# --- margins and levels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "says"),
    [
        ("0pp", "must be above zero: no test can show that nothing at all changed; write 2pp"),
        ("0.0pp", "must be above zero"),
        ("0%", "must be above zero"),
        ("-2pp", "'-2pp' is not a margin: it must be above zero; write 2pp"),
        ("-5%", "must be above zero"),
        ("0.02", "the number 0.02 has no unit; write 2pp"),
        ("2", "the number 2 has no unit; write 2pp"),
        ("0", "has no unit"),
        ('"2"', "'2' is not a margin; write 2pp"),
        ("nan", "'nan' is not a margin; write 2pp"),
        (".nan", "'.nan' is not a margin; write 2pp"),
        (".inf", "'.inf' is not a margin; write 2pp"),
        ("101pp", "more than any metric could lose"),
        ("200%", "qa/recorded:x could lose all it has and not drop by 200%; write less than 100%"),
        ("true", "a margin is text such as 2pp or 5%"),
        ("[2pp]", "a margin is text such as 2pp or 5%"),
        ('""', "'' is not a margin; write 2pp"),
    ],
)
@pytest.mark.parametrize("where", ["max_drop: {}", "metrics: {{'qa/recorded:x': {{max_drop: {}}}}}"])
def test_a_margin_that_could_not_judge_is_refused(
    project: Project, where: str, margin: str, says: str
) -> None:
    recorded(project, x([1.0] * 3), x([1.0] * 3), gate="{" + where.format(margin) + "}")
    refused(project, "suite.yaml:", says)


@pytest.mark.parametrize(
    ("alpha", "says"),
    [
        ("0", "greater than or equal to 0.0001, not 0"),
        ("0.5", "less than 0.5, not 0.5"),
        ("0.7", "less than 0.5, not 0.7"),
        ("-1", "greater than or equal to 0.0001, not -1"),
        ("5", "less than 0.5, not 5"),
        ("1.0e-320", "greater than or equal to 0.0001"),
        ("nan", "must be a number, not 'nan'"),
        (".nan", "must be a number"),
        (".inf", "must be a number"),
        ("5%", "must be a number, not '5%'"),
        ("null", "must be a number"),
    ],
)
def test_an_alpha_outside_its_range_is_refused(project: Project, alpha: str, says: str) -> None:
    recorded(project, x([1.0] * 3), x([1.0] * 3), gate=f"{{alpha: {alpha}}}")
    refused(project, "suite.yaml:4: gate.alpha ", says)


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("'qa/recorded:lo': {max_drop: 2pp}", "qa/recorded:lo is better when lower; write max_rise"),
        ("'qa/recorded:hi': {max_rise: 2pp}", "qa/recorded:hi is better when higher; write max_drop"),
        ("'qa/recorded:hi': {max_drop: 2pp, max_rise: 2pp}", "a metric has one margin"),
    ],
)
def test_a_margin_in_the_wrong_direction_is_refused(project: Project, gate: str, says: str) -> None:
    rows = answers(3, lambda i: {"hi": 1.0, "lo": 0.0})
    recorded(
        project,
        rows,
        rows,
        "'recorded:hi', 'recorded:lo': {direction: lower}",
        gate=f"{{metrics: {{{gate}}}}}",
    )
    refused(project, "suite.yaml:", says)


# --- values that are numbers and say nothing ---------------------------------------------------------------------

N = 150
RNG = np.random.default_rng(7)
SPREAD = RNG.uniform(0.2, 0.8, N).round(3)
FEW = "a bound needs at least 10 changed cases"
NO_SPREAD = "every case changed by the same amount, so there is no spread"
FLOOR = "both sides have the worst value on every case, so no drop could be seen"
VALUES: list[tuple[str, str, Any, Any, int, str, str]] = [
    # what, scorer, baseline, candidate, exit, status, sentence
    (
        "one case that stayed",
        BINARY,
        [1],
        [1],
        0,
        "underpowered",
        "no drop can be told from noise; 308 cases",
    ),
    ("one case that broke", BINARY, [1], [0], 3, "suspect", "cannot be told from noise (p = 0.25"),
    ("one case that was mended", BINARY, [0], [1], 0, "underpowered", "does not exclude"),
    ("one score that stayed", BOUNDED, [0.4], [0.4], 0, "underpowered", "no case changed"),
    ("one score that fell", BOUNDED, [1], [0], 3, "suspect", "cannot be told from noise"),
    ("one score that rose", BOUNDED, [0], [1], 0, "underpowered", "only 1 of 1 cases changed"),
    ("two cases that broke", BINARY, [1, 1], [0, 0], 3, "suspect", "cannot be told from noise"),
    ("two opposite scores", BOUNDED, [0, 1], [1, 0], 0, "underpowered", FEW),
    ("no discordance, n = 132", BINARY, [1] * 132, [1] * 132, 0, "underpowered", "308 cases would see 2pp"),
    ("no discordance, n = 133", BINARY, [1] * 133, [1] * 133, 0, "pass", "excludes a drop of the margin"),
    ("every answer wrong on both sides", BINARY, [0] * N, [0] * N, 0, "underpowered", FLOOR),
    ("every score 0 on both sides", BOUNDED, [0] * N, [0] * N, 0, "underpowered", "no case changed"),
    ("one constant on both sides", BOUNDED, [0.5] * N, [0.5] * N, 0, "underpowered", "no case changed"),
    ("equal scores", BOUNDED, SPREAD, SPREAD, 0, "underpowered", "no case changed"),
    ("rounding alone", BOUNDED, [0.1 + 0.2] * N, [0.3] * N, 0, "underpowered", "no case changed"),
    ("all up by one amount", BOUNDED, [0.4] * N, [0.5] * N, 0, "underpowered", NO_SPREAD),
    ("all down by less than the margin", BOUNDED, [0.5] * N, [0.49] * N, 0, "underpowered", NO_SPREAD),
    ("one score changed", BOUNDED, SPREAD, [1.0, *SPREAD[1:]], 0, "underpowered", FEW),
    ("a constant candidate", BOUNDED, SPREAD, [SPREAD.mean()] * N, 0, "underpowered", "does not exclude"),
    ("a subnormal score", BOUNDED, [0.5] * N, [1e-320] + [0.5] * (N - 1), 0, "underpowered", FEW),
    ("an impossible score", BOUNDED, [0.5] * N, [1e308] + [0.5] * (N - 1), 0, "underpowered", FEW),
    ("impossible scores", BOUNDED, [0.5] * N, [1e308] * N, 4, "invalid", "lies outside 0 to 1"),
    ("fractions called binary", BINARY, [1] * N, [0.5] * N, 4, "invalid", "is neither 0 nor 1"),
    (
        "a huge number without bounds",
        UNBOUNDED,
        [1] * N,
        [1e308] + [1] * (N - 1),
        4,
        "invalid",
        "beyond ±1e+100",
    ),
    ("a number without bounds at 0", UNBOUNDED, [0] * N, SPREAD, 4, "invalid", "make the metric advisory"),
    ("equal numbers without bounds", UNBOUNDED, [7] * N, [7] * N, 0, "underpowered", "no case changed"),
    ("numbers around 0", UNBOUNDED, SPREAD - SPREAD, -SPREAD, 4, "invalid", "the baseline is 0"),
    ("a subnormal baseline", UNBOUNDED, [1e-320] * N, [0] * N, 0, "underpowered", "no case changed"),
]


@pytest.mark.parametrize("row", VALUES, ids=[row[0] for row in VALUES])
def test_values_that_say_nothing_are_no_finding(project: Project, row: Any) -> None:
    _, scorer, base, cand, code, status, says = row
    recorded(project, x(base), x(cand), scorer, gate=RELATIVE if scorer == UNBOUNDED else "")
    metric = expect(project, code, status, says)
    if status == "underpowered":
        assert metric["mde"] is None or "power" in metric["reason"] or "no pass" in metric["reason"]


@pytest.mark.parametrize(
    ("scorer", "base", "cand", "status"),
    [
        ("macro_f1", "t", "t", "underpowered"),
        ("macro_f1", "wrong", "wrong", "underpowered"),
        ("micro_f1", "", "", "underpowered"),
        ("accuracy", "wrong", "wrong", "underpowered"),
        ("exact_match", "", "", "underpowered"),
        ("rouge_l", "t", "t", "underpowered"),
        ("rouge_l", "", "", "underpowered"),
        ("bleu", "t", "t", "underpowered"),
        ("bleu", "", "", "underpowered"),
        ("chrf", "t", "t", "underpowered"),
    ],
)
@pytest.mark.parametrize("n", [1, 2, 140])
def test_two_sides_that_never_differ(
    project: Project, scorer: str, base: str, cand: str, status: str, n: int
) -> None:
    recorded(project, x([1.0] * n), x([1.0] * n), scorer)
    project.candidate("base", [{"id": f"q{i}", "output": base} for i in range(n)])
    project.candidate("cand", [{"id": f"q{i}", "output": cand} for i in range(n)])
    metric = expect(project, 0, status, "")
    assert metric["delta"] == 0.0


def test_opposite_directions_in_one_family_each_keep_their_own(project: Project) -> None:
    base = answers(N, lambda i: {"hi": SPREAD[i], "lo": SPREAD[i]})
    cand = answers(
        N, lambda i: {"hi": SPREAD[i] + 0.1 + 0.05 * (i % 3), "lo": SPREAD[i] + 0.1 + 0.05 * (i % 3)}
    )
    scorers = "'recorded:hi', 'recorded:lo': {direction: lower}"
    for gate in ("", "{primary: ['qa/recorded:hi', 'qa/recorded:lo']}"):
        recorded(project, base, cand, scorers, gate=gate)
        found = compared(project, 1)
        assert [metric["status"] for metric in found["metrics"]] == ["improved", "regression"]
        recorded(project, cand, base, scorers, gate=gate)
        found = compared(project, 1)
        assert [metric["status"] for metric in found["metrics"]] == ["regression", "improved"]


# --- what is missing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["", LOOKS], ids=["whole", "looks"])
@pytest.mark.parametrize("most", ["", "{max_failures: 100%}"], ids=["default", "all-may-fail"])
@pytest.mark.parametrize("side", ["base", "cand"])
@pytest.mark.parametrize(
    ("score", "why"),
    [(None, "recorded as failed"), ({}, "no recorded score 'x'"), ({"x": 9.0}, "lies outside 0 to 1")],
    ids=["failed", "unscored", "out-of-bounds"],
)
def test_a_side_without_a_score_is_invalid(
    project: Project, score: Scores, why: str, side: str, most: str, sampling: str
) -> None:
    sides = {"base": x([1.0] * N), "cand": x([1.0] * N)} | {side: answers(N, lambda i: score)}
    recorded(project, sides["base"], sides["cand"], gate=most, sampling=sampling)
    role = {"base": "baseline", "cand": "candidate"}[side]
    expect(project, 4, "invalid", f"{role} answers has a score (")
    expect(project, 4, "invalid", why)


def test_the_commonest_reason_is_told(project: Project) -> None:
    def score(i: int) -> Scores:
        return None if i < 5 else {} if i < 20 else {"x": 1.0}

    recorded(project, x([1.0] * N), answers(N, score))
    expect(
        project,
        4,
        "invalid",
        "20 of 150 candidate answers failed or could not be scored (most often: no recorded",
    )


@pytest.mark.parametrize("side", ["base", "cand"])
def test_a_gating_slice_without_a_score_is_invalid(project: Project, side: str) -> None:
    rows = {"base": x([1.0] * 300), "cand": x([1.0] * 300)}
    rows[side] = answers(300, lambda i: None if i < 2 else {"x": 1.0})
    for gate, code in (("{slices: [{metric: 'qa/recorded:x', slice: lang=de}]}", 4), ("", 0)):
        recorded(
            project,
            rows["base"],
            rows["cand"],
            BINARY,
            gate=gate,
            case=lambda i: {"tags": {"lang": "de" if i < 2 else "en"}},
        )
        found = compared(project, code)
        (piece,) = [entry for entry in found["slices"] if entry["slice"] == "lang=de"]
        assert piece["status"] == ("invalid" if gate else "advisory")
        assert any("2 of 300 answers failed" in warning for warning in found["warnings"])
        if gate:
            assert "recorded as failed" in piece["reason"]


# --- perplexity --------------------------------------------------------------------------------------------------

TOKENS = RNG.integers(20, 200, N).astype(float)


def documents(nll: Any, tokens: Any) -> list[dict[str, Any]]:
    return answers(len(nll), lambda i: {"nll": float(nll[i]), "tokens": float(tokens[i])})


def at(values: Any, place: int, value: float) -> Any:
    changed = np.array(values, dtype=float)
    changed[place] = value
    return changed


SOME = 2 * TOKENS
DOCUMENTS: list[tuple[str, Any, Any, int, str, str]] = [
    # what, (nll, tokens) of the baseline and of the candidate, exit, status, sentence
    ("equal", (SOME, TOKENS), (SOME, TOKENS), 0, "underpowered", "no case changed"),
    ("one document", ([40], [20]), ([60], [20]), 3, "suspect", "cannot be told from noise"),
    ("one document that stayed", ([40], [20]), ([40], [20]), 0, "underpowered", "no case changed"),
    ("two documents", ([40, 60], [20, 30]), ([60, 90], [20, 30]), 3, "suspect", "cannot be told from noise"),
    (
        "one amount a token",
        (SOME, TOKENS),
        (SOME + 0.01 * TOKENS, TOKENS),
        0,
        "underpowered",
        "same amount a token",
    ),
    ("a negative term", (SOME, TOKENS), (at(SOME, 3, -9), TOKENS), 4, "invalid", "'nll' is negative"),
    (
        "log-likelihoods",
        (-SOME, TOKENS),
        (-SOME, TOKENS),
        4,
        "invalid",
        "must be the negative log-likelihood",
    ),
    (
        "no tokens",
        (SOME, TOKENS),
        (SOME, at(TOKENS, 3, 0)),
        4,
        "invalid",
        "must be a count of 1 or more, not 0",
    ),
    ("a sliver of a token", (SOME, [1e-310] * N), (SOME, [1e-310] * N), 4, "invalid", "a count of 1 or more"),
    ("huge token counts", (SOME, [1e308] * N), (SOME, [1e308] * N), 4, "invalid", "at most 1e+100"),
    (
        "a huge term",
        (SOME, TOKENS),
        (at(SOME, 3, 1e308), TOKENS),
        4,
        "invalid",
        "nats a token is no perplexity",
    ),
    (
        "huge documents",
        ([1e101] * N, [1e100] * N),
        ([2e101] * N, [1e100] * N),
        4,
        "invalid",
        "beyond ±1e+100",
    ),
    ("other tokenizers", (SOME, TOKENS), (SOME, TOKENS + 1), 4, "invalid", "tokens differ in 150 documents"),
    (
        "subnormal terms",
        ([1e-320] * N, TOKENS),
        ([1e-310] * N, TOKENS),
        0,
        "underpowered",
        "same amount a token",
    ),
    ("no surprise at all", ([0] * N, TOKENS), ([0] * N, TOKENS), 0, "underpowered", "no case changed"),
]


@pytest.mark.parametrize("row", DOCUMENTS, ids=[row[0] for row in DOCUMENTS])
def test_documents_that_make_no_perplexity(project: Project, row: Any) -> None:
    _, base, cand, code, status, says = row
    recorded(project, documents(*base), documents(*cand), "perplexity", gate=PERPLEXITY)
    expect(project, code, status, says)


# --- labels of people --------------------------------------------------------------------------------------------

CASES = 400
GOOD = RNG.random(CASES) < 0.8
SEEN = GOOD ^ (RNG.random(CASES) < 0.1)
PICKED = set(RNG.permutation(CASES)[:150].tolist())
LABELLED: list[tuple[str, Any, Any, Any, Any, set[int], int, str, str]] = [
    # what, judge before and after, people before and after, which are labelled, exit, status, sentence
    ("labels constant", GOOD, SEEN, GOOD | True, GOOD | True, PICKED, 0, "underpowered", "no case changed"),
    (
        "everything constant",
        GOOD | 1,
        GOOD | 1,
        GOOD | 1,
        GOOD | 1,
        PICKED,
        0,
        "underpowered",
        "no case changed",
    ),
    ("judge constant", GOOD | 1, GOOD | 1, GOOD, GOOD, PICKED, 0, "underpowered", "no case changed"),
    (
        "labels up to 2",
        GOOD,
        SEEN,
        GOOD * 2.0,
        SEEN * 2.0,
        PICKED,
        4,
        "invalid",
        "cannot be read (recorded score",
    ),
    ("labels below 0", GOOD, SEEN, GOOD - 1.0, SEEN - 1.0, PICKED, 4, "invalid", "mend the recorded labels"),
    (
        "one label of 7",
        GOOD,
        SEEN,
        at(GOOD, 0, 7),
        SEEN,
        PICKED | {0},
        4,
        "invalid",
        "1 label of qa/recorded:human",
    ),
    ("no label", GOOD, SEEN, GOOD, SEEN, set(), 4, "invalid", "only 0 labelled cases; at least 100"),
    (
        "99 labels",
        GOOD,
        SEEN,
        GOOD,
        SEEN,
        set(range(99)),
        4,
        "invalid",
        "only 99 labelled cases; at least 100",
    ),
]


@pytest.mark.parametrize("row", LABELLED, ids=[row[0] for row in LABELLED])
def test_labels_that_correct_nothing(project: Project, row: Any) -> None:
    _, judge, judge_after, people, people_after, picked, code, status, says = row

    def side(seen: Any, told: Any) -> list[dict[str, Any]]:
        return answers(
            CASES,
            lambda i: {"judge": float(seen[i]), **({"human": float(told[i])} if i in picked else {})},
        )

    recorded(
        project,
        side(judge, people),
        side(judge_after, people_after),
        "'recorded:judge', 'recorded:human'",
        gate=LABELS,
    )
    expect(project, code, status, says)


def test_labels_in_one_cluster_correct_nothing(project: Project) -> None:
    rows = answers(
        CASES, lambda i: {"judge": float(GOOD[i]), **({"human": float(GOOD[i])} if i in PICKED else {})}
    )
    recorded(
        project,
        rows,
        rows,
        "'recorded:judge', 'recorded:human'",
        gate=LABELS,
        case=lambda i: {"cluster": "d"},
    )
    expect(project, 4, "invalid", "the labels lie in only 1 cluster; at least 8 are needed")


# --- clusters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["", LOOKS], ids=["whole", "looks"])
@pytest.mark.parametrize("scorer", [BINARY, BOUNDED], ids=["binary", "bounded"])
@pytest.mark.parametrize(
    ("clusters", "broken", "code", "status", "says"),
    [
        (1, 0, 0, "underpowered", "only 1 cluster; at least 8 are needed"),
        (1, 30, 3, "suspect", "cannot be told from noise"),
        (2, 0, 0, "underpowered", "only 2 clusters; at least 8"),
        (2, 30, 3, "suspect", "cannot be told from noise"),
        (7, 0, 0, "underpowered", "only 7 clusters; at least 8"),
        (20, 0, 0, "underpowered", "changed clusters"),
    ],
)
def test_too_few_clusters_find_nothing(
    project: Project,
    clusters: int,
    broken: int,
    code: int,
    status: str,
    says: str,
    scorer: str,
    sampling: str,
) -> None:
    recorded(
        project,
        x([1.0] * N),
        x([0.0] * broken + [1.0] * (N - broken)),
        scorer,
        sampling=sampling,
        case=lambda i: {"cluster": f"d{i % clusters}"},
    )
    expect(project, code, status, says)


def test_a_cluster_for_each_case_is_no_cluster(project: Project) -> None:
    recorded(project, x([1.0] * N), x([1.0] * N), BINARY, case=lambda i: {"cluster": f"d{i}"})
    assert expect(project, 0, "pass", "excludes")["n_units"] == N


@pytest.mark.parametrize("label", ['""', '"  "', "5", "null", "[]", "NaN"])
def test_a_cluster_without_a_name_is_refused(project: Project, label: str) -> None:
    recorded(project, x([1.0] * 2), x([1.0] * 2))
    project.write(
        "questions/cases.jsonl",
        '{"id": "q0", "input": "?"}\n{"id": "q1", "input": "?", "cluster": ' + label + "}\n",
    )
    refused(project, "cases.jsonl:2: ")


def test_clusters_that_cross_slices_are_said_where_slices_gate(project: Project) -> None:
    values = (RNG.random(160) < 0.8).astype(float)

    def case(i: int) -> dict[str, Any]:
        return {"cluster": f"d{i % 20}", "tags": {"lang": "de" if i % 3 else "en"}}

    gate = "{slices: [{metric: 'qa/recorded:x', slice: lang=de, max_drop: 4pp}]}"
    for written, crossing in ((gate, True), ("", False)):
        recorded(project, x(values), x(values), BINARY, gate=written, case=case)
        found = compared(project, 0)
        assert found["metrics"][0]["status"] == "underpowered"
        (piece,) = [entry for entry in found["slices"] if entry["slice"] == "lang=de"]
        assert piece["status"] == ("underpowered" if crossing else "advisory")
        told = [w for w in found["warnings"] if "20 of 20 clusters" in w and "not independent" in w]
        assert bool(told) is crossing


# --- repeats -----------------------------------------------------------------------------------------------------


def repeated(chance: Any, repeats: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"id": f"q{i}", "repeat": k, "output": "", "scores": {"x": float(rng.random() < chance[i])}}
        for i in range(len(chance))
        for k in range(repeats)
    ]


@pytest.mark.parametrize("direction", ["higher", "lower"])
@pytest.mark.parametrize("sampling", ["", LOOKS], ids=["whole", "looks"])
@pytest.mark.parametrize("repeats", [(3, 1), (1, 8)], ids=["3-and-1", "1-and-8"])
def test_unequal_repeats_are_averaged_and_said(
    project: Project, repeats: tuple[int, int], sampling: str, direction: str
) -> None:
    rng = np.random.default_rng(11)
    chance = rng.beta(4, 1, N)
    base, cand = (repeated(chance, k, rng) for k in repeats)
    recorded(
        project, base, cand, f"'recorded:x': {{kind: binary, direction: {direction}}}", sampling=sampling
    )
    found = compared(project, project.compare()[0].code)
    (metric,) = found["metrics"]
    assert metric["status"] not in ("regression", "improved", "invalid"), "nothing changed but the dice"
    assert "skewness-corrected t, conditional" in metric["test"]
    assert 0 <= metric["baseline"] <= 1 and 0 <= metric["candidate"] <= 1
    assert any(f"repeats differ ({repeats[0]} and {repeats[1]})" in w for w in found["warnings"])


@pytest.mark.parametrize("sampling", ["", LOOKS], ids=["whole", "looks"])
@pytest.mark.parametrize(
    ("side", "holes", "code"),
    [("base", 75, 4), ("cand", 75, 4), ("base", 2, 0), ("cand", 2, 0)],
)
def test_missing_repeats_are_counted(
    project: Project, side: str, holes: int, code: int, sampling: str
) -> None:
    rows = {name: answers(N, lambda i: {"x": 1.0}, repeats=3) for name in ("base", "cand")}
    rows[side] = [row for row in rows[side] if not (row["repeat"] == 2 and int(row["id"][1:]) < holes)]
    recorded(project, rows["base"], rows["cand"], BINARY, sampling=sampling)
    found = compared(project, code)
    (metric,) = found["metrics"]
    assert metric["status"] == ("invalid" if code else "underpowered")
    role = {"base": "baseline", "cand": "candidate"}[side]
    assert metric["n_missing"][role] == holes
    if code:
        assert (
            f"75 of 450 {role} answers failed or could not be scored (no recorded answer)" in metric["reason"]
        )


# --- looks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scorer", "before", "after", "code", "status"),
    [
        (BINARY, 0, 0, 0, "underpowered"),
        (BOUNDED, 0, 0, 0, "underpowered"),
        (BOUNDED, 1, 1, 0, "underpowered"),
        (BOUNDED, 0.5, 0.6, 0, "underpowered"),
        (UNBOUNDED, 7, 7, 0, "underpowered"),
        (UNBOUNDED, 0, 0, 4, "invalid"),
        (UNBOUNDED, 1, 1e300, 4, "invalid"),
    ],
)
def test_looks_at_constants_never_stop_with_a_finding(
    project: Project, scorer: str, before: float, after: float, code: int, status: str
) -> None:
    gate = RELATIVE if scorer == UNBOUNDED else ""
    recorded(project, x([before] * N), x([after] * N), scorer, gate=gate, sampling=LOOKS)
    found = compared(project, code)
    assert found["metrics"][0]["status"] == status
    assert found["looks"]["stopped"] == "end"


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        ("{initial: 0}", "initial should be greater than or equal to 10"),
        ("{initial: -5}", "initial should be greater than or equal to 10"),
        ("{initial: .nan}", "initial must be a whole number"),
        ("{initial: 50.5}", "initial must be a whole number"),
        ("{initial: 50, looks: 0}", "looks should be greater than or equal to 1"),
        ("{initial: 50, looks: 200}", "looks should be less than or equal to 20"),
        ("{initial: 50, max: 10}", "sampling.max (10) is below sampling.initial (50)"),
        ("{initial: 50, reserve: 200}", "at most 100 can be held in reserve"),
        ("{initial: 1000}", "lower initial, or take sampling out"),
    ],
)
def test_a_plan_of_looks_that_cannot_be_is_refused(project: Project, sampling: str, says: str) -> None:
    recorded(project, x([1.0] * N), x([1.0] * N), sampling=f"sampling: {sampling}\n")
    refused(project, "suite.yaml:4: ", says)


# --- scorers of others, and a process of its own -----------------------------------------------------------------

PLUGIN = """
import numpy as np
from evalharness.core.scores import Metric, Scored

class Broken:
    name, version, needs, files = "broken", "1", (), {}
    metric = Metric(direction="higher", unit="fraction", kind="bounded")
    def __init__(self, gives="nan"):
        self.gives = gives
    def score(self, case, response):
        return {
            "nan": lambda: Scored(float("nan")),
            "inf": lambda: Scored(float("inf")),
            "numpy": lambda: Scored(np.float64("nan")),
            "stats": lambda: Scored(0.5, {"hits": float("nan")}),
            "complex": lambda: Scored(1j),
            "none": lambda: None,
            "array": lambda: Scored(np.array([0.5, 0.5])),
            "division": lambda: Scored(1 / 0),
        }[self.gives]()
"""


@pytest.mark.parametrize(
    ("gives", "why"),
    [
        ("nan", "a value that is not finite"),
        ("inf", "a value that is not finite"),
        ("numpy", "a value that is not finite"),
        ("stats", "a value that is not finite"),
        ("complex", "scorer raised TypeError"),
        ("none", "scorer gave NoneType, not a score"),
        ("array", "scorer raised TypeError"),
        ("division", "scorer raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_plugin_that_gives_no_number_is_counted_and_named(
    project: Project, monkeypatch: pytest.MonkeyPatch, gives: str, why: str
) -> None:
    project.write("site/broken_plugin.py", PLUGIN)
    project.write("site/broken-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    project.write(
        "site/broken-1.0.dist-info/entry_points.txt", "[evalharness.scorers]\nbroken = broken_plugin:Broken\n"
    )
    monkeypatch.syspath_prepend(str(project.root / "site"))
    recorded(project, x([1.0] * 20), x([1.0] * 20), f"broken: {{gives: {gives}}}")
    expect(project, 4, "invalid", why)


@pytest.mark.parametrize(
    ("scorer", "gate", "base", "cand", "code"),
    [
        (BINARY, "", [0.0] * 20, [0.0] * 20, 0),
        (BOUNDED, "", [1.0], [0.0], 3),
        (UNBOUNDED, RELATIVE, [1.0] * N, [1e308] * N, 4),
        (UNBOUNDED, RELATIVE, [1e-320] * N, [1e308] * N, 4),
    ],
    ids=["floor", "one-case", "huge", "tiny-and-huge"],
)
def test_a_process_that_takes_warnings_for_errors_has_none(
    project: Project, scorer: str, gate: str, base: list[float], cand: list[float], code: int
) -> None:
    recorded(project, x(base), x(cand), scorer, gate=gate)
    done = project.process(
        "compare", "base.yaml", "cand.yaml", "--out", "out", check=code, env={"PYTHONWARNINGS": "error"}
    )
    quiet(done)
    found = json.loads((project.root / "out" / "comparison.json").read_text(), parse_constant=refuse)
    assert found["metrics"][0]["status"] not in FINDINGS
