"""Judges, display-ready: standing first, then health as rows held against what is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from evalharness._canon import short
from evalharness.core.judges import (
    Calibration,
    Families,
    Figure,
    FlagCount,
    Flips,
    Health,
    JudgedEval,
    Measured,
    NotMeasured,
)
from evalharness.core.suites import JUDGE_METRIC
from evalharness.judging.standing import MAX_FLIPS, MIN_AGREEMENT, MIN_KAPPA, MIN_LABELS
from evalharness.report import numbers, words
from evalharness.report.text import one_line

Mood: TypeAlias = Literal["meets", "misses", "look", ""]
"""Held against a threshold; "look": there is none, and a reader should know; "": nothing to say."""

MIN_ALPHA: Final = 0.667
"""Krippendorff's own limit for tentative conclusions (Content Analysis, 2004, chapter 11)."""
SIGNIFICANT: Final = 0.05
_NAME: Final = 120
_SENTENCE: Final = 1200
_CRITERIA: Final = 60
_EXACT: Final = 1e-9
_EQUAL_LENGTH: Final = "Win rate at equal length"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRow:
    """One measure: here (on these answers), in the calibration (on people's labels), and what is wanted of it.

    `brief`: it stands in one line too, where there is room for what matters alone.
    """

    label: str
    here: str
    here_sub: str
    calibrated: str
    calibrated_sub: str
    wanted: str
    mood: Mood
    says: str
    brief: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeView:
    """One judge of one eval. `criteria` are (criterion, baseline's share, candidate's share)."""

    metric: str
    name: str
    how: str
    models: str
    digest_short: str
    may_gate: bool
    standing: str
    reasons: tuple[str, ...]
    counts: str
    rows: tuple[HealthRow, ...]
    criteria: tuple[tuple[str, str, str], ...]
    criteria_more: int
    flags: tuple[str, ...]

    @property
    def first_line(self) -> str:
        """Standing and counts in one line."""
        return " · ".join(filter(None, (self.standing, self.how, self.counts)))

    @property
    def second_line(self) -> str:
        """Health in one line: what was measured here or on labels, with what is wanted where it is missed."""
        return "; ".join(
            [*(_short(row) for row in self.rows if row.brief and (row.here or row.calibrated)), *self.flags]
        )


def build_judges(judged: Iterable[JudgedEval]) -> tuple[JudgeView, ...]:
    """Every judge of a comparison, in suite order."""
    return tuple(_judge(one) for one in judged)


def advisories(judged: Iterable[JudgedEval], warnings: Iterable[str]) -> tuple[str, ...]:
    """Those of the warnings that say why a judge's metric does not gate: they stand beside the verdict."""
    starts = tuple(f"{metric_of(one)} is advisory: " for one in judged if not one.standing.may_gate)
    return tuple(warning for warning in warnings if starts and warning.startswith(starts))


def metric_of(one: JudgedEval) -> str:
    """The id of the judge's metric."""
    return f"{one.eval}/{JUDGE_METRIC}"


# --- one judge --------------------------------------------------------------------------------------------------------


def _judge(one: JudgedEval) -> JudgeView:
    judge, health = one.judge, one.health
    criteria = () if health is None else health.criteria
    return JudgeView(
        metric=one_line(metric_of(one), _NAME),
        name=one_line(judge.name, _NAME),
        how=_how(one),
        models=", ".join(one_line(model, _NAME) for model in one.models) or "no name returned",
        digest_short=short(one_line(judge.digest, _NAME)),
        may_gate=one.standing.may_gate,
        standing="may gate" if one.standing.may_gate else "may not gate",
        reasons=tuple(one_line(reason, _SENTENCE) for reason in one.standing.reasons),
        counts=", ".join(filter(None, ("" if health is None else _counts(one, health), _asked(one.facts)))),
        rows=tuple(_rows(one)),
        criteria=tuple(
            (one_line(c.id, _NAME), _shown(c.baseline)[0] or "–", _shown(c.candidate)[0] or "–")
            for c in criteria[:_CRITERIA]
        ),
        criteria_more=max(0, len(criteria) - _CRITERIA),
        flags=() if health is None else tuple(_flag(flag) for flag in health.flags),
    )


def _how(one: JudgedEval) -> str:
    judge = one.judge
    if judge.mode == "pairwise":
        orders = "in both orders" if judge.orders == "both" else "in one random order"
        text = (
            "two answers side by side"
            if judge.provider == "replay"
            else f"two answers side by side, {orders}"
        )
    elif judge.mode == "pointwise" and judge.criteria:
        text = f"one answer by {words.plural(len(judge.criteria), 'criterion', 'criteria')}"
    else:
        text = "one answer, claim by claim" if judge.mode == "claims" else "one answer"
    if judge.provider == "replay":
        text += ", recorded verdicts"
    if judge.panel:
        text += f", a panel of {len(judge.panel)} ({judge.combine})"
    return text


