"""Win rates from recorded verdicts of a judge, with what could have bent them: position and length."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness.api.answers import Answers, key_of, read_answers
from evalharness.api.settings import Settings
from evalharness.api.tables import counted, table
from evalharness.core.estimates import LEVEL
from evalharness.core.judges import Measured, SideName
from evalharness.errors import UsageError
from evalharness.report.text import one_line

if TYPE_CHECKING:
    from evalharness.spec.verdicts import RecordedVerdict
    from evalharness.stats.judging import Array, NotEstimated, Position
    from evalharness.stats.length import LengthControlled

WIDTH: Final = 80
FEW_CASES: Final = 50
"""Below this many cases an interval is too wide to tell anything but a landslide."""
_MODELS: Final = 3
_NAME_WIDTH: Final = 32
_HEAD: Final = ("", "value", "std. error", "95% interval", "cases")
_NUMBERS: Final = (1, 2, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseWinRate:
    """The win rate over cases, orders and repeats averaged inside each.

    Attributes:
        value: mean preference for the candidate, in [0, 1]; ties count one half.
        standard_error: of that mean, between cases; None with a single case.
        low, high: 95% interval; `method` names it.
        n_cases: cases. won, tied, lost: those above, at and below one half.
    """

    value: float
    standard_error: float | None
    low: float
    high: float
    method: str
    n_cases: int
    won: int
    tied: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRates:
    """Everything that a file of verdicts on pairs says. Rates are for the candidate, in [0, 1].

    Attributes:
        n_verdicts: lines. n_pairs: pairs of answers, one for each repeat of a case.
        models: the judges' names as recorded, with how many verdicts each gave; "" where none is recorded.
        n_without_verdict: cases that both sides answered and the file has no verdict on; None without answers.
        win_rate, length_controlled, position, length_correlation: figures, or why there is none.
        notes: sentences about what a reader may get wrong.
        seed: of the resampling behind the interval of the win rate.
    """

    n_verdicts: int
    n_pairs: int
    models: dict[str, int]
    n_without_verdict: int | None
    win_rate: CaseWinRate
    length_controlled: LengthControlled | NotEstimated
    position: Position | NotEstimated
    length_correlation: Measured | NotEstimated
    notes: tuple[str, ...]
    seed: int

    def json(self) -> str:
        """As JSON, ASCII only; a figure that there is none of is an object with `kind` and `reason`."""
        return json.dumps({"level": LEVEL, **asdict(self)}, indent=2, allow_nan=False)

    def text(self) -> str:
        """For a terminal, at most 80 columns; what the file wrote is cleaned of what could drive one."""
        rate = self.win_rate
        counts = (rate.n_cases, "case"), (self.n_pairs, "pair"), (self.n_verdicts, "verdict")
        head = ", ".join(counted(number, noun) for number, noun in counts)
        lines = [head, f"won {rate.won:,}, tied {rate.tied:,}, lost {rate.lost:,}"]
        if any(self.models):
            lines.append(f"judge: {_names(self.models)}")
        lines += ["", *table([_HEAD, *self._rows()], right=_NUMBERS)]
        notes = [textwrap.fill(one_line(note), WIDTH, break_on_hyphens=False) for note in self.notes]
        return "\n".join([*lines, *([""] if notes else []), *notes])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        from evalharness.stats.judging import NotEstimated

        rate, controlled, position = self.win_rate, self.length_controlled, self.position
        yield _percent("win rate of the candidate", rate, rate.n_cases, error=rate.standard_error)
        if isinstance(controlled, NotEstimated):
            yield "  at equal length", "none", "", "", ""
        else:
            error = controlled.standard_error
            yield _percent("  at equal length", controlled, controlled.n_cases, error=error)
        if isinstance(position, NotEstimated):
            yield "flips with the order", "none", "", "", ""
        else:
            yield _percent("flips with the order", position.flip_rate, position.flip_rate.n)
            to_first = position.flips_to_first
            if to_first is not None:
                yield _percent("  of these for the first slot", to_first, to_first.n)
            yield _percent("verdicts for the first slot", position.first_slot, position.first_slot.n)
        correlation = self.length_correlation
        if isinstance(correlation, NotEstimated):
            yield "length and preference", "none", "", "", ""
        else:
            interval = f"{correlation.low:.2f} to {correlation.high:.2f}"
            yield "length and preference", f"{correlation.value:.2f}", "", interval, f"{correlation.n:,}"


def judge_win_rate(
    verdicts: str | Path,
    *,
    baseline: str | Path | None = None,
    candidate: str | Path | None = None,
    settings: Settings | None = None,
) -> WinRates:
    """Win rate, its standard error and interval, ties, flips and the win rate at equal length from recorded verdicts.

    The unit is the case: both orders of a pair, and repeats, are averaged before anything else. Lengths are in
    characters.

    Args:
        verdicts: a JSONL file of verdicts on pairs; `evalharness.spec.verdicts` has the format.
        baseline: the baseline's answers that were judged: recorded outputs (JSONL) or a run folder.
        candidate: the candidate's; both are given or neither.
        settings: the seed and the working directory are used.

    Raises:
        SpecError: a file cannot be read or is wrong, or verdicts are on other answers, with every problem. StoreError:
            a folder is no finished run. UsageError: one side's answers are given without the other's.
    """
    import numpy as np

    from evalharness.spec.verdicts import check_texts, read_verdicts
    from evalharness.stats.judging import NotEstimated, position
    from evalharness.stats.length import length_controlled_win_rate, length_correlation

    use = settings or Settings()
    if (baseline is None) != (candidate is None):
        missing = "baseline" if baseline is None else "candidate"
        raise UsageError(f"length needs the answers of both sides; name those of the {missing} too")
    file = use.paths.argument(str(verdicts))
    shown = use.paths.show(file)
    rows = read_verdicts(file, shown, on="pairs")
    pairs = _pairs(rows)
    labels = [pair.case for pair in pairs]
    values = np.array([pair.value for pair in pairs])
    per_case = np.clip(_averaged(labels, values), 0.0, 1.0)
    both = [pair for pair in pairs if pair.baseline_first is not None and pair.candidate_first is not None]
    bent = position(
        np.array([pair.baseline_first for pair in both], dtype=np.float64),
        np.array([pair.candidate_first for pair in both], dtype=np.float64),
        cases=[pair.case for pair in both],
    )
    controlled: LengthControlled | NotEstimated
    correlation: Measured | NotEstimated
    controlled = correlation = NotEstimated("no_cases", "the answers' texts are not given")
    without = None
    if baseline is not None and candidate is not None:
        answers: dict[SideName, Answers] = {
            "baseline": read_answers(baseline, rows, use),
            "candidate": read_answers(candidate, rows, use),
        }
        check_texts(rows, lambda row, side: answers[side].texts.get(key_of(row)), shown)
        longer = np.array(
            [answers["candidate"].length(pair.row) - answers["baseline"].length(pair.row) for pair in pairs],
            dtype=np.float64,
        )
        controlled = length_controlled_win_rate(values, longer, cases=labels)
        correlation = length_correlation(per_case, _averaged(labels, longer))
        answered = answers["baseline"].answered & answers["candidate"].answered
        without = len(answered - {row.id for row in rows})
    rate = _rate(per_case, use.seed)
    models = dict(sorted(Counter(row.model or "" for row in rows).items()))
    return WinRates(
        n_verdicts=len(rows),
        n_pairs=len(pairs),
        models=models,
        n_without_verdict=without,
        win_rate=rate,
        length_controlled=controlled,
        position=bent,
        length_correlation=correlation,
        notes=tuple(
            [
                *_about_cases(rate, without, models),
                *_about_position(bent, rows, len(pairs) - len(both)),
                *_about_length(controlled, correlation),
            ]
        ),
        seed=use.seed,
    )


# --- pairs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The verdicts on one pair of answers, averaged over orders; `row` is one of them."""

    case: str
    row: RecordedVerdict
    value: float
    baseline_first: float | None
    candidate_first: float | None


