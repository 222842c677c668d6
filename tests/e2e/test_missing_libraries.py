"""A metric whose library is not installed: one line with the command that installs it, before any call is paid."""

from __future__ import annotations

import re
import sys

import pytest

from tests.e2e.conftest import Project


@pytest.mark.parametrize(
    ("scorer", "library"),
    [
        ("meteor_stems", "nltk"),
        ("{bert_score: {model: ./model, num_layers: 1}}", "bert_score"),
        ("{semantic_similarity: {model: ./model}}", "sentence_transformers"),
    ],
)
@pytest.mark.parametrize("live", [True, False])
def test_a_metric_without_its_library_is_refused_before_any_call(
    project: Project, monkeypatch: pytest.MonkeyPatch, scorer: str, library: str, live: bool
) -> None:
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": f"question {i}", "target": "yes"} for i in range(3)]
    )
    project.write("model/config.json", "{}")
    gate = "{max_drop: 5%, primary: [qa/exact_match]}"
    project.suite(scorers=f"[exact_match, {scorer}]", gate=gate)
    project.write("asked.py", "def answer(case):\n    open('CALLED', 'w').close()\n    return 'no'\n")
    project.write("cand.yaml", "name: cand\nsuite: ./suite.yaml\nprovider: python\ntarget: asked:answer\n")
    if not live:
        project.candidate("cand", [{"id": f"q{i}", "output": "no"} for i in range(3)])
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)  # to import it says that it is not there
    done = project.run("run", "cand.yaml", "--quiet", check=2)
    assert re.fullmatch(
        rf"error: {library} is not installed; .*: pip install 'evalharness\[text\]'\n", done.err
    )
    assert not (project.root / "CALLED").exists()
