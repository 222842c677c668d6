"""Run folders: `manifest.json`, `attempts.jsonl`, `scores.jsonl`, and `journal.jsonl` while a run is under way."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from evalharness._canon import canonical_json, digest_lines, short
from evalharness.core.attempts import Attempt, Failure
from evalharness.core.cases import Case
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.scores import Score, Scored
from evalharness.errors import StoreError
from evalharness.store.files import (
    explain,
    file_digest,
    read_json,
    read_lines,
    slug,
    write_json,
    write_lines,
)
from evalharness.store.journal import NAME as JOURNAL
from evalharness.store.records import (
    attempt_from_row,
    attempt_to_row,
    case_from_row,
    case_to_row,
    score_from_value,
    score_to_value,
)
from evalharness.store.scores import ScoreCache

SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
ATTEMPTS: Final = "attempts.jsonl"
SCORES: Final = "scores.jsonl"
CASES: Final = "cases.jsonl"
"""Cases that lie in no file of the user's: a benchmark's, or those of another tool's results."""
_COUNTS: Final = ("planned", "scored", "failed", "unscored")
_SHAPE: Final[Mapping[str, type]] = {
    "run_id": str, "name": str, "repeats": int, "plan": str, "candidate": dict, "suite": dict, "golden_sets": dict,
    "metrics": dict, "coverage": dict, "facts": dict, "files": dict, "environment": dict, "models_returned": list,
    "warnings": list, "plugins": list,
}  # fmt: skip


class Store:
    """Where runs and the response cache live; `.evalharness` in the working directory unless told otherwise."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def cache_path(self) -> Path:
        """The response cache."""
        return self.root / "cache.sqlite"

    @property
    def scores(self) -> ScoreCache:
        """What batch scorers said before."""
        return ScoreCache(self.root / "scores.sqlite")

    def run_folder(self, candidate_name: str, plan_digest: str) -> Path:
        """The folder of one plan. The same plan always finds the same folder: that is how a killed run resumes."""
        return self.root / "runs" / f"{slug(candidate_name)}-{short(plan_digest)}"

    def prepare(self) -> None:
        """Create the root with a .gitignore that keeps it out of commits."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            marker = self.root / ".gitignore"
            if not marker.exists():
                marker.write_text("*\n", encoding="utf-8")
        except OSError as error:
            raise explain(error, self.root, "create the store") from error


