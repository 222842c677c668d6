"""The training text of the example models: written by a small grammar, never taken from a golden set."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parents[2] / "golden_sets"
TASKS = ("classification", "short_answer", "extraction")

PLURALS = {"bookshelf": "bookshelves"}
COUNTS = {
    1: ["the", "my", "a", "one", "1", "my new", "the", "our"],
    2: ["two", "2", "both", "a pair of", "2x", "my two", "the two"],
    3: ["three", "3", "all three", "3x", "the three"],
    4: ["four", "4", "all four", "4x", "my four"],
    5: ["five", "5", "5x"],
    6: ["six", "6", "all six", "6x", "half a dozen", "a set of six"],
    8: ["eight", "8"],
}  # fmt: skip


class Example(NamedTuple):
    """One training pair: the task's name as on the golden set's card, the input text, the wanted output."""

    task: str
    input: str
    output: str


def fold(text: str) -> str:
    """The form in which two inputs count as the same: NFKC, casefolded, words only, single spaces."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def golden_inputs(folder: Path = GOLDEN) -> set[str]:
    """Every golden input in its folded form. Raises FileNotFoundError where one is not there."""
    files = sorted(folder.glob("support-*/cases.jsonl"))
    if len(files) != len(TASKS):
        raise FileNotFoundError(f"{folder}: expected {len(TASKS)} golden sets, found {len(files)}")
    return {
        fold(json.loads(line)["input"]) for file in files for line in file.read_text("utf-8").splitlines()
    }


