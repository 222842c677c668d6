"""What a run without secrets left for one that has them: found by what GitHub says of that run, and read as data.

Nothing in the artefact is trusted: not its names, not its sizes, not which pull request it says it is of.
"""

from __future__ import annotations

import json
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from evalharness.errors import Problem, SpecError, UsageError
from evalharness.github.client import Client, GitHubError
from evalharness.github.job import Job

MOST_ZIPPED: Final = 64_000_000
MOST_BYTES: Final = 256_000_000
"""Bytes of all files together, unpacked."""
MOST_FILES: Final = 20
_MOST_LINE: Final = 4_000_000
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}\.jsonl")
_HEAD: Final = re.compile(r"[^\x00-\x20:]{1,300}")


def pull_request_of(client: Client, job: Job) -> int | None:
    """The open pull request that the run before this one was for; None where this job follows no such run.

    It is looked up by the head's owner and branch and has to be at the very commit: what a run of a stranger's code
    says of itself would let it write on any pull request.

    Raises:
        GitHubError: GitHub refused, or could not be reached.
    """
    run = _run_before(job)
    if run is None:
        return None
    owner = _text(run, "head_repository", "owner", "login")
    branch, sha = _text(run, "head_branch"), _text(run, "head_sha")
    if not (_HEAD.fullmatch(owner) and _HEAD.fullmatch(branch) and sha):
        return None
    head = quote(f"{owner}:{branch}", safe=":")
    for pull in client.pages(f"/repos/{job.repository}/pulls?state=open&head={head}"):
        if (
            isinstance(pull, Mapping)
            and _text(pull, "head", "sha") == sha
            and type(pull.get("number")) is int
        ):
            return int(pull["number"])
    return None


def fetch(client: Client, job: Job, name: str, folder: Path) -> list[Path]:
    """Write the recorded outputs of an artefact of the run before this one to `folder`, which must be new or empty.

    Raises:
        UsageError: no run comes before this one, or `folder` holds something. GitHubError: there is no such artefact,
            or it is too large. SpecError: it holds something else than recorded outputs.
    """
    run = _run_before(job)
    if run is None or type(run.get("id")) is not int:
        raise UsageError("only a workflow on `workflow_run` can fetch what the run before it left")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"{folder}: not empty; give a new folder, so that nothing in the checkout is replaced"
        )
    found = None
    for entry in _entries(
        client.get(f"/repos/{job.repository}/actions/runs/{run['id']}/artifacts?per_page=100")
    ):
        if entry.get("name") == name and entry.get("expired") is not True and type(entry.get("id")) is int:
            found = entry
    if found is None:
        raise GitHubError(f"run {run['id']} left no artefact {name!r}; did its upload step run?")
    with tempfile.TemporaryDirectory(prefix="evalharness-") as scratch:
        zipped = Path(scratch) / "artifact.zip"
        path = f"/repos/{job.repository}/actions/artifacts/{found['id']}/zip"
        client.download(path, zipped, most_bytes=MOST_ZIPPED)
        return unpack(zipped, folder, name)


def unpack(zipped: Path, folder: Path, name: str) -> list[Path]:
    """Write the files of a zip that are recorded outputs; refuse the whole where one file is something else.

    Raises:
        SpecError: every file that is no `<name>.jsonl` at the top, a link, larger than it says or than allowed, or
            not JSON Lines with an object a line.
    """
    try:
        with zipfile.ZipFile(zipped) as archive:
            members = archive.infolist()
            problems = [problem for member in members if (problem := _wrong(member))]
            if len(members) > MOST_FILES or not members:
                problems = [f"holds {len(members)} files; 1 to {MOST_FILES} are taken"]
            elif len({member.filename for member in members}) < len(members):
                problems.append("holds one name twice")
            elif sum(member.file_size for member in members) > MOST_BYTES:
                problems.append(f"unpacks to more than {MOST_BYTES // 1_000_000} MB")
            if problems:
                raise SpecError([Problem(problem, f"artefact {name}") for problem in problems])
            folder.mkdir(parents=True, exist_ok=True)
            return [_member(archive, member, folder, name) for member in members]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise SpecError([Problem(f"is not a whole zip file ({error})", f"artefact {name}")]) from error


def _wrong(member: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    shown = repr(member.filename[:120])
    if not _FILE.fullmatch(member.filename):
        return f"holds {shown}; only files like candidate.jsonl at its top are taken"
    if kind not in (0, stat.S_IFREG):
        return f"{shown} is no plain file"
    if member.flag_bits & 1:
        return f"{shown} is encrypted"
    return None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, name: str) -> Path:
    target = folder / member.filename
    with archive.open(member) as source, target.open("xb") as written:
        try:
            _copy(source, written, member.file_size)
        except ValueError as error:
            raise SpecError([Problem(str(error), f"artefact {name}/{member.filename}")]) from error
    return target


def _copy(source: IO[bytes], target: IO[bytes], most: int) -> None:
    """Copy JSON Lines, each an object, and never more bytes than the archive announced.

    Raises:
        ValueError: it is something else.
    """
    size = number = 0
    while line := source.readline(_MOST_LINE + 1):
        number += 1
        size += len(line)
        if size > most:
            raise ValueError("it is larger than the archive says")
        if len(line) > _MOST_LINE:
            raise ValueError(f"line {number} is longer than {_MOST_LINE:,} bytes")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        target.write(line)


def _run_before(job: Job) -> Mapping[str, Any] | None:
    run = job.event.get("workflow_run")
    return run if job.event_name == "workflow_run" and isinstance(run, Mapping) else None


def _entries(answer: Any) -> list[Mapping[str, Any]]:
    found = answer.get("artifacts") if isinstance(answer, Mapping) else None
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def _text(value: Any, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""
