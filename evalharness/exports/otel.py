"""Scores and verdicts as OpenTelemetry `gen_ai.evaluation.result` events: OTLP JSON lines, or sent to a collector.

Names and requirement levels are those of the OpenTelemetry semantic conventions for generative AI, whose status is
"development". What they have no name for is under `evalharness.`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from evalharness._lazy import require
from evalharness.core.attempts import Failure, Response
from evalharness.core.scores import Metric, Scored
from evalharness.errors import StoreError, UsageError
from evalharness.exports.rows import ScoreRow
from evalharness.exports.tracking import without_password
from evalharness.redaction import Redactor
from evalharness.store.files import atomic_writer, encode_ascii

EVENT_NAME: Final = "gen_ai.evaluation.result"
_AT_ONCE: Final = 500
_INFO: Final = 9
"""Severity number INFO of the OpenTelemetry log data model."""
_LOGS_PATH: Final = "/v1/logs"

Value: TypeAlias = "str | int | float | bool"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: when what it speaks of was made, in nanoseconds since 1970, and its attributes."""

    time_ns: int
    attributes: Mapping[str, Value]


def score_events(
    rows: Iterable[ScoreRow], metrics: Mapping[str, Metric], suite: str, redactor: Redactor
) -> Iterator[Event]:
    """One event a score. A missing one has no value, an `error.type` and the reason as its explanation."""
    for row in rows:
        run, about = row.part.run, metrics.get(row.metric)
        found: dict[str, Value | None] = {
            "gen_ai.evaluation.name": row.metric,
            "evalharness.scope": "case",
            "evalharness.suite": suite,
            "evalharness.side": row.part.side,
            "evalharness.candidate": redactor.text(run.name),
            "evalharness.run_id": run.id,
            "evalharness.golden_set": row.attempt.golden_set,
            "evalharness.case_id": row.case_id,
            "evalharness.repeat": row.attempt.repeat,
            "gen_ai.request.model": run.manifest["candidate"]["model"],
        }
        outcome = row.attempt.outcome
        if isinstance(outcome, Response):
            found["gen_ai.response.model"] = outcome.model
        if about is not None:
            found |= {"evalharness.unit": about.unit, "evalharness.direction": about.direction}
        if isinstance(row.score, Scored):
            found["gen_ai.evaluation.score.value"] = float(row.score.value)
            found["gen_ai.evaluation.score.label"] = _label(row.score.value, about)
            why = row.score.detail.get("why")
            found["gen_ai.evaluation.explanation"] = redactor.text(why) if isinstance(why, str) else None
        else:
            found["error.type"] = outcome.kind if isinstance(outcome, Failure) else "unscored"
            found["gen_ai.evaluation.explanation"] = redactor.text(row.reason or "")
        found |= {f"evalharness.tag.{key}": value for key, value in row.tags.items()}
        yield Event(_nanoseconds(run.manifest), _there(found))


