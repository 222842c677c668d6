"""Reading an Inspect log of 10,000 samples, and Inspect's own reader on the same file where it is installed.

python benchmarks/read_eval_log.py
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from measure import report

MODEL = "mockllm/model"
USAGE = {"input_tokens": 210, "output_tokens": 64, "total_tokens": 274}
TIME = "2026-01-01T00:00:00+00:00"
WORDS = "The parcel left the depot on Monday and was handed over on Wednesday morning. "


def sample(number: int) -> dict[str, Any]:
    """One sample as `inspect eval` logs it: a question of about 800 characters, an answer of 400, six events."""
    question = f"Question {number}: " + WORDS * 10
    answer = f"Answer {number}: " + WORDS * 5
    asked = {"id": f"u{number}", "content": question, "source": "input", "role": "user"}
    told = {"id": f"a{number}", "content": answer, "source": "generate", "role": "assistant", "model": MODEL}
    choice = {"message": told, "stop_reason": "stop"}
    output = {"model": MODEL, "choices": [choice], "completion": answer, "usage": USAGE, "time": 0.8}
    about = {"language": ("de", "en", "fr")[number % 3]}
    start = {"input": question, "target": "yes", "id": number, "metadata": about}
    state = {
        "messages": [asked], "tools": [], "tool_choice": None, "store": {}, "completed": False, "metadata": about,
        "output": {"model": MODEL, "choices": [], "completion": ""},
    }  # fmt: skip
    when = {"timestamp": TIME, "working_start": 1.0}
    span = {"id": f"s{number}", "type": "solver", "name": "generate", **when}
    events = [
        {"uuid": f"1-{number}", "event": "sample_init", "sample": start, "state": state, **when},
        {"uuid": f"2-{number}", "event": "span_begin", **span},
        {
            "uuid": f"3-{number}", "event": "model", "model": MODEL, "input": [asked], "tools": [],
            "tool_choice": "none", "config": {}, "output": output, "completed": TIME, "working_time": 0.8, **when,
            "call": {"request": {"model": "model", "messages": [asked]}, "response": {"content": answer}},
        },
        {"uuid": f"4-{number}", "event": "span_end", "id": f"s{number}", **when},
        {
            "uuid": f"5-{number}", "event": "score", "score": {"value": "C", "answer": answer[:40]}, "target": "yes",
            **when,
        },
    ]  # fmt: skip
    return {
        "id": number, "epoch": 1, "input": question, "target": "yes", "messages": [asked, told], "output": output,
        "scores": {
            "match": {"value": "C" if number % 4 else "I", "answer": answer[:40], "explanation": answer, "history": []},
            "similarity": {"value": number % 100 / 100, "history": []},
        },
        "metadata": about, "store": {}, "events": events, "model_usage": {MODEL: USAGE}, "role_usage": {},
        "started_at": TIME, "completed_at": TIME, "total_time": 0.9, "working_time": 0.8, "uuid": f"uuid-{number}",
        "attachments": {},
    }  # fmt: skip


def write_log(path: Path, n: int) -> None:
    """A log of n samples, each member compressed with Zstandard as Inspect does it, or deflated without it."""
    scorers = [
        {"name": name, "options": {}, "metrics": [], "metadata": {}} for name in ("match", "similarity")
    ]
    header = {
        "version": 2, "status": "success",
        "eval": {
            "eval_id": "e", "run_id": "r", "created": TIME, "task": "parcels", "task_id": "t", "task_version": 1,
            "task_attribs": {}, "task_args": {}, "model": MODEL, "model_generate_config": {}, "model_args": {},
            "dataset": {"name": "parcels", "samples": n, "sample_ids": list(range(1, n + 1)), "shuffled": False},
            "config": {"epochs": 1}, "packages": {"inspect_ai": "0.3.285"}, "scorers": scorers,
        },
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}, "params_passed": {}}], "config": {}},
        "results": {"total_samples": n, "completed_samples": n, "scores": []},
        "stats": {"started_at": TIME, "completed_at": TIME, "model_usage": {}},
    }  # fmt: skip
    method = zipfile.ZIP_DEFLATED
    if importlib.util.find_spec("zipfile_zstd") is not None:
        import zipfile_zstd  # teaches zipfile the method

        method = zipfile_zstd.ZIP_ZSTANDARD
    with zipfile.ZipFile(path, "w", method) as archive:
        for number in range(1, n + 1):
            archive.writestr(f"samples/{number}_epoch_1.json", json.dumps(sample(number)))
        archive.writestr("header.json", json.dumps(header))


def main() -> int:
    """Print the figures; 1 when one is over its limit."""
    options = argparse.ArgumentParser()
    options.add_argument("--samples", type=int, default=10_000)
    n = options.parse_args().samples
    from evalharness.readers.inspect_log import InspectLog

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "parcels.eval"
        write_log(path, n)
        print(f"a log of {n:,} samples, {path.stat().st_size / 1e6:.1f} MB")
        began = time.perf_counter()
        found = InspectLog().read(path).tasks["parcels"]
        own = time.perf_counter() - began
        assert len(found.attempts) == n and all(not attempt.failed for attempt in found.attempts.values())
        good = report(f"reading an Inspect log of {n:,} samples: wall", own, 15, "s")
        if importlib.util.find_spec("inspect_ai") is not None:
            from inspect_ai.log import read_eval_log

            began = time.perf_counter()
            count = len(read_eval_log(str(path)).samples or ())
            theirs = time.perf_counter() - began
            assert count == n
            print(f"      (inspect_ai's read_eval_log: {theirs:.1f} s, {theirs / own:.1f} times as long)")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
