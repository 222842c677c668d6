"""`benchmark: {lm_eval: TASK}`: tasks of the Language Model Evaluation Harness, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any, ClassVar, Final

from evalharness.benchmarks._lm_eval_asking import Asking
from evalharness.benchmarks._lm_eval_calm import calm, library
from evalharness.benchmarks._lm_eval_cases import Loaded, loaded
from evalharness.benchmarks._lm_eval_local import LocalModels
from evalharness.benchmarks._lm_eval_tasks import Wanted, find
from evalharness.core.benchmarks import Task, Work
from evalharness.errors import UsageError

SEED: Final = 1234
"""lm-eval's own for few-shot examples."""
_HELD: Final = 16
_LOG: Final = "lm_eval.log"
_LOADED: dict[str, Loaded] = {}
"""Tasks between being loaded and being run: loading takes long, and both sides are asked the same."""
_MODELS: Final = LocalModels()


class LmEvalTask:
    """A task, or a group of tasks, of lm-eval.

    A candidate of provider `transformers` is asked by lm-eval's own class for local models; every other candidate
    through the engine. Log-likelihoods are the same whenever they are asked, so repeats of them are copies.

    Args:
        task: a task, group or tag by name, or a task's YAML file.
        limit: cases of each task: how many (from 1), or their share (below 1). Default: all.
        num_fewshot: examples in the prompt. Default: the task's own.
        include_path: a folder of task files beside lm-eval's own.
        only_local: do not look among lm-eval's own tasks.
        trust_code: task files of the user's may run code (`!function`), load metrics as code and read other files.
        apply_chat_template: prompts as chats. Default: answers are asked as a chat where the candidate has a chat
            template or a chat API; log-likelihoods are asked of plain text.
        fewshot_as_multiturn: in a chat, examples are turns of their own. Default: yes.
        gen_kwargs: generation settings that hold before the task's and the candidate's.
        seed: draws few-shot examples.
    """

    name: ClassVar[str] = "lm_eval"
    version: ClassVar[str] = "1"
    paths: ClassVar[tuple[str, ...]] = ("include_path",)

    def __init__(
        self,
        task: str,
        limit: int | float | None = None,
        num_fewshot: int | None = None,
        include_path: str | None = None,
        only_local: bool = False,
        trust_code: bool = False,
        apply_chat_template: bool | None = None,
        fewshot_as_multiturn: bool | None = None,
        gen_kwargs: Mapping[str, Any] | None = None,
        seed: int = SEED,
    ) -> None:
        # Parameters come from YAML, so their types are not to be trusted.
        flags: dict[str, object] = {
            "only_local": only_local,
            "trust_code": trust_code,
            "apply_chat_template": bool(apply_chat_template)
            if apply_chat_template is None
            else apply_chat_template,
            "fewshot_as_multiturn": fewshot_as_multiturn is None or fewshot_as_multiturn,
        }
        for key, flag in flags.items():
            if not isinstance(flag, bool):
                raise TypeError(f"{key} must be true or false, not {flag!r}")
        _check_number("limit", limit, least=0)
        if limit == 0 or (isinstance(limit, float) and not 0 < limit < 1):
            raise ValueError(f"limit must be a count from 1 or a share between 0 and 1, not {limit!r}")
        _check_number("num_fewshot", num_fewshot, least=0, whole=True)
        _check_number("seed", seed, least=0, whole=True)
        if include_path is not None and not isinstance(include_path, str):
            raise TypeError("include_path must be a path")
        if only_local and include_path is None and not task.endswith((".yaml", ".yml")):
            raise ValueError("only_local needs include_path, the folder of the task's file")
        self._chat = apply_chat_template
        self._multiturn = fewshot_as_multiturn is not False
        self._gen_kwargs = _settings(gen_kwargs)
        self._wanted = Wanted(
            task=task,
            limit=limit,
            num_fewshot=num_fewshot,
            include_path=include_path,
            only_local=only_local,
            trust_code=trust_code,
            gen_kwargs=self._gen_kwargs,
            seed=seed,
        )

    def load(self, name: str) -> Task:
        """The task's cases and metrics; its golden set is called `name`.

        Raises:
            UsageError: there is no such task, it has no cases, or its data cannot be had.
            SpecError: a task file would run code and may not.
            MissingExtraError: lm-eval, or a library the task needs, is not installed.
        """
        library()
        with calm():
            found = loaded(self._wanted, find(self._wanted), name)
        while len(_LOADED) >= _HELD:
            del _LOADED[next(iter(_LOADED))]
        _LOADED[self._wanted.key] = found
        return found.task

    def run(self, work: Work) -> Mapping[str, Any]:
        """Answer and score `work.requests`.

        Raises:
            UsageError: the candidate does not suit the task. ProviderError, BudgetError: of the engine.
        """
        library()
        found = self._loaded(work)
        log = work.folder / _LOG
        asking = Asking(
            work=work,
            found=found,
            chat=self._chat,
            multiturn=self._multiturn,
            gen_kwargs=self._gen_kwargs,
        )
        with calm():
            model = _MODELS.get(work.candidate) if work.candidate.provider == "transformers" else None
        with calm(log) as counted:
            try:
                if model is not None:
                    asking.local(model)
                else:
                    asking.engine()
            finally:
                facts = self._facts(found, asking)
                asking.scoring.write(work.folder, facts)
        if not log.stat().st_size:
            log.unlink()
        if counted.count:
            work.note(f"lm-eval warned {counted.count} times: see {log.name} in the run folder")
        base = work.folder.parents[1]
        # also those of earlier parts of this run: a comparison in looks asks a few cases at a time
        files = [path for path in sorted(work.folder.iterdir()) if path.suffix in (".jsonl", ".json", ".log")]
        return {**facts, "logs": [path.relative_to(base).as_posix() for path in files]}

    def _loaded(self, work: Work) -> Loaded:
        """The task that `load` gave, made again where it is no longer held.

        Raises:
            UsageError: it has changed since.
        """
        digest, name = work.task.golden_set.digest, work.task.golden_set.name
        held = _LOADED.get(self._wanted.key)
        if held is None or held.task.golden_set.digest != digest:
            self.load(name)
            held = _LOADED[self._wanted.key]
        if held.task.golden_set.digest != digest:
            raise UsageError(
                f"lm-eval task {self._wanted.shown!r} has changed since its cases were read; run again"
            )
        return held

    def _facts(self, found: Loaded, asking: Asking) -> dict[str, Any]:
        tasks = found.found.tasks
        return {
            "lm_eval": metadata.version("lm_eval"),
            "datasets": metadata.version("datasets"),
            "tasks": {name: str(getattr(task, "VERSION", None)) for name, task in tasks.items()},
            "num_fewshot": {name: task.get_config("num_fewshot") for name, task in tasks.items()},
            "limit": self._wanted.limit,
            "seed": self._wanted.seed,
            "gen_kwargs": self._gen_kwargs,
            "model": asking.work.candidate.model,
            "asked_by": "lm-eval's HFLM"
            if asking.work.candidate.provider == "transformers"
            else "the engine",
            "apply_chat_template": asking.templated,
            "fewshot_as_multiturn": self._multiturn,
            "system_instruction": asking.work.candidate.prompt.system,
        }


def _check_number(name: str, value: object, *, least: int, whole: bool = False) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise TypeError(f"{name} must be a {'whole number' if whole else 'number'}, not {value!r}")
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")


def _settings(gen_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    if gen_kwargs is None:
        return {}
    settings: object = gen_kwargs  # of YAML
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        raise TypeError("gen_kwargs must be settings by name, for example {max_gen_toks: 512}")
    for key, value in gen_kwargs.items():
        texts = value if isinstance(value, list) else [value]
        if not all(item is None or isinstance(item, str | int | float) for item in texts):
            raise TypeError(f"gen_kwargs: {key} must be a number or a text, not {value!r}")
    temperature = gen_kwargs.get("temperature")
    if isinstance(temperature, str | bool) or (temperature is not None and temperature < 0):
        raise ValueError(f"gen_kwargs: temperature must be a number from 0, not {temperature!r}")
    return dict(gen_kwargs)
