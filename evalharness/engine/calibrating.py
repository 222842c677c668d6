"""A judge on its human labels: the labelled texts become what is judged, the way the answers of a comparison do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from evalharness._canon import digest
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.judges import Judge, JudgedEval, Judgment, Label, Order
from evalharness.core.suites import EvalSpec, GatePolicy, Margin, Suite
from evalharness.engine.asking import Collecting
from evalharness.engine.judging import Item, Judging, first_orders
from evalharness.judging.combine import combine_pair
from evalharness.plugins import Registry
from evalharness.spec.judges import RECORDED

LABELLED: Final = "calibration"
"""What the labelled items are called where cases have a golden set: in recorded verdicts, and in the store."""
_ORDERS: Final[tuple[Order, ...]] = ("AB", "BA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a judge said of one labelled item.

    `value`: of the second answer against the first, or of the one answer, in [0, 1]; None where there is none, and
    `judgment.problem` says why. `orders`: pairwise, the preference for the second answer with the first one shown
    first, and shown second; None where there is no verdict in that order.
    """

    label: Label
    judgment: Judgment
    value: float | None
    orders: tuple[float | None, float | None]


def judge_labels(
    judge: Judge, labels: Sequence[Label], registry: Registry, how: Collecting
) -> tuple[JudgedEval, tuple[Heard, ...]]:
    """Have `labels`, one an item, judged by the very path that a comparison takes.

    Pairs are asked in both orders also where the judge otherwise asks each of them once: how often the order changes
    a verdict is to be measured. Its `value` is then that of the one order it would have been asked in.

    Raises:
        ProviderError, BudgetError, StoreError, UsageError: as `collect` does. SpecError: recorded verdicts are wrong.
    """
    cases = tuple(
        Case(
            id=label.id,
            input=label.input,
            contexts=label.contexts,
            targets=() if label.target is None else (label.target,),
        )
        for label in labels
    )
    pairwise = judge.mode == "pairwise"
    drawn = judge.orders == "random" and judge.provider != RECORDED
    items = [
        Item(case=case, repeat=0, role="pair" if pairwise else "candidate", texts=label.answers)
        for case, label in zip(cases, labels, strict=True)
    ]
    asked = replace(judge, orders="both")
    item = _eval(judge, cases)
    judging = Judging(_suite(item), registry, how, others=True)
    heard = judging.hear(item, asked, items)
    once = first_orders(item.golden_set, judge) if drawn else {}
    found = []
    for label, judgment in zip(labels, heard.judgments, strict=True):
        first, second = (_in_order(judge, judgment, order) for order in _ORDERS)
        value = judgment.value
        if drawn and judgment.votes and pairwise:
            value = first if once[label.id] == "AB" else second
        found.append(Heard(label=label, judgment=judgment, value=value, orders=(first, second)))
    return replace(heard, judge=judge), tuple(found)


def _in_order(judge: Judge, judgment: Judgment, order: Order) -> float | None:
    """The judge's or the panel's preference from the votes in one order."""
    votes = [vote for vote in judgment.votes if vote.order == order]
    if not votes:
        return None
    alone = replace(judge, orders="random")
    return combine_pair(
        alone, votes, golden_set=judgment.golden_set, case_id=judgment.case_id, repeat=judgment.repeat
    ).value


def _eval(judge: Judge, cases: tuple[Case, ...]) -> EvalSpec:
    identity = digest([[case.id, case.input, case.contexts, case.targets] for case in cases])
    card = Card(name=LABELLED, version="1", task="")
    golden_set = GoldenSet(card=card, cases=cases, digest=identity)
    return EvalSpec(id=LABELLED, golden_set=golden_set, scorers=(), judge=judge)


def _suite(item: EvalSpec) -> Suite:
    return Suite(
        name=LABELLED,
        evals=(item,),
        gate=GatePolicy(max_drop=Margin(Fraction(1, 50), relative=False)),
        digest=item.golden_set.digest,
    )
