"""What a plugin must look like. Each protocol is small; `version` is bumped when earlier results become invalid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from evalharness.core.attempts import Failure, Response
from evalharness.core.cases import Case, Message
from evalharness.core.scores import Metric, Score, Scored, Want

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NOTHING: Mapping[str, Any] = {}


@runtime_checkable
class Scorer(Protocol):
    """A pure function of case and response. Built as `Scorer(**params)`; bad params raise ValueError or TypeError, or
    ParameterError, which says where each of them stands.

    `needs` names Case fields that must be there ("targets", "choices", ...). `files` names parameters that are
    paths in the suite, with how the loader reads them before the scorer is built: "json", "yaml" or "text" for the
    content, "model" for a folder, which becomes an absolute path (a text that names none is a hub id and stays). A
    scorer opens no other file.
    One may have `asks = "log_likelihood"`: where every scorer of a golden set has it, candidates are not asked for
    answers but for how likely they find each case's input.
    One may have `problem(case) -> str | None`: why a case cannot be scored whatever the answer, and `blind(cases) ->
    str | None`: why no answer to these cases can move the metric. Both are told when a suite is read.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    files: ClassVar[Mapping[str, str]]

    @property
    def metric(self) -> Metric: ...

    def score(self, case: Case, response: Response) -> Score:
        """Score one response. An answer that is simply wrong is Scored; one that cannot be read is Unscored."""
        ...


@runtime_checkable
class BatchScorer(Scorer, Protocol):
    """A scorer that reads many responses at once: a local model, a sandbox, or a service whose calls cost.

    What it says of a response is kept and not asked for again while case, response, parameters and version stay. The
    order of the items, and which others are read with them, must not matter. It may also have `ready()`, which raises
    UsageError as `score_many` would: it is asked before a model is. One that asks a model itself may have
    `calls(case)`, how often it does for one answer to that case, so that a plan can say so, and `servers`, pairs of an
    address and the variable of its key (None: none is sent), so that one can see beforehand whether they answer.
    """

    def score_many(self, items: Sequence[tuple[Case, Response]]) -> Sequence[Score]:
        """One score an item, in order. A service that fails on one gives Unscored for it.

        Raises:
            UsageError: nothing can be scored (a library or a sandbox is missing); says what to do.
        """
        ...


@runtime_checkable
class IdentifiedScorer(Scorer, Protocol):
    """A scorer whose values depend on something else than its parameters as they are written."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What stands for the parameters where results are recognised: in the suite's digest and for kept scores.

        Plain data. A folder stands there by its content; what changes no value (a key's name, a limit) does not.

        Raises:
            UsageError: a file or folder it depends on cannot be read.
        """
        ...


@runtime_checkable
class FailureScorer(Scorer, Protocol):
    """A scorer that also has a value for a case without an answer: the share of errors, for one."""

    def score_failure(self, case: Case, failure: Failure) -> Score:
        """The value of a failed attempt, which then is not missing from this metric."""
        ...


@runtime_checkable
class PoolingScorer(Scorer, Protocol):
    """A scorer whose value of a case is not the mean over its repeats (pass@k).

    It may also have `least_repeats`: the fewest it can pool. Runs with fewer are refused; a case of which the baseline
    has fewer scores is left out and counted.
    """

    def pool(self, values: Sequence[float]) -> float:
        """The case's value from its repeats' values (`least_repeats` or more; failed ones count as the worst)."""
        ...


@runtime_checkable
class CorpusScorer(Scorer, Protocol):
    """A scorer whose metric is a function of summed statistics (`Scored.stats`).

    It may also have `fold(names) -> Mapping[str, str]`: the column each statistic is added to, where the names that
    occur in a run could be as many as its answers.
    """

    def worst(self, case: Case) -> Scored:
        """The statistics of the worst possible answer: what a failed case counts as."""
        ...

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """The metric from sums of statistics.

        Args:
            names: the columns, sorted.
            sums: shape (..., len(names)).

        Returns:
            shape (...), finite, in the metric's unit.
        """
        ...

    def breakdown(self, names: Sequence[str], sums: NDArray[np.float64]) -> Mapping[str, Any]:
        """Tables for the report as plain JSON data (per-class P/R/F1, confusion matrix), {} when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call to make: the rendered messages and everything else that shapes the answer.

    `seed` is derived for each repeat (None: the candidate fixed none); `decoding` holds the rest. `schema` is a JSON
    Schema the answer must follow: a provider asks for it in its API's own way and gives the JSON as the answer's text;
    one that cannot ignores it.

    `want` "log_likelihood" asks for no answer but for how likely `continuation` is after the messages (which may be
    none): the response has an empty text and, in `scores`, `nll` (nats, of the whole continuation), `tokens` (how many
    it was summed over) and `greedy` (1.0 where each of them was the likeliest). A provider that cannot raises CallError
    `bad_request`, fatal.
    """

    golden_set: str
    case: Case
    repeat: int
    messages: tuple[Message, ...]
    model: str | None
    decoding: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    want: Want = "answer"
    continuation: str | None = None


@runtime_checkable
class Provider(Protocol):
    """A source of responses. Built as `Provider(candidate)`, entered once for a run, closed once.

    `recorded` is True where responses are read, not made: such a provider costs nothing and is neither cached
    nor journaled, and may serve any number of requests at once.
    `cacheable` is False where the request does not pin what answers it (the user's own function may change under the
    same name): its finished runs are made anew each time, so that a changed candidate is never read from a cache.

    One may have `ready()`: raises what `open` would, as far as that can be told without loading, connecting or
    importing the user's code. It is asked of both sides before either is called.
    One may have `prepare(cases, folder, *, fresh)`: told before `open` what it will be asked, so that it can refuse
    (SpecError, UsageError) before anything is paid, and of a folder of the store where it may keep files; under `fresh`
    none that it kept counts. One may have `facts()`: plain data about itself for the manifest, asked after the run.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    recorded: ClassVar[bool]
    cacheable: ClassVar[bool]

    async def open(self) -> None:
        """Get ready (connect, load a model). Raises ProviderError, UsageError or MissingExtraError."""
        ...

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """Answer one request. Makes exactly one try; retries belong to the engine.

        Raises:
            CallError: with kind, whether a retry may help, and what the server asked for.
        """
        ...

    async def close(self) -> None: ...
