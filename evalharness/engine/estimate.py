"""What a side of a comparison would cost, without a call and without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from evalharness.baselines.asked import carried
from evalharness.core.candidates import Candidate
from evalharness.core.plans import SetCost, SideCost, StageCost, TokenBasis
from evalharness.core.protocols import Provider, Request
from evalharness.core.suites import Suite
from evalharness.engine.asking import make_provider
from evalharness.engine.beforehand import still_open
from evalharness.engine.build import refuse_other_sets
from evalharness.engine.history import EarlierRun, EarlierTokens, earlier_tokens
from evalharness.engine.loop import run_sync
from evalharness.engine.plan import Asked, make_plan
from evalharness.engine.ready import refuse_few_repeats, refuse_shallow
from evalharness.engine.scoring import build_scorers
from evalharness.engine.sides import SideSource, Surroundings
from evalharness.engine.spending import cost_usd
from evalharness.store.folder import read_manifest

CHARACTERS_PER_TOKEN: Final = 4
"""A rough guess for English text and common tokenizers; nothing better is known before the first answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is asked up to one point. `repeats`: at least so many answers to a case; None: the side's own number."""

    name: str
    asked: Asked
    repeats: int | None = None


def side_repeats(source: SideSource, around: Surroundings) -> int:
    """Answers to a case that a side gives by itself. A recording is read for it.

    Raises:
        SpecError, StoreError, UsageError: the recording or the run cannot be read.
    """
    if source.model is None:
        assert source.folder is not None
        return int(read_manifest(source.folder)["repeats"])
    own = source.model.repeats
    if own is not None or not source.fixed(around.registry):
        return own or 1
    return run_sync(_recorded_repeats(make_provider(source.model, around.registry)))


async def _recorded_repeats(provider: Provider) -> int:
    await provider.open()
    try:
        return int(provider.repeats()) if hasattr(provider, "repeats") else 1
    finally:
        await provider.close()


def estimate_side(
    role: str,
    source: SideSource,
    suite: Suite,
    stages: Sequence[Stage],
    runs: Sequence[EarlierRun],
    around: Surroundings,
    *,
    critical: int = 0,
    answers: int = 0,
) -> SideCost:
    """Answers, calls, tokens and money of one side.

    Answers that are stored, journaled or cached are found as `collect` would find them.

    Args:
        role: "baseline" or "candidate".
        source: the side.
        suite: what would be run.
        stages: points up to which it may be asked, at least one.
        runs: earlier runs of the suite, for tokens.
        around: store, registry and the like.
        critical: cases that are asked again where the candidate fails them once.
        answers: to each of them, the first one included.

    Raises:
        InvalidComparisonError: a stored run answered another version of a golden set.
        SpecError: a prompt does not fit a case. StoreError: what is stored cannot be read.
    """
    repeats = side_repeats(source, around)
    named = (source.model.path if source.model is not None else "") or source.name
    refuse_few_repeats(build_scorers(suite, around.registry), repeats, named)
    if source.model is None or source.fixed(around.registry):
        if source.folder is not None:
            manifest = read_manifest(source.folder)
            kept = carried(source.folder, suite, manifest["golden_sets"])
            refuse_other_sets(source.folder, manifest, suite, kept)
        rows = [_free(suite, stage, repeats) for stage in stages]
        return SideCost(
            role=role,
            name=source.name,
            repeats=repeats,
            answers_from="stored run" if source.model is None else "recording",
            stages=tuple(
                StageCost(name=stage.name, sets=row, usd=0.0) for stage, row in zip(stages, rows, strict=True)
            ),
        )
    return _Asking(source.model, suite, runs, around).cost(role, stages, critical, answers)


def _free(suite: Suite, stage: Stage, repeats: int) -> tuple[SetCost, ...]:
    rows = []
    for golden_set in suite.golden_sets:
        cases = len(stage.asked[golden_set.name])
        answers = cases * repeats
        rows.append(
            SetCost(
                golden_set=golden_set.name,
                cases=cases,
                answers=answers,
                stored=answers,
                calls=0,
                input_tokens=0,
                output_tokens=0,
            )
        )
    return tuple(rows)


