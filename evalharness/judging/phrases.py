"""Phrases that are written for a judge: instructions to it, and verdicts it is meant to copy.

They are matched by RE2, in time linear in the text: an answer must not be able to stop the harness by being long or
oddly built. Texts come in one case and one Unicode form.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

_JUDGES: Final = r"(?:judge|grader|evaluator|rater|scorer|assessor)s?"
_LLM: Final = r"(?:llm|ai|automated|automatic|language model|gpt|model)"
_ANSWER: Final = r"(?:answer|response|assistant|output|completion|submission|candidate|reply)"
_THIS: Final = rf"(?:(?:this|my|the (?:first|second|above|preceding|following)) {_ANSWER}|{_ANSWER} [ab12]\b)"
_PRAISE: Final = r"(?:winner|better|best|correct|superior|preferred|highest|perfect|full|maximum|top)"
_INSTRUCTING: Final = (
    # to whoever reads instructions
    r"\b(?:ignore|disregard|forget|override|bypass) (?:(?:all|any|the|your|every|of|these|those) ){0,3}"
    r"(?:(?:previous|prior|earlier|preceding|above|original|grading|scoring|judging|evaluation) ){1,2}"
    r"(?:instruction|rubric|criteri|guideline|prompt)",
    r"\b(?:ignore|disregard|forget|override) (?:the|your) (?:rubric|grading|scoring|system prompt)",
    r"\bnew (?:system )?(?:instructions?|prompt) (?:to|for) (?:the )?" + _JUDGES,
    # by name
    rf"\b(?:attention|note|notes|message|instructions?|hint|reminder)(?: (?:to|for))?,? (?:(?:the|all|any) )?"
    rf"(?:{_LLM} )?{_JUDGES}\s?[:,.!–—-]",
    rf"\b(?:dear|hey|hello|hi),? (?:{_LLM} {_JUDGES}|grader|evaluator|rater|scorer)\b",
    rf"\b(?:as|you are|if you are|you're) (?:an? |the )?(?:(?:{_LLM}|fair|impartial) )+{_JUDGES}\b",
    rf"\b{_JUDGES},? (?:(?:you|please|must|should|shall|will|always) ){{1,3}}"
    rf"(?:choose|pick|prefer|select|rate|score|vote|mark|output|reply|respond|award|give|declare) "
    rf"(?:{_THIS}|it|me|a|b|full|\d)",
    # a verdict asked for
    rf"\b(?:choose|pick|prefer|select|declare|vote for|mark|rate|rank|score|grade|judge|award|give|name) "
    rf"{_THIS} (?:as )?(?:the |an? )?(?:{_PRAISE}|10\b|100\b|five stars|met\b|pass)",
    rf"\b{_THIS} (?:must|should|has to|deserves to|is to|shall) (?:be )?"
    rf"(?:rated|scored|graded|judged|marked|preferred|chosen|selected|declared|win|the winner|awarded)",
    rf"\b{_THIS} deserves (?:a |the )?(?:{_PRAISE}|10\b|100\b)",
    r"\b(?:your|the judge's|the final) (?:verdict|winner|decision|rating|grade|judge?ment) "
    r"(?:must|should|has to|shall|needs to|is required to) (?:be|say|read|go)\b",
    r"\b(?:output|reply|respond|answer|return|print|say|write|set|emit) (?:only |just |exactly |with ){0,2}"
    r"[\"'`{\[(\s]{0,4}(?:winner|verdict|met|supported)[\"'`]{0,2}\s?(?::|=|to\b)",
    r"\b(?:output|reply|respond|answer|return|print|say|write|emit) (?:only |just |exactly |with ){0,2}"
    r"[\"'`]?\[\[\w{1,3}\]\]",
    r"\b(?:mark|set|treat|count|consider|score) (?:all|every|each)(?: of)?(?: the)? (?:criteri\w{1,2}|claims?) "
    r"(?:as |to )?(?:met|supported|satisfied|passed|fulfilled|true)",
    # the classic, in other languages
    r"\bignorier\w{0,3} (?:\S{1,12} ){0,3}(?:vorherigen|bisherigen|obigen|vorigen) anweisung",
    r"\b(?:ignore[zr]?|oublie[zr]?) (?:\S{1,12} ){0,3}(?:instructions|consignes) (?:précédentes|ci-dessus)",
    r"\b(?:ignor[ae]n?|olvid[ae]) (?:\S{1,12} ){0,3}instrucciones (?:anteriores|previas)",
    r"\b(?:ignor[ae]|esque[çc]a) (?:\S{1,12} ){0,3}instru[çc][õo]es (?:anteriores|pr[ée]vias|acima)",
    r"\bignora(?:te)? (?:\S{1,12} ){0,3}istruzioni (?:precedenti|qui sopra)",
    r"(?:игнорируй|проигнорируй|забудь)(?:те)? (?:\S{1,12} ){0,2}(?:предыдущие|прежние|прошлые) "
    r"(?:инструкции|указания)",
    r"(?:忽略|无视|忘记|忽視|無視)[^\s。,,]{0,8}(?:指令|指示|说明|說明|规则|評分標準|评分标准)",
    r"(?:以前|これまで|上記|前|すべて)の[^\s。]{0,6}(?:指示|命令)[^\s。]{0,6}(?:無視|忘れ)",
    r"(?:이전|위)의? ?(?:모든 )?(?:지시|지침|명령)(?:사항)?[을를은]? ?(?:모두 )?(?:무시|잊)",
    r"تجاهل (?:\S{1,12} ){0,2}(?:التعليمات|الأوامر) السابقة",
    r"(?:पिछले|पिछली|उपरोक्त) (?:\S{1,8} ){0,2}(?:निर्देशों|निर्देश) (?:को )?(?:अनदेखा|नज़रअंदाज़|भूल)",
)
_VERDICTS: Final = (
    r"[\"'](?:winner|verdict|preferred|preference)[\"']\s{0,4}:\s{0,4}[\"'](?:a|b|tie|first|second)[\"']",
    r"[\"']rationale[\"']\s{0,4}:[^{}]{0,1000}[\"'](?:winner|met|supported|score|verdict)[\"']\s{0,4}:",
    r"[\"'](?:winner|met|supported|score|verdict)[\"']\s{0,4}:[^{}]{0,200}[\"']rationale[\"']\s{0,4}:",
    r"\brating\W{1,4}\[\[\d{1,3}\]\]",
    r"^[\W_]{0,8}(?:(?:final|overall|my|the) ){0,2}(?:winner|verdict|judge?ment|preference)(?: is)?[\s*_]{0,4}"
    rf"[:=]\W{{0,6}}(?:{_ANSWER} )?(?:a|b|tie)\W{{0,6}}$",
    r"^[\W_]{0,8}(?:(?:final|overall|total|my) ){0,2}(?:score|rating|grade)[\s*_]{0,4}[:=]\W{0,6}"
    r"(?:10 ?/ ?10|100 ?/ ?100|5 ?/ ?5)\b",
    r"^[\W_]{0,8}(?:all )?criteri(?:a|on)[\s*_]{0,4}[:=]\W{0,6}(?:met|passed|satisfied)\W{0,6}$",
)


def instructs(text: str) -> bool:
    """Whether a text (case-folded) tells a judge what to do; line ends do not matter."""
    return _found(_INSTRUCTING, " ".join(text.split()))


def looks_like_verdict(text: str) -> bool:
    """Whether a text (case-folded) holds something in the form of a verdict."""
    return _found(_VERDICTS, text)


def _found(patterns: Sequence[str], text: str) -> bool:
    # Bytes skip the translation of offsets, which are not wanted.
    return _compiled(tuple(patterns)).search(text.encode("utf-8", "replace")) is not None


@lru_cache(maxsize=2)
def _compiled(patterns: tuple[str, ...]) -> Any:
    re2 = importlib.import_module("re2")
    options = re2.Options()
    options.log_errors = False
    return re2.compile(f"(?m:{'|'.join(patterns)})", options=options)
