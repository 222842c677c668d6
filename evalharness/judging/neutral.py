"""Foreign text made harmless for a prompt: nothing in it acts on a model or its tokeniser, everything stays readable.

Three things are done, in this order, because the first could uncover what the last looks for:
hidden characters go or are named (`⟨U+202E⟩`), control characters become their pictures (`␛`), and whatever looks like
a chat template's marker, a speaker's label or a fence of ours is broken by one visible `¦` (`<¦|im_start|>`). Nothing
that a person sees is taken away, and ordinary text and code come back as they were.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

BREAK: Final = "¦"
"""Put into a marker to break it."""
FENCE: Final = "<<<{edge} {name} {code}>>>"

_LINE_ENDS: Final = re.compile("\r\n?|[\u2028\u2029\x85]")
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ODD_CONTROLS: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_BROKEN: Final = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
# Soft hyphen, zero-width and bidirectional marks, joiners, invisible operators, fillers, interlinear annotation, tag
# characters and variation selectors (both used to smuggle text).
_HIDDEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)
_SELECTORS: Final = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_JOINED: Final = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f]?[\u200c\u200d]")
# Alone, these shape line breaks and ligatures and say nothing: a word reads the same without them.
_IDLE: Final = frozenset(
    "\u00ad\u034f\u061c\u17b4\u17b5\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
)
_MANY: Final = 3
_BLACK_FLAG: Final = "\U0001f3f4"
_FLAGS: Final = frozenset(
    "".join(chr(0xE0000 + ord(letter)) for letter in name) + "\U000e007f"
    for name in ("gbeng", "gbsct", "gbwls")
)

_GAP: Final = r"[^\S\n]{0,4}"
_NAMES: Final = (
    r"im_(?:start|end|sep)|system|user|assistant|developer|tool|end_?of_?text|begin_of_text|eot_id|eom_id|"
    r"(?:start|end)_header_id|(?:start|end)_of_role|channel|message"
)
TOKENS: Final = re.compile(
    r"<[|｜][^\s|｜<>]{1,64}[|｜]>"
    rf"|(?i:[<＜]{_GAP}[|｜]{_GAP}(?:{_NAMES}){_GAP}[|｜]{_GAP}[>＞])"
    rf"|\[{_GAP}/?{_GAP}(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS){_GAP}\]"
    r"|<</?SYS>>"
    r"|(?i:</?(?:start_of_turn|end_of_turn|bos|eos|tool_calls?|tool_response|function_calls)>)"
)
"""What a tokeniser or a chat template takes for a turn's edge, and nobody writes otherwise."""
_AMBIGUOUS: Final = re.compile(
    r"(?i:</?(?:s|pad|unk|think|thinking|human|assistant|system)[^\S\n]{0,4}>)"
    r"|(?i:</?system[-_](?:prompt|message|reminder|instructions?)>)"
)
FENCES: Final = re.compile(
    r"(?i:(?<![<＜‹⟨])(?P<open>[<＜‹⟨]{3,}+)(?P<rest>[^\S\n]{0,4}/?[^\S\n]{0,4}(?:begin|end)[^\S\n]++(?=\S)))"
)
"""What looks like an edge of a fence of ours. A shell's or PHP's `<<<END` has nothing behind it."""
_SPEAKERS: Final = re.compile(
    r"^(?P<head>(?:[^\S\n]|[>#*_~`-])*+"
    r"(?:Human|HUMAN|Assistant|ASSISTANT|System|SYSTEM|User|USER|Developer|DEVELOPER|Instruction|Response)"
    r"(?:[^\S\n]|[*_`]){0,8})(?=[:：])",
    re.MULTILINE,
)
_CUT_MARK: Final = re.compile(r"(?i:characters cut here by )(?=the harness)")


def neutralise(text: str) -> str:
    """The text as it may stand in a prompt. Doing it twice changes nothing more."""
    text = visible(text)
    text = _breaking(TOKENS, text)
    text = _breaking(_AMBIGUOUS, text)
    text = FENCES.sub(lambda found: found["open"] + BREAK + found["rest"], text)
    text = _SPEAKERS.sub(lambda found: found["head"] + BREAK, text)
    return _CUT_MARK.sub(lambda found: found.group() + BREAK, text)


def visible(text: str) -> str:
    """The text with line ends as `\\n`, control characters as pictures and hidden characters named or gone.

    Kept: joiners inside scripts and emoji that need them, single variation selectors, the flags of England, Scotland
    and Wales. Gone: single characters that only shape line breaks or ligatures.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _CONTROLS.sub(_picture, _LINE_ENDS.sub("\n", text))
    return _HIDDEN.sub(_named(text), _BROKEN.sub("\ufffd", text))


def hides(text: str) -> bool:
    """Whether the text holds what a reader does not see and no one types: controls, smuggled or reordered text."""
    if text.isascii() and text.isprintable():
        return False
    inside = 0
    for found in _HIDDEN.finditer(text):
        run = found.group()
        if _belongs(text, found):
            continue
        if len(run) >= _MANY or not _IDLE.issuperset(run):
            return True
        around = text[found.start() - 1 : found.start()] + text[found.end() : found.end() + 1]
        # Soft hyphens stand in words by right; other scripts part words with zero-width spaces.
        inside += run != "\u00ad" and len(around) == 2 and around.isascii() and around.isalpha()
    return inside >= _MANY or _ODD_CONTROLS.search(text) is not None


def cut(text: str, limit: int) -> tuple[str, ...]:
    """The text, or its beginning and its end where it is longer than `limit` characters.

    Both ends are kept: what was left out of sight at one end would be the place to hide something.
    """
    if len(text) <= limit:
        return (text,)
    head = (limit + 1) // 2
    return text[:head], text[len(text) - (limit - head) :]


def prepared(text: str, limit: int) -> str:
    """The text cut to `limit` characters, made harmless, and marked where something was left out."""
    parts = [neutralise(part) for part in cut(text, limit)]
    left_out = max(0, len(text) - limit)
    return f"\n[… {left_out:,} characters cut here by the harness …]\n".join(parts)


def fenced(text: str, name: str, code: str) -> str:
    """The text between two lines that carry a code which occurs nowhere in it."""
    first, last = (FENCE.format(edge=edge, name=name, code=code) for edge in ("begin", "end"))
    return f"{first}\n{text}\n{last}"


def _breaking(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: found.group()[0] + BREAK + found.group()[1:], text)


def _picture(found: re.Match[str]) -> str:
    point = ord(found.group())
    if point < 0x20:
        return chr(0x2400 + point)
    return "\u2421" if point == 0x7F else f"⟨U+{point:04X}⟩"


def _named(text: str) -> Callable[[re.Match[str]], str]:
    def name(found: re.Match[str]) -> str:
        run = found.group()
        if _belongs(text, found):
            return run
        if run in _IDLE:
            return ""
        return f"⟨U+{ord(run):04X}⟩" if len(run) == 1 else f"⟨{len(run):,} hidden characters⟩"

    return name


def _belongs(text: str, found: re.Match[str]) -> bool:
    """Whether hidden characters are part of what is seen: a script's joiner, an emoji."""
    run = found.group()
    before = text[found.start() - 1] if found.start() else ""
    after = text[found.end() : found.end() + 1]
    if before and _SELECTORS.fullmatch(run):
        return True
    if before > "\x7f" and after > "\x7f" and _JOINED.fullmatch(run):
        return True
    return before == _BLACK_FLAG and run in _FLAGS