def _asked(facts: Mapping[str, Any]) -> str:
    """What asking took now, "" where every verdict was there already or was recorded."""
    if not facts.get("calls"):
        return ""
    parts = [f"{words.plural(facts['calls'], 'call')} made"]
    tokens = facts.get("spent_input_tokens"), facts.get("spent_output_tokens")
    if None not in tokens:
        parts.append(f"{tokens[0]:,} tokens in, {tokens[1]:,} out")
    usd = facts.get("spent_usd")
    parts.append(numbers.money(usd) if usd is not None else "cost unknown")
    return ", ".join(parts)


def _counts(one: JudgedEval, health: Health) -> str:
    noun = "pair" if one.judge.mode == "pairwise" else "answer"
    parts = [words.plural(health.n, noun)]
    named = (
        (health.judged, "judged"),
        (health.recorded, "with recorded verdicts"),
        (health.identical, "of equal answers (a tie without a call)"),
        (health.unjudged, "not judged"),
    )
    parts += [f"{count:,} {what}" for count, what in named if count]
    if one.judge.mode == "pairwise" and health.won + health.tied + health.lost:
        parts.append(f"the candidate won {health.won:,}, lost {health.lost:,}, tied {health.tied:,}")
    return ", ".join(parts)


def _rows(one: JudgedEval) -> Iterator[HealthRow]:
    calibration, health = one.judge.calibration, one.health
    if calibration is not None:
        yield from _agreement_rows(calibration)
    if one.judge.mode == "pairwise":
        yield from _position_rows(calibration, health)
    yield _length_row(calibration, health)
    if health is None:
        return
    if one.judge.mode == "pairwise":
        yield _equal_length_row(health)
    yield _style_row(health)
    yield _reply_row(health)
    if len(one.judge.panel) > 1:
        yield _panel_row(health.panel_agreement)
    yield _family_row(health.families)


def _row(
    label: str,
    here: Figure | None = None,
    calibrated: Measured | None = None,
    *,
    wanted: str = "",
    mood: Mood = "",
    says: str = "",
    as_share: bool = True,
) -> HealthRow:
    here_shown, here_sub = _shown(here, as_share)
    calibrated_shown, calibrated_sub = _shown(calibrated, as_share)
    if isinstance(here, NotMeasured):
        says = says or f"not known here: {one_line(here.reason, 300)}"
    return HealthRow(
        label=label,
        here=here_shown,
        here_sub=here_sub,
        calibrated=calibrated_shown,
        calibrated_sub=calibrated_sub,
        wanted=wanted,
        mood=mood,
        says=says,
    )


def _agreement_rows(found: Calibration) -> Iterator[HealthRow]:
    judged = f"{found.n_judged:,}"
    yield HealthRow(
        label="People's labels",
        here="",
        here_sub="",
        calibrated=judged,
        calibrated_sub="" if found.n_labels == found.n_judged else f"of {found.n_labels:,}",
        wanted=f"{MIN_LABELS} at least",
        mood="meets" if found.n_judged >= MIN_LABELS else "misses",
        says="",
    )
    yield _row(
        "Agrees with people",
        calibrated=found.agreement,
        wanted=f"{MIN_AGREEMENT:.0%} at least",
        mood=_at_least(found.agreement, MIN_AGREEMENT),
    )
    yield _row(
        "Beyond chance (kappa)",
        calibrated=found.kappa,
        wanted=f"{MIN_KAPPA:.2f} at least",
        mood=_at_least(found.kappa, MIN_KAPPA),
        says="" if found.kappa is not None else one_line(found.problem or "undefined", 300),
        as_share=False,
    )
    for label, figure in (("Sees good answers", found.sensitivity), ("Sees bad answers", found.specificity)):
        if figure is not None:
            yield _row(label, calibrated=figure)


def _position_rows(calibration: Calibration | None, health: Health | None) -> Iterator[HealthRow]:
    flips = None if health is None else health.flips
    rate, slot = (flips.rate, flips.first_slot) if isinstance(flips, Flips) else (flips, None)
    measured = [f for f in (rate, calibration.flip_rate if calibration else None) if isinstance(f, Measured)]
    kept = all(figure.value <= MAX_FLIPS + _EXACT for figure in measured)
    yield _row(
        "Verdict changes with the order",
        rate,
        calibration.flip_rate if calibration else None,
        wanted=f"{MAX_FLIPS:.0%} at most",
        mood=("meets" if kept else "misses") if measured else "",
        says=""
        if not isinstance(flips, Flips)
        else f"{flips.n_flipped:,} of {words.plural(flips.n_pairs, 'pair')}",
    )
    before = calibration.first_slot if calibration else None
    if slot is None and before is None:
        return
    says, mood = "", ""
    if isinstance(flips, Flips) and flips.p_value is not None:
        says = f"{flips.n_first:,} to {flips.n_second:,}, p {_p(flips.p_value)} against no preference"
        if flips.p_value < SIGNIFICANT:
            which = "first" if flips.n_first > flips.n_second else "second"
            mood, says = "look", f"prefers the {which} answer: {says}"
    yield _row(
        "Of these changes, for the first answer", slot, before, wanted="near 50%", mood=_mood(mood), says=says
    )