@contextlib.contextmanager
def locked(folder: Path, waiting: Any) -> Iterator[None]:
    """Hold a run folder alone.

    A second process waits for the first (`waiting()` is called once) and then finds its results.

    Raises:
        StoreError: the folder cannot be made, written or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise explain(error, folder, "open the run folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise explain(error, folder, "lock the run folder") from error
        yield
    finally:
        os.close(handle)


def content_id(
    candidate_digest: str,
    suite_digest: str,
    attempts: Mapping[str, Mapping[AttemptKey, Attempt]],
    scores: Mapping[str, Mapping[AttemptKey, Score]],
) -> str:
    """The run id: a digest of what was asked, answered and scored.

    Times, tokens and messages of failures are left out.
    """

    def lines() -> Iterator[str]:
        yield candidate_digest
        yield suite_digest
        for golden_set, group in attempts.items():
            yield f"set {golden_set} {len(group)}"
            for (case_id, repeat), attempt in group.items():
                outcome = attempt.outcome
                # the lengths keep a text with line ends from reading like several answers
                if isinstance(outcome, Failure):
                    yield f"{len(case_id)} {case_id} {repeat} failed {outcome.kind}"
                else:
                    yield f"{len(case_id)} {case_id} {repeat} {len(outcome.text)} {outcome.text}"
                    if outcome.ranking:
                        yield f"ranking {len(outcome.ranking)} {canonical_json(outcome.ranking)}"
        for metric, values in scores.items():
            yield f"metric {metric} {len(values)}"
            for (case_id, repeat), score in values.items():
                yield f"{len(case_id)} {case_id} {repeat} {_score_text(score)}"

    return digest_lines(lines())


def _score_text(score: Score) -> str:
    if not isinstance(score, Scored):
        return "unscored"
    # repr of a float is exact, so equal ids mean equal values
    if not score.stats:
        return repr(score.value)
    return f"{score.value!r} {sorted(score.stats.items())!r}"


def save_run(folder: Path, run: Run) -> None:
    """Write a run. `manifest.json` comes last, with the digests of the other files."""
    attempts = write_lines(
        folder / ATTEMPTS, (attempt_to_row(a) for group in run.attempts.values() for a in group.values())
    )
    if run.cases:
        write_lines(folder / CASES, _case_rows(run.cases))
    _save_scores(folder, run, attempts)
    with contextlib.suppress(StoreError):
        drop_journal(folder)


def save_scores(folder: Path, run: Run) -> None:
    """Write `scores.jsonl` (one line an attempt and golden set) and `manifest.json`, for attempts that stay."""
    _save_scores(folder, run, file_digest(folder / ATTEMPTS) or "")


def _save_scores(folder: Path, run: Run, attempts: str) -> None:
    scores = write_lines(folder / SCORES, _score_rows(run))
    write_json(folder / MANIFEST, {**run.manifest, "files": {ATTEMPTS: attempts, SCORES: scores}})


def _case_rows(cases: Mapping[str, Iterable[Case]]) -> Iterator[dict[str, Any]]:
    return ({"golden_set": name, **case_to_row(case)} for name, group in cases.items() for case in group)


def read_cases(folder: Path) -> dict[str, tuple[Case, ...]]:
    """The cases a run folder holds itself, by golden set; none where all lie in the user's files.

    Raises:
        StoreError: the file is damaged.
    """
    path = folder / CASES
    found: dict[str, list[Case]] = {}
    if not path.exists():
        return {}
    try:
        for line, row in enumerate(read_lines(path), 1):
            found.setdefault(row["golden_set"], []).append(case_from_row(row, line))
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: damaged ({error!r}); run the candidate again") from error
    return {name: tuple(cases) for name, cases in found.items()}


def drop_journal(folder: Path) -> None:
    """Remove the journal, of a run that is stored whole or is to be made anew.

    Raises:
        StoreError: no permission.
    """
    path = folder / JOURNAL
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise explain(error, path, "remove the journal") from error


def _score_rows(run: Run) -> Iterator[dict[str, Any]]:
    by_set: dict[str, list[str]] = {}
    for metric, golden_set in run.manifest["metrics"].items():
        by_set.setdefault(golden_set, []).append(metric)
    for golden_set, group in run.attempts.items():
        metrics = [(m, run.scores[m]) for m in by_set.get(golden_set, ())]
        for key in group:
            values = {m: score_to_value(scores[key]) for m, scores in metrics if key in scores}
            yield {"golden_set": golden_set, "id": key[0], "repeat": key[1], "scores": values}


def is_run_folder(path: Path) -> bool:
    """Whether `path` holds a complete run."""
    return (path / MANIFEST).is_file() and (path / ATTEMPTS).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """`manifest.json` of a run folder, with everything in it that a run needs.

    Raises:
        StoreError: missing, damaged, or of a schema this version does not know.
    """
    path = folder / MANIFEST
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        raise StoreError(f"{path}: not a run manifest of schema {SCHEMA_VERSION}; run the candidate again")
    wrong = [name for name, kind in _SHAPE.items() if not isinstance(manifest.get(name), kind)]
    wrong += [
        f"{name}.{key}"
        for name, keys in (("candidate", ("digest",)), ("suite", ("name", "digest")))
        for key in keys
        if name not in wrong and not isinstance(manifest[name].get(key), str)
    ]
    wrong = wrong or _wrong_inside(manifest)
    if wrong:
        raise StoreError(
            f"{path}: damaged: {', '.join(wrong)} missing or of the wrong type; run the candidate again"
        )
    return manifest


def _wrong_inside(manifest: Mapping[str, Any]) -> list[str]:
    """Names of the values that have the right type and hold what no run of ours holds."""
    counts = manifest["coverage"]
    candidate = manifest["candidate"]
    right = {
        "repeats": type(manifest["repeats"]) is int and manifest["repeats"] >= 1,
        "coverage": counts.keys() == {"planned", "scored", "failed", "unscored", "reasons"}
        and isinstance(counts["reasons"], dict)
        and all(type(n) is int for n in (*counts["reasons"].values(), *(counts[k] for k in _COUNTS))),
        "models_returned": all(isinstance(name, str) for name in manifest["models_returned"]),
        "warnings": all(isinstance(text, str) for text in manifest["warnings"]),
        "plugins": all(
            isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("kind", "name"))
            for row in manifest["plugins"]
        ),
        "suite.path": isinstance(manifest["suite"].get("path"), str | None),
        "candidate": isinstance(candidate.get("provider"), str)
        and isinstance(candidate.get("model"), str | None),
    }
    return [name for name, fine in right.items() if not fine]


def changed_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Names of the files that are not as they were written with this manifest."""
    return [name for name in (ATTEMPTS, SCORES) if manifest["files"].get(name) != file_digest(folder / name)]


def refuse_edited(folder: Path, name: str) -> StoreError:
    """The error for a file of a run that was changed after it was written."""
    fix = (
        f"score it again with: evalharness score {folder}"
        if name == SCORES
        else "delete the folder and run the candidate again"
    )
    return StoreError(f"{folder / name}: does not match manifest.json (edited or damaged); {fix}")


def read_attempts(folder: Path) -> Iterator[Attempt]:
    """The attempts of a run folder, in order; whether they are as they were written is another question.

    Raises:
        StoreError: the file cannot be read. KeyError, TypeError, AttributeError: a row of it is no attempt.
    """
    return map(attempt_from_row, read_lines(folder / ATTEMPTS))


def load_run(folder: Path) -> Run:
    """Read a run folder back.

    Raises:
        StoreError: a file is missing or damaged, or the contents do not match the manifest.
    """
    manifest = read_manifest(folder)
    attempts: dict[str, dict[AttemptKey, Attempt]] = {name: {} for name in manifest["golden_sets"]}
    scores: dict[str, dict[AttemptKey, Score]] = {metric: {} for metric in manifest["metrics"]}
    try:
        for attempt in read_attempts(folder):
            attempts[attempt.golden_set][attempt.case_id, attempt.repeat] = attempt
        for row in read_lines(folder / SCORES):
            key = (row["id"], row["repeat"])
            for metric, value in row["scores"].items():
                scores[metric][key] = score_from_value(value)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{folder}: damaged run folder ({error!r}); delete it and run the candidate again"
        ) from error
    for name in changed_files(folder, manifest):
        raise refuse_edited(folder, name)
    run = Run(
        id=manifest["run_id"],
        name=manifest["name"],
        candidate_digest=manifest["candidate"]["digest"],
        suite_name=manifest["suite"]["name"],
        suite_digest=manifest["suite"]["digest"],
        golden_sets=manifest["golden_sets"],
        repeats=manifest["repeats"],
        attempts=attempts,
        scores=scores,
        manifest=manifest,
        cases=read_cases(folder),
    )
    if content_id(run.candidate_digest, run.suite_digest, attempts, scores) != run.id:
        raise StoreError(
            f"{folder}: the answers do not match the run id in manifest.json (edited or damaged); "
            "delete the folder and run the candidate again"
        )
    return run
