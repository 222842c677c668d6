"""`evalharness schema`: JSON Schemas for editors."""

from __future__ import annotations

import json

import click

from evalharness.cli.options import emit


@click.command("schema")
@click.argument("kind", required=False)
def command(kind: str | None) -> int:
    """Print the JSON Schema of a file KIND, for completion and checks in an editor. Without KIND: list the kinds.

    \b
    evalharness schema suite > suite.schema.json
    """
    from evalharness import api
    from evalharness.errors import UsageError

    kinds = api.schema_kinds()
    if kind is None:
        emit("\n".join(kinds))
        return 0
    if kind not in kinds:
        raise UsageError(f"no file kind {kind!r}; kinds: {', '.join(kinds)}")
    emit(json.dumps(api.json_schema(kind), indent=2, ensure_ascii=False))
    return 0
