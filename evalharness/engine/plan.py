"""The plan: every request of a run in order, decided before the first call."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from evalharness._canon import digest
from evalharness.core.candidates import Candidate
from evalharness.core.cases import Message
from evalharness.core.protocols import Request
from evalharness.core.scores import Want
from evalharness.core.suites import JUDGE_METRIC, Suite
from evalharness.errors import Problem, SpecError
from evalharness.spec.prompts import render_messages

Asked: TypeAlias = Mapping[str, Collection[str]]
"""Golden set → ids of the cases to ask."""
_MOST_PROBLEMS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Requests in golden-set order, then case order, then repeat.

    `digest` names what is asked of whom (candidate, provider's version, golden sets with what prompts see of their
    cards, repeats, what is redacted of answers) and so the run folder; scorers are not in it: the same answers can be
    scored again without a call. `redacted` is the identity of what is taken out of answers before they are stored.
    """

    requests: tuple[Request, ...]
    repeats: int
    digest: str
    redacted: tuple[Any, ...] = ()

    def wanted(self, asked: Asked | None) -> list[Request]:
        """The requests for the cases that are `asked` (None: all)."""
        if asked is None:
            return list(self.requests)
        return [r for r in self.requests if r.case.id in asked[r.golden_set]]


def make_plan(
    suite: Suite,
    candidate: Candidate,
    *,
    repeats: int,
    recorded: bool,
    likelihoods: bool = False,
    provider_version: str = "",
) -> Plan:
    """Build the plan. Prompts of recorded candidates are not rendered: nothing would read them.

    `likelihoods`: the provider can be asked for log-likelihoods (or says itself that it cannot).

    Raises:
        SpecError: a prompt template fails on some case (names the first ones), or answers and log-likelihoods are
            asked of one golden set.
    """
    likely = _likelihood_sets(suite) if likelihoods else frozenset()
    return Plan(
        requests=tuple(_requests(suite, candidate, repeats, recorded, likely)),
        repeats=repeats,
        redacted=suite.redact.identity,
        digest=digest(
            [
                candidate.digest,
                provider_version,
                [[g.name, g.digest, g.card.task] for g in suite.golden_sets],
                repeats,
                # what is asked depends on the scorers in this one way
                *(["log_likelihood", sorted(likely)] if likely else []),
                *suite.redact.identity,
            ],
        ),
    )


def _likelihood_sets(suite: Suite) -> frozenset[str]:
    """Golden sets whose cases are documents: every scorer asks how likely they are, and none reads an answer.

    Raises:
        SpecError: some scorers of a golden set ask for one and some for the other.
    """
    asks: dict[str, dict[Want, str]] = {}
    for item in suite.evals:
        if item.benchmark is None:
            own = asks.setdefault(item.golden_set.name, {})
            own.update({spec.asks: f"{item.id}/{spec.id}" for spec in item.scorers})
            if item.judge is not None:
                own["answer"] = f"{item.id}/{JUDGE_METRIC}"
    problems = [
        Problem(
            f"{own['log_likelihood']} asks how likely the texts of golden set {name!r} are, and {own['answer']} reads "
            "answers to them",
            suite.path,
            hint="put documents and questions in two golden sets",
        )
        for name, own in asks.items()
        if len(own) == 2
    ]
    if problems:
        raise SpecError(problems)
    return frozenset(name for name, own in asks.items() if "log_likelihood" in own)


def _requests(
    suite: Suite, candidate: Candidate, repeats: int, recorded: bool, likely: frozenset[str]
) -> Iterator[Request]:
    decoding = {k: v for k, v in candidate.decoding.items() if k != "seed"}
    first_seed = candidate.decoding.get("seed")
    seeds = [derived_seed(first_seed, repeat) for repeat in range(repeats)]
    problems: list[Problem] = []
    brought = suite.benchmark_sets  # the tool that brings the cases words the prompt
    for golden_set in suite.golden_sets:
        for case in golden_set.cases:
            messages: tuple[Message, ...] = ()
            want: Want = "log_likelihood" if golden_set.name in likely else "answer"
            if not recorded and golden_set.name not in brought and want == "answer":
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
                    want=want,
                    continuation=case.question if want == "log_likelihood" else None,
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


def cache_keys(key: str, redacted: Sequence[Any]) -> tuple[str, ...]:
    """The keys of the cache that answer a call, the first one its own.

    Answers that are stored redacted (`redacted` is the rules' identity) have entries apart. Those stored as they came
    answer too, redacted when they are read: nothing is paid twice.
    """
    return (digest([key, *redacted]), key) if redacted else (key,)


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
            *([request.want, request.continuation] if request.want != "answer" else []),
        ]
    )
