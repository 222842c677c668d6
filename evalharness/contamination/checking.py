"""The check itself: training files read once, every row held against the cases, everything counted."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from evalharness.contamination.probes import Options, Owner, Part, Probes, make_probes
from evalharness.contamination.reading import FileRefusedError, Unreadable, read_rows
from evalharness.contamination.result import DETECTORS, KINDS, Contamination, Kind, Leak, Match, Source
from evalharness.contamination.rows import PLAIN, UNKNOWN
from evalharness.contamination.scan import Alike, Confirm, Found, Held, Scanner, hold
from evalharness.contamination.text import excerpt
from evalharness.core.cases import Case
from evalharness.errors import Problem

MAX_MATCHES: Final = 3
MAX_PROBLEMS: Final = 50
MAX_SOURCES: Final = 1_000
"""Different `source` values of one file; where there are more, they name rows and not sources."""
TOLD_EVERY: Final = 250_000
TOGETHER: Final = 200
"""Words of a document before and behind a question in which its answer is looked for."""

Told = Callable[[str], None]


def check_contamination(
    sets: Mapping[str, Sequence[Case]],
    files: Sequence[tuple[Path, str]],
    options: Options,
    *,
    text_keys: Collection[str] = (),
    confirm: Callable[[Probes], Confirm] | None = None,
    alike: Callable[[Probes], Alike] | None = None,
    told: Told = lambda text: None,
) -> Contamination:
    """Look for cases in training files.

    Memory grows with the cases, with 8 bytes for each row, and with nothing else.

    Args:
        sets: cases by the name of their golden set in the result.
        files: training files and how they are called in the result. Their order changes nothing.
        options: how alike is too alike.
        text_keys: keys whose values are text, beside the known ones.
        confirm: makes what a near duplicate has to pass besides; None: nothing.
        alike: makes the comparison by meaning; None: there is none.
        told: hears of the progress.

    Raises:
        MissingExtraError: a Parquet file, and pyarrow is not installed.
        UsageError, ProviderError: as the embedder does.
    """
    probes = make_probes(sets, options)
    tally = _Tally(probes)
    scanner = Scanner(
        probes,
        options,
        tally.found,
        confirm(probes) if confirm is not None else None,
        alike(probes) if alike is not None else None,
    )
    for path, shown in sorted(files, key=lambda file: file[1]):
        tally.start(shown)
        try:
            for row in read_rows(path, shown, text_keys):
                if isinstance(row, Unreadable):
                    tally.unreadable(row)
                    continue
                held = hold(row)
                tally.row(held)
                if tally.in_file % TOLD_EVERY == 0:
                    told(f"{shown}: {tally.in_file:,} rows so far")
                if held.words:
                    scanner.add(held)
        except FileRefusedError as error:
            tally.refused(error)
        scanner.flush()
        tally.end()
        told(f"{shown}: {tally.in_file:,} {'row' if tally.in_file == 1 else 'rows'} read")
    return tally.result(len(files))


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    empty: int = 0
    unknown: int = 0
    unreadable: int = 0
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    leaking: Counter[Kind] = field(default_factory=Counter)

    def merge(self, other: _Counts) -> None:
        self.rows += other.rows
        self.empty += other.empty
        self.unknown += other.unknown
        self.unreadable += other.unreadable
        self.hashes.extend(other.hashes)
        self.leaking.update(other.leaking)


class _Tally:
    """Everything that is counted. Rows of a file wait under its own sources until it ends."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._answers = [[f" {answer} " for answer in answers] for answers in probes.targets]
        self._all: dict[str, _Counts] = defaultdict(_Counts)
        self._here: dict[str, _Counts] = defaultdict(_Counts)
        self._file = ""
        self._one_source = False
        self._formats: Counter[str] = Counter()
        self._matches: dict[int, list[Match]] = defaultdict(list)
        self._rows: Counter[int] = Counter()
        self._passages: set[tuple[str, int, int]] = set()
        self._odd = 0
        self.in_file = 0
        self._problems: list[Problem] = []
        self._refused: set[str] = set()

    def start(self, shown: str) -> None:
        self._file, self.in_file, self._one_source = shown, 0, False

    def end(self) -> None:
        if self.in_file == 0 and self._file not in self._refused:
            self.refused(FileRefusedError("holds no rows", hint="is it the right file?"))
        for name, counts in self._here.items():
            self._all[name].merge(counts)
        self._here.clear()

    def _counts(self, source: str | None) -> _Counts:
        if self._one_source or source is None:
            return self._here[self._file]
        if source not in self._here and len(self._here) >= MAX_SOURCES:
            self._one_source = True
            whole = _Counts()
            for counts in self._here.values():
                whole.merge(counts)
            self._here.clear()
            self._here[self._file] = whole
            return whole
        return self._here[source]

    def unreadable(self, row: Unreadable) -> None:
        self._counts(None).unreadable += 1
        self._problem(row.why, row.line)

    def refused(self, error: FileRefusedError) -> None:
        self._refused.add(self._file)
        self._problems.append(Problem(str(error), self._file, error.line, hint=error.hint))

    def row(self, held: Held) -> None:
        row, starts = held.row, held.starts
        counts = self._counts(row.source)
        if row.format == PLAIN:
            for number in range(len(held.texts) - held.fresh, len(held.texts)):
                counts.hashes.append(_hash(held.words[starts[number] : starts[number + 1]]))
            rows = held.fresh
        else:
            if held.words:
                counts.hashes.append(_hash(held.words))
            else:
                counts.empty += 1
            rows = 1
        counts.rows += rows
        self.in_file += rows
        self._formats[row.format] += rows
        if row.format == UNKNOWN:
            counts.unknown += 1
            self._problem(row.why, row.line)

    def _problem(self, why: str, line: int) -> None:
        self._odd += 1
        if self._odd <= MAX_PROBLEMS:
            self._problems.append(Problem(why, self._file, line))

    def found(self, held: Held, found: Mapping[int, Found]) -> None:
        """Take what a row shares with probes."""
        by_case: dict[int, list[tuple[int, Owner]]] = defaultdict(list)
        for probe in found:
            for owner in self._probes.probes[probe].owners:
                by_case[owner.item].append((probe, owner))
        worst: list[Kind] = []
        for item, shared in by_case.items():
            # the text that is shared most; of equals the question, which comes first
            best, owner = max(shared, key=lambda one: (max(found[one[0]].scores.values()), -one[0]))
            kind = self._kind(item, {one.part for _, one in shared}, held, found[best].at)
            line = held.lines[held.field_at(found[best].at)]
            if held.row.format == PLAIN:
                if (held.row.file, line, item) in self._passages:
                    continue  # stretches of a text file overlap
                self._passages.add((held.row.file, line, item))
            worst.append(kind)
            self._rows[item] += 1
            self._keep(owner, kind, line, held, found[best])
        if worst:
            self._counts(held.row.source).leaking[min(worst, key=KINDS.index)] += 1

    def _kind(self, item: int, parts: Collection[Part], held: Held, at: int) -> Kind:
        if parts == {"target"}:
            return "target"
        if "target" in parts:
            return "input+target"
        question = f" {self._probes.questions[item]} "
        if len(held.texts) > 1 and held.row.format != PLAIN:
            around = held.words
        else:  # a document: together is near each other
            around = held.words[max(0, at - TOGETHER) : at + question.count(" ") + TOGETHER]
        row = f" {' '.join(around)} "
        # An answer that the question names itself has to stand there once more.
        said = any(row.count(answer) > question.count(answer) for answer in self._answers[item])
        return "input+target" if said else "input"

    def _keep(self, owner: Owner, kind: Kind, line: int, held: Held, found: Found) -> None:
        scores = {name: round(found.scores[name], 4) for name in DETECTORS if name in found.scores}
        match = Match(
            file=held.row.file, line=line, kind=kind, detector=next(iter(scores)), scores=scores,
            case_text=excerpt(owner.text), train_text="",
        )  # fmt: skip
        kept = self._matches[owner.item]
        if len(kept) == MAX_MATCHES and kept[-1].order <= match.order:
            return
        number = held.field_at(found.at)
        passage = held.passage(number, found.at - held.starts[number])
        kept.append(replace(match, train_text=passage))
        kept.sort(key=lambda one: one.order)
        del kept[MAX_MATCHES:]

    def result(self, files: int) -> Contamination:
        items = self._probes.items
        leaks = [
            Leak(
                golden_set=items[item].golden_set, case_id=items[item].case.id, line=items[item].case.line,
                critical=items[item].case.critical, kind=kept[0].kind, rows=self._rows[item], matches=tuple(kept),
            )
            for item, kept in self._matches.items()
        ]  # fmt: skip
        leaks.sort(
            key=lambda leak: (
                not leak.critical,
                KINDS.index(leak.kind),
                leak.golden_set,
                leak.line,
                leak.case_id,
            )
        )
        rows = sum(counts.rows for counts in self._all.values())
        total = rows + sum(counts.unreadable for counts in self._all.values())
        named = [(item.golden_set, item.case.id) for item in items]
        if self._odd > MAX_PROBLEMS:
            self._problems.append(Problem(f"and {self._odd - MAX_PROBLEMS:,} more rows like these"))
        return Contamination(
            leaks=leaks,
            cases=len(items),
            whole_only=[named[place] for place in self._probes.whole_only],
            too_short=[named[place] for place in self._probes.too_short],
            template=len(self._probes.template),
            files=files,
            rows=rows,
            duplicates=_repeats([counts.hashes for counts in self._all.values()]),
            formats=dict(sorted(self._formats.items())),
            sources=[
                Source(
                    name=name, rows=counts.rows, empty=counts.empty, unknown=counts.unknown,
                    unreadable=counts.unreadable, duplicates=_repeats([counts.hashes]),
                    leaking={kind: counts.leaking[kind] for kind in KINDS},
                )
                for name, counts in sorted(self._all.items())
            ],
            problems=self._problems,
            unusable=self._odd / total if total else 0.0,
            refused=len(self._refused),
        )  # fmt: skip


def _hash(found: Sequence[str]) -> int:
    """64 bits of a text's words."""
    joined = " ".join(found).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "big")


def _repeats(parts: Sequence[array[int]]) -> int:
    """How many of the values stood there before."""
    values = np.concatenate([np.asarray(part, dtype=np.uint64) for part in parts]) if parts else np.empty(0)
    return len(values) - len(np.unique(values))
