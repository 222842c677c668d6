"""Verdicts made for tests: realistic numbers, every status, hostile strings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any

import referees

from evalharness.core.attempts import Failure, Response
from evalharness.core.cases import Case, Slice
from evalharness.core.comparisons import (
    CaseChange,
    Comparison,
    CriticalFailure,
    Drift,
    Flakiness,
    FlakyCase,
    Looks,
    MetricComparison,
    Side,
)
from evalharness.core.estimates import Interval, PairedEstimate
from evalharness.core.runs import Coverage
from evalharness.core.suites import Margin, Waiver
from evalharness.core.verdicts import Check, Outcome, Status, Verdict

TWO_PP = Margin(Fraction(1, 50), relative=False)
THREE_PP = Margin(Fraction(3, 100), relative=False)
FIVE_PERCENT = Margin(Fraction(1, 20), relative=True)
EXIT = {"pass": 0, "regression": 1, "inconclusive": 3, "invalid": 4}

NASTY = (
    "<script>window.pwned=1</script>",
    "\"><img src=x onerror='window.pwned=1'>",
    "'><svg/onload=window.pwned=1>",
    "</style><script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<a href='javascript:window.pwned=1'>x</a>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "{{ 7*7 }} {% for x in y %} ${7*7} #{7*7}",
    "<!-- --><!--><script>window.pwned=1</script>",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\ \x9b31m",
    "abc\u202edcba\u202c \u2066x\u2069 zero\u200bwidth \ufeff",
    "שלום עולם مرحبا بالعالم",
    "lone \ud800 surrogate \udfff here",
    "nul \x00 bell \x07 del \x7f vt \x0b ff \x0c",
    "pipe | back ` tick ``` fence @octocat @org/team #123 GH-4 https://evil.example www.evil.example a@b.co",
    "[link](javascript:alert(1)) ![img](https://evil.example/x.png) **bold** <b>raw</b> &lt;b&gt;",
    "[bold red]markup[/bold red] [link=https://evil.example]x[/link] [/]",
    "line\nbreak\r\nand\u2028more\u2029| --- | --- |\n# heading\n- item\n1. one",
    "]]> <![CDATA[ & &#0; &amp;",
    "\\| \\` \\\\| end\\",
    "",
    "   ",
)


def estimate(
    baseline: float, delta: float, *, half: float = 0.02, n: int = 300, p: float = 0.01, **changes: Any
) -> PairedEstimate:
    """A paired estimate on the goodness scale with an interval of ± half."""
    known: dict[str, Any] = {
        "n": n,
        "n_units": n,
        "baseline": baseline,
        "candidate": baseline + delta,
        "delta": delta,
        "interval": Interval(low=delta - half, high=delta + half, level=0.95, method="Tango score"),
        "lower": delta - half * 0.84,
        "lower_method": "Tango score bound",
        "p_drop": p,
        "p_gain": 1 - p,
        "test": "mid-p McNemar",
        "n_regressed": 21,
        "n_fixed": 8,
        "discordance": 29 / n,
        "sd": 0.31,
    }
    return PairedEstimate(**(known | changes))


def metric(
    id: str = "routing/exact_match", est: PairedEstimate | None = None, **changes: Any
) -> MetricComparison:
    eval_id, _, scorer = id.partition("/")
    known: dict[str, Any] = {
        "id": id,
        "eval": eval_id,
        "scorer": scorer,
        "kind": "binary",
        "unit": "fraction",
        "direction": "higher",
        "gated": True,
        "primary": True,
        "margin": TWO_PP,
        "max_drop": 0.02,
        "n_missing_baseline": 0,
        "n_missing_candidate": 0,
        "estimate": est,
        "mde": 0.034,
        "n_for_power": 870,
    }
    return MetricComparison(**(known | changes))


def check(status: Status, m: MetricComparison, reason: str = "", p_adjusted: float | None = None) -> Check:
    return Check(metric=m, status=status, reason=reason or f"{m.id} is {status}", p_adjusted=p_adjusted)


def side(role: str, name: str, **changes: Any) -> Side:
    digit = "a" if role == "baseline" else "b"
    known: dict[str, Any] = {
        "role": role,
        "name": name,
        "run_id": "sha256:" + digit * 64,
        "digest": "sha256:" + str(int(digit, 16)) * 32,
        "provider": "openai",
        "model": "support-small",
        "models": ("support-small-2026-08-07",),
        "repeats": 1,
        "coverage": Coverage(planned=820, scored=820, failed=0, unscored=0),
        "facts": {
            "calls": 820 if role == "candidate" else 0,
            "cached": 0 if role == "candidate" else 820,
            "input_tokens": 181_204,
            "output_tokens": 40_112,
            "cost_usd": 0.4132 if role == "candidate" else 0.0,
            "latency_p50_ms": 412.0,
            "latency_p95_ms": 1380.0,
            "wall_s": 24.2,
            "versions": {"evalharness": "0.1.0", "exact_match": "1"},
        },
    }
    return Side(**(known | changes))


def change(
    key: str,
    before: str | Failure = "billing",
    after: str | Failure = "refund",
    *,
    regressed: bool = True,
    fixed: bool = False,
    values: Mapping[str, tuple[float | None, float | None]] | None = None,
    golden_set: str = "support-routing",
    **case: Any,
) -> CaseChange:
    moved = values or {"routing/exact_match": (0.0, 1.0) if fixed else (1.0, 0.0)}
    fields: dict[str, Any] = {
        "id": key,
        "input": "I was charged twice for my June invoice.",
        "targets": ("billing",),
        "tags": {"channel": "email"},
        "line": 12,
    }
    return CaseChange(
        key=key,
        golden_set=golden_set,
        case=Case(**(fields | case)),
        before=Response(text=before) if isinstance(before, str) else before,
        after=Response(text=after) if isinstance(after, str) else after,
        deltas={m: b - a for m, (a, b) in moved.items() if a is not None and b is not None},
        values_before={m: a for m, (a, _) in moved.items()},
        values_after={m: b for m, (_, b) in moved.items()},
        regressed=regressed,
        fixed=fixed,
    )


def critical(key: str, **changes: Any) -> CriticalFailure:
    known: dict[str, Any] = {
        "metric": "routing/exact_match",
        "passed_before": "100% of repeats scored 1",
        "failed_after": "0% of repeats scored 1",
        "confirmed": True,
    }
    return CriticalFailure(key=key, **(known | changes))


def verdict(
    outcome: Outcome = "regression",
    checks: tuple[Check, ...] = (),
    slice_checks: tuple[Check, ...] = (),
    changes: tuple[CaseChange, ...] = (),
    critical: tuple[CriticalFailure, ...] = (),
    reasons: tuple[str, ...] = ("routing/exact_match fell 4.3pp, margin 2pp.",),
    warnings: tuple[str, ...] = (),
    exit_code: int | None = None,
    **comparison: Any,
) -> Verdict:
    known: dict[str, Any] = {
        "baseline": side("baseline", "support-bot-1"),
        "candidate": side("candidate", "support-bot-2"),
        "suite_name": "support",
        "suite_digest": "sha256:" + "c" * 64,
        "seed": 20260807,
        "alpha": 0.05,
        "metrics": tuple(c.metric for c in checks),
        "slices": tuple(c.metric for c in slice_checks),
        "changes": changes,
        "critical": critical,
    }
    return Verdict(
        outcome=outcome,
        exit_code=EXIT[outcome] if exit_code is None else exit_code,
        reasons=reasons,
        warnings=warnings,
        checks=checks,
        slice_checks=slice_checks,
        comparison=Comparison(**(known | comparison)),
    )


def checks_of_every_status() -> tuple[Check, ...]:
    return (
        check(
            "regression",
            metric(est=estimate(0.853, -0.043, p=0.004)),
            "fell 4.3pp, at least the margin of 2pp, and the test confirms it",
            0.016,
        ),
        check(
            "suspect",
            metric("answers/contains", estimate(0.711, -0.0238, half=0.03, n=210, p=0.11)),
            "fell 2.4pp, at least the margin of 2pp, and the test cannot tell it from noise",
            0.22,
        ),
        check(
            "underpowered",
            metric("answers/rouge_l", estimate(0.52, -0.0092, half=0.019, n=210, p=0.2), kind="bounded"),
            "the bound does not exclude a fall of 2pp",
            0.4,
        ),
        check(
            "pass",
            metric("extraction/json_valid", estimate(0.94, 0.0067, half=0.012, n=150, p=0.7)),
            "the bound excludes a fall of 2pp",
            0.7,
        ),
        check(
            "improved",
            metric("extraction/field_f1", estimate(0.774, 0.061, half=0.025, n=150, p=0.999), kind="bounded"),
            "passes, and the test confirms a gain",
            0.999,
        ),
        check(
            "advisory",
            metric(
                "answers/length",
                estimate(-142.5, -13.2, half=6.0, n=210, p=0.001),
                gated=False,
                primary=False,
                unit="characters",
                direction="lower",
                kind="unbounded",
                margin=FIVE_PERCENT,
                max_drop=7.125,
                mde=None,
                n_for_power=None,
            ),
            "advisory, never gates",
        ),
        check(
            "invalid",
            metric(
                "answers/judge",
                None,
                problem="the judge could not read 12 answers",
                mde=None,
                n_for_power=None,
            ),
            "could not be estimated",
        ),
    )


def slice_checks() -> tuple[Check, ...]:
    rows = (("email", -0.081, 0.05), ("chat", -0.012, 0.05), ("phone", -0.03, 0.06), ("social", 0.02, 0.08))
    return tuple(
        check(
            "advisory", metric(est=estimate(0.86, d, half=h, n=80), gated=False, slice=Slice("channel", name))
        )
        for name, d, h in rows
    )


def gating_slice(
    status: Status = "pass", id: str = "routing/exact_match", name: Slice | None = None, **changes: Any
) -> Check:
    """A slice that the suite declares as gating."""
    known: dict[str, Any] = {"est": estimate(0.86, -0.004, half=0.014, n=160, p=0.4)}
    chosen = metric(id, slice=name or Slice("tier", "enterprise"), **(known | changes))
    assert chosen.estimate is not None
    return check(status, chosen, p_adjusted=min(1.0, 4 * chosen.estimate.p_drop))


def looks(**changes: Any) -> Looks:
    """Look 2 of 5, stopped early by a regression."""
    known: dict[str, Any] = {
        "number": 2,
        "planned": 5,
        "routine": 5,
        "used": {"support-routing": 280, "support-answers": 120},
        "most": {"support-routing": 700, "support-answers": 300},
        "saved_baseline": 600,
        "saved_candidate": 600,
        "stopped": "regression",
    }
    return Looks(**(known | changes))


def waiver(
    metric_id: str, reason: str, expires: date = date(2027, 3, 31), margin: Margin = THREE_PP
) -> Waiver:
    return Waiver(metric=metric_id, margin=margin, reason=reason, expires=expires)


def drift() -> tuple[Drift, ...]:
    """One metric that held, one that slid by the margin in small steps, one that lower is better for, one unknown."""
    length = metric(
        "answers/length",
        unit="characters",
        direction="lower",
        margin=FIVE_PERCENT,
        max_drop=7.0,
    )
    return (
        Drift(
            metric=metric(),
            baseline=estimate(0.87, -0.015, half=0.012),
            candidate=estimate(0.87, -0.031, half=0.014, p=0.0002),
            exceeds=True,
        ),
        Drift(
            metric=metric("extraction/json_valid"),
            baseline=estimate(0.93, 0.01),
            candidate=estimate(0.93, 0.0167, half=0.015),
            exceeds=False,
        ),
        Drift(
            metric=length,
            baseline=estimate(-140.0, -2.5, half=4.0),
            candidate=estimate(-140.0, -5.5, half=4.0),
            exceeds=False,
        ),
        Drift(
            metric=metric("answers/contains"),
            baseline=None,
            candidate=None,
            exceeds=False,
            problem="the anchor was not scored by contains",
        ),
    )


def flakiness(cases: int = 31) -> tuple[Flakiness, ...]:
    """A metric with flaky cases, p̂ from a half down, and one that never moved."""
    shaky = tuple(
        FlakyCase(key=f"route-{i:03}", rate=(0.5, 0.375, 0.25, 0.125)[min(3, i // 6)], answers=8)
        for i in range(cases)
    )
    return (
        Flakiness(
            metric="routing/exact_match",
            cases=300,
            answers=8,
            between_cases=0.1173,
            within_cases=0.0151,
            flips=0.0303,
            false_drops=0.0004,
            flaky=shaky,
        ),
        Flakiness(
            metric="extraction/json_valid",
            cases=150,
            answers=8,
            between_cases=0.0564,
            within_cases=0.0,
            flips=0.0,
            false_drops=0.0,
            flaky=(),
        ),
    )


def full_strength(outcome: Outcome = "regression", **changes: Any) -> Verdict:
    """Everything at once: an early stop, slices that gate, waivers, an anchor, flakiness."""
    waived = metric(
        "extraction/json_valid",
        estimate(0.94, -0.024, half=0.005, n=150, p=0.02),
        margin=THREE_PP,
        max_drop=0.03,
        waiver=waiver("extraction/json_valid", "The quantised model trades this for half the latency."),
        waived=True,
    )
    expired = metric(
        "extraction/field_f1",
        estimate(0.774, 0.061, half=0.025, n=150, p=0.999),
        kind="bounded",
        waiver=waiver("extraction/field_f1", "Until the parser is mended.", date(2026, 6, 30)),
    )
    checks = [c for c in checks_of_every_status() if c.status not in ("pass", "improved")]
    checks[4:4] = [check("pass", waived, p_adjusted=0.06), check("improved", expired, p_adjusted=1.0)]
    known: dict[str, Any] = {
        "checks": tuple(checks),
        "slice_checks": (
            *slice_checks(),
            gating_slice(),
            gating_slice(
                "regression", name=Slice("tier", "free"), est=estimate(0.84, -0.09, half=0.03, n=140, p=0.001)
            ),
        ),
        "changes": (change("route-1"), change("route-2")),
        "looks": looks(),
        "anchor": side("anchor", "support-bot-1.0", run_id="sha256:" + "d" * 64),
        "drift": drift(),
        "flakiness": flakiness(),
    }
    return verdict(outcome, **(known | changes))


def nasty_verdict(outcome: Outcome = "regression", **changes: Any) -> Verdict:
    """Hostile strings in every place that takes one."""
    everywhere = " ".join(NASTY)
    hostile = tuple(
        change(
            f"{text} {i}",
            f"{text} and {everywhere}",
            f"{NASTY[-i - 1]} but {everywhere}" if i % 3 else Failure(kind="server", message=everywhere),
            input=everywhere,
            targets=(text, {"answer": everywhere}),
            tags={text or "empty": everywhere},
            golden_set=everywhere,
            regressed=i % 2 == 0,
            fixed=i % 4 == 1,
            values={everywhere: (1.0, 0.0), text: (0.0, None)},
        )
        for i, text in enumerate(NASTY)
    )
    per_class = [{"label": text, "precision": 0.5, text: 0.1} for text in NASTY]
    confusion = {"gold": list(NASTY[:6]), "predicted": list(NASTY[:8]), "matrix": [[1.0] * 8] * 6}
    tables = {"per_class": per_class, "confusion": confusion}
    rows = tuple(
        check(
            "regression",
            metric(
                text or "empty",
                estimate(0.8, -0.05, test=text, lower_method=text, no_pass_reason=text),
                breakdown={"baseline": tables, "candidate": tables},
                waiver=waiver(text or "empty", everywhere),
                waived=i % 2 == 0,
            ),
            everywhere,
            0.01,
        )
        for i, text in enumerate(NASTY)
    )
    slices = tuple(
        check("advisory", metric(NASTY[0], estimate(0.8, -0.05), gated=False, slice=Slice(text, everywhere)))
        for text in NASTY
    ) + tuple(gating_slice("regression", text or "empty", Slice(everywhere, text)) for text in NASTY)
    shaky = tuple(FlakyCase(key=f"{text} {i}", rate=0.5, answers=2) for i, text in enumerate(NASTY))
    odd = check("invalid", metric("odd/" + everywhere, None, problem=everywhere, unit=NASTY[0]))

    def named(role: str) -> Side:
        return side(
            role,
            everywhere,
            run_id=everywhere,
            digest=everywhere,
            provider=everywhere,
            model=everywhere,
            models=NASTY,
            coverage=Coverage(planned=9, scored=1, failed=4, unscored=4, reasons={everywhere: 8}),
            facts={everywhere: everywhere, "cost_usd": everywhere, "versions": {everywhere: everywhere}},
        )

    known: dict[str, Any] = {
        "checks": (*rows, odd),
        "slice_checks": slices,
        "changes": hostile,
        "critical": tuple(
            critical(f"{text} {i}", metric=everywhere, passed_before=everywhere, failed_after=text)
            for i, text in enumerate(NASTY)
        ),
        "reasons": (everywhere, *NASTY),
        "warnings": (
            everywhere,
            *NASTY,
            *(f"{text or 'empty'}/judge is advisory: {everywhere}" for text in NASTY),
        ),
        "problems": NASTY,
        "judges": referees.hostile(NASTY, [c.case.id for c in hostile], everywhere),
        "baseline": named("baseline"),
        "candidate": named("candidate"),
        "suite_name": everywhere,
        "suite_digest": everywhere,
        "looks": looks(used=dict.fromkeys(NASTY, 4), most={text: 9 + i for i, text in enumerate(NASTY)}),
        "anchor": named("anchor"),
        "drift": tuple(
            Drift(
                metric=metric(text or "empty", slice=Slice(text, everywhere)),
                baseline=estimate(0.8, -0.01),
                candidate=None if i % 3 else estimate(0.8, -0.05),
                exceeds=i % 3 == 0,
                problem=everywhere if i % 3 else None,
            )
            for i, text in enumerate(NASTY)
        ),
        "flakiness": tuple(
            Flakiness(
                metric=text or "empty",
                cases=24,
                answers=2,
                between_cases=0.1,
                within_cases=0.01,
                flips=0.3,
                false_drops=0.2,
                flaky=shaky if i < 3 else (),
            )
            for i, text in enumerate(NASTY)
        ),
    }
    return verdict(outcome, **(known | changes))
