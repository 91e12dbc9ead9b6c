"""One batch of the RPN: its tokens' states out of the paged tap, through the RPN, and the maps cut
out of its logits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rpn_plugin.engine.jobs import RoiJob
from rpn_plugin.engine.rpn_prefix_cache import RpnPrefixCache
from rpn_plugin.engine.tap_rows import unpack
from rpn_plugin.families import family_named
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.messages import RoiError, RoiMap
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.rpn import Prefix, RegionProposalNetwork

Results = dict[str, RoiMap | RoiError]
"""By request id."""


@dataclass(frozen=True)
class PagedStates:
    """The tap's cache.

    `rows` [blocks, 1, block_size, row_size] is the device's view; `block_tokens` is how many tokens
    one block id of a job stands for (the device's blocks may be smaller).
    """

    rows: Tensor
    block_tokens: int

    def gather(self, slots: Tensor) -> Tensor:
        """Rows [..., row_size] at token slots int64 [...]."""
        block_size = self.rows.shape[2]
        slots = slots.to(self.rows.device)
        return self.rows[slots // block_size, 0, slots % block_size]


@dataclass(frozen=True)
class Network:
    """The RPN or its learned gate, and its prefix cache, if it has one."""

    module: RegionProposalNetwork | LearnedGate
    prefix_cache: RpnPrefixCache | None = None

    def task(self, job: RoiJob) -> Task:
        """What is left to compute of a job."""
        if self.prefix_cache is None:
            return Task(job)
        # The last token is always computed: its query scores the others.
        within = job.block_hashes[: (job.prompt_length - 1) // self.prefix_cache.block_tokens]
        places = self.prefix_cache.lookup(within)
        return Task(job, tuple(places), len(places) * self.prefix_cache.block_tokens)


@dataclass(frozen=True)
class Task:
    """A job, and the places of its first blocks in a network's prefix cache."""

    job: RoiJob
    places: tuple[int, ...] = ()
    cached_tokens: int = 0
    """Tokens in those blocks: fewer than the prompt has."""

    @property
    def uncached_tokens(self) -> int:
        """Tokens left to compute."""
        return self.job.prompt_length - self.cached_tokens


class Stopwatch:
    """The time between its making and `stop`; on a GPU, when work is done and not when queued."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._start = self._now()

    def stop(self) -> None:
        """The end of the time."""
        self._end = self._now()

    def seconds(self) -> float:
        """Once the device has been waited for."""
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
class Computed:
    """What a network makes of its tasks: logits float32 [tasks, ...], and `rows` [tasks, longest
    uncached, row_size] for its prefix cache.
    """

    tasks: Sequence[Task]
    logits: Tensor
    rows: Tensor

    def insert_into(self, prefix_cache: RpnPrefixCache) -> None:
        """Store what was computed, whole blocks only."""
        for row, task in enumerate(self.tasks):
            prefix_cache.insert(task.job.block_hashes[len(task.places) :], self.rows[row])


@dataclass(frozen=True)
class LaunchedBatch:
    """A batch on its way, perhaps still being computed.

    The RPN's logits are [batch, longest cached + longest uncached]; `corners` int [3, batch, 2] are
    the positions of each picture's first and last token. `gate`: the logits of the jobs that need
    it, None if none does.
    """

    rpn: Computed
    gate: Computed | None
    corners: Tensor
    image: ImageGrid
    stopwatch: Stopwatch

    @property
    def tasks(self) -> Sequence[Task]:
        """The batch's."""
        return self.rpn.tasks

    def read(self) -> Results:
        """Wait for the numbers and cut each job's picture out of them."""
        logits, corners = self.rpn.logits.cpu(), self.corners.cpu()
        seconds = self.stopwatch.seconds()
        padded = logits.shape[1] - self.rpn.rows.shape[1]
        gate = iter([] if self.gate is None else self.gate.logits.tolist())
        results: Results = {}
        for row, task in enumerate(self.tasks):
            own = torch.cat(
                (
                    logits[row, : task.cached_tokens],
                    logits[row, padded : padded + task.uncached_tokens],
                )
            )
            cut = _cut(task.job, own, corners[:, row], self.image)
            gate_logit = next(gate) if task.job.gate else None
            results[task.job.request_id] = (
                cut
                if isinstance(cut, RoiError)
                else RoiMap(cut.numpy(), seconds, len(self.tasks), task.cached_tokens, gate_logit)
            )
        return results


def launch(
    rpn: Network, gate: Network | None, states: PagedStates, tasks: Sequence[Task]
) -> LaunchedBatch:
    """Start computing; raises whatever torch does."""
    stopwatch = Stopwatch(states.rows.device)
    config = rpn.module.config
    _, corners = unpack(states.gather(_corner_slots(tasks, states)), config.hidden_size)
    maps = _compute(rpn, states, tasks)
    gate_jobs = [task.job for task in tasks if task.job.gate]
    gate_logits = _run_gate(gate, states, gate_jobs) if gate_jobs else None
    stopwatch.stop()
    return LaunchedBatch(maps, gate_logits, corners, family_named(config.family).image, stopwatch)


def _run_gate(gate: Network | None, states: PagedStates, jobs: Sequence[RoiJob]) -> Computed:
    """Its prefix cache holds only prompts of gate requests, so its tasks are not the RPN's."""
    if gate is None:
        raise RoiError("the RPN has no learned gate")
    return _compute(gate, states, [gate.task(job) for job in jobs])


def _compute(network: Network, states: PagedStates, tasks: Sequence[Task]) -> Computed:
    hidden_size = network.module.config.hidden_size
    hidden, positions = unpack(states.gather(_new_slots(tasks, states)), hidden_size)
    last = torch.tensor([task.uncached_tokens - 1 for task in tasks], device=hidden.device)
    prefix = _prefix(network.prefix_cache, tasks, hidden.device)
    return Computed(tasks, *network.module.extend(hidden, positions, last, prefix))


def _prefix(
    prefix_cache: RpnPrefixCache | None, tasks: Sequence[Task], device: torch.device
) -> Prefix | None:
    if prefix_cache is None or not any(task.cached_tokens for task in tasks):
        return None
    rows = prefix_cache.gather([task.places for task in tasks])
    return Prefix(rows, torch.tensor([task.cached_tokens for task in tasks], device=device))


def _new_slots(tasks: Sequence[Task], states: PagedStates) -> Tensor:
    """The cache slots of each prompt's tokens to compute, int64 [batch, longest new].

    A short prompt repeats its last token: padding is masked but must be finite.
    """
    longest = max(task.uncached_tokens for task in tasks)
    return torch.stack(
        [
            _slots(
                task.job,
                task.cached_tokens + torch.arange(longest).clamp_max(task.uncached_tokens - 1),
                states,
            )
            for task in tasks
        ]
    )


def _corner_slots(tasks: Sequence[Task], states: PagedStates) -> Tensor:
    """The cache slots of each picture's first and last token, int64 [batch, 2]."""
    corners = []
    for job in (task.job for task in tasks):
        ends = torch.tensor([job.image.offset, job.image.offset + job.image.length - 1])
        corners.append(_slots(job, ends.clamp_max(job.prompt_length - 1), states))
    return torch.stack(corners)


def _slots(job: RoiJob, tokens: Tensor, states: PagedStates) -> Tensor:
    size = states.block_tokens
    return torch.tensor(job.block_ids)[tokens // size] * size + tokens % size


def _cut(job: RoiJob, logits: Tensor, corners: Tensor, image: ImageGrid) -> Tensor | RoiError:
    """The picture's own logits [rows, cols] out of its prompt's."""
    span = slice(job.image.offset, job.image.offset + job.image.length)
    if span.stop > job.prompt_length:
        return RoiError(f"a picture up to token {span.stop} in a prompt of {job.prompt_length}")
    first, last = corners[1:, 0], corners[1:, 1]
    rows, cols = image.shape(tuple((last - first + 1).tolist()), job.image.length)
    if rows * cols != job.image.length:
        return RoiError(f"{job.image.length} image tokens do not fill a grid of {rows} x {cols}")
    return logits[span].reshape(rows, cols).clone()
