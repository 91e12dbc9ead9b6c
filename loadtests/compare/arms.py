"""What is compared: an arm is a server and the fields of its requests beside the question.

All arms get the same pages. `plain` and what only differs from it in tokens go to stock vLLM, a
server of the same model and flags in a process without our plugins; the rest go to ours, some
of them to a baseline in the same engine (`baselines/`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

CELL = 28
"""Pixels on a side of one visual token of Qwen2.5-VL."""

Size = tuple[int, int]
Fields = Callable[[Size, bool], dict[str, Any]]
"""From the picture's (width, height), and whether it is legible in the base view, to what is added
to the chat's body."""

FILLER = "Read every line of the page with care before you say anything at all. " * 3
"""Text before the question that changes only the number of text tokens."""


@dataclass(frozen=True)
class Arm:
    """One kind of request. `calibration` arms serve the cost model alone (`analysis/limit.py`)."""

    name: str
    server: Literal["stock", "sdrpn"]
    fields: Fields
    base_tokens: int
    filler: str = ""
    calibration: bool = False
    encoded_again: int = 0
    """How many times more than once the vision tower encodes the base view."""
    share: float = 1.0
    """Of the requests that other arms get: less for slow arms."""


@dataclass(frozen=True)
class Budgets:
    """Visual tokens of base view and crop, and of `plain` with more tokens."""

    base: int
    crop: int
    more: tuple[int, ...]
    forced: bool = False
    """For an RPN without trained weights: its whole map is the region, and the gate is told which
    pages are legible."""


def all_arms(budgets: Budgets) -> list[Arm]:
    """Every arm; the reference of all ratios is first."""
    base = budgets.base
    roi: dict[str, Any] = {"base_tokens": base, "crop_tokens": budgets.crop}
    if budgets.forced:
        roi["threshold"] = 0.0
    zoom = {"roi": roi}
    gate = _always({"roi": {**roi, "gate": True}})
    return [
        Arm("plain", "stock", _budget(base), base),
        Arm("plain, longer question", "stock", _budget(base), base, FILLER, calibration=True),
        *(_more_tokens(more, base) for more in budgets.more),
        Arm("unused", "sdrpn", _always({"roi": {**roi, "enabled": False}}), base),
        Arm("zoom", "sdrpn", _always(zoom), base),
        Arm("gate", "sdrpn", _told(roi) if budgets.forced else gate, base),
        Arm(
            "recompute", "sdrpn", _always({**zoom, "baseline": "recompute"}), base, encoded_again=1
        ),
        Arm("vicrop", "sdrpn", _always({**zoom, "baseline": "vicrop"}), base, encoded_again=2),
        Arm("vicrop, cached", "sdrpn", _always({**zoom, "baseline": "vicrop-cached"}), base),
        Arm("s2", "sdrpn", _tiles(base), base),
    ]


def _always(fields: dict[str, Any]) -> Fields:
    return lambda size, legible: fields


def _told(roi: dict[str, Any]) -> Fields:
    """A gate that is right about every page, in place of a trained one."""
    return lambda size, legible: {"roi": {**roi, "gate": {"min_peak": 1.0 if legible else 0.0}}}


def _more_tokens(tokens: int, base: int) -> Arm:
    share = min(1.0, 4 * base / tokens)
    return Arm(f"more tokens: {tokens}", "stock", _budget(tokens), tokens, share=share)


def _budget(tokens: int) -> Fields:
    """A token budget in stock vLLM: its image processor scales to at most so many pixels."""
    return _always({"mm_processor_kwargs": {"max_pixels": tokens * CELL * CELL}})


def _tiles(base: int) -> Fields:
    """S² (arXiv 2403.13043) for a model not trained for it: the picture at twice the scale in four
    tiles, each as large as the base view, as pictures beside it. The paper pools the tiles'
    features into the base view's tokens, for which a model must be trained.
    """

    def quarters(size: Size, legible: bool) -> dict[str, Any]:
        (x, y), (w, h) = (size[0] // 2, size[1] // 2), size
        boxes = [[0, 0, x, y], [x, 0, w, y], [0, y, x, h], [x, y, w, h]]
        return {"roi": {"base_tokens": base, "crop_tokens": base, "boxes": boxes}}

    return quarters
