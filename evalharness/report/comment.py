"""A pull-request comment: the summary with links, or what kept the gate from a verdict, in as much as GitHub takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evalharness.errors import (
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_PROVIDER,
    EXIT_USAGE,
)
from evalharness.report.markdown import code, item, prose

_WHY: Final = {
    EXIT_USAGE: "a file, an option or the environment is wrong",
    EXIT_INVALID: "there is nothing to decide on",
    EXIT_PROVIDER: "the model endpoint failed or a spend cap was reached",
    EXIT_INTERNAL: "evalharness itself failed, or was ended from outside",
    EXIT_INTERRUPTED: "it was interrupted",
}
_KEPT: Final = "what was collected is kept, and not paid again where the job keeps its store."
_NEXT: Final = {
    EXIT_USAGE: "Mend what is named above. It can be looked for without a call: evalharness validate FILES",
    EXIT_INVALID: "Mend what is named above, then run the job again.",
    EXIT_PROVIDER: f"Mend the endpoint or raise the cap, then run the job again: {_KEPT}",
    EXIT_INTERNAL: "Run the job again. Should it fail again, report it with the traceback that --debug shows. It says "
    "nothing of the change itself.",
    EXIT_INTERRUPTED: f"Run the job again: {_KEPT}",
}
_MOST_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True)
class Link:
    """Where a reader goes on: a label and an https address."""

    label: str
    url: str


def failure_text(exit_code: int, problems: Sequence[str]) -> str:
    """What is shown in place of a summary where there is no verdict. Never a pass."""
    why = _WHY.get(exit_code, _WHY[EXIT_INTERNAL])
    lines = [f"### ⛔ No verdict: {why} (exit code {exit_code})", ""]
    lines += [f"- {item(problem, 2000)}" for problem in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"- {len(problems) - _MOST_PROBLEMS:,} more in the log")
    if not problems:
        lines.append("- The log of the run says why.")
    step = _NEXT.get(exit_code, _NEXT[EXIT_INTERNAL])
    return "\n".join([*lines, "", "**Next**", "", f"- {item(step)}", ""])


def comment_text(
    summary: str, links: Sequence[Link], limit: int, *, sha: str = "", base_sha: str = ""
) -> str:
    """The summary with a last line of links and the commits it is about, in at most `limit` characters.

    Whole rows are left out where it is longer, those of the longest lists and tables first, and each place says how
    many.
    """
    parts = [f"[{prose(link.label)}]({link.url})" for link in links if _is_address(link.url)]
    if sha:
        parts.append(f"commit {code(sha[:12])}")
    if base_sha:
        parts.append(f"base commit {code(base_sha[:12])}")
    foot = f"\n<sub>{' · '.join(parts)}</sub>\n" if parts else ""
    return fitted(summary.rstrip("\n") + "\n", limit - len(foot)) + foot


def fitted(text: str, limit: int) -> str:
    """Markdown in at most `limit` characters, by leaving out whole rows: list items and rows of tables."""
    if len(text) <= limit:
        return text
    lines = text.splitlines()
    blocks = _blocks(lines)
    over = len(text) - limit
    note = "{} rows are left out here, since GitHub takes no longer comment; the report has all of them."
    dropped: dict[int, int] = {}
    while over > 0:
        sizes = {start: sum(len(line) + 1 for line in lines[start:end]) for start, end in blocks.items()}
        start = max((s for s in sizes if sizes[s] > len(note) + 20), key=lambda s: sizes[s], default=-1)
        if start < 0:
            break
        end = blocks[start]
        # A fifth of the longest block at a time, so that several long ones share what is left.
        count = max(1, (end - start) // 5)
        for place in range(end - count, end):
            over -= len(lines[place]) + 1
            lines[place] = ""
        if start not in dropped:
            over += len(note) + 12
        dropped[start] = dropped.get(start, 0) + count
        blocks[start] = end - count
    kept: list[str] = []
    gone = {
        place for start, count in dropped.items() for place in range(blocks[start], blocks[start] + count)
    }
    for place, line in enumerate(lines):
        if place not in gone:
            kept.append(line)
        elif place - 1 not in gone:
            start = max(s for s in dropped if s <= place)
            kept += ["", note.format(f"{dropped[start]:,}")]
    return _cut("\n".join(kept) + "\n", limit)


def _blocks(lines: Sequence[str]) -> dict[int, int]:
    """Runs of rows: the first line → the line after the last. A table's head and rule are not rows."""
    found: dict[int, int] = {}
    place = 0
    while place < len(lines):
        if not lines[place].startswith(("- ", "| ")):
            place += 1
            continue
        start = place
        while place < len(lines) and lines[place].startswith(("- ", "| ", "|-")):
            place += 1
        if start + 1 < len(lines) and lines[start + 1].startswith("|-"):
            start += 2
        if start < place:
            found[start] = place
    return found


def _cut(text: str, limit: int) -> str:
    """The last resort: whole lines from the end go, and folds that were open are closed."""
    if len(text) <= limit:
        return text
    end = "\nThe rest is left out here, since GitHub takes no longer comment; the report has it.\n"
    fold = "</details>\n"
    room = limit - len(end) - len(fold)
    kept = text[: max(0, room)].rpartition("\n")[0]
    still_open = kept.count("<details>") > kept.count("</details>")
    return (kept + "\n" + (fold if still_open else "") + end)[:limit]


def _is_address(url: str) -> bool:
    return bool(re.fullmatch(r"https?://[A-Za-z0-9./_~:?=&%#@+-]{1,1000}", url))
