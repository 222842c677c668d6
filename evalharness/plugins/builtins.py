"""Names of what ships, as "module:attribute" strings: listing them imports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

BUILTINS: Final[Mapping[str, Mapping[str, str]]] = {
    "scorers": {
        "accuracy": "evalharness.scorers.classification:Accuracy",
        "bleu": "evalharness.scorers.overlap:Bleu",
        "chrf": "evalharness.scorers.overlap:Chrf",
        "choice": "evalharness.scorers.choice:Choice",
        "contains": "evalharness.scorers.exact:Contains",
        "entity_f1": "evalharness.scorers.entities:EntityF1",
        "entity_macro_f1": "evalharness.scorers.entities:EntityMacroF1",
        "exact_match": "evalharness.scorers.exact:ExactMatch",
        "field_accuracy": "evalharness.scorers.structured:FieldAccuracy",
        "field_f1": "evalharness.scorers.structured:FieldF1",
        "hit_rate": "evalharness.scorers.retrieval:HitRate",
        "json_schema": "evalharness.scorers.structured:JsonSchema",
        "json_valid": "evalharness.scorers.structured:JsonValid",
        "label": "evalharness.scorers.choice:Label",
        "length": "evalharness.scorers.surface:Length",
        "macro_f1": "evalharness.scorers.classification:MacroF1",
        "map": "evalharness.scorers.retrieval:Map",
        "micro_f1": "evalharness.scorers.classification:MicroF1",
        "mrr": "evalharness.scorers.retrieval:Mrr",
        "ndcg": "evalharness.scorers.retrieval:Ndcg",
        "numeric": "evalharness.scorers.numeric:Numeric",
        "perplexity": "evalharness.scorers.perplexity:Perplexity",
        "precision": "evalharness.scorers.retrieval:Precision",
        "recall": "evalharness.scorers.retrieval:Recall",
        "recorded": "evalharness.scorers.recorded:Recorded",
        "refusal": "evalharness.scorers.surface:Refusal",
        "regex": "evalharness.scorers.exact:Regex",
        "rouge_l": "evalharness.scorers.overlap:RougeL",
    },
    "providers": {
        "anthropic": "evalharness.providers.anthropic:Anthropic",
        "ollama": "evalharness.providers.openai_compatible:Ollama",
        "openai": "evalharness.providers.openai_compatible:OpenAI",
        "python": "evalharness.providers.python_callable:PythonCallable",
        "replay": "evalharness.providers.replay:Replay",
        "transformers": "evalharness.providers.transformers_local:Transformers",
        "vllm": "evalharness.providers.openai_compatible:VLLM",
    },
    "judges": {},
    "benchmarks": {
        "inspect": "evalharness.benchmarks.inspect_task:InspectTask",
        "lm_eval": "evalharness.benchmarks.lm_eval_task:LmEvalTask",
    },
    "readers": {},
    "stages": {},
    "sources": {},
    "reporters": {},
}
