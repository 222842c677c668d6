"""`evalharness judge sample` and `judge collect`: drawn at random, blind, safe to open, and read back as labels."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evalharness.spec.labelling import first_side
from tests.e2e.conftest import Project
from tests.report.browser import CHROMIUM, Browser

NASTY = "</script><script>window.pwned=1</script>\x1b[31m\u202eevil"
SHOWN = NASTY.replace("\x1b", "␛")
N = 90


@pytest.fixture
def answered(project: Project) -> Project:
    """90 cases; both sides alike on every ninth, one failed answer, and one text that attacks whoever shows it."""
    project.golden_set(
        "questions",
        [{"id": f"q{i}", "input": f"question {i}", "target": f"t{i}", "contexts": ["c"]} for i in range(N)],
    )
    project.suite()
    base = [{"id": f"q{i}", "output": f"base {i}"} for i in range(N)]
    cand: list[dict[str, Any]] = [
        {"id": f"q{i}", "output": f"base {i}" if i % 9 == 0 else f"cand {i}"} for i in range(N)
    ]
    cand[1] = {"id": "q1", "output": None, "error": "timeout"}
    cand[2]["output"] = NASTY
    cand[3]["output"] = '=HYPERLINK("http://x")'
    cand[4]["output"] = "'=1+1"
    cand[5]["output"] = 'line 1\r\nline 2; "quoted", and more'
    project.candidate("base", base)
    project.candidate("cand", cand)
    return project


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sample(project: Project, out: str, *options: str) -> dict[str, Any]:
    done = project.run("judge", "sample", "cand.yaml", "--out", out, "--json", *options, check=0)
    found: dict[str, Any] = json.loads(done.out)
    return found


def label(project: Project, source: str, out: str, *, who: str) -> None:
    """Labels by somebody who prefers the candidate's answer, whichever place it has."""
    rows = lines(project.root / source)
    said = ["second" if row["first"].startswith("base") else "first" for row in rows]
    project.rows(
        out, [{**row, "label": choice, "labeller": who} for row, choice in zip(rows, said, strict=True)]
    )


def test_a_draw_is_random_reproducible_and_recorded(answered: Project) -> None:
    drawn = sample(answered, "one.jsonl", "--n", "40")
    again = sample(answered, "two.jsonl", "--n", "40")
    other = sample(answered, "three.jsonl", "--n", "40", "--seed", "5")
    texts = [(answered.root / f"{name}.jsonl").read_bytes() for name in ("one", "two", "three")]
    assert texts[0] == texts[1] != texts[2]
    assert (drawn["n"], drawn["of"], drawn["n_unanswered"], drawn["mode"]) == (40, N - 1, 1, "pointwise")
    assert again["seed"] != other["seed"]
    rows = lines(answered.root / "one.jsonl")
    places = [int(row["id"].removeprefix("questions/q")) for row in rows]
    assert places != sorted(places) and max(places) > 60  # not the first ones, and not in their order
    assert set(rows[0]) == {"id", "input", "output", "contexts", "target", "note", "label"}
    assert rows[0]["label"] == "" and f"seed={drawn['seed']} drawn=40 of=89" in rows[0]["note"]


def test_pairs_are_blind_balanced_and_can_be_mapped_back(answered: Project) -> None:
    drawn = sample(answered, "pairs.jsonl", "--against", "base.yaml", "--n", "70")
    assert (drawn["mode"], drawn["n_same"], drawn["n_unanswered"], drawn["of"]) == ("pairwise", 10, 1, 79)
    rows = lines(answered.root / "pairs.jsonl")
    first = Counter(first_side(row["note"]) for row in rows)
    assert first == {"baseline": 35, "candidate": 35}
    for row in rows:
        shown = row["first" if first_side(row["note"]) == "baseline" else "second"]
        assert shown == f"base {row['id'].removeprefix('questions/q')}"
        assert not re.search("base|cand", row["note"] + row["id"])


