"""The way from files to nouns, and `validate`, which reports everything wrong in a set of files at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evalharness.content import PathPolicy
from evalharness.core.candidates import Candidate
from evalharness.core.judges import Judge
from evalharness.errors import EvalHarnessError, Problem, SpecError
from evalharness.plugins import Registry
from evalharness.spec.candidates import load_candidate
from evalharness.spec.golden_sets import CARD, CASES, load_golden_set
from evalharness.spec.judges import JUDGE, load_judge
from evalharness.spec.reader import did_you_mean, read_yaml
from evalharness.spec.redacting import redaction_warnings
from evalharness.spec.suites import load_suite, nothing_gated, suite_warnings
from evalharness.spec.verdicts import On, read_verdicts

__all__ = [
    "load_candidate",
    "load_golden_set",
    "load_judge",
    "load_suite",
    "suite_warnings",
    "validate",
]


def validate(
    given: Sequence[str | Path],
    *,
    paths: PathPolicy,
    registry: Registry,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Problem]:
    """Check files and folders of any kind, following candidate → suite → golden sets → judges.

    Args:
        given: paths as typed on the command line: candidate, suite, card or judge files, golden set or judge folders,
            recorded outputs (`.jsonl`), runs of a retriever (`.trec`, `.run`).
        paths: where paths in files may lead.
        registry: scorers and providers.
        tell: hears what is no problem and yet makes cases worthless.

    Returns:
        every problem, each once; empty when all is well.
    """
    visit = _Visit(paths, registry, tell)
    for item in given:
        visit.guarded(lambda item=item: visit.any(paths.argument(str(item))))
    return list(dict.fromkeys(visit.problems))


class _Visit:
    def __init__(self, paths: PathPolicy, registry: Registry, tell: Callable[[str], None]) -> None:
        self.paths = paths
        self.tell = tell
        self.registry = registry
        self.problems: list[Problem] = []
        self.seen: set[Path] = set()

    def guarded(self, step: Any) -> None:
        try:
            step()
        except SpecError as error:
            self.problems += error.problems

    def any(self, path: Path) -> None:
        if path in self.seen:
            return
        self.seen.add(path)
        kind = self.kind(path)
        if kind == "golden set":
            load_golden_set(path, paths=self.paths)
        elif kind == "judge":
            self.verdicts(load_judge(path, paths=self.paths, registry=self.registry))
        elif kind == "suite":
            self.suite(path)
        elif kind == "candidate":
            self.candidate(path)
        elif kind == "outputs":
            self.recorded(recording(path))
        else:
            hint = "known: candidate, suite, golden set, judge, outputs (.jsonl) and run (.trec) files"
            raise SpecError([Problem("cannot tell what this is", self.paths.show(path), hint=hint)])

    def kind(self, path: Path) -> str | None:
        if path.is_dir():
            if (path / CARD).exists() or (path / CASES).exists():
                return "golden set"
            return "judge" if (path / JUDGE).exists() else None
        if path.name in (CARD, CASES):
            return "golden set"
        if path.suffix in (".jsonl", ".trec", ".run"):
            return "outputs"
        if path.name == JUDGE:
            return "judge"
        if path.suffix not in (".yaml", ".yml"):
            return None
        document = read_yaml(path, self.paths)
        data = document.data
        signs = {"evals": "suite", "gate": "suite", "mode": "judge", "rubric": "judge"}
        signs |= dict.fromkeys(("provider", "model", "outputs", "prompt", "decoding"), "candidate")
        for sign, kind in signs.items():
            if sign in data:
                return kind
        near = next((hint for key in data if (hint := did_you_mean(key, signs)) and "mean" in hint), None)
        message = "is neither a candidate (provider), a suite (evals), a judge (mode) nor a card"
        raise SpecError([*document.problems, Problem(message, document.shown, hint=near)])

    def suite(self, path: Path) -> None:
        suite = load_suite(path, paths=self.paths, registry=self.registry)
        for text in redaction_warnings(suite):
            self.tell(f"{suite.path}: {text}")
        for _, _, judge in suite.judged:
            self.verdicts(judge)
        if nothing_gated(suite):
            message = "nothing is gated: every metric is advisory, and a comparison could only be invalid"
            raise SpecError([Problem(message, suite.path, hint="let at least one metric gate")])

    def candidate(self, path: Path) -> None:
        document = read_yaml(path, self.paths)
        suite = document.data.get("suite")

        def follow() -> None:
            assert isinstance(suite, str)
            self.any(self.paths.resolve(suite, path, line=document.place(("suite",)).line))

        # The suite is followed even where the candidate itself is wrong: all problems at once.
        try:
            self.recorded(load_candidate(path, paths=self.paths, registry=self.registry))
        finally:
            if isinstance(suite, str):
                self.guarded(follow)

    def verdicts(self, judge: Judge) -> None:
        """Read recorded verdicts, a panel's members' included."""
        for one in judge.panel or (judge,):
            if one.verdicts is not None:
                file = Path(one.verdicts)
                on: On = "pairs" if one.mode == "pairwise" else "answers"
                criteria = [item.id for item in one.criteria] or None
                self.guarded(
                    lambda file=file, on=on, criteria=criteria: read_verdicts(
                        file, self.paths.show(file), on=on, criteria=criteria
                    )
                )

    def recorded(self, candidate: Candidate) -> None:
        """Read recorded outputs through their provider; it knows the format."""
        provider: Any = self.registry.load("providers", candidate.provider)
        if not getattr(provider, "recorded", False):
            return

        async def read() -> None:
            built = provider(candidate)
            await built.open()
            await built.close()

        try:
            asyncio.run(read())
        except SpecError:
            raise
        except EvalHarnessError as error:
            raise SpecError([Problem(str(error), candidate.path)]) from error


def recording(path: Path, digest: str = "") -> Candidate:
    """The candidate that gives the recorded outputs of a file (JSONL); `digest`: what tells it from others."""
    return Candidate(
        name=path.stem,
        provider="replay",
        model=None,
        digest=digest,
        options={"outputs": str(path)},
        path=str(path),
    )
