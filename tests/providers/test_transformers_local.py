"""A model in this process: a tiny one with random weights, built here from its config."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from evalharness.core.attempts import Response
from evalharness.errors import UsageError
from evalharness.providers.transformers_local import Transformers
from tests.providers.support import ask, ask_all, candidate, failure, request

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' and m.content == 'refuse' %}"
    "{{ raise_exception('no system message') }}{% endif %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
QUESTIONS = ["a", "where is my parcel today", "refund", "the router is slow and the bill is wrong again"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama of 20,000 weights, sampling defaults that must not apply, and a byte tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<eos>", "<pad>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.4,
        eos_token_id=0,
        pad_token_id=1,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.update(do_sample=True, temperature=0.7, top_p=0.8, top_k=20)
    model.save_pretrained(folder)
    return folder


def local(folder: Path, **options: Any) -> Transformers:
    return Transformers(candidate("transformers", "tiny", model_path=str(folder), device="cpu", **options))


def texts(results: list[Response | BaseException]) -> list[str]:
    assert all(isinstance(r, Response) for r in results), results
    return [r.text for r in results if isinstance(r, Response)]


def test_greedy_answers_are_those_of_generate(tiny: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = LlamaForCausalLM.from_pretrained(tiny)
    ids = tokenizer("<system>be kind\n<user>refund\n<assistant>", return_tensors="pt")["input_ids"]
    for _ in range(12):
        ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        if ids[0, -1] == 0:
            break
    prompt = len("<system>be kind\n<user>refund\n<assistant>")
    expected = tokenizer.decode(ids[0, prompt:], skip_special_tokens=True)

    response = ask(local(tiny), request("refund", system="be kind", max_tokens=12))
    assert response.text == expected
    assert response.model == "tiny"
    assert response.usage is not None
    assert response.usage.input_tokens == prompt
    assert response.usage.output_tokens == ids.shape[1] - prompt
    assert response.finish_reason == ("stop" if ids[0, -1] == 0 else "length")
    assert response.latency_ms is not None


def test_batched_greedy_equals_one_at_a_time(tiny: Path) -> None:
    requests = [request(q, max_tokens=24, temperature=0, seed=i) for i, q in enumerate(QUESTIONS * 3)]
    together = ask_all(local(tiny, batch_size=5), requests)
    alone = ask_all(local(tiny, batch_size=1), requests)
    assert texts(together) == texts(alone)
    assert len(set(texts(alone))) == len(QUESTIONS)
    for a, b in zip(together, alone, strict=True):
        assert isinstance(a, Response)
        assert isinstance(b, Response)
        assert (a.usage, a.finish_reason) == (b.usage, b.finish_reason)


def test_a_seed_decides_a_sampled_answer_whatever_else_is_asked(tiny: Path) -> None:
    import torch

    state = torch.random.get_rng_state()
    provider = local(tiny)
    one = request("refund", temperature=1.5, max_tokens=16, seed=11)
    alone = ask(provider, one).text
    others = [request(q, temperature=1.5, max_tokens=16, seed=i) for i, q in enumerate(QUESTIONS)]
    among = texts(
        ask_all(provider, [*others, one, request("refund", temperature=1.5, max_tokens=16, seed=12)])
    )
    assert among[len(others)] == alone
    assert among[-1] != alone
    assert torch.equal(state, torch.random.get_rng_state())


def test_unseeded_samples_differ(tiny: Path) -> None:
    results = ask_all(local(tiny), [request("refund", temperature=2.0, max_tokens=16) for _ in range(6)])
    assert len(set(texts(results))) > 1


def test_stop_texts_end_and_are_cut_from_the_answer(tiny: Path) -> None:
    provider = local(tiny)
    whole = ask(provider, request("refund", max_tokens=20))
    stop = whole.text[4]
    requests = [request(q, max_tokens=20, stop=[stop, "\x00never"]) for q in QUESTIONS]
    results = ask_all(provider, [request("refund", max_tokens=20, stop=[stop]), *requests])
    cut = results[0]
    assert isinstance(cut, Response)
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.usage is not None
    assert whole.usage is not None
    assert cut.usage.output_tokens is not None
    assert whole.usage.output_tokens is not None
    assert cut.usage.output_tokens < whole.usage.output_tokens
    assert all(stop not in text for text in texts(results))


def test_an_adapter_changes_the_answers(tiny: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    import torch
    from transformers import LlamaForCausalLM

    base = LlamaForCausalLM.from_pretrained(tiny)
    torch.manual_seed(1)
    lora = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # peft's own, about transformers
        peft.get_peft_model(base, lora).save_pretrained(tmp_path / "adapter")
    plain = ask(local(tiny), request("refund", max_tokens=16)).text
    adapted = ask(local(tiny, adapter=str(tmp_path / "adapter")), request("refund", max_tokens=16)).text
    assert adapted != plain

    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    assert "has no adapter_model.safetensors" in opening(local(tiny, adapter=str(tmp_path / "adapter")))


def test_prompts_that_do_not_fit_or_are_refused_fail_alone(tiny: Path) -> None:
    requests = [
        request("refund", max_tokens=8),
        request("x" * 300, max_tokens=8),
        request("refund", system="refuse", max_tokens=8),
        request("refund", max_tokens=8),
    ]
    first, long, refused, last = ask_all(local(tiny), requests)
    assert texts([first]) == texts([last])
    assert "exceed the model's 256" in str(long)
    assert getattr(long, "kind", None) == "bad_request"
    assert "the chat template refuses the messages: no system message" in str(refused)
    assert getattr(refused, "kind", None) == "bad_request"


def test_the_deadline_ends_a_generation(tiny: Path) -> None:
    error = failure(local(tiny), request("refund", max_tokens=200, stop=["\x00never"]), timeout_s=0.0)
    assert (error.kind, error.retryable) == ("timeout", True)


def test_a_model_without_a_chat_template_gets_the_texts(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    LlamaForCausalLM.from_pretrained(tiny).save_pretrained(tmp_path)
    response = ask(local(tmp_path), request("refund", system="be kind", max_tokens=4))
    assert response.usage is not None
    assert response.usage.input_tokens == len("be kind\n\nrefund")
    assert "tiny has no chat template" in caplog.text


def test_nothing_is_written_to_the_terminal(tiny: Path) -> None:
    source = f"""
        from evalharness.providers.transformers_local import Transformers
        from tests.providers.support import ask_all, candidate, request
        provider = Transformers(candidate("transformers", "tiny", model_path={str(tiny)!r}, device="cpu"))
        requests = [request(q, max_tokens=8, temperature=t, seed=1) for q in ("a", "bb") for t in (0, 1.0)]
        ask_all(provider, requests)
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def opening(provider: Transformers) -> str:
    with pytest.raises(UsageError) as caught:
        asyncio.run(provider.open())
    return str(caught.value)


def test_models_that_cannot_be_loaded_say_what_to_do(tiny: Path, tmp_path: Path) -> None:
    assert "there is no model folder" in opening(local(tmp_path / "nothing"))
    assert "there is no adapter folder" in opening(local(tiny, adapter=str(tmp_path / "nothing")))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "a folder needs config.json, tokenizer files and model.safetensors" in opening(local(empty))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for file in tiny.iterdir():
        name = "pytorch_model.bin" if file.name == "model.safetensors" else file.name
        (pickled / name).write_bytes(file.read_bytes())
    assert "cannot load model 'tiny'" in opening(local(pickled))
    penalty = dataclasses.replace(candidate("transformers", "tiny"), decoding={"presence_penalty": 1.0})
    assert "does not support presence_penalty" in opening(Transformers(penalty))
