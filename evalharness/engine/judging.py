"""Asking judges: what is to be judged becomes a golden set of prompts, and the judge a candidate that answers it.

So a judge's replies are journaled, cached, resumed, retried and limited like any other answers. Nothing is asked
twice: replies are remembered over the looks of a comparison, equal answers share a verdict, and an answer that both
sides gave is judged once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from evalharness._canon import digest, short
from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.candidates import Candidate
from evalharness.core.cases import Card, Case, GoldenSet, Message
from evalharness.core.judges import Judge, JudgedEval, Judgment, Order, Role, Vote
from evalharness.core.runs import Run
from evalharness.core.suites import EvalSpec, GatePolicy, Margin, Redaction, Suite
from evalharness.engine.asking import Collecting
from evalharness.engine.collect import collect
from evalharness.errors import Problem, ProviderError, SpecError
from evalharness.judging.combine import combine_answer, combine_pair, identical_pair, unjudged
from evalharness.judging.detect import SHARED, STEERING, flags_of, shared_texts
from evalharness.judging.pairs import answer_pairs
from evalharness.judging.prompts import again, render, same_answer
from evalharness.judging.replies import read_reply, reply_schema, weighted
from evalharness.judging.standing import standing
from evalharness.plugins import Registry
from evalharness.spec.judges import RECORDED
from evalharness.spec.lines import capped
from evalharness.spec.verdicts import RecordedVerdict, read_verdicts, text_digest

VERSION: Final = "1"
"""Bumped when prompts or parsing change what a judge is asked or how its reply is read."""
_NOTHING: Final[Mapping[str, Any]] = {}
_SPENT: Final = ("calls", "cached", "spent_input_tokens", "spent_output_tokens", "spent_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to be judged: the texts, in the baseline-first order, and where they come from."""

    case: Case
    repeat: int
    role: Role
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One call of one judge. `key` names it, also in the response cache; `judged` are the untrusted texts in it."""

    key: str
    judge: Judge
    order: Order | None
    messages: tuple[Message, ...]
    judged: tuple[str, ...]


class Judging:
    """Judges the answers of two runs, one look after another."""

    def __init__(self, suite: Suite, registry: Registry, how: Collecting, *, others: bool = False) -> None:
        """`others`: recorded verdicts on cases that are not in the suite are passed over; otherwise an error."""
        self._suite = suite
        self._registry = registry
        self._how = how
        self._votes: dict[tuple[str, str], Vote] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._replied: dict[str, dict[str, list[Attempt]]] = {}
        known = frozenset(case.id for golden_set in suite.golden_sets for case in golden_set.cases)
        self._known = None if others else known

    def judge(
        self, cases: Mapping[str, Iterable[str]] | None, baseline: Run, candidate: Run
    ) -> tuple[JudgedEval, ...]:
        """Every judgment of the answers to `cases` (golden set → ids, None for all).

        Raises:
            ProviderError, BudgetError, StoreError, UsageError: as `collect` does. SpecError: recorded verdicts are
                wrong.
        """
        found = []
        for item in self._suite.evals:
            if item.judge is not None:
                wanted = None if cases is None else frozenset(cases[item.golden_set.name])
                found.append(self._eval(item, item.judge, wanted, baseline, candidate))
        return tuple(found)

    def _eval(
        self, item: EvalSpec, judge: Judge, wanted: frozenset[str] | None, baseline: Run, candidate: Run
    ) -> JudgedEval:
        items = list(judged_items(item, judge, wanted, baseline, candidate))
        # A recording is of verdicts that were given; whatever steered them, nothing is asked now.
        refuses = judge.flagged == "refuse" and judge.provider != RECORDED
        return self.hear(item, judge, items, refuses=refuses)

    def hear(
        self, item: EvalSpec, judge: Judge, items: Sequence[Item], *, refuses: bool = False
    ) -> JudgedEval:
        """Every judgment of `items`, in their order.

        `refuses`: a candidate's answer that tries to steer a judge, where the baseline's does not, is not judged.

        Raises:
            As `judge` does.
        """
        flags = _flags(items)
        refused = _steering(items, flags) if refuses else {}
        asked = [i for i in items if not is_settled(judge, i) and id(i) not in refused]
        orders = orders_of(item.golden_set, judge)
        votes_of: dict[int, tuple[Vote, ...]] = {id(i): () for i in asked}
        once = False
        for member in judge.panel or (judge,):
            if member.provider == RECORDED:
                found, once = _recorded(member, item, asked, self._known)
            else:
                found = self._asked(item, member, asked, orders)
            votes_of = {key: votes + found[key] for key, votes in votes_of.items()}
        combined = replace(judge, orders="random") if once and not judge.panel else judge
        judgments = tuple(
            _judgment(
                item.golden_set.name,
                combined,
                i,
                votes_of.get(id(i)),
                tuple(dict.fromkeys(chain(*flags[id(i)]))),
                refused.get(id(i)),
            )
            for i in items
        )
        return heard(item.id, judge, judgments, self._facts.get(item.id, {}))

    def _asked(
        self,
        item: EvalSpec,
        judge: Judge,
        items: Sequence[Item],
        orders: Mapping[str, Sequence[Order | None]],
    ) -> dict[int, tuple[Vote, ...]]:
        """The votes of one judge that is asked. `orders` has those that each case is shown in."""
        prompts = {id(i): [prompt_of(judge, i, order) for order in orders[i.case.id]] for i in items}
        self._ask(item, judge, [prompt for group in prompts.values() for prompt in group])
        # in the name of the judge that is asked: another may have the same digest
        return {
            key: tuple(replace(self._votes[judge.digest, p.key], judge=judge.name) for p in group)
            for key, group in prompts.items()
        }

    def _ask(self, item: EvalSpec, judge: Judge, prompts: Sequence[Prompt]) -> None:
        """Fill the votes of all prompts that have none yet; a reply that cannot be read is asked for once more."""
        still = {p.key: p for p in prompts if (judge.digest, p.key) not in self._votes}
        replies = self._replies(item, judge, still)
        unread: dict[str, Prompt] = {}
        for key, prompt in still.items():
            reply = replies[key]
            vote = self._votes[judge.digest, key] = _vote(prompt, reply)
            if vote.value is None and vote.raw and isinstance(reply, Response):
                messages = again(prompt.messages, vote.problem or "no verdict")
                unread[f"{key}#again"] = replace(prompt, key=f"{key}#again", messages=messages)
        for key, reply in self._replies(item, judge, unread).items():
            second = _vote(unread[key], reply)
            if second.value is not None:
                self._votes[judge.digest, key.removesuffix("#again")] = second

    def _replies(
        self, item: EvalSpec, judge: Judge, prompts: Mapping[str, Prompt]
    ) -> dict[str, Response | Failure]:
        if not prompts:
            return {}
        replied = self._replied.setdefault(judge.digest, {})
        suite = prompts_as_suite(item, prompts.values(), self._suite.redact)
        before = [*chain(*replied.values())]
        try:
            run, _ = collect(suite, judge_as_candidate(judge), self._registry, self._how, earlier=before)
        except ProviderError as error:
            raise type(error)(f"the judge {judge.name}: {error}") from error
        (group,) = run.attempts.values()
        replied[suite.digest] = list(group.values())
        facts = self._facts.setdefault(item.id, {})
        for name in _SPENT:
            if run.manifest["facts"].get(name) is not None:
                facts[name] = round(facts.get(name, 0) + run.manifest["facts"][name], 6)
        return {case_id: attempt.outcome for (case_id, _), attempt in group.items()}


def heard(
    name: str, judge: Judge, judgments: tuple[Judgment, ...], facts: Mapping[str, Any] = _NOTHING
) -> JudgedEval:
    """The judgments of eval `name` with the models that gave them and the standing this leaves the judge."""
    models = tuple(sorted({vote.model for judgment in judgments for vote in judgment.votes if vote.model}))
    return JudgedEval(
        eval=name,
        judge=judge,
        standing=standing(judge, models),
        judgments=judgments,
        models=models,
        facts=dict(facts),
    )


def prompt_of(judge: Judge, item: Item, order: Order | None) -> Prompt:
    """The call that asks one judge about an item."""
    answers = item.texts[::-1] if order == "BA" else item.texts
    name = order or "one"
    case = item.case
    target = str(case.targets[0]) if case.targets else None
    # a case of another golden set may have this id and these answers, to another question
    texts = digest([case.question, list(item.texts), list(case.contexts), target])
    key = f"{case.id}#{name}#{short(texts)}"
    messages = render(
        judge, input=case.question, answers=answers, contexts=case.contexts, target=target, key=key
    )
    judged = (*answers, *case.contexts, case.question)
    return Prompt(key, judge, order, messages, judged)


def judged_items(
    item: EvalSpec, judge: Judge, wanted: frozenset[str] | None, baseline: Run, candidate: Run
) -> Iterable[Item]:
    """What there is to judge, in the order of the golden set. A failed answer is not judged."""
    name = item.golden_set.name
    left, right = baseline.attempts[name], candidate.attempts[name]
    for case in item.golden_set.cases:
        if wanted is not None and case.id not in wanted:
            continue
        if judge.mode == "pairwise":
            for repeat, texts in answer_pairs(name, case.id, baseline, candidate):
                yield Item(case=case, repeat=repeat, role="pair", texts=texts)
            continue
        sides: tuple[tuple[Role, Run, Any], ...] = (
            ("baseline", baseline, left),
            ("candidate", candidate, right),
        )
        for role, run, group in sides:
            for repeat in range(run.repeats):
                text = _text(group.get((case.id, repeat)))
                if text is not None:
                    yield Item(case=case, repeat=repeat, role=role, texts=(text,))


def _text(attempt: Any) -> str | None:
    return attempt.outcome.text if attempt is not None and isinstance(attempt.outcome, Response) else None


def is_settled(judge: Judge, item: Item) -> bool:
    """Whether an item needs no call: a pair of equal answers."""
    return judge.mode == "pairwise" and same_answer(item.texts[0], item.texts[1])


def orders_of(golden_set: GoldenSet, judge: Judge) -> dict[str, Sequence[Order | None]]:
    """The orders that the answers to each case are shown in."""
    if judge.mode == "pairwise" and judge.orders == "random":
        return {case_id: (order,) for case_id, order in first_orders(golden_set, judge).items()}
    every: tuple[Order | None, ...] = ("AB", "BA") if judge.mode == "pairwise" else (None,)
    return {case.id: every for case in golden_set.cases}


def first_orders(golden_set: GoldenSet, judge: Judge) -> dict[str, Order]:
    """Which answer stands first where each pair is asked once: half of the set each way, drawn by the judge's digest.

    It depends on nothing that a look or a run could change.
    """
    ranked = sorted(golden_set.cases, key=lambda case: digest([judge.digest, golden_set.name, case.id]))
    return {case.id: "AB" if place % 2 == 0 else "BA" for place, case in enumerate(ranked)}


def _flags(items: Sequence[Item]) -> dict[int, tuple[tuple[str, ...], ...]]:
    """What is odd about each answer of each item, in the order of its texts, by the item's `id()`."""
    sides: dict[int, dict[str, tuple[str, str]]] = {}
    for item in items:
        for place, text in enumerate(item.texts):
            sides.setdefault(_side(item, place), {})[_name(item)] = (item.case.question, text)
    shared = {side: shared_texts(texts) for side, texts in sides.items()}
    return {
        id(item): tuple(
            (*flags_of(text), *((SHARED,) if _name(item) in shared[_side(item, place)] else ()))
            for place, text in enumerate(item.texts)
        )
        for item in items
    }


