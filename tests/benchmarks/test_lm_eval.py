"""Tasks of lm-eval, really run by it: on a tiny model in this process, and through a server of the same model."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("lm_eval")

from evalharness import api
from evalharness.benchmarks._lm_eval_calm import calm
from evalharness.benchmarks._lm_eval_decoding import merged
from evalharness.benchmarks.lm_eval_task import LmEvalTask
from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.benchmarks import Work
from evalharness.core.protocols import Request
from evalharness.core.runs import Run
from evalharness.core.scores import Scored, Unscored
from evalharness.errors import MissingExtraError, SpecError, UsageError
from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle, running_server
from tests.servers.tiny_llama import save_llama

SERVER = Path(__file__).parents[1] / "servers" / "hf_server.py"
SUMS = [
    {
        "q": f"What is {a} plus {b}?",
        "choices": [f"{a + b}", f"{a * b + 1}", f"it is {a}"],
        "gold": 0,
        "letter": "e",
    }
    for a in range(1, 7)
    for b in range(1, 4)
]
TEXTS = [
    "The contract ends in May.",
    "A short text with some words in it.",
    "Dogs run.",
    "Nothing else is said.",
]
MC = """
output_type: multiple_choice
doc_to_text: "{{q}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
GEN = """
output_type: generate_until
doc_to_text: "{{q}}\\nAnswer:"
doc_to_target: letter
generation_kwargs: {until: ["\\n"], max_gen_toks: 12, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
filter_list:
  - {name: strict, filter: [{function: regex, regex_pattern: "(e)"}, {function: take_first}]}
  - {name: loose, filter: [{function: regex, regex_pattern: "([a-e])"}, {function: take_first}]}
"""
ROLLING = """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
"""


def task_file(
    name: str, body: str, data: str = "./tasks/sums.jsonl", split: str = "test", extra: str = ""
) -> str:
    return (
        f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{{split}: {data}}}}}\n"
        f"{split}_split: {split}\n"
        f"metadata: {{version: 2.0}}\n{body}{extra}"
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tiny models of one shape, `base` and `cand`."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    save_llama(folder / "base", seed=0)
    save_llama(folder / "cand", seed=1)
    return folder


@pytest.fixture(scope="session")
def server(models: Path) -> Iterator[ModelServerHandle]:
    with running_server("--model", str(models / "base"), script=SERVER) as handle:
        yield handle


