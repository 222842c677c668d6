from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.scorers.overlap import Bleu, Chrf, RougeL, bleu_tokens, lcs_length, rouge_tokens

TEXTS = [
    "The cat sat on the mat.",
    "the cat is on the mat",
    "There is a cat on the mat, isn't there?",
    'He paid $1,234.50 (10% off) for "it" - really!',
    "He paid 1234.5 for it &amp; left; 3-4 days",
    "",
    "a",
    "on on on on the the",
    "Der Käufer zahlt 5 €.",
    "日本語のテキスト",
    "line one\nline two-\nthree <skipped>",
    "the cat sat on the mat.  ",
]
texts = st.one_of(
    st.sampled_from(TEXTS),
    st.text(alphabet="ab c.,-1€é\n", max_size=40),
    st.lists(st.sampled_from(["the", "cat", "sat", "on", "mat", ".", "1,2", "a-b"]), max_size=12).map(
        " ".join
    ),
)
corpora = st.lists(st.tuples(texts, st.lists(texts, min_size=2, max_size=2)), min_size=1, max_size=8)


def scores_of(scorer: Any, corpus: list[tuple[str, list[str]]]) -> list[Any]:
    return [scorer.score(Case(id="c", targets=tuple(refs)), Response(text=text)) for text, refs in corpus]


def corpus_value(scorer: Any, scores: list[Any]) -> float:
    names = sorted({name for score in scores for name in score.stats})
    sums = np.array([[score.stats.get(name, 0.0) for name in names] for score in scores]).sum(axis=0)
    value = scorer.corpus(names, sums)
    # The same sums as one of several rows give the same value.
    stacked = np.stack([np.zeros_like(sums), sums, 2 * sums])
    assert scorer.corpus(names, stacked)[1] == pytest.approx(float(value), abs=1e-12)
    assert np.isfinite(scorer.corpus(names, stacked)).all()
    return float(value)


@settings(max_examples=150, deadline=None)
@given(corpora)
def test_bleu_equals_sacrebleu(corpus: list[tuple[str, list[str]]]) -> None:
    import sacrebleu

    outputs = [text for text, _ in corpus]
    references = [[refs[i] for _, refs in corpus] for i in range(2)]
    expected = sacrebleu.corpus_bleu(outputs, references).score / 100
    found = scores_of(Bleu(), corpus)
    assert corpus_value(Bleu(), found) == pytest.approx(expected, abs=1e-11)
    for score, (text, refs) in zip(found, corpus, strict=True):
        assert score.value == pytest.approx(sacrebleu.sentence_bleu(text, refs).score / 100, abs=1e-11)


@settings(max_examples=150, deadline=None)
@given(corpora)
def test_chrf_equals_sacrebleu(corpus: list[tuple[str, list[str]]]) -> None:
    import sacrebleu

    outputs = [text for text, _ in corpus]
    references = [[refs[i] for _, refs in corpus] for i in range(2)]
    expected = sacrebleu.corpus_chrf(outputs, references).score / 100
    found = scores_of(Chrf(), corpus)
    assert corpus_value(Chrf(), found) == pytest.approx(expected, abs=1e-11)
    for score, (text, refs) in zip(found, corpus, strict=True):
        assert score.value == pytest.approx(sacrebleu.sentence_chrf(text, refs).score / 100, abs=1e-11)


@pytest.fixture(scope="module")
def rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"])


def test_rouge_l_equals_rouge_score(rouge: Any) -> None:
    rng = np.random.default_rng(3)
    words = ["the", "Cat", "sat", "on", "mat.", "it's", "1,234", "é", "naïve", "--"]
    pairs = [
        (" ".join(rng.choice(words, rng.integers(0, 25))), " ".join(rng.choice(words, rng.integers(0, 25))))
        for _ in range(200)
    ]
    pairs += [(left, right) for left in TEXTS for right in TEXTS]
    for output, reference in pairs:
        expected = rouge.score(reference, output)["rougeL"].fmeasure
        found = RougeL().score(Case(id="c", targets=(reference,)), Response(text=output))
        assert found.value == pytest.approx(expected, abs=1e-9), (output, reference)


def test_rouge_l_takes_the_best_reference(value: Any) -> None:
    assert value(RougeL(), "the cat sat", "a dog ran", "the cat sat", "the cat") == 1
    assert value(RougeL(), "", "the cat") == 0
    assert value(RougeL(), "日本", "日本") == 0


words = st.lists(st.sampled_from("abcd"), max_size=30)


@given(words, words)
def test_lcs_equals_the_textbook_recurrence(left: list[str], right: list[str]) -> None:
    rows = np.zeros((len(left) + 1, len(right) + 1), dtype=int)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            rows[i + 1, j + 1] = rows[i, j] + 1 if a == b else max(rows[i, j + 1], rows[i + 1, j])
    assert lcs_length(left, right) == rows[-1, -1]


def test_tokens_follow_the_published_rules() -> None:
    assert rouge_tokens("It's 1,234 — OK") == ["it", "s", "1", "234", "ok"]
    assert bleu_tokens("He paid $1,234.50, didn't he?") == [
        "He",
        "paid",
        "$",
        "1,234.50",
        ",",
        "didn't",
        "he",
        "?",
    ]


@pytest.mark.parametrize("scorer", [Bleu(), Chrf()])
def test_a_failed_case_counts_as_an_empty_answer(scorer: Any) -> None:
    case = Case(id="c", targets=("a long reference text here", "short one"))
    assert scorer.worst(case) == scorer.score(case, Response(text=""))
    assert scorer.worst(case).value == 0
    good = scorer.score(
        Case(id="d", targets=("the cat sat on the mat",)), Response(text="the cat sat on the mat")
    )
    assert corpus_value(scorer, [good]) == pytest.approx(1)
    assert corpus_value(scorer, [good, scorer.worst(case)]) < 0.95
    assert scorer.corpus([], np.zeros((2, 0))).tolist() == [0, 0]


def test_bleu_breakdown_shows_precisions_and_length() -> None:
    scores = scores_of(Bleu(), [("the cat sat", ["the cat ran off"])])
    names = sorted(scores[0].stats)
    tables = Bleu().breakdown(names, np.array([scores[0].stats[name] for name in names]))
    assert tables == {"precisions": [2 / 3, 1 / 2, 0.0, 0.0], "length_ratio": 0.75}
