"""What a network computes for a step's jobs, worked out on the host: which tokens, in which slices,
and into which pages.

The tokens to compute of all jobs stand one after another and are cut into slices of at most so many
tokens, wherever a prompt ends. A job may use pages that an earlier job of the same batch writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rpn_plugin.engine.jobs import RoiJob
from rpn_plugin.engine.runner.ragged_attention import Sequences
from rpn_plugin.engine.runner.rpn_prefix_cache import RpnPrefixCache

Indices = NDArray[np.int64]


class IndexBuffer:
    """Collects the integers of a batch; one copy from pinned memory moves them to the device."""

    def __init__(self) -> None:
        self._parts: list[Indices] = []
        self._length = 0

    def add(self, values: Indices | Sequence[int]) -> slice:
        """Where the values will stand."""
        part = np.asarray(values, dtype=np.int64).ravel()
        self._parts.append(part)
        self._length += len(part)
        return slice(self._length - len(part), self._length)

    def to(self, device: torch.device) -> Tensor:
        """All values, int64."""
        values = torch.from_numpy(np.concatenate(self._parts))
        if device.type == "cuda":
            values = values.pin_memory()
        return values.to(device, non_blocking=True)


@dataclass(frozen=True)
class Task:
    """A job with all pages of its prompt, of which the first hold `cached_tokens`."""

    job: RoiJob
    pages: list[int]
    cached_tokens: int

    @property
    def uncached_tokens(self) -> int:
        """Tokens to compute; at least one."""
        return self.job.prompt_length - self.cached_tokens

    def slots(self, tokens: Indices, page_tokens: int) -> Indices:
        """Where the keys of these tokens stand among all tokens of all pages."""
        pages = np.asarray(self.pages)
        return pages[tokens // page_tokens] * page_tokens + tokens % page_tokens


@dataclass(frozen=True)
class Slice:
    """Consecutive tokens to compute: how many of which tasks, and where the indices stand."""

    queries: list[int]
    keys: list[int]
    tap_slots: slice
    page_slots: slice
    last_rows: slice
    starts: slice
    lengths: slice
    tables: slice

    def sequences(self, indices: Tensor) -> Sequences:
        """The same for attention, on the device."""
        starts, lengths = indices[self.starts].int(), indices[self.lengths].int()
        tables = indices[self.tables].int().view(len(self.queries), -1)
        return Sequences(self.queries, self.keys, starts, lengths, tables)


def take_tasks(jobs: Sequence[RoiJob], cache: RpnPrefixCache) -> list[Task]:
    """The first of the jobs, as many as there are pages for; their new blocks are cached."""
    tasks = []
    for job in jobs:
        # The last token is always computed: its query scores the others.
        usable = job.block_hashes[: (job.prompt_length - 1) // cache.page_tokens]
        cached = cache.lookup(usable)
        count = -(-job.prompt_length // cache.page_tokens) - len(cached)
        new = cache.insert(job.block_hashes[len(cached) :], count)
        if new is None:
            break
        tasks.append(Task(job, [*cached, *new], len(cached) * cache.page_tokens))
    return tasks


def tap_slots(job: RoiJob, tokens: Indices, block_tokens: int) -> Indices:
    """Where the tapped states of these tokens stand among all tokens of the tap's cache."""
    blocks = np.asarray(job.block_ids)
    return blocks[tokens // block_tokens] * block_tokens + tokens % block_tokens


def cut_into_slices(
    tasks: Sequence[Task], slice_tokens: int, page_tokens: int, indices: IndexBuffer
) -> list[Slice]:
    """Slices of at most `slice_tokens`; their integers are added to `indices`."""
    slices: list[Slice] = []
    parts: list[tuple[Task, int, int]] = []
    room = slice_tokens
    for task in tasks:
        first = task.cached_tokens
        while first < task.job.prompt_length:
            stop = min(task.job.prompt_length, first + room)
            parts.append((task, first, stop))
            room -= stop - first
            first = stop
            if not room:
                slices.append(_slice(parts, page_tokens, indices))
                parts, room = [], slice_tokens
    if parts:
        slices.append(_slice(parts, page_tokens, indices))
    return slices


def _slice(parts: list[tuple[Task, int, int]], page_tokens: int, indices: IndexBuffer) -> Slice:
    queries = [stop - first for _, first, stop in parts]
    keys = [stop for _, _, stop in parts]
    starts = np.cumsum([0, *queries])
    ends = [
        end - 1
        for (task, _, stop), end in zip(parts, starts[1:], strict=True)
        if stop == task.job.prompt_length
    ]
    pages = -(-max(keys) // page_tokens)
    tables = np.zeros((len(parts), pages), dtype=np.int64)
    for row, (task, _, _) in enumerate(parts):
        used = task.pages[:pages]
        tables[row, : len(used)] = used
    tokens = [np.arange(first, stop) for _, first, stop in parts]
    tap = [
        tap_slots(task.job, own, page_tokens)
        for (task, _, _), own in zip(parts, tokens, strict=True)
    ]
    slots = [task.slots(own, page_tokens) for (task, _, _), own in zip(parts, tokens, strict=True)]
    return Slice(
        queries,
        keys,
        tap_slots=indices.add(np.concatenate(tap)),
        page_slots=indices.add(np.concatenate(slots)),
        last_rows=indices.add(ends),
        starts=indices.add(starts),
        lengths=indices.add(keys),
        tables=indices.add(tables),
    )
