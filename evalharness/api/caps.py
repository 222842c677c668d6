"""Which caps the estimate of a plan says would stop its run, and what no cap and no count holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalharness.core.plans import SetCost, SideCost
    from evalharness.core.protocols import Scorer
    from evalharness.core.suites import Suite
    from evalharness.engine.estimate import Stage
    from evalharness.engine.sides import SideSource


def over_caps(
    sides: Sequence[tuple[str, SideSource]],
    costs: Sequence[SideCost],
    suite: Suite,
    judges: Sequence[SideCost],
) -> Iterator[str]:
    """Caps of a candidate's or a judge's file, and then of the suite's budget, that may stop the run."""
    asked = [(source.model.limits if source.model else None) for _, source in sides]
    asked += [member.limits for _, _, judge in suite.judged for member in judge.panel or (judge,)]
    for limits, cost in zip(asked, (*costs, *judges), strict=True):
        if limits is None:
            continue
        role, last = cost.label, cost.stages[-1]
        tokens = _tokens(last.total)
        if limits.max_cost_usd is not None and last.usd is not None and last.usd > limits.max_cost_usd:
            yield f"{role}: limits.max_cost_usd ({limits.max_cost_usd:g}) may stop its run"
        if limits.max_tokens_total is not None and tokens is not None and tokens > limits.max_tokens_total:
            yield f"{role}: limits.max_tokens_total ({limits.max_tokens_total:,}) may stop its run"
    yield from _over_budget(suite, [cost for cost in (*costs, *judges) if cost.stages[-1].total.calls])


def _over_budget(suite: Suite, costs: Sequence[SideCost]) -> Iterator[str]:
    """`costs` are of those that are asked. What nobody knows beforehand is said where it is capped."""
    budget = suite.budget
    if budget is None or not costs:
        return
    calls = sum(cost.stages[-1].total.calls + cost.confirming for cost in costs)
    if budget.calls is not None and calls > budget.calls:
        yield f"budget.calls ({budget.calls:,}) may stop the comparison: {calls:,} are planned, retries not among them"
    tokens = [_tokens(cost.stages[-1].total) for cost in costs]
    told = sum(count for count in tokens if count is not None)
    if budget.tokens is not None and told > budget.tokens:
        yield f"budget.tokens ({budget.tokens:,}) may stop the comparison: it may take {told:,}"
    elif budget.tokens is not None and None in tokens:
        yield f"budget.tokens ({budget.tokens:,}): whether it is enough is not known; state decoding.max_tokens"
    if budget.usd is None:
        return
    unpriced = [cost.name for cost in costs if not cost.priced]
    if unpriced:
        yield (
            f"budget.usd is set and the price of {' and '.join(unpriced)} is not known, which compare refuses; add "
            "`price: {input_per_million: …, output_per_million: …}`"
        )
        return
    money = [cost.stages[-1].usd for cost in costs]
    spent = sum(usd for usd in money if usd is not None)
    if spent > budget.usd:
        yield f"budget.usd (${budget.usd:g}) may stop the comparison: it may cost ${spent:,.2f}"
    elif None in money:
        yield f"budget.usd (${budget.usd:g}): whether it is enough is not known; state decoding.max_tokens"


def uncounted(
    suite: Suite,
    scorers: Mapping[str, Scorer],
    sides: Sequence[tuple[str, SideSource]],
    costs: Sequence[SideCost],
    last: Stage,
) -> Iterator[str]:
    """Calls that others make than the engine: in no count of the plan, and held by no cap or budget.

    Args:
        suite: what is run.
        scorers: by metric id.
        sides: by role.
        costs: of the sides.
        last: the point up to which is asked at most.
    """
    for metric_id, item, _ in suite.metrics:
        each = getattr(scorers[metric_id], "calls", None)
        if each is None:
            continue
        asked = last.asked[item.golden_set.name]
        one = sum(each(case) for case in item.golden_set.cases if case.id in asked)
        count = one * sum(max(last.repeats or 1, cost.repeats) for cost in costs)
        yield (
            f"{metric_id} asks a model itself, about {count:,} times: in no count and no price here, and no cap or "
            "budget holds for it (values that are kept, and equal answers, cost nothing)"
        )

    by_inspect = [item.id for item in suite.evals if item.benchmark and item.benchmark.runner == "inspect"]
    for (role, source), cost in zip(sides, costs, strict=True):
        model = source.model
        if model is None or not cost.stages[-1].total.calls:
            continue
        if model.provider == "inspect" and by_inspect:
            yield (
                f"{role}: provider inspect is asked by Inspect itself in {' and '.join(by_inspect)}: no cap or budget "
                "holds for these calls"
            )
        if model.provider == "embeddings" and model.options.get("base_url"):
            yield (
                f"{role}: the server also embeds the documents whose vectors are not kept: in no count and no price "
                "here, and no cap or budget holds for it"
            )


def _tokens(total: SetCost) -> int | None:
    if total.input_tokens is None or total.output_tokens is None:
        return None
    return total.input_tokens + total.output_tokens
