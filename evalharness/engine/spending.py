"""Calls, tokens and money: what an execution spent, and what a command may still spend."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from evalharness.core.attempts import Response
from evalharness.core.candidates import Price
from evalharness.core.protocols import Request
from evalharness.core.suites import Budget
from evalharness.errors import BudgetError, CallError

_CHARACTERS_A_TOKEN: Final = 3.0
"""Of a prompt; most texts have more, so that what is set aside for a call is rather too much."""
_TELLING: Final = 50
"""Characters from which a prompt tells how dense its text is; what a shorter one takes is mostly the chat's frame."""
_MAY_BE_BILLED: Final = frozenset({"timeout", "bad_response", "filtered"})
"""Ends of a call in which the model may have worked. Vendors bill neither a refusal nor a server's failure."""


@dataclass(slots=True)
class Spending:
    """Calls, tokens and money of this execution (cached and resumed attempts cost nothing now and are not in it).

    `earlier_input_tokens` and `earlier_output_tokens` are what earlier executions of the same run used: caps hold for
    the run, however often it is resumed.
    """

    price: Price | None
    earlier_input_tokens: int = 0
    earlier_output_tokens: int = 0
    calls: int = 0
    tries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usage_known: int = 0
    usage_unknown: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def told(self) -> bool:
        """Whether the tokens of some answer are known, or there was none."""
        return bool(self.usage_known) or not self.usage_unknown

    @property
    def usd(self) -> float | None:
        """Money spent now, None where no price was stated or no answer told its tokens."""
        if self.price is None or not self.told:
            return None
        return cost_usd(self.price, self.input_tokens, self.output_tokens)

    @property
    def run_usd(self) -> float:
        """Money of the whole run, 0.0 where no price was stated."""
        if self.price is None:
            return 0.0
        return cost_usd(
            self.price,
            self.earlier_input_tokens + self.input_tokens,
            self.earlier_output_tokens + self.output_tokens,
        )

    @property
    def run_tokens(self) -> int:
        """Tokens of the whole run, in and out."""
        return self.earlier_input_tokens + self.earlier_output_tokens + self.input_tokens + self.output_tokens

    def facts(self) -> dict[str, Any]:
        """Calls, tries, tokens and money as the manifest has them; None where nobody told."""
        return {
            "calls": self.calls,
            "tries": self.tries,
            "spent_input_tokens": self.input_tokens if self.told else None,
            "spent_output_tokens": self.output_tokens if self.told else None,
            "spent_usd": self.usd,
        }

    def add(self, response: Response) -> None:
        """Account for one answer."""
        tokens_in, tokens_out, known = tokens_of(response)
        self.input_tokens += tokens_in
        self.output_tokens += tokens_out
        if known:
            self.usage_known += 1
        else:
            self.usage_unknown += 1

    def add_earlier(self, responses: Iterable[Response]) -> None:
        """Account for answers that an earlier execution of the run paid for."""
        for response in responses:
            tokens_in, tokens_out, _ = tokens_of(response)
            self.earlier_input_tokens += tokens_in
            self.earlier_output_tokens += tokens_out


def tokens_of(response: Response) -> tuple[int, int, bool]:
    """Tokens in, tokens out (0 where unknown), and whether both are known."""
    usage = response.usage
    if usage is None:
        return 0, 0, False
    known = usage.input_tokens is not None and usage.output_tokens is not None
    return usage.input_tokens or 0, usage.output_tokens or 0, known


def cost_usd(price: Price, input_tokens: int, output_tokens: int) -> float:
    """US dollars at a stated price."""
    return (input_tokens * price.input_per_million + output_tokens * price.output_per_million) / 1e6


@dataclass(frozen=True, slots=True)
class Hold:
    """What is set aside for one call under way, whose prompt has so many `characters`."""

    tokens: int
    usd: float
    characters: int = 0


