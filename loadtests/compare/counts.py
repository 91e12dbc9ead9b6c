"""What one request of an arm costs in tokens, whatever the machine."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.compare.clients import Answer


@dataclass(frozen=True)
class Tokens:
    """Of a mean request: prompt tokens computed and found cached in all its passes, visual tokens
    that the vision tower encoded, and answer tokens.
    """

    prefilled: float
    cached: float
    encoded: float
    decoded: float


def tokens(answers: Sequence[Answer], text: float, base: int, encoded_again: int = 0) -> Tokens:
    """The mean of `answers`.

    `text` is how many tokens of a prompt are none of a picture's. Every view is encoded once, but
    for base views of `base` tokens, which some arms encode again so many times.
    """
    return Tokens(
        prefilled=_mean(sum(read.prefilled for read in a.passes) for a in answers),
        cached=_mean(sum(read.cached for read in a.passes) for a in answers),
        encoded=_mean(a.passes[-1].prompt - text for a in answers) + encoded_again * base,
        decoded=_mean(a.completion_tokens for a in answers),
    )


def _mean(values: object) -> float:
    return statistics.fmean(values)  # type: ignore[arg-type]
