"""The report folder: four files, each complete or not there, and a manifest of what lies behind them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from evalharness.core.histories import MetricHistory
from evalharness.core.judges import JudgedEval
from evalharness.core.verdicts import Verdict
from evalharness.errors import StoreError, UsageError
from evalharness.store.files import explain, file_digest, read_json, write_json, write_text
from evalharness.store.judgments import NAME as JUDGMENTS
from evalharness.store.judgments import save_judgments

FILES: Final = ("comparison.json", "report.html", "summary.md", "junit.xml")
"""What a report folder holds."""
MANIFEST: Final = "manifest.json"
"""Beside them: where the two runs lie, for `report`, and what they cost, when and where they were made."""
CI: Final = "ci.json"
"""Beside them, where `evalharness ci gate` compared: what the later steps of a CI job tell."""

_RUN_FACTS: Final = ("name", "run_id", "models_returned", "facts", "environment", "plugins")


@dataclass(frozen=True, slots=True)
class Log:
    """A tool's own log of a side's benchmark: what to call it, and its path from the report's folder."""

    role: str
    eval: str
    path: str

    @property
    def href(self) -> str:
        """The path as a link, which can be nothing but a path."""
        return quote(self.path)


def logs_of(sides: Mapping[str, Mapping[str, Any]], cwd: Path, directory: Path) -> list[Log]:
    """The logs that the runs of both sides hold. `sides` by role, as `about_run` gives them."""
    found = []
    for role, about in sides.items():
        told = (about.get("facts") or {}).get("benchmarks") or {}
        for name, facts in told.items():
            for log in facts.get("logs", ()):
                path = cwd / about["folder"] / str(log)
                found.append(Log(role, name, os.path.relpath(path.resolve(), directory.resolve())))
    return found


def write_report(
    verdict: Verdict,
    directory: Path,
    logs: Sequence[Log] = (),
    history: Sequence[MetricHistory] = (),
    *,
    judged: Sequence[JudgedEval] | None = None,
) -> dict[str, Path]:
    """Write `comparison.json`, `report.html`, `summary.md` and `junit.xml` under `directory`, made when missing.

    Where judges spoke, `judgments.jsonl` holds what they said: `judged`, or what the verdict holds. `logs` are linked
    from the page, which shows `history` as a trend.

    comparison.json is written first: where a later file cannot be written, the verdict is already on disk.

    Returns:
        file name → path.

    Raises:
        StoreError: a file cannot be written; says which, why, and what to do.
    """
    # Imported here: every command sees this module, and only those that write a report need a template engine.
    from evalharness.report.comparison_json import comparison_json
    from evalharness.report.html import render_html
    from evalharness.report.junit import render_junit
    from evalharness.report.markdown import render_markdown

    paths = {}
    renders: tuple[Callable[[Verdict], str], ...] = (
        comparison_json,
        lambda of: render_html(of, logs, history),
        render_markdown,
        render_junit,
    )
    for name, render in zip(FILES, renders, strict=True):
        paths[name] = directory / name
        write_text(paths[name], render(verdict))
    said = verdict.comparison.judges if judged is None else judged
    if said:
        save_judgments(directory / JUDGMENTS, said)
    return paths


def clear_report(directory: Path) -> None:
    """Remove what an earlier comparison wrote, so that one that fails leaves no old verdict behind.

    Raises:
        UsageError: a manifest.json there is not of a comparison (a run folder, somebody's project): nothing is touched.
        StoreError: a file cannot be removed.
    """
    try:
        if not may_hold_report(directory):
            raise UsageError(
                f"{directory}: its {MANIFEST} is not of a comparison; choose another folder with --out"
            )
        for name in (*FILES, JUDGMENTS, CI, MANIFEST):
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise explain(error, directory, "remove the reports of an earlier comparison") from error


def may_hold_report(directory: Path) -> bool:
    """Whether nothing shows that a folder is of something else: a manifest.json in it is that of a comparison."""
    manifest = directory / MANIFEST
    return not manifest.exists() or _is_of_comparison(manifest)


