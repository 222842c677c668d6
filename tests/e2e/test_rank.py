"""`compare` and `rank` on candidates that retrieve, as a user runs them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalharness.analysis.ranking_picture import MOST_POINTS, picture_of, projected, sampled
from evalharness.embedding import normalised, truncated
from evalharness.scorers.retrieval import evaluate_rankings, to_arrays
from tests.e2e.conftest import Project
from tests.embedding.conftest import _rag_process, rag_server
from tests.servers.fixture import ModelServerHandle

__all__ = ["_rag_process", "rag_server"]

WORDS = [f"word{i}" for i in range(80)]
FEW = 12
LANGUAGES = ("ar", "en")


def search_project(project: Project, n: int = 120, **suite: str) -> None:
    """Documents of three words; each query says two of the words of its document, and one that is in none."""
    rng = np.random.default_rng(4)
    texts = [" ".join(rng.choice(WORDS, size=3, replace=False)) for _ in range(n)]
    project.rows("corpus.jsonl", [{"_id": f"d{i}", "text": text} for i, text in enumerate(texts)])
    cases = [
        {
            "id": f"q{i}", "input": " ".join([*text.split()[:2], f"noise{i}"]), "relevant": {f"d{i}": 1},
            "tags": {"query_language": LANGUAGES[i % 2], "document_language": LANGUAGES[i // 2 % 2]},
        }
        for i, text in enumerate(texts)
    ]  # fmt: skip
    project.golden_set("questions", cases)
    project.suite(scorers=suite.get("scorers", "[ndcg@10, mrr]"))


def retriever(project: Project, name: str, *lines: str) -> None:
    head = (f"name: {name}", "suite: ./suite.yaml", "provider: embeddings", "documents: ./corpus.jsonl")
    project.write(f"{name.split('<')[0]}.yaml", "\n".join((*head, *lines)) + "\n")


def on_server(project: Project, server: ModelServerHandle, name: str, *lines: str) -> None:
    retriever(project, name, "model: words", f"base_url: {server.base_url}", *lines)


def ranking(project: Project, *arguments: str) -> dict[str, Any]:
    done = project.run("rank", *arguments, "--json", "--quiet", "--out", "out", check=0)
    loaded: dict[str, Any] = json.loads(done.out)
    assert loaded == json.loads((project.root / "out/ranking.json").read_text())
    return loaded


# ----------------------------------------------------------------------------------------------------- the gate


def test_a_worse_retriever_is_a_regression_and_nothing_is_asked_twice(
    project: Project, rag_server: ModelServerHandle
) -> None:
    search_project(project)
    on_server(project, rag_server, "base")
    on_server(project, rag_server, "cand", f"dimensions: {FEW}")
    _, document = project.compare("--quiet", check=1)
    assert document["verdict"] == "regression"
    metric = document["metrics"][0]
    assert metric["id"] == "qa/ndcg@10" and metric["delta"] < -0.05 and metric["n"] == 120
    texts = rag_server.counters()["texts"]
    assert texts == 120 + 1 + 2 * 120, "documents once for both sides but for one, and each side's queries"
    _, same = project.compare("--quiet", check=1)
    assert same == document
    assert rag_server.counters()["texts"] == texts
    runs = sorted((project.root / ".evalharness/runs").iterdir())
    facts = [json.loads((run / "manifest.json").read_text())["facts"] for run in runs]
    assert [f["provider"]["dimension"] for f in facts] == [64, FEW]
    assert facts[0]["provider"]["index_mib"] == round(120 * 64 * 4 / 2**20, 3)
    assert all(f["input_tokens"] == 120 and f["latency_p50_ms"] > 0 for f in facts)


def test_more_relevant_documents_cost_nothing_and_unknown_ones_are_refused(
    project: Project, rag_server: ModelServerHandle
) -> None:
    search_project(project, 20)
    on_server(project, rag_server, "base")
    project.run("run", "base.yaml", "--quiet", check=0)
    texts = rag_server.counters()["texts"]
    path = project.root / "questions/cases.jsonl"
    path.write_text(path.read_text().replace('"relevant": {"d3": 1}', '"relevant": {"d3": 1, "d4": 1}'))
    project.run("run", "base.yaml", "--quiet", check=0)
    path.write_text(path.read_text().replace('"d4": 1}', '"d4": 1, "d-99": 2}', 1))
    done = project.run("run", "base.yaml", "--quiet", check=2)
    assert "1 relevant document is not among the documents: 'd-99' (of case 'q3')" in done.err
    assert rag_server.counters()["texts"] == texts, "the cache has every ranking"


def test_a_corpus_that_changes_is_another_candidate(project: Project, rag_server: ModelServerHandle) -> None:
    search_project(project, 20)
    on_server(project, rag_server, "base")
    project.run("run", "base.yaml", "--quiet", check=0)
    with (project.root / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "new", "text": "word1 word2"}\n')
    project.run("run", "base.yaml", "--quiet", check=0)
    assert rag_server.counters()["texts"] == 20 + 20 + 2 + 20, (
        "one document is new, one shows that the model is the same, and every query is asked again"
    )
    assert len(list((project.root / ".evalharness/runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["model: m", "vectors: {documents: ./corpus.jsonl, queries: ./corpus.jsonl}"], "a model and vectors, too"),
        ([], "base.yaml:3: the candidate names no model"),
        (["model: m", "vectors: {documents: ./corpus.jsonl}"], "queries"),
        (["model: ./no-such-folder"], "does not exist"),
        (["model: m", "base_url: http://127.0.0.1:9/v1", "revision: main"], "revision does not go with base_url"),
        (["model: m", "api_key_env: KEY"], "api_key_env needs base_url"),
        (["model: m", "rerank_top: 5"], "rerank_top needs `reranker`"),
        (["model: m", "prompt: {user: 'query: {{ input }}'}"], "does not use 'prompt'; its keys are query_prompt"),
        (["model: m", "top_k: 0"], "top_k"),
        (["model: m", "similarity: euclid"], "similarity"),
        (["model: m", "outputs: ./corpus.jsonl"], "provider 'embeddings' does not use 'outputs'"),
    ],
)  # fmt: skip
def test_a_retriever_that_makes_no_sense_is_refused_with_its_line(
    project: Project, lines: list[str], said: str
) -> None:
    search_project(project, 3)
    retriever(project, "base", *lines)
    done = project.run("validate", "base.yaml", check=2)
    assert said in done.out + done.err


def test_fewer_documents_than_a_metric_reads_are_refused_before_anything_is_asked(
    project: Project, rag_server: ModelServerHandle
) -> None:
    """A baseline that may find three would let a candidate of ten pass whatever it does."""
    search_project(project, 20)
    on_server(project, rag_server, "base", "top_k: 3")
    on_server(project, rag_server, "cand", "top_k: 10")
    for words in (["compare", "base.yaml", "cand.yaml"], ["plan", "base.yaml"]):
        done = project.run(*words, check=2)
        assert (
            "base.yaml: qa/ndcg@10 reads 10 documents of each ranking, and this retriever gives 3" in done.err
        )
        assert "write `top_k: 10`" in done.err
    assert rag_server.counters().get("texts", 0) == 0
    project.run("run", "cand.yaml", "--quiet", check=0)


def test_a_plan_says_that_the_documents_are_in_no_count(
    project: Project, rag_server: ModelServerHandle
) -> None:
    search_project(project, 20)
    on_server(project, rag_server, "base")
    done = project.run("plan", "base.yaml")
    assert "the server also embeds the documents whose vectors are not kept" in " ".join(done.out.split())
    assert rag_server.counters().get("texts", 0) == 0


def test_queries_that_failed_are_said_to_be_missing_from_a_curve(
    project: Project, rag_server: ModelServerHandle
) -> None:
    search_project(project, 20)
    cases = project.root / "questions/cases.jsonl"
    cases.write_text(cases.read_text().replace("noise7", "TOO-LONG"))
    on_server(project, rag_server, "one")
    on_server(project, rag_server, "two", "similarity: dot")
    found = ranking(project, "one.yaml", "two.yaml", "--metric", "qa/mrr", "--truncate", "32")
    assert found["metrics"][0]["n"] == 19 and found["metrics"][0]["n_left_out"] == 1
    assert [point["n"] for point in found["curves"][0]["points"]] == [19, 19]
    assert "one: its curves leave out the 1 of 20 queries that it failed on" in found["warnings"]


def test_a_function_may_rank(project: Project) -> None:
    search_project(project, 4)
    project.write(
        "search_app.py",
        "def best(case):\n    return {'ranking': ['d' + case['id'][1:], 'd0']}\n",
    )
    project.write("fn.yaml", "name: fn\nsuite: ./suite.yaml\nprovider: python\ntarget: search_app:best\n")
    done = project.run("run", "fn.yaml", "--json", "--quiet", check=0)
    assert json.loads(done.out)["coverage"]["scored"] == 3
    run = project.root / json.loads(done.out)["folder"]
    rows = [json.loads(line) for line in (run / "attempts.jsonl").read_text().splitlines()]
    assert rows[1]["ranking"] == ["d1", "d0"]
    assert "a list of document ids, each once" in json.dumps(rows[0]), "d0 stands there twice"


# --------------------------------------------------------------------------------------------------------- rank


def vectors_project(project: Project) -> tuple[Any, Any]:
    """Three models whose vectors are known, one as good as another and one bad: documents, and queries near them."""
    search_project(project, 100)
    rng = np.random.default_rng(9)
    # the last dimensions hold as much as the first, so that cutting costs something
    documents = rng.normal(size=(100, 48)).astype(np.float32)
    table = {}
    for name, noise in (("good", 1.0), ("twin", 1.0), ("bad", 4.0)):
        queries = documents + noise * rng.normal(size=documents.shape).astype(np.float32)
        np.savez(project.root / f"{name}-q.npz", ids=np.array([f"q{i}" for i in range(100)]), vectors=queries)
        table[name] = queries
        retriever(project, name, f"vectors: {{documents: ./d.npz, queries: ./{name}-q.npz}}", "top_k: 20")
    np.savez(project.root / "d.npz", ids=np.array([f"d{i}" for i in range(100)]), vectors=documents)
    return documents, table


def test_candidates_are_ranked_with_every_pair_tested(project: Project) -> None:
    vectors_project(project)
    found = ranking(project, "bad.yaml", "good.yaml", "twin.yaml", "--metric", "qa/ndcg@10")
    (metric,) = found["metrics"]
    assert found["family"] == 3 and metric["n"] == 100
    leaders, last = metric["candidates"][:2], metric["candidates"][2]
    assert {c["name"] for c in leaders} == {"good", "twin"} and last["name"] == "bad"
    assert all(c["better_than"] == ["bad"] for c in leaders) and last["better_than"] == []
    assert all(c["low"] < c["value"] <= c["high"] for c in metric["candidates"])
    assert [c["dimension"] for c in found["candidates"]] == [48] * 3
    assert found["candidates"][0]["index_mib"] == pytest.approx(100 * 48 * 4 / 2**20, abs=1e-3)
    # the pair that `compare` tests has the same difference and interval, and half the p-value
    project.run("compare", "good.yaml", "bad.yaml", "--quiet", "--out", "gate", check=1)
    gate = json.loads((project.root / "gate/comparison.json").read_text())["metrics"][0]
    pair = next(p for p in metric["pairs"] if {p["first"], p["second"]} == {"good", "bad"})
    assert abs(pair["delta"]) == pytest.approx(-gate["delta"], abs=1e-12)
    assert pair["p_value"] == pytest.approx(2 * gate["p_value"], rel=1e-9)
    assert pair["wins"] + pair["ties"] + pair["losses"] == 100


def test_run_folders_rank_as_their_candidates_do_in_any_order(project: Project) -> None:
    vectors_project(project)
    first = ranking(project, "bad.yaml", "good.yaml")
    folders = [
        f".evalharness/runs/{run.name}" for run in sorted((project.root / ".evalharness/runs").iterdir())
    ]
    second = ranking(project, *reversed(folders))
    assert second["metrics"][0]["candidates"] == first["metrics"][0]["candidates"]
    assert second["pictures"] == [] and len(first["pictures"]) == 2, (
        "a run folder does not say where vectors lie"
    )
    assert [c["dimension"] for c in second["candidates"]] == [48, 48]


def test_the_page_is_self_contained_and_holds_no_markup_of_others(project: Project) -> None:
    vectors_project(project)
    evil = "good<script>alert(1)</script>|`"
    path = project.root / "good.yaml"
    path.write_text(path.read_text().replace("name: good", "name: " + json.dumps(evil)))
    grid = "query_language,document_language"
    done = project.run(
        "rank",
        "good.yaml",
        "bad.yaml",
        "--out",
        "out",
        "--quiet",
        "--truncate",
        "24,8",
        "--grid",
        grid,
        check=0,
    )
    page = (project.root / "out/ranking.html").read_text(encoding="utf-8")
    assert "<script" not in page and "good&lt;script&gt;" in page
    assert not re.search(r'(src|href)="(?!#|data:,")', page) and "style=" not in page
    css = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert css is not None and policy is not None
    digest = base64.b64encode(hashlib.sha256(css[1].encode()).digest()).decode()
    assert f"style-src &#39;sha256-{digest}&#39;" in policy[1] and "script-src" not in policy[1]
    assert "a projection for the eye, and no evidence" in page
    summary = (project.root / "out/ranking.md").read_text(encoding="utf-8")
    assert "\\|" in summary and "``" in summary
    for text in (done.out, page, summary):
        assert "query_language" in text and "95% interval" in text


def test_cut_vectors_are_what_a_candidate_of_so_many_dimensions_finds(project: Project) -> None:
    documents, table = vectors_project(project)
    found = ranking(project, "good.yaml", "bad.yaml", "--truncate", "64,24,8", "--metric", "qa/mrr")
    curve = next(c for c in found["curves"] if c["candidate"] == "good")
    assert [p["dimension"] for p in curve["points"]] == [48, 24, 8]
    for point in curve["points"]:
        cut = point["dimension"]
        scores = (
            truncated(table["good"], cut).astype(float)
            @ truncated(normalised(documents), cut).astype(float).T
        )
        best = {f"q{i}": [f"d{j}" for j in np.argsort(-row)[:20]] for i, row in enumerate(scores)}
        _, judged, ranked = to_arrays({f"q{i}": {f"d{i}": 1} for i in range(100)}, best)
        assert point["value"] == pytest.approx(
            float(evaluate_rankings(judged, ranked, ["mrr"])["mrr"].mean()), abs=1e-12
        )
    last = curve["points"][-1]
    assert last["worse"] and last["delta"] < 0 and last["p_adjusted"] < 0.05
    assert last["index_mib"] == pytest.approx(curve["points"][0]["index_mib"] / 6)
    assert "good has 48 dimensions: there is nothing to cut at 64" in found["warnings"]


def test_cutting_asks_a_server_for_nothing(project: Project, rag_server: ModelServerHandle) -> None:
    search_project(project, 40)
    on_server(project, rag_server, "one")
    on_server(project, rag_server, "two", "similarity: dot")
    ranking(project, "one.yaml", "two.yaml")
    texts = rag_server.counters()["texts"]
    found = ranking(project, "one.yaml", "two.yaml", "--truncate", f"32,{FEW}")
    assert rag_server.counters()["texts"] == texts == 40 + 1 + 2 * 40
    assert len(found["curves"]) == 4
    on_server(project, rag_server, "three", f"dimensions: {FEW}")
    third = ranking(project, "one.yaml", "three.yaml")
    value = next(c["value"] for c in third["metrics"][0]["candidates"] if c["name"] == "three")
    assert found["curves"][0]["points"][-1]["value"] == value
    assert [p["n_queries"] + p["n_documents"] for p in found["pictures"]] == [80, 80]


def test_languages_make_a_grid(project: Project) -> None:
    vectors_project(project)
    found = ranking(project, "good.yaml", "bad.yaml", "--grid", "query_language,document_language")
    grid = found["grids"][0]
    assert (grid["keys"], grid["rows"], grid["columns"]) == (
        ["query_language", "document_language"], ["ar", "en"], ["ar", "en"],
    )  # fmt: skip
    for candidate, whole in zip(grid["candidates"], ("good", "bad"), strict=True):
        cells = [cell for row in candidate["cells"] for cell in row]
        assert [cell["n"] for cell in cells] == [25] * 4
        value = next(c["value"] for c in found["metrics"][0]["candidates"] if c["name"] == whole)
        assert np.mean([cell["value"] for cell in cells]) == pytest.approx(value)
    assert found["pictures"][0]["groups"] == ["ar", "en"]


def test_any_metric_ranks(project: Project) -> None:
    project.binary(60, 20, 2)
    found = ranking(project, "cand.yaml", "base.yaml")
    assert [c["name"] for c in found["metrics"][0]["candidates"]] == ["base", "cand"]
    assert found["metrics"][0]["pairs"][0]["test"] == "mid-p McNemar"
    assert found["pictures"] == found["curves"] == []
    done = project.run("rank", "cand.yaml", "base.yaml", "--truncate", "8", check=2)
    assert "no candidate has `provider: embeddings`" in done.err


def test_every_field_of_ranking_json_is_documented(project: Project) -> None:
    vectors_project(project)
    found = ranking(
        project, "good.yaml", "bad.yaml", "--truncate", "8", "--grid", "query_language,document_language"
    )

    def names(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(names, value.values()))
        return set().union(*map(names, value)) if isinstance(value, list) else set()

    page = (Path(__file__).parents[2] / "docs/ranking.md").read_text(encoding="utf-8")
    assert names(found) <= set(re.findall(r"`([a-z_0-9]+)`", page.split("## ranking.json")[1]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["good.yaml"], "takes 2 to 50 candidates"),
        (["good.yaml", "good.yaml"], "good.yaml is given twice"),
        (["good.yaml", "same.yaml"], "good.yaml and same.yaml are both called 'good'"),
        (["good.yaml", "nothing.yaml"], "'nothing.yaml' does not exist"),
        (["good.yaml", "corpus.jsonl"], "not something to rank"),
        (
            ["good.yaml", "bad.yaml", "--metric", "qa/ndgc@10"],
            "has no metric 'qa/ndgc@10'; it has qa/ndcg@10, qa/mrr",
        ),
        (["good.yaml", "bad.yaml", "--grid", "language"], "does not name two tags"),
        (["good.yaml", "bad.yaml", "--grid", "query_language,tone"], "no case has the tag 'tone'"),
        (["good.yaml", "bad.yaml", "--truncate", "8,x"], "no list of dimensions"),
        (["good.yaml", "bad.yaml", "--truncate", "64"], "nothing to cut at 64"),
        (["good.yaml", "bad.yaml", "--out", "questions"], "a run or a comparison lies there"),
    ],
)
def test_what_cannot_be_ranked_is_told(project: Project, words: list[str], said: str) -> None:
    vectors_project(project)
    project.write("same.yaml", (project.root / "good.yaml").read_bytes())
    project.write("questions/manifest.json", "{}")
    done = project.run("rank", "--quiet", *words, check=2)
    assert said in done.err


# ----------------------------------------------------------------------------------------------------- pictures


def test_a_picture_is_the_same_each_time_and_holds_what_it_says() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(300, 20)).astype(np.float32) * np.array(
        [9, 5, *([0.1] * 18)], dtype=np.float32
    )
    flat, explained = projected(vectors, "pca")
    again, _ = projected(vectors.copy(), "pca")
    assert np.array_equal(flat, again) and flat.min() == 0 and flat.max() == 1
    assert explained is not None and explained > 0.99
    # the first axis is the direction that varies most
    assert abs(np.corrcoef(flat[:, 0], vectors[:, 0])[0, 1]) > 0.999
    picture = picture_of("m", vectors, ["b", "a"] * 150, [True] * 100 + [False] * 200, (100, 9_000), "pca")
    assert (picture.groups, picture.n_queries, picture.n_documents) == (("a", "b"), 100, 200)
    flat, explained = projected(np.ones((3, 4), dtype=np.float32), "pca")
    assert np.isfinite(flat).all() and explained == 1.0, "texts that are all alike are one point"
    places = sampled(1_000_000, MOST_POINTS, np.random.default_rng(2))
    assert len(set(places)) == MOST_POINTS and places == sorted(places)


def test_tsne_keeps_groups_together() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1)
    vectors = np.concatenate([rng.normal(m, 0.1, size=(20, 8)) for m in (0, 5)]).astype(np.float32)
    flat, explained = projected(vectors, "tsne")
    assert explained is None and flat.shape == (40, 2)
    inside = np.linalg.norm(flat[:20] - flat[:20].mean(axis=0), axis=1).max()
    assert inside < np.linalg.norm(flat[:20].mean(axis=0) - flat[20:].mean(axis=0))


def test_a_store_without_vectors_draws_nothing(
    project: Project, rag_server: ModelServerHandle, tmp_path: Path
) -> None:
    search_project(project, 10)
    on_server(project, rag_server, "one")
    on_server(project, rag_server, "two", "dimensions: 8")
    assert len(ranking(project, "one.yaml", "two.yaml")["pictures"]) == 2
    (project.root / ".evalharness/vectors.sqlite").unlink()
    found = ranking(project, "one.yaml", "two.yaml")
    assert found["pictures"] == [] and found["candidates"][1]["dimension"] == 8
