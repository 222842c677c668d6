"""JSON Schema of each file kind, for editors: the same models that validate, so the two cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evalharness.spec.models import CandidateFile, CardFile, CaseLine, JudgeFile, OutputLine, Spec, SuiteFile

KINDS: Final[Mapping[str, type[Spec]]] = {
    "candidate": CandidateFile,
    "suite": SuiteFile,
    "card": CardFile,
    "case": CaseLine,
    "judge": JudgeFile,
    "outputs": OutputLine,
}
"""File kinds. `case` and `outputs` describe one line of a JSONL file."""


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a file kind.

    Raises:
        KeyError: no such kind.
    """
    schema = KINDS[kind].model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": f"evalharness {kind}",
    }
