"""A comparison that is refused before there are two runs to judge: the verdict is invalid, and the reports say why.

What tells of a gate later (a comment, a list of tests, a script that reads the verdict) reads the same files as ever.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

from evalharness.api.asking import named_keys
from evalharness.api.settings import Settings
from evalharness.core.candidates import Candidate
from evalharness.core.comparisons import Comparison, Side
from evalharness.core.runs import Coverage
from evalharness.core.suites import GatePolicy, Margin, Redaction, Suite
from evalharness.core.verdicts import Verdict
from evalharness.errors import EvalHarnessError, InvalidComparisonError
from evalharness.gate.decide import decide
from evalharness.redaction import Redactor, secret_values
from evalharness.report.folder import write_report
from evalharness.spec.load import load_candidate, load_suite

_USUAL: Final = GatePolicy(max_drop=Margin(Fraction(1, 50), relative=False))
"""Where the suite cannot be read. No metric is held against it."""


def refusal(
    error: InvalidComparisonError,
    baseline: str | Path,
    candidate: str | Path,
    *,
    suite: str | Path | None = None,
    settings: Settings | None = None,
) -> Verdict:
    """The verdict "invalid" of a comparison that ended with `error`, for the same arguments. It has no metrics.

    Sides and suite are named as far as their files say; runs and digests that there are none of are empty texts.
    """
    use = settings or Settings()
    models = [_candidate(given, use) for given in (baseline, candidate)]
    named = [suite, *(model.suite_path for model in reversed(models) if model is not None)]
    chosen = _suite(next((path for path in named if path is not None), None), use)
    policy = chosen.gate if chosen is not None else _USUAL
    first, second = (
        _side(role, model.name if model is not None else str(given))
        for role, model, given in zip(("baseline", "candidate"), models, (baseline, candidate), strict=True)
    )
    verdict = decide(
        Comparison(
            baseline=first,
            candidate=second,
            suite_name=chosen.name if chosen is not None else "",
            suite_digest="",
            seed=use.seed,
            alpha=policy.alpha,
            metrics=(),
            slices=(),
            changes=(),
            critical=(),
            problems=(from_here(str(error), use),),
        ),
        policy,
    )
    known = [model for model in models if model is not None]
    keys = named_keys(chosen, known) if chosen is not None else {model.api_key_env or "" for model in known}
    hidden = chosen.redact if chosen is not None else Redaction()
    return Redactor(hidden, secret_values(use.environ, keys - {""})).all(verdict)


def from_here(text: str, use: Settings) -> str:
    """A message without the working directory in front of its paths: reports are alike wherever a project lies."""
    return text.replace(f"{use.cwd.absolute()}{os.sep}", "")


def write_refusal(
    folder: Path,
    error: InvalidComparisonError,
    baseline: str | Path,
    candidate: str | Path,
    *,
    suite: str | Path | None,
    settings: Settings,
) -> Mapping[str, Path]:
    """Write the reports of a refused comparison; returns them by file name, none where they cannot be written.

    There is no manifest beside them, since there are no runs to render anything from.
    """
    verdict = refusal(error, baseline, candidate, suite=suite, settings=settings)
    with contextlib.suppress(EvalHarnessError):  # why the comparison was refused is what has to be told
        return write_report(verdict, folder)
    return {}


def _side(role: str, name: str) -> Side:
    return Side(
        role=role,
        name=name,
        run_id="",
        digest="",
        provider="",
        model=None,
        models=(),
        repeats=0,
        coverage=Coverage(planned=0, scored=0, failed=0, unscored=0),
    )


def _candidate(given: str | Path, use: Settings) -> Candidate | None:
    try:
        return load_candidate(use.paths.argument(str(given)), paths=use.paths, registry=use.registry)
    except EvalHarnessError:
        return None


def _suite(path: str | Path | None, use: Settings) -> Suite | None:
    if path is None:
        return None
    try:
        return load_suite(use.paths.argument(str(path)), paths=use.paths, registry=use.registry)
    except EvalHarnessError:
        return None
