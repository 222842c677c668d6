"""Entity F1 against seqeval, the tables of SemEval-2013 task 9, and every way entities are written."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Scored, Unscored
from evalharness.scorers._tags import SCHEMES, chunks
from evalharness.scorers.entities import EntityF1, EntityMacroF1

ADA = {"type": "PER", "text": "Ada Lovelace", "start": 0, "end": 12}
LONDON = {"type": "LOC", "text": "London", "start": 25, "end": 31}


def scored(scorer: Any, target: Any, answer: Any) -> Scored:
    """One case; a list is one target, as the field `target` of a case would give it."""
    targets = tuple(target) if isinstance(target, list) else (target,)
    text = answer if isinstance(answer, str) else json.dumps(answer)
    found = scorer.score(Case(id="c", targets=targets), Response(text=text))
    assert isinstance(found, Scored), found
    return found


def table(scorer: Any, results: Sequence[Scored]) -> tuple[list[str], Any]:
    names = sorted({name for result in results for name in result.stats})
    folded = scorer.fold(names)
    columns = sorted(set(folded.values()))
    rows = np.zeros((len(results), len(columns)))
    for row, result in zip(rows, results, strict=True):
        for name, count in result.stats.items():
            row[columns.index(folded[name])] += count
    return columns, rows


def whole(scorer: Any, results: Sequence[Scored]) -> float:
    columns, rows = table(scorer, results)
    return float(scorer.corpus(columns, rows.sum(axis=0)))


# --- seqeval -------------------------------------------------------------------------------------------------------


def sequence(rng: random.Random, letters: str, kinds: Sequence[str], size: int) -> list[str]:
    """Tags drawn without any order: I- without B-, changes of type, ends without a beginning."""
    drawn = [rng.choice(letters) for _ in range(size)]
    return ["O" if letter == "O" else f"{letter}-{rng.choice(kinds)}" for letter in drawn]


@pytest.mark.parametrize("scheme", ["lenient", *SCHEMES])
def test_on_tags_equal_to_seqeval(scheme: str) -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    schemes = pytest.importorskip("seqeval.scheme")

    rng = random.Random(7)
    letters = "BIESO" if scheme == "lenient" else SCHEMES[scheme].letters
    strict = {} if scheme == "lenient" else {"mode": "strict", "scheme": getattr(schemes, scheme.upper())}
    for _ in range(60):
        sizes = [rng.randint(1, 12) for _ in range(8)]
        gold = [sequence(rng, letters, ("PER", "LOC", "ORG-X"), size) for size in sizes]
        given = [
            tags if rng.random() < 0.4 else sequence(rng, letters, ("PER", "LOC", "ORG-X"), len(tags))
            for tags in gold
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = metrics.classification_report(gold, given, output_dict=True, zero_division=0, **strict)
        micro, macro = EntityF1(scheme=scheme), EntityMacroF1(scheme=scheme)
        results = [scored(micro, tags, " ".join(answer)) for tags, answer in zip(gold, given, strict=True)]
        if not report["micro avg"]["support"]:
            continue
        assert whole(micro, results) == pytest.approx(report["micro avg"]["f1-score"], abs=1e-12)
        kinds = {name: row for name, row in report.items() if not name.endswith(" avg") and row["support"]}
        mean = sum(row["f1-score"] for row in kinds.values()) / len(kinds)
        assert whole(macro, results) == pytest.approx(mean, abs=1e-12)
        columns, rows = table(micro, results)
        shown = {row["label"]: row for row in micro.breakdown(columns, rows.sum(axis=0))["per_class"]}
        for name, row in kinds.items():
            assert shown[name] == pytest.approx(
                {
                    "label": name,
                    "precision": row["precision"],
                    "recall": row["recall"],
                    "f1": row["f1-score"],
                    "support": row["support"],
                }
            )


def test_macro_is_seqevals_where_no_type_is_made_up() -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O", "B-PER"]]
    given = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "O", "B-PER"]]
    results = [scored(EntityMacroF1(), g, " ".join(a)) for g, a in zip(gold, given, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = metrics.f1_score(gold, given, average="macro")
    assert whole(EntityMacroF1(), results) == pytest.approx(expected, abs=1e-12)


def test_a_malformed_beginning_is_an_entity_by_conlleval_and_none_by_the_scheme() -> None:
    tags = ["O", "I-PER", "I-PER", "I-LOC"]
    assert chunks(tags, "lenient") == [("PER", 1, 3), ("LOC", 3, 4)]
    assert chunks(tags, "iob2") == []


@pytest.mark.parametrize(
    "answer",
    ["B-PER I-PER O", "B-PER, I-PER, O", '["B-PER", "I-PER", "O"]', '{"tags": ["B-PER", "I-PER", "O"]}'],
)
@pytest.mark.parametrize(
    "target", [["B-PER", "I-PER", "O"], "B-PER I-PER O", {"tags": ["B-PER", "I-PER", "O"]}]
)
def test_tags_are_read_however_they_are_written(target: Any, answer: str) -> None:
    assert scored(EntityF1(), target, answer).value == 1.0


def test_tags_that_are_none_are_wrong_and_say_why() -> None:
    gold = ["B-PER", "O"]
    assert scored(EntityF1(), gold, "The first word is a name.").detail == {"reason": "not a list of tags"}
    wrong = scored(EntityF1(scheme="iob2"), gold, "S-PER O")
    assert (wrong.value, wrong.detail) == (0.0, {"reason": "S-PER is no tag of the scheme iob2"})
    assert scored(EntityF1(), gold, [ADA]).detail == {"reason": "entities where tags are asked for"}
    assert scored(EntityF1(), [ADA], ["B-PER"]).detail == {"reason": "tags where entities are asked for"}


# --- SemEval-2013 task 9 -------------------------------------------------------------------------------------------

# The scenarios of the task's evaluation: right; spurious; missed; wrong type; wrong place; wrong place and type.
GOLD = [
    {"type": "BRAND", "text": "tikosyn", "start": 0, "end": 7},
    {"type": "DRUG", "text": "warfarin", "start": 20, "end": 28},
    {"type": "DRUG", "text": "propranolol", "start": 30, "end": 41},
    {"type": "DRUG", "text": "phenytoin", "start": 53, "end": 62},
    {"type": "GROUP", "text": "contraceptives", "start": 75, "end": 89},
]
GIVEN = [
    {"type": "BRAND", "text": "tikosyn", "start": 0, "end": 7},
    {"type": "BRAND", "text": "healthy", "start": 10, "end": 17},
    {"type": "BRAND", "text": "propranolol", "start": 30, "end": 41},
    {"type": "DRUG", "text": "of phenytoin", "start": 50, "end": 62},
    {"type": "DRUG", "text": "oral contraceptives", "start": 70, "end": 89},
]
SEMEVAL = {  # correct, incorrect, partial, missed, spurious; precision and recall
    "exact": (2, 2, 0, 1, 1, 0.4),
    "partial": (2, 0, 2, 1, 1, 0.6),
    "type": (2, 2, 0, 1, 1, 0.4),
}


@pytest.mark.parametrize("places", [True, False], ids=["places", "texts"])
@pytest.mark.parametrize("match", SEMEVAL)
def test_the_table_of_semeval(match: str, places: bool) -> None:
    def shown(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return items if places else [{"type": i["type"], "text": i["text"]} for i in items]

    scorer = EntityF1(match=match)
    result = scored(scorer, shown(GOLD), shown(GIVEN))
    columns, rows = table(scorer, [result])
    found = scorer.breakdown(columns, rows.sum(axis=0))
    verdicts = ("correct", "incorrect", "partial", "missed", "spurious")
    assert tuple(found[name] for name in verdicts) == SEMEVAL[match][:5]
    assert (found["precision"], found["recall"]) == pytest.approx(SEMEVAL[match][5:] * 2)
    assert result.value == pytest.approx(SEMEVAL[match][5])


def test_strict_counts_a_wrong_place_or_type_as_missed_and_spurious() -> None:
    # SemEval's strict: COR 1, INC 3, MIS 1, SPU 1; an incorrect one is in both denominators, as missed and spurious are
    result = scored(EntityF1(), GOLD, GIVEN)
    assert result.value == pytest.approx(2 * 1 / (5 + 5))
    assert len(result.detail["missed"]) == len(result.detail["spurious"]) == 4


def test_each_entity_meets_one_other_the_best_first() -> None:
    one = [{"type": "PER", "start": 0, "end": 10}]
    two = [{"type": "LOC", "start": 0, "end": 9}, {"type": "PER", "start": 8, "end": 12}]
    assert scored(EntityF1(match="type"), one, two).value == pytest.approx(
        2 / 3
    )  # the PER, and the LOC is spurious
    assert scored(EntityF1(match="partial"), one, two).value == pytest.approx(2 * 0.5 / 3)
    assert scored(EntityF1(match="exact"), one, [two[0], {"type": "LOC", "start": 0, "end": 10}]).value == (
        pytest.approx(2 / 3)
    )


# --- how entities are written --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        [ADA, LONDON],
        [LONDON, ADA],
        {"entities": [ADA, LONDON]},
        {"PER": ["Ada Lovelace"], "LOC": ["London"]},
        {"PER": "ada lovelace.", "LOC": ["LONDON"], "ORG": [], "MISC": None},
        {"PER": [{"text": "Ada Lovelace", "start": 0, "end": 12}], "LOC": [{"start": 25, "end": 31}]},
        [{"label": "PER", "text": "Ada Lovelace"}, {"label": "LOC", "text": "London"}],
        [{"entity": "Ada Lovelace", "type": "PER"}, {"entity": "LOC", "word": "London"}],
        {"ents": [{"label": "PER", "start": 0, "end": 12}, {"label": "LOC", "start": 25, "end": 31}]},
        [
            {"entity_group": "PER", "score": 0.998, "word": "Ada Lovelace", "start": 0, "end": 12},
            {"entity_group": "LOC", "score": 0.991, "word": "London", "start": 25, "end": 31},
        ],
        'Here they are:\n```json\n[{"type": "PER", "text": "Ada Lovelace"}, {"type": "LOC", "text": "London"}]\n```',
    ],
    ids=range(11),
)
def test_entities_are_read_however_they_are_written(answer: Any) -> None:
    assert scored(EntityF1(), [ADA, LONDON], answer).value == 1.0


@pytest.mark.parametrize(
    "target",
    [[ADA], [[ADA]], {"entities": [ADA]}, {"PER": ["Ada Lovelace"]}, ADA, '{"PER": ["Ada Lovelace"]}'],
    ids=range(6),
)
def test_a_target_is_one_list_however_it_is_written(target: Any) -> None:
    assert scored(EntityF1(), target, [ADA]).value == 1.0
    assert scored(EntityF1(), target, [ADA, LONDON]).value == pytest.approx(2 / 3)


def test_of_several_targets_the_best_counts() -> None:
    either = [[ADA], [ADA, LONDON]]
    assert scored(EntityF1(), either, [ADA]).value == scored(EntityF1(), either, [ADA, LONDON]).value == 1.0


def test_places_count_where_all_have_them_and_texts_otherwise() -> None:
    shifted = ADA | {"start": 1, "end": 13}
    assert scored(EntityF1(), [ADA], [shifted]).value == 0.0
    assert scored(EntityF1(by="text"), [ADA], [shifted]).value == 1.0
    assert scored(EntityF1(), [ADA, LONDON], [shifted, {"type": "LOC", "text": "London"}]).value == 1.0


def test_equal_entities_count_as_often_as_they_stand() -> None:
    name = {"type": "PER", "text": "Ada"}
    assert scored(EntityF1(), [name, name], [name]).value == pytest.approx(2 / 3)
    assert scored(EntityF1(), [name], [name, name]).value == pytest.approx(2 / 3)
    assert scored(EntityF1(), [name, name], [name, name]).value == 1.0


def test_entities_inside_others_are_entities() -> None:
    outer, inner = {"type": "ORG", "start": 0, "end": 20}, {"type": "LOC", "start": 14, "end": 20}
    assert scored(EntityF1(), [outer, inner], [inner, outer]).value == 1.0


def test_slots_are_entities() -> None:
    assert (
        scored(EntityF1(), {"city": "Rome", "day": "Friday"}, {"day": "friday", "city": "Paris"}).value == 0.5
    )
    either = [{"city": "Rome"}, {"city": "Roma"}]
    assert scored(EntityF1(), either, {"city": "Roma"}).value == 1.0


def test_only_the_types_asked_for_count() -> None:
    assert scored(EntityF1(types=("PER",)), [ADA, LONDON], [ADA, {"type": "X", "text": "y"}]).value == 1.0


# --- nothing passes in silence ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["no json", "", '"text"', "17", '{"PER": ["Ada'])
def test_an_answer_without_entities_to_read_misses_them_all(answer: str) -> None:
    result = scored(EntityF1(), [ADA, LONDON], answer)
    assert result.value == 0.0
    assert result.stats == EntityF1().worst(Case(id="c", targets=(ADA, LONDON))).stats
    assert result.detail["reason"]


def test_what_is_no_entity_is_a_spurious_one() -> None:
    result = scored(EntityF1(), [ADA], [ADA, {"type": "LOC"}, "London", 3, {"text": "x"}])
    assert result.value == pytest.approx(2 / 6)
    assert result.detail == {"unreadable": 4}


def test_a_text_without_entities_is_right_when_none_are_found_and_counts_when_it_fails() -> None:
    scorer = EntityF1()
    none: dict[str, Any] = {"entities": []}
    assert scored(scorer, none, "[]").value == scored(scorer, none, {"PER": []}).value == 1.0
    assert scored(scorer, none, [ADA]).value == 0.0
    failed = scorer.worst(Case(id="c", targets=(none,)))
    right = scored(scorer, [ADA], [ADA])
    assert whole(scorer, [right]) == 1.0
    assert whole(scorer, [right, failed]) == pytest.approx(2 / 3)
    assert whole(EntityMacroF1(), [right, failed]) == pytest.approx(2 / 3)
    assert whole(EntityMacroF1(), [failed]) == whole(scorer, [failed]) == 0.0


def test_a_type_made_up_costs_the_type_it_replaces_and_precision() -> None:
    gold, given = [ADA, LONDON], [ADA, LONDON | {"type": "CITY"}]
    result = scored(EntityF1(), gold, given)
    assert result.value == pytest.approx(0.5)
    assert whole(EntityMacroF1(), [result]) == pytest.approx(0.5)
    columns, rows = table(EntityF1(), [result])
    shown = EntityF1().breakdown(columns, rows.sum(axis=0))
    assert [row["label"] for row in shown["per_class"]] == ["LOC", "PER", "(other)"]


def test_made_up_types_share_a_column() -> None:
    results = [scored(EntityF1(), [ADA], [{"type": f"T{n}", "text": "x"}]) for n in range(50)]
    columns, _ = table(EntityF1(), results)
    assert len(columns) == 2


@pytest.mark.parametrize("target", ["words", {"PER": [[]]}, [ADA, {"type": "LOC"}], 3])
def test_a_target_that_holds_no_entities_is_unscored(target: Any) -> None:
    targets = tuple(target) if isinstance(target, list) else (target,)
    found = EntityF1().score(Case(id="c", targets=targets), Response(text="[]"))
    assert isinstance(found, Unscored)
    assert found.reason.startswith("the target")
    assert found.reason == EntityF1().problem(Case(id="c", targets=targets))
    assert EntityF1().problem(Case(id="c", targets=(ADA,))) is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"match": "overlap"}, "match must be one of strict, exact, partial, type"),
        ({"scheme": "bio"}, "scheme must be one of lenient, iob1"),
        ({"types": "PER"}, "types must be a list"),
        ({"by": "offset"}, "by must be one of place, text"),
    ],
)
def test_wrong_parameters_say_what_is_right(params: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        EntityF1(**params)


def test_sums_of_any_shape_give_as_many_values() -> None:
    scorer = EntityMacroF1()
    results = [scored(scorer, [ADA], [ADA]), scored(scorer, [LONDON], [ADA])]
    columns, rows = table(scorer, results)
    both = scorer.corpus(columns, np.stack([rows, rows[::-1]]))
    assert both.shape == (2, 2)
    assert both[0, 0] == 1.0 and both[0, 1] == 0.0
    assert scorer.corpus([], np.zeros((3, 0))).tolist() == [1.0, 1.0, 1.0]
