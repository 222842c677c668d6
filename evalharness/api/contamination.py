"""Golden sets held against training data, two versions of a golden set held against each other, and how that reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from evalharness.api.settings import Settings
from evalharness.api.tables import counted, table
from evalharness.core.cases import Case, GoldenSet
from evalharness.errors import UsageError
from evalharness.report.text import one_line, strip_control
from evalharness.store.files import write_text

if TYPE_CHECKING:
    from evalharness.contamination import Contamination, Leak, VersionDiff
    from evalharness.contamination.probes import Probes
    from evalharness.contamination.scan import Alike
    from evalharness.spec.golden import Finding

Near = Literal["exact", "minhash"]

MAX_LISTED: Final = 50
_MAX_IDS: Final = 5
_MAX_SOURCES: Final = 20
_WIDTH: Final = 110
_REPORT_STARTS: Final = b'{\n  "findings": ['
_FOUND_BY: Final = {"exact": "exact", "ngram": "n-grams", "near": "near", "embedding": "meaning"}


def check_contamination(
    golden_sets: Sequence[str | Path],
    train: Sequence[str],
    *,
    threshold: float = 0.7,
    ngram: int = 13,
    near: Near = "exact",
    embeddings: str | None = None,
    embedding_threshold: float = 0.9,
    text_keys: Sequence[str] = (),
    settings: Settings | None = None,
) -> Contamination:
    """Look for the cases of golden sets in training data. Sets whose card says `held_out: false` are left out.

    Args:
        golden_sets: folders.
        train: training files: paths and patterns such as `data/**/*.jsonl`.
        threshold: in (0, 1]: the share of a case's n-grams, or the Jaccard similarity of word triples, that is a leak.
        ngram: words of an n-gram, at least 3.
        near: near duplicates by an exact join, or by datasketch's MinHash-LSH.
        embeddings: a sentence-transformers folder or hub id; None: meaning is not compared.
        embedding_threshold: in (0, 1]: the cosine similarity that is a leak.
        text_keys: keys or columns whose values are text, beside the known ones.
        settings: where, and who listens to the progress.

    Raises:
        SpecError: a golden set that cannot be read at all, or a path or pattern without a training file.
        UsageError: a number out of its range, no golden set that is held out, or a model that cannot be loaded.
        MissingExtraError: an optional library is needed.
    """
    from evalharness import contamination
    from evalharness.contamination.minhash import minhash_lsh

    use = settings or Settings()
    for name, value in (("threshold", threshold), ("embedding_threshold", embedding_threshold)):
        if not 0 < value <= 1:
            raise UsageError(f"{name} must be above 0 and at most 1, not {value}")
    if ngram < 3:
        raise UsageError(f"ngram must be at least 3 words, not {ngram}")
    sets, open_sets = _held_out(golden_sets, use)
    if not sets:
        raise UsageError(
            "no golden set is held out: their cards say `held_out: false`, so their cases may be trained on"
        )
    files = contamination.find_files(train, use.cwd)
    found = contamination.check_contamination(
        sets,
        [(path, use.paths.show(path)) for path in files],
        contamination.Options(threshold=threshold, ngram=ngram),
        text_keys=tuple(text_keys),
        confirm=minhash_lsh(threshold) if near == "minhash" else None,
        alike=_by_meaning(embeddings, embedding_threshold, use.cwd) if embeddings is not None else None,
        told=use.progress.note,
    )
    return replace(found, open_sets=open_sets)


def contamination_not_checked(folder: str) -> Finding:
    """The finding of a golden set that was not held against training data."""
    from evalharness.spec.golden import Finding

    message = "contamination not checked: no training data was given (--train 'data/*.jsonl')"
    return Finding(level="info", code="contamination", message=message, file=folder)


def refuse_to_replace(path: Path) -> None:
    """Raise UsageError where `path` holds something else than an earlier report of contamination."""
    try:
        start = path.read_bytes()[:200] if path.exists() else None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if start is not None and not start.startswith(_REPORT_STARTS):
        raise UsageError(f"{path} holds something else than such a report; name another file")


def save_report(path: Path, text: str) -> None:
    """Write a report of contamination.

    Raises:
        StoreError: it cannot be written.
    """
    write_text(path, text if text.endswith("\n") else text + "\n")


def diff_golden_sets(old: str | Path, new: str | Path, settings: Settings | None = None) -> VersionDiff:
    """Compare two versions of a golden set by case id.

    Raises:
        SpecError: with every problem in either.
    """
    from evalharness.contamination import diff_versions

    use = settings or Settings()
    return diff_versions(_load(old, use), _load(new, use))


def contamination_json(found: Contamination) -> dict[str, Any]:
    """The result as plain data, every text without control characters."""
    plain: dict[str, Any] = asdict(found)
    for leak, shown in zip(found.leaks, plain["leaks"], strict=True):
        shown["matches"] = [
            {**one, "score": match.score} for one, match in zip(shown["matches"], leak.matches, strict=True)
        ]
    plain |= {
        "duplicate_rate": round(found.duplicate_rate, 6),
        "unusable": round(found.unusable, 6),
        "errors": found.errors,
        "warnings": found.warnings,
        "exit_code": found.exit_code,
    }
    for name in ("whole_only", "too_short"):
        plain[name] = [{"golden_set": golden_set, "case_id": case} for golden_set, case in plain[name]]
    cleaned: dict[str, Any] = _clean(plain)
    return cleaned


def contamination_text(found: Contamination) -> str:
    """The result for a terminal."""
    return "\n".join([*_leaks(found), "", *_sources(found), "", *_notes(found)])


def version_diff_json(diff: VersionDiff) -> dict[str, Any]:
    """The differences as plain data."""
    plain: dict[str, Any] = asdict(diff)
    for side in ("old", "new"):
        plain[side] = {"name": plain[side][0], "version": plain[side][1]}
    plain["repeated"] = [
        {"new_id": new, "old_id": old, "similarity": similarity} for new, old, similarity in diff.repeated
    ]
    cleaned: dict[str, Any] = _clean(plain)
    return cleaned


def version_diff_text(diff: VersionDiff) -> str:
    """The differences for a terminal."""
    (old, old_version), (new, new_version) = diff.old, diff.new
    versions = (one_line(old_version, 30), one_line(new_version, 30))
    rows: list[tuple[str, ...]] = [("cases", *versions, "added", "removed", "changed")]
    rows += [
        (
            one_line(one.slice, 40) or "all",
            *(f"{n:,}" for n in (one.old, one.new, one.added, one.removed, one.changed)),
        )
        for one in diff.slices
    ]
    out = [
        f"{one_line(old, 60)} {one_line(old_version, 30)} → {one_line(new, 60)} {one_line(new_version, 30)}"
    ]
    out += [f"  {line}" for line in table(rows, right=range(1, 6))]
    for word, ids in (("added", diff.added), ("removed", diff.removed)):
        out += [f"{word}: {_some(ids)}"] if ids else []
    if diff.changed:
        out.append(
            "changed: " + _some([f"{case} ({', '.join(fields)})" for case, fields in diff.changed.items()])
        )
    for one, other, similarity in diff.repeated[:MAX_LISTED]:
        out.append(f"{one_line(one, 60)} asks nearly what {one_line(other, 60)} asked ({similarity:.2f})")
    if len(diff.repeated) > MAX_LISTED:
        out.append(f"and {len(diff.repeated) - MAX_LISTED:,} more (--json has all)")
    return "\n".join([*out, *(f"error: {one_line(error)}" for error in diff.errors)])


def _load(path: str | Path, use: Settings) -> GoldenSet:
    from evalharness.spec.load import load_golden_set

    return load_golden_set(use.paths.argument(str(path)), paths=use.paths)


def _held_out(
    golden_sets: Sequence[str | Path], use: Settings
) -> tuple[dict[str, tuple[Case, ...]], tuple[str, ...]]:
    """Cases by golden set, and the sets that may be trained on. What is wrong with a set is `golden check`'s to say."""
    from evalharness.spec.golden_sets import read_folder
    from evalharness.spec.reader import raise_problems

    sets: dict[str, tuple[Case, ...]] = {}
    open_sets: list[str] = []
    for path in golden_sets:
        folder = read_folder(use.paths.argument(str(path)), paths=use.paths)
        if not folder.cases:
            raise_problems(list(folder.problems))
        shown = use.paths.show(folder.path)
        if folder.card is not None and not folder.card.held_out:
            open_sets.append(shown)
        else:
            sets[shown] = folder.cases
    return sets, tuple(open_sets)


