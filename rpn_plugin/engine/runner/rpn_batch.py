"""One batch of the RPN: launched on the device within a step, read when its results are needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from rpn_plugin.engine.jobs import Results, RoiJob
from rpn_plugin.engine.runner.ragged import (
    PagedAttention,
    gate_logits,
    joined,
    score_images,
    score_queries,
)
from rpn_plugin.engine.runner.ragged_attention import RaggedAttention
from rpn_plugin.engine.runner.rpn_plan import (
    IndexBuffer,
    Slice,
    Task,
    cut_into_slices,
    take_tasks,
    tap_slots,
)
from rpn_plugin.engine.runner.rpn_prefix_cache import RpnPrefixCache
from rpn_plugin.engine.tap_rows import unpack
from rpn_plugin.families import family_named
from rpn_plugin.messages import RoiError, RoiMap
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.rpn import RegionProposalNetwork


@dataclass(frozen=True)
class PagedStates:
    """The tap's cache.

    `rows` [blocks, 1, block_size, row_size] is the device's view; `block_tokens` is how many tokens
    one block id of a job stands for (the device's blocks may be smaller).
    """

    rows: Tensor
    block_tokens: int

    def gather(self, slots: Tensor) -> Tensor:
        """Rows [..., row_size] at token slots int64 [...] of the device."""
        block_size = self.rows.shape[2]
        return self.rows[slots // block_size, 0, slots % block_size]

    @property
    def tokens(self) -> int:
        """Token slots in all."""
        return self.rows.shape[0] * self.rows.shape[2]


Module = TypeVar("Module", RegionProposalNetwork, LearnedGate)


@dataclass(frozen=True)
class Network(Generic[Module]):
    """The RPN or its learned gate, the pages it computes in, and its attention."""

    module: Module
    cache: RpnPrefixCache
    attention: RaggedAttention

    def with_pages_for(self, tokens: int) -> Network[Module]:
        """The same with pages of its own, which live as long as a batch."""
        parts, _, *page = self.cache.pages.shape
        pages = self.cache.pages.new_zeros(parts, -(-tokens // page[0]), *page)
        return Network(self.module, RpnPrefixCache(pages, caching=False), self.attention)


class Stopwatch:
    """The time between its making and `stop`; on a GPU, when work is done and not when queued."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._start = self._now()

    def stop(self) -> None:
        """The end of the time."""
        self._end = self._now()

    def wait(self) -> None:
        """Until the work before `stop` is done; raises what the device could not do."""
        if self._cuda:
            self._end.synchronize()

    def seconds(self) -> float:
        """After `wait`."""
        if self._cuda:
            return float(self._start.elapsed_time(self._end)) / 1e3
        return float(self._end - self._start)

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@dataclass(frozen=True)
class LaunchedBatch:
    """A batch on its way. `logits` float32 [image tokens of all tasks], `gate` float32 [gate
    tasks], `corners` int32 [3, tasks, 2]: the positions of each picture's first and last token; all
    in host memory once the stopwatch has stopped (on a GPU).
    """

    tasks: Sequence[Task]
    logits: Tensor
    gate: Tensor | None
    corners: Tensor
    family: str
    evicted_tokens: int
    stopwatch: Stopwatch

    def read(self) -> Results:
        """Wait for the numbers and cut each job's picture out of them."""
        self.stopwatch.wait()
        seconds = self.stopwatch.seconds()
        gate = iter([] if self.gate is None else self.gate.tolist())
        lengths = [task.job.image.length for task in self.tasks]
        results: Results = {}
        for row, (task, logits) in enumerate(
            zip(self.tasks, self.logits.split(lengths), strict=True)
        ):
            gate_logit = next(gate) if task.job.gate else None
            grid = self._grid(row, task.job)
            results[task.job.request_id] = (
                grid
                if isinstance(grid, RoiError)
                else RoiMap(
                    logits.reshape(grid).numpy(),
                    seconds,
                    len(self.tasks),
                    task.cached_tokens,
                    gate_logit,
                    0 if row else self.evicted_tokens,
                )
            )
        return results

    def _grid(self, row: int, job: RoiJob) -> tuple[int, int] | RoiError:
        first, last = self.corners[1:, row].unbind(1)
        image = family_named(self.family).image
        rows, cols = image.shape(tuple((last - first + 1).tolist()), job.image.length)
        if rows * cols != job.image.length:
            return RoiError(f"{job.image.length} image tokens do not fill a grid of {rows}x{cols}")
        return rows, cols


def check_job(job: RoiJob, states: PagedStates) -> None:
    """Raises RoiError for a job that the device could not read: an index beyond a tensor there
    would end the process.
    """
    end = job.image.offset + job.image.length
    if end > job.prompt_length:
        raise RoiError(f"a picture up to token {end} in a prompt of {job.prompt_length}")
    blocks = -(-job.prompt_length // states.block_tokens)
    if blocks > len(job.block_ids):
        raise RoiError(f"{len(job.block_ids)} cache blocks for a prompt of {job.prompt_length}")
    if (max(job.block_ids[:blocks]) + 1) * states.block_tokens > states.tokens:
        raise RoiError("a cache block beyond the cache")


def launch(
    rpn: Network[RegionProposalNetwork],
    gate: Network[LearnedGate] | None,
    states: PagedStates,
    jobs: Sequence[RoiJob],
    slice_tokens: int,
) -> LaunchedBatch | None:
    """Start computing as many of the jobs as there are pages for, in order; None if for none.

    Raises whatever torch does. The device is not waited for.
    """
    stopwatch = Stopwatch(states.rows.device)
    evictions = rpn.cache.evictions
    tasks = take_tasks(jobs, rpn.cache)
    gate_tasks = _take_gate_tasks(gate, tasks)
    tasks = _as_far_as_the_gate(tasks, gate_tasks, rpn.cache)
    if not tasks:
        return None
    buffer = IndexBuffer()
    page_tokens = states.block_tokens
    slices = cut_into_slices(tasks, slice_tokens, page_tokens, buffer)
    gate_slices = cut_into_slices(gate_tasks, slice_tokens, page_tokens, buffer)
    spans = [(task, _image_tokens(task.job)) for task in tasks]
    corners = buffer.add(
        np.stack([tap_slots(task.job, own[[0, -1]], page_tokens) for task, own in spans])
    )
    slots = buffer.add(np.concatenate([task.slots(own, page_tokens) for task, own in spans]))
    owners = buffer.add(np.repeat(np.arange(len(spans)), [len(own) for _, own in spans]))
    indices = buffer.to(states.rows.device)

    config = rpn.module.config
    queries = _run(rpn, score_queries, states, slices, indices)
    most = max(1, slice_tokens * config.hidden_size // queries[0].numel())
    logits = score_images(queries, rpn.cache.pages[-1], indices[owners], indices[slots], most)
    gate_output = (
        _run(gate, gate_logits, states, gate_slices, indices) if gate and gate_tasks else None
    )
    _, axes = unpack(states.gather(indices[corners]), config.hidden_size)
    host = [_to_host(x) for x in (logits, axes.unflatten(1, (-1, 2)))]
    host_gate = None if gate_output is None else _to_host(gate_output)
    stopwatch.stop()
    evicted = (rpn.cache.evictions - evictions) * page_tokens
    return LaunchedBatch(tasks, host[0], host_gate, host[1], config.family, evicted, stopwatch)


def _take_gate_tasks(gate: Network[LearnedGate] | None, tasks: Sequence[Task]) -> list[Task]:
    """The gate's own tasks: its prefix cache holds only prompts of gate requests."""
    jobs = [task.job for task in tasks if task.job.gate]
    if not jobs:
        return []
    if gate is None:
        raise RoiError("the RPN has no learned gate")
    return take_tasks(jobs, gate.cache)


def _as_far_as_the_gate(
    tasks: list[Task], gate_tasks: Sequence[Task], cache: RpnPrefixCache
) -> list[Task]:
    """The tasks before the first one that the gate had no pages for."""
    ready = {task.job.request_id for task in gate_tasks}
    for n, task in enumerate(tasks):
        if task.job.gate and task.job.request_id not in ready:
            cache.evict(block for left in tasks[n:] for block in left.job.block_hashes)
            return tasks[:n]
    return tasks


def _run(
    network: Network[Any],
    compute: Callable[..., Tensor],
    states: PagedStates,
    slices: Sequence[Slice],
    indices: Tensor,
) -> Tensor:
    """What `compute` makes of the last tokens, over all slices."""
    dtype = network.cache.pages.dtype
    outputs = []
    for cut in slices:
        rows = states.gather(indices[cut.tap_slots])
        hidden, positions = unpack(rows, network.module.config.hidden_size)
        paged = PagedAttention(network.cache.pages, network.attention, cut, indices)
        last = indices[cut.last_rows]
        outputs.append(compute(network.module, hidden.to(dtype), positions, last, paged))
    return joined(outputs)


def _image_tokens(job: RoiJob) -> Any:
    return np.arange(job.image.offset, job.image.offset + job.image.length)


def _to_host(x: Tensor) -> Tensor:
    """A copy in pinned memory that is complete when the device has got there."""
    return x.to("cpu", non_blocking=True) if x.is_cuda else x
