"""What batch scorers say is kept as they go, and known by what it stands for."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evalharness.core.attempts import Attempt, Response
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.scores import Metric, Score, Scored
from evalharness.core.suites import EvalSpec, GatePolicy, Margin, ScorerSpec, Suite
from evalharness.engine.scoring import score_attempts
from evalharness.store.scores import ScoreCache


class Counting:
    """Counts what it is asked, and stops the run at the answer `stop`."""

    name: ClassVar[str] = "counting"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    def __init__(self, weights: str = "a", stop: str = "") -> None:
        self.identity = {"weights": weights}
        self.stop = stop
        self.asked: list[str] = []

    @property
    def metric(self) -> Metric:
        return Metric(direction="higher", unit="fraction", kind="bounded")

    def score(self, case: Case, response: Response) -> Score:
        return self.score_many([(case, response)])[0]

    def score_many(self, items: Sequence[tuple[Case, Response]]) -> Sequence[Score]:
        texts = [response.text for _, response in items]
        if self.stop in texts:
            raise KeyboardInterrupt
        self.asked += texts
        return [Scored(0.5) for _ in texts]


def run(scorer: Counting, kept: ScoreCache, n: int = 600, **params: Any) -> None:
    cases = tuple(Case(id=f"q{i}", input="?") for i in range(n))
    golden_set = GoldenSet(card=Card(name="s", version="1", task="t"), cases=cases, digest="d")
    spec = ScorerSpec(name="counting", id="counting", params=params)
    suite = Suite(
        name="s",
        evals=(EvalSpec(id="e", golden_set=golden_set, scorers=(spec,)),),
        gate=GatePolicy(max_drop=Margin(amount=Fraction(1, 50), relative=False)),
        digest="d",
    )
    attempts = {
        (case.id, 0): Attempt(golden_set="s", case_id=case.id, repeat=0, outcome=Response(text=f"answer {i}"))
        for i, case in enumerate(cases)
    }
    scores = score_attempts(suite, {"s": attempts}, {"e/counting": scorer}, kept=kept)
    assert len(scores["e/counting"]) == n


def test_a_killed_run_asks_no_more_than_its_last_part_again(tmp_path: Path) -> None:
    kept = ScoreCache(tmp_path / "scores.sqlite")
    killed = Counting(stop="answer 599")
    with pytest.raises(KeyboardInterrupt):
        run(killed, kept)
    again = Counting()
    run(again, kept)
    assert len(killed.asked) == 512
    assert sorted(killed.asked + again.asked) == sorted(f"answer {i}" for i in range(600))


def test_scores_are_known_by_identity_and_not_by_parameters(tmp_path: Path) -> None:
    kept = ScoreCache(tmp_path / "scores.sqlite")
    first, elsewhere, other = Counting("a"), Counting("a"), Counting("b")
    run(first, kept, 3, model="/here/weights")
    run(elsewhere, kept, 3, model="/there/weights")
    run(other, kept, 3, model="/here/weights")
    assert [len(scorer.asked) for scorer in (first, elsewhere, other)] == [3, 0, 3]


@pytest.mark.parametrize(
    "row", ["NaN", '"text"', "{}", "[1]", '{"value": 1, "stats": {"n": Infinity}}', "{", "9" * 400]
)
def test_a_damaged_row_is_no_score(tmp_path: Path, row: str) -> None:
    kept = ScoreCache(tmp_path / "scores.sqlite")
    run(Counting(), kept, 3)
    with contextlib.closing(sqlite3.connect(tmp_path / "scores.sqlite")) as db, db:
        db.execute("UPDATE scores SET score = ? WHERE rowid = 1", (row,))
    again = Counting()
    run(again, kept, 3)
    assert len(again.asked) == 1
