"""`evalharness plugins`: what is installed."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from evalharness.cli.options import emit, json_option


@click.command("plugins")
@json_option
def command(as_json: bool) -> int:
    """List every scorer, provider and other plugin with where it comes from. Imports none of them."""
    from evalharness import api

    entries = api.plugins()
    if as_json:
        emit(json.dumps([asdict(entry) for entry in entries], indent=2))
        return 0
    emit("\n".join(f"{e.kind:<11} {e.name:<16} {e.origin:<20} {e.target}" for e in entries))
    return 0
