"""The perplexity scorer: what it reads, what it refuses, and that the whole is no mean of its parts."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.protocols import CorpusScorer
from evalharness.core.scores import Metric, Scored, Unscored
from evalharness.plugins.builtins import BUILTINS
from evalharness.scorers.perplexity import Perplexity

CASE = Case(id="d")


def score(scores: dict[str, Any], **parameters: str) -> Scored | Unscored:
    return Perplexity(**parameters).score(CASE, Response(text="", scores=scores))


def test_a_document_has_its_own_perplexity_and_the_two_sums() -> None:
    found = score({"nll": 412.5, "tokens": 180})
    assert found == Scored(math.exp(412.5 / 180), stats={"nll": 412.5, "tokens": 180.0})


def test_the_names_in_the_recording_can_differ_and_the_statistics_keep_theirs() -> None:
    found = score({"sum_nll": 10.0, "n_tok": 5, "nll": -1.0}, nll="sum_nll", tokens="n_tok")
    assert isinstance(found, Scored)
    assert found.stats == {"nll": 10.0, "tokens": 5.0}


def test_a_document_that_was_read_in_pieces_says_of_which_length() -> None:
    whole, cut = (score({"nll": 9.0, "tokens": 64, "window": window}) for window in (64, 63))
    assert isinstance(whole, Scored) and "window" not in whole.stats
    assert isinstance(cut, Scored) and cut.stats["window"] == 63.0


def test_a_certain_model_has_perplexity_one_the_lowest_there_is() -> None:
    found = score({"nll": 0, "tokens": 3})
    assert isinstance(found, Scored)
    assert found.value == 1.0 == Perplexity().metric.low


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ({}, "no recorded score 'nll'"),
        ({"nll": 3.0}, "no recorded score 'tokens'"),
        ({"nll": None, "tokens": 3}, "no recorded score 'nll'"),
        ({"nll": "3", "tokens": 3}, "'nll' is not a number"),
        ({"nll": True, "tokens": 3}, "'nll' is not a number"),
        ({"nll": math.nan, "tokens": 3}, "'nll' is not finite"),
        ({"nll": math.inf, "tokens": 3}, "'nll' is not finite"),
        ({"nll": 10**400, "tokens": 3}, "'nll' is not finite"),
        ({"nll": 3.0, "tokens": math.inf}, "'tokens' is not finite"),
        ({"nll": 3.0, "tokens": 0}, "'tokens' must be a count of 1 or more"),
        ({"nll": 3.0, "tokens": -2}, "'tokens' must be a count of 1 or more"),
        ({"nll": -3.0, "tokens": 2}, "must be the negative log-likelihood"),
        ({"nll": 1e6, "tokens": 1}, "1e[+]06 nats a token is no perplexity"),
        ({"nll": 1e300, "tokens": 1e-300}, "'tokens' must be a count of 1 or more"),
    ],
)
def test_what_cannot_be_read_is_unscored_and_says_why(scores: dict[str, Any], why: str) -> None:
    found = score(scores)
    assert isinstance(found, Unscored)
    assert re.search(why, found.reason)


def test_the_metric_weighs_documents_by_their_tokens() -> None:
    documents = [score({"nll": 400.0, "tokens": 100}), score({"nll": 150.0, "tokens": 150})]
    rows = np.array([[d.stats["nll"], d.stats["tokens"]] for d in documents if isinstance(d, Scored)])
    names = ("nll", "tokens")
    whole = Perplexity().corpus(names, rows.sum(axis=0))
    assert whole == pytest.approx(math.exp(550 / 250))
    assert whole != pytest.approx(np.mean([d.value for d in documents if isinstance(d, Scored)]))
    stacked = Perplexity().corpus(names, np.stack((rows, rows[::-1])))
    assert stacked.shape == (2, 2)
    assert stacked[0] == pytest.approx([math.e**4, math.e])
    assert Perplexity().breakdown(names, rows.sum(axis=0)) == {}


@pytest.mark.parametrize(
    ("names", "sums"), [((), np.zeros(0)), (("nll", "tokens"), np.zeros(2)), (("nll",), np.ones(1))]
)
def test_the_perplexity_of_nothing_is_refused(names: tuple[str, ...], sums: Any) -> None:
    with pytest.raises(ValueError, match="at least one document with tokens"):
        Perplexity().corpus(names, sums)


def test_a_failed_document_has_no_worst_perplexity() -> None:
    scorer = Perplexity()
    assert isinstance(scorer, CorpusScorer)
    assert scorer.metric == Metric(direction="lower", unit="perplexity", kind="log_ratio", low=1.0, high=None)
    assert scorer.metric.worst is None
    with pytest.raises(ValueError, match="no worst value"):
        scorer.worst(CASE)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"nll": ""}, "nll must be a text"),
        ({"tokens": 3}, "tokens must be a text"),
        ({"nll": "x", "tokens": "x"}, "not both 'x'"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Perplexity(**parameters)


def test_it_is_listed_under_its_name_and_loads_no_heavy_library() -> None:
    assert BUILTINS["scorers"][Perplexity.name] == "evalharness.scorers.perplexity:Perplexity"
    code = "import sys, evalharness.scorers.perplexity; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
