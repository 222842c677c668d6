"""`evalharness judge`: what judges and people agree on, and what verdicts say."""

from __future__ import annotations

from typing import Literal

import click

from evalharness.cli.options import emit, json_option, settings


@click.group("judge")
def command() -> None:
    """Judges and human raters: how far they agree, and what their verdicts say."""


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