class _Asking:
    """The cost of a candidate that is asked."""

    def __init__(
        self, model: Candidate, suite: Suite, runs: Sequence[EarlierRun], around: Surroundings
    ) -> None:
        self._model = model
        self._suite = suite
        self._around = around
        self._provider = make_provider(model, around.registry)
        refuse_shallow(build_scorers(suite, around.registry), self._provider, model.path or model.name)
        self._tokens: EarlierTokens | None = earlier_tokens(runs, model)
        self._most_out: int | None = model.decoding.get("max_tokens")
        self._open: dict[int, list[Request]] = {}
        # a tool words its prompts when it runs, and says then how long answers may be
        self._worded_elsewhere = {
            item.golden_set.name
            for item in suite.evals
            if item.benchmark is not None and item.task is not None
        }

    def cost(self, role: str, stages: Sequence[Stage], critical: int, answers: int) -> SideCost:
        own = self._model.repeats or 1
        # the first answer to a critical case is in the cache by then, where there is one
        there = 1 if self._provider.cacheable and not self._around.how.fresh else 0
        return SideCost(
            role=role,
            name=self._model.name,
            repeats=own,
            answers_from="calls",
            stages=tuple(self._stage(stage) for stage in stages),
            input_basis="text" if self._tokens is None else "history",
            output_basis=self._output_basis(),
            tokens_from=self._tokens_from(),
            priced=self._model.price is not None,
            listed=self._model.price.listed if self._model.price is not None else "",
            confirming=critical * (answers - there) if own == 1 and role == "candidate" else 0,
        )

    def _stage(self, stage: Stage) -> StageCost:
        repeats = max(stage.repeats or 1, self._model.repeats or 1)
        open_requests: dict[str, list[Request]] = {g.name: [] for g in self._suite.golden_sets}
        for request in self._still_open(repeats):
            if request.case.id in stage.asked[request.golden_set]:
                open_requests[request.golden_set].append(request)
        rows = tuple(
            self._row(name, len(stage.asked[name]), repeats, requests)
            for name, requests in open_requests.items()
        )
        total = StageCost(name=stage.name, sets=rows, usd=None).total
        return StageCost(name=stage.name, sets=rows, usd=self._usd(total))

    def _row(self, name: str, cases: int, repeats: int, requests: Sequence[Request]) -> SetCost:
        calls = len(requests)
        tokens_in: int | None
        tokens_out: int | None
        if self._tokens is not None:
            mean_in, mean_out = self._tokens.mean[name]
            tokens_in, tokens_out = round(mean_in * calls), round(mean_out * calls)
        elif calls and name in self._worded_elsewhere:
            tokens_in = tokens_out = None
        else:
            characters = sum(len(m.content) for request in requests for m in request.messages)
            tokens_in = ceil(characters / CHARACTERS_PER_TOKEN)
            tokens_out = None if self._most_out is None and calls else calls * (self._most_out or 0)
        return SetCost(
            golden_set=name,
            cases=cases,
            answers=cases * repeats,
            stored=cases * repeats - calls,
            calls=calls,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
        )

    def _usd(self, total: SetCost) -> float | None:
        if total.calls == 0:
            return 0.0
        if self._model.price is None or total.input_tokens is None or total.output_tokens is None:
            return None
        return cost_usd(self._model.price, total.input_tokens, total.output_tokens)

    def _output_basis(self) -> TokenBasis:
        if self._tokens is not None:
            return "history"
        return "unknown" if self._most_out is None else "limit"

    def _tokens_from(self) -> str:
        if self._tokens is not None:
            return f"mean of {self._tokens.answers:,} earlier answers of {self._tokens.name}"
        elsewhere = (
            "; of benchmarks unknown before a first run, and a case may take several calls"
            if self._worded_elsewhere
            else ""
        )
        rough = "input: a rough estimate, a quarter of the prompts' characters"
        if self._most_out is None:
            return f"{rough}; output: unknown, since decoding.max_tokens is not set{elsewhere}"
        return f"{rough}; output: at most decoding.max_tokens ({self._most_out:,}) each{elsewhere}"

    def _still_open(self, repeats: int) -> list[Request]:
        """The requests that a run with so many repeats would send."""
        if repeats not in self._open:
            self._open[repeats] = self._find_open(repeats)
        return self._open[repeats]

    def _find_open(self, repeats: int) -> list[Request]:
        provider = self._provider
        plan = make_plan(
            self._suite,
            self._model,
            repeats=repeats,
            recorded=False,
            likelihoods=getattr(provider, "log_likelihoods", False),
            provider_version=provider.version,
        )
        return still_open(plan, self._model, provider, self._around)
