"""Projects whose answers are judged by the judges of the test server, through the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalharness.content import PathPolicy
from evalharness.core.judges import Calibration, Judge, Measured
from evalharness.judging.labels import labels_digest
from evalharness.plugins import default_registry
from evalharness.spec.calibration import write_calibration
from evalharness.spec.judges import load_judge
from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

PROMPTS = {
    "pairwise": "{% for c in criteria %}- {{ c.text }}\n{% endfor %}{{ rubric }}\n\n{{ input }}\n\n"
    "{{ first }}\n\n{{ second }}\n",
    "pointwise": "{% for c in criteria %}- {{ c.id }}: {{ c.text }}\n{% endfor %}{{ rubric }}\n\n{{ input }}\n\n"
    "{% if target %}{{ target }}\n\n{% endif %}{{ output }}\n",
    "claims": "{{ rubric }}\n\n{{ input }}\n\n{% for text in contexts %}{{ text }}\n{% endfor %}\n{{ output }}\n",
}
SIGHT = Measured(value=0.95, low=0.9, high=0.98, n=60)


@dataclass(frozen=True)
class Bench:
    """A project and the server its judges are asked at."""

    project: Project
    server: ModelServerHandle

    @property
    def root(self) -> Path:
        return self.project.root

    def judge(
        self,
        model: str = "judge-fair",
        *,
        name: str = "judge",
        mode: str = "pairwise",
        provider: str = "openai",
        criteria: Sequence[str] = ("{id: right, text: It is right.}",),
        rubric: str = "Prefer the better answer.",
        **extra: str,
    ) -> None:
        """judges' folder `name`; `extra` are further keys of judge.yaml as they are written."""
        url = self.server.root_url if provider == "anthropic" else self.server.base_url
        keys: dict[str, str] = {"decoding": "{temperature: 0, max_tokens: 900}", "limits": "{concurrency: 8}"}
        if mode != "claims":
            keys["criteria"] = f"[{', '.join(criteria)}]"
        lines = [
            f"name: {name}",
            f"mode: {mode}",
            f"provider: {provider}",
            f"model: {json.dumps(model)}",
            f"base_url: {url}",
            f"rubric: {json.dumps(rubric)}",
            *(f"{key}: {value}" for key, value in (keys | extra).items()),
        ]
        self.project.write(f"{name}/judge.yaml", "\n".join(lines) + "\n")
        self.project.write(f"{name}/prompt.md", PROMPTS[mode])

    def recorded(
        self,
        verdicts: Sequence[Mapping[str, Any]],
        *,
        name: str = "judge",
        mode: str = "pairwise",
        extra: str = "",
    ) -> None:
        """A judge whose verdicts were recorded."""
        self.project.write(
            f"{name}/judge.yaml",
            f"name: {name}\nmode: {mode}\nprovider: replay\nverdicts: ./verdicts.jsonl\n{extra}",
        )
        self.project.rows(f"{name}/verdicts.jsonl", verdicts)

    def panel(self, *members: str, combine: str = "majority", mode: str = "pairwise") -> None:
        folders = ", ".join(f"../{name}" for name in members)
        self.project.write(
            "judge/judge.yaml", f"name: judge\nmode: {mode}\npanel: [{folders}]\ncombine: {combine}\n"
        )

    def cases(
        self, n: int, *, more: Mapping[int, Mapping[str, Any]] | None = None, golden_set: str = "questions"
    ) -> None:
        extra = more or {}
        self.project.golden_set(
            golden_set,
            [{"id": f"q{i}", "input": f"question {i}", "target": "t", **extra.get(i, {})} for i in range(n)],
        )

    def suite(self, *, gate: str = "", scorers: str = "[]", judge: str = "judge", more: str = "") -> None:
        """One eval, `qa`, that is judged."""
        self.project.write(
            "suite.yaml",
            "name: project\nevals:\n  - id: qa\n    golden_set: ./questions\n"
            f"    scorers: {scorers}\n    judge: ./{judge}\n" + (f"gate: {gate}\n" if gate else "") + more,
        )

    def sides(self, base: Sequence[str | None], cand: Sequence[str | None]) -> None:
        """Recorded answers to q0, q1, …; None: the answer failed."""
        for name, texts in (("base", base), ("cand", cand)):
            self.project.candidate(name, [answer(f"q{i}", text) for i, text in enumerate(texts)])

    def load(self, name: str = "judge") -> Judge:
        paths = PathPolicy(cwd=self.root)
        return load_judge(self.root / name / "judge.yaml", paths=paths, registry=default_registry())

    def calibrate(self, name: str = "judge", *, model: str | None = None, **changes: Any) -> None:
        """Write the calibration of a judge that agreed with people, bound to the judge as it is now."""
        judge = self.load(name)
        fields: dict[str, Any] = {
            "judge_digest": judge.digest,
            "labels_digest": labels_digest(judge.labels),
            "models": (model or judge.model or "",),
            "n_labels": 60,
            "n_judged": 60,
            "agreement": SIGHT,
            "kappa": SIGHT,
            "sensitivity": SIGHT,
            "specificity": SIGHT,
            "correlation2": 0.8,
            "flip_rate": Measured(value=0.02, low=0.0, high=0.08, n=60),
            "first_slot": None,
            "length_correlation": None,
        }
        write_calibration(self.root / name, Calibration(**(fields | changes)))

    def judgments(self, out: str = "out") -> list[dict[str, Any]]:
        path = self.root / out / "judgments.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def values(self, out: str = "out") -> list[float | None]:
        return [row["value"] for row in self.judgments(out)]

    def calls(self) -> int:
        """Calls so far."""
        return int(self.server.counters()["requests"])

    def compare(self, *extra: str, check: int | None = None) -> Result:
        before = self.calls()
        done, document = self.project.compare(*extra, check=check)
        return Result(done.code, done.out, done.err, document, self.calls() - before)


@dataclass(frozen=True)
class Result:
    """A finished comparison; `calls` is what the server saw of it."""

    code: int
    out: str
    err: str
    document: dict[str, Any]
    calls: int

    def metric(self, name: str = "qa/judge") -> dict[str, Any]:
        return next(row for row in self.document["metrics"] if row["id"] == name)


def answer(name: str, text: str | None, **more: Any) -> dict[str, Any]:
    if text is None:
        return {"id": name, "output": None, "error": "no answer", **more}
    return {"id": name, "output": text, **more}


def of(quality: float, *more: object) -> str:
    """An answer that says how good it is to the judges that go by the truth."""
    return f"quality={quality} is what it is. {' '.join(map(str, more))}".strip()
