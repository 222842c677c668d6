"""Two versions of a golden set: what came, what went, what changed, and what only looks new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evalharness._canon import canonical_json
from evalharness.contamination.probes import Options, make_probes
from evalharness.contamination.rows import Row
from evalharness.contamination.scan import Found, Held, Scanner, hold
from evalharness.core.cases import Case, GoldenSet

_FIELDS: Final = (
    "input", "messages", "targets", "choices", "contexts", "relevant", "cluster", "tags", "critical", "human",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceChange:
    """Cases of a slice in both versions. `changed` counts cases that are in the slice of either version."""

    slice: str
    old: int
    new: int
    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDiff:
    """What differs.

    Attributes:
        old, new: name and version of the two.
        added, removed: ids of cases that one version has.
        changed: id → what of it differs (`input`, `target`, …), for cases of both.
        same: cases that are equal in both.
        slices: counts by slice; the first one, named "", is all cases.
        repeated: (new id, old id, similarity): an added case whose question an old case under another id asked nearly
            so already. Exact, n-gram and near duplicates, as in training data.
        errors: sentences: what breaks the rule that a version never changes.
    """

    old: tuple[str, str]
    new: tuple[str, str]
    added: Sequence[str]
    removed: Sequence[str]
    changed: Mapping[str, Sequence[str]]
    same: int
    slices: Sequence[SliceChange]
    repeated: Sequence[tuple[str, str, float]]
    errors: Sequence[str]


def diff_versions(old: GoldenSet, new: GoldenSet, options: Options | None = None) -> VersionDiff:
    """Compare two versions of a golden set by case id.

    Args:
        old: the version so far.
        new: the one to come.
        options: how alike is too alike, for `repeated`.
    """
    before = {case.id: case for case in old.cases}
    after = {case.id: case for case in new.cases}
    added = [case for case in new.cases if case.id not in before]
    removed = [case for case in old.cases if case.id not in after]
    changed = {
        case.id: fields
        for case in new.cases
        if case.id in before and (fields := _changes(before[case.id], case))
    }
    return VersionDiff(
        old=(old.name, old.card.version),
        new=(new.name, new.card.version),
        added=[case.id for case in added],
        removed=[case.id for case in removed],
        changed=changed,
        same=len(after) - len(added) - len(changed),
        slices=list(_slices(before, after, changed)),
        repeated=_repeated(old.cases, added, options or Options()),
        errors=list(_errors(old, new)),
    )


def _changes(before: Case, after: Case) -> list[str]:
    def plain(case: Case, field: str) -> str:
        value = getattr(case, field)
        if field == "messages":
            value = [[message.role, message.content] for message in value]
        return canonical_json(dict(value) if isinstance(value, Mapping) else value)

    named = {"targets": "target"}
    return [named.get(name, name) for name in _FIELDS if plain(before, name) != plain(after, name)]


def _slices(
    before: Mapping[str, Case], after: Mapping[str, Case], changed: Mapping[str, Sequence[str]]
) -> Iterator[SliceChange]:
    def inside(case: Case | None, tag: tuple[str, str] | None) -> bool:
        return case is not None and (tag is None or case.tags.get(tag[0]) == tag[1])

    tags = sorted({tag for case in (*before.values(), *after.values()) for tag in case.tags.items()})
    for tag in (None, *tags):
        yield SliceChange(
            slice="" if tag is None else f"{tag[0]}={tag[1]}",
            old=sum(inside(case, tag) for case in before.values()),
            new=sum(inside(case, tag) for case in after.values()),
            added=sum(inside(case, tag) for name, case in after.items() if name not in before),
            removed=sum(inside(case, tag) for name, case in before.items() if name not in after),
            changed=sum(inside(before[name], tag) or inside(after[name], tag) for name in changed),
        )


def _repeated(old: Sequence[Case], added: Sequence[Case], options: Options) -> list[tuple[str, str, float]]:
    probes = make_probes({"": old}, options)
    best: dict[tuple[str, str], float] = {}

    def report(held: Held, found: dict[int, Found]) -> None:
        for place, shared in found.items():
            for owner in probes.probes[place].owners:
                if owner.part == "input":
                    pair = added[held.row.line].id, probes.items[owner.item].case.id
                    best[pair] = max(best.get(pair, 0.0), round(max(shared.scores.values()), 4))

    scanner = Scanner(probes, options, report)
    for place, case in enumerate(added):
        texts = (
            [case.input]
            if case.input is not None
            else [m.content for m in case.messages if m.role != "system"]
        )
        scanner.add(hold(Row("", place, "text", [text for text in texts if text])))
    scanner.flush()
    return sorted((one, other, score) for (one, other), score in best.items())


def _errors(old: GoldenSet, new: GoldenSet) -> Iterator[str]:
    before, after = (old.name, old.card.version), (new.name, new.card.version)
    if old.digest != new.digest and before == after:
        yield (
            f"both say {new.name} {new.card.version} and their cases differ: a version never changes; give the new one "
            "another version"
        )
    if old.digest == new.digest and before != after:
        yield f"{' '.join(before)} and {' '.join(after)} hold the same cases"
