"""What a suite's scorers need, asked for before the first call is paid."""

from __future__ import annotations

from collections.abc import Mapping

from evalharness.core.protocols import Provider, Scorer
from evalharness.core.suites import Suite
from evalharness.engine.scoring import build_scorers
from evalharness.errors import UsageError
from evalharness.plugins import Registry


def refuse_unready(suite: Suite, registry: Registry) -> None:
    """Refuse to ask a model for answers that could not be scored here.

    Raises:
        UsageError: a library or a sandbox is missing; says what to do.
    """
    for scorer in build_scorers(suite, registry).values():
        ready = getattr(scorer, "ready", None)
        if ready is not None:
            ready()


def refuse_few_repeats(scorers: Mapping[str, Scorer], repeats: int, name: str) -> None:
    """Refuse a run whose cases have too few answers for a metric (pass@5 of two).

    Args:
        scorers: by metric id.
        repeats: answers to each case.
        name: whose they are, as the sentence calls it.

    Raises:
        UsageError: names each such metric, and the number that would do.
    """
    short = {
        metric_id: least
        for metric_id, scorer in scorers.items()
        if (least := getattr(scorer, "least_repeats", 1)) > repeats
    }
    if short:
        needs = " and ".join(f"{metric_id} needs {least}" for metric_id, least in short.items())
        answers = "1 answer" if repeats == 1 else f"{repeats} answers"
        raise UsageError(
            f"{name}: {needs} answers to each case, and this run has {answers}; "
            f"write `repeats: {max(short.values())}` in the candidate's file"
        )


def refuse_shallow(scorers: Mapping[str, Scorer], provider: Provider, name: str) -> None:
    """Refuse a retriever that gives fewer documents than a metric reads (recall@50 of ten).

    Args:
        scorers: by metric id.
        provider: who is asked; `depth`, where it has one, is how many documents it gives at most.
        name: whose it is, as the sentence calls it.

    Raises:
        UsageError: names each such metric, and the number that would do.
    """
    depth = getattr(provider, "depth", None)
    reads = {
        metric_id: k
        for metric_id, scorer in scorers.items()
        if depth is not None and "relevant" in scorer.needs
        if isinstance(k := getattr(scorer, "k", None), int) and k > depth
    }
    if reads:
        needs = " and ".join(f"{metric_id} reads {k}" for metric_id, k in reads.items())
        raise UsageError(
            f"{name}: {needs} documents of each ranking, and this retriever gives {depth}; "
            f"write `top_k: {max(reads.values())}` in the candidate's file"
        )
