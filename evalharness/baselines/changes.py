"""What moved since a baseline was blessed, and what that asks for: nothing, scoring again, or a new run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from evalharness._canon import short
from evalharness.baselines.asked import Asked, read_asked
from evalharness.baselines.refs import Entry
from evalharness.core.cases import GoldenSet
from evalharness.core.suites import Suite
from evalharness.plugins import Registry

What: TypeAlias = Literal["golden_set", "scorer", "judge", "suite"]
Needs: TypeAlias = Literal["run", "score", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not as it was when a baseline was blessed.

    Attributes:
        what, name: which. before, after: as people know it; None where it was not there, or is gone.
        needs: "run": its answers are not to what is asked now; "score": they are, and their scores are not those of
            now; "nothing": judges speak at each comparison.
        why: what exactly moved, where more is known.
    """

    what: What
    name: str
    before: str | None
    after: str | None
    needs: Needs
    why: str = ""

    def __str__(self) -> str:
        noun = self.what.replace("_", " ")
        if self.before is None:
            text = f"{noun} {self.name} {self.after} is new"
        elif self.after is None:
            text = f"{noun} {self.name} {self.before} is gone"
        else:
            text = f"{noun} {self.name} {self.before} → {self.after}"
        return text + (f" ({self.why})" if self.why else "")


def changes_since(entry: Entry, folder: Path, suite: Suite, registry: Registry) -> list[Change]:
    """What moved between a blessing and a suite, golden sets first.

    Args:
        entry: the blessing.
        folder: of its run.
        suite: complete, as it is now.
        registry: tells the versions of scorers.

    Raises:
        StoreError: what the run was asked cannot be read.
    """
    asked = read_asked(folder)
    found = [
        *_golden_sets(entry.golden_sets, asked, suite),
        *_scorers(entry.scorers, scorers_of(suite, registry)),
        *_judges(entry.judges, suite),
    ]
    if not found and entry.suite["digest"] != suite.digest:
        # a file that a scorer names, the order of evals: part of the digest and of nothing that has a name here
        return [
            Change(
                what="suite",
                name=suite.name,
                before=short(entry.suite["digest"]),
                after=short(suite.digest),
                needs="score",
            )
        ]
    return found


def _golden_sets(
    before: Mapping[str, Mapping[str, Any]], asked: Asked | None, suite: Suite
) -> Iterator[Change]:
    now = {g.name: g for g in suite.golden_sets}
    for name, golden_set in now.items():
        old = before.get(name)
        if old is None:
            yield Change(what="golden_set", name=name, before=None, after=version_of(golden_set), needs="run")
        elif old.get("digest") != golden_set.digest:
            needs, why = _asks(golden_set, asked)
            yield Change(
                what="golden_set",
                name=name,
                before=_version(old),
                after=version_of(golden_set),
                needs=needs,
                why=why,
            )
    for name in before.keys() - now.keys():
        yield Change(what="golden_set", name=name, before=_version(before[name]), after=None, needs="score")


def _asks(golden_set: GoldenSet, asked: Asked | None) -> tuple[Needs, str]:
    if asked is None:
        return "run", "what its cases asked was not written down"
    new, changed = asked.unanswered(golden_set)
    if not new and not changed:
        return "score", "every case asks what it asked before"
    parts = [f"{new:,} new"] if new else []
    parts += [f"{changed:,} asked differently"] if changed else []
    return "run", f"of {len(golden_set.cases):,} cases {' and '.join(parts)}"


def _scorers(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> Iterator[Change]:
    for name, row in now.items():
        old = before.get(name)
        if old is None:
            yield Change(what="scorer", name=name, before=None, after=_scorer(row), needs="score")
        elif dict(old) != row:
            same = _scorer(old) == _scorer(row)
            why = "other parameters" if same else ""
            yield Change(
                what="scorer", name=name, before=_scorer(old), after=_scorer(row), needs="score", why=why
            )
    for name in sorted(before.keys() - now.keys()):
        yield Change(what="scorer", name=name, before=_scorer(before[name]), after=None, needs="score")


def _judges(before: Mapping[str, Mapping[str, Any]], suite: Suite) -> Iterator[Change]:
    now = judges_of(suite)
    for name, row in now.items():
        old = before.get(name)
        if old is None:
            yield Change(what="judge", name=name, before=None, after=_judge(row), needs="nothing")
        elif old.get("digest") != row["digest"]:
            yield Change(what="judge", name=name, before=_judge(old), after=_judge(row), needs="nothing")
    for name in sorted(before.keys() - now.keys()):
        yield Change(what="judge", name=name, before=_judge(before[name]), after=None, needs="nothing")


def golden_sets_of(suite: Suite) -> dict[str, dict[str, Any]]:
    """The golden sets of a suite as an entry keeps them."""
    return {
        g.name: {
            "version": g.card.version,
            "digest": g.digest,
            "rotate_after": g.card.rotate_after or None,
            "locked": bool(g.card.cases_digest) or g.name in suite.benchmark_sets,
        }
        for g in suite.golden_sets
    }


def scorers_of(suite: Suite, registry: Registry) -> dict[str, dict[str, Any]]:
    """The scorers of a suite by metric id, as an entry keeps them: name, version, parameters as data."""
    return {
        metric_id: {
            "name": spec.name,
            "version": str(getattr(registry.load("scorers", spec.name), "version", "")),
            "params": _plain(spec.params),
        }
        for metric_id, _, spec in suite.metrics
    }


def judges_of(suite: Suite) -> dict[str, dict[str, Any]]:
    """The judges of a suite by metric id, as an entry keeps them."""
    return {
        metric_id: {"name": judge.name, "digest": judge.digest, "model": judge.model}
        for metric_id, _, judge in suite.judged
    }


def version_of(golden_set: GoldenSet) -> str:
    """A golden set's version with its digest, which alone tells two apart where nobody changed the version."""
    return _version({"version": golden_set.card.version, "digest": golden_set.digest})


def _version(row: Mapping[str, Any]) -> str:
    return f"{row.get('version') or 'no version'} ({short(str(row.get('digest')))})"


def _scorer(row: Mapping[str, Any]) -> str:
    return f"{row.get('name')} {row.get('version') or ''}".rstrip()


def _judge(row: Mapping[str, Any]) -> str:
    model = f", {row['model']}" if row.get("model") else ""
    return f"{row.get('name')} ({short(str(row.get('digest')))}{model})"


def _plain(value: Any) -> Any:
    """Parameters as JSON data; what has no such form as its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
