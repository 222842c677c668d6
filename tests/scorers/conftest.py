"""Short ways to write a case and a response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Score, Scored

ScoreFn = Callable[..., Score]


@pytest.fixture(scope="session")
def score() -> ScoreFn:
    """score(scorer, output, *targets, choices=()) → Score"""

    def run(scorer: Any, output: str, *targets: Any, choices: tuple[str, ...] = ()) -> Score:
        return scorer.score(Case(id="c", targets=targets, choices=choices), Response(text=output))

    return run


@pytest.fixture(scope="session")
def value(score: ScoreFn) -> Callable[..., float]:
    """value(scorer, output, *targets, choices=()) → the number, asserting that there is one"""

    def run(*args: Any, **kwargs: Any) -> float:
        found = score(*args, **kwargs)
        assert isinstance(found, Scored), found
        return found.value

    return run