def _side(item: Item, place: int) -> int:
    """0 for an answer of the baseline, 1 for one of the candidate."""
    return 1 if item.role == "candidate" else place


def _name(item: Item) -> str:
    return f"{item.case.id}#{item.repeat}"


def _steering(items: Sequence[Item], flags: Mapping[int, Sequence[Sequence[str]]]) -> dict[int, str]:
    """Items whose candidate answer tries to steer a judge where the baseline's to the same case does not, and how.

    A judge's word on such an answer is worth nothing, whichever way it falls. Where the baseline's answers speak so
    too, that is how answers to such a case look.
    """
    of_baseline: dict[str, set[str]] = {}
    of_candidate: dict[int, set[str]] = {}
    for item in items:
        for place, found in enumerate(flags[id(item)]):
            steering = {flag for flag in found if flag in STEERING}
            if _side(item, place) == 1:
                of_candidate[id(item)] = steering
            else:
                of_baseline.setdefault(item.case.id, set()).update(steering)
    return {
        id(item): f"not judged: the answer holds {' and '.join(sorted(more))}, and the baseline's does not"
        for item in items
        if (more := of_candidate.get(id(item), set()) - of_baseline.get(item.case.id, set()))
    }


def _vote(prompt: Prompt, reply: Response | Failure) -> Vote:
    if isinstance(reply, Failure):
        return Vote(
            judge=prompt.judge.name,
            order=prompt.order,
            value=None,
            problem=f"the judge gave no reply: {reply.kind.replace('_', ' ')}",
        )
    return read_reply(
        prompt.judge,
        reply.text,
        reply.finish_reason,
        prompt.order,
        judged=prompt.judged,
        model=reply.model,
    )


