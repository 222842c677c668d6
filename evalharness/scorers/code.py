"""Code: whether it parses, whether it passes its tests, and how often one of k answers does.

What an answer holds is run in a sandbox (`evalharness.sandbox`) or not at all. docs/code.md says what the sandbox holds
back, how tests are written, and what an answer that sets out to deceive its tests can and cannot do.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.sandbox import Limits, SandboxFailedError, find_sandbox
from evalharness.sandbox.docker import is_image
from evalharness.scorers._code_cases import read_tests
from evalharness.scorers._code_extract import MOST_CHARACTERS, extract, is_code, parse
from evalharness.scorers._code_run import Job, Outcome, run_job
from evalharness.scorers.normalise import one_of

_MOST_KEPT: Final = 20_000
_SHOWN: Final = 20
_kept: dict[tuple[Job, str | None], Outcome] = {}
"""What was run in this process: pass@1, pass@5 and tests_passed of one eval read one run of the code."""
_keeping: Final = threading.Lock()


@dataclass(frozen=True)
class SyntaxValid:
    """1 when the answer's code is Python that parses, else 0. Nothing is run.

    The grammar is that of the interpreter that runs the harness. An answer without code (empty, a word of prose) is not
    valid.
    """

    name: ClassVar[str] = "syntax_valid"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    @property
    def metric(self) -> Metric:
        return Metric(direction="higher", unit="fraction", kind="binary")

    def score(self, case: Case, response: Response) -> Score:
        tree = parse(extract(response.text))
        if isinstance(tree, str):
            return Scored(0.0, detail={"error": tree})
        return Scored(1.0) if is_code(tree) else Scored(0.0, detail={"error": "holds no code"})


@dataclass(frozen=True)
class _Tested:
    """What the scorers that run code have in common.

    `timeout_s` is CPU time of each process; the wall time allowed is three times that and ten seconds, so that a busy
    machine fails nobody. `memory_mb` is in 10^6 bytes. `prefix`: "input" puts the case's question before the code
    (completions of a prompt that is code). `process`: "separate" keeps the tests where the code cannot reach them,
    "shared" runs both in one interpreter. `docker` names an image to run in, instead of bubblewrap.
    """

    timeout_s: int = 5
    memory_mb: int = 512
    prefix: str = "none"
    process: str = "separate"
    docker: str | None = None

    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        _whole("timeout_s", self.timeout_s, 1, 600)
        _whole("memory_mb", self.memory_mb, 64, 64_000)
        one_of("prefix", self.prefix, ("none", "input"))
        one_of("process", self.process, ("separate", "shared"))
        if self.docker is not None and not is_image(self.docker):
            raise ValueError(f"docker: {self.docker!r} is not the name of an image, such as python:3.12-slim")

    def problem(self, case: Case) -> str | None:
        """Why the case's tests cannot be run; None when they can."""
        try:
            read_tests(case)
        except ValueError as error:
            return str(error)
        return None

    def ready(self) -> None:
        """Raises SandboxUnavailableError where there is no sandbox."""
        find_sandbox(self.docker)

    def score(self, case: Case, response: Response) -> Score:
        """As `score_many`, for one."""
        return self.score_many([(case, response)])[0]

    def score_many(self, items: Sequence[tuple[Case, Response]]) -> Sequence[Score]:
        """Run the code of every answer. Where a sandbox fails to start, that answer is Unscored.

        Raises:
            SandboxUnavailableError: there is no sandbox on this machine; nothing was run.
        """
        jobs = [self._job(case, response) for case, response in items]
        found = _run_all(list(dict.fromkeys(job for job in jobs if isinstance(job, Job))), self.docker)
        scores: list[Score] = []
        for job in jobs:
            outcome = found[job] if isinstance(job, Job) else job
            scores.append(self._value(outcome) if isinstance(outcome, Outcome) else Unscored(outcome))
        return scores

    def _job(self, case: Case, response: Response) -> Job | Outcome | str:
        """What is to be run; where nothing is, the outcome, or why there is none."""
        try:
            tests = read_tests(case)
        except ValueError as error:
            return str(error)
        code = extract(response.text)
        if self.prefix == "input" and code.strip():
            code = f"{case.question}{'' if case.question.endswith(chr(10)) else chr(10)}{code}"
        if len(code) > MOST_CHARACTERS:
            why = f"the code is longer than {MOST_CHARACTERS:,} characters"
            return Outcome("error", len(tests.names), tests.names, why)
        limits = Limits(cpu_s=self.timeout_s, wall_s=3.0 * self.timeout_s + 10, memory_mb=self.memory_mb)
        return Job(code, tests, self.process == "shared", limits)

    def _value(self, outcome: Outcome) -> Score:
        raise AssertionError("a subclass says what an outcome is worth")


