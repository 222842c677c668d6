"""The verbs: what the command line does, as functions. Synchronous, usable from a notebook.

```python
import evalharness
verdict = evalharness.compare("base.yaml", "candidate.yaml")
verdict.outcome, verdict.exit_code
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalharness.api.agreement import rater_agreement as rater_agreement
from evalharness.api.asking import ask, named_keys, write_reports
from evalharness.api.asking import asked_again as asked_again
from evalharness.api.baseline_tables import baseline_diff_json as baseline_diff_json
from evalharness.api.baseline_tables import baseline_diff_text as baseline_diff_text
from evalharness.api.baseline_tables import baseline_text as baseline_text
from evalharness.api.baseline_tables import baselines_json as baselines_json
from evalharness.api.baseline_tables import baselines_text as baselines_text
from evalharness.api.baseline_tables import blessing_json as blessing_json
from evalharness.api.baseline_tables import blessing_text as blessing_text
from evalharness.api.baseline_tables import expired_json as expired_json
from evalharness.api.baseline_tables import expired_text as expired_text
from evalharness.api.baselines import baseline_folder as baseline_folder
from evalharness.api.baselines import baseline_history as baseline_history
from evalharness.api.baselines import diff_baseline as diff_baseline
from evalharness.api.baselines import expire_baselines as expire_baselines
from evalharness.api.baselines import list_baselines as list_baselines
from evalharness.api.baselines import show_baseline as show_baseline
from evalharness.api.blessing import bless_baseline as bless_baseline
from evalharness.api.calibration import calibrate_judge as calibrate_judge
from evalharness.api.contamination import check_contamination as check_contamination
from evalharness.api.contamination import contamination_json as contamination_json
from evalharness.api.contamination import contamination_not_checked as contamination_not_checked
from evalharness.api.contamination import contamination_text as contamination_text
from evalharness.api.contamination import diff_golden_sets as diff_golden_sets
from evalharness.api.contamination import refuse_to_replace as refuse_to_replace
from evalharness.api.contamination import save_report as save_report
from evalharness.api.contamination import version_diff_json as version_diff_json
from evalharness.api.contamination import version_diff_text as version_diff_text
from evalharness.api.diagnosing import diagnosis_json as diagnosis_json
from evalharness.api.diagnosing import diagnosis_text as diagnosis_text
from evalharness.api.diagnosing import doctor as doctor
from evalharness.api.exports import Exported as Exported
from evalharness.api.exports import export as export
from evalharness.api.history import history as history
from evalharness.api.history import history_json as history_json
from evalharness.api.history import history_table as history_table
from evalharness.api.history import write_history as write_history
from evalharness.api.importing import import_results as import_results
from evalharness.api.labelling import collect_labels as collect_labels
from evalharness.api.labelling import sample_to_label as sample_to_label
from evalharness.api.planning import plan as plan
from evalharness.api.planning import plan_json as plan_json
from evalharness.api.planning import plan_table as plan_table
from evalharness.api.preferences import export_preferences as export_preferences
from evalharness.api.ranking import rank as rank
from evalharness.api.ranking import rank_json as rank_json
from evalharness.api.ranking import rank_table as rank_table
from evalharness.api.ranking import rank_to as rank_to
from evalharness.api.refusing import refusal as refusal
from evalharness.api.refusing import write_refusal
from evalharness.api.settings import DEFAULT_SEED as DEFAULT_SEED
from evalharness.api.settings import Settings as Settings
from evalharness.api.settings import version as version
from evalharness.api.winrate import judge_win_rate as judge_win_rate
from evalharness.core.attempts import Attempt as Attempt
from evalharness.core.candidates import Candidate
from evalharness.core.cases import GoldenSet
from evalharness.core.runs import Run
from evalharness.core.suites import Redaction, Suite
from evalharness.core.verdicts import Verdict
from evalharness.engine.build import rescore_folder
from evalharness.engine.collect import collect
from evalharness.engine.progress import Progress as Progress
from evalharness.engine.progress import Silent as Silent
from evalharness.engine.sides import choose_suite, find_sides, finished_run, spending, suite_of
from evalharness.errors import InvalidComparisonError, Problem
from evalharness.plugins import Entry, default_registry
from evalharness.redaction import Redactor, secret_values
from evalharness.report.folder import clear_report
from evalharness.spec.load import load_candidate as _load_candidate
from evalharness.spec.load import load_golden_set as _load_golden_set
from evalharness.spec.load import load_suite as _load_suite
from evalharness.store.files import slug
from evalharness.store.folder import load_run as _load_run
from evalharness.store.folder import locked, save_run, save_scores

if TYPE_CHECKING:
    from evalharness.spec.golden import Finding
    from evalharness.spec.rankings import FromQrels


def load_suite(path: str | Path, settings: Settings | None = None) -> Suite:
    """Read a suite with its golden sets.

    Raises:
        SpecError: with every problem in every file.
    """
    use = settings or Settings()
    return _load_suite(use.paths.argument(str(path)), paths=use.paths, registry=use.registry)


def load_candidate(path: str | Path, settings: Settings | None = None) -> Candidate:
    """Read a candidate file.

    Raises:
        SpecError: with every problem.
    """
    use = settings or Settings()
    return _load_candidate(use.paths.argument(str(path)), paths=use.paths, registry=use.registry)


def load_golden_set(path: str | Path, settings: Settings | None = None) -> GoldenSet:
    """Read a golden set folder; changed cases under an unchanged lock are refused.

    Raises:
        SpecError: with every problem.
    """
    use = settings or Settings()
    return _load_golden_set(use.paths.argument(str(path)), paths=use.paths)


def load_run(folder: str | Path) -> Run:
    """Read a stored run.

    Raises:
        StoreError: not a run folder, damaged, or edited after it was written.
    """
    return _load_run(Path(folder))


def run(
    candidate: str | Path, *, suite: str | Path | None = None, settings: Settings | None = None
) -> tuple[Run, Path]:
    """Answer and score a suite with one candidate.

    Returns:
        The run and its folder.

    Raises:
        SpecError: a file is wrong, or a prompt does not fit a case. UsageError: no suite is named, or the candidate
            cannot be asked. ProviderError: the endpoint failed or a cap was reached; what was collected is kept.
        StoreError: the run folder cannot be read or written.
    """
    use = settings or Settings()
    model = load_candidate(candidate, use)
    chosen = choose_suite([model.suite_path], suite, use.surroundings)
    how = replace(spending(use.surroundings, chosen).how, named=named_keys(chosen, [model]))
    return collect(chosen, model, use.registry, how)


def write_outputs(run: Run, path: str | Path) -> None:
    """Write the answers of a run in the format that `provider: replay` reads.

    Raises:
        StoreError: the file cannot be written.
    """
    from evalharness.providers.replay import write_outputs as write

    write(Path(path), [a for group in run.attempts.values() for a in group.values()])


def compare(
    baseline: str | Path,
    candidate: str | Path,
    *,
    suite: str | Path | None = None,
    anchor: str | Path | None = None,
    extend: bool = False,
    settings: Settings | None = None,
) -> Verdict:
    """Run or load both sides, compare them and decide.

    Either side is a candidate file, a run folder, the name of a blessed baseline or a result file of another tool.
    The verdict's `exit_code` is what the command line exits with.
    Where the suite has `sampling`, cases are asked in looks until it is decided; `extend` then allows what is held in
    reserve. `anchor` names what both sides are held against beside the verdict, the release in production for one: a
    candidate file, a run folder or the name of a blessed baseline.

    Raises:
        InvalidComparisonError: there is no baseline, or the anchor cannot be used. (Two sides that cannot be compared
            give the outcome "invalid".)
        SpecError: files are wrong. UsageError: a side is neither of the two, no suite is named or two are, or a
            candidate cannot be asked. ProviderError: the endpoint failed or a cap was reached; what was collected is
            kept. StoreError: a run folder is damaged, or cannot be written.
    """
    use = settings or Settings()
    left, right = find_sides(baseline, candidate, use.surroundings, results=True, suite=suite)
    return ask(left, right, suite, use, anchor=anchor, extend=extend)[0].verdict


def compare_to(
    out: str | Path | None,
    baseline: str | Path,
    candidate: str | Path,
    *,
    suite: str | Path | None = None,
    anchor: str | Path | None = None,
    extend: bool = False,
    settings: Settings | None = None,
) -> tuple[Verdict, Mapping[str, Path]]:
    """`compare`, and write the reports to `out` (default `reports/<base>-vs-<candidate>`).

    The reports of an earlier comparison there are removed first: a comparison that fails leaves no old verdict behind.
    One that is refused (InvalidComparisonError) leaves the reports of an invalid verdict, which say why.

    Returns:
        The verdict and the written files by name.

    Raises:
        UsageError: `out` holds something else than a report. StoreError: it cannot be written. And as `compare`.
    """
    use = settings or Settings()
    folder = Path(out) if out is not None else None
    if folder is not None:  # before anything can fail; without `out` the folder is known once the sides are
        clear_report(folder)
    try:
        left, right = find_sides(baseline, candidate, use.surroundings, results=True, suite=suite)
        if folder is None:
            folder = use.cwd / "reports" / f"{slug(left.name)}-vs-{slug(right.name)}"
            clear_report(folder)
        found, chosen = ask(left, right, suite, use, anchor=anchor, extend=extend)
    except InvalidComparisonError as error:
        if folder is not None:
            write_refusal(folder, error, baseline, candidate, suite=suite, settings=use)
        raise
    return found.verdict, write_reports(found, chosen, folder, use, use.now().date().isoformat())


def render(verdict: Verdict, out: str | Path) -> Mapping[str, Path]:
    """Write comparison.json, report.html, summary.md and junit.xml.

    Raises:
        StoreError: the folder cannot be written.
    """
    from evalharness.report.folder import write_report

    return write_report(verdict, Path(out))


def table(verdict: Verdict, *, width: int = 100, color: bool = False) -> str:
    """The terminal table with the verdict and its reasons; `width` in columns, at least 40."""
    from evalharness.report.terminal import render_terminal

    return render_terminal(verdict, width=width, color=color)


def comparison_json(verdict: Verdict) -> str:
    """The text of comparison.json."""
    from evalharness.report.comparison_json import comparison_json as to_json

    return to_json(verdict)


def rerender(
    folder: str | Path, *, out: str | Path | None = None, settings: Settings | None = None
) -> tuple[Verdict, Mapping[str, Path]]:
    """Render the reports of an earlier comparison again, from its stored runs and without a call.

    Raises:
        StoreError: `folder` is not a report folder, its runs are gone or were replaced, or the suite has another gate
            or sampling by now. And as `compare`.
    """
    use = settings or Settings()
    found, suite, manifest = asked_again(folder, use)
    target = Path(out) if out is not None else Path(folder)
    clear_report(target)  # refuses a folder that holds something else, a run for one
    same = replace(use, seed=manifest["seed"])
    return found.verdict, write_reports(found, suite, target, same, manifest["today"])


def rescore(folder: str | Path, *, suite: str | Path | None = None, settings: Settings | None = None) -> Run:
    """Score the stored answers of a run again, with the suite as it is now and without a call, and store the result.

    Raises:
        StoreError: not a run folder, damaged, or it cannot be written. SpecError: the suite is wrong.
        UsageError: no suite is named. InvalidComparisonError: the run answered other golden sets than the suite's.
    """
    use = settings or Settings()
    place = finished_run(folder)
    chosen = choose_suite([suite_of(place, use.paths)], suite, use.surroundings, stored=[place])
    with locked(place, lambda: use.progress.note(f"waiting for another process on {place}")):
        how = use.surroundings.how
        arrive = how.arrival(chosen)
        scored = rescore_folder(place, chosen, use.registry, how.store.scores, arrive=arrive)
        # what was stored as it came is stored anew where this suite takes something out of it
        (save_run if chosen.redact.stored else save_scores)(place, scored)
    return scored


def check_golden_set(
    path: str | Path, *, allow_small: bool = False, settings: Settings | None = None
) -> Sequence[Finding]:
    """Everything doubtful about a golden set: size, duplicates, targets, slices, rotation, card, lock.

    What is wrong with its files is among the findings, at level "error".

    Raises:
        SpecError: there is nothing at `path`.
    """
    from evalharness.spec.golden import check_golden_set as check

    use = settings or Settings()
    return check(
        use.paths.argument(str(path)),
        paths=use.paths,
        today=use.now().date(),
        allow_small=allow_small,
    )


def lock_golden_set(path: str | Path, settings: Settings | None = None) -> str:
    """Write the digest of the cases into card.yaml; returns it.

    Raises:
        SpecError: the golden set is wrong, or its cases changed and its version did not.
        StoreError: card.yaml cannot be written.
    """
    from evalharness.spec.golden import lock_golden_set as lock

    use = settings or Settings()
    return lock(use.paths.argument(str(path)), paths=use.paths)


def golden_from_qrels(
    qrels: str | Path, queries: str | Path, out: str | Path, *, name: str, settings: Settings | None = None
) -> FromQrels:
    """Write a golden set from the judgments and queries of a retrieval benchmark; see `spec.rankings`.

    Raises:
        SpecError: everything wrong in the two files. UsageError: the name is not one, or `out` holds a golden set.
        StoreError: `out` cannot be written.
    """
    from evalharness.spec.rankings import golden_from_qrels as make

    use = settings or Settings()
    judged, asked = use.paths.argument(str(qrels)), use.paths.argument(str(queries))
    return make(judged, asked, Path(out), name=name, paths=use.paths)


def validate(
    paths: Sequence[str | Path],
    settings: Settings | None = None,
    *,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Problem]:
    """Every problem in these files and in the files they name; `tell` hears what is to be known beside them."""
    from evalharness.spec.load import validate as check

    use = settings or Settings()
    return check([str(p) for p in paths], paths=use.paths, registry=use.registry, tell=tell)


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a file kind: candidate, suite, card, case, judge, outputs.

    Raises:
        KeyError: no such kind; `schema_kinds` lists them.
    """
    from evalharness.spec.json_schema import json_schema as schema

    return schema(kind)


def schema_kinds() -> list[str]:
    """The file kinds `json_schema` knows."""
    from evalharness.spec.json_schema import KINDS

    return sorted(KINDS)


def scaffold(directory: str | Path) -> list[Path]:
    """Write a starter suite, golden set, judge and two candidates that run at once.

    Raises:
        UsageError: something there would be overwritten. StoreError: the folder cannot be written.
    """
    from evalharness.spec.scaffold import scaffold as write

    return write(Path(directory))


def plugins() -> list[Entry]:
    """Everything installed, built-in or not.

    Raises:
        PluginError: two plugins claim one name.
    """
    return default_registry().entries()


def plain(text: str) -> str:
    """Text made safe for a terminal: control and direction-changing characters removed."""
    from evalharness.report.text import strip_control

    return strip_control(text)


def without_keys(text: str) -> str:
    """Text without keys: those of the environment by value, and what looks like one."""
    return _keys_of(tuple(secret_values(Settings().environ))).text(text)


@cache
def _keys_of(secrets: tuple[str, ...]) -> Redactor:
    return Redactor(Redaction(), secrets)
