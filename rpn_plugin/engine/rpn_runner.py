"""Runs the RPN for a step's jobs, many requests at a time, and no token of a known prompt again.

A batch holds prompts with about as many tokens to compute, padded on the right, and no more in all
than vLLM itself computes in one step; only a prompt longer than that goes alone. All batches are
launched before the first is read back, so that a GPU is waited for once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from rpn_plugin.engine.jobs import RoiJob
from rpn_plugin.engine.rpn_batch import (
    LaunchedBatch,
    Network,
    PagedStates,
    Results,
    Task,
    launch,
)
from rpn_plugin.messages import RoiError


class RpnRunner:
    """Turns jobs into maps; `batch_tokens` bounds a batch, padding included."""

    def __init__(
        self, rpn: Network, states: PagedStates, batch_tokens: int, gate: Network | None = None
    ) -> None:
        self._rpn = rpn
        self._gate = gate
        self._states = states
        self._batch_tokens = batch_tokens

    def forget(self) -> None:
        """The model's weights have changed, say: nothing known holds any longer."""
        for network in (self._rpn, self._gate):
            if network is not None and network.memory is not None:
                network.memory.clear()

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
            self._remember(wave)
            launched += wave
        for batch_in_flight in launched:
            results |= _read(batch_in_flight)
        return results

    def _tasks(self, jobs: Sequence[RoiJob]) -> tuple[list[Task], list[RoiJob]]:
        """What is left to compute of each job; and the jobs that had better wait, because another
        one is about to compute a block of theirs.
        """
        memory = self._rpn.memory
        if memory is None:
            return [Task(job) for job in jobs], []
        tasks: list[Task] = []
        waiting: list[RoiJob] = []
        being_computed: set[bytes] = set()
        for job in jobs:
            task = self._rpn.task(job)
            if task.new > memory.block_tokens:
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

    def _remember(self, launched: Sequence[LaunchedBatch]) -> None:
        try:
            for batch in launched:
                for network, computed in ((self._rpn, batch.rpn), (self._gate, batch.gate)):
                    if network and network.memory and computed:
                        computed.remember(network.memory)
        except Exception:  # as above; half a memory is none
            self.forget()


def _read(batch: LaunchedBatch) -> Results:
    """The batch's maps; what goes wrong only now (on a GPU, work that had been queued) included."""
    try:
        return batch.read()
    except Exception as error:  # as above
        return _failed(batch.tasks, error)


def _failed(tasks: Sequence[Task], error: Exception) -> Results:
    return {task.job.request_id: RoiError(f"the RPN failed: {error}") for task in tasks}


def batches(tasks: Sequence[Task], batch_tokens: int) -> Iterator[list[Task]]:
    """The tasks in groups of at most `batch_tokens` padded tokens, those with the least to compute
    first; prompts of which something is known apart from those that are all new.
    """
    for begun in (True, False):
        group: list[Task] = []
        for task in sorted(
            (task for task in tasks if bool(task.known) == begun), key=lambda task: task.new
        ):
            known = max(t.known for t in [*group, task])
            if group and (known + task.new) * (len(group) + 1) > batch_tokens:
                yield group
                group = []
            group.append(task)
        if group:
            yield group
