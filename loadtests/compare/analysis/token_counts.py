"""The tokens of one request of an arm, which do not depend on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from loadtests.compare.streaming import Answer


@dataclass(frozen=True)
class TokenCounts:
    """Of a mean request: prompt tokens computed and found cached in all its passes, visual tokens
    that the vision tower encoded, and answer tokens.
    """

    prefilled: float
    cached: float
    encoded: float
    decoded: float


def mean_counts(
    answers: Sequence[Answer], text: float, base: int, encoded_again: int = 0
) -> TokenCounts:
    """The mean of `answers`.

    `text` is the number of prompt tokens that are not visual. Every view is encoded once; some arms
    encode base views, of `base` tokens, `encoded_again` times more.
    """
    return TokenCounts(
        prefilled=fmean(sum(part.prefilled for part in a.passes) for a in answers),
        cached=fmean(sum(part.cached for part in a.passes) for a in answers),
        encoded=fmean(a.passes[-1].prompt - text for a in answers) + encoded_again * base,
        decoded=fmean(a.completion_tokens for a in answers),
    )
