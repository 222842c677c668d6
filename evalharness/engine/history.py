"""What earlier runs in the store know: tokens of an answer, and pairs of runs that show how much a suite moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalharness.core.attempts import Response
from evalharness.core.candidates import Candidate
from evalharness.core.suites import Suite
from evalharness.engine.spending import tokens_of
from evalharness.errors import StoreError
from evalharness.store.folder import (
    ATTEMPTS,
    Store,
    changed_files,
    is_run_folder,
    read_attempts,
    read_manifest,
)


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A finished run in the store."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The candidate's name."""
        return str(self.manifest["name"])

    @property
    def digest(self) -> str:
        """The candidate's digest."""
        return str(self.manifest["candidate"]["digest"])

    @property
    def whole(self) -> bool:
        """Whether every case was asked."""
        return not self.manifest.get("unasked")


@dataclass(frozen=True, slots=True)
class EarlierTokens:
    """Mean tokens in and out of one answer, by golden set, over `answers` answers; `name` is who gave them."""

    name: str
    answers: int
    mean: Mapping[str, tuple[float, float]]


def earlier_runs(store: Store, suite: Suite) -> list[EarlierRun]:
    """Finished runs that answered all golden sets of a suite, in the version it has now; the newest first.

    Damaged ones are left out: nothing rests on them.
    """
    wanted = {g.name: g.digest for g in suite.golden_sets}
    found = []
    for folder in sorted((store.root / "runs").glob("*")):
        if not is_run_folder(folder):
            continue
        try:
            manifest = read_manifest(folder)
        except StoreError:
            continue
        if all(manifest["golden_sets"].get(name) == digest for name, digest in wanted.items()):
            found.append(EarlierRun(folder, manifest))
    return sorted(found, key=lambda run: str(run.manifest["environment"].get("started", "")), reverse=True)


def earlier_tokens(runs: Sequence[EarlierRun], candidate: Candidate) -> EarlierTokens | None:
    """Tokens of an answer from the run that says most of `candidate`: its own, else its model's, else the newest.

    None where no run knows the tokens of an answer to every golden set.
    """

    def unlike(run: EarlierRun) -> int:
        about = run.manifest["candidate"]
        if about["digest"] == candidate.digest:
            return 0
        return 1 if (about["provider"], about["model"]) == (candidate.provider, candidate.model) else 2

    for run in sorted(runs, key=unlike):
        if not run.manifest["facts"].get("usage_known"):
            continue
        tokens = _tokens(run)
        if tokens is not None:
            return tokens
    return None


def pairs(runs: Sequence[EarlierRun]) -> Iterator[tuple[EarlierRun, EarlierRun]]:
    """Pairs of runs worth laying side by side, the most telling first.

    First two runs of one candidate (A/A), the newest first; then the two newest of different candidates. Runs with the
    same answers are no pair, nor are those that asked a part of the cases.
    """
    whole = [run for run in runs if run.whole]
    for i, newer in enumerate(whole):
        for older in whole[i + 1 :]:
            if newer.digest == older.digest and newer.manifest["run_id"] != older.manifest["run_id"]:
                yield older, newer
    for i, newer in enumerate(whole):
        for older in whole[i + 1 :]:
            if newer.digest != older.digest:
                yield older, newer
                return


def _tokens(run: EarlierRun) -> EarlierTokens | None:
    sums: dict[str, list[int]] = {name: [0, 0, 0] for name in run.manifest["golden_sets"]}
    try:
        if ATTEMPTS in changed_files(run.folder, run.manifest):
            return None
        for attempt in read_attempts(run.folder):
            if not isinstance(attempt.outcome, Response):
                continue
            tokens_in, tokens_out, known = tokens_of(attempt.outcome)
            if known:
                group = sums[attempt.golden_set]
                for place, more in enumerate((1, tokens_in, tokens_out)):
                    group[place] += more
    except (StoreError, KeyError, TypeError, AttributeError):
        return None
    if any(count == 0 for count, _, _ in sums.values()):
        return None
    return EarlierTokens(
        name=run.name,
        answers=sum(count for count, _, _ in sums.values()),
        mean={
            name: (tokens_in / count, tokens_out / count)
            for name, (count, tokens_in, tokens_out) in sums.items()
        },
    )