def _pairs(rows: Sequence[RecordedVerdict]) -> list[_Pair]:
    """Pairs in an order that does not depend on that of the lines."""
    groups: dict[tuple[str, str, int], list[RecordedVerdict]] = {}
    for row in rows:
        groups.setdefault((row.golden_set or "", row.id, row.repeat), []).append(row)
    found = []
    for (golden_set, case_id, _), group in sorted(groups.items()):
        by_order = {row.order: row.value for row in group}
        values = [
            row.value for row in sorted(group, key=lambda row: row.order or "") if row.value is not None
        ]
        found.append(
            _Pair(
                case=f"{golden_set}\0{case_id}",
                row=group[0],
                value=sum(values) / len(values),
                baseline_first=by_order.get("AB"),
                candidate_first=by_order.get("BA"),
            )
        )
    return found


def _averaged(labels: Sequence[str], values: Array) -> Array:
    """The mean of the values of each label, in order of first appearance."""
    import numpy as np

    code = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    at = np.array([code[label] for label in labels])
    return np.asarray(np.bincount(at, weights=values) / np.bincount(at))


# --- figures and sentences --------------------------------------------------------------------------------------------


def _rate(per_case: Array, seed: int) -> CaseWinRate:
    import numpy as np

    from evalharness.stats.judging import share, verdicts_of
    from evalharness.stats.preference import EVEN
    from evalharness.stats.preference import win_rate as estimate_win_rate

    found = estimate_win_rate(
        per_case, clusters=None, alpha=(1 - LEVEL), level=LEVEL, rng=np.random.default_rng(seed)
    )
    low, high, method = EVEN + found.interval.low, EVEN + found.interval.high, found.interval.method
    if high - low <= 0 or found.n == 1:  # nothing varies: that is not certainty
        wilson = share(per_case)
        low, high, method = wilson.low, wilson.high, "Wilson"
    verdicts = verdicts_of(per_case)
    return CaseWinRate(
        value=found.candidate,
        standard_error=found.sd / found.n_units**0.5 if found.n > 1 else None,
        low=max(0.0, low),
        high=min(1.0, high),
        method=method,
        n_cases=found.n,
        won=int((verdicts > 0).sum()),
        tied=int((verdicts == 0).sum()),
        lost=int((verdicts < 0).sum()),
    )


