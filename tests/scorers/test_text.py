"""Metrics against reference texts that rest on libraries, each held against its library."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.protocols import BatchScorer, IdentifiedScorer
from evalharness.core.scores import Score, Scored, Unscored
from evalharness.errors import ProviderError, UsageError
from evalharness.scorers._wordnet import DEBIAN
from evalharness.scorers.bert_score import BertScore
from evalharness.scorers.hf_evaluate import TRUST, HfEvaluate
from evalharness.scorers.meteor import Meteor, MeteorStems, meteor_tokens
from evalharness.scorers.overlap import Bleu, Rouge1, Rouge2
from evalharness.scorers.semantic import SemanticSimilarity
from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle, running_server
from tests.servers.tiny_bert import save_bert, save_sentence_model

SERVER = Path(__file__).parents[1] / "servers" / "rag_server.py"
PAIRS = [
    ("the cat sat on the mat", ("the cat ran on a mat", "a dog sat")),
    ("paris is the capital of france", ("berlin is the capital of germany",)),
    ("no refund in ten days", ("you get your money back",)),
    ("a dog", ("a dog",)),
    ("what order", ("where was the cat in paris , and who ran ?", "what")),
]


def many(scorer: BatchScorer, *pairs: tuple[str, tuple[Any, ...]]) -> list[Score]:
    items = [
        (Case(id=str(n), targets=targets), Response(text=text)) for n, (text, targets) in enumerate(pairs)
    ]
    return list(scorer.score_many(items))


def numbers(scores: list[Score]) -> list[float]:
    assert all(isinstance(score, Scored) for score in scores), scores
    return [score.value for score in scores if isinstance(score, Scored)]


# ------------------------------------------------------------------------------------------------- rouge, bleu


@pytest.mark.parametrize(("scorer", "kind"), [(Rouge1(), "rouge1"), (Rouge2(), "rouge2")])
def test_rouge_n_equals_rouge_score(scorer: Any, kind: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    library = RougeScorer([kind])
    rng = np.random.default_rng(5)
    words = ["the", "Cat", "sat", "on", "mat.", "it's", "1,234", "é", "--"]
    for _ in range(150):
        output, one, two = (" ".join(rng.choice(words, rng.integers(0, 20))) for _ in range(3))
        expected = max(library.score(reference, output)[kind].fmeasure for reference in (one, two))
        found = scorer.score(Case(id="c", targets=(one, two)), Response(text=output))
        assert found.value == pytest.approx(expected, abs=1e-12), (output, one, two)


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_bleu_with_options_equals_sacrebleu(tokenize: str, lowercase: bool) -> None:
    import sacrebleu

    outputs = ["The Cat sat on the mat, twice.", "他们 在 巴黎 吃饭 , 价格 5€", "Käse & Brot <skipped>"]
    references = ["the cat sat on the mat twice", "他们在巴黎吃午饭,价格 5€", "käse und brot"]
    expected = (
        sacrebleu.corpus_bleu(outputs, [references], tokenize=tokenize, lowercase=lowercase).score / 100
    )
    scorer = Bleu(tokenize=tokenize, lowercase=lowercase)
    stats = [
        scorer.score(Case(id="c", targets=(r,)), Response(text=o)).stats  # type: ignore[union-attr]
        for o, r in zip(outputs, references, strict=True)
    ]
    names = sorted({name for row in stats for name in row})
    sums = np.array([[row.get(name, 0.0) for name in names] for row in stats]).sum(axis=0)
    assert float(scorer.corpus(names, sums)) == pytest.approx(expected, abs=1e-12)


def test_a_tokeniser_that_would_be_downloaded_is_refused() -> None:
    with pytest.raises(ValueError, match="tokenize must be one of 13a, intl, zh, char, none"):
        Bleu(tokenize="flores200")


# ----------------------------------------------------------------------------------------------------- meteor

needs_wordnet = pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's wordnet-base")


@needs_wordnet
def test_meteor_equals_nltk_on_the_same_tokens() -> None:
    from nltk.translate.meteor_score import meteor_score

    from evalharness.scorers._wordnet import wordnet

    for text, targets in [
        *PAIRS,
        ("The physicians' cars weren't quick!", ("the doctor's automobile was fast",)),
    ]:
        expected = meteor_score(
            [meteor_tokens(target) for target in targets], meteor_tokens(text), wordnet=wordnet(DEBIAN)
        )
        assert numbers([Meteor().score(Case(id="c", targets=targets), Response(text=text))]) == [expected]


@needs_wordnet
def test_synonyms_count_and_without_them_it_is_another_metric() -> None:
    case = Case(id="c", targets=("the car hit the physician",))
    response = Response(text="the auto hit the doctor")
    # all 5 words in one chunk: 1 - ½(1/5)³; without synonyms 3 of 5 in two chunks: 3/5 (1 - ½(2/3)³)
    assert numbers([Meteor().score(case, response)]) == pytest.approx([1 - 0.5 / 125], abs=1e-12)
    assert numbers([MeteorStems().score(case, response)]) == pytest.approx([0.6 * (1 - 4 / 27)], abs=1e-12)
    assert Meteor.name != MeteorStems.name
    assert Meteor().identity != MeteorStems().identity


def test_meteor_by_hand() -> None:
    case = Case(id="c", targets=("a b c d",))
    # precision 2/2, recall 2/4: F = 10PR/(R+9P) = 5/9.5; one chunk of two words: penalty ½(1/2)³
    found = numbers([MeteorStems().score(case, Response(text="a b"))])[0]
    assert found == pytest.approx(5 / 9.5 * (1 - 0.5 / 8), abs=1e-12)
    assert numbers([MeteorStems().score(case, Response(text=""))]) == [0]


def test_without_wordnet_meteor_refuses_before_it_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalharness.scorers._wordnet.DEBIAN", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"wordnet-base.*nltk\.downloader wordnet.*meteor_stems"):
        Meteor()


@needs_wordnet
def test_nltk_data_comes_first_and_other_data_is_another_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Meteor().identity
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    for file in DEBIAN.iterdir():
        if file.suffix != ".noun" or not file.name.startswith("data"):
            (folder / file.name).symlink_to(file)
    (folder / "data.noun").write_bytes((DEBIAN / "data.noun").read_bytes() + b"\n")
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    assert Meteor().identity != before


# ------------------------------------------------------------------------------------------------- bert_score


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.mark.parametrize(("part", "layers"), [("precision", 1), ("recall", 1), ("f1", 1), ("f1", 2)])
def test_bert_score_equals_the_library(bert: Path, part: str, layers: int) -> None:
    import bert_score

    outputs, references = [text for text, _ in PAIRS], [list(targets) for _, targets in PAIRS]
    library = bert_score.score(outputs, references, model_type=str(bert), num_layers=layers, device="cpu")
    expected = library[("precision", "recall", "f1").index(part)].tolist()
    scorer = BertScore(str(bert), num_layers=layers, part=part, device="cpu")
    assert numbers(many(scorer, *PAIRS)) == pytest.approx(expected, abs=1e-5)


def test_the_company_of_a_case_moves_no_digit(bert: Path) -> None:
    scorer = BertScore(str(bert), num_layers=2, device="cpu", batch_size=2)
    together = numbers(many(scorer, *PAIRS))
    assert numbers(many(scorer, *PAIRS[::-1]))[::-1] == together
    assert numbers([many(scorer, pair)[0] for pair in PAIRS]) == pytest.approx(together, abs=1e-6)


def test_half_a_character_in_one_answer_costs_no_other_its_score(bert: Path) -> None:
    scorer = BertScore(str(bert), num_layers=1, device="cpu")
    cut, whole, sign = many(scorer, ("cat \ud83d", ("a cat",)), PAIRS[3], ("cat ?", ("a cat",)))
    assert numbers([cut]) == numbers([sign])
    assert numbers([whole]) == pytest.approx([1])


def test_baseline_rescales_and_an_empty_answer_is_worst(bert: Path) -> None:
    raw = numbers(many(BertScore(str(bert), num_layers=2, device="cpu"), *PAIRS))
    scaled = numbers(many(BertScore(str(bert), num_layers=2, device="cpu", baseline=0.5), *PAIRS))
    assert scaled == pytest.approx([max(0.0, (x - 0.5) / 0.5) for x in raw], abs=1e-6)
    assert numbers(many(BertScore(str(bert), num_layers=2), (" ", ("a dog",)))) == [0]
    assert isinstance(many(BertScore(str(bert), num_layers=2), ("a", ()))[0], Unscored)


def test_bert_score_says_what_is_wrong_with_a_model(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_layers is needed for a model in a folder"):
        BertScore(str(bert))
    with pytest.raises(UsageError, match="has 2 layers; num_layers says 9"):
        many(BertScore(str(bert), num_layers=9), *PAIRS)
    with pytest.raises(UsageError, match="cannot load model"):
        many(BertScore(str(tmp_path), num_layers=1), *PAIRS)


def test_a_model_is_known_by_what_its_folder_holds(bert: Path, tmp_path: Path) -> None:
    scorer = BertScore(str(save_bert(tmp_path / "m")), num_layers=1)
    assert isinstance(scorer, IdentifiedScorer)
    before = scorer.identity
    assert before == BertScore(str(bert), num_layers=1, device="cpu", batch_size=3).identity
    save_bert(tmp_path / "m", seed=1)
    assert scorer.identity != before


# -------------------------------------------------------------------------------------------------- semantic


@pytest.fixture(scope="session")
def _embeddings() -> Iterator[ModelServerHandle]:
    with running_server(script=SERVER) as handle:
        yield handle


@pytest.fixture
def endpoint(_embeddings: ModelServerHandle) -> Callable[..., dict[str, Any]]:
    _embeddings.reset()

    def settings(model: str = "words", **more: Any) -> dict[str, Any]:
        return {"base_url": _embeddings.base_url, "model": model, "max_retries": 0, **more}

    return settings


def test_similarity_is_the_cosine_to_the_nearest_reference(endpoint: Any) -> None:
    scorer = SemanticSimilarity(endpoint=endpoint())
    found = many(
        scorer,
        ("paris is big", ("Paris is big!",)),
        ("alpha beta", ("gamma delta", "beta epsilon")),
        ("alpha beta", ("alpha",)),
        (" ", ("alpha",)),
    )
    # one of two words in common on both sides: 1/2; one of two with a text of one word: 1/√2
    assert numbers(found) == pytest.approx([1, 0.5, 0.5**0.5, 0], abs=1e-4)
    assert scorer.metric.unit == "cosine"
    assert (scorer.metric.low, scorer.metric.high) == (-1, 1)


def test_a_text_the_server_refuses_costs_its_own_case_only(endpoint: Any) -> None:
    pairs = [(f"text {n}", (f"text {n}",)) for n in range(40)]
    pairs[7] = ("a TOO-LONG answer", ("short",))
    found = many(SemanticSimilarity(endpoint=endpoint(), batch_size=16), *pairs)
    assert isinstance(found[7], Unscored)
    assert "refuses the text" in found[7].reason
    assert numbers(found[:7] + found[8:]) == pytest.approx([1] * 39, abs=1e-6)


def test_half_a_character_is_compared_as_a_sign(endpoint: Any) -> None:
    assert numbers(many(SemanticSimilarity(endpoint=endpoint()), ("alpha \ud83d", ("alpha ?",)))) == [1]


def test_a_server_that_is_down_ends_the_run(endpoint: Any) -> None:
    with pytest.raises(ProviderError, match="HTTP 500"):
        many(SemanticSimilarity(endpoint=endpoint("down")), *PAIRS)


def test_similarity_by_a_local_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    from sentence_transformers import SentenceTransformer, util

    folder = save_sentence_model(tmp_path_factory.mktemp("models") / "sentences")
    library = SentenceTransformer(str(folder), device="cpu")
    expected = [
        max(float(util.cos_sim(library.encode(text), library.encode(target))) for target in targets)
        for text, targets in PAIRS
    ]
    assert numbers(many(SemanticSimilarity(str(folder), device="cpu"), *PAIRS)) == pytest.approx(
        expected, abs=1e-4
    )


def test_the_company_of_an_answer_moves_no_digit_of_its_similarity(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = save_sentence_model(tmp_path_factory.mktemp("sentences"))
    scorer, rng = SemanticSimilarity(model=str(model), device="cpu"), random.Random(3)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "to", "paris"]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 30))) for _ in range(200)]
    pairs = [(text, (target,)) for text, target in zip(texts[::2], texts[1::2], strict=True)]
    together = numbers(many(scorer, *pairs))
    assert numbers(many(scorer, *pairs[:7])) + numbers(many(scorer, *pairs[7:])) == together
    assert [numbers(many(scorer, pair))[0] for pair in pairs[::10]] == together[::10]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either a model or an endpoint"),
        ({"endpoint": {"model": "m"}}, "endpoint needs base_url and model"),
        ({"endpoint": {"base_url": "http://h/v1", "model": "m", "key": "sk"}}, "endpoint has no key 'key'"),
        ({"endpoint": {"base_url": "http://h/v1", "model": "m"}, "device": "cpu"}, "belong to a model"),
        ({"model": "m", "dimensions": -1}, "dimensions must be"),
    ],
)
def test_settings_of_similarity_that_mean_nothing(given: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        SemanticSimilarity(**given)


# -------------------------------------------------------------------------------------------------- evaluate

SCRIPT = """
import pathlib
import datasets
import evaluate

