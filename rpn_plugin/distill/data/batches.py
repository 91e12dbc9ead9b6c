"""Batches of samples made ready for the model, in an order that only their numbers decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.prompts import Prompts
from rpn_plugin.distill.data.samples import BadRow, RejectedRow, Sample
from rpn_plugin.distill.progress import ahead


@dataclass(frozen=True)
class Chats:
    """Prompts of the samples with these `numbers`; `sizes` (width, height) of their pictures."""

    numbers: tuple[int, ...]
    prompts: Prompts
    sizes: tuple[tuple[int, int], ...]


Loaded = tuple[int, Image.Image, tuple[int, int]]
"""Number of a sample, its base view, the size of its picture."""


def chats_of(
    base: BaseModel,
    samples: Sequence[Sample],
    batches: Iterable[Sequence[int]],
    threads: int,
    rejected: list[RejectedRow],
    question: Callable[[int], str] | None = None,
    change: Callable[[Image.Image], Image.Image] = lambda picture: picture,
) -> Iterator[Chats]:
    """Chats of each batch of sample numbers; pictures are loaded ahead by `threads` threads.

    Samples whose picture cannot be decoded are left out and added to `rejected`; a batch of
    nothing else is left out too. `question` and `change` put another question, or alter the
    picture.
    """
    ask = question or (lambda number: samples[number].question)

    def load(numbers: Sequence[int]) -> list[Loaded | RejectedRow]:
        loaded: list[Loaded | RejectedRow] = []
        for number in numbers:
            try:
                picture = change(samples[number].picture())
                loaded.append((number, base.view(picture), picture.size))
            except BadRow as error:
                loaded.append(RejectedRow(samples[number].row, str(error)))
        return loaded

    for items in ahead(load, batches, threads):
        rejected += [item for item in items if isinstance(item, RejectedRow)]
        good = [item for item in items if not isinstance(item, RejectedRow)]
        if good:
            numbers, views, sizes = zip(*good, strict=True)
            yield Chats(numbers, base.prompts(views, [ask(n) for n in numbers]), sizes)


def chunks(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    """`numbers` in runs of `size`, the last one shorter."""
    return [numbers[i : i + size] for i in range(0, len(numbers), size)]
