"""Blessed baselines as JSON data and as text. Notes and names are anybody's text, and are cleaned here once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evalharness._canon import short
from evalharness.api.baselines import BaselineDiff, BaselineEntry, ExpiredBaselines, Row
from evalharness.api.blessing import Blessing
from evalharness.api.tables import table
from evalharness.baselines.refs import Entry
from evalharness.report.text import one_line

_LONG = 1000


def baseline_row(found: BaselineEntry) -> dict[str, Any]:
    """An entry as JSON data: what is stored, with `state`, `why` and `stored`."""
    row: dict[str, Any] = _cleaned(found.entry.row())
    row.pop("schema_version")
    return row | {
        "state": found.standing.state,
        "why": one_line(found.standing.why, _LONG),
        "stored": found.stored,
    }


def baselines_json(key: str, found: Sequence[BaselineEntry] | BaselineEntry) -> dict[str, Any]:
    """A document of one entry or several, under `key`."""
    rows = baseline_row(found) if isinstance(found, BaselineEntry) else [baseline_row(item) for item in found]
    return {"schema_version": 1, key: rows}


def blessing_json(blessing: Blessing) -> dict[str, Any]:
    """What `baseline bless --json` prints."""
    row: dict[str, Any] = _cleaned(blessing.entry.row())
    row.pop("schema_version")
    return {
        "schema_version": 1,
        "made": blessing.made,
        "baseline": row,
        "warnings": _cleaned(list(blessing.warnings)),
    }


def expired_json(found: ExpiredBaselines) -> dict[str, Any]:
    """What `baseline expire --json` prints."""
    ended = [{"name": entry.name, "number": entry.number, "object": entry.object} for entry in found.ended]
    return {"schema_version": 1, "ended": ended, "removed": list(found.removed)}


def baseline_diff_json(diff: BaselineDiff) -> dict[str, Any]:
    """What `baseline diff --json` prints."""
    found: dict[str, Any] = _cleaned(asdict(diff))
    found["changes"] = [_cleaned(asdict(change)) for change in diff.changes]
    found["answers"] = dict(diff.answers) or None
    return {"schema_version": 1, **found}


def blessing_text(blessing: Blessing) -> str:
    """What was blessed, in a few lines."""
    entry = blessing.entry
    verb = "blessed" if blessing.made else "stands already"
    lines = [
        f"{entry.name}@{entry.number}: {verb}: {_run(entry)} on suite {_c(entry.suite['name'])}",
        *_details(entry),
    ]
    return "\n".join(lines)


def baseline_text(found: BaselineEntry) -> str:
    """One entry in full."""
    entry = found.entry
    state = found.standing.state + (f" ({_c(found.standing.why)})" if found.standing.why else "")
    lines = [f"{entry.name}@{entry.number}: {_run(entry)} on suite {_c(entry.suite['name'])}: {state}"]
    lines += _details(entry)
    if not found.stored:
        lines.append("  content     removed from the store; this entry is what is left")
    lines += [f"  ! {_c(text)}" for text in found.told]
    return "\n".join(lines)


def baselines_text(found: Sequence[BaselineEntry]) -> str:
    """A table of entries, one line each, and the notes below."""
    rows: list[list[str]] = [["baseline", "state", "run", "suite", "golden sets", "blessed", "by", "expires"]]
    for item in found:
        entry = item.entry
        state = item.standing.state + ("" if item.stored else ", content removed")
        versions = ", ".join(
            f"{_c(name)} {_c(row.get('version') or '?')}" for name, row in entry.golden_sets.items()
        )
        rows.append(
            [
                f"{entry.name}@{entry.number}" + (" (end)" if entry.action == "expire" else ""),
                state,
                _run(entry),
                _c(entry.suite["name"]),
                versions,
                entry.at[:10],
                _c(entry.by),
                entry.expires or "–",
            ]
        )
    lines = table(rows, right=())
    notes = [
        f"{item.entry.name}@{item.entry.number}: {_c(item.entry.note)}" for item in found if item.entry.note
    ]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def baseline_diff_text(diff: BaselineDiff) -> str:
    """What differs, and what to do."""
    lines = [f"{_c(diff.left)} against {_c(diff.right)}"]
    if diff.changes:
        lines += [f"  {_c(str(change))}: {_NEEDS[change.needs]}" for change in diff.changes]
    else:
        lines += [f"  {_c(row.what)}: {_value(row.before)} → {_value(row.after)}" for row in diff.rows]
    if not diff.rows:
        lines.append("  nothing differs in what made them" if diff.answers else "  nothing moved")
    if diff.answers:
        lines.append("  answers: " + ", ".join(f"{count:,} {what}" for what, count in diff.answers.items()))
    lines += [_metric(row) for row in diff.metrics]
    if diff.next:
        lines.append(f"Next: {diff.next}")
    return "\n".join(lines)


def expired_text(found: ExpiredBaselines) -> str:
    """What was ended or removed."""
    lines = [f"{entry.name}: ended; its history stays ({entry.name}@{entry.number})" for entry in found.ended]
    lines += [f"removed the content {short(object_id)}" for object_id in found.removed]
    return "\n".join(lines or ["nothing to do"])


_NEEDS = {
    "run": "its answers are not to this; it needs a new run",
    "score": "its answers are scored again at each comparison, without a call",
    "nothing": "asked at each comparison",
}


def _run(entry: Entry) -> str:
    return f"{_c(entry.run['name'])} ({short(_c(entry.run['id']))})"


def _details(entry: Entry) -> Iterator[str]:
    candidate = entry.run["candidate"]
    models = ", ".join(_c(model) for model in entry.run["models_returned"]) or "not reported"
    asked = f", asked for as {_c(candidate['model'])}" if candidate.get("model") else ""
    verb = "blessed" if entry.action == "bless" else "ended"
    yield f"  {verb:<11} {entry.at} by {_c(entry.by)}" + (
        f", commit {_c(entry.commit)}" if entry.commit else ""
    )
    if entry.note:
        yield f"  note        {_c(entry.note)}"
    if entry.expires:
        yield f"  expires     after {entry.expires}"
    if entry.allowed_failures:
        yield f"  failures    allowed: {_c(entry.allowed_failures)}"
    yield f"  model       {models}{asked}, provider {_c(candidate.get('provider'))}"
    for name, row in entry.golden_sets.items():
        rotate = f", renew after {_c(row['rotate_after'])}" if row.get("rotate_after") else ""
        lock = "" if row.get("locked") else ", not locked"
        yield f"  golden set  {_c(name)} {_c(row.get('version') or '?')} ({short(_c(row.get('digest')))}){rotate}{lock}"
    for name, row in entry.scorers.items():
        yield f"  scorer      {_c(name)}: {_c(row.get('name'))} {_c(row.get('version') or '')}".rstrip()
    for name, row in entry.judges.items():
        yield f"  judge       {_c(name)}: {_c(row.get('name'))} ({short(_c(row.get('digest')))})"
    yield f"  evalharness {_c(entry.evalharness)}"
    yield f"  content     {_c(entry.object)}"


def _metric(row: Row) -> str:
    return f"  {_c(row.what)}: mean score {_value(row.before)} → {_value(row.after)}"


def _value(value: str | float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else _c(value)


def _c(text: object) -> str:
    return one_line(str(text), _LONG)


def _cleaned(value: Any) -> Any:
    """JSON data whose texts drive no terminal."""
    if isinstance(value, str):
        return one_line(value, _LONG)
    if isinstance(value, Mapping):
        return {one_line(str(key), _LONG): _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    return value
