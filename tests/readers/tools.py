"""Result files that the tools themselves write, each tool run once in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

QUESTIONS = 100
"""Cases of the task that both sides of a tool answer."""
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "INSPECT_LOG_LEVEL": "error",
    "TOKENIZERS_PARALLELISM": "false",
}

INSPECT = """
import sys
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, match, mean, scorer
from inspect_ai.solver import generate

folder, n = sys.argv[1], int(sys.argv[2])

@scorer(metrics=[mean()])
def length():
    async def score(state, target):
        return Score(value=len(state.output.completion))
    return score

@scorer(metrics={"kind": [mean()], "exact": [mean()]})
def parts():
    async def score(state, target):
        missing = state.sample_id == 2
        return Score(value={"kind": "P", "exact": float("nan") if missing else 0.25})
    return score

def answering(right, fails=()):
    def answer(messages, tools, tool_choice, config):
        number = int(messages[-1].text.split()[-1])
        if number in fails:
            raise RuntimeError("the endpoint is down")
        output = ModelOutput.from_content("mockllm/model", f"{number if right(number) else 'unknown'}")
        output.usage = ModelUsage(input_tokens=7, output_tokens=2, total_tokens=9)
        return output
    return get_model("mockllm/model", custom_outputs=answer)

def sums(count, version=1, name="sums", **more):
    samples = [
        Sample(
            id=i, input=f"Say {i}" if i % 2 else [ChatMessageUser(content=f"Say {i}")], target=str(i),
            metadata={"parity": "odd" if i % 2 else "even", "note": f"{i}" * 60, "number": i},
        )
        for i in range(1, count + 1)
    ]
    data = MemoryDataset(samples, name="numbers")
    return Task(name=name, version=version, dataset=data, solver=generate(), scorer=[match(), length()], **more)

def run(name, task, model, **more):
    log = eval(task, model=model, log_dir=f"{folder}/{name}", display="none", **more)[0]
    print(name, log.status, flush=True)

good, worse = (lambda i: i % 5 != 0), (lambda i: i % 5 != 0 and i % 6 != 0)
run("base", sums(n), answering(good))
run("candidate", sums(n), answering(worse))
run("epochs", sums(6, epochs=2, fail_on_error=False), answering(good, fails=(3,)))
run("json", sums(6), answering(good), log_format="json")
run("broken", sums(12), answering(good, fails=(5,)), max_samples=1)
run("version", sums(6, version=2), answering(good))
run("short", sums(n), answering(good), limit=60)
kinds = Task(name="kinds", dataset=MemoryDataset([Sample(id=i, input=f"Say {i}", target=str(i)) for i in (1, 2)]),
             solver=generate(), scorer=[parts()])
run("kinds", kinds, answering(good))
"""

LM_EVAL = '''
import json, sys
from pathlib import Path
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

folder, n = Path(sys.argv[1]), int(sys.argv[2])
rows = [{"q": f"Say {i}", "choices": ["x", str(i), "z"], "gold": 1, "text": "a word " * (i % 7 + 1)} for i in range(n)]
(folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))

def task(name, text):
    source = f"dataset_path: json\\ndataset_kwargs: {{data_files: {{test: {folder}/rows.jsonl}}}}\\ntest_split: test\\n"
    (folder / f"{name}.yaml").write_text(f"task: {name}\\n{source}{text}metadata: {{version: 1.0}}\\n")

task("choices", """output_type: multiple_choice
doc_to_text: '{{q}}'
doc_to_choice: '{{choices}}'
doc_to_target: '{{gold}}'
metric_list: [{metric: acc}, {metric: acc_norm}]
""")
task("texts", """output_type: generate_until
doc_to_text: '{{q}}'
doc_to_target: '{{choices[gold]}}'
metric_list: [{metric: exact_match}]
filter_list:
  - {name: strict, filter: [{function: take_first}]}
  - {name: loose, filter: [{function: regex, regex_pattern: '(\\\\d+)'}, {function: take_first}]}
generation_kwargs: {until: ["\\\\n"]}
""")
task("documents", """output_type: loglikelihood_rolling
doc_to_text: ''
doc_to_target: '{{text}}'
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
""")

class Known(LM):
    """Right where `right` says so; its likelihoods are words times `nats`."""

    def __init__(self, right, nats):
        super().__init__()
        self.right, self.nats = right, nats

    def loglikelihood(self, requests):
        found = []
        for request in requests:
            asked, choice = request.args
            number = int(asked.split()[-1])
            known = choice.strip() == str(number)
            found.append((0.0 if known == self.right(number) else -1.0, False))
        return found

    def generate_until(self, requests):
        numbers = [int(request.args[0].split()[-1]) for request in requests]
        return [f"it is {i}" if self.right(i) else "unknown" for i in numbers]

    def loglikelihood_rolling(self, requests):
        return [-self.nats * len(request.args[0].split()) for request in requests]

manager = TaskManager(include_path=str(folder), include_defaults=False)
for name, model in {
    "base": Known(lambda i: i % 5 != 0, 2.0),
    "candidate": Known(lambda i: i % 5 != 0 and i % 6 != 0, 2.1),
}.items():
    done = simple_evaluate(model=model, tasks=["choices", "texts", "documents"], task_manager=manager, log_samples=True,
                           bootstrap_iters=0)
    samples = done.pop("samples")
    tracker = EvaluationTracker(output_path=str(folder / name))
    tracker.general_config_tracker.model_name_sanitized = "known"
    tracker.save_results_aggregated(results=done, samples=samples)
    for one in done["configs"]:
        tracker.save_results_samples(task_name=one, samples=samples[one])
'''


def _run(script: str, folder: Path) -> Path:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(folder), str(QUESTIONS)],
        cwd=folder, capture_output=True, text=True, timeout=240, env={**os.environ, **_ENVIRONMENT},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@cache
def inspect_logs(base: Path) -> Path:
    """A folder with a folder for each log of Inspect: base, candidate, epochs, json, broken, version, short, kinds."""
    return _run(INSPECT, base / "inspect-logs")


@cache
def lm_eval_samples(base: Path) -> Path:
    """A folder with `base/known` and `candidate/known`, each with three tasks' samples and their results."""
    return _run(LM_EVAL, base / "lm-eval-samples")


def log_of(folder: Path, name: str) -> Path:
    """The one log of that name."""
    (found,) = (folder / name).iterdir()
    return found