def _judgment(
    golden_set: str,
    judge: Judge,
    item: Item,
    votes: tuple[Vote, ...] | None,
    flags: tuple[str, ...],
    refused: str | None,
) -> Judgment:
    where: dict[str, Any] = {
        "golden_set": golden_set,
        "case_id": item.case.id,
        "repeat": item.repeat,
        "role": item.role,
        "flags": flags,
    }
    if refused is not None:
        return unjudged(**where, problem=refused)
    if votes is None:
        return identical_pair(**where)
    if not votes:
        return unjudged(**where, problem="there is no recorded verdict on it")
    combine: Callable[..., Judgment] = combine_pair if judge.mode == "pairwise" else combine_answer
    return combine(judge, votes, source="recorded" if judge.provider == RECORDED else "judged", **where)


def judge_as_candidate(judge: Judge) -> Candidate:
    """The judge as one who is asked."""
    return Candidate(
        name=f"{judge.name}-judge",
        provider=judge.provider,
        model=judge.model,
        digest=digest([judge.digest, VERSION]),
        decoding=judge.decoding,
        options=judge.options,
        api_key_env=judge.api_key_env,
        limits=judge.limits,
        price=judge.price,
        path=judge.path,
        schema=reply_schema(judge),
    )


def prompts_as_suite(item: EvalSpec, prompts: Iterable[Prompt], redact: Redaction) -> Suite:
    """The prompts as a golden set of their own, without scorers. `redact`: what becomes of replies, too."""
    cases = tuple(Case(id=p.key, messages=p.messages) for p in prompts)
    identity = digest([[case.id, [[m.role, m.content] for m in case.messages]] for case in cases])
    card = Card(name=f"{item.golden_set.name}-judged", version="1", task="")
    asked = EvalSpec(id=item.id, golden_set=GoldenSet(card=card, cases=cases, digest=identity), scorers=())
    return Suite(
        name=f"judging {item.id}",
        evals=(asked,),
        gate=GatePolicy(max_drop=Margin(Fraction(1, 50), relative=False)),
        digest=identity,
        redact=redact,
    )