def test_labels_of_two_people_serve_the_judge_and_the_agreement(answered: Project) -> None:
    sample(answered, "pairs.jsonl", "--against", "base.yaml", "--n", "70")
    label(answered, "pairs.jsonl", "ann.jsonl", who="ann")
    label(answered, "pairs.jsonl", "bob.jsonl", who="bob")
    done = answered.run(
        "judge", "collect", "ann.jsonl", "bob.jsonl", "--out", "judge/calibration.jsonl", "--json", check=0
    )
    found = json.loads(done.out)
    assert (found["n_labels"], found["n_items"], found["labellers"]) == (140, 70, {"ann": 70, "bob": 70})
    assert found["preferred"] == {"candidate": 70}
    agreed = answered.run("judge", "agreement", "judge/calibration.jsonl", "--json", check=0)
    raw = next(c for c in json.loads(agreed.out)["coefficients"] if c["coefficient"] == "raw_agreement")
    assert (raw["value"], raw["n_items"]) == (1.0, 70)
    answered.write(
        "judge/judge.yaml", "name: j\nmode: pairwise\nprovider: replay\nverdicts: ./verdicts.jsonl\n"
    )
    rows = lines(answered.root / "judge/calibration.jsonl")[:70]
    side = {"first": "baseline", "second": "candidate", "tie": "tie"}
    answered.rows("judge/verdicts.jsonl", [{"id": r["id"], "winner": side[r["label"]]} for r in rows])
    calibrated = answered.run("judge", "calibrate", "judge", "--json")
    assert json.loads(calibrated.out)["calibration"]["agreement"]["value"] == 1.0