pathlib.Path({ran!r}).touch()

class Shared(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({{"predictions": text, "references": text}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references, power=1):
        print("a script that prints")
        if "RAISE" in predictions[0]:
            raise ValueError("no such thing")
        if "NAN" in predictions[0]:
            return {{"shared": float("nan")}}
        a, b = set(predictions[0].split()), set(references[0].split())
        return {{"shared": [len(a & b) / len(a | b) ** power], "size": 7}}
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", tmp_path / "modules", raising=False)
    folder = tmp_path / "metrics" / "shared"
    folder.mkdir(parents=True)
    (folder / "shared.py").write_text(SCRIPT.format(ran=str(tmp_path / "ran")))
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_script_is_not_run_unless_the_user_names_it(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for listed in ("", "shared", "other,./metrics/shared2", "accuracy"):
        monkeypatch.setenv(TRUST, listed)
        with pytest.raises(UsageError, match=rf"Python code.*set {TRUST}=\./metrics/shared "):
            HfEvaluate(str(script))
    monkeypatch.setenv(TRUST, "./accuracy,f1")
    with pytest.raises(UsageError, match=rf"{TRUST}=accuracy"):
        HfEvaluate("accuracy")
    assert not (script.parents[1] / "ran").exists()


def test_a_script_the_user_trusts(script: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv(TRUST, "./metrics")
    found = many(
        HfEvaluate(str(script), options={"power": 2}),
        ("a b", ("b c", "a b")),
        ("RAISE", ("a",)),
        ("NAN", ("a",)),
    )
    assert numbers(found[:1]) == [0.5]  # 2 shared of 2 words, over 2²
    assert found[1] == Unscored("the metric raised ValueError: no such thing")
    assert found[2] == Unscored("recorded score 'shared' is not finite")
    assert capsys.readouterr().out == ""
    outside = many(HfEvaluate(str(script), key="size"), ("a", ("a",)))[0]
    assert outside == Unscored("recorded score 'size' lies outside 0 to 1")
    missing = many(HfEvaluate(str(script), key="f1"), ("a", ("a",)))[0]
    assert isinstance(missing, Unscored)
    assert "no 'f1' in what it returned (shared, size)" in missing.reason


def test_a_metric_by_name_needs_the_network_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUST, "no_such_metric")
    with pytest.raises(UsageError, match=r"'no_such_metric' cannot be loaded.*a name needs the network"):
        many(HfEvaluate("no_such_metric"), ("a", ("a",)))


# ------------------------------------------------------------------------------------------------- in a suite


def test_other_weights_under_the_same_path_are_another_suite_and_scored_anew(tmp_path: Path) -> None:
    project = Project(tmp_path)
    cases = [{"id": f"q{n}", "input": "?", "target": target[0]} for n, (_, target) in enumerate(PAIRS)]
    project.golden_set("questions", cases)
    for side in ("base", "cand"):
        project.candidate(side, [{"id": f"q{n}", "output": text} for n, (text, _) in enumerate(PAIRS)])
    project.suite("[{bert_score: {model: ./weights, num_layers: 2, device: cpu}}]", "{max_drop: 2pp}")
    found = []
    for seed in (0, 0, 1):
        save_bert(tmp_path / "weights", seed=seed)
        _, comparison = project.compare()
        found.append((comparison["suite"]["digest"], comparison["metrics"][0]["baseline"]))
    assert found[0] == found[1]
    assert found[2][0] != found[0][0]
    assert found[2][1] != found[0][1]


def test_a_model_outside_the_project_is_refused(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    save_bert(tmp_path / "outside")
    project.binary(4, 0, 0, scorers="[{bert_score: {model: ../outside, num_layers: 1}}]")
    done = project.run("validate", "suite.yaml", check=2)
    assert "'../outside' leads out of the working directory" in done.err + done.out


def test_a_script_in_a_suite_is_refused_with_its_line(script: Path) -> None:
    project = Project(script.parents[1])
    project.binary(4, 0, 0, scorers="[{evaluate: {metric: ./metrics/shared}}]")
    done = project.run("compare", "base.yaml", "cand.yaml", check=2)
    assert "suite.yaml:5" in done.err
    assert f"set {TRUST}=./metrics/shared" in done.err
    assert not (script.parents[1] / "ran").exists()
