"""`golden check` and `golden lock`: what is doubtful about a golden set, and the digest that holds it still."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

from evalharness._canon import canonical_json
from evalharness.content import PathPolicy
from evalharness.core.cases import Case
from evalharness.errors import Problem, SpecError, StoreError
from evalharness.spec.golden_sets import CARD, CASES, lock_problems, read_folder
from evalharness.spec.models import CardFile
from evalharness.spec.near import near_duplicates
from evalharness.spec.places import misplaced
from evalharness.spec.reader import parse_yaml, raise_problems
from evalharness.store.files import atomic_writer

Level = Literal["error", "warning", "info"]

MIN_CASES: Final = 100
"""Below this one case moves the mean by more than a percentage point, half of the default margin."""
GOOD_CASES: Final = 200
MIN_SLICE: Final = 10
MAX_CLASS_SHARE: Final = 0.9
_LISTED: Final = 5
_WORDS: Final = re.compile(r"\w+", re.UNICODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One remark on a golden set. `code` is stable; `ids` are the cases it is about (all of them)."""

    level: Level
    code: str
    message: str
    file: str | None = None
    line: int | None = None
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = "" if self.file is None else self.file + (f":{self.line}" if self.line else "") + ": "
        return f"{self.level}: {where}{self.message}"


def check_golden_set(
    path: Path, *, paths: PathPolicy, today: date | None = None, allow_small: bool = False
) -> list[Finding]:
    """Everything doubtful about a golden set, errors first.

    Args:
        path: the folder.
        paths: where paths in files may lead.
        today: the date `rotate_after` is held against; None leaves that out.
        allow_small: fewer than 100 cases are a warning instead of an error (as with `allow_small` in the card).
    """
    folder = read_folder(path, paths=paths)
    findings = [_of_problem(p) for p in (*folder.problems, *lock_problems(folder, paths))]
    shown = paths.show(folder.path / CASES)
    if folder.card is not None:
        findings += _card(folder.card, paths.show(folder.path / CARD), today)
    if folder.cases:
        small = allow_small or (folder.card is not None and bool(folder.card.allow_small))
        findings += _size(folder.cases, shown, allowed=small)
        findings += _duplicates(folder.cases, shown)
        findings += _empty_questions(folder.cases, shown)
        findings += _targets(folder.cases, shown)
        findings += _places(folder.cases, shown)
        findings += _make_up(folder.cases, shown)
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(findings, key=lambda finding: order[finding.level])


def lock_golden_set(path: Path, *, paths: PathPolicy) -> str:
    """Write the digest of the cases and the version it belongs to into card.yaml; every other line stays as it is.

    Returns:
        the digest.

    Raises:
        SpecError: the golden set is wrong, or its cases changed and its `version` did not.
        StoreError: card.yaml cannot be written.
    """
    folder = read_folder(path, paths=paths)
    raise_problems(list(folder.problems))
    card, document = folder.card, folder.document
    assert card is not None and document is not None
    if (
        card.cases_digest
        and card.cases_digest != folder.digest
        and card.locked_version in (None, card.version)
    ):
        line = document.place(("version",)).line
        message = f"{CASES} changed, and version is still {card.version!r}"
        hint = "bump `version`, then lock again: results on changed cases cannot be compared"
        raise SpecError([Problem(message, document.shown, line, hint=hint)])
    file = folder.path / CARD
    try:
        before = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise StoreError(f"{document.shown} cannot be read: {error.strerror}") from error
    lock = {"cases_digest": folder.digest, "locked_version": canonical_json(card.version)}
    after = before
    for key, value in lock.items():
        after = _set_line(after, key, value)
    wanted = document.data | {"cases_digest": folder.digest, "locked_version": card.version}
    if parse_yaml(after.removeprefix("\ufeff").replace("\r\n", "\n"), file, document.shown).data != wanted:
        hint = f"write `cases_digest: {folder.digest}` and `locked_version: {card.version!r}` by hand"
        raise SpecError(
            [Problem("the lock's two keys are not on lines of their own", document.shown, hint=hint)]
        )
    if after != before:
        with atomic_writer(file) as stream:
            # the card is the user's file: who may read it is not for the umask to say
            os.fchmod(stream.fileno(), file.stat().st_mode)
            stream.write(after)
    return folder.digest


def _set_line(text: str, key: str, value: str) -> str:
    """The text with the line of a top-level key replaced (a comment behind it stays), or added at the end."""
    line = re.compile(rf"^{key}[ \t]*:[^#\r\n]*?(?=[ \t]+#|[ \t]*\r?$)", re.MULTILINE)
    if line.search(text):
        return line.sub(f"{key}: {value}", text, count=1)
    end = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += end
    return f"{text}{key}: {value}{end}"