@dataclass(slots=True)
class Purse:
    """Spent so far and held for calls under way. A call is only made where the budget also covers what it may take.

    A call is expected to take its prompt, at 3 characters a token or at the most tokens a character that a call took so
    far, what a chat took at most around a short prompt, and as many tokens out as its decoding allows, or the most that
    an answer took so far where it allows any number; there the first call is made alone, to learn that. So a budget can
    be passed only by calls that take more than any before. Where the budget would cover a call if those under way take
    less than is held for them, it waits.
    """

    budget: Budget
    where: str = ""
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    _held: Hold = field(default_factory=lambda: Hold(0, 0.0))
    _under_way: int = 0
    _learned: bool = False
    _longest: int = 0
    _densest: float = 1 / _CHARACTERS_A_TOKEN
    _frame: int = 0

    def admit(self, request: Request, price: Price | None) -> Hold | None:
        """Set aside what a call may take. None: only what calls under way give back may cover it, so wait for one.

        Raises:
            BudgetError: the budget does not cover it.
        """
        prompt = sum(len(m.content) for m in request.messages) + len(request.continuation or "")
        tokens_in = math.ceil(prompt * self._densest) + self._frame
        tokens_out = int(request.decoding.get("max_tokens") or self._longest)
        usd = cost_usd(price, tokens_in, tokens_out) if price is not None else 0.0
        own, held, budget = Hold(tokens_in + tokens_out, usd, prompt), self._held, self.budget
        if budget.calls is not None and self.calls + 1 > budget.calls:
            raise self._empty(f"{budget.calls:,} calls", f"{self.calls:,} made", "calls")
        capped = budget.tokens is not None or budget.usd is not None
        waits = capped and not self._learned and not request.decoding.get("max_tokens")
        if budget.tokens is not None and self.tokens + held.tokens + own.tokens > budget.tokens:
            if self.tokens + own.tokens > budget.tokens:
                used = f"{self.tokens:,} used, and it may take {own.tokens:,}"
                raise self._empty(f"{budget.tokens:,} tokens", used, "tokens")
            waits = True
        if budget.usd is not None and self.usd + held.usd + own.usd > budget.usd:
            if self.usd + own.usd > budget.usd:
                used = f"{_money(self.usd)} spent, and it may cost {_money(own.usd)}"
                raise self._empty(f"${budget.usd:g}", used, "usd")
            waits = True
        if waits and self._under_way:
            return None
        self.calls += 1
        self._under_way += 1
        self._held = Hold(held.tokens + own.tokens, held.usd + own.usd)
        return own

    def settle(self, hold: Hold, outcome: Response | CallError | None, price: Price | None) -> None:
        """Put back what was set aside, less what the call took.

        An answer that tells no tokens took what was held, or more where it is long; a call without an answer that may
        be billed all the same, or that was cut off (`outcome` None), took what was held.
        """
        self._under_way -= 1
        self._held = Hold(self._held.tokens - hold.tokens, max(0.0, self._held.usd - hold.usd))
        if not isinstance(outcome, Response):
            if outcome is None or outcome.kind in _MAY_BE_BILLED:
                self.tokens += hold.tokens
                self.usd += hold.usd
            return
        tokens_in, tokens_out, known = tokens_of(outcome)
        if not known:
            tokens_in = tokens_in or math.ceil(hold.characters / _CHARACTERS_A_TOKEN)
            tokens_out = tokens_out or math.ceil(len(outcome.text) / _CHARACTERS_A_TOKEN)
        self._learned = True
        self._longest = max(self._longest, tokens_out)
        if hold.characters < _TELLING:
            self._frame = max(self._frame, tokens_in - math.ceil(hold.characters * self._densest))
        else:
            self._densest = max(self._densest, tokens_in / hold.characters)
        took = tokens_in + tokens_out
        self.tokens += took if known else max(hold.tokens, took)
        if price is not None:
            usd = cost_usd(price, tokens_in, tokens_out)
            self.usd += usd if known else max(hold.usd, usd)

    def _empty(self, of: str, used: str, key: str) -> BudgetError:
        return BudgetError(
            f"{self.where}: the budget of {of} does not cover the next call ({used}); what was collected is kept; "
            f"raise budget.{key} and run the same command again to resume"
        )


def _money(usd: float) -> str:
    """With four decimals, or with three digits where these would say nothing."""
    return f"${usd:.4f}" if usd >= 0.0001 or usd == 0 else f"${usd:.3g}"
