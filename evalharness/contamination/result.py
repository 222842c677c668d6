"""What a check for contamination found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from evalharness.errors import EXIT_INVALID, EXIT_PASS, EXIT_USAGE, Problem

Kind = Literal["input+target", "input", "target"]
Detector = Literal["exact", "ngram", "near", "embedding"]

KINDS: Final[tuple[Kind, ...]] = ("input+target", "input", "target")
"""Worst first: the question with its answer, the question, a long answer."""
DETECTORS: Final[tuple[Detector, ...]] = ("exact", "ngram", "near", "embedding")

WARN_DUPLICATES: Final = 0.10
FAIL_DUPLICATES: Final = 0.30
MAX_UNKNOWN: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A row of training data that leaks a case.

    Attributes:
        file, line: where the row is; in a Parquet file `line` counts rows.
        kind: what of the case it holds.
        detector: what found it, the surest first.
        scores: detector → similarity in [0, 1]: 1 for exact, the share of the case's n-grams, Jaccard, cosine.
        case_text, train_text: passages of both, at most 300 characters, as they stand in the files.
    """

    file: str
    line: int
    kind: Kind
    detector: Detector
    scores: Mapping[Detector, float]
    case_text: str
    train_text: str

    @property
    def score(self) -> float:
        """The similarity by `detector`."""
        return self.scores[self.detector]

    @property
    def order(self) -> tuple[int, float, int, str, int]:
        """Sorts the strongest match first, the same whatever order the files were read in."""
        best = max(self.scores.values())
        return KINDS.index(self.kind), -best, DETECTORS.index(self.detector), self.file, self.line


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A case that stands in the training data.

    Attributes:
        golden_set, case_id, line: which case, and its line in cases.jsonl.
        critical: the case is marked so.
        kind: the worst of its matches.
        rows: rows of training data that leak it.
        matches: the strongest of them, at most three.
    """

    golden_set: str
    case_id: str
    line: int
    critical: bool
    kind: Kind
    rows: int
    matches: Sequence[Match]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Counts of the rows of one source: the rows' own `source`, else their file.

    Attributes:
        rows: that were read; of a text file its paragraphs.
        empty: of these, without a letter or digit.
        unknown: of these, of no known format; every text in them was looked at.
        unreadable: lines that are no row at all, not among `rows`.
        duplicates: rows whose text stood there before, spacing and the like aside.
        leaking: rows that leak a case, by kind.
    """

    name: str
    rows: int
    empty: int
    unknown: int
    unreadable: int
    duplicates: int
    leaking: Mapping[Kind, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """The result.

    Attributes:
        leaks: cases that leaked, critical ones first, then by kind, golden set and line.
        cases: cases that were looked for.
        whole_only: ids (with golden set) of cases too short to be looked for in parts.
        too_short: ids (with golden set) of cases too short to tell.
        template: word triples left out since more than a tenth of the cases share them.
        files: files read.
        rows, duplicates: of all sources together; a text in two sources is a duplicate.
        formats: rows by format.
        sources: counts by source.
        problems: what cannot be read, at most 50 in words.
        unusable: rows of no known format and unreadable lines, as a share of all.
        refused: files that were not read to their end, or held no rows.
        open_sets: golden sets that were not looked for, since their cases may be trained on.
    """

    leaks: Sequence[Leak]
    cases: int
    whole_only: Sequence[tuple[str, str]]
    too_short: Sequence[tuple[str, str]]
    template: int
    files: int
    rows: int
    duplicates: int
    formats: Mapping[str, int]
    sources: Sequence[Source]
    problems: Sequence[Problem]
    unusable: float
    refused: int
    open_sets: Sequence[str] = ()

    @property
    def duplicate_rate(self) -> float:
        """Share of the rows whose text stood there before."""
        return self.duplicates / self.rows if self.rows else 0.0

    @property
    def errors(self) -> list[str]:
        """Why "no leak" would not be an answer: sentences."""
        out = []
        if self.refused:
            files = "1 file" if self.refused == 1 else f"{self.refused} files"
            out.append(f"{files} could not be read to the end, or held no rows")
        if self.unusable > MAX_UNKNOWN:
            out.append(
                f"{self.unusable:.1%} of the rows cannot be read or have no known format; at most {MAX_UNKNOWN:.0%} "
                "may (--text-key names further keys that hold text)"
            )
        if self.duplicate_rate > FAIL_DUPLICATES:
            out.append(
                f"{self.duplicate_rate:.1%} of the rows are duplicates: above {FAIL_DUPLICATES:.0%} the collection of "
                "the data has a fault"
            )
        return out

    @property
    def warnings(self) -> list[str]:
        """What a reader should know beside: sentences."""
        out = []
        if WARN_DUPLICATES <= self.duplicate_rate <= FAIL_DUPLICATES:
            out.append(
                f"{self.duplicate_rate:.1%} of the rows are duplicates (from {WARN_DUPLICATES:.0%} on)"
            )
        if self.problems and not self.errors:
            out.append("some rows cannot be read or have no known format")
        return out

    @property
    def exit_code(self) -> int:
        """4 where a case leaked; else 2 where the data cannot be relied on; else 0."""
        if self.leaks:
            return EXIT_INVALID
        return EXIT_USAGE if self.errors else EXIT_PASS
