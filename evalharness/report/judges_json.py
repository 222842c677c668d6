"""Judges in comparison.json: standing, calibration and health. No money, no texts of verdicts."""

from __future__ import annotations

from typing import Any

from evalharness.core.judges import Calibration, Flips, Health, JudgedEval, Measured, NotMeasured
from evalharness.core.suites import JUDGE_METRIC
from evalharness.report.numbers import finite


def judge_document(one: JudgedEval) -> dict[str, Any]:
    """One entry of `judges`. A figure that there is none of is {"value": null, "reason": why}."""
    judge = one.judge
    return {
        "eval": one.eval,
        "metric": f"{one.eval}/{JUDGE_METRIC}",
        "name": judge.name,
        "digest": judge.digest,
        "mode": judge.mode,
        "models": list(one.models),
        "standing": {"may_gate": one.standing.may_gate, "reasons": list(one.standing.reasons)},
        "calibration": None if judge.calibration is None else _calibration(judge.calibration),
        "health": None if one.health is None else _health(one.health),
    }


def _calibration(found: Calibration) -> dict[str, Any]:
    return {
        "judge_digest": found.judge_digest,
        "labels_digest": found.labels_digest,
        "models": list(found.models),
        "n_labels": found.n_labels,
        "n_judged": found.n_judged,
        "agreement": _figure(found.agreement),
        "kappa": _figure(found.kappa),
        "sensitivity": _figure(found.sensitivity),
        "specificity": _figure(found.specificity),
        "correlation2": finite(found.correlation2),
        "flip_rate": _figure(found.flip_rate),
        "first_slot": _figure(found.first_slot),
        "length_correlation": _figure(found.length_correlation),
        "problem": found.problem,
    }


def _health(health: Health) -> dict[str, Any]:
    return {
        "n": health.n,
        "judged": health.judged,
        "identical": health.identical,
        "recorded": health.recorded,
        "unjudged": health.unjudged,
        "without_value": health.without_value,
        "problem": health.problem,
        "problem_count": health.problem_count,
        "votes": health.votes,
        "unreadable": health.unreadable,
        "won": health.won,
        "tied": health.tied,
        "lost": health.lost,
        "flips": _flips(health.flips),
        "length_correlation": _figure(health.length_correlation),
        "style_correlation": _figure(health.style_correlation),
        "win_rate": _figure(health.win_rate),
        "length_controlled": _figure(health.length_controlled),
        "criteria": [
            {"id": c.id, "baseline": _figure(c.baseline), "candidate": _figure(c.candidate)}
            for c in health.criteria
        ],
        "panel_agreement": _figure(health.panel_agreement),
        "families": {
            "judge": list(health.families.judge),
            "baseline": list(health.families.baseline),
            "candidate": list(health.families.candidate),
            "own": list(health.families.own),
        },
        "flags": [
            {"flag": f.flag, "baseline": f.baseline, "candidate": f.candidate, "examples": list(f.examples)}
            for f in health.flags
        ],
    }


def _flips(found: Flips | NotMeasured) -> dict[str, Any]:
    if isinstance(found, NotMeasured):
        return {"value": None, "reason": found.reason}
    return {
        **(_figure(found.rate) or {}),
        "n_pairs": found.n_pairs,
        "n_flipped": found.n_flipped,
        "n_first": found.n_first,
        "n_second": found.n_second,
        "p_value": finite(found.p_value),
        "first_slot": _figure(found.first_slot),
    }


def _figure(found: Measured | NotMeasured | None) -> dict[str, Any] | None:
    if found is None:
        return None
    if isinstance(found, NotMeasured):
        return {"value": None, "reason": found.reason}
    return {
        "value": finite(found.value),
        "low": finite(found.low),
        "high": finite(found.high),
        "n": found.n,
    }
