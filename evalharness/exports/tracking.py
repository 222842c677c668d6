"""What a run of an experiment tracker holds, the same for each of them: metrics, parameters, tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from evalharness.analysis.alone import Standing
from evalharness.core.runs import Run

_COMPARED: Final = ("baseline", "candidate", "delta", "p_value", "p_adjusted", "bound")
_NOT_A_NAME: Final = re.compile(r"[^\w./ -]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """One run of a tracker.

    Attributes:
        name: what it is called.
        metrics: finite numbers by name: `<metric>` of a single run, `<metric>.<delta, ci_low …>` of a comparison.
        params: names, digests and settings.
        tags: what to filter by: verdict, exit code.
        files: what lies beside it, by file name.
    """

    name: str
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    files: Mapping[str, Path]


def tracked_run(run: Run, values: Mapping[str, Standing], files: Mapping[str, Path]) -> Tracked:
    """A stored run with the values of its metrics; `files` lie beside it."""
    about, coverage = run.manifest["candidate"], run.manifest["coverage"]
    metrics = {name: found.value for name, found in values.items() if found.value is not None}
    metrics |= {f"{name}.missing": float(found.missing) for name, found in values.items()}
    metrics |= {
        f"coverage.{name}": float(coverage[name]) for name in ("planned", "scored", "failed", "unscored")
    }
    params = {
        "candidate": run.name,
        "candidate_digest": run.candidate_digest,
        "provider": about["provider"],
        "model": about["model"],
        "run_id": run.id,
        "suite": run.suite_name,
        "suite_digest": run.suite_digest,
        "repeats": run.repeats,
        **{f"golden_set.{name}": found for name, found in run.golden_sets.items()},
    }
    return _tracked(run.name, metrics.items(), params, {"kind": "run"}, files)


def tracked_comparison(document: Mapping[str, Any], files: Mapping[str, Path]) -> Tracked:
    """A comparison from its comparison.json; `files` are its reports."""
    metrics: list[tuple[str, float | None]] = []
    for metric in document["metrics"]:
        interval = metric.get("ci") or {}
        metrics += [(f"{metric['id']}.{key}", metric.get(key)) for key in _COMPARED]
        metrics += [(f"{metric['id']}.ci_{end}", interval.get(end)) for end in ("low", "high")]
    metrics.append(("exit_code", float(document["exit_code"])))
    params = {
        "suite": document["suite"]["name"],
        "suite_digest": document["suite"]["digest"],
        "seed": document["seed"],
        "alpha": document["alpha"],
        **{
            f"{side}{suffix}": document[side][key]
            for side in ("baseline", "candidate")
            for suffix, key in (("", "name"), ("_digest", "digest"), ("_run_id", "run_id"))
        },
    }
    tags = {
        "kind": "comparison",
        "verdict": document["verdict"],
        "exit_code": str(document["exit_code"]),
        **{f"status.{metric['id']}": metric["status"] for metric in document["metrics"]},
    }
    name = f"{document['candidate']['name']} against {document['baseline']['name']}"
    return _tracked(name, metrics, params, tags, files)


def _tracked(
    name: str,
    metrics: Iterable[tuple[str, float | None]],
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    files: Mapping[str, Path],
) -> Tracked:
    return Tracked(
        name=name,
        metrics={_name(key): float(value) for key, value in metrics if value is not None},
        params={_name(key): str(value) for key, value in params.items() if value is not None},
        tags={_name(key): value for key, value in tags.items()},
        files=files,
    )


def without_password(address: str) -> str:
    """An address as it may be shown: what stands before the host in `http://user:password@host` is left out."""
    parts = urlsplit(address)
    return (
        urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else address
    )


def _name(text: str) -> str:
    """A name that MLflow takes: `ndcg@5` becomes `ndcg_at_5`, any other sign an underscore."""
    return _NOT_A_NAME.sub("_", text.replace("@", "_at_"))