def _length_row(calibration: Calibration | None, health: Health | None) -> HealthRow:
    here = None if health is None else health.length_correlation
    before = calibration.length_correlation if calibration else None
    tells = here if isinstance(here, Measured) else before
    says, mood = "", ""
    if isinstance(tells, Measured) and (tells.low > 0 or tells.high < 0):
        mood, says = "look", f"{'longer' if tells.value > 0 else 'shorter'} answers are preferred"
    return _row(
        "Length and preference (r)",
        here,
        before,
        wanted="near 0",
        mood=_mood(mood),
        says=says,
        as_share=False,
    )


def _style_row(health: Health) -> HealthRow:
    found = health.style_correlation
    says, mood = "", ""
    if isinstance(found, Measured) and (found.low > 0 or found.high < 0):
        mood, says = "look", f"{'more' if found.value > 0 else 'less'} formatted answers are preferred"
    return _row(
        "Formatting and preference (r)", found, wanted="near 0", mood=_mood(mood), says=says, as_share=False
    )


def _equal_length_row(health: Health) -> HealthRow:
    raw, equal = health.win_rate, health.length_controlled
    says, mood = "", ""
    if isinstance(raw, Measured):
        says = f"{percent(raw.value)} as it is"
        if isinstance(equal, Measured) and (raw.value - 0.5) * (equal.value - 0.5) < 0:
            mood, says = "look", f"{says}: at equal length the other side wins"
        if isinstance(equal, NotMeasured):
            says += f"; at equal length not known: {one_line(equal.reason, 300)}"
    return _row(_EQUAL_LENGTH, equal, mood=_mood(mood), says=says)


def _reply_row(health: Health) -> HealthRow:
    says = ""
    if health.problem is not None:
        often = "" if health.problem_count == health.without_value else f", {health.problem_count:,} times"
        says = f"no verdict on {health.without_value:,}: {one_line(health.problem, 300)}{often}"
    bad = bool(health.unreadable or health.without_value)
    return HealthRow(
        label="Replies that are no verdict",
        here=f"{health.unreadable:,} of {health.votes:,}",
        here_sub="",
        calibrated="",
        calibrated_sub="",
        wanted="none",
        mood="look" if bad else "",
        says=says,
        brief=bad,
    )


def _panel_row(alpha: Figure) -> HealthRow:
    mood: Mood = ""
    if isinstance(alpha, Measured):
        mood = "" if alpha.value >= MIN_ALPHA - _EXACT else "look"
    return _row(
        "Members agree (Krippendorff's alpha)",
        alpha,
        wanted=f"{MIN_ALPHA:g} at least",
        mood=mood,
        says="the members often disagree" if mood else "",
        as_share=False,
    )


def _family_row(families: Families) -> HealthRow:
    says, mood = "", ""
    if not families.judge:
        here = "not known"
        says = "no name of the judge's model tells its family"
    else:
        here = " and ".join(one_line(name, _NAME) for name in families.judge)
        if len(families.own) == 2:
            says = "both sides are of the judge's own family"
        elif families.own:
            mood, says = (
                "look",
                f"the {families.own[0]} is of the judge's own family, which judges tend to prefer",
            )
        elif families.baseline and families.candidate:
            says = "neither side is of it"
        else:
            says = "the families of the sides' models are not all known"
    return HealthRow(
        label="Model family",
        here=here,
        here_sub="",
        calibrated="",
        calibrated_sub="",
        wanted="not a side's",
        mood=_mood(mood),
        says=says,
        brief=bool(mood),
    )


def _flag(flag: FlagCount) -> str:
    sides = f"{flag.baseline:,} of the baseline's answers, {flag.candidate:,} of the candidate's"
    cases = ", ".join(one_line(case, 60) for case in flag.examples)
    return f"{one_line(flag.flag, _NAME)}: {sides}" + (f" ({cases})" if cases else "")


def _at_least(found: Measured | None, least: float) -> Mood:
    return "meets" if found is not None and found.value >= least - _EXACT else "misses"


def _mood(text: str) -> Mood:
    return "look" if text == "look" else ""


def _shown(found: Figure | None, as_share: bool = True) -> tuple[str, str]:
    if not isinstance(found, Measured):
        return "", ""
    if as_share:
        return percent(found.value), f"{percent(found.low)} to {percent(found.high)}"
    return _number(found.value), f"{_number(found.low)} to {_number(found.high)}"


def percent(value: float) -> str:
    """A share as "81.3%"."""
    return numbers.value(value, "fraction")


def _number(value: float) -> str:
    text = f"{abs(value):.2f}"
    return numbers.MINUS + text if value < 0 and float(text) else text


def _p(p: float) -> str:
    text = numbers.p_value(p)
    return text if text[0] == "<" else f"= {text}"


def _short(row: HealthRow) -> str:
    values = [row.here] if row.here else []
    if row.calibrated:
        values.append(f"{row.calibrated} on people's labels" if row.here else row.calibrated)
    notes = [f"wanted: {row.wanted}"] if row.mood == "misses" else []
    if row.says and (row.mood == "look" or row.label == _EQUAL_LENGTH):
        notes.append(row.says)
    text = f"{row.label[0].lower()}{row.label[1:]}: {', '.join(values)}"
    return f"{text} ({'; '.join(notes)})" if notes else text
