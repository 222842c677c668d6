"""Judges, judgments and health made for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evalharness.core.judges import (
    Calibration,
    Criterion,
    CriterionShares,
    Families,
    FlagCount,
    Flips,
    Health,
    Judge,
    JudgedEval,
    Judgment,
    Measured,
    NotMeasured,
    Standing,
    Vote,
)

DIGEST = "sha256:" + "e" * 64
NEVER = "the judge helpful was never calibrated; run: evalharness judge calibrate judges/helpful"
WARNING = f"answers/judge is advisory: the judge helpful may not gate: {NEVER}"


def measured(value: float, half: float = 0.05, n: int = 120) -> Measured:
    return Measured(value=value, low=value - half, high=value + half, n=n)


def judge(**changes: Any) -> Judge:
    known: dict[str, Any] = {
        "name": "helpful",
        "mode": "pairwise",
        "provider": "openai",
        "model": "judge-model",
        "criteria": (Criterion(id="helpful", text="It helps."),),
        "rubric": "Prefer the helpful answer.",
        "prompt": "{{ input }}",
        "digest": DIGEST,
        "path": "judges/helpful",
    }
    return Judge(**(known | changes))


def calibration(**changes: Any) -> Calibration:
    known: dict[str, Any] = {
        "judge_digest": DIGEST,
        "labels_digest": "sha256:" + "f" * 64,
        "models": ("judge-model-1",),
        "n_labels": 64,
        "n_judged": 60,
        "agreement": measured(0.9),
        "kappa": measured(0.79),
        "sensitivity": measured(0.93),
        "specificity": measured(0.87),
        "correlation2": 0.64,
        "flip_rate": measured(0.05),
        "first_slot": measured(0.5),
        "length_correlation": measured(0.02, 0.2),
    }
    return Calibration(**(known | changes))


def flips(**changes: Any) -> Flips:
    known: dict[str, Any] = {
        "n_pairs": 100,
        "n_flipped": 31,
        "n_first": 27,
        "n_second": 4,
        "rate": measured(0.31),
        "first_slot": measured(0.871),
        "p_value": 0.0001,
    }
    return Flips(**(known | changes))


def health(**changes: Any) -> Health:
    known: dict[str, Any] = {
        "n": 120,
        "judged": 100,
        "identical": 20,
        "recorded": 0,
        "unjudged": 0,
        "without_value": 3,
        "problem": "the reply is not JSON",
        "problem_count": 2,
        "votes": 200,
        "unreadable": 4,
        "won": 30,
        "tied": 40,
        "lost": 27,
        "flips": flips(),
        "length_correlation": measured(0.41, 0.15),
        "style_correlation": measured(0.05, 0.15),
        "win_rate": measured(0.512),
        "length_controlled": measured(0.447),
        "criteria": (),
        "panel_agreement": NotMeasured("the judge is no panel"),
        "families": Families(judge=("GPT",), baseline=("Llama",), candidate=("GPT",), own=("candidate",)),
        "flags": (
            FlagCount(flag="instructions aimed at a judge", baseline=0, candidate=2, examples=("a-1", "a-2")),
        ),
    }
    return Health(**(known | changes))


def vote(order: Any = "AB", value: float | None = 1.0, **changes: Any) -> Vote:
    known: dict[str, Any] = {"judge": "helpful", "order": order, "value": value, "model": "judge-model-1"}
    return Vote(**(known | changes))


def judgment(case_id: str = "route-1", value: float | None = 0.75, **changes: Any) -> Judgment:
    known: dict[str, Any] = {
        "golden_set": "support-routing",
        "case_id": case_id,
        "repeat": 0,
        "role": "pair",
        "value": value,
        "votes": (
            vote("AB", 1.0, rationale="Answer B names the invoice."),
            vote("BA", 0.5, rationale="Both are polite."),
        ),
        "source": "judged",
    }
    return Judgment(**(known | changes))


def judged(judgments: Iterable[Judgment] = (), **changes: Any) -> JudgedEval:
    """A judge that was never calibrated, with a health that shows every bias."""
    known: dict[str, Any] = {
        "eval": "answers",
        "judge": judge(),
        "standing": Standing(may_gate=False, reasons=(NEVER,)),
        "judgments": tuple(judgments),
        "models": ("judge-model-1",),
        "facts": {"calls": 200, "spent_usd": 1.25},
        "health": health(),
    }
    return JudgedEval(**(known | changes))


def trusted(**changes: Any) -> JudgedEval:
    """A calibrated judge of single answers that may gate: a panel of two, with a share for each criterion."""
    members = (judge(name="one", mode="pointwise"), judge(name="two", mode="pointwise"))
    shares = CriterionShares(id="correct", baseline=measured(0.8), candidate=NotMeasured("no verdict on it"))
    quiet = health(
        won=0,
        tied=0,
        lost=0,
        identical=0,
        flips=NotMeasured("the judge sees one answer at a time"),
        win_rate=NotMeasured("the judge sees one answer at a time"),
        length_controlled=NotMeasured("the judge sees one answer at a time"),
        criteria=(shares,),
        panel_agreement=measured(0.42),
        without_value=0,
        problem=None,
        problem_count=0,
        unreadable=0,
        flags=(),
    )
    known: dict[str, Any] = {
        "eval": "facts",
        "judge": judge(
            name="correct", mode="pointwise", calibration=calibration(flip_rate=None), panel=members
        ),
        "standing": Standing(may_gate=True),
        "health": quiet,
    }
    return judged(**(known | changes))


def hostile(texts: tuple[str, ...], keys: Iterable[str], golden_set: str) -> tuple[JudgedEval, ...]:
    """Judges that speak hostile text wherever they can speak."""
    everywhere = " ".join(texts)
    votes = tuple(
        vote(
            order,
            value,
            judge=text or "empty",
            rationale=everywhere,
            marks={text: 1.0, everywhere: 0.5},
            problem=everywhere,
            raw=everywhere,
        )
        for text, order, value in zip(texts, ("AB", "BA", None, "AB"), (1.0, None, 0.25, 0.0), strict=False)
    )
    said = tuple(
        judgment(
            key,
            None if i % 3 else 0.5,
            golden_set=golden_set,
            votes=votes,
            flags=(everywhere, texts[i % len(texts)]),
            problem=everywhere,
        )
        for i, key in enumerate(keys)
    )
    shares = tuple(CriterionShares(id=t, baseline=measured(0.5), candidate=NotMeasured(t)) for t in texts)
    odd = health(
        problem=everywhere,
        length_correlation=NotMeasured(everywhere),
        style_correlation=NotMeasured(everywhere),
        length_controlled=NotMeasured(everywhere),
        criteria=shares,
        panel_agreement=NotMeasured(everywhere),
        families=Families(judge=(everywhere,), baseline=texts, candidate=(everywhere,), own=("candidate",)),
        flags=tuple(FlagCount(flag=text, baseline=1, candidate=1, examples=texts) for text in texts),
    )
    panel = (judge(name="one"), judge(name="two"))
    return tuple(
        judged(
            said if i == 0 else (),
            eval=text or "empty",
            judge=judge(
                name=everywhere,
                digest=everywhere,
                panel=panel,
                calibration=calibration(kappa=None, problem=everywhere),
            ),
            standing=Standing(may_gate=False, reasons=(everywhere, *texts)),
            models=texts,
            health=odd,
        )
        for i, text in enumerate(texts)
    )
