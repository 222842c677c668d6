"""`evalharness run`: one candidate on one suite."""

from __future__ import annotations

import json
from pathlib import Path

import click

from evalharness.cli.options import emit, guarded_stdout, json_option, running, settings, suite_option


@click.command("run")
@click.argument("candidate", metavar="CAND")
@suite_option
@click.option(
    "--outputs",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the answers as a recording for `provider: replay`.",
)
@json_option
@running
def command(
    candidate: str,
    suite: str | None,
    outputs: Path | None,
    as_json: bool,
    allow: tuple[Path, ...],
    store: Path | None,
    seed: int | None,
    fresh: bool,
    quiet: bool,
) -> int:
    """Answer and score a suite with one candidate, and store the run.

    A run that was killed resumes where it stopped; an identical run costs no calls. Prints the run folder, which
    `compare` and `score` take. Exits 0 also where single calls failed: the comparison judges that.

    \b
    evalharness run candidate.yaml
    evalharness run candidate.yaml --outputs recorded.jsonl
    """
    from evalharness import api

    use = settings(allow=allow, store=store, seed=seed, fresh=fresh, quiet=quiet)
    with guarded_stdout():
        run, folder = api.run(candidate, suite=suite, settings=use)
    if outputs is not None:
        api.write_outputs(run, outputs)
    counts = run.manifest["coverage"]
    if as_json:
        emit(json.dumps({"folder": use.paths.show(folder), **run.manifest}, indent=2, ensure_ascii=False))
        return 0
    facts = run.manifest["facts"]
    emit(
        f"{use.paths.show(folder)}\n"
        f"  {counts['scored']} of {counts['planned']} scored, {counts['failed']} failed, "
        f"{counts['unscored']} unscored; {facts.get('calls', 0)} calls made"
    )
    return 0
