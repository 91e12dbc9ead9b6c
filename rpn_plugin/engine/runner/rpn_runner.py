"""Runs the RPN for a step's jobs: launches within the step, results when they are read.

All jobs of a step are one ragged batch, unless its pages run out. The device is not waited for: a
`PendingResults` is read where the results leave the worker.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rpn_plugin.engine.failures import failure_reason
from rpn_plugin.engine.jobs import Results, RoiJob
from rpn_plugin.engine.runner.rpn_batch import (
    LaunchedBatch,
    Network,
    PagedStates,
    check_job,
    launch,
)
from rpn_plugin.messages import RoiError
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.rpn import RegionProposalNetwork


class RpnRunner:
    """Turns jobs into maps; `slice_tokens` bounds the tokens that are computed at a time."""

    def __init__(
        self,
        rpn: Network[RegionProposalNetwork],
        states: PagedStates,
        slice_tokens: int,
        gate: Network[LearnedGate] | None = None,
    ) -> None:
        self._rpn = rpn
        self._gate = gate
        self._states = states
        self._slice_tokens = slice_tokens
        self._late_failure = False

    def clear(self) -> None:
        """Clear the prefix caches, after new weights for example."""
        for network in (self._rpn, self._gate):
            if network is not None:
                network.cache.clear()

    def run(self, jobs: Sequence[RoiJob]) -> Results:
        """`launch`, and the results at once."""
        return self.launch(jobs).read()

    @torch.inference_mode()
    def launch(self, jobs: Sequence[RoiJob]) -> PendingResults:
        """A map for each job, or why there is none. No job's failure is another's, or the
        engine's.
        """
        if self._late_failure:  # what the failed batch wrote must not be used
            self._late_failure = False
            self.clear()
        pending = PendingResults(self)
        good = []
        for job in jobs:
            try:
                check_job(job, self._states)
                good.append(job)
            except RoiError as error:
                pending.failed[job.request_id] = error
        self._launch(good, pending)
        return pending

    def note_late_failure(self) -> None:
        """A batch failed after its launch; may be called from any thread."""
        self._late_failure = True

    def _launch(self, jobs: Sequence[RoiJob], pending: PendingResults) -> None:
        """Launch jobs in as few batches as there are pages for."""
        while jobs:
            batch = self._try(jobs, pending)
            if batch is None:
                return
            jobs = jobs[len(batch.tasks) :]

    def _try(self, jobs: Sequence[RoiJob], pending: PendingResults) -> LaunchedBatch | None:
        """Launch the first of the jobs. If that fails, the halves of them all; None then."""
        failure = None
        try:
            batch = launch(self._rpn, self._gate, self._states, jobs, self._slice_tokens)
            if batch is None:  # pages for none: a prompt longer than the prefix cache
                batch = self._launch_alone(jobs[0])
            pending.batches.append(batch)
            self._release()
            return batch
        except Exception as error:  # an exception here would end the engine for everybody
            failure = failure_reason(error, "the RPN")
        # Out here, the exception and with it the failed batch's memory are gone.
        self._evict(jobs)
        if len(jobs) == 1:
            pending.failed[jobs[0].request_id] = failure
        else:
            half = len(jobs) // 2
            self._launch(jobs[:half], pending)
            self._launch(jobs[half:], pending)
        return None

    def _launch_alone(self, job: RoiJob) -> LaunchedBatch:
        self._release()
        tokens = job.prompt_length
        gate = self._gate and self._gate.with_pages_for(tokens)
        rpn = self._rpn.with_pages_for(tokens)
        batch = launch(rpn, gate, self._states, [job], self._slice_tokens)
        assert batch is not None, "pages for the whole prompt"
        return batch

    def _release(self) -> None:
        for network in (self._rpn, self._gate):
            if network is not None:
                network.cache.release()

    def _evict(self, jobs: Sequence[RoiJob]) -> None:
        """Remove the blocks that a failed batch may have begun to write."""
        for network in (self._rpn, self._gate):
            if network is not None:
                network.cache.evict(block for job in jobs for block in job.block_hashes)
                network.cache.release()


class PendingResults:
    """The results of a step, some of them still being computed."""

    def __init__(self, runner: RpnRunner) -> None:
        self._runner = runner
        self.batches: list[LaunchedBatch] = []
        self.failed: Results = {}

    def read(self) -> Results:
        """Wait for them. What goes wrong only now is the batch's requests'."""
        results = dict(self.failed)
        for batch in self.batches:
            try:
                results |= batch.read()
            except Exception as error:  # an exception here would end the engine for everybody
                self._runner.note_late_failure()
                reason = failure_reason(error, "the RPN")
                results |= {task.job.request_id: reason for task in batch.tasks}
        return results
