"""`evalharness judge`: what judges and people agree on, and what verdicts say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from evalharness.cli.options import common, emit, guarded_stdout, json_option, running, settings, suite_option


@click.group("judge")
def command() -> None:
    """Judges and the people they are held against: labels, calibration, agreement, verdicts."""


@command.command("agreement", short_help="How far raters agree, with intervals.")
@click.argument("ratings", metavar="RATINGS")
@click.option(
    "--scale",
    type=click.Choice(["nominal", "ordinal", "interval"]),
    default="nominal",
    show_default=True,
    help="What values are: labels, numbers in an order, or numbers whose differences count.",
)
@click.option(
    "--level", type=float, default=0.95, show_default=True, metavar="P", help="Level of the intervals."
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Seed of the resampling (fixed by default)."
)
@json_option
def agreement(
    ratings: str,
    scale: Literal["nominal", "ordinal", "interval"],
    level: float,
    seed: int | None,
    as_json: bool,
) -> int:
    """Print how far the raters of a file agree: people, judges, or both.

    RATINGS is a JSONL file of {"id": item, "rater": name, "value": label or number}; a rating that was not given is a
    line left out. Shown: raw agreement, Cohen's kappa for each pair of raters, Fleiss' kappa where every item has as
    many ratings, Krippendorff's alpha and Gwet's AC1.

    \b
    evalharness judge agreement ratings.jsonl
    evalharness judge agreement stars.jsonl --scale ordinal --json
    """
    from evalharness import api

    table = api.rater_agreement(ratings, scale=scale, level=level, settings=settings(seed=seed))
    emit(table.json() if as_json else api.plain(table.text()))
    return 0


@command.command("winrate", short_help="Win rate from recorded verdicts, at equal length too.")
@click.argument("verdicts", metavar="VERDICTS")
@click.option(
    "--baseline", metavar="ANSWERS", help="The baseline's answers: recorded outputs (JSONL) or a run folder."
)
@click.option(
    "--candidate", metavar="ANSWERS", help="The candidate's answers; with both, length is controlled for."
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Seed of the resampling (fixed by default)."
)
@json_option
def winrate(
    verdicts: str, baseline: str | None, candidate: str | None, seed: int | None, as_json: bool
) -> int:
    """Print how often a judge prefers the candidate, from verdicts that were recorded.

    VERDICTS is a JSONL file of {"id": case, "order": "AB" or "BA", "winner": "baseline", "candidate" or "tie"}, or
    with "preference", a number from 0 to 1, in place of "winner". Shown: the win rate over cases (both orders of a
    case averaged first), flips with the order, the preferred slot and, where the answers are given, the win rate at
    equal length.

    \b
    evalharness judge winrate verdicts.jsonl
    evalharness judge winrate verdicts.jsonl --baseline base.jsonl --candidate cand.jsonl
    """
    from evalharness import api

    rates = api.judge_win_rate(verdicts, baseline=baseline, candidate=candidate, settings=settings(seed=seed))
    emit(rates.json() if as_json else api.plain(rates.text()))
    return 0


@command.command("calibrate", short_help="Hold a judge against human labels.")
@click.argument("judge", metavar="JUDGE")
@running
@json_option
def calibrate(
    judge: str,
    fresh: bool,
    quiet: bool,
    seed: int | None,
    store: Path | None,
    allow: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Have a judge judge the items that people labelled, and say whether it may gate.

    JUDGE is a judge's folder with calibration.jsonl. Pairs are asked in both orders. Written: calibration.json beside
    judge.yaml, bound to the judge and the labels as they are now. Exit 0: the judge may gate; 4: it may not.

    \b
    evalharness judge calibrate judges/helpfulness
    evalharness judge calibrate judges/helpfulness --json
    """
    from evalharness import api

    use = settings(allow=allow, store=store, seed=seed, fresh=fresh, quiet=quiet)
    with guarded_stdout():
        found = api.calibrate_judge(judge, use)
    emit(found.json() if as_json else api.plain(found.text()))
    return found.exit_code