def _of_problem(problem: Problem) -> Finding:
    message = problem.message + (f"; {problem.hint}" if problem.hint else "")
    return Finding(level="error", code="file", message=message, file=problem.file, line=problem.line)


def _card(card: CardFile, shown: str, today: date | None) -> Iterator[Finding]:
    for name, what in (
        ("licence", "under which licence the cases are"),
        ("provenance", "where the cases come from"),
        ("reviewed", "who reviewed them and how"),
    ):
        if not getattr(card, name):
            message = f"the card does not say {what}; add `{name}`"
            yield Finding(level="warning", code="card", message=message, file=shown)
    if not card.cases_digest:
        message = (
            f"the set is not locked; run: evalharness golden lock {shlex.quote(str(Path(shown).parent))}"
        )
        yield Finding(level="warning", code="unlocked", message=message, file=shown)
    if card.rotate_after and today is not None:
        try:
            due = date.fromisoformat(card.rotate_after)
        except ValueError:
            message = f"rotate_after: there is no day {card.rotate_after}"
            yield Finding(level="error", code="card", message=message, file=shown)
            return
        if today > due:
            message = f"the set was to be renewed after {card.rotate_after}: models may have seen it by now"
            yield Finding(level="warning", code="rotation", message=message, file=shown)


def _size(cases: Sequence[Case], shown: str, *, allowed: bool) -> Iterator[Finding]:
    count = len(cases)
    if count < MIN_CASES:
        cases_word = "case is" if count == 1 else "cases are"
        message = f"{count} {cases_word} too few to see a drop of a few points; have at least {MIN_CASES}"
        hint = "" if allowed else " (or say why not under `allow_small` in the card)"
        yield Finding(
            level="warning" if allowed else "error", code="size", message=message + hint, file=shown
        )
    elif count < GOOD_CASES:
        message = f"{count} cases show only large drops; {GOOD_CASES} or more are better"
        yield Finding(level="warning", code="size", message=message, file=shown)


def words_alone(text: str) -> str:
    """Words only: Unicode-normalised, case-folded, without punctuation or spacing."""
    return " ".join(_WORDS.findall(unicodedata.normalize("NFKC", text).casefold()))


def _asked(case: Case) -> str:
    """Everything the model is given, normalised; a text without words stands for itself."""
    parts = [case.input] if case.input is not None else [message.content for message in case.messages]
    text = "\n".join([*parts, *case.contexts, *case.choices])
    return words_alone(text) or text.strip()


def _duplicates(cases: Sequence[Case], shown: str) -> Iterator[Finding]:
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[_asked(case)].append(case)
    for same in groups.values():
        if len(same) < 2:
            continue
        answers = {canonical_json(sorted(canonical_json(_folded(t)) for t in case.targets)) for case in same}
        if len(answers) > 1:
            message = f"the same question has different targets: {_named(same)}"
            yield _finding("error", "ambiguous", message, same, shown)
        else:
            message = f"the same question stands {len(same)} times: {_named(same)}"
            yield _finding("error", "duplicate", message, same, shown)
    firsts = [same[0] for same in groups.values()]
    for group in near_duplicates([_asked(case) for case in firsts]):
        near = [firsts[index] for index in group]
        if near[0].cluster is not None and len({case.cluster for case in near}) == 1:
            continue  # said to depend on each other already
        message = (
            f"{len(near)} questions are nearly the same: {_named(near)}; give them one `cluster` or drop some"
        )
        yield _finding("warning", "near_duplicate", message, near, shown)


def _empty_questions(cases: Sequence[Case], shown: str) -> Iterator[Finding]:
    empty = [
        case
        for case in cases
        if not (case.input or "").strip() and not any(message.content.strip() for message in case.messages)
    ]
    if empty:
        yield _finding("error", "empty_question", f"empty questions: {_named(empty)}", empty, shown)