@dataclass(frozen=True)
class TestsPassed(_Tested):
    """Share of the case's tests that the answer's code passes."""

    __test__: ClassVar[bool] = False  # pytest collects by name

    name: ClassVar[str] = "tests_passed"

    @property
    def metric(self) -> Metric:
        return Metric(direction="higher", unit="fraction", kind="bounded")

    def _value(self, outcome: Outcome) -> Score:
        return Scored((outcome.total - len(outcome.failed)) / outcome.total, detail=_detail(outcome))


@dataclass(frozen=True)
class Pass(_Tested):
    """Whether the answer's code passes all of the case's tests; over repeats, the chance that one of `k` would.

    A case's value from n repeats, c of them right, is the unbiased estimate 1 − C(n−c, k) / C(n, k) of Chen et al.
    2021, "Evaluating Large Language Models Trained on Code", equation 1. It needs k repeats at least.
    """

    k: int = 1

    name: ClassVar[str] = "pass"

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole("k", self.k, 1, 1000)

    @property
    def least_repeats(self) -> int:
        return self.k

    @property
    def metric(self) -> Metric:
        return Metric(direction="higher", unit="fraction", kind="binary" if self.k == 1 else "bounded")

    def pool(self, values: Sequence[float]) -> float:
        """The estimate, in [0, 1]. Raises ValueError for fewer than k values."""
        return pass_at_k(len(values), sum(value == 1.0 for value in values), self.k)

    def _value(self, outcome: Outcome) -> Score:
        return Scored(float(outcome.word == "passed"), detail=_detail(outcome))


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that k of n answers, drawn without replacement, hold one of the c right ones: 1 − C(n−c, k) / C(n, k).

    Raises:
        ValueError: unless 1 ≤ k ≤ n and 0 ≤ c ≤ n.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"pass@{k} needs {k} answers or more and cannot be told from {n}, {c} of them right")
    return float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


def _run_all(jobs: Sequence[Job], docker: str | None) -> dict[Job, Outcome | str]:
    """Each job's outcome, or why its sandbox failed. As many at once as there are cores."""
    found: dict[Job, Outcome | str] = {job: _kept[job, docker] for job in jobs if (job, docker) in _kept}
    rest = [job for job in jobs if job not in found]
    if not rest:
        return found
    backend = find_sandbox(docker)
    stop = threading.Event()

    def one(job: Job) -> Outcome | str:
        try:
            outcome = run_job(backend, job, stop)
        except SandboxFailedError as error:
            return str(error)
        with _keeping:
            if stop.is_set():  # it did not end by itself
                return outcome
            if len(_kept) >= _MOST_KEPT:
                _kept.clear()
            _kept[job, docker] = outcome
        return outcome

    workers = min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 32
    )
    with ThreadPoolExecutor(workers, thread_name_prefix="sandbox") as pool:
        try:
            found |= zip(rest, pool.map(one, rest), strict=True)
        except BaseException:  # Ctrl-C: nothing more is started, and what runs is ended
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _detail(outcome: Outcome) -> dict[str, Any]:
    passed = outcome.total - len(outcome.failed)
    detail: dict[str, Any] = {"outcome": outcome.word, "tests": f"{passed} of {outcome.total} passed"}
    if outcome.why:
        detail["why"] = outcome.why
    if outcome.failed:
        detail["failed"] = list(outcome.failed[:_SHOWN])
    if outcome.stderr and outcome.word != "passed":
        detail["stderr"] = outcome.stderr
    return detail


def _whole(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
