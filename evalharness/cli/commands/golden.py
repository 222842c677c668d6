"""`evalharness golden`: make, check and lock golden sets."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from evalharness.cli.options import common, emit, json_option, settings


@click.group("golden")
def command() -> None:
    """Make, check and lock golden sets."""


@command.command("check")
@click.argument("folders", metavar="GOLDEN_SET...", nargs=-1, required=True)
@click.option("--allow-small", is_flag=True, help="Fewer than 100 cases is a warning, not an error.")
@json_option
@common
def check(folders: tuple[str, ...], allow_small: bool, as_json: bool, allow: tuple[Path, ...]) -> int:
    """Look for what makes a golden set untrustworthy.

    Size, exact and near duplicates, empty or ambiguous targets, thin slices, one-sided classes, the rotation date, what
    the card leaves out, and the lock. Exits 2 when there is an error; warnings do not.

    \b
    evalharness golden check golden_sets/support-routing
    """
    from evalharness import api

    use = settings(allow=allow)
    failed = False
    rows: list[dict[str, object]] = []
    for folder in folders:
        findings = api.check_golden_set(folder, allow_small=allow_small, settings=use)
        failed |= any(f.level == "error" for f in findings)
        rows.extend({"golden_set": folder, **asdict(f)} for f in findings)
        if not as_json:
            errors = sum(f.level == "error" for f in findings)
            warnings = sum(f.level == "warning" for f in findings)
            counts = ", ".join(
                f"{n} {word if n == 1 else word + 's'}"
                for n, word in ((errors, "error"), (warnings, "warning"))
            )
            lines = [f"{api.plain(folder)}: {counts}"]
            lines += [f"  {api.plain(str(f))}" for f in findings]
            emit("\n".join(lines))
    if as_json:
        emit(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
    return 2 if failed else 0


@command.command("from-qrels", short_help="Make a golden set of a retrieval benchmark.")
@click.argument("qrels")
@click.argument("queries")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="The golden set's folder."
)
@click.option("--name", required=True, help="The golden set's name.")
def from_qrels(qrels: str, queries: str, out: Path, name: str) -> int:
    """Make a golden set of the judgments and queries of a retrieval benchmark.

    QRELS is TREC's, BEIR's or JSON; QUERIES is BEIR's JSON Lines (`_id`, `text`) or `id<TAB>text`. A query becomes a
    case where it has a relevant document.

    \b
    evalharness golden from-qrels qrels/test.tsv queries.jsonl --out golden_sets/support-search --name support-search
    """
    from evalharness import api

    made = api.golden_from_qrels(qrels, queries, out, name=name, settings=settings())
    shown = api.plain(str(made.folder))
    lines = [f"{shown}: {made.n_cases:,} cases, {made.n_judgments:,} judgments"]
    if made.n_unjudged:
        lines.append(f"left out, since the qrels do not judge them: {made.n_unjudged:,}")
    if made.n_without_relevant:
        lines.append(f"left out, since none of their documents is relevant: {made.n_without_relevant:,}")
    lines.append(f"Say in {shown}/card.yaml where it comes from, then: evalharness golden lock {shown}")
    emit("\n".join(lines))
    return 0


@command.command("lock", short_help="Write the digest of the cases into card.yaml.")
@click.argument("folders", metavar="GOLDEN_SET...", nargs=-1, required=True)
@common
def lock(folders: tuple[str, ...], allow: tuple[Path, ...]) -> int:
    """Write the digest of the cases into card.yaml, so that a changed case is noticed.

    Changed cases need a new `version` in the card first.
    """
    from evalharness import api

    use = settings(allow=allow)
    for folder in folders:
        emit(f"{api.plain(folder)}: {api.lock_golden_set(folder, use)}")
    return 0
