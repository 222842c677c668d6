"""The suites that ship: they are valid as they lie there, name benchmarks that exist, and what can run offline runs."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from math import log
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from evalharness.sandbox import SandboxUnavailableError, find_sandbox
from tests.e2e.conftest import Project

ROOT = Path(__file__).resolve().parents[2]
SUITES = sorted((ROOT / "suites").glob("*.yaml"))
SETS = sorted(path.parent for path in (ROOT / "golden_sets").glob("*/card.yaml"))
NAMED = ("support-desk", "legal", "medical", "finance", "code", "rag", "embedding", "post-training")

INSPECT_EVALS = {
    # of inspect-evals 0.26.0: its registry, and the samples its eval.yaml files state
    "agie_lsat_lr": 510,
    "agie_lsat_rc": 269,
    "bigcodebench": 1140,
    "healthbench": 5000,
    "healthbench_meta_eval": 29511,
    "humaneval": 164,
    "livecodebench_pro": 706,
    "medqa": 1273,
    "pubmedqa": 500,
    "squad": 11873,
    "strong_reject": 324,
    "swe_bench": 500,
    "xstest": 250,
}
LM_EVAL = {
    # of lm-eval 0.4.13: the file of each task below lm_eval/tasks
    "arc_challenge": "arc/arc_challenge.yaml",
    "drop": "drop/default.yaml",
    "gsm8k_platinum": "gsm8k_platinum/gsm8k-platinum.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "ifeval": "ifeval/ifeval.yaml",
    "legalbench": "legalbench/_legalbench.yaml",
    "legalbench_contract_nli": "legalbench/_contract_nli.yaml",
    "mmlu": "mmlu/default/_mmlu.yaml",
    "mmlu_econometrics_generative": "mmlu/generative/mmlu_econometrics.yaml",
    "mmlu_international_law_generative": "mmlu/generative/mmlu_international_law.yaml",
    "mmlu_jurisprudence_generative": "mmlu/generative/mmlu_jurisprudence.yaml",
    "mmlu_pro": "mmlu_pro/_mmlu_pro.yaml",
    "mmlu_pro_business": "mmlu_pro/mmlu_pro_business.yaml",
    "mmlu_pro_economics": "mmlu_pro/mmlu_pro_economics.yaml",
    "mmlu_pro_health": "mmlu_pro/mmlu_pro_health.yaml",
    "mmlu_pro_law": "mmlu_pro/mmlu_pro_law.yaml",
    "mmlu_professional_accounting_generative": "mmlu/generative/mmlu_professional_accounting.yaml",
    "mmlu_professional_law_generative": "mmlu/generative/mmlu_professional_law.yaml",
    "piqa": "piqa/piqa.yaml",
    "squadv2": "squadv2/squadv2.yaml",
    "wikitext": "wikitext/wikitext.yaml",
}
MEMBERS = {"mmlu": "mmlu/default/mmlu_anatomy.yaml", "mmlu_pro": "mmlu_pro/mmlu_pro_law.yaml"}
"""A task of each group, which has the metrics of all."""


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def cases(name: str) -> list[dict[str, Any]]:
    return lines(ROOT / "golden_sets" / name / "cases.jsonl")


def script(path: str) -> ModuleType:
    """A script of an example, imported and not run."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(project: Project, base: str, cand: str, *more: str, check: int) -> dict[str, Any]:
    """`compare` in an empty folder, so that suites, sets and outputs are those that ship; its metrics by id."""
    project.run("compare", base, cand, "--out", "out", *more, check=check)
    found = json.loads((project.root / "out" / "comparison.json").read_text(encoding="utf-8"))
    return {(m["id"] if not m.get("slice") else f"{m['id']} {m['slice']}"): m for m in found["metrics"]} | {
        "slices": {f"{m['id']} {m['slice']}": m for m in found["slices"]},
        "critical": found["critical_failures"],
    }


# --- files ---------------------------------------------------------------------------------------------------------


def test_every_suite_is_valid_without_any_extra() -> None:
    assert {path.stem for path in SUITES} == set(NAMED)
    code = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"lm_eval", "inspect_ai", "inspect_evals", "ragas", "torch", "transformers", "ranx",
                                  "sentence_transformers", "datasets", "evaluate", "sklearn", "pandas"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from evalharness.cli.main import run
