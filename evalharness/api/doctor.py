"""`doctor`: what would stop tonight's gate, looked for now. No model is asked and nothing is written."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evalharness.api.settings import Settings
from evalharness.api.settings import version as own_version
from evalharness.core.diagnosis import Finding, State
from evalharness.errors import EvalHarnessError, SpecError

if TYPE_CHECKING:
    from evalharness.core.candidates import Candidate
    from evalharness.core.suites import Suite

LEAST_FREE_BYTES: Final = 1 << 30
"""Less free disk than this is a warning: a run folder of long answers takes hundreds of megabytes."""
_TIMEOUT_S: Final = 5.0
_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "benchmarks": ("lm_eval", "inspect_ai"),
    "rag": ("ragas",),
    "text": ("rouge_score", "sacrebleu", "bert_score", "nltk", "sklearn"),
    "retrieval": ("ranx", "sentence_transformers"),
    "contamination": ("datasketch", "pyarrow"),
    "stats": ("statsmodels", "pandas"),
    "local": ("transformers", "torch", "peft", "accelerate"),
    "remote": ("fsspec",),
    "traffic": ("duckdb",),
    "otel": ("opentelemetry",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
}
"""What shows that an extra is installed. Looked for, not imported."""


def doctor(
    files: Sequence[str | Path] = (), *, suite: str | Path | None = None, settings: Settings | None = None
) -> list[Finding]:
    """What would stop or spoil a run of these candidates: one finding for each thing looked at.

    Args:
        files: candidate files or run folders, the baseline first. None: only the surroundings are looked at.
        suite: in place of the one that the candidates name.
        settings: where to look.
    """
    use = settings or Settings()
    found = [*_surroundings(use), *_extras()]
    if not files and suite is None:
        return found
    problems = list(_files(files, suite, use))
    found += problems
    if not any(finding.state == "problem" for finding in problems):
        found += _candidates(files, use)
        found += _suite(files, suite, use)
    return found


def diagnosis_text(findings: Sequence[Finding], *, quiet: bool = False) -> str:
    """Findings as lines for a terminal; `quiet`: only those with something to do."""
    from evalharness.report.diagnosis import render_findings

    return render_findings(findings, quiet=quiet)


def _finding(area: str, about: str, state: State, text: str, fix: str = "") -> Finding:
    return Finding(area=area, about=about, state=state, text=text, fix=fix)


def diagnosis_json(findings: Sequence[Finding]) -> str:
    """Findings as the JSON text of docs/cli.md."""
    from evalharness.report.diagnosis import findings_json

    return findings_json(findings)


# --- surroundings --------------------------------------------------------------------------------------------------


def _surroundings(use: Settings) -> Iterator[Finding]:
    area = "surroundings"
    yield _finding(
        area, "evalharness", "ok", f"{own_version()} on Python {platform.python_version()}, {sys.platform}"
    )
    store = use.surroundings.how.store.root
    nearest = next(place for place in (store, *store.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        yield _finding(
            area,
            "store",
            "problem",
            f"{use.paths.show(store)} cannot be written",
            "choose another with --store",
        )
        return
    free = shutil.disk_usage(nearest).free
    gib = f"{free / 2**30:.1f} GiB free at {use.paths.show(store)}"
    low = free < LEAST_FREE_BYTES
    yield _finding(
        area, "disk", "warning" if low else "ok", gib, "make room, or choose another --store" if low else ""
    )


def _extras() -> Iterator[Finding]:
    """Each extra: installed with which versions, or missing with the command that installs it."""
    for extra, modules in _MODULES.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if missing:
            fix = f"where it is needed: pip install 'evalharness[{extra}]'"
            yield _finding("extras", extra, "note", f"not installed ({', '.join(missing)})", fix)
            continue
        yield _finding("extras", extra, "ok", ", ".join(_versions(modules)))


def _versions(modules: Sequence[str]) -> list[str]:
    from importlib.metadata import packages_distributions

    known = packages_distributions()
    shown = []
    for name in modules:
        for dist in known.get(name, [name])[:1]:
            try:
                shown.append(f"{dist} {version(dist)}")
            except PackageNotFoundError:
                shown.append(name)
    return shown


# --- files, candidates ---------------------------------------------------------------------------------------------


def _files(files: Sequence[str | Path], suite: str | Path | None, use: Settings) -> Iterator[Finding]:
    from evalharness.api import validate
    from evalharness.store.folder import is_run_folder

    given = [str(item) for item in files if not is_run_folder(use.cwd / str(item))]
    if suite is not None:
        given.append(str(suite))
    problems = validate(given, use) if given else []
    for problem in problems:
        yield _finding("files", problem.file or "files", "problem", problem.message, problem.hint or "")
    if not problems:
        yield _finding("files", "files", "ok", f"{', '.join(given) or 'stored runs'}: nothing wrong")


def _candidates(files: Sequence[str | Path], use: Settings) -> Iterator[Finding]:
    from evalharness.api import load_candidate
    from evalharness.store.folder import is_run_folder

    for item in files:
        if is_run_folder(use.cwd / str(item)):
            continue
        candidate = load_candidate(item, use)
        yield from _asked(candidate, use)


def _asked(candidate: Candidate, use: Settings) -> Iterator[Finding]:
    """What it takes to ask one candidate or judge: its key, its server, its libraries."""
    provider = use.registry.load("providers", candidate.provider)
    if provider.recorded:
        yield _finding("candidates", candidate.name, "ok", "recorded answers: nothing is asked")
        return
    key, missing = _key(candidate, use)
    if missing:
        yield _finding("candidates", candidate.name, "problem", f"no key in {missing}", f"set {missing}")
    elif key:
        yield _finding("candidates", candidate.name, "ok", f"a key is in {key}")
    url = candidate.options.get("base_url") or getattr(provider, "default_url", None)
    if url:
        yield _reached(candidate, str(url), use.environ.get(key or "", ""))
    if candidate.price is None and url:
        fix = "add `price: {input_per_million: …, output_per_million: …}`"
        yield _finding("candidates", candidate.name, "note", "its price is unknown, so no cost is told", fix)


def _key(candidate: Candidate, use: Settings) -> tuple[str | None, str | None]:
    """The variable that holds the key, and the one that should and does not. Never its value."""
    default = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}.get(candidate.provider)
    own = candidate.options.get("base_url") is None
    name = candidate.api_key_env or (default if own else None)
    if name is None:
        return None, None
    return (name, None) if use.environ.get(name, "").strip() else (None, name)


def _reached(candidate: Candidate, url: str, key: str) -> Finding:
    """Whether a server answers at all. Its list of models is asked for, which costs nothing."""
    import httpx2

    headers = {"Authorization": f"Bearer {key}", "x-api-key": key} if key else {}
    try:
        status = httpx2.get(
            url.rstrip("/") + "/models", headers=headers, timeout=_TIMEOUT_S, follow_redirects=False
        ).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
        fix = "start the server, or mend base_url"
        text = f"{_host(url)} does not answer: {type(error).__name__}"
        return _finding("candidates", candidate.name, "problem", text, fix)
    if status in (401, 403) and key:
        fix = f"check the key in {candidate.api_key_env or 'its variable'}"
        return _finding("candidates", candidate.name, "problem", f"{_host(url)} refuses the key", fix)
    text = f"{_host(url)} answers" + (f" (status {status})" if status >= 400 else "")
    return _finding("candidates", candidate.name, "ok", text)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).netloc.rpartition("@")[2]


# --- the suite -----------------------------------------------------------------------------------------------------


def _suite(files: Sequence[str | Path], suite: str | Path | None, use: Settings) -> Iterator[Finding]:
    """The suite made complete: its tools, its golden sets, its judges and what it can see."""
    from evalharness.engine.sides import choose_suite, find_sides
    from evalharness.spec.load import suite_warnings

    try:
        if files:
            left, right = find_sides(files[0], files[-1], use.surroundings)
            named, stored = [left.suite_path, right.suite_path], [left.folder, right.folder]
        else:
            named, stored = [], [None]
        whole = choose_suite(named, suite, use.surroundings, stored=stored)
    except EvalHarnessError as error:
        yield from _problems("suite", error)
        return
    for text in suite_warnings(whole):
        yield _finding("suite", whole.name, "warning", text)
    yield from _judges(whole, use)
    yield from _scorers(whole, use)
    if files:
        yield from _power(files, suite, whole, use)


def _problems(area: str, error: EvalHarnessError) -> Iterator[Finding]:
    if isinstance(error, SpecError):
        for problem in error.problems:
            yield _finding(area, problem.file or area, "problem", problem.message, problem.hint or "")
    else:
        yield _finding(area, area, "problem", str(error))


def _judges(suite: Suite, use: Settings) -> Iterator[Finding]:
    from evalharness.engine.judging import heard, judge_as_candidate

    for metric_id, item, judge in suite.judged:
        standing = heard(item.id, judge, ()).standing
        if standing.may_gate:
            yield _finding("judges", metric_id, "ok", f"{judge.name} has earned to gate")
        else:
            fix = f"calibrate it: evalharness judge calibrate {judge.name}"
            wants = not suite.gate.rule(metric_id).advisory
            state: State = "warning" if wants else "note"
            yield _finding(
                "judges", metric_id, state, f"advisory: {standing.reasons[0]}", fix if wants else ""
            )
        for member in judge.panel or (judge,):
            candidate = judge_as_candidate(member)
            if not use.registry.load("providers", candidate.provider).recorded:
                yield from _asked(candidate, use)


def _scorers(suite: Suite, use: Settings) -> Iterator[Finding]:
    """What scorers need of the machine: they are built, which refuses what is missing, and nothing is scored."""
    from evalharness.engine.ready import refuse_unready

    try:
        refuse_unready(suite, use.registry)
    except EvalHarnessError as error:
        yield from _problems("scorers", error)


def _power(
    files: Sequence[str | Path], suite: str | Path | None, whole: Suite, use: Settings
) -> Iterator[Finding]:
    """Whether the gated metrics could see a drop of their margin, as `plan` reckons it."""
    from evalharness.api.planning import plan

    try:
        planned = plan(files[0], files[-1] if len(files) > 1 else None, suite=suite, settings=use)
    except EvalHarnessError as error:
        yield from _problems("power", error)
        return
    for problem in planned.problems:  # a comparison would go on, and could not see what it is there to see
        yield _finding("power", whole.name, "warning", problem.message, problem.hint or "")
    if not planned.problems:
        yield _finding("power", whole.name, "ok", "every primary metric could see twice its margin")
