"""What every side and judge of a command needs, looked at before the first call of any of them is paid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Provider, Request
from evalharness.core.suites import Suite
from evalharness.engine.asking import Job, make_provider, refuse_unpriced
from evalharness.engine.judging import judge_as_candidate
from evalharness.engine.plan import Asked, Plan, cache_key, cache_keys
from evalharness.engine.resume import Leftover
from evalharness.engine.sides import SideSource, Surroundings
from evalharness.engine.sink import key_of
from evalharness.errors import EvalHarnessError, Problem, SpecError
from evalharness.spec.judges import RECORDED
from evalharness.store.cache import known_keys


def refuse_unready_sides(
    sources: Sequence[SideSource],
    suite: Suite,
    around: Surroundings,
    *,
    asked: Asked | None = None,
    repeats: int | None = None,
) -> None:
    """Refuse to ask one side where another, or a judge, could not be asked after it.

    A side whose answers are all there needs neither key nor library, and is not refused for want of them. Nor are
    judges where no side is asked anything: their verdicts may be there, too.

    Args:
        sources: the sides in the order they are asked.
        suite: what is asked.
        around: store, registry and the like.
        asked: the cases to ask of each golden set, None for all.
        repeats: at least so many answers to a case; None: each side's own number.

    Raises:
        UsageError, SpecError: with every reason at once where there are several.
    """
    models = [
        replace(source.model, repeats=max(repeats or 1, source.model.repeats or 1))
        for source in sources
        if source.model is not None and not source.fixed(around.registry)
    ]
    members = [member for _, _, judge in suite.judged for member in judge.panel or (judge,)]
    judges = [judge_as_candidate(member) for member in members if member.provider != RECORDED]
    if len(models) + len(judges) < 2:
        return  # nobody is asked before the one whose own calls this would come before
    # the prompts of the first are rendered before its calls as it is
    of_sides = [_fault(model, suite if place else None, around) for place, model in enumerate(models)]
    of_judges = [_fault(judge, None, around) for judge in judges]
    if not any((*of_sides, *of_judges)):
        return
    asks = [_asks(model, suite, around, asked) for model in models]
    errors = [error for error, needed in zip(of_sides, asks, strict=True) if needed]
    errors += of_judges if any(asks) else []
    found = {str(error): error for error in errors if error is not None}
    if len(found) == 1:
        raise next(iter(found.values()))
    if found:
        raise SpecError([problem for error in found.values() for problem in _problems(error)])


def _problems(error: EvalHarnessError) -> Sequence[Problem]:
    return error.problems if isinstance(error, SpecError) else [Problem(str(error))]


def _fault(candidate: Candidate, suite: Suite | None, around: Surroundings) -> EvalHarnessError | None:
    """Why a candidate cannot be asked, None where nothing speaks against it. `suite`: whose prompts to render."""
    try:
        provider = make_provider(candidate, around.registry)
        if provider.recorded:
            return None
        ready: Callable[[], None] | None = getattr(provider, "ready", None)
        if ready is not None:
            ready()
        refuse_unpriced(candidate, around.how.purse)
        if suite is not None:
            Job.of(suite, candidate, around.registry, around.how).plan(candidate.repeats or 1)
    except EvalHarnessError as error:
        return error
    return None


def _asks(candidate: Candidate, suite: Suite, around: Surroundings, asked: Asked | None) -> bool:
    """Whether a candidate has calls to make; True where its plan cannot be made."""
    try:
        job = Job.of(suite, candidate, around.registry, around.how)
        plan = job.plan(candidate.repeats or 1)
    except EvalHarnessError:
        return True
    wanted = {key_of(request) for request in plan.wanted(asked)}
    return any(key_of(request) in wanted for request in still_open(plan, candidate, job.provider, around))


def still_open(plan: Plan, candidate: Candidate, provider: Provider, around: Surroundings) -> list[Request]:
    """The requests of a plan that would be sent: their answers are neither stored nor journaled nor cached.

    Raises:
        StoreError: what is stored cannot be read.
    """
    how = around.how
    if how.fresh:
        return list(plan.requests)
    folder = how.store.run_folder(candidate.name, plan.digest)
    left = Leftover.read(folder, plan, provider, fresh=False, commit=how.commit)
    there = left.attempts()
    missing = [request for request in plan.requests if key_of(request) not in there]
    if not left.usable or not missing:
        return missing
    keys = {key_of(r): cache_keys(cache_key(candidate, r, provider.version), plan.redacted) for r in missing}
    known = known_keys(how.store.cache_path, chain.from_iterable(keys.values()))
    return [request for request in missing if known.isdisjoint(keys[key_of(request)])]
