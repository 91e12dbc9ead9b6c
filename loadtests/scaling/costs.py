"""What one request costs: tokens first, which hold on any machine, then seconds of one machine."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

CELL = 28
"""Pixels on a side of one visual token (Qwen2.5-VL)."""


@dataclass(frozen=True)
class Ask:
    """A question about a picture, in tokens: `base` and `crop` are the budgets (no `crop`: plain,
    without pass 1), `text` is the system prompt, `question` the rest of the chat, `block` a block
    of the cache. `zooms` is the share of questions that get a crop.
    """

    base: int
    crop: int = 0
    zooms: float = 1.0
    text: int = 25
    question: int = 30
    answer: int = 16
    block: int = 16


@dataclass(frozen=True)
class Tokens:
    """Of one request: encoded by the vision tower, prefilled, decoded, and read by the RPN."""

    encoded: float
    prefilled: float
    decoded: float
    rpn: float

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.encoded + other.encoded,
            self.prefilled + other.prefilled,
            self.decoded + other.decoded,
            self.rpn + other.rpn,
        )

    def times(self, share: float) -> Tokens:
        """That many of it."""
        return Tokens(
            self.encoded * share, self.prefilled * share, self.decoded * share, self.rpn * share
        )


def first_pass(ask: Ask, known: bool) -> Tokens:
    """What pass 1 computes, or the only one; `known`: its replica has had a question about that
    picture before. A prefix is found in whole blocks, so half a block of it is computed again on
    average.
    """
    prompt = ask.question + (ask.block / 2 if known else ask.text + ask.base)
    encoded = 0 if known else ask.base
    return (
        Tokens(encoded, prompt, 0, prompt) if ask.crop else Tokens(encoded, prompt, ask.answer, 0)
    )


def second_pass(ask: Ask, zoomed: bool) -> Tokens:
    """What pass 2 computes. Without a crop its prompt is pass 1's: its last block alone."""
    again = ask.block / 2
    if not zoomed:
        return Tokens(0, again, ask.answer, 0)
    return Tokens(ask.crop, again + ask.crop + ask.question, ask.answer, 0)


def tokens(ask: Ask, known: bool) -> Tokens:
    """Both passes of a mean request."""
    if not ask.crop:
        return first_pass(ask, known)
    zoomed = second_pass(ask, True).times(ask.zooms)
    return first_pass(ask, known) + zoomed + second_pass(ask, False).times(1 - ask.zooms)


def mean_tokens(ask: Ask, known_share: float) -> Tokens:
    """Of a mean request, that share of which finds its picture known."""
    return tokens(ask, True).times(known_share) + tokens(ask, False).times(1 - known_share)


@dataclass(frozen=True)
class Prices:
    """Seconds a machine is busy: for a request's every pass, and for each token of a kind."""

    name: str
    a_pass: float
    encode: float
    prefill: float
    decode: float
    rpn: float

    def seconds(self, spent: Tokens, passes: float) -> float:
        """For so many tokens in so many passes."""
        return (
            self.a_pass * passes
            + self.encode * spent.encoded
            + self.prefill * spent.prefilled
            + self.decode * spent.decoded
            + self.rpn * spent.rpn
        )


def passes(ask: Ask) -> int:
    """Through the engine."""
    return 2 if ask.crop else 1


def seconds(ask: Ask, prices: Prices, known_share: float = 0.0) -> float:
    """What a mean request keeps the machine busy."""
    return prices.seconds(mean_tokens(ask, known_share), passes(ask))


def base_to_read(pixels: int, text_height: float, readable: float = 12.0) -> int:
    """Base tokens that show text `text_height` pixels tall in the original `readable` pixels tall;
    never more than the original has.
    """
    return ceil(pixels / CELL**2 * min(1.0, readable / text_height) ** 2)


def questions_even(plain: Ask, zoom: Ask, prices: Prices) -> float:
    """So many questions about one picture, on the replica that knows it, cost the same either way;
    with more, the larger base view of `plain` is cheaper: it is paid once a picture, a crop with
    every question.
    """
    plain_new, plain_known = (seconds(plain, prices, share) for share in (0.0, 1.0))
    zoom_new, zoom_known = (seconds(zoom, prices, share) for share in (0.0, 1.0))
    return ((plain_new - plain_known) - (zoom_new - zoom_known)) / (zoom_known - plain_known)


def break_even(ask: Ask, prices: Prices, known_share: float = 0.0) -> float:
    """The base budget at which a plain request costs what `ask` costs: where that would still not
    be enough to read by, zooming is the cheaper way.
    """
    zooming = seconds(ask, prices, known_share)
    low, high = 0.0, 1e6
    for _ in range(60):
        middle = (low + high) / 2
        plain = Ask(0, 0, text=ask.text, question=ask.question, answer=ask.answer, block=ask.block)
        spent = mean_tokens(plain, known_share)
        new = (1 - known_share) * middle
        cost = prices.seconds(spent + Tokens(new, new, 0, 0), 1)
        low, high = (middle, high) if cost < zooming else (low, middle)
    return low
