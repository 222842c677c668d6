"""Reading recorded verdicts: what a judge said before, one verdict a line, every problem with its line.

A verdict on a pair of answers, or on one answer:

    {"id": case, "order": "AB" | "BA" | null, "winner": "baseline" | "candidate" | "tie"}
    {"id": case, "order": "AB" | "BA" | null, "preference": number from 0 (baseline) to 1 (candidate)}
    {"id": case, "side": "baseline" | "candidate", "criteria": {criterion: true | false | number from 0 to 1}}
    {"id": case, "side": "baseline" | "candidate", "score": number from 0 to 1}

Any line may also have `rationale`, `model`, `golden_set`, `repeat`, and `baseline_digest` and `candidate_digest`, the
digests of the texts that were judged (`text_digest`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from evalharness._canon import digest_bytes
from evalharness.core.judges import Order, Role, SideName
from evalharness.errors import Problem, SpecError
from evalharness.spec.lines import BadLine, capped, checked_lines, json_lines, short
from evalharness.spec.reader import describe, did_you_mean

On: TypeAlias = Literal["pairs", "answers"]
"""What a file's verdicts are on: two answers to a case side by side, or one answer by itself."""

_SIDES: Final = ("baseline", "candidate")
_WINNERS: Final[Mapping[str, float]] = {"baseline": 0.0, "tie": 0.5, "candidate": 1.0}
_PAIR: Final = frozenset(("order", "preference", "winner"))
_ANSWER: Final = frozenset(("side", "criteria", "score"))
_DIGESTS: Final = ("baseline_digest", "candidate_digest")
_ANY: Final = frozenset(("id", "rationale", "model", "golden_set", "repeat", *_DIGESTS))
_SHAPE: Final[Mapping[On, str]] = {
    "pairs": 'write {"id": case, "order": "AB" or "BA", "winner": "baseline", "candidate" or "tie"}',
    "answers": 'write {"id": case, "side": "baseline" or "candidate", "criteria": {criterion: true or false}}',
}
_MAX_REPEATS: Final = 1000
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_NOTHING: Final[Mapping[str, float]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedVerdict:
    """One verdict as it was recorded.

    Attributes:
        line: its line in the file.
        id, golden_set, repeat: the case and which answer to it, from 0; `golden_set` None: every set with that id.
        role: "pair", or the side whose answer was judged.
        order: which answer stood first, None where it is not known, or for one answer.
        value: in [0, 1]: the preference for the candidate, or the score of one answer; None where `criteria` are given.
        criteria: criterion → value in [0, 1]; empty where a value is given.
        rationale, model: as recorded.
        baseline_digest, candidate_digest: of the judged texts, `sha256:<64 hex>`; None where not recorded.
    """

    line: int
    id: str
    golden_set: str | None
    repeat: int
    role: Role
    order: Order | None
    value: float | None
    criteria: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    rationale: str = ""
    model: str | None = None
    baseline_digest: str | None = None
    candidate_digest: str | None = None


def text_digest(text: str) -> str:
    """`sha256:<64 hex>` of a judged text in UTF-8, exactly as it was judged."""
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def read_verdicts(
    path: Path, shown: str, *, on: On | None = None, criteria: Sequence[str] | None = None
) -> list[RecordedVerdict]:
    """Every verdict of a JSONL file, in the order of the file. Fractional preferences are kept as they are.

    Args:
        path: a JSONL file.
        shown: its name in messages.
        on: what the verdicts must be on; None: pairs or answers, but not both in one file.
        criteria: the judge's; lines must have a value for each, and no other. None: those of the first line.

    Raises:
        SpecError: the file cannot be read or is empty, or lines are wrong, repeat one another or contradict one
            another; every problem at once, the first 50 lines in words.
    """
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise SpecError([Problem("this is not a file; a JSONL file of verdicts is needed", shown)])
    reader = _Reader(on, None if criteria is None else frozenset(criteria))
    verdicts, problems = checked_lines(json_lines(path), shown, reader.take)
    if not verdicts and not problems:
        problems.append(Problem("holds no verdicts", shown, 1, hint=f"{_SHAPE[on or 'pairs']}, one a line"))
    _raise(problems, shown)
    return verdicts


def check_texts(
    verdicts: Sequence[RecordedVerdict],
    text_of: Callable[[RecordedVerdict, SideName], str | None],
    shown: str,
) -> None:
    """Refuse verdicts that were given on other answers than these.

    Args:
        verdicts: as `read_verdicts` gives them.
        text_of: the answer of a side that a verdict is on, None where there is no such answer.
        shown: the verdicts' file in messages.

    Raises:
        SpecError: a verdict is on an answer that is not there, or its digest is that of another text; every problem
            at once, the first 50 lines in words.
    """
    problems: list[Problem] = []
    for verdict in verdicts:
        for side in _SIDES if verdict.role == "pair" else (verdict.role,):
            digest = verdict.baseline_digest if side == "baseline" else verdict.candidate_digest
            text = text_of(verdict, "baseline" if side == "baseline" else "candidate")
            again = f", repeat {verdict.repeat}" if verdict.repeat else ""
            if text is None:
                message = f"there is no answer of the {side} to {short(verdict.id)}{again}"
                hint = "name the answers that were judged"
                if verdict.golden_set is None:
                    hint += ", and the golden_set where several have this id"
                problems.append(Problem(message, shown, verdict.line, hint=hint))
            elif digest is not None and digest != text_digest(text):
                message = f"the {side}'s answer to {short(verdict.id)}{again} is not the text that was judged"
                hint = "judge again, or name the answers that were judged"
                problems.append(Problem(message, shown, verdict.line, hint=hint))
    _raise(problems, shown)


def _raise(problems: list[Problem], shown: str) -> None:
    if problems:
        raise SpecError(capped(problems, shown, "problems"))


class _Reader:
    """Takes lines one by one and holds each against those before it."""

    def __init__(self, on: On | None, criteria: frozenset[str] | None) -> None:
        self._on = on
        self._on_line = 0
        self._criteria = criteria
        self._criteria_line = 0
        self._seen: dict[tuple[str | None, str, int, Role], list[RecordedVerdict]] = {}
        self._sets: dict[str, RecordedVerdict] = {}

    def take(self, number: int, line: Any) -> RecordedVerdict:
        """The verdict of a line; BadLine says what is wrong with it."""
        on = self._kind(number, line)
        verdict = _pair(number, line) if on == "pairs" else _answer(number, line)
        if verdict.criteria:
            self._check_criteria(verdict)
        key = (verdict.golden_set, verdict.id, verdict.repeat, verdict.role)
        first = self._sets.setdefault(verdict.id, verdict)
        if (first.golden_set is None) != (verdict.golden_set is None):
            raise BadLine(
                f"{short(verdict.id)} has a verdict with a golden set and one without (line {first.line})",
                "name the golden set in both, or in neither",
            )
        before = self._seen.setdefault(key, [])
        for other in before:
            _refuse_both(other, verdict)
        before.append(verdict)
        return verdict

    def _kind(self, number: int, line: Any) -> On:
        if type(line) is not dict:
            raise BadLine(
                f"a verdict must be a JSON object, not {describe(line)}", _SHAPE[self._on or "pairs"]
            )
        known = _ANY | _PAIR | _ANSWER
        for name in line:
            if name not in known:
                raise BadLine(f"unknown key {short(name)}", did_you_mean(name, known - line.keys()))
        pair, answer = sorted(_PAIR & line.keys()), sorted(_ANSWER & line.keys())
        if pair and answer:
            raise BadLine(
                f"has both {pair[0]!r}, of a verdict on a pair, and {answer[0]!r}, of a verdict on one answer"
            )
        on: On = "answers" if answer or (self._on == "answers" and not pair) else "pairs"
        if self._on is None:
            self._on, self._on_line = on, number
        elif on != self._on:
            wanted = "pairs of answers" if self._on == "pairs" else "single answers"
            where = f", as on line {self._on_line}" if self._on_line else ""
            raise BadLine(f"this file's verdicts must be on {wanted}{where}", _SHAPE[self._on])
        return on

    def _check_criteria(self, verdict: RecordedVerdict) -> None:
        given = frozenset(verdict.criteria)
        if self._criteria is None:
            self._criteria, self._criteria_line = given, verdict.line
            return
        whose = f"those of line {self._criteria_line}" if self._criteria_line else "the judge's"
        for name in sorted(given - self._criteria):
            hint = did_you_mean(name, self._criteria)
            raise BadLine(f"the criterion {short(name)} is not one of {whose}", hint)
        for name in sorted(self._criteria - given):
            raise BadLine(
                f"the criterion {short(name)} has no value", f"give every criterion one; {whose} are meant"
            )


def _refuse_both(first: RecordedVerdict, second: RecordedVerdict) -> None:
    """BadLine where two verdicts on the same answers do not go together."""
    for name in _DIGESTS:
        digests = {getattr(first, name), getattr(second, name)} - {None}
        if len(digests) > 1:
            raise BadLine(
                f"{name} differs from that on line {first.line}",
                'two answers of one side to a case are told apart by "repeat"',
            )
    what = f"{short(second.id)}" + (f", repeat {second.repeat}" if second.repeat else "")
    if second.role != "pair":
        what += f", {second.role}"
    if first.order == second.order:
        order = f" in the order {second.order}" if second.order else ""
        if (first.value, first.criteria) == (second.value, second.criteria):
            raise BadLine(f"the verdict on {what}{order} is already on line {first.line}", "keep one of them")
        raise BadLine(
            f"the verdict on {what}{order} contradicts that on line {first.line}",
            'keep one of them; verdicts on further answers need a "repeat"',
        )
    if first.order is None or second.order is None:
        raise BadLine(
            f"{what} has a verdict with an order and one without (line {first.line})",
            "give the order of both, or keep one",
        )


def _pair(number: int, line: Mapping[str, Any]) -> RecordedVerdict:
    if ("preference" in line) == ("winner" in line):
        if "winner" in line:
            raise BadLine("has both preference and winner", "keep one of them")
        raise BadLine("has neither preference nor winner", _SHAPE["pairs"])
    order = line.get("order")
    if order not in ("AB", "BA", None):
        raise BadLine(
            f"order must be AB (the baseline's answer first), BA (the candidate's first) or null, not {short(order)}"
        )
    if "winner" in line:
        winner = line["winner"]
        if type(winner) is not str or winner not in _WINNERS:
            hint = did_you_mean(winner, _WINNERS) if type(winner) is str else None
            if winner in ("A", "B"):
                hint = "name the side, since the place depends on the order"
            raise BadLine(f"winner must be baseline, candidate or tie, not {short(winner)}", hint)
        value = _WINNERS[winner]
    else:
        value = _share(line["preference"], "preference")
    return _verdict(number, line, role="pair", order=order, value=value)


def _answer(number: int, line: Mapping[str, Any]) -> RecordedVerdict:
    side = line.get("side")
    if side not in _SIDES:
        raise BadLine(
            "the key 'side' is missing"
            if side is None
            else f"side must be baseline or candidate, not {short(side)}",
            "say whose answer was judged" if side is None else None,
        )
    if ("criteria" in line) == ("score" in line):
        if "score" in line:
            raise BadLine("has both criteria and score", "keep one of them")
        raise BadLine("has neither criteria nor score", _SHAPE["answers"])
    other = "candidate" if side == "baseline" else "baseline"
    if f"{other}_digest" in line:
        raise BadLine(f"{other}_digest is of an answer that this verdict is not on", f"write {side}_digest")
    if "score" in line:
        return _verdict(number, line, role=side, order=None, value=_share(line["score"], "score"))
    criteria = line["criteria"]
    if type(criteria) is not dict or not criteria:
        raise BadLine("criteria must be an object with a value for each criterion")
    for name in criteria:
        _check_name("a criterion", name)
    marks = {
        name: float(value) if type(value) is bool else _share(value, f"the criterion {short(name)}")
        for name, value in criteria.items()
    }
    return _verdict(number, line, role=side, order=None, value=None, criteria=marks)


def _verdict(
    number: int,
    line: Mapping[str, Any],
    *,
    role: Role,
    order: Order | None,
    value: float | None,
    criteria: Mapping[str, float] = _NOTHING,
) -> RecordedVerdict:
    """The verdict, with what all lines have in common checked."""
    if "id" not in line:
        raise BadLine("the key 'id' is missing", "every verdict names its case")
    _check_name("id", line["id"])
    for name in ("golden_set", "model"):
        if line.get(name) is not None:
            _check_name(name, line[name])
    rationale = line.get("rationale")
    if rationale is not None and type(rationale) is not str:
        raise BadLine(f"rationale must be text, not {describe(rationale)}")
    repeat = line.get("repeat", 0)
    if type(repeat) is not int or not 0 <= repeat < _MAX_REPEATS:
        raise BadLine(f"repeat must be a whole number from 0 to {_MAX_REPEATS - 1}, not {short(repeat)}")
    digests = [_digest(name, line.get(name)) for name in _DIGESTS]
    return RecordedVerdict(
        line=number,
        id=line["id"],
        golden_set=line.get("golden_set"),
        repeat=repeat,
        role=role,
        order=order,
        value=value,
        criteria=criteria,
        rationale=rationale or "",
        model=line.get("model"),
        baseline_digest=digests[0],
        candidate_digest=digests[1],
    )


def _share(value: Any, name: str) -> float:
    if type(value) not in (int, float):
        hint = "leave the line out where there is no verdict" if value is None else None
        raise BadLine(f"{name} must be a number from 0 to 1, not {describe(value)}", hint)
    if not 0 <= value <= 1:
        hint = None
        if name == "preference" and 1 < value <= 2:
            hint = "where 1 is the baseline and 2 the candidate, subtract 1 in every line"
        raise BadLine(f"{name} must lie between 0 and 1, not {short(value)}", hint)
    return float(value)


def _digest(name: str, value: Any) -> str | None:
    if value is None:
        return None
    found = _DIGEST.fullmatch(value) if type(value) is str else None
    if found is None:
        raise BadLine(
            f"{name} must be sha256: and 64 hex digits of the judged text in UTF-8, not {short(value)}"
        )
    return f"sha256:{found[1]}"


def _check_name(what: str, value: Any) -> None:
    if type(value) is not str:
        hint = f'write "{value}" in quotes' if type(value) is int else None
        raise BadLine(f"{what} must be text, not {describe(value)}", hint)
    if not value or value != value.strip() or not value.isprintable():
        raise BadLine(f"{what} {short(value)} is empty, padded with spaces, or holds control characters")
