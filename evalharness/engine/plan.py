"""The plan: every request of a run in order, decided before the first call."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from evalharness._canon import digest
from evalharness.core.candidates import Candidate
from evalharness.core.cases import Message
from evalharness.core.protocols import Request
from evalharness.core.suites import Suite
from evalharness.errors import Problem, SpecError
from evalharness.spec.prompts import render_messages

Asked: TypeAlias = Mapping[str, Collection[str]]
"""Golden set → ids of the cases to ask."""
_MOST_PROBLEMS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Requests in golden-set order, then case order, then repeat.

    `digest` names what is asked of whom (candidate, provider's version, golden sets with what prompts see of their
    cards, repeats) and so the run folder; scorers are not in it: the same answers can be scored again without a call.
    """

    requests: tuple[Request, ...]
    repeats: int
    digest: str

    def wanted(self, asked: Asked | None) -> list[Request]:
        """The requests for the cases that are `asked` (None: all)."""
        if asked is None:
            return list(self.requests)
        return [r for r in self.requests if r.case.id in asked[r.golden_set]]


def make_plan(
    suite: Suite, candidate: Candidate, *, repeats: int, recorded: bool, provider_version: str = ""
) -> Plan:
    """Build the plan. Prompts of recorded candidates are not rendered: nothing would read them.

    Raises:
        SpecError: a prompt template fails on some case; names the first ones.
    """
    return Plan(
        requests=tuple(_requests(suite, candidate, repeats, recorded)),
        repeats=repeats,
        digest=digest(
            [
                candidate.digest,
                provider_version,
                [[g.name, g.digest, g.card.task] for g in suite.golden_sets],
                repeats,
            ],
        ),
    )


def _requests(suite: Suite, candidate: Candidate, repeats: int, recorded: bool) -> Iterator[Request]:
    decoding = {k: v for k, v in candidate.decoding.items() if k != "seed"}
    first_seed = candidate.decoding.get("seed")
    seeds = [derived_seed(first_seed, repeat) for repeat in range(repeats)]
    problems: list[Problem] = []
    brought = suite.benchmark_sets  # the tool that brings the cases words the prompt
    for golden_set in suite.golden_sets:
        for case in golden_set.cases:
            messages: tuple[Message, ...] = ()
            if not recorded and golden_set.name not in brought:
                try:
                    messages = render_messages(candidate.prompt, case, golden_set.card.task)
                except SpecError as error:
                    problems.extend(
                        replace(problem, file=candidate.path or None) for problem in error.problems
                    )
                    if len(problems) >= _MOST_PROBLEMS:
                        rest = Problem("the prompt was tried on no further case", candidate.path or None)
                        raise SpecError([*problems, rest]) from error
            for repeat in range(repeats):
                yield Request(
                    golden_set=golden_set.name,
                    case=case,
                    repeat=repeat,
                    messages=messages,
                    model=candidate.model,
                    decoding=decoding,
                    seed=seeds[repeat],
                    schema=candidate.schema,
                )
    if problems:
        raise SpecError(problems)


def derived_seed(seed: int | None, repeat: int) -> int | None:
    """The sampling seed of a repeat: the candidate's own for repeat 0, one derived by SHA-256 for each later repeat.

    A fixed seed for every repeat would make repeats identical copies and their spread a fiction. In [0, 2**31).
    """
    if seed is None or repeat == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{repeat}".encode()).digest()[:4], "big") >> 1


def cache_key(candidate: Candidate, request: Request, provider_version: str = "") -> str:
    """The identity of one call: everything that shapes its answer, the repeat index included.

    Targets, tags and the like are left out: to correct a target must not cost a call.
    """
    case = request.case
    return digest(
        [
            candidate.digest,
            provider_version,
            [[m.role, m.content] for m in request.messages],
            # a provider gets the case itself, and may use more of it than the messages show
            [case.id, case.input, case.choices, case.contexts],
            request.repeat,
            request.seed,
        ]
    )