def _by_meaning(model: str, threshold: float, cwd: Path) -> Callable[[Probes], Alike]:
    from evalharness.contamination.meaning import Meaning
    from evalharness.embedding import EmbedderSpec, build_embedder

    local = cwd / model
    embedder = build_embedder(EmbedderSpec(model=str(local) if local.is_dir() else model))
    return lambda probes: Meaning(probes, embedder, threshold)


def _leaks(found: Contamination) -> Iterator[str]:
    if not found.leaks:
        yield f"contamination: none of {counted(found.cases, 'case')} was found in {counted(found.rows, 'row')}"
        return
    yield f"contamination: {len(found.leaks):,} of {counted(found.cases, 'case')} found in {counted(found.rows, 'row')}"
    several = len({leak.golden_set for leak in found.leaks}) > 1
    listed = found.leaks[:MAX_LISTED]
    lines = table(
        [
            ("case", "leaked", "found by", "score", "rows", "where"),
            *(_leak_row(leak, several) for leak in listed),
        ],
        right=(3, 4),
    )
    yield f"  {lines[0]}"
    for leak, line in zip(listed, lines[1:], strict=True):
        yield f"  {line}"
        yield f"      case:  {one_line(leak.matches[0].case_text, _WIDTH)}"
        yield f"      train: {one_line(leak.matches[0].train_text, _WIDTH)}"
    if len(found.leaks) > MAX_LISTED:
        yield f"  and {len(found.leaks) - MAX_LISTED:,} more (--report FILE has all)"


