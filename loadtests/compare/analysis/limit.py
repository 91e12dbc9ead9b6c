"""The throughput that token counts allow: how fast an arm could be if only tokens took time.

The latency of a request, at one concurrency, is modelled as

    base + encode * visual tokens + prefill * prompt tokens computed + decode * answer tokens

and the four costs are fitted (none below zero) to the stock arms of the same session: small and
large base views, short and longer questions, short and long answers. `base` is paid once for a
request, by two passes too. Whatever a second pass costs beside its tokens, in either process, is
therefore missing from the limit, and shows as the distance from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from loadtests.compare.analysis.token_counts import TokenCounts


@dataclass(frozen=True)
class TokenCosts:
    """Seconds for a request, and for each token encoded, prefilled, decoded.

    `error` is the largest relative distance of a measured time from the model's.
    """

    base: float
    encode: float
    prefill: float
    decode: float
    error: float

    def seconds(self, counts: TokenCounts) -> float:
        """The modelled time of a request with these token counts."""
        spent = self.encode * counts.encoded + self.prefill * counts.prefilled
        return self.base + spent + self.decode * counts.decoded


def fit(measured: Sequence[tuple[TokenCounts, float]]) -> TokenCosts | None:
    """Costs from (token counts, seconds) of requests; None from fewer than three kinds of them.

    Three kinds with answers of one length fit exactly, and say nothing about the cost of answer
    tokens. Relative errors count: a short request weighs as much as a long one.
    """
    if len(measured) < 3:
        return None
    rows = np.array([[1.0, t.encoded, t.prefilled, t.decoded] for t, _ in measured])
    seconds = np.array([s for _, s in measured])
    costs, _ = nnls(rows / seconds[:, None], np.ones(len(measured)))
    error = float(np.abs(rows @ costs / seconds - 1).max())
    base, encode, prefill, decode = costs.tolist()
    return TokenCosts(base, encode, prefill, decode, error)
