"""What the RPN reads of each question: computed as it is needed, or once and kept on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rpn_plugin.distill.base_model import BaseModel, TapStates
from rpn_plugin.distill.data.batches import chats_of, chunks
from rpn_plugin.distill.data.samples import RejectedRow, Sample
from rpn_plugin.distill.data.shards import Shards
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings


@dataclass(frozen=True)
class StateBatch:
    """States of the samples with these `numbers`; `cells` int64 [batch, most cells], -1 for none:
    where in the sequence the picture's tokens are; `grids`: rows and columns of each."""

    numbers: tuple[int, ...]
    tapped: TapStates
    cells: Tensor
    grids: tuple[tuple[int, int], ...]


class States(Protocol):
    """Where states come from."""

    def batches(self, numbers: Sequence[Sequence[int]]) -> Iterator[StateBatch]:
        """The states of each batch of sample numbers, in order."""


class LiveStates:
    """Runs the model's first layers on every batch."""

    def __init__(self, base: BaseModel, samples: Sequence[Sample], threads: int) -> None:
        self._base, self._samples, self._threads = base, samples, threads

    def batches(self, numbers: Sequence[Sequence[int]]) -> Iterator[StateBatch]:
        """See States. Every sample's picture must have been decoded before, for its labels."""
        rejected: list[RejectedRow] = []
        for chats in chats_of(self._base, self._samples, numbers, self._threads, rejected):
            if rejected:
                raise OSError(f"row {rejected[0].row} had a picture before: {rejected[0].reason}")
            prompts = chats.prompts
            cells = prompts.cells().to(self._base.device)
            yield StateBatch(chats.numbers, self._base.tapped(prompts), cells, prompts.grids)


class StateReader:
    """Reads states from shards that were written before."""

    def __init__(self, shards: Shards, device: torch.device) -> None:
        self._device = device
        self._places: dict[int, tuple[Any, _Place]] = {}
        for shard in range(shards.count):
            file = safe_open(shards.path(shard), framework="pt")
            for place in _places(shards.read_some(shard, ("numbers", "lengths", "grids"))):
                self._places[place.number] = (file, place)

    def batches(self, numbers: Sequence[Sequence[int]]) -> Iterator[StateBatch]:
        """See States."""
        for batch in numbers:
            read = [self._read(*self._places[number]) for number in batch]
            hidden, positions, cells = zip(*read, strict=True)
            yield StateBatch(
                tuple(batch),
                TapStates(
                    pad_sequence(list(hidden), batch_first=True).to(self._device),
                    pad_sequence([p.T for p in positions], batch_first=True)
                    .permute(2, 0, 1)
                    .to(self._device),
                    torch.tensor([len(h) - 1 for h in hidden], device=self._device),
                ),
                pad_sequence(list(cells), batch_first=True, padding_value=-1).to(self._device),
                tuple(self._places[number][1].grid for number in batch),
            )

    @staticmethod
    def _read(file: Any, place: _Place) -> tuple[Tensor, Tensor, Tensor]:
        tokens = slice(place.first, place.first + place.length)
        cells = slice(place.first_cell, place.first_cell + place.grid[0] * place.grid[1])
        return (
            file.get_slice("hidden")[tokens],
            file.get_slice("positions")[:, tokens],
            file.get_slice("cells")[cells],
        )


@dataclass(frozen=True)
class _Place:
    number: int
    first: int
    length: int
    first_cell: int
    grid: tuple[int, int]


def _places(tensors: Mapping[str, Tensor]) -> Iterator[_Place]:
    first = first_cell = 0
    for number, length, (rows, cols) in zip(
        *(tensors[name].tolist() for name in ("numbers", "lengths", "grids")), strict=True
    ):
        yield _Place(number, first, length, first_cell, (rows, cols))
        first, first_cell = first + length, first_cell + rows * cols


def keep_states(
    base: BaseModel,
    samples: Sequence[Sample],
    numbers: Sequence[int],
    folder: Path,
    about: Mapping[str, Any],
    settings: DistillSettings,
    processes: Processes,
    log: Log,
) -> StateReader:
    """Writes the states of samples `numbers` to `folder`, as far as they are not there yet."""
    pieces = chunks(numbers, settings.shard)
    if processes.first:
        Shards(folder, len(pieces), about)
    processes.wait()
    shards = Shards(folder, len(pieces), about)
    live = LiveStates(base, samples, settings.workers)
    missing = shards.missing()
    bar = log.bar("states", len(numbers), len(numbers) - sum(len(pieces[n]) for n in missing))
    for shard in missing[processes.rank :: processes.count]:
        batches = list(live.batches(chunks(pieces[shard], settings.micro_batch)))
        shards.write(shard, _packed(batches))
        bar.update(len(pieces[shard]) * processes.count)
    bar.close()
    processes.wait()
    return StateReader(shards, processes.device)


def _packed(batches: Sequence[StateBatch]) -> dict[str, Tensor]:
    hidden, positions, cells, lengths = [], [], [], []
    for batch in batches:
        for place, last in enumerate(batch.tapped.query_index.tolist()):
            hidden.append(batch.tapped.hidden[place, : last + 1].cpu())
            positions.append(batch.tapped.positions[:, place, : last + 1].cpu())
            cells.append(batch.cells[place][batch.cells[place] >= 0].cpu())
            lengths.append(last + 1)
    return {
        "numbers": torch.tensor([n for batch in batches for n in batch.numbers]),
        "lengths": torch.tensor(lengths),
        "grids": torch.tensor([grid for batch in batches for grid in batch.grids]),
        "hidden": torch.cat(hidden),
        "positions": torch.cat(positions, 1),
        "cells": torch.cat(cells),
    }