def _leak_row(leak: Leak, several: bool) -> tuple[str, ...]:
    match = leak.matches[0]
    name = one_line(f"{leak.golden_set}: {leak.case_id}" if several else leak.case_id, 60)
    return (
        f"{name} (critical)" if leak.critical else name,
        leak.kind,
        _FOUND_BY[match.detector],
        f"{match.score:.2f}",
        f"{leak.rows:,}",
        one_line(f"{match.file}:{match.line}", 80),
    )


def _sources(found: Contamination) -> Iterator[str]:
    from evalharness.contamination.result import KINDS

    rows = [
        (
            "source",
            "rows",
            "empty",
            "unknown",
            "unreadable",
            "duplicates",
            *(f"leak {kind}" for kind in KINDS),
        )
    ]
    order = sorted(found.sources, key=lambda one: (-sum(one.leaking.values()), -one.rows, one.name))
    for one in order[:_MAX_SOURCES]:
        numbers = (one.rows, one.empty, one.unknown, one.unreadable, one.duplicates)
        leaking = (one.leaking[kind] for kind in KINDS)
        rows.append((one_line(one.name, 60), *(f"{number:,}" for number in (*numbers, *leaking))))
    yield from table(rows, right=range(1, len(rows[0])))
    if len(order) > _MAX_SOURCES:
        yield f"and {len(order) - _MAX_SOURCES:,} more sources (--report FILE has all)"
    formats = ", ".join(f"{number:,} {name}" for name, number in found.formats.items())
    duplicates = f"{found.duplicates:,} ({found.duplicate_rate:.1%})"
    yield f"formats: {formats or 'none'}; duplicates over all sources: {duplicates}"


def _notes(found: Contamination) -> Iterator[str]:
    if found.whole_only:
        yield (
            f"{counted(len(found.whole_only), 'question')} of fewer than 8 words: looked for as a whole only "
            f"({_some([case for _, case in found.whole_only])})"
        )
    if found.too_short:
        yield (
            f"{counted(len(found.too_short), 'question')} too short to tell: not looked for "
            f"({_some([case for _, case in found.too_short])})"
        )
    if found.template:
        triples = counted(found.template, "word triple")
        yield f"{triples} that many cases share: taken for the prompt's template, not counted"
    for name in found.open_sets:
        yield f"{one_line(name, 80)}: not looked for, its card says held_out: false"
    for problem in found.problems:
        yield one_line(f"unreadable or unknown: {problem}", 300)
    for warning in found.warnings:
        yield f"warning: {warning}"
    for error in found.errors:
        yield f"error: {error}"
    if found.leaks:
        yield "CONTAMINATED: take these rows out of the training data, or retire the cases"
    elif found.errors:
        yield "UNDECIDED: no leak was found, and not everything could be looked at"
    else:
        yield "CLEAN: no leak was found"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name, 60) for name in names[:_MAX_IDS])
    return shown + (f" and {len(names) - _MAX_IDS:,} more" if len(names) > _MAX_IDS else "")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return strip_control(value)
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, (list, tuple)) else value
