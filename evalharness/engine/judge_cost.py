"""What the judges of a comparison would cost, without a call and without writing anything.

Answers that are there already are judged on paper: equal ones cost nothing, and verdicts in the cache are found as the
comparison would find them. Of answers that are still to be given nothing is known, so each counts as one that must be
judged; there the numbers are upper bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import ceil
from statistics import fmean
from typing import Final

from evalharness.core.attempts import Attempt, Response
from evalharness.core.cases import Case
from evalharness.core.judges import Judge
from evalharness.core.plans import SetCost, SideCost, StageCost
from evalharness.core.suites import EvalSpec, Suite
from evalharness.engine.asking import make_provider
from evalharness.engine.collect import answers_there
from evalharness.engine.estimate import CHARACTERS_PER_TOKEN, Stage
from evalharness.engine.judging import (
    Item,
    Prompt,
    is_settled,
    judge_as_candidate,
    orders_of,
    prompt_of,
    prompts_as_suite,
)
from evalharness.engine.plan import cache_key, cache_keys, make_plan
from evalharness.engine.sides import SideSource, Surroundings
from evalharness.engine.sink import FullKey
from evalharness.engine.spending import cost_usd
from evalharness.spec.judges import RECORDED
from evalharness.store.cache import known_keys

_SAMPLE: Final = 50
"""Prompts that stand for those whose answers are not there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one side would answer: what is there, and how many tokens an answer takes that is not (None: unknown)."""

    repeats: int
    fixed: bool
    there: Mapping[FullKey, Attempt]
    tokens: float | None

    def of(self, name: str, case: Case, repeats: int) -> list[str | None]:
        """The answers to a case, None where one is still to be given; failed ones are left out."""
        found: list[str | None] = []
        for repeat in range(self.repeats if self.fixed else max(repeats, self.repeats)):
            attempt = self.there.get((name, case.id, repeat))
            if attempt is None:
                found.append(None)
            elif isinstance(attempt.outcome, Response):
                found.append(attempt.outcome.text)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a judge would be asked up to one point: prompts that are known, and cases, once an item, of which no prompt
    is known. `each` is the number of orders of an item.
    """

    prompts: Mapping[str, Prompt]
    unknown: Sequence[Case]
    each: int


def side_answers(source: SideSource, cost: SideCost, suite: Suite, around: Surroundings) -> Answers:
    """The answers of a side that are there. `cost` is what `estimate_side` says of it.

    Raises:
        StoreError, SpecError: what is stored or recorded cannot be read.
    """
    total = cost.stages[-1].total
    tokens = total.output_tokens / total.calls if total.calls and total.output_tokens is not None else None
    if source.model is None:
        run, _ = source.obtain(suite, around)
        there = {(name, *key): a for name, group in run.attempts.items() for key, a in group.items()}
        return Answers(repeats=run.repeats, fixed=True, there=there, tokens=None)
    fixed = source.fixed(around.registry)
    there = {}
    if fixed or not around.how.fresh:
        there = answers_there(suite, source.model, cost.repeats, around.registry, around.how)
    return Answers(repeats=cost.repeats, fixed=fixed, there=there, tokens=tokens)


def estimate_judges(
    suite: Suite, sides: tuple[Answers, Answers], stages: Sequence[Stage], around: Surroundings
) -> tuple[SideCost, ...]:
    """Verdicts, calls, tokens and money of every judge of a suite; each member of a panel is one.

    Args:
        suite: what would be compared.
        sides: of baseline and candidate.
        stages: points up to which the sides may be asked, at least one.
        around: store, registry and the like.
    """
    found = []
    for item in suite.evals:
        if item.judge is not None:
            for member in item.judge.panel or (item.judge,):
                found.append(_Asking(suite, item, item.judge, member, sides, around).cost(stages))
    return tuple(found)


