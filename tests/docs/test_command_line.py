"""docs/cli.md, docs/exit-codes.md and CONTRIBUTING.md say what the code does, no more and no less."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from support import ROOT, code_words, documents, read, section, table_rows

from evalharness import errors
from evalharness.cli.app import COMMANDS, app

_IMPLICIT = {"--help", "-h"}


def commands() -> dict[str, click.Command]:
    """Every command that can be called, by the words that call it."""
    context = click.Context(app)
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {sub}": command.commands[sub] for sub in command.commands}
        else:
            found[name] = command
    return found


def options(command: click.Command) -> set[str]:
    return {
        flag for p in command.params if isinstance(p, click.Option) for flag in (*p.opts, *p.secondary_opts)
    }


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_is_documented_with_exactly_its_options(name: str) -> None:
    text = section(read("docs/cli.md"), name)
    assert f"`evalharness {name}" in text
    documented = {
        flag
        for first, *_ in table_rows(text)
        for word in re.findall(r"`([^`]+)`", first)
        for flag in [word.split()[0]]
        if flag.startswith("-")
    }
    assert documented == options(commands()[name])


def test_nothing_is_documented_that_is_no_command() -> None:
    titles = set(re.findall(r"^## (.+)$", read("docs/cli.md"), re.MULTILINE))
    assert titles == set(commands())
    head = read("docs/cli.md").split("\n## ")[0]
    assert set(re.findall(r"\[([^]]+)\]\(#", head)) == titles


def test_options_of_the_group_are_documented() -> None:
    head = read("docs/cli.md").split("\n## ")[0]
    for flag in options(app) - _IMPLICIT:
        assert f"`{flag}`" in head


def shell_lines() -> Iterator[tuple[str, str]]:
    """(document, command) for every call of evalharness in a shell block or in `code`."""
    for path in documents():
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(ROOT))
        for block in re.findall(r"^```(?:sh|yaml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            for found in re.findall(r"(?<![\w/.-])evalharness [a-z][^|&;>#\n]*", block):
                yield name, found
        for word in sorted(code_words(text)):
            if re.match(r"evalharness [a-z]", word):
                yield name, re.split(r"[|&;>]", word)[0]


@pytest.mark.parametrize(("document", "line"), sorted(set(shell_lines())))
def test_commands_shown_exist_with_their_options(document: str, line: str) -> None:
    words = shlex.split(line.replace("…", ""), comments=True)[1:]
    known = commands()
    name = words[0] if words[0] in known else " ".join(words[:2])
    if words == ["golden"]:
        return
    assert name in known, f"{document}: {line}"
    flags = {word for word in words if re.match(r"-{1,2}[a-z]", word)}
    assert flags <= options(known[name]) | _IMPLICIT | {"--debug"}, f"{document}: {line}"


def exit_codes() -> dict[int, str]:
    return {getattr(errors, name): name for name in dir(errors) if name.startswith("EXIT_")}


def test_every_exit_code_is_documented_and_no_other() -> None:
    text = read("docs/exit-codes.md")
    documented = {int(first) for first, *_ in table_rows(text) if first.isdigit()}
    assert documented == set(exit_codes())
    assert set(exit_codes().values()) <= code_words(text)


def test_the_readme_names_the_same_exit_codes() -> None:
    rows = [row[0] for row in table_rows(section(read("README.md"), "Exit codes")) if row[0] != "exit"]
    assert {int(n) for row in rows for n in row.split(",")} == set(exit_codes())


def test_every_make_target_is_documented_and_no_other() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", read("Makefile"), re.MULTILINE))
    documented = set(re.findall(r"`make ([a-z-]+)`", read("CONTRIBUTING.md")))
    assert documented == targets
    for path in documents():
        named = set(re.findall(r"\bmake ([a-z-]+)(?=`|\n```)", path.read_text(encoding="utf-8")))
        assert named <= targets, path.name


def test_the_command_that_pins_requirements_names_their_file() -> None:
    assert (ROOT / "requirements/test.txt").is_file()
    assert "-o requirements/test.txt" in section(read("CONTRIBUTING.md"), "Requirements")
