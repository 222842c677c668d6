"""The sides and all who are asked: files, keys, libraries, servers, models, prices."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evalharness.api.diagnosing.servers import Reached, Server, reach
from evalharness.api.settings import Settings
from evalharness.core.diagnosis import Finding, State
from evalharness.errors import EvalHarnessError, SpecError

if TYPE_CHECKING:
    from evalharness.core.candidates import Candidate
    from evalharness.core.suites import Suite
    from evalharness.engine.sides import SideSource

_OLD_PRICES_DAYS: Final = 183
_NAMED: Final = 5
_KEYS: Final[Mapping[str, str]] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def files_of(files: Sequence[str | Path], suite: str | Path | None, use: Settings) -> Iterator[Finding]:
    """What is wrong with the files, and with those that they name. Runs and baselines are looked at elsewhere."""
    from evalharness.api import validate

    given = [str(item) for item in files if _is_written(item)] + ([str(suite)] if suite is not None else [])
    problems = validate(given, use) if given else []
    for problem in problems:
        about = problem.file or "files"
        if problem.line is not None:
            about += f":{problem.line}"
        yield Finding(
            area="files", about=about, state="problem", text=problem.message, fix=problem.hint or ""
        )
    if given and not problems:
        yield Finding(area="files", about="files", state="ok", text=f"{', '.join(given)}: nothing wrong")


def _is_written(item: str | Path) -> bool:
    """Whether a side is a file that somebody wrote for this tool, or means one."""
    return Path(str(item)).suffix in (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A candidate or judge that is asked, with the server it is reached at."""

    who: Candidate
    area: str
    server: Server | None
    key: str | None
    missing: str | None


def sides_of(
    files: Sequence[str | Path], sides: Sequence[SideSource], suite: Suite | None, use: Settings
) -> Iterator[Finding]:
    """What it takes to ask each candidate and each judge. Where no suite was found the candidates' files are read."""
    asked: list[_Asked] = []
    by_scorers: list[_Asked] = []
    models = [side.model for side in sides if side.model is not None]
    for side in sides:
        if side.model is None:
            what = "results of another tool" if side.brought else "a stored run"
            yield Finding(area="candidates", about=side.name, state="ok", text=f"{what}: nothing is asked")
    for model in models if sides else list(_read(files, use)):
        yield from _look_at(model, "candidates", use, asked)
    if suite is not None:
        yield from _judges(suite, use, asked)
        by_scorers += _asked_by_scorers(suite, use)
    found = reach([one.server for one in (*asked, *by_scorers) if one.server is not None])
    for one in (*asked, *by_scorers):
        if one.server is not None:
            yield from _told(one, found[one.server])
    capped = suite is not None and suite.budget is not None and suite.budget.usd is not None
    for one in asked:
        yield from _price(one, capped, use)


def _read(files: Sequence[str | Path], use: Settings) -> Iterator[Candidate]:
    from evalharness.api import load_candidate

    for item in files:
        if Path(str(item)).suffix in (".yaml", ".yml"):
            try:
                yield load_candidate(item, use)
            except SpecError:
                continue  # told where the sides were looked for


def _judges(suite: Suite, use: Settings, asked: list[_Asked]) -> Iterator[Finding]:
    from evalharness.engine.judging import judge_as_candidate
    from evalharness.spec.judges import RECORDED

    members = [member for _, _, judge in suite.judged for member in judge.panel or (judge,)]
    for judge in {member.digest: member for member in members if member.provider != RECORDED}.values():
        yield from _look_at(judge_as_candidate(judge), "judges", use, asked)


def _asked_by_scorers(suite: Suite, use: Settings) -> Iterator[_Asked]:
    """The servers that scorers ask themselves. Their keys are looked at with the rest of what scorers need."""
    from evalharness.core.candidates import Candidate
    from evalharness.engine.scoring import build_scorers

    try:
        scorers = build_scorers(suite, use.registry)
    except EvalHarnessError:
        return  # told with the rest of what scorers need
    for metric_id, scorer in scorers.items():
        for url, variable in getattr(scorer, "servers", ()):
            who = Candidate(name=metric_id, provider="openai", model=None, digest="", path=suite.path)
            value = use.environ.get(variable or "", "").strip()
            key, missing = (variable, None) if value else (None, variable)
            yield _Asked(who, "scorers", Server(url, value), key, missing)


def _look_at(who: Candidate, area: str, use: Settings, asked: list[_Asked]) -> Iterator[Finding]:
    """Its key, its libraries, its local model. Who can be reached is looked at for all together."""
    from evalharness.api.diagnosing import told_apart
    from evalharness.engine.asking import make_provider

    def found(state: State, text: str, fix: str = "") -> Finding:
        return Finding(area=area, about=who.name, state=state, text=text, fix=fix)

    try:
        provider = make_provider(who, use.registry)
    except EvalHarnessError as error:
        yield found("problem", str(error))
        return
    if provider.recorded:
        yield found("ok", "recorded answers: nothing is asked")
        return
    key, missing = _key(who, use)
    if missing:
        yield found("problem", f"no key in {missing}", f"export {missing}=…")
    elif key:
        yield found("ok", f"a key is in {key}")
    if not missing:
        try:
            getattr(provider, "ready", lambda: None)()
        except EvalHarnessError as error:
            yield found("problem", *told_apart(str(error)))
    if who.provider == "transformers":
        yield from _local(who, area)
    url = who.options.get("base_url") or getattr(provider, "default_url", None)
    url = url or ("https://api.anthropic.com" if who.provider == "anthropic" else None)
    server = None
    if url:
        server = Server(str(url), use.environ.get(key or "", "").strip(), who.provider == "anthropic")
    asked.append(_Asked(who, area, server, key, missing))