def _targets(cases: Sequence[Case], shown: str) -> Iterator[Finding]:
    empty = [
        c for c in cases if any(not t.strip() if isinstance(t, str) else t in ({}, []) for t in c.targets)
    ]
    # a question that its passage does not answer, as in SQuAD 2.0
    unanswerable = [c for c in empty if c.contexts and c.targets == ("",)]
    if unanswerable:
        message = f'{len(unanswerable)} of {len(cases)} cases have no answer in their contexts (target "")'
        yield _finding("info", "no_answer", message, unanswerable, shown)
    empty = [c for c in empty if not (c.contexts and c.targets == ("",))]
    if empty:
        yield _finding("error", "empty_target", f"empty targets: {_named(empty)}", empty, shown)
    outside = [
        case
        for case in cases
        if case.choices
        and any(isinstance(target, str) and target not in case.choices for target in case.targets)
    ]
    if outside:
        message = f"the target is not among the choices: {_named(outside)}"
        yield _finding("error", "not_a_choice", message, outside, shown)
    yield from _spellings(cases, shown)


def _places(cases: Sequence[Case], shown: str) -> Iterator[Finding]:
    """Targets with a start and an end that do not hold their text."""
    wrong, right = [], 0
    for case in cases:
        found, held = misplaced(case)
        wrong += found
        right += held
    if not wrong:
        return
    affected = list({place.case.id: place.case for place in wrong}.values())
    said = "; ".join(
        f"{place.case.id} (line {place.case.line}): {place.message}" for place in wrong[:_LISTED]
    )
    more = f"; and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    # where not one place holds, the numbers may well be something else than characters (seconds of a recording)
    level: Level = "error" if right else "warning"
    message = f"targets do not stand where their start and end say: {said}{more}"
    if not right:
        message += "; if these are no characters of the text, leave this be"
    yield _finding(level, "misplaced", message, affected, shown)


def _spellings(cases: Sequence[Case], shown: str) -> Iterator[Finding]:
    """Labels that are one label in different dress: `Billing` here, `billing ` there."""
    spelled: dict[str, dict[str, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        for target in dict.fromkeys(t for t in case.targets if isinstance(t, str) and t.strip()):
            spelled[_folded(target)][target].append(case)
    for ways in spelled.values():
        everyone = [case.id for group in ways.values() for case in group]
        if len(ways) < 2 or len(set(everyone)) < len(everyone):  # one case accepts both on purpose
            continue
        rare = min(ways.values(), key=len)
        written = ", ".join(repr(way) for way in sorted(ways))
        message = f"one target is written in {len(ways)} ways: {written}"
        yield _finding("warning", "spelling", message, rare, shown)


def _make_up(cases: Sequence[Case], shown: str) -> Iterator[Finding]:
    slices: dict[tuple[str, str], int] = Counter(tag for case in cases for tag in case.tags.items())
    for (key, value), count in sorted(slices.items()):
        if count < MIN_SLICE:
            cases_word = "case" if count == 1 else "cases"
            message = f"the slice {key}={value} has {count} {cases_word}; below {MIN_SLICE} it says little"
            yield Finding(level="warning", code="slice", message=message, file=shown)
    labels = Counter(
        case.targets[0] for case in cases if len(case.targets) == 1 and isinstance(case.targets[0], str)
    )
    if labels:
        label, count = max(labels.items(), key=lambda item: (item[1], item[0]))
        share = count / len(cases)
        if share > MAX_CLASS_SHARE and len(cases) > 1:
            message = (
                f"{share:.0%} of the cases have the target {label!r}: a constant answer would score that"
            )
            yield Finding(level="warning", code="balance", message=message, file=shown)
    clusters = Counter(case.cluster for case in cases if case.cluster is not None)
    if clusters:
        largest, count = max(clusters.items(), key=lambda item: (item[1], item[0]))
        alone = sum(case.cluster is None for case in cases)
        message = f"{len(clusters)} clusters (largest: {largest}, {count} cases) and {alone} single cases"
        few = len(clusters) + alone < 2 * MIN_SLICE
        yield Finding(level="warning" if few else "info", code="clusters", message=message, file=shown)
    critical = sum(case.critical for case in cases)
    message = f"{critical} of {len(cases)} cases marked critical"
    yield Finding(level="info", code="critical", message=message, file=shown)


def _folded(target: Any) -> Any:
    """A target without differences of case, spacing and Unicode form; punctuation counts (10 is not 10%)."""
    if not isinstance(target, str):
        return target
    return " ".join(unicodedata.normalize("NFKC", target).casefold().split())


def _named(cases: Sequence[Case]) -> str:
    named = ", ".join(f"{case.id} (line {case.line})" for case in cases[:_LISTED])
    return named + (f" and {len(cases) - _LISTED} more" if len(cases) > _LISTED else "")


def _finding(level: Level, code: str, message: str, cases: Sequence[Case], shown: str) -> Finding:
    ids = tuple(case.id for case in cases)
    return Finding(level=level, code=code, message=message, file=shown, line=cases[0].line, ids=ids)