def verdict_events(document: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[Event]:
    """One event for the verdict and one a compared metric, from comparison.json and the manifest beside it.

    Their evaluation names (`verdict`, `comparison/<metric>`) differ from those of single scores: a backend that
    averages by name must not mix a difference with values.
    """
    when = _nanoseconds(manifest["candidate"])
    whole: dict[str, Value | None] = {
        "evalharness.suite": document["suite"]["name"],
        "evalharness.baseline": document["baseline"]["name"],
        "evalharness.baseline_run_id": document["baseline"]["run_id"],
        "evalharness.candidate": document["candidate"]["name"],
        "evalharness.run_id": document["candidate"]["run_id"],
    }
    yield Event(
        when,
        _there(
            whole
            | {
                "gen_ai.evaluation.name": "verdict",
                "gen_ai.evaluation.score.label": document["verdict"],
                "gen_ai.evaluation.explanation": "; ".join(document["reasons"]) or None,
                "evalharness.scope": "comparison",
                "evalharness.exit_code": document["exit_code"],
            }
        ),
    )
    for metric in document["metrics"]:
        interval = metric.get("ci") or {}
        yield Event(
            when,
            _there(
                whole
                | {
                    "gen_ai.evaluation.name": f"comparison/{metric['id']}",
                    "gen_ai.evaluation.score.value": metric.get("delta"),
                    "gen_ai.evaluation.score.label": metric["status"],
                    "gen_ai.evaluation.explanation": metric.get("reason"),
                    "evalharness.scope": "metric",
                    "evalharness.unit": metric.get("unit"),
                    "evalharness.direction": metric.get("direction"),
                    "evalharness.interval.low": interval.get("low"),
                    "evalharness.interval.high": interval.get("high"),
                    "evalharness.p_value": metric.get("p_value"),
                    "evalharness.baseline.value": metric.get("baseline"),
                    "evalharness.candidate.value": metric.get("candidate"),
                }
            ),
        )


def write_otlp(path: Path, events: Iterable[Event], *, version: str, now: datetime) -> int:
    """Write events as OTLP JSON Lines (OTLP file exporter format): one export request of up to 500 events a line.

    Returns:
        The number of events.

    Raises:
        StoreError: the file cannot be written.
    """
    number = 0
    observed = str(int(now.timestamp() * 1e9))
    with atomic_writer(path) as stream:
        for part in _parts(events):
            stream.write(encode_ascii(_request(part, version, observed)) + "\n")
            number += len(part)
    return number


def logs_address(endpoint: str) -> str:
    """Where logs are sent on this collector: `/v1/logs` is added to an address that does not name it.

    Raises:
        UsageError: no http or https address.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"--endpoint {endpoint}: not an http(s) address; write http://127.0.0.1:4318")
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith(_LOGS_PATH) else path + _LOGS_PATH))


def send_otlp(endpoint: str, events: Iterable[Event], *, version: str, now: datetime) -> int:
    """Send events to a collector over OTLP/HTTP.

    Headers, certificates, time limits and compression are those of the standard `OTEL_EXPORTER_OTLP_*` variables.

    Returns:
        The number of events.

    Raises:
        UsageError: no http(s) address. MissingExtraError: OpenTelemetry's SDK is not installed.
        StoreError: the collector did not take a part of them; says how many were taken.
    """
    address = logs_address(endpoint)
    shown = without_password(address)
    why = "send OpenTelemetry events (a file needs nothing: --out FILE)"
    exporting = require("opentelemetry.exporter.otlp.proto.http._log_exporter", extra="otel", why=why)
    api = require("opentelemetry._logs", extra="otel", why=why)
    sdk = require("opentelemetry.sdk._logs", extra="otel", why=why)
    resources = require("opentelemetry.sdk.resources", extra="otel", why=why)
    scopes = require("opentelemetry.sdk.util.instrumentation", extra="otel", why=why)
    resource = resources.Resource({"service.name": "evalharness", "service.version": version})
    scope = scopes.InstrumentationScope("evalharness", version)
    observed = int(now.timestamp() * 1e9)
    number = 0
    with (
        _complaints() as said,
        contextlib.closing(_Closing(exporting.OTLPLogExporter(endpoint=address))) as to,
    ):
        for part in _parts(events):
            records = [
                sdk.ReadableLogRecord(
                    api.LogRecord(
                        timestamp=event.time_ns,
                        observed_timestamp=observed,
                        severity_number=api.SeverityNumber.INFO,
                        severity_text="INFO",
                        event_name=EVENT_NAME,
                        attributes=dict(event.attributes),
                    ),
                    resource,
                    scope,
                )
                for event in part
            ]
            if to.exporter.export(records).name != "SUCCESS":
                told = f": {said[-1].replace(address, shown)}" if said else ""
                raise StoreError(
                    f"{shown}: the collector took {number:,} events and refused the next {len(part):,}{told}; check "
                    "the address and OTEL_EXPORTER_OTLP_HEADERS, and run the same command again"
                )
            number += len(part)
    return number


class _Closing:
    """An exporter under the name that `contextlib.closing` calls."""

    def __init__(self, exporter: Any) -> None:
        self.exporter = exporter

    def close(self) -> None:
        self.exporter.shutdown()


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """What the exporter says of a failure: it logs the reason and returns none."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(" ".join(record.getMessage().split())[:300])

    logger = logging.getLogger("opentelemetry.exporter")
    listener, before = Listener(logging.WARNING), logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.propagate = before


def _request(events: Iterable[Event], version: str, observed: str) -> dict[str, Any]:
    resource = {"service.name": "evalharness", "service.version": version}
    records = [
        {
            "timeUnixNano": str(event.time_ns),
            "observedTimeUnixNano": observed,
            "severityNumber": _INFO,
            "severityText": "INFO",
            "eventName": EVENT_NAME,
            "attributes": _pairs(event.attributes),
        }
        for event in events
    ]
    scope = {"scope": {"name": "evalharness", "version": version}, "logRecords": records}
    return {"resourceLogs": [{"resource": {"attributes": _pairs(resource)}, "scopeLogs": [scope]}]}


def _pairs(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in attributes.items()]


def _any_value(value: Value) -> dict[str, Any]:
    """A value in OTLP's JSON form, where 64-bit whole numbers are text."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}


def _label(value: float, about: Metric | None) -> str | None:
    """The words pass and fail for a 0/1 metric, None for others: a label should have few values."""
    if about is None or about.kind != "binary":
        return None
    return "fail" if value == about.worst else "pass"


def _there(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    return {
        key: value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
        for key, value in attributes.items()
        if value is not None
    }


def _nanoseconds(about: Mapping[str, Any]) -> int:
    """When a run was started, 0 where it is not known: OpenTelemetry's own word for that."""
    started = (about.get("environment") or {}).get("started")
    try:
        return int(datetime.fromisoformat(str(started)).timestamp()) * 10**9
    except ValueError:
        return 0


def _parts(events: Iterable[Event]) -> Iterator[list[Event]]:
    left = iter(events)
    while part := list(islice(left, _AT_ONCE)):
        yield part
