"""Runs the RPN for a step's jobs in batches, without recomputing cached tokens.

A batch holds prompts with about as many tokens to compute, padded on the right, and no more in all
than vLLM itself computes in one step; only a prompt longer than that goes alone. All batches are
launched before the first is read back, so that a GPU is waited for once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from rpn_plugin.engine.failures import failure_reason, logger
from rpn_plugin.engine.jobs import RoiJob
from rpn_plugin.engine.rpn_batch import (
    LaunchedBatch,
    Network,
    PagedStates,
    Results,
    Task,
    launch,
)


class RpnRunner:
    """Turns jobs into maps; `batch_tokens` bounds a batch, padding included."""

    def __init__(
        self, rpn: Network, states: PagedStates, batch_tokens: int, gate: Network | None = None
    ) -> None:
        self._rpn = rpn
        self._gate = gate
        self._states = states
        self._batch_tokens = batch_tokens

    def clear(self) -> None:
        """Clear the prefix caches, after new weights for example."""
        for network in (self._rpn, self._gate):
            if network is not None and network.prefix_cache is not None:
                network.prefix_cache.clear()

    @torch.inference_mode()
    def run(self, jobs: Sequence[RoiJob]) -> Results:
        """A map for each job, or why there is none. No job's failure is another's, or the
        engine's.
        """
        results: Results = {}
        launched: list[LaunchedBatch] = []
        while jobs:
            tasks, jobs = self._tasks(jobs)
            wave: list[LaunchedBatch] = []
            for batch in batches(tasks, self._batch_tokens):
                self._launch(batch, wave, results)
            self._insert(wave)
            launched += wave
        for batch_in_flight in launched:
            results |= _read(batch_in_flight)
        return results

    def _tasks(self, jobs: Sequence[RoiJob]) -> tuple[list[Task], list[RoiJob]]:
        """What is left to compute of each job; and the jobs that had better wait, because another
        one is about to compute a block of theirs.
        """
        prefix_cache = self._rpn.prefix_cache
        if prefix_cache is None:
            return [Task(job) for job in jobs], []
        tasks: list[Task] = []
        waiting: list[RoiJob] = []
        being_computed: set[bytes] = set()
        for job in jobs:
            task = self._rpn.task(job)
            if task.uncached_tokens > prefix_cache.block_tokens:
                block = job.block_hashes[len(task.places)]
                if block in being_computed:
                    waiting.append(job)
                    continue
                being_computed.add(block)
            tasks.append(task)
        return tasks, waiting

    def _launch(
        self, batch: Sequence[Task], launched: list[LaunchedBatch], failed: Results
    ) -> None:
        """Launch a batch; if that fails, each of its jobs alone."""
        try:
            launched.append(launch(self._rpn, self._gate, self._states, batch))
        except Exception as error:  # an exception here would end the engine, for everybody
            if len(batch) == 1:
                failed |= _failed(batch, error)
                return
            for task in batch:
                self._launch([task], launched, failed)

    def _insert(self, launched: Sequence[LaunchedBatch]) -> None:
        try:
            for batch in launched:
                for network, computed in ((self._rpn, batch.rpn), (self._gate, batch.gate)):
                    if network and network.prefix_cache and computed:
                        computed.insert_into(network.prefix_cache)
        except Exception:  # a partially written cache must not be used
            logger.exception("the RPN's prefix cache could not be written and is cleared")
            self.clear()


def _read(batch: LaunchedBatch) -> Results:
    """The batch's maps; what goes wrong only now (on a GPU, work that had been queued) included."""
    try:
        return batch.read()
    except Exception as error:  # as above
        return _failed(batch.tasks, error)


def _failed(tasks: Sequence[Task], error: Exception) -> Results:
    reason = failure_reason(error, "the RPN")
    return {task.job.request_id: reason for task in tasks}


def batches(tasks: Sequence[Task], batch_tokens: int) -> Iterator[list[Task]]:
    """The tasks in groups of at most `batch_tokens` padded tokens, those with the least to compute
    first; prompts with cached tokens apart from those without.
    """
    for begun in (True, False):
        group: list[Task] = []
        for task in sorted(
            (task for task in tasks if bool(task.cached_tokens) == begun),
            key=lambda task: task.uncached_tokens,
        ):
            cached = max(t.cached_tokens for t in [*group, task])
            if group and (cached + task.uncached_tokens) * (len(group) + 1) > batch_tokens:
                yield group
                group = []
            group.append(task)
        if group:
            yield group