def _about_cases(rate: CaseWinRate, without: int | None, models: dict[str, int]) -> Iterator[str]:
    if without:
        yield (
            f"{counted(without, 'case')} that both sides answered {'has' if without == 1 else 'have'} no verdict and "
            "stand in no figure."
        )
    if len(models) > 1:
        yield f"Verdicts by more than one judge are pooled: {_names(models)}."
    if rate.n_cases < FEW_CASES:
        yield f"Fewer than {FEW_CASES} cases tell a landslide from a draw, and little else."


def _about_position(
    position: Position | NotEstimated, rows: Sequence[RecordedVerdict], single: int
) -> Iterator[str]:
    from evalharness.stats.judging import NotEstimated

    if isinstance(position, NotEstimated):
        orders = Counter(row.order for row in rows)
        yield (
            f"{position.reason.capitalize()} (AB {orders['AB']:,}, BA {orders['BA']:,}, order not known "
            f"{orders[None]:,}): whether the judge favours a slot cannot be told."
        )
        return
    if single:
        were = "was" if single == 1 else "were"
        yield f"{counted(single, 'pair')} of {position.n_pairs + single:,} {were} judged in one order only."
    if position.p_value is not None:
        yield (
            f"Of {counted(position.n_flipped, 'flip')}, {position.n_first:,} favour the first slot and "
            f"{position.n_second:,} the second (p {_p(position.p_value)} against no preference, exact binomial "
            f"with mid-p); {position.n_reversed:,} name opposite winners."
        )


def _about_length(
    controlled: LengthControlled | NotEstimated, correlation: Measured | NotEstimated
) -> Iterator[str]:
    from evalharness.stats.judging import NotEstimated

    if isinstance(controlled, NotEstimated):
        yield f"No win rate at equal length: {controlled.reason}."
        if isinstance(correlation, NotEstimated) and correlation.reason != controlled.reason:
            yield f"No correlation with length: {correlation.reason}."
        return
    if controlled.extrapolated:
        yield "One side's answers are always the longer, so equal length lies outside of what was judged."


def _percent(name: str, found: Any, cases: int, *, error: float | None = None) -> tuple[str, ...]:
    shown = "" if error is None else f"{100 * error:.1f}pp"
    return (
        name,
        f"{100 * found.value:.1f}%",
        shown,
        f"{100 * found.low:.1f}% to {100 * found.high:.1f}%",
        f"{cases:,}",
    )


def _names(models: dict[str, int]) -> str:
    names = [one_line(name, _NAME_WIDTH) or "not recorded" for name in models]
    more = len(names) - _MODELS
    return ", ".join(names[:_MODELS]) + (f" and {more} more" if more > 0 else "")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