class Bench(Project):
    """A project with task files, two local candidates, and candidates of a server."""

    def tasks(self, **bodies: str) -> None:
        for name, text in bodies.items():
            self.write(f"tasks/{name}.yaml", text)

    def bench(self, gate: str = "", **evals: str) -> None:
        lines = "".join(
            f"  - id: {name}\n    benchmark: {{include_path: ./tasks, only_local: true, {text}}}\n"
            for name, text in evals.items()
        )
        self.write("suite.yaml", f"name: bench\nevals:\n{lines}gate: {{max_drop: 2pp{gate}}}\n")

    def local(self, name: str, extra: str = "", model: str | None = None) -> None:
        text = f"name: {name}\nsuite: ./suite.yaml\nprovider: transformers\nmodel: ./{model or name}\ndevice: cpu\n"
        self.write(f"{name}.yaml", text + extra)

    def served(self, name: str, handle: ModelServerHandle, model: str = "tiny", extra: str = "") -> None:
        self.write(
            f"{name}.yaml",
            f"name: {name}\nsuite: ./suite.yaml\nprovider: openai\nbase_url: {handle.base_url}\n"
            f"model: {model}\n{extra}",
        )

    def made(self, name: str) -> Run:
        """The stored run of a candidate."""
        (folder,) = (self.root / ".evalharness" / "runs").glob(f"{name}-*")
        return api.load_run(folder)

    def samples(self, name: str, eval_id: str) -> list[dict[str, Any]]:
        (folder,) = (self.root / ".evalharness" / "runs").glob(f"{name}-*")
        (path,) = (folder / "benchmarks" / eval_id).glob("samples_*.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path, models: Path) -> Bench:
    found = Bench(tmp_path)
    for name in ("base", "cand"):
        shutil.copytree(models / name, tmp_path / name)
        found.local(name)
    found.rows("tasks/sums.jsonl", SUMS)
    found.rows("tasks/texts.jsonl", [{"text": text} for text in TEXTS])
    found.tasks(
        sums=task_file("sums", MC),
        letters=task_file("letters", GEN),
        texts=task_file("texts", ROLLING, "./tasks/texts.jsonl"),
    )
    return found


def values(run: Run, metric: str) -> dict[str, float]:
    return {key[0]: s.value for key, s in run.scores[metric].items() if isinstance(s, Scored)}


def plainly(root: Path, model: str, task: str, **how: Any) -> list[dict[str, Any]]:
    """The samples of lm-eval's own `simple_evaluate`."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    with calm(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        results = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(root / model), "dtype": "float32"},
            tasks=[task],
            task_manager=TaskManager(include_path=str(root / "tasks"), include_defaults=False),
            device="cpu",
            batch_size=8,
            bootstrap_iters=0,
            **how,
        )
    found: list[dict[str, Any]] = results["samples"][task]
    return found


def by_doc(samples: list[dict[str, Any]], metric: str, filtered: str = "none") -> dict[str, float]:
    return {str(s["doc_id"]): float(s[metric]) for s in samples if s["filter"] == filtered}


# --- the same values as lm-eval's own ------------------------------------------------------------------------------


def test_choices_with_few_shot_examples_have_lm_evals_own_values(bench: Bench) -> None:
    shots = "fewshot_split: test\nnum_fewshot: 2\n"
    bench.tasks(sums=task_file("sums", MC, extra=shots))
    bench.bench(sums="lm_eval: sums, num_fewshot: 3, limit: 12")
    bench.run("run", "base.yaml", check=0)
    own = plainly(bench.root, "base", "sums", num_fewshot=3, limit=12)
    run = bench.made("base")
    assert values(run, "sums/acc") == by_doc(own, "acc")
    assert values(run, "sums/acc_norm") == by_doc(own, "acc_norm")
    assert 0 < sum(values(run, "sums/acc").values()) < 12
    kept = bench.samples("base", "sums")
    assert [s["prompt_hash"] for s in kept] == [s["prompt_hash"] for s in own]
    assert [s["doc_hash"] for s in kept] == [s["doc_hash"] for s in own]
    facts = run.manifest["facts"]["benchmarks"]["sums"]
    assert facts["num_fewshot"] == {"sums": 3} and facts["tasks"] == {"sums": "2.0"} and facts["lm_eval"]


def test_generated_answers_and_their_filters_have_lm_evals_own_values(bench: Bench) -> None:
    bench.bench(letters="lm_eval: letters")
    bench.run("run", "base.yaml", check=0)
    own = plainly(bench.root, "base", "letters", apply_chat_template=True)
    run = bench.made("base")
    assert values(run, "letters/exact_match") == by_doc(own, "exact_match", "strict")
    assert values(run, "letters/exact_match.loose") == by_doc(own, "exact_match", "loose")
    assert len(set(values(run, "letters/exact_match").values())) == 2
    texts = {key[0]: a.outcome.text for key, a in run.attempts["lm_eval:letters"].items()}  # type: ignore[union-attr]
    assert texts == {str(s["doc_id"]): s["resps"][0][0] for s in own}
    plain = plainly(bench.root, "base", "letters")
    bench.bench(letters="lm_eval: letters, apply_chat_template: false")
    shutil.rmtree(bench.root / ".evalharness")
    bench.run("run", "base.yaml", check=0)
    assert values(bench.made("base"), "letters/exact_match") == by_doc(plain, "exact_match", "strict")


def test_perplexities_are_lm_evals_own_for_each_text_and_the_whole(bench: Bench) -> None:
    bench.bench(texts="lm_eval: texts", gate=", metrics: {texts/word_perplexity: {max_rise: 15%}}")
    bench.run("run", "base.yaml", check=0)
    own = {str(s["doc_id"]): s["word_perplexity"] for s in plainly(bench.root, "base", "texts")}
    run = bench.made("base")
    for key, score in run.scores["texts/word_perplexity"].items():
        assert isinstance(score, Scored)
        ll, words = own[key[0]]
        assert score.stats == {"nll": pytest.approx(-ll, rel=1e-6), "tokens": float(words)}
    per_text = values(run, "texts/bits_per_byte")
    assert all(2 < value < 30 for value in per_text.values()) and len(per_text) == len(TEXTS)
    (results,) = (bench.root / ".evalharness" / "runs").glob("base-*/benchmarks/texts/results.json")
    total = json.loads(results.read_text())["results"]["texts"]["word_perplexity,none"]
    weighted = sum(ll for ll, _ in own.values()) / sum(words for _, words in own.values())
    assert total == pytest.approx(math.exp(-weighted), rel=1e-6)


# --- the whole way -------------------------------------------------------------------------------------------------


def test_two_models_are_compared_and_a_group_has_its_tasks_as_slices(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.tasks(
        halves="group: halves\ntask: [few, many]\naggregate_metric_list: [{metric: acc}]\n",
        few="include: sums.yaml\ntask: few\n",
        many=task_file("many", MC, extra="target_delimiter: ' = '\n"),
    )
    aside = ", metrics: {texts/word_perplexity: advisory}"
    bench.bench(halves="lm_eval: halves, limit: 8", texts="lm_eval: texts", gate=aside)
    done = bench.run("compare", "base.yaml", "cand.yaml", "--json")
    assert done.code in (0, 1, 3)
    found = json.loads(done.out)
    ids = [m["id"] for m in found["metrics"]]
    assert ids[0] == "halves/acc" and "halves/acc_norm" in ids
    assert next(m for m in found["metrics"] if m["id"] == "halves/acc")["n"] == 16
    assert {s["slice"] for s in found["slices"] if s["id"] == "halves/acc"} >= {"task=few", "task=many"}
    assert (bench.root / "reports" / "base-vs-cand" / "report.html").is_file()
    logs = bench.made("cand").manifest["facts"]["benchmarks"]["halves"]["logs"]
    assert any(log.endswith("samples_few.jsonl") for log in logs)
    assert not any(sys_noise for sys_noise in capfd.readouterr() if "it/s" in sys_noise)
    again = bench.run("compare", "base.yaml", "cand.yaml", "--json")
    assert again.out == done.out and "calls to make" not in again.err


def test_the_model_itself_passes_and_a_task_of_another_version_is_refused(bench: Bench) -> None:
    bench.bench(sums="lm_eval: sums")
    bench.local("same", model="base")
    done = bench.run("compare", "base.yaml", "same.yaml", "--json")
    assert done.code == 0 and json.loads(done.out)["metrics"][0]["delta"] == 0
    (stored,) = (bench.root / ".evalharness" / "runs").glob("base-*")
    bench.tasks(sums=task_file("sums", MC).replace("2.0", "3.0"))
    refused = bench.run("compare", str(stored), "cand.yaml")
    assert refused.code == 4
    assert "the baseline run 'base' answered another version of golden set 'lm_eval:sums'" in refused.err
    assert not list((bench.root / ".evalharness" / "runs").glob("cand-*")), (
        "the candidate was asked all the same"
    )


def test_a_plan_does_not_guess_the_tokens_of_prompts_that_lm_eval_words(bench: Bench) -> None:
    bench.bench(sums="lm_eval: sums")
    bench.local("base", "decoding: {max_tokens: 4}\nprice: {input_per_million: 1, output_per_million: 1}\n")
    found = json.loads(bench.run("plan", "base.yaml", "--json").out)
    stage = found["sides"][0]["stages"][0]
    assert (stage["calls"], stage["input_tokens"], stage["usd"]) == (18, None, None)
    assert "unknown before a first run" in found["sides"][0]["tokens_from"]


def test_every_task_that_is_not_there_is_named_with_its_line(bench: Bench) -> None:
    bench.bench(sums="lm_eval: sms", letters="lm_eval: leters")
    told = bench.run("run", "base.yaml", check=2).err
    assert "suite.yaml:4: lm-eval has no task 'sms'; did you mean sums" in told
    assert "suite.yaml:6: lm-eval has no task 'leters'; did you mean letters" in told


# --- a server ------------------------------------------------------------------------------------------------------


def test_a_server_of_the_same_model_gives_the_same_values(bench: Bench, server: ModelServerHandle) -> None:
    bench.bench(sums="lm_eval: sums", letters="lm_eval: letters")
    bench.served("srv", server)
    bench.run("run", "base.yaml", check=0)
    bench.run("run", "srv.yaml", check=0)
    local, remote = bench.made("base"), bench.made("srv")
    for metric in ("sums/acc", "sums/acc_norm", "letters/exact_match", "letters/exact_match.loose"):
        assert values(local, metric) == values(remote, metric)
    for one, other in zip(bench.samples("base", "sums"), bench.samples("srv", "sums"), strict=True):
        assert one["arguments"] == other["arguments"]
        for (mine,), (theirs,) in zip(one["resps"], other["resps"], strict=True):
            assert mine[0] == pytest.approx(theirs[0], abs=1e-3) and mine[1] == theirs[1]
    assert remote.manifest["facts"]["calls"] == len(SUMS) * 3 + len(SUMS)
    outcome = remote.attempts["lm_eval:sums"]["0", 0].outcome
    assert isinstance(outcome, Response) and outcome.usage is not None and outcome.usage.input_tokens


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("off-by-one", "read from the position after its token"),
        ("no-logprobs", "no log-probabilities"),
        ("no-echo", "cannot be trusted with log-likelihoods"),
    ],
)
def test_a_server_whose_values_are_wrong_or_missing_is_refused(
    bench: Bench, server: ModelServerHandle, model: str, said: str
) -> None:
    bench.bench(sums="lm_eval: sums")
    bench.served("srv", server, model)
    done = bench.run("run", "srv.yaml", check=2)
    assert "cannot be trusted with log-likelihoods" in done.err and said in done.err


def test_a_provider_without_log_likelihoods_is_refused_before_any_call(bench: Bench) -> None:
    bench.bench(sums="lm_eval: sums")
    bench.write("talker.yaml", "name: talker\nsuite: ./suite.yaml\nprovider: python\ntarget: talker:say\n")
    bench.write("talker.py", "def say(messages):\n    return 'yes'\n")
    done = bench.run("run", "talker.yaml", check=2)
    assert "needs log-likelihoods, and provider 'python' gives none" in done.err


def test_a_call_that_fails_is_a_failed_case_and_never_a_wrong_answer(
    bench: Bench, server: ModelServerHandle
) -> None:
    bench.rows("tasks/sums.jsonl", [*SUMS, {**SUMS[0], "q": "REFUSE-ME"}])
    bench.bench(sums="lm_eval: sums", letters="lm_eval: letters")
    bench.served("srv", server)
    bench.run("run", "srv.yaml")
    run = bench.made("srv")
    for name in ("sums", "letters"):
        failed = run.attempts[f"lm_eval:{name}"][str(len(SUMS)), 0].outcome
        assert isinstance(failed, Failure) and failed.kind == "bad_request"
        assert len(bench.samples("srv", name)) == len(SUMS) * (2 if name == "letters" else 1)


def test_prompts_reach_a_chat_server_as_turns_after_the_candidates_system_prompt(
    bench: Bench, server: ModelServerHandle
) -> None:
    shots = "fewshot_split: test\nnum_fewshot: 1\n"
    bench.tasks(letters=task_file("letters", GEN, extra=shots))
    bench.bench(letters="lm_eval: letters, limit: 1")
    bench.served(
        "srv", server, extra="prompt: {system: Be brief.}\ndecoding: {temperature: 0.5, max_tokens: 99}\n"
    )
    bench.run("run", "srv.yaml", check=0)
    last = server.last()
    assert [m["role"] for m in last["messages"]] == ["system", "user", "assistant", "user"]
    assert last["messages"][0]["content"] == "Be brief."
    assert last["max_tokens"] == 12 and last["stop"] == ["\n"] and last["temperature"] == 0.5
    bench.bench(
        letters="lm_eval: letters, limit: 1, fewshot_as_multiturn: false, gen_kwargs: {max_gen_toks: 5}"
    )
    bench.run("run", "srv.yaml", check=0)
    last = server.last()
    assert [m["role"] for m in last["messages"]] == ["system", "user"] and last["max_tokens"] == 5


def test_a_system_prompt_that_is_a_template_is_refused(bench: Bench, server: ModelServerHandle) -> None:
    bench.bench(letters="lm_eval: letters")
    bench.served("srv", server, extra='prompt: {system: "You do {{ task }}."}\n')
    assert "is a template" in bench.run("run", "srv.yaml", check=2).err


# --- chat templates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["base", "srv", "plain"])
def test_a_doubled_chat_template_is_refused_naming_both_places(
    bench: Bench, server: ModelServerHandle, side: str
) -> None:
    wrapped = GEN.replace("{{q}}\\nAnswer:", "<|user|>{{q}}\\n<|assistant|>")
    bench.tasks(letters=task_file("letters", wrapped))
    bench.bench(letters="lm_eval: letters, limit: 2")
    bench.served("srv", server)
    bench.served("plain", server, extra="api: completions\n")
    done = bench.run("run", f"{side}.yaml")
    if side == "plain":  # a completions API puts nothing around a prompt
        assert done.code == 0
        return
    assert done.code == 2
    assert "chat template would be applied twice" in done.err and "hold '<|user|>' already" in done.err
    assert ("the tokenizer's own" if side == "base" else "the candidate's chat API") in done.err


def test_a_template_is_asked_for_where_there_is_none(
    bench: Bench, server: ModelServerHandle, models: Path
) -> None:
    bench.bench(sums="lm_eval: sums, apply_chat_template: true")
    bench.served("srv", server)
    assert "without its chat template" in bench.run("run", "srv.yaml", check=2).err
    save_llama(bench.root / "bare", template=None)
    bench.local("bare")
    assert "has no chat template" in bench.run("run", "bare.yaml", check=2).err


# --- parts, repeats ------------------------------------------------------------------------------------------------


def works(bench: Bench, task: LmEvalTask, candidate: str, wanted: list[tuple[str, int]]) -> list[Attempt]:
    """Run some (case, repeat) of a task against a local candidate, without an engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(bench.root)
        loaded = task.load("lm_eval:t")
        cases = {case.id: case for case in loaded.golden_set.cases}
        who = api.load_candidate(f"{candidate}.yaml")
        folder = bench.root / "logs" / "a" / "b"
        folder.mkdir(parents=True, exist_ok=True)
        kept: list[Attempt] = []

        def unasked(*_: object) -> Any:
            raise AssertionError("a local model is not asked through the engine")

        requests = [
            Request(golden_set="lm_eval:t", case=cases[i], repeat=k, messages=(), model=None, seed=7 + k)
            for i, k in wanted
        ]
        task.run(
            Work(
                candidate=who, task=loaded, requests=requests, folder=folder, ask=unasked, submit=unasked,
                keep=kept.append, note=lambda text: None,
            )
        )  # fmt: skip
    return kept


def test_part_of_the_cases_is_asked_with_the_examples_that_the_whole_has(bench: Bench) -> None:
    shots = "fewshot_split: test\nnum_fewshot: 2\n"
    bench.tasks(sums=task_file("sums", MC, extra=shots))
    bench.bench(sums="lm_eval: sums")
    task = LmEvalTask("sums", include_path=str(bench.root / "tasks"), only_local=True)
    whole = {
        a.case_id: a.outcome for a in works(bench, task, "base", [(str(i), 0) for i in range(len(SUMS))])
    }
    parts = {a.case_id: a.outcome for a in works(bench, task, "base", [("13", 0), ("4", 0)])}
    rows = [
        json.loads(line) for line in (bench.root / "logs/a/b/samples_sums.jsonl").read_text().splitlines()
    ]
    again = [
        json.loads(line) for line in (bench.root / "logs/a/b/samples_sums_2.jsonl").read_text().splitlines()
    ]
    prompts = {row["doc_id"]: row["prompt_hash"] for row in rows}
    assert {row["doc_id"]: row["prompt_hash"] for row in again} == {4: prompts[4], 13: prompts[13]}
    for case_id, outcome in parts.items():
        mine, theirs = outcome, whole[case_id]
        assert isinstance(mine, Response) and isinstance(theirs, Response)
        assert mine.scores == theirs.scores and mine.text == theirs.text


def test_a_comparison_in_looks_keeps_the_logs_of_each_look(bench: Bench) -> None:
    bench.bench(sums="lm_eval: sums")
    bench.local("same", model="base")
    suite = (bench.root / "suite.yaml").read_text()
    bench.write("suite.yaml", suite + "sampling: {initial: 10, looks: 2}\n")
    bench.run("compare", "base.yaml", "same.yaml", check=0)
    run = bench.made("base")
    assert len(values(run, "sums/acc")) == len(SUMS)
    logs = run.manifest["facts"]["benchmarks"]["sums"]["logs"]
    assert [log for log in logs if "samples_sums" in log] == [
        "benchmarks/sums/samples_sums.jsonl",
        "benchmarks/sums/samples_sums_2.jsonl",
    ]


def test_repeats_are_copies_where_nothing_is_drawn_and_have_seeds_where_it_is(bench: Bench) -> None:
    bench.bench(letters="lm_eval: letters")
    task = LmEvalTask("letters", include_path=str(bench.root / "tasks"), only_local=True)
    wanted = [(str(i), k) for k in range(3) for i in range(4)]
    greedy = works(bench, task, "base", wanted)
    assert len(greedy) == 12 and sum(a.cached for a in greedy) == 8
    bench.local("warm", "decoding: {temperature: 1.5}\n", model="base")
    drawn = works(bench, task, "warm", wanted)
    texts = {(a.case_id, a.repeat): a.outcome.text for a in drawn if isinstance(a.outcome, Response)}
    assert len(drawn) == 12 and not any(a.cached for a in drawn)
    assert len({texts["0", k] for k in range(3)}) == 3
    same = {(a.case_id, a.repeat): a.outcome.text for a in works(bench, task, "warm", wanted)}  # type: ignore[union-attr]
    assert same == texts


def test_a_candidates_decoding_draws_and_the_task_ends_an_answer() -> None:
    task = {"until": ["\n"], "max_gen_toks": 40, "do_sample": False, "temperature": 0.0}
    assert merged(task, {}, {}) == {
        "until": ["\n"],
        "max_gen_toks": 40,
        "do_sample": False,
        "temperature": 0.0,
    }
    warm = merged(task, {"temperature": 0.7, "top_p": 0.9, "max_tokens": 5, "stop": "END", "seed": 3}, {})
    assert warm == {
        "until": ["\n", "END"], "max_gen_toks": 40, "do_sample": True, "temperature": 0.7, "top_p": 0.9,
    }  # fmt: skip
    assert merged({"until": "Q:"}, {"max_tokens": 5}, {})["max_gen_toks"] == 5
    assert merged({"until": "Q:"}, {}, {}) == {
        "until": ["Q:"], "max_gen_toks": 256, "do_sample": False, "temperature": 0.0,
    }  # fmt: skip
    firm = {"temperature": 0.2}
    assert merged({**task, **firm, "do_sample": True}, {"temperature": 0.9}, firm)["temperature"] == 0.2
    assert merged({**task, "temperature": None}, {}, {"temperature": None})["temperature"] is None


# --- odd values ----------------------------------------------------------------------------------------------------


def test_nan_and_scoring_that_breaks_are_unscored_and_sums_of_the_whole_set_are_left_out(
    bench: Bench,
) -> None:
    bench.write(
        "tasks/odd.py",
        "def results(doc, results):\n"
        "    if '1 plus 2' in doc['q']:\n        raise ValueError('no such luck')\n"
        "    nan = float('nan') if '1 plus 1' in doc['q'] else 0.5\n"
        "    return {'acc': nan, 'parts': [1, 2], 'wide': 40.0, 'own': 3.0}\n"
        "def added(items):\n    return 1.0\n",
    )
    bench.tasks(
        odd=task_file(
            "odd",
            "output_type: generate_until\ndoc_to_text: q\ndoc_to_target: letter\n"
            "process_results: !function odd.results\n"
            "generation_kwargs: {until: [x], max_gen_toks: 2}\nmetric_list:\n"
            "  - {metric: acc, aggregation: mean, higher_is_better: true}\n"
            "  - {metric: wide, aggregation: mean, higher_is_better: true}\n"
            "  - {metric: parts, aggregation: !function odd.added, higher_is_better: true}\n"
            "  - {metric: own, aggregation: !function odd.added, higher_is_better: false}\n",
        )
    )
    task = LmEvalTask("odd", include_path=str(bench.root / "tasks"), only_local=True, trust_code=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(bench.root)
        loaded = task.load("lm_eval:odd")
    assert [(m.scorer.id, bool(m.advisory)) for m in loaded.metrics] == [
        ("acc", False),
        ("wide", True),
        ("own", True),
    ]
    assert any("left out parts" in text for text in loaded.warnings)
    bench.bench(odd="lm_eval: odd, trust_code: true")
    bench.run("run", "base.yaml")
    scores = bench.made("base").scores["odd/acc"]
    nan, broken, fine = scores["0", 0], scores["1", 0], scores["5", 0]
    assert isinstance(nan, Unscored) and nan.reason == "lm-eval gave NaN"
    assert isinstance(broken, Unscored) and "no such luck" in broken.reason
    assert fine == Scored(0.5)


# --- what cannot be run --------------------------------------------------------------------------------------------


def load(bench: Bench, task: str, **params: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(bench.root)
        given = {"include_path": str(bench.root / "tasks"), "only_local": True, **params}
        return LmEvalTask(task, **given).load("lm_eval:x")


def test_an_unknown_task_names_the_nearest_and_files_that_could_not_be_read(bench: Bench) -> None:
    bench.write("tasks/broken.yaml", "task: [unclosed\n")
    with pytest.raises(UsageError, match=r"no task 'sum'.*broken\.yaml cannot be read.*did you mean sums\?"):
        load(bench, "sum")


def test_lm_evals_own_tasks_are_known_by_name(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"no task 'mmlu_prooo'; did you mean mmlu_pro"):
        load(bench, "mmlu_prooo", only_local=False, include_path=None)


def test_tasks_that_run_what_the_model_writes_are_refused_before_they_are_loaded(bench: Bench) -> None:
    with pytest.raises(UsageError, match="'humaneval' runs what the model writes, without a sandbox"):
        load(bench, "humaneval", only_local=False, include_path=None)


def test_data_that_cannot_be_had_offline_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UsageError, match=r"the data of lm-eval task 'wikitext' \(EleutherAI/wikitext_document"
    ) as error:
        load(bench, "wikitext", only_local=False, include_path=None)
    assert "HF_HOME" in str(error.value) and "include_path" in str(error.value)
    bench.tasks(lost=task_file("lost", MC, "./tasks/gone.jsonl"))
    with pytest.raises(UsageError, match=r"the data of lm-eval task 'lost'.*gone\.jsonl"):
        load(bench, "lost")


def test_splits(bench: Bench) -> None:
    bench.tasks(held=task_file("held", MC, split="validation"), none=task_file("none", MC, split="training"))
    assert load(bench, "held").warnings == ("held has no test split: lm-eval asks the validation split",)
    with pytest.raises(UsageError, match="neither a test nor a validation split"):
        load(bench, "none")
    bench.tasks(other=task_file("other", MC).replace("test_split: test", "test_split: exam"))
    with pytest.raises(UsageError, match="'exam'"):
        load(bench, "other")
    bench.rows("tasks/empty.jsonl", [])
    bench.tasks(empty=task_file("empty", MC, "./tasks/empty.jsonl"))
    with pytest.raises(UsageError):
        load(bench, "empty")


def test_a_group_without_a_metric_in_common_is_refused(bench: Bench) -> None:
    bench.tasks(mixed="group: mixed\ntask: [sums, letters]\n")
    with pytest.raises(UsageError, match="share none: sums has acc and acc_norm; letters has exact_match"):
        load(bench, "mixed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("process_docs: !function utils.docs\n", "names code"),
        ("custom_dataset: x\n", "runs code of the task's own"),
        (
            "metric_list: [{metric: ./mine, aggregation: mean, higher_is_better: true}]\n",
            "no metric of lm-eval's own",
        ),
        ("metric_list: [{metric: acc, hf_evaluate: true}]\n", "fetches a metric as code"),
        ("dataset_path: pandas\n", "not plain data"),
        ("dataset_kwargs: {data_files: {test: /etc/passwd}}\n", "leads out of the folder"),
        ("dataset_kwargs: {data_files: {test: ../../x.jsonl}}\n", "leads out of the folder"),
        ("dataset_kwargs: {trust_remote_code: true}\n", "runs code of a data set"),
        ("include: ../outside.yaml\n", "included from outside"),
    ],
)
def test_a_task_file_is_data(bench: Bench, change: str, said: str) -> None:
    bench.write("tasks/utils.py", "raise SystemExit('it ran')\n")
    bench.write("outside.yaml", "num_fewshot: 0\n")
    bench.tasks(bad=task_file("bad", MC, extra=change))
    with pytest.raises(SpecError, match=said) as error:
        load(bench, "bad")
    (problem,) = error.value.problems
    assert problem.file is not None and problem.hint is not None and "trust_code" in problem.hint


def test_a_group_does_not_hide_code_of_its_members(bench: Bench) -> None:
    bench.tasks(
        bad=task_file("bad", MC, extra="process_docs: !function utils.docs\n"),
        all="group: all\ntask: [bad]\n",
    )
    with pytest.raises(SpecError, match=r"bad\.yaml:\d+: `!function` names code"):
        load(bench, "all")


def test_templates_of_tasks_run_in_the_sandbox(bench: Bench) -> None:
    escape = MC.replace("{{q}}", "{{ ''.__class__.__mro__[1].__subclasses__() }}")
    bench.tasks(sly=task_file("sly", escape))
    with pytest.raises(UsageError, match="unsafe"):
        load(bench, "sly")


def test_a_task_file_can_be_named_itself(bench: Bench) -> None:
    bench.write(
        "suite.yaml",
        "name: bench\nevals:\n  - id: sums\n    benchmark: {lm_eval: ./tasks/sums.yaml, limit: 0.5}\n"
        "gate: {max_drop: 2pp}\n",
    )
    bench.run("run", "base.yaml", check=0)
    assert len(values(bench.made("base"), "sums/acc")) == len(SUMS) // 2


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": True}, "limit"),
        ({"num_fewshot": -1}, "num_fewshot"),
        ({"num_fewshot": 2.0}, "num_fewshot"),
        ({"apply_chat_template": "yes"}, "apply_chat_template"),
        ({"gen_kwargs": "temperature=1"}, "gen_kwargs"),
        ({"gen_kwargs": {"temperature": "hot"}}, "temperature"),
        ({"only_local": True}, "include_path"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_settings_are_checked_before_anything_is_loaded(params: Mapping[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        LmEvalTask("sums", **params)


def test_without_the_library_one_line_says_how_to_get_it(bench: Bench) -> None:
    bench.bench(sums="lm_eval: sums")
    code = (
        "import sys\nsys.modules['lm_eval'] = None\n"
        "from evalharness.benchmarks.lm_eval_task import LmEvalTask\n"
        "from evalharness.errors import MissingExtraError\n"
        "assert not {'torch', 'datasets', 'numpy'} & sys.modules.keys()\n"
        "try:\n    LmEvalTask('sums', limit=3).load('x')\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.stdout == (
        "lm_eval is not installed; needed to run lm-eval's tasks: pip install 'evalharness[benchmarks]'\n"
    ), done.stderr


def test_a_task_that_needs_another_library_names_it(bench: Bench) -> None:
    bench.write("tasks/needy.py", "import no_such_library_at_all\ndef docs(d):\n    return d\n")
    bench.tasks(needy=task_file("needy", MC, extra="process_docs: !function needy.docs\n"))
    with pytest.raises(MissingExtraError, match="needs the library no_such_library_at_all"):
        load(bench, "needy", trust_code=True)
