"""Runs the RPN on states gathered from the paged tap, many requests at a time.

A batch holds prompts of like length, padded on the right, and no more tokens in all than vLLM
itself computes in one step; only a prompt longer than that goes alone. All batches are launched
before the first is read back, so that a GPU is waited for once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rpn_plugin.engine.jobs import RoiJob
from rpn_plugin.engine.packing import unpack
from rpn_plugin.families import family_named
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.head import RegionProposalNetwork
from rpn_plugin.messages import RoiError, RoiMap

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
        return self.rows[slots // block_size, 0, slots % block_size]


class RpnRunner:
    """Turns jobs into maps; `batch_tokens` bounds a batch, padding included."""

    def __init__(self, rpn: RegionProposalNetwork, states: PagedStates, batch_tokens: int) -> None:
        self._rpn = rpn
        self._states = states
        self._batch_tokens = batch_tokens

    @torch.inference_mode()
    def run(self, jobs: Sequence[RoiJob]) -> Results:
        """A map for each job, or why there is none. No job's failure is another's, or the
        engine's.
        """
        results: Results = {}
        launched: list[_LaunchedBatch] = []
        for batch in batches(jobs, self._batch_tokens):
            self._launch(batch, launched, results)
        for batch_in_flight in launched:
            results |= _read(batch_in_flight)
        return results

    def _launch(
        self, batch: Sequence[RoiJob], launched: list[_LaunchedBatch], failed: Results
    ) -> None:
        """Launch a batch; if that fails, each of its jobs alone."""
        try:
            launched.append(self._launch_batch(batch))
        except Exception as error:  # an exception here would end the engine, for everybody
            if len(batch) == 1:
                failed |= _failed(batch, error)
                return
            for job in batch:
                self._launch([job], launched, failed)

    def _launch_batch(self, batch: Sequence[RoiJob]) -> _LaunchedBatch:
        device = self._states.rows.device
        stopwatch = _Stopwatch(device)
        slots = _padded_slots(batch, self._states.block_tokens).to(device)
        hidden, positions = unpack(self._states.gather(slots), self._rpn.config.hidden_size)
        last = torch.tensor([job.prompt_length - 1 for job in batch], device=device)
        logits = self._rpn(hidden, positions, last)
        stopwatch.stop()
        image = family_named(self._rpn.config.family).image
        return _LaunchedBatch(batch, logits, positions, image, stopwatch)


class _Stopwatch:
    """The time between its making and `stop`; on a GPU, when work is done and not when queued."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._start = self._now()

    def stop(self) -> None:
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
class _LaunchedBatch:
    """Logits [batch, seq] and positions [3, batch, seq], perhaps still being computed."""

    jobs: Sequence[RoiJob]
    logits: Tensor
    positions: Tensor
    image: ImageGrid
    stopwatch: _Stopwatch

    def read(self) -> Results:
        """Wait for the numbers and cut each job's picture out of them."""
        logits, positions = self.logits.cpu(), self.positions.cpu()
        seconds = self.stopwatch.seconds()
        results: Results = {}
        for row, job in enumerate(self.jobs):
            cut = _cut(job, logits[row], positions[:, row], self.image)
            results[job.request_id] = (
                cut if isinstance(cut, RoiError) else RoiMap(cut.numpy(), seconds, len(self.jobs))
            )
        return results


def _read(batch: _LaunchedBatch) -> Results:
    """The batch's maps; what goes wrong only now (on a GPU, work that had been queued) included."""
    try:
        return batch.read()
    except Exception as error:  # as above
        return _failed(batch.jobs, error)


def _failed(jobs: Sequence[RoiJob], error: Exception) -> Results:
    return {job.request_id: RoiError(f"the RPN failed: {error}") for job in jobs}


def batches(jobs: Sequence[RoiJob], batch_tokens: int) -> Iterator[list[RoiJob]]:
    """The jobs, shortest prompts first, in groups of at most `batch_tokens` padded tokens."""
    group: list[RoiJob] = []
    for job in sorted(jobs, key=lambda job: job.prompt_length):
        if group and job.prompt_length * (len(group) + 1) > batch_tokens:
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _padded_slots(batch: Sequence[RoiJob], block_tokens: int) -> Tensor:
    """The cache slots of each prompt's tokens, int64 [batch, longest prompt].

    A short prompt repeats its last token: padding is masked, but must be finite even so.
    """
    longest = max(job.prompt_length for job in batch)
    slots = []
    for job in batch:
        token = torch.arange(longest).clamp_max(job.prompt_length - 1)
        blocks = torch.tensor(job.block_ids)
        slots.append(blocks[token // block_tokens] * block_tokens + token % block_tokens)
    return torch.stack(slots)


def _cut(job: RoiJob, logits: Tensor, positions: Tensor, image: ImageGrid) -> Tensor | RoiError:
    """The picture's own logits [rows, cols] out of its prompt's."""
    span = slice(job.image.offset, job.image.offset + job.image.length)
    if span.stop > job.prompt_length:
        return RoiError(f"a picture up to token {span.stop} in a prompt of {job.prompt_length}")
    first, last = positions[1:, span.start], positions[1:, span.stop - 1]
    rows, cols = image.shape(spanned=tuple((last - first + 1).tolist()))
    if rows * cols != job.image.length:
        return RoiError(f"{job.image.length} image tokens do not fill a grid of {rows} x {cols}")
    return logits[span].reshape(rows, cols).clone()