class Corpus:
    """An endless, seeded stream of training pairs in the proportions of a mixture."""

    def __init__(self, seed: int, forbidden: set[str], extra_extraction: str | None = None):
        self.random = Random(seed)
        self.forbidden = forbidden
        self.refused = 0
        self.company = _load("company.yaml")
        self.routing = _load("phrases/routing.yaml")
        self.answers = _load("phrases/answers.yaml")
        self.extraction = _load("phrases/extraction.yaml")
        self.words = _load("phrases/words.yaml")
        if extra_extraction:
            _extend(self.extraction, _load(extra_extraction))
        self.products = list(self.company["products"])
        self.facts = list(self._facts())

    def examples(self, mixture: dict[str, float], count: int) -> Iterator[Example]:
        """Yield `count` pairs; a pair whose input is a golden input is refused and another is drawn."""
        makers = {
            "classification": self._ticket,
            "short_answer": self._question,
            "extraction": self._message,
        }
        tasks, weights = list(mixture), list(mixture.values())
        made = 0
        while made < count:
            task = self.random.choices(tasks, weights)[0]
            text, output = makers[task]()
            if fold(text) in self.forbidden:
                self.refused += 1
                continue
            made += 1
            yield Example(task, text, output)

    # -- the three tasks

    def _ticket(self) -> tuple[str, str]:
        routing, random = self.routing, self.random
        label = random.choice(list(routing["core"]))
        cores = random.sample(routing["core"][label], 1 if random.random() < 0.7 else 2)
        phone = random.random() < 0.2
        parts = [self._expand(core) for core in cores]
        parts.insert(random.randint(0, 1), self._expand(random.choice(routing["filler"])))
        if random.random() < 0.25:
            parts.insert(random.randint(0, len(parts)), self._expand(random.choice(routing["filler"])))
        if phone:
            parts = [_third_person(part, random) for part in parts]
        parts.insert(0, self._expand(random.choice(routing["phone" if phone else "opening"])))
        if not phone:
            parts.append(self._expand(random.choice(routing["close"])))
        return self._style(parts), label

    def _question(self) -> tuple[str, str]:
        question, answer = self.random.choice(self.facts)
        asks = self.answers[question] if isinstance(question, str) else question[0]
        subject = "" if isinstance(question, str) else question[1]
        text = self.random.choice(asks).replace("<p>", subject and self._subject(subject))
        text = self.random.choice(self.answers["open"]) + text + self.random.choice(self.answers["close"])
        return self._style([text], question=True), answer

    def _message(self) -> tuple[str, str]:
        random, grammar = self.random, self.extraction
        number = f"{random.randint(1000, 9999)}"
        product = random.choice(self.products)
        quantity = random.choices(list(COUNTS), [60, 14, 8, 8, 3, 5, 2])[0]
        issue = random.choice(list(grammar["issue"]))
        resolution = random.choice(list(grammar["resolution"]))
        has_order = random.random() < 0.85
        parts = [
            self._expand(random.choice(grammar["issue"][issue])),
            random.choice(grammar["resolution"][resolution]),
        ]
        if has_order:
            wording = random.choice(
                ["BM-{}", "BM-{}", "BM-{}", "bm-{}", "BM{}", "{}", "#{}", "BM {}"]
            ).format(number)
            order = random.choice(grammar["order"]).replace("<oid>", wording)
            parts.insert(random.randint(0, 2), order)
        parts.insert(random.randint(0, len(parts)), self._expand(random.choice(grammar["filler"])))
        parts.insert(0, random.choice(self.routing["opening"]))
        parts.append(self._expand(random.choice(self.routing["close"])) if random.random() < 0.5 else "")
        text = self._style(parts).replace("<pp>", self._amount(product, quantity))
        target = {
            "order_id": f"BM-{number}" if has_order else None,
            "product": product,
            "issue": issue,
            "quantity": quantity,
            "resolution": resolution or None,
        }
        return text, json.dumps(target)

    # -- pieces

    def _facts(self) -> Iterator[tuple[str | tuple[list[str], str], str]]:
        for table in ("products", "shops", "countries"):
            for subject, attributes in self.company[table].items():
                for attribute, answer in attributes.items():
                    yield (self.answers[attribute], subject), answer
        for policy in self.company["policies"]:
            yield (policy["ask"], ""), policy["answer"]

    def _subject(self, name: str) -> str:
        if name not in self.products:
            return name
        return (
            self.random.choice(["the ", "the ", "the ", "your ", "a ", "this ", "that ", "one ", ""]) + name
        )

    def _amount(self, product: str, quantity: int) -> str:
        random = self.random
        name = product if random.random() < 0.65 else product.split(" ", 1)[1]
        if quantity > 1:
            head, _, last = name.rpartition(" ")
            name = f"{head} {PLURALS.get(last, last + 's')}".strip()
        return f"{random.choice(COUNTS[quantity])} {name if random.random() < 0.75 else name.lower()}"

    def _expand(self, phrase: str) -> str:
        """Choose among [a|b] and fill <slots>. <pp> is left for the caller."""
        random = self.random
        phrase = re.sub(r"\[([^\]]*)\]", lambda m: random.choice(m[1].split("|")), phrase)
        slots = {
            "p": lambda: random.choice(["the ", "my ", "a ", "your ", ""]) + random.choice(self.products),
            "thing": lambda: random.choice(
                [*self.words["thing"], *(p.split(" ", 1)[1] for p in self.products)]
            ),
            "id": lambda: random.choice(["BM-", "bm", "#", ""]) + str(random.randint(1000, 9999)),
            "money": lambda: (
                f"{random.choice(['€', ''])}{random.randint(5, 480)}{random.choice(['', '.50', ' euros'])}"
            ),
            "town": lambda: random.choice(list(self.company["shops"])),
            "pp": lambda: "<pp>",
        }

        def fill(slot: re.Match[str]) -> str:
            return slots[slot[1]]() if slot[1] in slots else random.choice(self.words[slot[1]])

        return re.sub(r"<(\w+)>", fill, phrase).strip()

    def _style(self, parts: list[str], question: bool = False) -> str:
        """Join parts as people write: sentences, bare chat lines or capitals, some with slips."""
        random = self.random
        parts = [part for part in parts if part]
        manner = random.random()
        if manner < 0.55:
            ends = ["?"] if question else [".", ".", ".", "!", "?", ","]
            text = " ".join(part[:1].upper() + part[1:] + random.choice(ends) for part in parts).rstrip(",")
        else:
            text = random.choice([" ", ", ", ". "]).join(parts)
            text = text.lower() if manner < 0.85 else text
            text = text.upper() if manner > 0.97 and "<pp>" not in text else text
            text += random.choice(["", "", "?", "!!", "."])
        return _slips(text, random) if random.random() < 0.3 and "<pp>" not in text else text


def _load(name: str) -> dict[str, Any]:
    return yaml.safe_load((HERE / name).read_text("utf-8"))


def _extend(grammar: dict[str, Any], more: dict[str, Any]) -> None:
    """Add the phrases of `more` to the lists of the same name."""
    for name, phrases in more.items():
        if isinstance(phrases, dict):
            _extend(grammar[name], phrases)
        else:
            grammar[name].extend(phrases)


def _third_person(text: str, random: Random) -> str:
    they, their = random.choice([("he", "his"), ("she", "her"), ("they", "their"), ("customer", "the")])
    for pattern, word in (
        (r"\bI'm\b", f"{they} is"),
        (r"\bI\b", they),
        (r"\b[Mm]y\b", their),
        (r"\bme\b", "them"),
    ):
        text = re.sub(pattern, word, text)
    return text


def _slips(text: str, random: Random) -> str:
    """Drop, double or swap a letter in about one word of twelve; figures and names of orders stay whole."""
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) < 4 or not word.isalpha() or random.random() > 0.08:
            continue
        at = random.randint(1, len(word) - 2)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        words[place] = random.choice([word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], swapped])
    return " ".join(words)
