"""What the token counts allow: how fast an arm could be if nothing cost time but its tokens.

Seconds per request, at one concurrency, are taken to be

    once + encode * visual tokens + prefill * prompt tokens computed + decode * answer tokens

and the four prices are fitted (none below zero) to what stock vLLM took in the same session: with
small and large base views, short and longer questions, short and long answers. `once` is paid once
a request, by two passes too; so whatever a second pass costs beside its tokens, in either process,
is missing from the limit, and seen in the distance from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from loadtests.compare.counts import Tokens


@dataclass(frozen=True)
class Prices:
    """Seconds: for a request, and for each token encoded, prefilled, decoded. `error` is the
    largest relative distance of a measured time from the model's.
    """

    once: float
    encode: float
    prefill: float
    decode: float
    error: float

    def seconds(self, tokens: Tokens) -> float:
        """What a request of so many tokens takes."""
        spent = self.encode * tokens.encoded + self.prefill * tokens.prefilled
        return self.once + spent + self.decode * tokens.decoded


def fit(measured: Sequence[tuple[Tokens, float]]) -> Prices | None:
    """Prices from (tokens, seconds) of requests; None from fewer than three kinds of them.

    Three, of answers of one length, fit exactly, and tell nothing of what answer tokens cost.
    Relative errors count: a short request's as much as a long one's.
    """
    if len(measured) < 3:
        return None
    rows = np.array([[1.0, t.encoded, t.prefilled, t.decoded] for t, _ in measured])
    seconds = np.array([s for _, s in measured])
    prices, _ = nnls(rows / seconds[:, None], np.ones(len(measured)))
    error = float(np.abs(rows @ prices / seconds - 1).max())
    once, encode, prefill, decode = prices.tolist()
    return Prices(once, encode, prefill, decode, error)
