"""What counts as a leak: whole, in parts, nearly, in other words; and what does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from evalharness.contamination.meaning import Meaning
from evalharness.contamination.minhash import minhash_lsh
from tests.contamination.conftest import Check, case, drawn, sentence

QUESTION = sentence(1)
WORDS = QUESTION.split()
OTHER = sentence(3, 60)
CHINESE = "请用一段话说明我们商店对网上购买的鞋子的退货政策以及谁来支付邮费"
JAPANESE = "オンラインで購入した靴の返品に関する当店の方針を一段落で説明してください"


def triples(words: Sequence[str]) -> set[tuple[str, ...]]:
    return set(zip(words, words[1:], words[2:], strict=False))


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    a, b = triples(one), triples(other)
    return len(a & b) / len(a | b)


def test_a_whole_question_is_an_exact_leak(check: Check) -> None:
    (leak,) = check([case("q", QUESTION)], [{"text": OTHER}, {"text": QUESTION}]).leaks
    match = leak.matches[0]
    assert (leak.kind, match.detector, match.score) == ("input", "exact", 1.0)
    assert match.scores == {"exact": 1.0, "ngram": 1.0, "near": 1.0}


@pytest.mark.parametrize(
    "written",
    [
        QUESTION.upper(),
        QUESTION.replace(" ", " -- "),
        QUESTION.replace(" ", "\n\t"),
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in QUESTION),
        QUESTION.replace("w1", "w\u200b1"),
        f"**{QUESTION}**!",
    ],
    ids=["case", "dashes", "white space", "full width", "zero width", "markdown"],
)
def test_another_dress_is_the_same_text(written: str, check: Check) -> None:
    (leak,) = check([case("q", QUESTION)], [{"text": written}]).leaks
    assert leak.matches[0].detector == "exact"


def test_a_question_inside_a_long_document_is_found_by_its_ngrams(check: Check) -> None:
    long = sentence(4, 5_000)
    (leak,) = check([case("q", QUESTION)], [{"text": f"{long} {QUESTION} {long}"}]).leaks
    assert leak.matches[0].scores == {"ngram": 1.0}
    assert " ".join(WORDS[:5]) in leak.matches[0].train_text


def test_a_question_over_two_fields_of_a_row_is_found(check: Check) -> None:
    turns = [
        {"role": "user", "content": f"{OTHER} {' '.join(WORDS[:20])}"},
        {"role": "assistant", "content": f"{' '.join(WORDS[20:])} {OTHER}"},
    ]
    (leak,) = check([case("q", QUESTION)], [{"messages": turns}]).leaks
    assert leak.matches[0].scores == {"ngram": 1.0}
    row = {"instruction": " ".join(WORDS[:20]), "input": " ".join(WORDS[20:]), "output": OTHER}
    (leak,) = check([case("q", QUESTION)], [row]).leaks
    assert leak.matches[0].detector == "exact"


def test_sentences_in_another_order_are_found(check: Check) -> None:
    parts = [sentence(seed, 15) for seed in range(20, 25)]
    (leak,) = check([case("q", ". ".join(parts))], [{"text": ". ".join(reversed(parts))}]).leaks
    assert leak.matches[0].detector == "near"
    assert leak.matches[0].score >= 0.7


def test_a_question_of_two_rows_is_no_leak_of_either(check: Check) -> None:
    halves = [{"text": " ".join(WORDS[:20])}, {"text": " ".join(WORDS[20:])}]
    assert check([case("q", QUESTION)], halves).leaks == []


@pytest.mark.parametrize("text", [CHINESE, JAPANESE])
def test_scripts_without_spaces_are_compared_by_characters(text: str, check: Check) -> None:
    found = check([case("q", text)], [{"text": f"第一。{text[:-1]}！其他的文字也在这里。"}, {"text": OTHER}])
    assert found.leaks[0].matches[0].detector == "ngram"
    assert check([case("q", text)], [{"text": CHINESE if text == JAPANESE else JAPANESE}]).leaks == []


@pytest.mark.parametrize("text", ["yes", "No.", "thank you", "42", "谢谢你们", "!?", ""])
def test_what_is_too_short_to_tell_is_said_and_not_looked_for(text: str, check: Check) -> None:
    found = check([case("short", text), case("q", QUESTION)], [{"prompt": text, "completion": text}] * 3)
    assert found.leaks == []
    assert found.too_short == [("golden", "short")]


def test_a_short_question_is_looked_for_as_a_whole_only(check: Check) -> None:
    cases = [case("short", "Where is my order?")]
    inside = check(cases, [{"text": f"{OTHER} where is my order {OTHER}"}])
    assert (inside.leaks, inside.whole_only) == ([], [("golden", "short")])
    alone = check(cases, [{"prompt": "where is my order", "completion": "on its way"}])
    assert alone.leaks[0].matches[0].scores == {"exact": 1.0}


def test_the_share_that_leaks_is_the_threshold(check: Check) -> None:
    kept = " ".join(WORDS[:32])  # 20 of 28 13-grams
    (leak,) = check([case("q", QUESTION)], [{"text": f"{OTHER} {kept} {OTHER}"}]).leaks
    assert leak.matches[0].scores == {"ngram": round(20 / 28, 4)}
    assert check([case("q", QUESTION)], [{"text": f"{OTHER} {kept} {OTHER}"}], threshold=0.72).leaks == []
    assert check([case("q", QUESTION)], [{"text": f"{OTHER} {' '.join(WORDS[:31])} {OTHER}"}]).leaks == []


def test_shorter_texts_have_shorter_ngrams(check: Check) -> None:
    short = " ".join(WORDS[:16])
    row = [{"text": f"{OTHER} {' '.join(WORDS[:15])} {OTHER}"}]
    (leak,) = check([case("q", short)], row).leaks
    assert leak.matches[0].scores == {"ngram": round(8 / 9, 4)}  # 8-grams
    assert check([case("q", short)], row, ngram=5).leaks[0].matches[0].scores == {"ngram": round(11 / 12, 4)}


# --- parts of a case ------------------------------------------------------------------------------


def test_kinds(check: Check) -> None:
    answer = sentence(7, 20)
    cases = [case("q", QUESTION, answer)]
    assert check(cases, [{"text": QUESTION}]).leaks[0].kind == "input"
    assert check(cases, [{"text": f"{OTHER} {answer}"}]).leaks[0].kind == "target"
    assert check(cases, [{"prompt": QUESTION, "completion": answer}]).leaks[0].kind == "input+target"
    # in two rows it is two leaks, and the worse is named
    both = check(cases, [{"text": answer}, {"text": QUESTION}]).leaks[0]
    assert (both.kind, both.rows, [match.kind for match in both.matches]) == ("input", 2, ["input", "target"])


def test_a_short_answer_alone_is_no_leak(check: Check) -> None:
    assert check([case("q", QUESTION, "billing")], [{"text": f"{OTHER} billing"}]).leaks == []
    assert check([case("q", QUESTION, sentence(7, 12))], [{"text": sentence(7, 12)}]).leaks == []


@pytest.mark.parametrize(
    ("target", "written"),
    [("Paris", "paris!"), (42, "42"), ({"sum": 7, "tax": "1.33"}, '{"sum": 7, "tax": 1.33}')],
)
def test_answers_of_every_type_are_known_beside_their_question(
    target: object, written: str, check: Check
) -> None:
    row = {"prompt": QUESTION, "completion": written}
    assert check([case("q", QUESTION, target)], [row]).leaks[0].kind == "input+target"
    assert check([case("q", QUESTION, target)], [{**row, "completion": "other"}]).leaks[0].kind == "input"


def test_an_answer_that_the_question_names_has_to_stand_there_again(check: Check) -> None:
    question = f"{QUESTION}: billing or shipping"
    cases = [case("q", question, "billing")]
    assert check(cases, [{"prompt": question, "completion": "shipping"}]).leaks[0].kind == "input"
    assert check(cases, [{"prompt": question, "completion": "billing"}]).leaks[0].kind == "input+target"


def test_in_a_document_an_answer_has_to_stand_near_its_question(check: Check) -> None:
    cases = [case("q", QUESTION, "billing")]
    near = f"{QUESTION} the answer is billing {sentence(8, 900)}"
    far = f"{QUESTION} {sentence(8, 900)} billing"
    assert check(cases, [{"text": near}]).leaks[0].kind == "input+target"
    assert check(cases, [{"text": far}]).leaks[0].kind == "input"


def test_a_chat_is_known_by_the_whole_and_by_its_last_turn_but_not_by_its_system_prompt(check: Check) -> None:
    system = sentence(30, 200)
    chat = [("system", system), ("user", sentence(31)), ("assistant", sentence(32)), ("user", QUESTION)]
    cases = [case("q", chat)]
    assert check(cases, [{"text": system}]).leaks == []
    assert check(cases, [{"text": QUESTION}]).leaks[0].matches[0].detector == "exact"
    messages = [{"role": role, "content": text} for role, text in chat[1:]]
    assert check(cases, [{"messages": messages}]).leaks[0].matches[0].detector == "exact"


def test_the_template_that_cases_share_is_no_leak(check: Check) -> None:
    template = sentence(40, 60)
    cases = [case(f"q{n}", f"{template} {sentence(100 + n, 12)}") for n in range(40)]
    rows = [{"prompt": f"{template} {sentence(900 + n, 12)}", "completion": "x"} for n in range(50)]
    found = check(cases, rows)
    assert found.leaks == []
    assert found.template == 58
    leaked = check(cases, [*rows, {"prompt": cases[7].input, "completion": "x"}])
    assert [leak.case_id for leak in leaked.leaks] == ["q7"]
    # few cases that share a beginning are no template
    assert len(check(cases[:5], rows).leaks) == 5


def test_cases_that_are_nothing_but_template_are_still_found(check: Check) -> None:
    cases = [case(f"q{n}", QUESTION) for n in range(30)]
    assert len(check(cases, [{"text": QUESTION}]).leaks) == 30


# --- near duplicates: recall ----------------------------------------------------------------------

LEVELS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95)
PAIRS = 40


@cache
def planted() -> dict[float, list[tuple[list[str], list[str]]]]:
    """Pairs of a question and a changed one, whose Jaccard similarity is the level or a little more."""
    rng = np.random.default_rng(20260101)
    pairs: dict[float, list[tuple[list[str], list[str]]]] = {}
    for level in LEVELS:
        for _ in range(PAIRS):
            words = drawn(rng, int(rng.integers(40, 120)))
            changed = list(words)
            for number, place in enumerate(rng.permutation(len(words))):
                before = changed[place]
                changed[place] = f"x{number}"
                if jaccard(changed, words) < level:
                    changed[place] = before  # the ends cost less: perhaps the next one fits
            pairs.setdefault(level, []).append((words, changed))
    return pairs


def found_at_each_level(check: Check, **more: object) -> dict[float, int]:
    pairs = planted()
    cases = [
        case(f"{level}-{n}", " ".join(pair[0])) for level in LEVELS for n, pair in enumerate(pairs[level])
    ]
    noise = [{"text": sentence(5_000 + seed, 90)} for seed in range(300)]
    rows = [{"prompt": " ".join(pair[1]), "completion": "ok"} for level in LEVELS for pair in pairs[level]]
    leaks = check(cases, [*noise, *rows], ngram=40, **more).leaks  # long n-grams leave these to Jaccard
    names = [leak.case_id.partition("-")[0] for leak in leaks if "near" in leak.matches[0].scores]
    return {level: names.count(str(level)) for level in LEVELS}


def test_every_pair_at_the_threshold_is_found_and_none_below(check: Check) -> None:
    pairs = planted()
    above = {level: sum(jaccard(*pair) >= 0.7 for pair in pairs[level]) for level in LEVELS}
    assert found_at_each_level(check) == above
    assert above[0.5] == above[0.6] == 0 and above[0.7] == above[0.95] == PAIRS


def test_minhash_lsh_finds_what_datasketch_finds(check: Check) -> None:
    datasketch = pytest.importorskip("datasketch")
    exact, lsh = found_at_each_level(check), found_at_each_level(check, confirm=minhash_lsh(0.7))
    assert all(lsh[level] <= exact[level] for level in LEVELS)
    assert lsh[0.95] == PAIRS

    def sketch(words: Sequence[str]) -> object:
        made = datasketch.MinHash(num_perm=128)
        made.update_batch([" ".join(triple).encode() for triple in sorted(triples(words))])
        return made

    # datasketch alone, with its own hashes: near the threshold both lose about as many
    index = datasketch.MinHashLSH(threshold=0.7, num_perm=128)
    pairs = planted()
    for level in LEVELS:
        for number, (words, _) in enumerate(pairs[level]):
            index.insert((level, number), sketch(words))
    alone = {
        level: sum((level, n) in index.query(sketch(other)) for n, (_, other) in enumerate(pairs[level]))
        for level in LEVELS
    }
    for level in (0.7, 0.75, 0.8, 0.9, 0.95):
        assert abs(alone[level] - lsh[level]) <= 10, (alone, lsh)
    assert lsh[0.7] < exact[0.7]


def test_the_page_has_these_figures(check: Check) -> None:
    pytest.importorskip("datasketch")
    page = (Path(__file__).parents[2] / "docs/contamination.md").read_text(encoding="utf-8")
    shown = {
        float(level): (int(exact), int(lsh))
        for level, exact, lsh in re.findall(r"^\| (0\.\d\d) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    }
    exact, lsh = found_at_each_level(check), found_at_each_level(check, confirm=minhash_lsh(0.7))
    assert shown == {level: (exact[level], lsh[level]) for level in LEVELS}


# --- meaning --------------------------------------------------------------------------------------


class Bag:
    """Vectors of length 1 by which words stand where: an embedder that a reader can follow."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), 5_000), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, int(word[1:])] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_meaning_finds_what_words_in_a_row_do_not(check: Check) -> None:
    shuffled = " ".join(sorted(WORDS))
    rows = [{"text": OTHER}, {"prompt": shuffled, "completion": "w1 w2"}]
    assert check([case("q", QUESTION, "w1 w2")], rows).leaks == []
    found = check([case("q", QUESTION, "w1 w2")], rows, alike=lambda probes: Meaning(probes, Bag(), 0.95))
    (leak,) = found.leaks
    assert leak.matches[0].scores == {"embedding": 1.0}
    assert (leak.kind, leak.matches[0].train_text) == ("input+target", shuffled)


def test_meaning_is_one_more_score_of_a_row_and_no_second_row(check: Check) -> None:
    alike = lambda probes: Meaning(probes, Bag(), 0.95)  # noqa: E731
    (leak,) = check([case("q", QUESTION)], [{"text": QUESTION}], alike=alike).leaks
    assert leak.rows == 1
    assert leak.matches[0].scores == {"exact": 1.0, "ngram": 1.0, "near": 1.0, "embedding": 1.0}


def test_short_texts_are_not_compared_by_meaning(check: Check) -> None:
    alike = lambda probes: Meaning(probes, Bag(), 0.1)  # noqa: E731
    found = check([case("q", "w1 w2 w3 w4 w5")], [{"text": "w5 w4 w3 w2 w1"}], alike=alike)
    assert found.leaks == []