class _Asking:
    """The cost of one judge on one eval."""

    def __init__(
        self,
        suite: Suite,
        item: EvalSpec,
        judge: Judge,
        member: Judge,
        sides: tuple[Answers, Answers],
        around: Surroundings,
    ) -> None:
        self._redact = suite.redact
        self._item = item
        self._judge = member
        self._sides = sides
        self._around = around
        self._orders = orders_of(item.golden_set, judge)

    def cost(self, stages: Sequence[Stage]) -> SideCost:
        judge = self._judge
        recorded = judge.provider == RECORDED
        works = [self._work(stage) for stage in stages]
        most = judge.decoding.get("max_tokens")
        out = "unknown, since decoding.max_tokens is not set"
        if most is not None:
            out = f"at most decoding.max_tokens ({most:,}) each"
        return SideCost(
            role="judge",
            name=judge.name,
            eval=self._item.id,
            repeats=1,
            answers_from="recording" if recorded else "calls",
            stages=tuple(
                self._stage(stage, work, recorded) for stage, work in zip(stages, works, strict=True)
            ),
            input_basis="text",
            output_basis="unknown" if most is None else "limit",
            tokens_from=f"input: a rough estimate, a quarter of the prompts' characters; output: {out}",
            priced=judge.price is not None,
            listed=judge.price.listed if judge.price is not None else "",
            upper=not recorded and any(work.unknown for work in works),
        )

    def _work(self, stage: Stage) -> _Work:
        name = self._item.golden_set.name
        asked = stage.asked[name]
        prompts: dict[str, Prompt] = {}
        unknown: list[Case] = []
        each = 1
        for case in self._item.golden_set.cases:
            if case.id not in asked:
                continue
            orders = self._orders[case.id]
            each = len(orders)
            for texts in self._texts(case, stage.repeats or 1):
                item = None if texts is None else Item(case=case, repeat=0, role="pair", texts=texts)
                if item is not None and is_settled(self._judge, item):
                    continue
                if item is None or self._judge.provider == RECORDED:  # there is no prompt
                    unknown.append(case)
                    continue
                for prompt in (prompt_of(self._judge, item, order) for order in orders):
                    prompts[prompt.key] = prompt
        return _Work(prompts=prompts, unknown=unknown, each=each)

    def _texts(self, case: Case, repeats: int) -> Iterator[tuple[str, ...] | None]:
        """What would be judged of a case; None: it takes an answer that is still to be given."""
        left, right = (side.of(self._item.golden_set.name, case, repeats) for side in self._sides)
        if self._judge.mode != "pairwise":
            yield from (None if text is None else (text,) for text in (*left, *right))
            return
        if not left:
            return
        for place, text in enumerate(right):
            other = left[place % len(left)]
            yield None if None in left or other is None or text is None else (other, text)

    def _stage(self, stage: Stage, work: _Work, recorded: bool) -> StageCost:
        name = self._item.golden_set.name
        verdicts = len(work.prompts) + len(work.unknown) * work.each
        known = [] if recorded else self._open(list(work.prompts.values()))
        calls = 0 if recorded else len(known) + len(work.unknown) * work.each
        most = self._judge.decoding.get("max_tokens")
        tokens_in = 0 if calls == 0 else self._tokens(known, work)
        tokens_out = None if most is None and calls else calls * (most or 0)
        row = SetCost(
            golden_set=name,
            cases=len(stage.asked[name]),
            answers=verdicts,
            stored=verdicts - calls,
            calls=calls,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
        )
        return StageCost(name=stage.name, sets=(row,), usd=self._usd(row))

    def _usd(self, row: SetCost) -> float | None:
        if row.calls == 0:
            return 0.0
        if self._judge.price is None or row.input_tokens is None or row.output_tokens is None:
            return None
        return cost_usd(self._judge.price, row.input_tokens, row.output_tokens)

    def _open(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """Those whose verdict is not in the cache."""
        how = self._around.how
        candidate = judge_as_candidate(self._judge)
        provider = make_provider(candidate, self._around.registry)
        if how.fresh or not provider.cacheable or not prompts:
            return list(prompts)
        plan = make_plan(
            prompts_as_suite(self._item, prompts, self._redact),
            candidate,
            repeats=1,
            recorded=False,
            provider_version=provider.version,
        )
        keys = {
            r.case.id: cache_keys(cache_key(candidate, r, provider.version), plan.redacted)
            for r in plan.requests
        }
        known = known_keys(how.store.cache_path, chain.from_iterable(keys.values()))
        return [prompt for prompt in prompts if known.isdisjoint(keys[prompt.key])]

    def _tokens(self, known: Sequence[Prompt], work: _Work) -> int | None:
        """Tokens in: a quarter of the characters; of answers to come, what the side is reckoned to say."""
        characters = float(sum(len(m.content) for prompt in known for m in prompt.messages))
        if work.unknown:
            pairwise = self._judge.mode == "pairwise"
            given = [side.tokens for side in self._sides if not side.fixed]
            if None in given:
                return None
            said = fmean([tokens for tokens in given if tokens is not None] or [0.0])
            step = ceil(len(work.unknown) / _SAMPLE)
            sizes = [self._size(case, pairwise) for case in islice(work.unknown, 0, None, step)]
            answers = (2 if pairwise else 1) * said * CHARACTERS_PER_TOKEN
            characters += (fmean(sizes) + answers) * len(work.unknown) * work.each
        return ceil(characters / CHARACTERS_PER_TOKEN)

    def _size(self, case: Case, pairwise: bool) -> int:
        """Characters of a prompt around the answers."""
        order = self._orders[case.id][0]
        item = Item(case=case, repeat=0, role="pair", texts=("", "") if pairwise else ("",))
        return sum(len(m.content) for m in prompt_of(self._judge, item, order).messages)
