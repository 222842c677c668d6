"""`evalharness import`: result files of other tools as stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalharness.cli.options import common, emit, json_option, say, settings


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--as", "name", metavar="NAME", help="What the run is called (default: as its file).")
@click.option(
    "--map",
    "mapping",
    metavar="ROLE=COLUMN,...",
    help="Which column of a table is what: id=question_id,output=answer,score:accuracy=acc,tag:lang=language.",
)
@click.option("--suite", metavar="FILE", help="A suite whose evals read these tasks (`results: TASK`).")
@click.option(
    "--write-suite",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a suite of these tasks, to be changed; the runs then name it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the run goes (default: a folder of the store).",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where runs lie (default .evalharness).",
)
@json_option
@common
def command(
    files: tuple[str, ...],
    name: str | None,
    mapping: str | None,
    suite: str | None,
    write_suite: Path | None,
    out: Path | None,
    store: Path | None,
    as_json: bool,
    allow: tuple[Path, ...],
) -> int:
    """Make a run folder of each result FILE of another tool.

    Inspect logs, lm-eval samples, promptfoo results, DeepEval test runs, OpenAI Evals logs, Ragas frames, and tables. A
    folder with a file for each task is one run. `compare` takes such files directly, too.

    \b
    evalharness import logs/base.eval --write-suite suite.yaml
    evalharness import answers.csv --map id=question_id,output=answer,score:accuracy=acc --as base
    """
    from evalharness import api

    use = settings(allow=allow, store=store)
    done = api.import_results(
        files,
        name=name,
        mapping=mapping,
        suite=suite,
        write_suite=write_suite,
        out=out,
        settings=use,
    )
    if as_json:
        import json

        emit(json.dumps([item.about for item in done], indent=2, ensure_ascii=False))
    else:
        emit("\n".join(api.plain(_shown(item.about)) for item in done))
    for item in done:
        for warning in item.about["warnings"]:
            say(api.plain(f"{item.about['name']}: {warning}"))
    return 0


def _shown(about: Any) -> str:
    counts = about["coverage"]
    repeats = f", {about['repeats']} repeats" if about["repeats"] > 1 else ""
    lines = [
        about["folder"],
        f"  {about['tool']} {about['tool_version']}".rstrip()
        + f": {counts['scored']} of {counts['planned']} scored, {counts['failed']} failed, "
        f"{counts['unscored']} unscored{repeats}",
    ]
    for task in about["tasks"]:
        version = f" {task['version']}" if task["version"] else ""
        lines.append(f"  {task['task']}{version}: {task['cases']} cases")
        for metric in task["metrics"]:
            how = "gates" if metric["gates"] else f"advisory: {metric['why'] or 'declared so'}"
            lines.append(f"    {metric['id']}: {metric['direction']} is better, {metric['kind']}; {how}")
    return "\n".join(lines)
