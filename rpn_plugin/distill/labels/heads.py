"""Which attention heads to learn from: as named, all of the middle, or found without any boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rpn_plugin.distill.settings import SettingsError

Heads = Mapping[int, tuple[int, ...]]
"""Heads of each layer, both counted from 0."""


@dataclass(frozen=True)
class Source:
    """Where labels come from: the heads to learn from, those that show sinks, and the rows of
    attention (see `BaseModel.attention`)."""

    grounding: Heads
    sinking: Heads
    queries: str


def parse_heads(text: str, layers: int, heads: int) -> Heads:
    """Heads written as "16:1,7,17;19:17,20", or "16:*" for all of a layer.

    SettingsError if the text is none such, or a model of so many `layers` and `heads` has no such.
    """
    chosen: dict[int, tuple[int, ...]] = {}
    for part in filter(None, text.replace(" ", "").split(";")):
        layer_text, colon, head_text = part.partition(":")
        try:
            layer = int(layer_text)
            numbers = range(heads) if head_text == "*" else [int(h) for h in head_text.split(",")]
        except ValueError:
            raise SettingsError(f"heads are written as 16:1,7;19:17, not {part!r}") from None
        if not colon or not 0 <= layer < layers or not all(0 <= h < heads for h in numbers):
            raise SettingsError(f"{part!r}: the model has {layers} layers of {heads} heads")
        chosen[layer] = tuple(sorted({*numbers, *chosen.get(layer, ())}))
    return chosen


def show_heads(heads: Heads) -> str:
    """The text that `parse_heads` reads."""
    return ";".join(f"{n}:{','.join(map(str, heads[n]))}" for n in sorted(heads))


def middle_heads(layers: int, heads: int) -> Heads:
    """All heads of the middle third of the layers."""
    return {
        n: tuple(range(heads)) for n in range(layers // 3, max(layers // 3 + 1, 2 * layers // 3))
    }


def all_heads(layers: int, heads: int) -> Heads:
    """Every head of every layer."""
    return {n: tuple(range(heads)) for n in range(layers)}


def grouped(pairs: Sequence[tuple[int, int]]) -> Heads:
    """Heads by layer, from (layer, head) pairs."""
    return {
        n: tuple(sorted(h for layer, h in pairs if layer == n))
        for n in sorted({p[0] for p in pairs})
    }
