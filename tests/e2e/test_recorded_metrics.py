"""Metrics that come as recorded numbers: perplexity by document, and a judge corrected by people's labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.e2e.conftest import Project

N = 600
LABELLED = 200


def rows(scores: Mapping[str, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    """Recorded outputs; NaN in an array means that the row has no such score."""
    return [
        {
            "id": f"q{i}",
            "output": "text",
            "scores": {name: float(v[i]) for name, v in scores.items() if not math.isnan(v[i])},
        }
        for i in range(N)
    ]


def recorded(project: Project, base: Any, cand: Any, suite: str) -> None:
    project.golden_set("questions", [{"id": f"q{i}", "input": f"question {i}"} for i in range(N)])
    project.candidate("base", rows(base))
    project.candidate("cand", rows(cand))
    project.write("suite.yaml", suite)


def documents(rise: float, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Documents of 20 to 200 tokens, the candidate's nats a token higher by log(1 + rise) on average."""
    tokens = rng.integers(20, 200, N).astype(float)
    rate = rng.uniform(1.5, 3.0, N)
    worse = math.log1p(rise) + rng.normal(0, 0.05, N)
    return {"nll": tokens * rate, "tokens": tokens}, {"nll": tokens * (rate + worse), "tokens": tokens}


PERPLEXITY = """
name: project
evals:
  - {id: lm, golden_set: ./questions, scorers: [perplexity]}
gate:
  metrics: {lm/perplexity: {max_rise: 15%}}
"""


@pytest.mark.parametrize(
    "rise, code, status", [(0.02, 0, "pass"), (0.149, 0, "underpowered"), (0.25, 1, "regression")]
)
def test_perplexity_is_judged_on_the_log_scale(project: Project, rise: float, code: int, status: str) -> None:
    base, cand = documents(rise, np.random.default_rng(1))
    recorded(project, base, cand, PERPLEXITY)
    _, found = project.compare(check=code)
    metric = found["metrics"][0]
    assert metric["status"] == status
    assert metric["baseline"] == pytest.approx(math.exp(base["nll"].sum() / base["tokens"].sum()))
    assert metric["candidate"] == pytest.approx(math.exp(cand["nll"].sum() / cand["tokens"].sum()))
    assert metric["max_drop"] == pytest.approx(0.15 * metric["baseline"])
    assert (metric["direction"], metric["kind"]) == ("lower", "log_ratio")


def test_two_tokenizers_cannot_be_compared(project: Project) -> None:
    base, cand = documents(0.0, np.random.default_rng(1))
    cand["tokens"] = cand["tokens"] + 1
    recorded(project, base, cand, PERPLEXITY)
    _, found = project.compare(check=4)
    assert "tokens differ in 600 documents" in found["metrics"][0]["problem"]


@pytest.mark.parametrize("per", ["token", "byte"])
def test_a_wider_window_is_no_better_model(project: Project, per: str) -> None:
    base, _ = documents(0.0, np.random.default_rng(1))
    suite = PERPLEXITY.replace("[perplexity]", f"[{{perplexity: {{per: {per}}}}}]")
    narrow = {**base, "window": np.full(N, 100.0)}
    recorded(project, narrow, {**base, "nll": base["nll"] * 0.9, "window": np.full(N, 150.0)}, suite)
    _, found = project.compare(check=4)
    assert "candidate: 150 tokens), and with more text before it" in found["metrics"][0]["problem"]
    # the same documents fit into both windows: nothing is read in pieces
    recorded(project, {**base, "window": np.full(N, 200.0)}, {**base, "window": np.full(N, 300.0)}, suite)
    project.compare(check=0)


def test_a_perplexity_needs_a_relative_margin(project: Project) -> None:
    base, cand = documents(0.0, np.random.default_rng(1))
    recorded(project, base, cand, PERPLEXITY.replace("15%", "2pp"))
    assert "max_rise: 5%" in project.run("compare", "base.yaml", "cand.yaml", check=2).err


JUDGED = """
name: project
evals:
  - {id: qa, golden_set: ./questions, scorers: ["recorded:judge", "recorded:human"]}
gate:
  metrics:
    qa/recorded:judge: {labels: "qa/recorded:human", drawn: random}
"""


def judged(
    flattered: float, rng: np.random.Generator, labelled: Any = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A candidate 10 points worse; a judge who calls a share `flattered` of its bad answers good."""
    noise = rng.random(N)
    good = {"base": noise < 0.85, "cand": noise < 0.75}
    picked = np.zeros(N, dtype=bool)
    picked[rng.permutation(N)[:LABELLED]] = True
    picked = picked if labelled is None else labelled(good)
    sides = []
    for side in ("base", "cand"):
        seen = np.where(rng.random(N) < 0.05, ~good[side], good[side])
        if side == "cand":
            seen = seen | (~good[side] & (rng.random(N) < flattered))
        sides.append({"judge": seen.astype(float), "human": np.where(picked, good[side], np.nan)})
    return sides[0], sides[1]


def test_labels_undo_what_a_judge_flatters(project: Project) -> None:
    base, cand = judged(0.6, np.random.default_rng(2))
    recorded(project, base, cand, JUDGED)
    _, found = project.compare(check=1)
    metric = found["metrics"][0]
    assert metric["delta"] == pytest.approx(-0.10, abs=0.04)
    assert "PPI++" in metric["test"]
    assert f"corrected by {LABELLED} labels of qa/recorded:human" in metric["note"]
    assert "orrected by 200 labels" in (project.root / "out" / "report.html").read_text()
    assert found["coverage"]["candidate"]["unscored"] == 0, "an answer nobody labelled is not unreadable"
    # the judge alone does not see it
    project.write(
        "suite.yaml", JUDGED.split("gate:")[0] + 'gate: {metrics: {"qa/recorded:human": advisory}}\n'
    )
    _, alone = project.compare(check=0)
    assert alone["metrics"][0]["delta"] > metric["delta"] + 0.05


def test_too_few_labels_are_refused(project: Project) -> None:
    few = np.zeros(N, dtype=bool)
    few[:80] = True
    base, cand = judged(0.0, np.random.default_rng(3), labelled=lambda good: few)
    recorded(project, base, cand, JUDGED)
    _, found = project.compare(check=4)
    assert "80" in found["metrics"][0]["problem"] and "100" in found["metrics"][0]["problem"]


def test_labels_of_disputed_cases_are_refused(project: Project) -> None:
    """Labelling what the two sides disagree on, and some others, is no random subset."""

    def disputed(good: Mapping[str, Any]) -> Any:
        picked = good["base"] != good["cand"]
        picked[:120] = True
        return picked

    base, cand = judged(0.0, np.random.default_rng(4), labelled=disputed)
    recorded(project, base, cand, JUDGED)
    _, found = project.compare(check=4)
    assert "random" in found["metrics"][0]["problem"]


def test_labels_that_nobody_calls_random_are_refused(project: Project) -> None:
    base, cand = judged(0.0, np.random.default_rng(5))
    for drawn in ("", ", drawn: disputed"):
        recorded(project, base, cand, JUDGED.replace(", drawn: random", drawn))
        assert "drawn" in project.run("compare", "base.yaml", "cand.yaml", check=2).err
