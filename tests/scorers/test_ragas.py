"""Ragas' metrics against a judge that goes by plain rules, in this process and in another Python."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalharness.api import load_suite
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.protocols import BatchScorer, IdentifiedScorer
from evalharness.core.scores import Score, Scored, Unscored
from evalharness.errors import MissingExtraError, ProviderError, UsageError
from evalharness.scorers import ragas as module
from evalharness.scorers.ragas import PYTHON, Ragas
from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle, running_server
from tests.servers.tiny_bert import save_sentence_model

pytest.importorskip("ragas")
SERVER = Path(__file__).parents[1] / "servers" / "rag_server.py"
PARIS = ("Paris is in France. It is large.", "Nothing of use.", "Paris has a river.")


@pytest.fixture(scope="session")
def _rag() -> Iterator[ModelServerHandle]:
    with running_server(script=SERVER) as handle:
        yield handle


@pytest.fixture
def rag(_rag: ModelServerHandle) -> ModelServerHandle:
    _rag.reset()
    return _rag


@pytest.fixture
def build(rag: ModelServerHandle) -> Callable[..., Ragas]:
    def made(metric: str = "faithfulness", judge: str = "judge", **more: Any) -> Ragas:
        llm = {"base_url": rag.base_url, "model": judge, **more.pop("llm", {})}
        if metric == "answer_relevancy" and "embedding_model" not in more:
            more["embeddings"] = {"base_url": rag.base_url, "model": "words"}
        return Ragas(metric, llm, **{"max_retries": 0, "timeout_s": 20.0, **more})

    return made


def item(
    answer: str,
    *,
    contexts: tuple[str, ...] = PARIS,
    target: str | None = None,
    question: str = "Where is Paris",
) -> tuple[Case, Response]:
    case = Case(id="c", input=question, targets=() if target is None else (target,), contexts=contexts)
    return case, Response(text=answer)


def only(scorer: Ragas, answer: str = "x", **about: Any) -> Score:
    return scorer.score(*item(answer, **about))


# --------------------------------------------------------------------------------------------- values by hand


def test_faithfulness_is_the_share_of_supported_statements(build: Callable[..., Ragas]) -> None:
    assert only(build(), "Paris is in France. Paris is in Spain.") == Scored(1 / 2)
    assert only(build(), "Paris is in France. It is large. Paris has a river.") == Scored(1.0)


def test_context_recall_is_the_share_of_the_reference_that_is_found(build: Callable[..., Ragas]) -> None:
    scorer = build("context_recall")
    assert only(scorer, target="Paris is in France. It rains. It snows. It is large.") == Scored(0.5)
    assert scorer.needs == ("targets",)


def test_context_precision_is_average_precision(build: Callable[..., Ragas]) -> None:
    # contexts 1 and 3 of three are useful: (1/1 + 2/3) / 2; Ragas adds 1e-10 below the line
    found = only(build("context_precision"), target="Paris is in France. Paris has a river.")
    assert isinstance(found, Scored)
    assert found.value == pytest.approx(5 / 6, abs=1e-9)


def test_answer_relevancy_is_the_mean_cosine_to_the_question(
    build: Callable[..., Ragas], rag: ModelServerHandle
) -> None:
    # the question made up has two of four words in common with the one that was asked, of three: 2 / √(3 · 4)
    found = only(build("answer_relevancy"), "In France. Q: Where is big Rome")
    assert isinstance(found, Scored)
    assert found.value == pytest.approx(2 / 12**0.5, abs=1e-6)
    assert rag.counters()["/v1/chat/completions"] == 3  # strictness
    assert only(build("answer_relevancy", strictness=1), "I don't know. Q: Where is Paris") == Scored(0.0)


def test_answer_relevancy_with_a_local_embedding_model(build: Callable[..., Ragas], tmp_path: Path) -> None:
    folder = save_sentence_model(tmp_path / "sentences")
    scorer = build("answer_relevancy", embedding_model=str(folder), strictness=1)
    assert only(scorer, "Q: Where is Paris") == Scored(1.0)
    assert "content" in scorer.identity["embedding_model"]


def test_contexts_of_the_answer_come_before_those_of_the_case(build: Callable[..., Ragas]) -> None:
    case, _ = item("")
    answer = Response(text="Rome is in Italy.", contexts=("Rome is in Italy.",))
    assert build().score(case, answer) == Scored(1.0)
    assert build().score(case, Response(text="Rome is in Italy.")) == Scored(0.0)


# ------------------------------------------------------------------------------------------- what has no value


def test_a_case_that_fails_is_unscored_with_the_reason_and_the_others_are_not(
    build: Callable[..., Ragas],
) -> None:
    answers = ["Paris is in France.", "BROKEN", "REFUSE", "FAIL", " ", "It is large."]
    found = build().score_many([item(answer) for answer in answers])
    assert [found[0], found[5]] == [Scored(1.0), Scored(1.0)]
    reasons = [score.reason for score in found if isinstance(score, Unscored)]
    assert reasons == [
        "the judge did not answer in the form asked for: 'Well, {that depends'",
        "the judge did not answer in the form asked for: 'I cannot help with that.'",
        "InternalServerError: Error code: 500 - out of order",
        "the answer is empty",
    ]


def test_nan_and_lateness_are_unscored(build: Callable[..., Ragas]) -> None:
    assert only(build(judge="silent")) == Unscored("the judge found no statement to check")
    assert only(build(timeout_s=0.5), "SLOW") == Unscored("no verdict within 0.5 s")


@pytest.mark.parametrize(
    ("metric", "about", "said"),
    [
        ("faithfulness", {"contexts": ()}, "neither the answer nor the case has contexts"),
        ("context_recall", {"target": None}, "the case has no target"),
        ("answer_relevancy", {"question": " "}, "the case has no question"),
    ],
)
def test_what_a_case_lacks_costs_no_call(
    build: Callable[..., Ragas], rag: ModelServerHandle, metric: str, about: dict[str, Any], said: str
) -> None:
    assert only(build(metric), **about) == Unscored(said)
    assert "/v1/chat/completions" not in rag.counters()


def test_a_judge_that_is_not_there_or_refuses_the_key_ends_the_run(
    build: Callable[..., Ragas], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProviderError, match=r"the judge at 127\.0\.0\.1:9 cannot be reached"):
        only(build(llm={"base_url": "http://127.0.0.1:9/v1"}))
    with pytest.raises(ProviderError, match="set the environment variable JUDGE_KEY"):
        only(build(llm={"api_key_env": "JUDGE_KEY"}))
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    with pytest.raises(ProviderError, match="AuthenticationError") as caught:
        only(build(judge="locked", llm={"api_key_env": "JUDGE_KEY"}))
    assert "sesame" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ how it works


def test_the_judge_s_work_is_bounded_and_nothing_is_reported_home(
    build: Callable[..., Ragas], rag: ModelServerHandle
) -> None:
    scorer = build(concurrency=3)
    assert scorer.score_many([item(f"Paris is in France. {n}") for n in range(12)])[0] == Scored(0.5)
    assert 1 < rag.counters()["max_in_flight"] <= 3

    # again, and inside a loop that runs: one client does not outlive its loop
    async def within() -> Score:
        return only(scorer, "Paris is in France.")

    assert asyncio.run(within()) == Scored(1.0)
    from ragas._analytics import do_not_track

    assert do_not_track()


def test_another_python_gives_the_same(
    build: Callable[..., Ragas], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = ["Paris is in France. Paris is in Spain.", "BROKEN", "It is \ud800 large."]
    here = build().score_many([item(answer) for answer in answers])
    monkeypatch.setenv(PYTHON, sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "ragas.py").write_text("raise SystemExit('not this one')")
    monkeypatch.setattr(module.worker, "score_rows", None)  # it is not this process that scores
    scorer = build()
    there = scorer.score_many([item(answer) for answer in answers])
    assert there == here
    assert here[0] == Scored(0.5)
    monkeypatch.delenv(PYTHON)
    assert scorer.identity == build().identity


def test_a_python_without_ragas(
    build: Callable[..., Ragas], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PYTHON, str(tmp_path / "python"))
    with pytest.raises(UsageError, match="cannot be run"):
        build()
    (tmp_path / "python").write_text("#!/bin/sh\necho no module named ragas >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    module._version.cache_clear()
    with pytest.raises(UsageError, match="which failed: no module named ragas"):
        build()
    monkeypatch.delenv(PYTHON)
    monkeypatch.setattr(module.metadata, "version", _absent)
    module._version.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"evalharness\[rag\].*{PYTHON}"):
        build()
    module._version.cache_clear()


def _absent(name: str) -> str:
    raise module.metadata.PackageNotFoundError(name)


def test_identity_holds_what_moves_a_value_and_no_more(build: Callable[..., Ragas]) -> None:
    scorer = build()
    assert isinstance(scorer, BatchScorer)
    assert isinstance(scorer, IdentifiedScorer)
    assert scorer.identity == build(concurrency=1, timeout_s=3.0, max_retries=9).identity
    assert scorer.identity != build(judge="other").identity
    assert scorer.identity != build(llm={"temperature": 0}).identity
    assert "0.4" in scorer.identity["ragas"]
    json.dumps(dict(scorer.identity))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metric": "faith"}, "metric must be one of"),
        ({"metric": "answer_relevancy", "embedding_model": None}, "needs either embeddings"),
        ({"embeddings": {"base_url": "http://h/v1", "model": "m"}}, "uses no embeddings"),
        ({"llm": {"key": "sk-1"}}, "llm has no key 'key'"),
        ({"llm": {"base_url": "ftp://h"}}, "not an http"),
        ({"llm": {"temperature": "hot"}}, "llm.temperature must be a number"),
        ({"concurrency": 0}, "concurrency must be"),
        ({"timeout_s": True}, "timeout_s must be"),
    ],
)
def test_settings_that_mean_nothing(build: Callable[..., Ragas], given: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        build(**given)


# --------------------------------------------------------------------------------------------------- in a suite


@pytest.fixture
def project(tmp_path: Path, rag: ModelServerHandle) -> Project:
    """24 questions; the candidate makes one more thing up in half of its answers."""
    found = Project(tmp_path)
    found.golden_set(
        "questions",
        [
            {"id": f"q{n}", "input": f"Where is {n}", "contexts": [f"{n} is here."], "target": "x"}
            for n in range(24)
        ],
    )
    for side, odd in (("base", ""), ("cand", " It is blue.")):
        found.candidate(
            side, [{"id": f"q{n}", "output": f"{n} is here.{odd if n % 2 else ''}"} for n in range(24)]
        )
    return found


def suite(project: Project, rag: ModelServerHandle, gate: str = "{max_drop: 2pp}") -> None:
    llm = f"{{base_url: '{rag.base_url}', model: judge}}"
    scorers = f"[length, {{ragas: {{metric: faithfulness, llm: {llm}, id: faithful}}}}, 'recorded:human']"
    rules = "qa/length: advisory, qa/recorded:human: advisory"
    project.suite(scorers=scorers, gate=gate.replace("RULES", rules))


def test_a_comparison_made_again_asks_the_judge_nothing(project: Project, rag: ModelServerHandle) -> None:
    suite(project, rag, "{max_drop: 2pp, metrics: {RULES}}")
    _, first = project.compare()
    calls = rag.counters()["/v1/chat/completions"]
    # 24 answers of the baseline and 12 others of the candidate, two calls each: equal answers share a score
    assert calls == 72
    _, again = project.compare()
    assert rag.counters()["/v1/chat/completions"] == calls
    assert again == first
    metric = next(m for m in first["metrics"] if m["id"] == "qa/faithful")
    assert (metric["baseline"], metric["candidate"], metric["n"]) == (1.0, 0.75, 24)


def test_opinions_are_advisory_unless_people_s_labels_correct_them(
    project: Project, rag: ModelServerHandle
) -> None:
    suite(project, rag, "{max_drop: 2pp, metrics: {RULES}}")
    done, comparison = project.compare(check=4)
    metric = next(m for m in comparison["metrics"] if m["id"] == "qa/faithful")
    assert (metric["status"], metric["gated"]) == ("advisory", False)
    assert "people's labels" in metric["reason"]
    suite(project, rag, "{max_drop: 2pp, metrics: {RULES, qa/faithful: {max_drop: 3pp}}}")
    done = project.run("validate", "suite.yaml", check=2)
    assert "qa/faithful cannot gate: its values are a language model's opinions" in done.err + done.out
    suite(project, rag, "{max_drop: 2pp, primary: [qa/faithful], metrics: {RULES}}")
    assert "cannot gate" in (done := project.run("validate", "suite.yaml", check=2)).err + done.out
    labels = "{labels: 'qa/recorded:human', drawn: random}"
    suite(project, rag, f"{{max_drop: 2pp, metrics: {{qa/length: advisory, qa/faithful: {labels}}}}}")
    with contextlib.chdir(project.root):
        rules = load_suite("suite.yaml").gate
    assert not rules.rule("qa/faithful").advisory
    assert rules.rule("qa/recorded:human").advisory


@pytest.mark.parametrize(
    "metric", ["faithfulness", "answer_relevancy", "context_precision", "context_recall"]
)
def test_the_calls_that_a_plan_tells_are_those_that_are_made(
    build: Callable[..., Ragas], rag: ModelServerHandle, metric: str
) -> None:
    scorer, (case, response) = build(metric), item("Paris is in France.", target="Paris is large.")
    scorer.score(case, response)
    assert rag.counters()["/v1/chat/completions"] == scorer.calls(case)


def test_a_plan_tells_of_calls_it_does_not_count(project: Project, rag: ModelServerHandle) -> None:
    suite(project, rag, "{max_drop: 2pp, metrics: {RULES}}")
    plan = json.loads(project.run("plan", "base.yaml", "cand.yaml", "--json").out)
    assert any("qa/faithful asks a model itself, about 96 times" in text for text in plan["warnings"])


def test_a_missing_key_is_told_before_a_model_is_asked(build: Callable[..., Ragas]) -> None:
    with pytest.raises(UsageError, match="set the environment variable NO_SUCH_KEY"):
        build(llm={"api_key_env": "NO_SUCH_KEY"}).ready()


def test_doctor_looks_whether_the_judge_answers(project: Project) -> None:
    llm = "{base_url: 'http://127.0.0.1:9/v1', model: judge}"
    project.suite(scorers=f"[exact_match, {{ragas: {{metric: faithfulness, llm: {llm}, id: faithful}}}}]")
    done = project.run("doctor", "base.yaml", "cand.yaml", "--problems", check=2)
    assert "qa/faithful: 127.0.0.1:9 does not answer" in done.out