def test_a_sheet_for_spreadsheets_runs_no_formula_and_comes_back_whole(answered: Project) -> None:
    sample(answered, "sheet.csv", "--against", "base.yaml", "--n", "79")
    sample(answered, "same.jsonl", "--against", "base.yaml", "--n", "79")
    text = (answered.root / "sheet.csv").read_bytes().decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    assert not [cell for row in table for cell in row.values() if cell[:1] in "=+-@\t\r" and cell]
    assert any(cell.startswith("'=HYPERLINK") for row in table for cell in row.values())
    assert "\x1b" not in text
    for row in table[:60]:
        row["label"], row["labeller"] = "tie", "ann"
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(table[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(table)
    answered.write("filled.csv", "\ufeff" + out.getvalue())
    done = answered.run("judge", "collect", "filled.csv", "--out", "labels.jsonl", "--json", check=0)
    assert json.loads(done.out)["n_empty"] == 19
    sent = {row["id"]: row for row in lines(answered.root / "same.jsonl")}
    for row in lines(answered.root / "labels.jsonl"):
        assert row == sent[row["id"]] | {"label": "tie", "labeller": "ann"}
    label(answered, "same.jsonl", "bob.jsonl", who="bob")  # one labels in a spreadsheet, another does not
    done = answered.run(
        "judge", "collect", "filled.csv", "bob.jsonl", "--out", "both.jsonl", "--json", check=0
    )
    assert json.loads(done.out)["labellers"] == {"ann": 60, "bob": 79}


def test_the_page_holds_everything_and_loads_nothing(answered: Project) -> None:
    sample(answered, "label.html", "--against", "base.yaml", "--n", "79")
    page = (answered.root / "label.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None and policy[1].startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        code = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{code}'" in policy[1]
    assert page.count("<script") == 2 and "pwned=1</script>" not in page
    assert not re.search(r"https?://", page.replace("http://x", ""))
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    rows = json.loads(data[1])["rows"]
    assert len(rows) == 79 and any(SHOWN in row.values() for row in rows)
    assert page.isascii() or not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)


def test_recorded_outputs_and_run_folders_give_the_same_items(answered: Project) -> None:
    folders = [
        json.loads(answered.run("run", f"{side}.yaml", "--json", check=0).out)["folder"]
        for side in ("cand", "base")
    ]
    answered.run("judge", "sample", folders[0], "--against", folders[1], "--out", "a.jsonl", check=0)
    answered.run(
        "judge", "sample", "cand.jsonl", "--against", "base.jsonl", "--suite", "suite.yaml", "--out", "b.jsonl",
        check=0,
    )  # fmt: skip
    texts = [
        [(r["id"], r["first"], r["second"]) for r in lines(answered.root / name)]
        for name in ("a.jsonl", "b.jsonl")
    ]
    assert texts[0] == texts[1] and len(texts[0]) == 79


def test_what_cannot_be_drawn_or_joined_is_told(answered: Project) -> None:
    def refused(*arguments: str) -> str:
        return answered.run("judge", *arguments, check=2).err

    sample(answered, "sheet.jsonl", "--n", "5")
    assert "may hold labels" in refused("sample", "cand.yaml", "--out", "sheet.jsonl")
    assert "give --format" in refused("sample", "cand.yaml", "--out", "sheet.txt")
    assert "no suite is named" in refused("sample", "cand.jsonl", "--out", "x.jsonl")
    assert "nothing to draw" in refused("sample", "base.yaml", "--against", "base.yaml", "--out", "x.jsonl")
    assert "no eval 'q'; it has qa" in refused("sample", "cand.yaml", "--eval", "q", "--out", "x.jsonl")
    answered.write(
        "live.yaml",
        "name: live\nsuite: ./suite.yaml\nprovider: openai\nmodel: m\nbase_url: http://127.0.0.1:9/v1\n",
    )
    assert "has not answered yet" in refused("sample", "live.yaml", "--out", "x.jsonl")
    assert "no line has a label yet (5 have none)" in refused("collect", "sheet.jsonl", "--out", "x.jsonl")
    rows = lines(answered.root / "sheet.jsonl")
    answered.rows("wrong.jsonl", [{**rows[0], "label": "passs"}, {**rows[1], "label": "pass", "output": 3}])
    said = refused("collect", "wrong.jsonl", "--out", "x.jsonl")
    assert "label must be one of pass, fail; did you mean" in said and "output must be text" in said
    answered.rows("twice.jsonl", [{**rows[0], "label": "pass"}, {**rows[0], "label": "fail"}])
    assert rows[0]["id"] in refused("collect", "twice.jsonl", "--out", "x.jsonl")
    answered.write("broken.csv", "a,b\n1,2\n")
    assert "must name the columns" in refused("collect", "broken.csv", "--out", "x.jsonl")
    sample(answered, "page.html", "--n", "5")
    assert "give the JSONL that it saves" in refused("collect", "page.html", "--out", "x.jsonl")
    assert not (answered.root / "x.jsonl").exists()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_people_label_on_the_page_and_save_what_collect_reads(answered: Project, tmp_path: Path) -> None:
    sample(answered, "label.html", "--against", "base.yaml", "--n", "79")
    page, downloads = answered.root / "label.html", tmp_path / "downloads"

    def press(key: str) -> str:
        return f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))"

    with Browser(tmp_path / "profile") as browser:
        browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        browser.open(page)
        assert browser.js("document.getElementById('count').textContent") == "Item 1 of 79, 0 labelled"
        # every item is looked at, the nasty one too, and none of it acts
        shown = []
        for i in range(79):
            shown.append(browser.js("document.getElementById('item').innerText"))
            browser.js(f"document.body.{press('123'[i % 3]).removeprefix('document.')}")
        assert any("␛[31m⟨U+202E⟩evil" in text for text in shown)
        assert browser.js("window.pwned === undefined && document.scripts.length === 2")
        assert browser.js("document.getElementById('progress').value") == 1
        browser.js("document.getElementById('labeller').value = 'ann'")
        browser.open(page)  # a reload loses nothing
        assert "79 labelled" in browser.js("document.getElementById('count').textContent")
        browser.js(
            "document.getElementById('labeller').value = 'ann'; document.getElementById('save').click()"
        )
        browser.js("new Promise(done => setTimeout(done, 700))")
        assert browser.logged == []
        assert {url for url in browser.requested if not url.startswith(("data:", "blob:"))} == {page.as_uri()}
    done = answered.run(
        "judge", "collect", str(downloads / "labels-ann.jsonl"), "--out", "labels.jsonl", "--json", check=0
    )
    found = json.loads(done.out)
    assert found["labellers"] == {"ann": 79}
    assert found["labels"] == {"first": 27, "second": 26, "tie": 26}
    assert any(SHOWN in row.values() for row in lines(answered.root / "labels.jsonl"))
