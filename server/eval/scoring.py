"""What an answer is worth, 0 to 1, by the rule of each benchmark."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

Metric = Callable[[str, Sequence[str]], float]
"""The worth of an answer, given the right ones."""


def exact(answer: str, right: Sequence[str]) -> float:
    """1 if the answer is one of the right ones, but for case, outer space and a final full stop."""
    said = _plain(answer)
    return float(any(said == _plain(one) for one in right))


def vqa_accuracy(answer: str, right: Sequence[str]) -> float:
    """VQA accuracy (TextVQA): people agree in part.

    An answer counts min(1, matches / 3), averaged over leaving out each of the people in turn;
    words are compared after VQA's normalisation of punctuation, numbers and articles.
    """
    said, people = vqa_words(answer), [vqa_words(one) for one in right]
    if not people:
        return 0.0
    matches = sum(said == one for one in people)
    # Leaving out a person who agrees leaves one match fewer.
    shares = [min(1.0, (matches - (said == one)) / 3) for one in people]
    return sum(shares) / len(shares) if len(people) > 1 else float(matches > 0)


def anls(answer: str, right: Sequence[str]) -> float:
    """Average normalised Levenshtein similarity (DocVQA, InfographicVQA).

    1 minus the edit distance to the nearest right answer over the longer one's length; 0 where
    half or more would have to change.
    """
    said = _spaced(answer)
    best = max((_similarity(said, _spaced(one)) for one in right), default=0.0)
    return best if best > 0.5 else 0.0


def relaxed(answer: str, right: Sequence[str]) -> float:
    """Relaxed accuracy (ChartQA): numbers within 5 %, anything else the same but for case."""
    return float(any(_relaxed(answer, one) for one in right))


def choice(answer: str, right: Sequence[str]) -> float:
    """Multiple choice (V*, HR-Bench): the letter that the answer names first."""
    named = re.search(r"(?<![A-Za-z])\(?([A-Z])\)?(?![A-Za-z'])", answer.strip())
    return float(bool(named) and named is not None and named[1] in right)


def vqa_words(text: str) -> str:
    """An answer as the VQA evaluation compares it (EvalAI's processor, its oddities included)."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    text = text.replace("\n", " ").replace("\t", " ").strip()
    words = text
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        words = words.replace(mark, "" if beside_space else " ")
    words = re.sub(r"\.(?!\d)", "", words)
    numbered = [_NUMBERS.get(word, word) for word in words.split()]
    kept = [_CONTRACTIONS.get(word, word) for word in numbered if word not in _ARTICLES]
    return " ".join(kept)


_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_ARTICLES = ("a", "an", "the")
_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
    "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_SHORTENED = (
    "ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd "
    "how's i'd've i'm i've isn't it'd it'll let's ma'am might've mightn't must've mustn't "
    "needn't not've o'clock shan't she'd've should've shouldn't that'd that's there'd there's "
    "they'd they'll they're they've wasn't we've weren't what'll what're what's what've when's "
    "where'd where's where've who'd who'll who's who've why'll why're why's won't would've "
    "wouldn't y'all you'd you'll you're you've"
)
# Words that lost their apostrophe; those of VQA's list that can be told from other words.
_CONTRACTIONS = {word.replace("'", ""): word for word in _SHORTENED.split()}


def _plain(text: str) -> str:
    return text.strip().lower().removesuffix(".")


def _spaced(text: str) -> str:
    return " ".join(text.strip().lower().split())


def _relaxed(answer: str, right: str) -> bool:
    said, meant = _number(answer), _number(right)
    if said is not None and meant:
        return abs(said - meant) / abs(meant) <= 0.05
    return _plain(answer) == _plain(right)


def _number(text: str) -> float | None:
    """A number, or a percentage as its share; None for anything else."""
    text = text.strip().removesuffix(".")
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _similarity(first: str, second: str) -> float:
    longer = max(len(first), len(second))
    return 1.0 if not longer else 1 - _edits(first, second) / longer


def _edits(first: str, second: str) -> int:
    """Levenshtein distance."""
    above = list(range(len(second) + 1))
    for row, letter in enumerate(first, 1):
        here = [row]
        for (corner, over), other in zip(pairwise(above), second, strict=True):
            here.append(min(over + 1, here[-1] + 1, corner + (letter != other)))
        above = here
    return above[-1]