def _recorded(
    judge: Judge, item: EvalSpec, asked: Sequence[Item], known: frozenset[str] | None
) -> tuple[dict[int, tuple[Vote, ...]], bool]:
    """The votes of each item from the judge's file of verdicts, and whether the file has one order of every pair.

    Where it has both orders of some pairs, the others lack one.

    Verdicts on the judge's labelled items may stand in the same file. `known` None: verdicts on cases may be any.

    Raises:
        SpecError: lines are wrong, on cases that no golden set of the suite has, or on other texts than these answers.
    """
    assert judge.verdicts is not None
    path = Path(judge.verdicts)
    shown = f"{judge.path}/{path.name}" if path.parent.as_posix().endswith(judge.path) else path.name
    pairs = judge.mode == "pairwise"
    criteria = [criterion.id for criterion in judge.criteria] or None
    rows = read_verdicts(
        path, shown, on="pairs" if pairs else "answers", criteria=None if pairs else criteria
    )
    labelled = frozenset(label.id for label in judge.labels)
    problems = [
        Problem(f"there is no case {row.id!r} in the golden sets of this suite", shown, row.line)
        for row in rows
        if known is not None and row.id not in known | labelled
    ]
    by_item: dict[tuple[str, int, str], list[RecordedVerdict]] = {}
    for row in rows:
        if row.golden_set in (None, item.golden_set.name):
            by_item.setdefault((row.id, row.repeat, row.role), []).append(row)
    votes: dict[int, tuple[Vote, ...]] = {}
    for one in asked:
        found = by_item.get((one.case.id, one.repeat, one.role), [])
        problems += [
            Problem(
                f"the verdict on {one.case.id!r} was given on other answers than these",
                shown,
                row.line,
                hint="judge again, or compare the answers that were judged",
            )
            for row in found
            if not _on_these(row, one)
        ]
        votes[id(one)] = tuple(_recorded_vote(judge, row) for row in found)
    if problems:
        raise SpecError(capped(problems, shown, "problems"))
    cases = frozenset(case.id for case in item.golden_set.cases)
    return votes, all(len(found) < 2 for key, found in by_item.items() if key[0] in cases)


def _on_these(row: RecordedVerdict, item: Item) -> bool:
    digests = [row.baseline_digest, row.candidate_digest]
    if item.role != "pair":
        digests = digests[:1] if item.role == "baseline" else digests[1:]
    return all(
        found is None or found == text_digest(text) for found, text in zip(digests, item.texts, strict=True)
    )


def _recorded_vote(judge: Judge, row: RecordedVerdict) -> Vote:
    value = row.value
    if value is None and row.criteria:
        value = weighted(judge, row.criteria) if judge.criteria else fmean(row.criteria.values())
    return Vote(
        judge=judge.name,
        order=row.order,
        value=value,
        rationale=row.rationale,
        marks=row.criteria,
        model=row.model,
    )