sys.exit(run(["validate", *sys.argv[1:]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, SUITES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_suite_says_what_it_needs_and_decides_by_few_metrics(path: Path) -> None:
    head = path.read_text(encoding="utf-8").split("\nname:")[0]
    if path.stem != "support-desk":
        for word in ("# Needs", "# Downloads", "# Calls", "# Replace"):
            assert word in head, word
        assert 1 <= len(read(path)["gate"]["primary"]) <= 4
    assert f"`suites/{path.name}`" in (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_golden_sets_are_sound_locked_and_labelled(folder: Path, project: Project) -> None:
    done = project.run("golden", "check", str(folder), "--json", "--allow-path", str(ROOT), check=0)
    found = {item["code"] for item in json.loads(done.out) if item["level"] != "info"}
    assert found <= {"size"}
    card = read(folder / "card.yaml")
    assert card["cases_digest"].startswith("sha256:")
    assert card["provenance"].startswith("Written for demonstration")
    assert "Not reviewed by" in card["reviewed"]["how"]


# --- benchmarks ----------------------------------------------------------------------------------------------------


def named(runner: str) -> set[str]:
    """Every task of a runner that a suite names, in a comment or not."""
    return {
        task
        for path in SUITES
        for task in re.findall(rf"\b{runner}: ([\w/-]+)", path.read_text(encoding="utf-8"))
    }


def test_inspect_tasks_are_of_the_registry() -> None:
    tasks = {name.removeprefix("inspect_evals/") for name in named("inspect")}
    tasks |= {
        name
        for path in SUITES
        for name in re.findall(r"inspect_evals/(\w+)", path.read_text(encoding="utf-8"))
    }
    assert tasks == INSPECT_EVALS.keys()
    limits = {
        item["benchmark"]["inspect"].removeprefix("inspect_evals/"): item["benchmark"]["limit"]
        for path in SUITES
        for item in read(path)["evals"]
        if "inspect" in item.get("benchmark", {}) and "limit" in item["benchmark"]
    }
    assert limits
    assert all(limit < INSPECT_EVALS[name] for name, limit in limits.items())


def test_lm_eval_tasks_and_their_metrics_are_of_the_library() -> None:
    library = pytest.importorskip("lm_eval.tasks")
    load_yaml = pytest.importorskip("lm_eval.tasks._yaml_loader").load_yaml
    tasks = Path(library.__file__).parent
    configs = {name: load_yaml(tasks / file, resolve_func=False) for name, file in LM_EVAL.items()}
    for name, config in configs.items():
        assert config.get("task") == name or config.get("group") == name
    assert named("lm_eval") == configs.keys()
    for path in SUITES:
        rules = read(path)["gate"].get("metrics", {})
        for item in read(path)["evals"]:
            if "lm_eval" not in item.get("benchmark", {}):
                continue
            task = item["benchmark"]["lm_eval"]
            config = load_yaml(tasks / MEMBERS.get(task, LM_EVAL[task]), resolve_func=False)
            has = set(metric_ids(config))
            asked = {
                *item.get("scorers", []),
                *(n.split("/", 1)[1] for n in rules if n.startswith(f"{item['id']}/")),
            }
            assert asked <= has, (path.name, item["id"], asked - has)


def metric_ids(config: Mapping[str, Any]) -> Iterable[str]:
    """The metrics of a task by the names that docs/benchmarks.md gives them."""
    filters = [item["name"] for item in config.get("filter_list", [])] or ["none"]
    for metric in config["metric_list"]:
        yield metric["metric"]
        yield from (f"{metric['metric']}.{name}" for name in filters[1:])


# --- the shop ------------------------------------------------------------------------------------------------------


def test_the_shops_sets_are_about_its_passages() -> None:
    passages = {row["_id"]: row for row in lines(ROOT / "examples/shop-search/documents.jsonl")}
    assert [case["input"] for case in cases("shop-documents")] == [row["text"] for row in passages.values()]
    for case in cases("shop-search"):
        assert case["relevant"].keys() <= passages.keys()
        main = next(name for name, grade in case["relevant"].items() if grade == 2)
        assert case["tags"]["document_language"] == passages[main]["language"]
    texts = {row["text"] for row in passages.values()}
    outside = []
    for case in cases("shop-knowledge"):
        assert set(case["contexts"]) <= texts
        assert passages[case["cluster"]]["text"] in case["contexts"]
        accepted = case["target"] if isinstance(case["target"], list) else [case["target"]]
        held = [text for text in accepted if text.lower() in passages[case["cluster"]]["text"].lower()]
        if not held:
            outside.append(case["id"])
        assert ("" in accepted) == (case["tags"]["answerable"] == "no")
    assert not outside


def test_a_worse_retriever_is_a_regression(project: Project) -> None:
    found = compare(
        project, "examples/shop-search/bm25.yaml", "examples/shop-search/first-words.yaml", check=1
    )
    assert found["search/ndcg@10"]["status"] == "regression"
    german = found["slices"]["search/ndcg@10 query_language=de"]
    english = found["slices"]["search/ndcg@10 query_language=en"]
    assert german["baseline"] < english["baseline"] / 2  # words alone do not cross a language


def test_a_better_retriever_passes(project: Project) -> None:
    found = compare(
        project, "examples/shop-search/first-words.yaml", "examples/shop-search/bm25.yaml", check=0
    )
    assert found["search/ndcg@10"]["status"] == "improved"


def test_a_drop_of_a_rag_system_is_told_from_its_retrieval(project: Project) -> None:
    found = compare(project, "examples/shop-rag/base.yaml", "examples/shop-rag/candidate.yaml", check=1)
    assert found["answers/squad_f1"]["status"] == "regression"
    assert found["search/recall@5"]["delta"] == 0
    # it reads the first passage alone: worse where the answer stands in the second, and only there
    slices = found["slices"]
    assert slices["answers/squad_f1 passage=second"]["delta"] < -0.2
    assert slices["answers/squad_f1 passage=first"]["delta"] > -0.05


def test_recorded_outputs_are_what_the_scripts_write() -> None:
    rank = script("examples/shop-search/rank.py")
    for name, index in rank.indexes().items():
        recorded = {
            row["id"]: row["ranking"] for row in lines(ROOT / f"examples/shop-search/outputs/{name}.jsonl")
        }
        assert recorded == {
            case["id"]: index.search(rank.words(case["input"])) for case in cases("shop-search")
        }
    answer = script("examples/shop-rag/answer.py").answer
    for name, passages in (("base", 2), ("candidate", 1)):
        recorded = {
            row["id"]: row["output"]
            for row in lines(ROOT / f"examples/shop-rag/outputs/{name}.jsonl")
            if row["golden_set"] == "shop-knowledge"
        }
        assert recorded == {
            case["id"]: answer(case["input"], case["contexts"][:passages]) for case in cases("shop-knowledge")
        }
    mutated = script("examples/code-basics/mutate.py").mutated
    solutions = lines(ROOT / "examples/code-basics/solutions.jsonl")
    recorded = {row["id"]: row["output"] for row in lines(ROOT / "examples/code-basics/mutated.jsonl")}
    assert recorded == {
        row["id"]: mutated(row["output"]) if place % 4 == 0 else row["output"]
        for place, row in enumerate(solutions)
    }


# --- code ----------------------------------------------------------------------------------------------------------


def test_reference_solutions_pass_and_broken_ones_fail(project: Project) -> None:
    try:
        find_sandbox()
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    found = compare(
        project, "examples/code-basics/solutions.yaml", "examples/code-basics/mutated.yaml", check=1
    )
    metric = found["basics/pass@1"]
    assert metric["baseline"] == 1.0
    assert metric["status"] == "regression"
    solutions = {row["id"]: row["output"] for row in lines(ROOT / "examples/code-basics/solutions.jsonl")}
    changed = [
        row["id"]
        for row in lines(ROOT / "examples/code-basics/mutated.jsonl")
        if row["output"].split() != solutions[row["id"]].split()
    ]
    failed = round((1 - metric["candidate"]) * len(solutions))
    assert 0.9 * len(changed) - 1 <= failed <= len(changed)  # one mutant of clamp does what clamp does


# --- post-training, the parts that need no benchmark ----------------------------------------------------------------


def part(project: Project, suite: str, evals: set[str]) -> None:
    """A shipped suite with some of its evals, and what its gate says of them."""
    whole = read(ROOT / "suites" / f"{suite}.yaml")
    gate = whole["gate"]
    own = tuple(f"{name}/" for name in evals)
    kept = {
        "name": "part",
        "evals": [item for item in whole["evals"] if item["id"] in evals],
        "gate": {
            "max_drop": gate["max_drop"],
            "primary": [name for name in gate["primary"] if name.startswith(own)],
            "slices": [item for item in gate.get("slices", []) if item["metric"].startswith(own)],
            "metrics": {name: rule for name, rule in gate["metrics"].items() if name.startswith(own)},
        },
    }
    project.write("suite.yaml", yaml.safe_dump(kept))


def replies(project: Project, name: str, *, refuse: Iterable[str]) -> None:
    """A candidate that declines the cases of these kinds and answers the others, in the language of the case."""
    said = {
        ("en", True): "I'm sorry, but I can't help with that.",
        ("de", True): "Dabei kann ich leider nicht helfen.",
        ("en", False): "Sure. First, look at what you have, then go on step by step.",
        ("de", False): "Gern. Man darf dabei nicht hetzen: zuerst das eine, dann das andere.",
    }
    project.candidate(
        name,
        [
            {
                "id": case["id"],
                "output": said[case["tags"]["language"], case["tags"]["expect"] in set(refuse)],
            }
            for case in cases("safety-probes")
        ],
    )


def test_both_ways_of_refusing_wrongly_are_seen(project: Project) -> None:
    part(project, "post-training", {"safety"})
    replies(project, "right", refuse={"refuse"})
    replies(project, "timid", refuse={"refuse", "answer"})
    replies(project, "reckless", refuse=())
    timid = compare(project, "right.yaml", "timid.yaml", check=1)["slices"]
    assert timid["safety/over_refusal expect=answer"]["status"] == "regression"
    assert timid["safety/over_refusal expect=answer"]["baseline"] == 0
    assert timid["safety/over_refusal expect=answer"]["candidate"] == 1
    assert timid["safety/under_refusal expect=refuse"]["delta"] == 0
    reckless = compare(project, "right.yaml", "reckless.yaml", check=1)
    assert reckless["slices"]["safety/under_refusal expect=refuse"]["candidate"] == 1
    assert len(reckless["critical"]) == sum(bool(case.get("critical")) for case in cases("safety-probes"))


@pytest.mark.parametrize(
    ("domain", "general", "code", "broken"),
    [
        (1.03, 1.0, 1, "domain_text/perplexity"),
        (0.8, 1.05, 0, None),
        (0.8, 1.3, 1, "general_text/perplexity"),
    ],
)
def test_domain_text_may_not_become_less_likely_and_general_text_only_a_little(
    project: Project, domain: float, general: float, code: int, broken: str | None
) -> None:
    """Recordings made for this test: a perplexity of 20, and the same times a factor, a little more or less by text."""
    part(project, "post-training", {"general_text", "domain_text"})

    def recorded(name: str, factors: Mapping[str, float]) -> list[dict[str, Any]]:
        rows = []
        for golden_set, factor in factors.items():
            for place, case in enumerate(cases(golden_set)):
                tokens = len(case["input"].split())
                nats = log(
                    20 * (1 + 0.1 * (place % 5)) * factor * (1 + 0.001 * (place % 3 - 1) * (name == "cand"))
                )
                rows.append(
                    {"id": case["id"], "output": "", "scores": {"nll": tokens * nats, "tokens": tokens}}
                )
        return rows

    project.candidate("base", recorded("base", {"plain-documents": 1, "shop-documents": 1}))
    project.candidate("cand", recorded("cand", {"plain-documents": general, "shop-documents": domain}))
    found = compare(project, "base.yaml", "cand.yaml", check=code)
    statuses = {name: found[f"{name}/perplexity"]["status"] for name in ("general_text", "domain_text")}
    assert [f"{name}/perplexity" for name, status in statuses.items() if status == "regression"] == (
        [broken] if broken else []
    )


# --- finance -------------------------------------------------------------------------------------------------------


def test_figures_are_what_the_tables_say() -> None:
    """Reckoned again from the tables where the question is one of the simple ones."""
    revenue, profit = ("Revenue", "Net sales", "Turnover"), ("Net income", "Profit for the year")
    checked = 0
    for case in cases("finance-figures"):
        rows = [line.split(" | ") for line in case["contexts"][0].splitlines()[1:]]

        def value(labels: Iterable[str], column: int, rows: list[list[str]] = rows) -> float:
            return next(float(row[column].replace(",", "")) for row in rows if row[0] in labels)

        if "revenue grow from" in case["input"]:
            expected = (value(revenue, 1) / value(revenue, 2) - 1) * 100
        elif "current ratio" in case["input"]:
            expected = value(["Current assets"], 1) / value(["Current liabilities"], 1)
        elif "Adding both years" in case["input"]:
            expected = value(profit, 1) + value(profit, 2)
        else:
            continue
        assert case["target"] == pytest.approx(expected, abs=0.0051)
        checked += 1
    assert checked >= 20


def test_a_wrong_figure_is_wrong(project: Project) -> None:
    part(project, "finance", {"figures"})
    project.candidate(
        "base", [{"id": c["id"], "output": f"So it is {c['target']:.2f}."} for c in cases("finance-figures")]
    )
    project.candidate(
        "cand",
        [
            {"id": c["id"], "output": f"So it is {c['target'] * (1.02 if place % 6 == 0 else 1):.2f}."}
            for place, c in enumerate(cases("finance-figures"))
        ],
    )
    found = compare(project, "base.yaml", "cand.yaml", check=1)["figures/numeric"]
    assert found["baseline"] == 1.0
    assert found["candidate"] == pytest.approx(1 - 20 / 120)
