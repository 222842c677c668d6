"""Attempts → scores. A scorer that raises leaves a typed Unscored, never a crash and never a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.candidates import Price
from evalharness.core.cases import Case
from evalharness.core.protocols import BatchScorer, FailureScorer, IdentifiedScorer, Scorer
from evalharness.core.runs import AttemptKey
from evalharness.core.scores import Score, Scored, Unscored
from evalharness.core.suites import ScorerSpec, Suite
from evalharness.engine.spending import cost_usd, tokens_of
from evalharness.errors import EvalHarnessError, MissingExtraError
from evalharness.plugins import Registry
from evalharness.redaction import Arrival
from evalharness.store.scores import ScoreCache, score_key

_AT_ONCE: Final = 256
"""Responses a batch scorer reads before what it says is kept: what a killed run pays again."""


def build_scorer(spec: ScorerSpec, registry: Registry) -> Scorer:
    """The scorer a suite names. The suite was validated, so bad parameters do not get here."""
    scorer: Scorer = registry.load("scorers", spec.name)(**spec.params)
    return scorer


def build_scorers(suite: Suite, registry: Registry) -> dict[str, Scorer]:
    """Every scorer of a suite by metric id, in suite order."""
    return {metric_id: build_scorer(spec, registry) for metric_id, _, spec in suite.metrics}


def metric_sets(suite: Suite) -> dict[str, str]:
    """Metric id → the golden set it is computed on."""
    return {metric_id: item.golden_set.name for metric_id, item, _ in suite.metrics}


def score_attempts(
    suite: Suite,
    attempts: Mapping[str, Mapping[AttemptKey, Attempt]],
    scorers: Mapping[str, Scorer],
    *,
    price: Price | None = None,
    kept: ScoreCache | None = None,
    arrive: Arrival | None = None,
) -> dict[str, dict[AttemptKey, Score]]:
    """Score every attempt with every scorer of its eval. Failures have no score but where a scorer reads them, too.

    Args:
        suite: the evals.
        attempts: by golden set.
        scorers: by metric id.
        price: the candidate's, for the cost of each response; None: not known.
        kept: what batch scorers said before, and where what they say now is kept.
        arrive: what becomes of what a score tells of a case beside its value; None: nothing.

    Raises:
        UsageError: a batch scorer cannot score at all (a library or a sandbox is missing).
    """
    clean = (arrive or Arrival(suite.redact)).score
    scores: dict[str, dict[AttemptKey, Score]] = {}
    for item in suite.evals:
        group = attempts[item.golden_set.name]
        cases = {case.id: case for case in item.golden_set.cases}
        answered = {
            key: (cases[key[0]], _priced(attempt.outcome, price))
            for key, attempt in group.items()
            if isinstance(attempt.outcome, Response)
        }
        for spec in item.scorers:
            metric_id = f"{item.id}/{spec.id}"
            scorer = scorers[metric_id]
            if isinstance(scorer, BatchScorer):
                found = _score_many(scorer, spec, answered, kept, suite.redact.identity, clean)
            else:
                found = {key: clean(_score_one(scorer, *pair)) for key, pair in answered.items()}
            if isinstance(scorer, FailureScorer):
                found = _with_failures(scorer, group, cases, found, clean)
            scores[metric_id] = found
    return scores


def _priced(response: Response, price: Price | None) -> Response:
    if price is None or response.usage is None:
        return response
    tokens_in, tokens_out, known = tokens_of(response)
    return replace(response, cost_usd=cost_usd(price, tokens_in, tokens_out)) if known else response


def _score_one(scorer: Scorer, case: Case, response: Response) -> Score:
    try:
        return _checked(scorer.score(case, response))
    except MissingExtraError:  # the same for every answer, and for the user to mend
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the reason is kept and shown
        return _raised(error)


def _score_many(
    scorer: BatchScorer,
    spec: ScorerSpec,
    answered: Mapping[AttemptKey, tuple[Case, Response]],
    kept: ScoreCache | None,
    identity: Sequence[Any],
    clean: Callable[[Score], Score],
) -> dict[AttemptKey, Score]:
    """What is kept, and the scorer for the rest: each distinct pair of case and response is read once."""
    params = scorer.identity if isinstance(scorer, IdentifiedScorer) else spec.params
    keys = {
        key: score_key(spec.name, scorer.version, params, *pair, identity) for key, pair in answered.items()
    }
    found = kept.get_many(list(keys.values())) if kept is not None else {}
    known = {name: clean(score) for name, score in found.items()}
    rest = {name: answered[key] for key, name in keys.items() if name not in known}
    names = list(rest)
    for start in range(0, len(names), _AT_ONCE):
        part = names[start : start + _AT_ONCE]
        said = _asked(scorer, [rest[name] for name in part])
        new = {name: clean(score) for name, score in zip(part, said, strict=True)}
        if kept is not None:  # what could not be scored now may be scored next time
            kept.put_many({name: score for name, score in new.items() if isinstance(score, Scored)})
        known |= new
    return {key: known[name] for key, name in keys.items()}


def _asked(scorer: BatchScorer, items: Sequence[tuple[Case, Response]]) -> list[Score]:
    """What a batch scorer says now."""
    try:
        given = scorer.score_many(items)
    except EvalHarnessError:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the reason is kept and shown
        return [_raised(error)] * len(items)
    if len(given) != len(items):
        return [Unscored(f"scorer gave {len(given)} scores for {len(items)} responses")] * len(items)
    return [_checked(score) for score in given]


def _with_failures(
    scorer: FailureScorer,
    group: Mapping[AttemptKey, Attempt],
    cases: Mapping[str, Case],
    found: Mapping[AttemptKey, Score],
    clean: Callable[[Score], Score],
) -> dict[AttemptKey, Score]:
    """The scores in the attempts' order, failed attempts among them."""
    every: dict[AttemptKey, Score] = {}
    for key, attempt in group.items():
        outcome = attempt.outcome
        if not isinstance(outcome, Failure):
            every[key] = found[key]
            continue
        try:
            every[key] = clean(_checked(scorer.score_failure(cases[key[0]], outcome)))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the reason is kept and shown
            every[key] = clean(_raised(error))
    return every


def _raised(error: Exception) -> Unscored:
    return Unscored(f"scorer raised {type(error).__name__}: {str(error)[:200]}")


def _checked(score: object) -> Score:
    """A score that can be stored and read back to the same, whatever a plugin handed over."""
    if isinstance(score, Unscored):
        return score
    if not isinstance(score, Scored):
        return Unscored(f"scorer gave {type(score).__name__}, not a score")
    given: Any = score.value
    if type(given) is not float or score.stats or score.detail:
        stats = {name: float(number) for name, number in score.stats.items()}
        score = Scored(float(given), stats, _plain(score.detail))
    if not math.isfinite(score.value) or not all(map(math.isfinite, score.stats.values())):
        return Unscored("scorer gave a value that is not finite")
    return score


def _plain(value: Any) -> Any:
    """Detail as JSON data: what has no JSON form is shown as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