def _key(who: Candidate, use: Settings) -> tuple[str | None, str | None]:
    """The variable that holds the key, and the one that should and does not. Never its value."""
    own = who.options.get("base_url") is None
    name = who.api_key_env or (_KEYS.get(who.provider) if own else None)
    if name is None:
        return None, None
    return (name, None) if use.environ.get(name, "").strip() else (None, name)


def _local(who: Candidate, area: str) -> Iterator[Finding]:
    """Whether a local model is on this machine. A hub id that is not is fetched by the first run."""
    name = str(who.options.get("model_path") or who.model)
    if os.path.isdir(name):
        yield _said(who, "ok", f"the model is in {name}", area=area)
        return
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return  # its library is told of as missing
    try:
        there = try_to_load_from_cache(name, "config.json", revision=who.options.get("revision"))
    except ValueError:
        return  # no hub id: told of already
    if isinstance(there, str):
        yield _said(who, "ok", f"the model {name} is in Hugging Face's cache", area=area)
        return
    offline = os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "TRUE", "YES", "ON")
    said = ", and HF_HUB_OFFLINE is set" if offline else ": the first run fetches it"
    state: State = "problem" if offline else "warning"
    yield _said(who, state, f"the model {name} is not on this machine{said}", f"hf download {name}", area)


def _said(who: Candidate, state: State, text: str, fix: str = "", area: str = "candidates") -> Finding:
    return Finding(area=area, about=who.name, state=state, text=text, fix=fix)


def _told(one: _Asked, reached: Reached) -> Iterator[Finding]:
    """What a server's answer means for the run."""
    who, server = one.who, one.server
    assert server is not None
    host, status, file = server.host, reached.status, who.path or who.name

    def found(state: State, text: str, fix: str = "") -> Finding:
        return _said(who, state, text, fix, one.area)

    if status == 0:
        yield found(
            "problem",
            f"{host} does not answer: {reached.failure}",
            f"start the server, or mend base_url in {file}",
        )
    elif status in (401, 403) and one.key:
        yield found(
            "problem", f"{host} refuses the key in {one.key} (status {status})", f"export {one.key}=…"
        )
    elif status in (401, 403) and not one.missing:
        yield found(
            "problem",
            f"{host} asks for a key (status {status})",
            f"name its variable as api_key_env in {file}",
        )
    elif status in (401, 403):
        yield found("ok", f"{host} answers")  # the missing key is told of
    elif 300 <= status < 400:
        yield found(
            "problem",
            f"{host} redirects (status {status}), and a run follows no redirect",
            f"mend base_url in {file}",
        )
    elif status == 404:
        fix = f"check base_url in {file}" + ("" if server.anthropic else "; most addresses end in /v1")
        yield found("warning", f"{host} answers, and has no list of models there (status 404)", fix)
    elif status >= 400:
        yield found("warning", f"{host} answers with status {status}", "look at the server's log")
    else:
        yield found("ok", f"{host} answers")
        yield from _served(one, reached)


def _served(one: _Asked, reached: Reached) -> Iterator[Finding]:
    """Whether the model is among those that a server lists. Some serve more than they list, so this is no problem."""
    who, models = one.who, reached.models
    name = who.options.get("adapter") or who.model
    if not models or not name or {name, f"{name}:latest"} & models:
        return
    near = difflib.get_close_matches(str(name), models, n=_NAMED, cutoff=0.3) or sorted(models)[:_NAMED]
    more = f" and {len(models) - len(near):,} more" if len(models) > len(near) else ""
    yield _said(
        who,
        "warning",
        f"{one.server.host if one.server else ''} does not list the model {name}; it lists {', '.join(near)}{more}",
        f"mend {'adapter' if who.options.get('adapter') else 'model'} in {who.path or who.name}",
        one.area,
    )


def _price(one: _Asked, capped: bool, use: Settings) -> Iterator[Finding]:
    """Whether what it costs is known, and how old a list price is."""
    who = one.who
    if who.price is None:
        fix = f"add `price: {{input_per_million: …, output_per_million: …}}` to {who.path or who.name}"
        if capped:
            text = "its price is unknown, and the suite's budget.usd refuses to ask it"
            yield _said(who, "problem", text, fix, one.area)
        elif one.server is not None:
            yield _said(who, "note", "its price is unknown, so no cost is told", fix, one.area)
    elif who.price.listed:
        age = (use.now().date() - date.fromisoformat(f"{who.price.listed}-01")).days
        old = age > _OLD_PRICES_DAYS
        yield _said(
            who,
            "note",
            f"its price is the vendor's list price of {who.price.listed}" + (", which is old" if old else ""),
            f"state your own `price` in {who.path or who.name}",
            one.area,
        )
