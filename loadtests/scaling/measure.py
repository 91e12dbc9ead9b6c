"""Prices of this machine, from an engine on it: `python -m loadtests.scaling --measure`.

Requests of different make-up are timed one at a time, by turns, and the prices fitted to them (none
below zero). Then a zoom they were not fitted to is foretold and measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import nnls
from vllm.outputs import RequestOutput

from loadtests.ideas.alternating import alternate
from loadtests.ideas.engines import Ask as Request
from loadtests.ideas.engines import Engine, View, engines, noise
from loadtests.scaling.costs import Prices, Tokens
from server.launch import SHIPPED_MODEL


@dataclass(frozen=True)
class _Kind:
    """A request: sides of a new view's grid (0: none), words asked, tokens answered."""

    side: int = 0
    words: int = 10
    answer: int = 1
    roi: bool = False

    def tokens(self, prompt: int) -> Tokens:
        visual = self.side**2
        return Tokens(visual, prompt, self.answer - 1, prompt if self.roi else 0)


_KINDS = (
    _Kind(), _Kind(words=100), _Kind(words=200), _Kind(answer=33), _Kind(8), _Kind(16), _Kind(24),
    _Kind(8, roi=True), _Kind(16, roi=True), _Kind(24, roi=True),
)  # fmt: skip
_BASE, _CROP = _Kind(16, roi=True), _Kind(8, answer=9)


def measure(rounds: int) -> Prices:
    """Prices of the shipped model on this machine; prints how far off they are."""
    with engines(SHIPPED_MODEL, {"sdrpn": {"max_model_len": 4096}}) as running:
        engine = running["sdrpn"]
        views = {
            kind: [noise(kind.side, kind.side, 1000 * n + place) for n in range(rounds + 1)]
            for place, kind in enumerate(_KINDS)
            if kind.side
        }
        lengths = {kind: _ask(engine, kind, _some(views, kind, 0), 0) for kind in _KINDS}
        timed = alternate(
            {str(kind): partial(_timed, engine, kind, views) for kind in _KINDS}, rounds
        )
        pairs = [_zoom_views(n) for n in range(rounds + 2)]
        zoom_tokens = _zoom(engine, *pairs[-1], rounds + 1)
        zoom = alternate({"zoom": lambda n: _zoom(engine, *pairs[n], n)}, rounds)
    seconds = [statistics.median(timed.seconds[str(kind)]) for kind in _KINDS]
    spent = [kind.tokens(lengths[kind]) for kind in _KINDS]
    prices = _fit(spent, seconds)
    off = [prices.seconds(t, 1) / s - 1 for t, s in zip(spent, seconds, strict=True)]
    print(f"prices are off by {min(off):+.1%} to {max(off):+.1%} on what they were fitted to")
    found = statistics.median(zoom.seconds["zoom"])
    told = prices.seconds(zoom_tokens, 2)
    print(f"a zoom: foretold {told * 1e3:.1f} ms, measured {found * 1e3:.1f} ms")
    return prices


def _some(views: dict[_Kind, list[View]], kind: _Kind, number: int) -> Sequence[View]:
    return [views[kind][number]] if kind.side else []


def _timed(engine: Engine, kind: _Kind, views: dict[_Kind, list[View]], number: int) -> None:
    _ask(engine, kind, _some(views, kind, number), number + 1)


def _ask(engine: Engine, kind: _Kind, views: Sequence[View], number: int) -> int:
    """Sends one; how many prompt tokens it had to compute."""
    question = f"{number} {kind.roi}" + " red" * kind.words
    (output,) = engine.ask(Request(views, question, kind.roi, kind.answer))
    return _computed(output)


def _computed(output: RequestOutput) -> int:
    return len(output.prompt_token_ids or ()) - (output.num_cached_tokens or 0)


def _zoom_views(number: int) -> tuple[View, View]:
    return (
        noise(_BASE.side, _BASE.side, 10**6 + number),
        noise(_CROP.side, _CROP.side, 2 * 10**6 + number),
    )


def _zoom(engine: Engine, base: View, crop: View, number: int) -> Tokens:
    """Two passes, as the server sends them; what they computed."""
    question = f"{number} red red red red red"
    (one,) = engine.ask(Request([base], question, roi=True))
    (two,) = engine.ask(Request([base, crop], question, max_tokens=_CROP.answer))
    first, second = _computed(one), _computed(two)
    return Tokens(_BASE.side**2 + _CROP.side**2, first + second, _CROP.answer - 1, first)


def _fit(spent: Sequence[Tokens], seconds: Sequence[float]) -> Prices:
    rows = np.array([[1.0, t.encoded, t.prefilled, t.decoded, t.rpn] for t in spent])
    prices, _ = nnls(rows / np.array(seconds)[:, None], np.ones(len(seconds)))
    return Prices("shipped model on this CPU, measured", *prices.tolist())
