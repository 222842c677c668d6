"""`evalharness golden`: make, check, lock and compare golden sets, and look for their cases in training data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalharness.cli.options import common, emit, json_option, say, settings

if TYPE_CHECKING:
    from evalharness.api import Settings

_TRAINING_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".md", ".parquet", ".gz")
_NEEDS_TRAIN = ("threshold", "ngram", "near", "embeddings", "embedding_threshold", "text_keys", "report")


@click.group("golden")
def command() -> None:
    """Make, check, lock and compare golden sets."""


@command.command("check")
@click.argument("folders", metavar="GOLDEN_SET...", nargs=-1, required=True)
@click.option("--allow-small", is_flag=True, help="Fewer than 100 cases is a warning, not an error.")
@click.option(
    "--train",
    multiple=True,
    metavar="FILES",
    help="Training data in which no case may stand: a path or a quoted pattern (repeatable).",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.7,
    metavar="T",
    help="With --train: share of a case's n-grams, or Jaccard similarity, that is a leak (default 0.7).",
)
@click.option(
    "--ngram",
    type=click.IntRange(3, 50),
    default=13,
    metavar="N",
    help="With --train: words of an n-gram (default 13; shorter for short texts).",
)
@click.option(
    "--near",
    type=click.Choice(["exact", "minhash"]),
    default="exact",
    help="With --train: near duplicates by an exact join, or by datasketch's MinHash-LSH.",
)
@click.option(
    "--embeddings",
    metavar="MODEL",
    help="With --train: compare meaning too, with a sentence-transformers model.",
)
@click.option(
    "--embedding-threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    metavar="C",
    help="With --embeddings: cosine similarity that is a leak (default 0.9).",
)
@click.option(
    "--text-key",
    "text_keys",
    multiple=True,
    metavar="KEY",
    help="With --train: a further key or column that holds text (repeatable).",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --train: also write what --json prints to this .json file.",
)
@json_option
@common
@click.pass_context
def check(
    context: click.Context,
    /,
    folders: tuple[str, ...],
    allow_small: bool,
    train: tuple[str, ...],
    report: Path | None,
    as_json: bool,
    allow: tuple[Path, ...],
    **how: Any,
) -> int:
    """Look for what makes a golden set untrustworthy.

    Size, exact and near duplicates, empty or ambiguous targets, thin slices, one-sided classes, the rotation date, what
    the card leaves out, and the lock. With --train also contamination: cases that stand in training data, exactly, in
    parts, nearly, or in meaning. Exits 4 when a case leaked, 2 when there is an error; warnings do not.

    \b
    evalharness golden check golden_sets/support-routing
    evalharness golden check golden_sets/support-routing --train 'data/**/*.jsonl'
    """
    from evalharness import api

    use = settings(allow=allow, quiet=not train)
    folders = _each_once(folders)
    _refuse_what_does_not_go_together(context, folders, train, report)
    rows: list[dict[str, object]] = []
    failed = False
    for folder in folders:
        findings = list(api.check_golden_set(folder, allow_small=allow_small, settings=use))
        if not train:
            findings.append(api.contamination_not_checked(folder))
        failed |= any(f.level == "error" for f in findings)
        rows.extend({"golden_set": folder, **asdict(f)} for f in findings)
        if not as_json:
            emit(api.without_keys("\n".join(_findings(folder, findings))))
    code = 2 if failed else 0
    if not train:
        if as_json:
            emit(api.without_keys(json.dumps(rows, indent=2, ensure_ascii=False, default=str)))
        return code
    return _contamination(folders, train, report, as_json, rows, code, use, how)


def _each_once(named: Sequence[str]) -> tuple[str, ...]:
    """The golden sets that were named, each once: pre-commit names the card.yaml and the cases.jsonl of one set."""
    return tuple(
        dict.fromkeys(
            str(path.parent) if path.name in ("card.yaml", "cases.jsonl") else str(path)
            for path in map(Path, named)
        )
    )


def _contamination(
    folders: Sequence[str],
    train: Sequence[str],
    report: Path | None,
    as_json: bool,
    rows: Sequence[dict[str, object]],
    code: int,
    use: Settings,
    how: dict[str, Any],
) -> int:
    from evalharness import api

    if report is not None:
        api.refuse_to_replace(report)
    found = api.check_contamination(folders, train, settings=use, **how)
    code = found.exit_code if found.leaks else max(code, found.exit_code)
    whole = {"findings": rows, "contamination": api.contamination_json(found), "exit_code": code}
    text = json.dumps(whole, indent=2, ensure_ascii=False, default=str)
    if report is not None:
        api.save_report(report, text)
        say(f"report: {report}")
    emit(api.without_keys(text if as_json else api.contamination_text(found)))
    return code


def _findings(folder: str, findings: Sequence[Any]) -> list[str]:
    from evalharness import api

    errors = sum(f.level == "error" for f in findings)
    warnings = sum(f.level == "warning" for f in findings)
    counts = ", ".join(
        f"{n} {word if n == 1 else word + 's'}" for n, word in ((errors, "error"), (warnings, "warning"))
    )
    return [f"{api.plain(folder)}: {counts}", *(f"  {api.plain(str(f))}" for f in findings)]


def _refuse_what_does_not_go_together(
    context: click.Context, folders: Sequence[str], train: Sequence[str], report: Path | None
) -> None:
    from click.core import ParameterSource

    given = [
        name
        for name in (*_NEEDS_TRAIN, "embeddings")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    options = {"text_keys": "--text-key"}
    if given and not train:
        name = options.get(given[0], "--" + given[0].replace("_", "-"))
        raise click.UsageError(f"{name} needs --train FILES")
    if "embedding_threshold" in given and "embeddings" not in given:
        raise click.UsageError("--embedding-threshold needs --embeddings MODEL")
    if report is not None and report.suffix.lower() != ".json":
        raise click.UsageError(f"--report writes JSON: name a .json file, not {str(report)!r}")
    for folder in folders:
        if train and folder.endswith(_TRAINING_ENDINGS) and Path(folder).name != "cases.jsonl":
            raise click.UsageError(
                f"{folder!r} is no golden set; a pattern behind --train has to be quoted, since the shell spreads it: "
                "--train 'data/*.jsonl'"
            )


@command.command("diff", short_help="What differs between two versions of a golden set.")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@json_option
@common
def diff(old: str, new: str, as_json: bool, allow: tuple[Path, ...]) -> int:
    """Compare two versions of a golden set.

    Cases added, removed and changed, by slice, and new cases whose question is an old one. Exits 2 when the cases
    differ and the version does not: a version never changes.

    \b
    evalharness golden diff golden_sets/routing-1 golden_sets/routing-2
    """
    from evalharness import api

    found = api.diff_golden_sets(old, new, settings(allow=allow))
    if as_json:
        emit(api.without_keys(json.dumps(api.version_diff_json(found), indent=2, ensure_ascii=False)))
    else:
        emit(api.without_keys(api.version_diff_text(found)))
    return 2 if found.errors else 0


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
