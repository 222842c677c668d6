"""Who may gate: every threshold at its boundary, and everything that makes a calibration stale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evalharness.core.judges import Calibration, Judge, Label, Measured
from evalharness.judging.labels import consensus, labels_digest
from evalharness.judging.standing import standing

RUN = "run: evalharness judge calibrate judges/j"
LABELS = tuple(
    Label(id=str(i), input=f"q{i}", answers=("x", "y"), label="tie", line=i + 1) for i in range(50)
)


def share(value: float, n: int = 50) -> Measured:
    return Measured(value=value, low=max(value - 0.1, -1.0), high=min(value + 0.1, 1.0), n=n)


GOOD = Calibration(
    judge_digest="sha256:judge",
    labels_digest=labels_digest(LABELS),
    models=("m-2026-01-01",),
    n_labels=50,
    n_judged=50,
    agreement=share(0.9),
    kappa=share(0.8),
    sensitivity=share(0.9),
    specificity=share(0.9),
    correlation2=0.6,
    flip_rate=share(0.05),
    first_slot=share(0.5),
    length_correlation=share(0.1),
)
JUDGE = Judge(
    name="j",
    mode="pairwise",
    provider="openai",
    model="m-2026-01-01",
    criteria=(),
    rubric="",
    prompt="",
    digest="sha256:judge",
    path="judges/j",
    labels=LABELS,
    calibration=GOOD,
)


def reasons(models_seen: tuple[str, ...] = (), *, judge: Judge = JUDGE, **changed: Any) -> tuple[str, ...]:
    """Why the judge, with a calibration changed in one place, may not gate."""
    found = standing(replace(judge, calibration=replace(GOOD, **changed)), models_seen)
    assert found.may_gate is (not found.reasons)
    return found.reasons


def test_a_calibrated_judge_gates() -> None:
    assert standing(JUDGE).may_gate
    assert standing(JUDGE, ["m-2026-01-01"]).reasons == ()


@pytest.mark.parametrize(
    ("at", "beyond", "says"),
    [
        (
            {"agreement": share(0.80)},
            {"agreement": share(0.799)},
            "people on 79.9% (69.9% to 89.9%) of the items, and at least 80%",
        ),
        (
            {"kappa": share(0.60)},
            {"kappa": share(0.599)},
            "with kappa 0.599 (0.499 to 0.699), and at least 0.60",
        ),
        (
            {"flip_rate": share(0.10)},
            {"flip_rate": share(0.101)},
            "on 10.1% (0.1% to 20.1%) of the pairs, and at most 10%",
        ),
        (
            {"n_judged": 50},
            {"n_labels": 49, "n_judged": 49},
            "on 49 labelled items, and at least 50 are needed",
        ),
    ],
)
def test_each_threshold_holds_exactly_at_its_value(
    at: dict[str, Any], beyond: dict[str, Any], says: str
) -> None:
    assert reasons(**at) == ()
    (reason,) = reasons(**beyond)
    assert says in reason
    assert reason.endswith(RUN)


def test_rounding_does_not_decide() -> None:
    # 1 − 0.2 / 0.5 and three tenths added up, as a computer has them
    assert reasons(kappa=share(1 - 0.2 / 0.5 - 1e-16), flip_rate=share(0.1 + 2e-17 + 1e-16)) == ()
    assert reasons(agreement=share(0.8 - 1e-16)) == ()
    assert len(reasons(agreement=share(0.8 - 1e-6))) == 1


def test_the_point_estimate_decides_and_not_the_interval() -> None:
    assert reasons(agreement=Measured(value=0.80, low=0.67, high=0.89, n=50)) == ()


def test_no_calibration() -> None:
    never = standing(replace(JUDGE, calibration=None))
    assert never.reasons == (f"the judge j was never calibrated; {RUN}",)
    (reason,) = standing(replace(JUDGE, calibration=None, labels=())).reasons
    assert "has no human labels; label 50 more items in judges/j/calibration.jsonl" in reason
    assert reason.endswith(RUN)


def test_reasons_are_the_same_on_every_machine() -> None:
    (reason,) = standing(replace(JUDGE, calibration=None, path="/somewhere/j")).reasons
    assert reason == "the judge j was never calibrated; run: evalharness judge calibrate FOLDER"


def test_a_changed_judge_or_changed_labels_make_it_stale() -> None:
    (reason,) = reasons(judge_digest="sha256:other")
    assert "the judge j has changed since it was calibrated" in reason
    (reason,) = reasons(labels_digest="sha256:other")
    assert "the labels of the judge j have changed since it was calibrated" in reason
    relabelled = replace(JUDGE, labels=(replace(LABELS[0], label="first"), *LABELS[1:]))
    assert len(reasons(judge=relabelled)) == 1


def test_another_model_answers() -> None:
    (reason,) = reasons(("m-2026-01-01", "m-2026-09-09"))
    assert "was answered by m-2026-09-09, and it was calibrated with m-2026-01-01" in reason
    assert reason.endswith(RUN)
    (reason,) = reasons(("m-2026-01-01",), models=("m-2026-01-01", "n"))
    assert "asks for m-2026-01-01, and n answered when it was calibrated" in reason
    local = replace(JUDGE, provider="transformers")
    assert reasons(judge=local, models=("a folder",), models_seen=("a folder",)) == ()
    (reason,) = reasons(("m",), models=())
    assert "a model that gave no name" in reason


def test_one_class_only_leaves_kappa_undefined() -> None:
    (reason,) = reasons(kappa=None, problem="every label is 'tie'", agreement=share(1.0))
    assert "(kappa) is undefined: every label is 'tie'" in reason
    assert reason.endswith(RUN)


def test_a_calibration_with_a_problem_is_not_good_enough() -> None:
    (reason,) = reasons(problem="the endpoint failed half way")
    assert "the endpoint failed half way" in reason


def test_labels_that_are_there_and_were_not_judged_are_told_apart_from_too_few() -> None:
    (reason,) = reasons(n_labels=60, n_judged=49)
    assert "the other 11 have no verdict" in reason
    (reason,) = reasons(n_labels=45, n_judged=45)
    assert "label 5 more items in judges/j/calibration.jsonl" in reason


def test_flips_count_for_pairs_only() -> None:
    (reason,) = reasons(flip_rate=None)
    assert "was not measured; have every labelled pair judged in both orders" in reason
    single = replace(JUDGE, mode="pointwise")
    assert reasons(judge=single, flip_rate=None, first_slot=None) == ()


def test_every_reason_is_told() -> None:
    found = reasons(
        ("other",),
        judge_digest="x",
        labels_digest="x",
        n_labels=10,
        n_judged=10,
        agreement=share(0.5),
        kappa=share(0.1),
        flip_rate=share(0.3),
    )
    assert len(found) == 7


def test_a_panel_stands_on_its_own_calibration() -> None:
    good, never = JUDGE, replace(JUDGE, name="k", calibration=None)
    assert standing(replace(JUDGE, panel=(never, never))).may_gate
    assert not standing(replace(JUDGE, panel=(good, good), calibration=None)).may_gate


def test_a_recorded_judge_needs_a_calibration_like_any_other() -> None:
    assert not standing(replace(JUDGE, provider="replay", verdicts="v.jsonl", calibration=None)).may_gate


# --- labels of several people ------------------------------------------------------------------------------------


def votes(name: str, *given: str) -> list[Label]:
    return [
        Label(id=name, input="q", answers=("x",), label=label, line=i + 1, labeller=f"p{i}")
        for i, label in enumerate(given)
    ]


def test_the_majority_stands_and_ties_are_left_out_and_counted() -> None:
    labels = [*votes("a", "pass", "fail", "pass"), *votes("b", "pass", "fail"), *votes("c", "fail")]
    found = consensus(labels)
    assert [(label.id, label.label, label.labeller) for label in found.labels] == [
        ("a", "pass", ""),
        ("c", "fail", "p0"),
    ]
    assert found.tied == ("b",)


def test_three_labels_with_a_vote_each_are_a_tie_and_a_plain_lead_is_not() -> None:
    assert consensus(votes("a", "first", "second", "tie")).tied == ("a",)
    assert [item.label for item in consensus(votes("a", "tie", "first", "tie", "second")).labels] == ["tie"]
    assert consensus(()).labels == ()


def test_the_identity_of_labels() -> None:
    base = labels_digest(LABELS)
    assert labels_digest(LABELS[::-1]) == base
    assert labels_digest([replace(label, line=label.line + 9) for label in LABELS]) == base
    for change in (
        {"label": "first"},
        {"labeller": "p"},
        {"answers": ("x", "z")},
        {"contexts": ("c",)},
        {"target": "t"},
        {"input": "other"},
    ):
        assert labels_digest([replace(LABELS[0], **change), *LABELS[1:]]) != base  # type: ignore[arg-type]
    assert labels_digest(LABELS[1:]) != base