def about_run(manifest: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """What a report's manifest says of one run: calls, tokens, money, times, versions, and where the rest is."""
    return {"folder": folder, **{key: manifest.get(key) for key in _RUN_FACTS}}


def write_report_manifest(
    directory: Path,
    *,
    baseline: Mapping[str, Any],
    candidate: Mapping[str, Any],
    anchor: Mapping[str, Any] | None,
    suite: str,
    rules: str,
    seed: int,
    today: str,
    critical: str | None,
    looks: Mapping[str, Any] | None,
    judges: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write manifest.json.

    `baseline`, `candidate` and `anchor` are from `about_run`; the rest are paths, a digest of the rules, the seed, the
    day that waivers were judged on, which looks were taken, and by eval what asking the judges took: what it takes to
    come to the same verdict and the same report again. The judgments beside it, where there are any, are held by their
    digest.

    Raises:
        StoreError: it cannot be written.
    """
    write_json(
        directory / MANIFEST,
        {
            "schema_version": 1,
            "kind": "comparison",
            "baseline": baseline,
            "candidate": candidate,
            "anchor": anchor,
            "suite": suite,
            "rules": rules,
            "seed": seed,
            "today": today,
            "critical": critical,
            "looks": looks,
            "judges": judges,
            "judgments": file_digest(directory / JUDGMENTS),
        },
    )


def read_report_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a report folder.

    Raises:
        StoreError: there is none, it is damaged, or the judgments beside it are not those that were written with it.
    """
    place = directory / MANIFEST
    if not place.is_file():
        refused = (directory / FILES[0]).is_file()
        raise StoreError(
            f"{directory}: "
            + (
                "this comparison was refused before there were two runs, or not all of its reports could be written; "
                "run compare again"
                if refused
                else f"no {MANIFEST} in it; give the --out folder of an earlier compare"
            )
        )
    manifest = read_json(place)
    sides = [manifest.get(role) for role in ("baseline", "candidate")] if isinstance(manifest, dict) else []
    if sides and manifest.setdefault("anchor", None) is not None:
        sides.append(manifest["anchor"])
    whole = (
        bool(sides)
        and manifest.get("kind") == "comparison"
        and all(isinstance(s, dict) and isinstance(s.get("folder"), str) and s.get("run_id") for s in sides)
        and isinstance(manifest.get("suite"), str)
        and isinstance(manifest.get("rules"), str)
        and type(seed := manifest.get("seed")) is int
        and seed >= 0
        and isinstance(manifest.get("critical"), str | None)
        and _is_day(manifest.get("today"))
        and _are_looks(manifest.get("looks"))
        and _are_facts(manifest.setdefault("judges", {}))
    )
    if not whole:
        raise StoreError(f"{place}: damaged, or not of a comparison; run compare again")
    if manifest.get("judgments") != file_digest(directory / JUDGMENTS):
        raise StoreError(
            f"{directory / JUDGMENTS}: edited, damaged or gone since compare wrote it; run compare again"
        )
    found: dict[str, Any] = manifest
    return found


def _are_facts(found: Any) -> bool:
    """Whether this is, by eval, what asking its judge took: numbers by name."""
    return isinstance(found, dict) and all(
        isinstance(facts, dict) and all(type(value) in (int, float) for value in facts.values())
        for facts in found.values()
    )


def _is_day(found: Any) -> bool:
    try:
        return isinstance(found, str) and date.fromisoformat(found).isoformat() == found
    except ValueError:
        return False


def _are_looks(found: Any) -> bool:
    if found is None:
        return True
    return (
        isinstance(found, dict)
        and type(found.get("taken")) is int
        and found["taken"] >= 1
        and isinstance(found.get("repeats"), list)
        and len(found["repeats"]) == 2
        and all(own is None or (type(own) is int and own >= 1) for own in found["repeats"])
    )


def _is_of_comparison(manifest: Path) -> bool:
    try:
        found = read_json(manifest)
    except StoreError:
        return False
    return isinstance(found, dict) and found.get("kind") == "comparison"