@command.command("sample", short_help="Draw answers for people to label.")
@click.argument("answers", metavar="ANSWERS")
@click.option("--against", metavar="ANSWERS", help="The baseline's answers: people then compare two.")
@click.option("--n", type=click.IntRange(1), default=100, show_default=True, help="Items to draw.")
@click.option(
    "--out", required=True, metavar="FILE", help="The file to write; one that is there is never replaced."
)
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "html"]), help="By the ending of --out otherwise."
)
@click.option("--eval", "eval_id", metavar="ID", help="Draw from this eval of the suite only.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Seed of the draw (fixed by default).")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where runs lie (default .evalharness).",
)
@suite_option
@common
@json_option
def sample(
    answers: str,
    against: str | None,
    n: int,
    out: str,
    form: Literal["jsonl", "csv", "html"] | None,
    eval_id: str | None,
    seed: int | None,
    store: Path | None,
    suite: str | None,
    allow: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Draw answers at random for people to label, blind to whose they are.

    ANSWERS is a run folder, a candidate file of recorded outputs, or recorded outputs (JSONL, with --suite). An .html
    file is a page to label in that needs no network; .csv and .jsonl are to be filled in.

    \b
    evalharness judge sample .evalharness/runs/cand-0123 --against .evalharness/runs/base-4567 --out label.html
    evalharness judge sample candidate.yaml --n 200 --out label.csv
    """
    from evalharness import api

    use = settings(allow=allow, store=store, seed=seed)
    with guarded_stdout():
        drawn = api.sample_to_label(
            answers, out, against=against, n=n, suite=suite, eval_id=eval_id, form=form, settings=use
        )
    emit(drawn.json() if as_json else api.plain(drawn.text()))
    return 0


@command.command("collect", short_help="Join people's labels into calibration.jsonl.")
@click.argument("sheets", metavar="SHEET...", nargs=-1, required=True)
@click.option(
    "--out", required=True, metavar="FILE", help="The file to write; one that is there is never replaced."
)
@json_option
def collect(sheets: tuple[str, ...], out: str, as_json: bool) -> int:
    """Join filled sheets, of several people too: a judge's calibration.jsonl, or labels that correct a pairwise judge.

    Each SHEET is a file that `judge sample` wrote (CSV or JSONL) or that its page saved, with labels. Lines without a
    label are left out and counted.

    \b
    evalharness judge collect labels-ann.jsonl labels-bob.csv --out judges/helpfulness/calibration.jsonl
    """
    from evalharness import api

    found = api.collect_labels(sheets, out, settings())
    emit(found.json() if as_json else api.plain(found.text()))
    return 0


@command.command("export", short_help="Judged pairs as preference data for training.")
@click.argument("report", metavar="REPORT", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The JSONL file to write."
)
@click.option(
    "--held-out",
    "held_out",
    multiple=True,
    metavar="GOLDEN_SET",
    help="A golden set beside the suite's that no pair may repeat (repeatable).",
)
@json_option
@common
def export(report: Path, out: Path, held_out: tuple[str, ...], as_json: bool, allow: tuple[Path, ...]) -> int:
    """Write pairs that a judge compared as {"prompt", "chosen", "rejected"} for preference training.

    REPORT is the folder `compare` wrote. Left out and counted: ties, verdicts that depend on the order, odd answers,
    and every case of a golden set, unless its card says `held_out: false`; then still every case that asks what a
    held-out case asks. With nothing to export no file is written.

    \b
    evalharness judge export reports/base-vs-candidate --out pairs.jsonl
    """
    from evalharness import api

    told = api.export_preferences(report, out, held_out=held_out, settings=settings(allow=allow))
    emit(told.json() if as_json else api.plain(told.text()))
    return 0
