"""`evalharness ci`, where a whole job is not needed: in the process, in a checkout, against the server."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from evalharness.cli.main import run
from evalharness.github.comments import LIMIT
from tests.github.runner import ROOT, SHA, GitHub, Repository, git, pull, read_outputs, small


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    small(folder, 0)
    monkeypatch.chdir(folder)
    return folder


def command(*arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `evalharness ARGUMENTS` in a job's environment."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GITHUB_", "RUNNER_"))]:
            patch.delenv(name)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(arguments))
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


def job(github: GitHub, folder: Path, event: object = None, **env: str) -> dict[str, str]:
    (folder.parent / "event.json").write_text(json.dumps(event or {}), encoding="utf-8")
    return {
        "GITHUB_API_URL": github.url, "GITHUB_REPOSITORY": "acme/shop", "GITHUB_TOKEN": "job",
        "GITHUB_RUN_ID": "52", "GITHUB_SERVER_URL": "https://github.example", "GITHUB_WORKSPACE": str(folder),
        "GITHUB_EVENT_PATH": str(folder.parent / "event.json"), **env,
    }  # fmt: skip


GATE = ("ci", "gate", "bot.yaml", "bot.yaml", "--out", "out")


@pytest.mark.parametrize(
    "args",
    ["--help", "-h", "--json", "--out elsewhere", "'", "extra.yaml", "-- x y", "--nosuch", "-- BASE CAND"],
)
def test_further_options_cannot_make_the_gate_end_without_a_verdict(checkout: Path, args: str) -> None:
    code, _, err = command(*GATE, "--args", args)
    assert code == 2 and "error: " in err
    assert not (checkout / "out").exists()


def test_a_gate_without_a_base_ref_needs_no_git(checkout: Path) -> None:
    code, _, err = command(*GATE, env={"PATH": "/nowhere"})
    assert code == 0, err


def test_further_options_are_those_of_compare(checkout: Path) -> None:
    code, _, err = command(*GATE, "--args", "--seed 5 --quiet --store 'my store'", "--suite", "suite.yaml")
    assert code == 0, err
    assert json.loads((checkout / "out/comparison.json").read_text())["seed"] == 5
    assert (checkout / "my store" / "runs").is_dir()


def test_a_missing_baseline_is_an_error_that_the_other_commands_tell(checkout: Path) -> None:
    code, _, err = command("ci", "gate", "main", "bot.yaml", "--out", "out")
    assert code == 4 and "'main'" in err
    assert json.loads((checkout / "out/ci.json").read_text())["exit_code"] == 4
    code, out, _ = command("ci", "annotate", "out")
    assert code == 0 and out.startswith("::error title=evalharness%3A invalid::") and "'main'" in out
    code, out, _ = command("ci", "summary", "out")
    assert (
        code == 0 and out.startswith("### ⛔ Invalid: Nothing was decided") and "`bot` against `main`" in out
    )
    assert "to bless one: `evalharness run" in out
    output = checkout / "output"
    code, _, _ = command("ci", "outputs", "out", env={"GITHUB_OUTPUT": str(output)})
    assert code == 4
    assert read_outputs(output.read_text()) == {"verdict": "invalid", "exit-code": "4", "report-path": "out"}
    (checkout / "out/summary.md").unlink()
    code, out, _ = command("ci", "summary", "out")
    assert code == 0 and out.startswith("### ⛔ No verdict: there is nothing to decide on (exit code 4)")


def test_a_forks_job_is_told_why_it_has_no_key(checkout: Path, github: GitHub) -> None:
    (checkout / "bot.yaml").write_text(
        "name: bot\nsuite: suite.yaml\nprovider: openai\nmodel: m\nprompt: {user: x}\n"
    )
    pull_of = {
        "number": 7,
        "head": {"repo": {"full_name": "fork/shop"}},
        "base": {"repo": {"full_name": "acme/shop"}},
    }
    env = job(
        github, checkout, {"pull_request": pull_of}, GITHUB_EVENT_NAME="pull_request", OPENAI_API_KEY=""
    )
    code, _, err = command(*GATE, env=env)
    assert code == 2 and "OPENAI_API_KEY" in err
    assert "this job is for a fork's pull request: it gets no secrets" in command("ci", "summary", "out")[1]


def test_a_shallow_clone_is_told_how_deep_it_has_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "origin")
    small(repository.origin, 0)
    repository.commit()
    repository.branch("topic")
    repository.commit()
    monkeypatch.chdir(repository.merged(tmp_path / "clone", depth=1))
    code, _, err = command(*GATE, "--base-ref", "HEAD^1")
    assert code == 2 and "shallow; give actions/checkout `fetch-depth: 2`" in err
    for ref in ("--upload-pack=touch x", "no-such", "HEAD^1 --"):
        assert command(*GATE, f"--base-ref={ref}")[0] == 2
    for base in ("../bot.yaml", str(tmp_path / "origin" / "bot.yaml")):
        code, _, err = command("ci", "gate", base, "bot.yaml", "--out", "out", "--base-ref", "HEAD")
        assert code == 2 and "is a file of that commit" in err


def test_without_a_repository_a_base_ref_is_refused(checkout: Path) -> None:
    code, _, err = command(
        *GATE, "--base-ref", "HEAD^1", env={"GIT_CEILING_DIRECTORIES": str(checkout.parent)}
    )
    assert code == 2 and "needs a git checkout" in err


def test_the_base_is_judged_by_what_the_pull_request_judges_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "origin")
    small(repository.origin, 0)
    bot = repository.origin / "bot.yaml"
    bot.write_text(bot.read_text().replace("suite: suite.yaml\n", ""))
    repository.commit()
    repository.branch("topic")
    for name, old, new in (("questions/cases", '"t0"', '"u0"'), ("outputs", '"t0"', '"u0"')):
        file = repository.origin / f"{name}.jsonl"
        file.write_text(file.read_text().replace(old, new))
    repository.commit()
    monkeypatch.chdir(repository.merged(tmp_path / "clone"))
    code, _, err = command(*GATE, "--base-ref", "HEAD^1", "--suite", "suite.yaml")
    assert code == 0, err
    (metric,) = json.loads(Path("out/comparison.json").read_text())["metrics"]
    assert (metric["baseline"], metric["candidate"], metric["n"]) == (0.975, 1.0, 40)
    # what is stored names no folder of this machine
    for manifest in Path(".evalharness/runs").glob("*/manifest.json"):
        assert str(tmp_path) not in manifest.read_text() and "/base-" not in manifest.read_text()


@pytest.mark.parametrize("how", ["beside", "on the path", "loaded before"])
def test_code_answers_as_it_stands_in_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    repository = Repository(tmp_path / "origin")
    small(repository.origin, 0)
    (repository.origin / "bot.yaml").write_text(
        "name: bot\nsuite: suite.yaml\nprovider: python\ntarget: gated_app.main:say\n"
    )
    source = "" if how == "beside" else "src"
    app = repository.origin / source / "gated_app"
    app.mkdir(parents=True)
    (app / "main.py").write_text("from gated_app.words import word as say\n")
    (app / "words.py").write_text("def word(case):\n    return 't' + case['id'][1:]\n")
    repository.commit()
    repository.branch("topic")
    (app / "words.py").write_text("def word(case):\n    return 'x'\n")
    repository.commit()
    clone = repository.merged(tmp_path / "clone")
    monkeypatch.chdir(clone)
    if source:  # as `pip install -e .` leaves it
        monkeypatch.syspath_prepend(str(clone / source))
    before = importlib.import_module("gated_app.main") if how == "loaded before" else None
    try:
        for more in ((), ("--args", "--fresh")):
            code, _, err = command(*GATE, "--base-ref", "HEAD^1", *more)
            assert code == 1, err
            (metric,) = json.loads(Path("out/comparison.json").read_text())["metrics"]
            assert (metric["baseline"], metric["candidate"]) == (1.0, 0.0)
            assert before is None or sys.modules["gated_app.main"] is before
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "gated_app"]:
            del sys.modules[name]


def test_answers_of_another_commits_code_are_not_resumed(checkout: Path) -> None:
    (checkout / "app.yaml").write_text(
        "name: app\nsuite: suite.yaml\nprovider: python\ntarget: gated_app:say\n"
    )
    (checkout / "gated_app.py").write_text("from gated_words import say\n")
    words, suite = checkout / "gated_words.py", (checkout / "suite.yaml").read_text()
    gate = ("ci", "gate", "bot.yaml", "app.yaml", "--out", "out")

    def push(text: str, calls: int) -> None:
        words.write_text(text)
        (checkout / "suite.yaml").write_text(suite + f"budget: {{calls: {calls}}}\n")
        git(checkout, "add", "-A")
        git(checkout, "commit", "-q", "-m", "a push")

    git(checkout, "init", "-q")
    push("def say(case):\n    return 't' + case['id'][1:]\n", 15)
    assert command(*gate)[0] == 5
    assert "15 answers kept" in command(*gate)[2]  # the same commit goes on where it stopped
    push("def say(case):\n    return 'x'\n", 80)
    code, _, err = command(*gate)
    assert code == 1, err
    assert json.loads((checkout / "out/comparison.json").read_text())["metrics"][0]["candidate"] == 0.0


@pytest.mark.parametrize("link", [False, True])
def test_folders_that_may_be_named_are_those_of_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    repository, clone = Repository(tmp_path / "origin"), tmp_path / "clone"
    (repository.origin / "service").mkdir()
    small(repository.origin / "service", 0)
    outputs = repository.origin / "outputs.jsonl"
    (repository.origin / "service/outputs.jsonl").rename(outputs)
    (repository.origin / "service/link.jsonl").symlink_to(clone / "outputs.jsonl")
    bot = repository.origin / "service/bot.yaml"
    bot.write_text(bot.read_text().replace("./outputs", "./link" if link else "../outputs"))
    repository.commit()
    repository.branch("topic")
    outputs.write_text(outputs.read_text().replace('"t', '"u'))
    repository.commit()
    monkeypatch.chdir(repository.merged(clone) / "service")
    code, _, err = command(*GATE, "--base-ref", "HEAD^1", "--args", f"--allow-path {clone}")
    assert code == (2 if link else 1), err  # the link leads to the candidate's own answers


def test_what_is_wrong_with_the_base_is_told_at_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "origin")
    small(repository.origin, 0)
    bot = repository.origin / "bot.yaml"
    text = bot.read_text()
    bot.write_text(text + "modle: x\n")
    repository.commit()
    repository.branch("topic")
    bot.write_text(text)
    repository.commit()
    monkeypatch.chdir(repository.merged(tmp_path / "clone"))
    code, _, err = command(*GATE, "--base-ref", "HEAD^1")
    assert code == 2 and "HEAD^1:bot.yaml:5: " in err and "modle" in err
    assert command("ci", "gate", "new.yaml", "bot.yaml", "--out", "out", "--base-ref", "HEAD^1")[0] == 4


def test_a_commit_held_against_itself_is_said_to_show_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "origin")
    small(repository.origin, 0)
    repository.commit()
    repository.branch("topic")
    repository.commit()
    monkeypatch.chdir(repository.merged(tmp_path / "clone"))
    shas = []
    for ref, itself in (("HEAD", True), ("HEAD^1", False)):
        code, _, err = command(*GATE, "--base-ref", ref)
        assert code == 0 and ("the base is the commit that is checked out" in err) is itself
        shas.append(json.loads(Path("out/ci.json").read_text())["base_sha"])
        _, told, _ = command("ci", "annotate", "out", env={"GITHUB_SHA": shas[0]})
        assert ("::warning title=evalharness%3A nothing compared::" in told) is itself


@pytest.mark.parametrize("how", [["--baselines", "kept"], ["--args", "--baselines kept"]])
def test_blessed_baselines_may_be_elsewhere(checkout: Path, how: list[str]) -> None:
    assert command("run", "bot.yaml", "-q")[0] == 0
    assert command("baseline", "bless", "bot.yaml", "--as", "main", "--baselines", "kept")[0] == 0
    assert command("ci", "gate", "main", "bot.yaml", "--out", "out")[0] == 4
    code, _, err = command("ci", "gate", "main", "bot.yaml", "--out", "out", *how)
    assert code == 0, err


def test_secrets_of_the_environment_stay_out_of_what_is_told(checkout: Path) -> None:
    (checkout / "bot.yaml").write_text(
        "name: hunter22-canary\nsuite: no-such-hunter22-canary\nprovider: replay\n"
    )
    code, _, _ = command(*GATE, env={"SOME_API_KEY": "hunter22-canary"})
    assert code == 2
    assert "hunter22-canary" not in (checkout / "out/ci.json").read_text()
    assert "[key]" in (checkout / "out/ci.json").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", '{"verdict": "pass"}',
        '{"verdict": "regression", "exit_code": 0, "returned": 0, "problems": [], "cases": [], "n_cases": 0}',
        '{"verdict": null, "exit_code": 1, "returned": 0, "problems": [], "cases": [], "n_cases": 0}',
    ],
)  # fmt: skip
def test_a_damaged_record_of_the_gate_is_never_a_pass(checkout: Path, text: str) -> None:
    assert command(*GATE)[0] == 0
    (checkout / "out/ci.json").write_text(text)
    code, out, _ = command("ci", "outputs", "out")
    assert code == 70 and out.startswith("no verdict")


@pytest.mark.parametrize(
    ("more", "env", "manifest"),
    [
        (("--args", "--nosuch"), {}, ""),
        ((), {"GITHUB_EVENT_NAME": "workflow_run", "GITHUB_EVENT_PATH": "nowhere"}, ""),
        ((), {}, "{}"),
    ],
)  # fmt: skip
def test_a_gate_that_is_refused_leaves_no_verdict_of_an_earlier_job(
    checkout: Path, more: tuple[str, ...], env: dict[str, str], manifest: str
) -> None:
    assert command(*GATE)[0] == 0
    if manifest:  # of something else: the folder is left as it is
        (checkout / "out/manifest.json").write_text(manifest)
    assert command(*GATE, *more, env=env)[0] == 2
    code, out, _ = command("ci", "outputs", "out")
    assert code in (2, 70) and out.startswith("no verdict")


def test_a_report_that_compare_wrote_can_be_told_too(checkout: Path) -> None:
    assert command("compare", "bot.yaml", "bot.yaml", "--out", "out", "-q")[0] == 0
    assert command("ci", "outputs", "out")[:2] == (0, "pass, exit code 0\n")


def test_a_table_of_more_than_a_comment_is_cut_by_whole_rows(checkout: Path, github: GitHub) -> None:
    assert command(*GATE)[0] == 0
    row = "| ✅ | `metric-{:04}` | " + "🌈" * 70 + " | **pass** |"
    table = "\n".join(["| | metric | value | status |", "|---|---|---|---|", *map(row.format, range(800))])
    assert len(table) > 70_000
    text = f"### ✅ Pass\n\n{table}\n\n**Next**\n\n- read it\n"
    (checkout / "out/summary.md").write_text(text, encoding="utf-8")
    code, _, err = command("ci", "comment", "out", "--pull-request", "7", env=job(github, checkout))
    assert code == 0, err
    (comment,) = github.comments
    assert LIMIT * 0.7 < len(comment["body"]) <= LIMIT
    rows = [line for line in comment["body"].splitlines() if "metric-" in line]
    assert all(line.endswith("| **pass** |") for line in rows)
    assert f"\n{800 - len(rows)} rows are left out here" in comment["body"]
    assert "\n- read it\n" in comment["body"] and comment["body"].rstrip().endswith("</sub>")


def test_a_job_about_no_pull_request_has_nothing_to_comment_on(checkout: Path, github: GitHub) -> None:
    assert command(*GATE)[0] == 0
    code, out, err = command("ci", "comment", "out", env=job(github, checkout))
    assert code == 0 and out == "" and "no open pull request" in err
    code, _, err = command("ci", "comment", "out")
    assert code == 2 and "not a job on GitHub" in err
    code, _, err = command("ci", "comment", "out", env=job(github, checkout, GITHUB_TOKEN=""))
    assert code == 2 and "there is no token" in err


def test_a_store_is_cached_under_what_it_holds(checkout: Path) -> None:
    assert command(*GATE)[0] == 0

    def key(found: str) -> str:
        output = checkout / "output"
        output.unlink(missing_ok=True)
        script = str(ROOT / "ci/action/store_key.py")
        env = {**os.environ, "CACHE_KEY": "gate-", "CACHE_FOUND": found, "GITHUB_OUTPUT": str(output)}
        subprocess.run([sys.executable, "-I", script, ".evalharness"], check=True, env=env)
        return read_outputs(output.read_text())["key"]

    first = key("")
    assert first.startswith("gate-") and first == key("gate-of another")
    assert key(first) == ""  # as it was restored: nothing to save
    assert command(*GATE, "--args", "--seed 9 --fresh")[0] == 0
    small(checkout, 3)
    assert command(*GATE)[0] in (0, 3) and key(first) not in ("", first)


# --- the two workflows of a fork -------------------------------------------------------------------------------------


def run_before(sha: str = SHA, *, event: str = "pull_request", **more: object) -> dict[str, object]:
    fork = {"full_name": "fork/shop", "owner": {"login": "fork"}}
    return {
        "workflow_run": {
            "id": 77, "event": event, "head_branch": "topic", "head_sha": sha, "head_repository": fork,
            "repository": {"full_name": "acme/shop"}, **more,
        }
    }  # fmt: skip


def zipped(files: Mapping[str, str], *, link: bool = False) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if link:
                info.external_attr = 0o120777 << 16
            archive.writestr(info, text)
    return base64.b64encode(buffer.getvalue()).decode()


def test_a_forks_answers_are_scored_and_told_without_its_code(checkout: Path, github: GitHub) -> None:
    small(checkout, 20)
    answers = (checkout / "outputs.jsonl").read_text()
    small(checkout, 0)
    recorded = "name: recorded\nsuite: suite.yaml\nprovider: replay\noutputs: incoming/candidate.jsonl\n"
    (checkout / "recorded.yaml").write_text(recorded)
    github.seed(
        pulls=[pull(7, label="fork:topic")],
        artifacts=[{"name": "recorded-outputs", "zip": zipped({"candidate.jsonl": answers})}],
    )
    for arguments in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *arguments], check=True)
    env = job(github, checkout, run_before(), GITHUB_EVENT_NAME="workflow_run")
    code, out, err = command("ci", "fetch", "recorded-outputs", "--out", "incoming", env=env)
    assert (code, out) == (0, "incoming/candidate.jsonl\n"), err
    # the store of artefacts is another server, and the token is not for it
    assert [call["token"] for call in github.state["calls"] if "_blob" in call["path"]] == [""]
    assert command("ci", "gate", "bot.yaml", "recorded.yaml", "--out", "out", env=env)[0] == 1
    assert command("ci", "comment", "out", env=env)[0] == 0
    assert command("ci", "check", "out", "--name", "fork", env=env)[0] == 0
    assert "### ❌ Regression: " in github.comments[0]["body"]
    assert "\n`recorded` against `bot`\n" in github.comments[0]["body"]
    (check,) = github.state["checks"]
    assert (check["name"], check["head_sha"], check["conclusion"]) == ("evalharness fork", SHA, "failure")
    assert "What broke" in check["output"]["summary"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"../evil.jsonl": "{}\n"}, "only files like candidate.jsonl"),
        ({"/etc/evil.jsonl": "{}\n"}, "only files like candidate.jsonl"),
        ({"a/b.jsonl": "{}\n"}, "only files like candidate.jsonl"),
        ({"conftest.py": "import os"}, "only files like candidate.jsonl"),
        ({"candidate.jsonl": "[1]\n"}, "line 1 is not a JSON object"),
        ({"candidate.jsonl": '{"id": "a"}\nnot json\n'}, "line 2 is not a JSON object"),
        ({f"f{i}.jsonl": "{}\n" for i in range(30)}, "30 files"),
        ({}, "0 files"),
    ],
)
def test_an_artefact_with_anything_else_is_refused(
    checkout: Path, github: GitHub, files: dict[str, str], said: str
) -> None:
    assert said in fetched(checkout, github, zipped(files))
    assert not list(checkout.parent.rglob("evil.jsonl"))


def test_links_bombs_and_damage_are_refused(
    checkout: Path, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalharness.github import incoming

    assert "no plain file" in fetched(checkout, github, zipped({"a.jsonl": "/etc/passwd"}, link=True))
    whole = base64.b64decode(zipped({"a.jsonl": "{}\n" * 2000}))
    assert "not a whole zip" in fetched(checkout, github, base64.b64encode(whole[:-40]).decode())
    monkeypatch.setattr(incoming, "MOST_BYTES", 1_000_000)
    assert "unpacks to more than 1 MB" in fetched(checkout, github, zipped({"a.jsonl": "{}\n" * 400_000}))
    monkeypatch.setattr(incoming, "_MOST_LINE", 1000)
    assert "longer than 1,000 bytes" in fetched(checkout, github, zipped({"a.jsonl": " " * 2000 + "{}"}))
    monkeypatch.setattr(incoming, "MOST_ZIPPED", 100)
    assert "larger than" in fetched(checkout, github, zipped({"a.jsonl": os.urandom(900).hex()}))


def fetched(checkout: Path, github: GitHub, archive: str) -> str:
    """What is said of an artefact that is refused."""
    github.seed(artifacts=[{"name": "recorded-outputs", "zip": archive}])
    env = job(github, checkout, run_before(), GITHUB_EVENT_NAME="workflow_run")
    target = checkout / f"incoming-{len(list(checkout.glob('incoming-*')))}"
    code, out, err = command("ci", "fetch", "recorded-outputs", "--out", str(target), env=env)
    target.mkdir(exist_ok=True)
    assert code in (2, 5) and out == "", err
    return err


def test_nothing_in_the_checkout_is_replaced_by_an_artefact(checkout: Path, github: GitHub) -> None:
    github.seed(artifacts=[{"name": "recorded-outputs", "zip": zipped({"cases.jsonl": "{}\n"})}])
    env = job(github, checkout, run_before(), GITHUB_EVENT_NAME="workflow_run")
    code, _, err = command("ci", "fetch", "recorded-outputs", "--out", "questions", env=env)
    assert code == 2 and "not empty" in err
    code, _, err = command("ci", "fetch", "another", "--out", "new", env=env)
    assert code == 5 and "left no artefact 'another'" in err


# --- a stranger's code and secrets -----------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    (tmp_path / "acme").mkdir()
    made = Repository(tmp_path / "acme" / "shop")
    small(made.origin, 0)
    made.commit("base")
    yield made


@pytest.mark.parametrize("how", ["head", "merge", "shallow merge", "subfolder", "newer head"])
def test_a_checkout_of_the_head_with_secrets_is_refused(
    repository: Repository, tmp_path: Path, how: str, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = git(repository.origin, "rev-parse", "HEAD")
    repository.branch("topic")
    sha = repository.commit("topic")
    if (
        how == "newer head"
    ):  # pushed after the event, and the clone does not reach back to what the event names
        repository.commit("more")
        repository.commit("and more")
    folder, url = tmp_path / "workspace", repository.origin.as_uri()
    if how in ("head", "subfolder"):
        subprocess.run(["git", "clone", "-q", url, str(folder)], check=True)
        if how == "subfolder":
            subprocess.run(["git", "-C", str(folder), "checkout", "-q", "origin/main"], check=True)
            subprocess.run(["git", "clone", "-q", url, str(folder / "pr")], check=True)
    elif how == "newer head":
        subprocess.run(["git", "clone", "-q", "--depth", "1", url, str(folder)], check=True)
    else:
        repository.merged(folder, depth=1 if how == "shallow merge" else 5)
    monkeypatch.chdir(folder)
    event = {"pull_request": {"number": 7, "head": {"sha": sha}, "merged": False}}
    env = job(github, folder, event, GITHUB_EVENT_NAME="pull_request_target", GITHUB_SHA=base)
    code, _, err = command(*GATE, env=env)
    assert code == 2 and "would run with this repository's secrets" in err
    if how != "newer head":
        assert "checkout of the pull request's own code" in err and sha[:12] in err
    assert not (folder / "out").exists()
    again = env | {"GITHUB_EVENT_NAME": "workflow_run"}
    for kind in ("pull_request", "pull_request_review"):
        Path(env["GITHUB_EVENT_PATH"]).write_text(json.dumps(run_before(sha, event=kind)))
        assert command(*GATE, env=again)[0] == 2
    comment = env | {"GITHUB_EVENT_NAME": "issue_comment"}
    Path(env["GITHUB_EVENT_PATH"]).write_text(
        json.dumps({"issue": {"number": 7, "pull_request": {"url": "x"}}})
    )
    code, _, err = command(*GATE, env=comment)
    assert code == 2 and "start the workflow on it by `workflow_dispatch`" in err
    Path(env["GITHUB_EVENT_PATH"]).write_text(json.dumps({"issue": {"number": 8}}))
    assert command(*GATE, env=comment)[0] == 0
    assert command(*GATE, env=env | {"GITHUB_EVENT_NAME": "pull_request"})[0] == 0


def test_the_base_branch_with_secrets_is_not_refused(
    repository: Repository, tmp_path: Path, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = git(repository.origin, "rev-parse", "HEAD")
    repository.branch("topic")
    sha = repository.commit("topic")
    folder = tmp_path / "workspace"
    subprocess.run(["git", "clone", "-q", "-b", "main", repository.origin.as_uri(), str(folder)], check=True)
    # beside it another project, whose commits are its own
    subprocess.run(["git", "clone", "-q", repository.origin.as_uri(), str(folder / "tools")], check=True)
    git(folder / "tools", "checkout", "-q", "--orphan", "other")
    git(folder / "tools", "commit", "-qm", "unrelated")
    git(folder / "tools", "remote", "set-url", "origin", "https://github.example/acme/tools.git")
    monkeypatch.chdir(folder)
    event = {"pull_request": {"number": 7, "head": {"sha": sha, "repo": {"full_name": "fork/shop"}}}}
    env = job(github, folder, event, GITHUB_EVENT_NAME="pull_request_target", GITHUB_SHA=base)
    events = {
        "pull_request_target": event,
        # GitHub says of such a run that it was on the base branch's commit
        "workflow_run": run_before(base, event="pull_request_target", head_commit={"id": sha}),
        "issue_comment": {"issue": {"number": 7, "pull_request": {"url": "x"}}},
    }
    for name, told in events.items():
        Path(env["GITHUB_EVENT_PATH"]).write_text(json.dumps(told))
        code, _, err = command(*GATE, env=env | {"GITHUB_EVENT_NAME": name})
        assert code == 0, (name, err)
    git(folder / "tools", "remote", "set-url", "origin", "git@github.example:fork/shop.git")
    for name, told in events.items():
        Path(env["GITHUB_EVENT_PATH"]).write_text(json.dumps(told))
        assert command(*GATE, env=env | {"GITHUB_EVENT_NAME": name})[0] == 2
    (folder / ".git" / "HEAD").write_text("damaged")
    code, _, err = command(*GATE, env=env | {"GITHUB_EVENT_NAME": "issue_comment"})
    assert code == 2 and "git cannot tell which commit" in err
