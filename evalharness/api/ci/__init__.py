"""The gate inside of a CI job: compare and keep what the job tells of it, then tell it. Telling never decides.

`gate` writes `ci.json` beside the reports: the exit code, what kept it from a verdict, the regressed cases with their
lines. Everything after reads that file, so that no later step can come to another verdict, or to a better one.
"""

from __future__ import annotations

from evalharness.api.ci.gating import gate
from evalharness.api.ci.outcome import Outcome, read_outcome
from evalharness.api.ci.telling import annotate, check, comment, fetch, notice, outputs, summary
from evalharness.github.client import GitHubError
from evalharness.github.commands import quiet
from evalharness.report.folder import clear_report

__all__ = [
    "GitHubError",
    "Outcome",
    "annotate",
    "check",
    "clear_report",
    "comment",
    "fetch",
    "gate",
    "notice",
    "outputs",
    "quiet",
    "read_outcome",
    "summary",
]
