"""The worker's half of the side channel: finds the tap, runs this rank's share of a step's jobs."""

from __future__ import annotations

from torch import Tensor
from vllm.config import VllmConfig, get_layers_from_vllm_config
from vllm.distributed.parallel_state import (
    get_tensor_model_parallel_rank,
    get_tensor_model_parallel_world_size,
)

from rpn_plugin.compat import CompatibilityError
from rpn_plugin.engine.jobs import RoiJob, RoiJobs, RoiResults
from rpn_plugin.engine.models.tap import TapLayer
from rpn_plugin.engine.runner.rpn_batch import PagedStates
from rpn_plugin.engine.runner.rpn_runner import RpnRunner


class WorkerSide:
    """Runs jobs on one worker; `block_tokens` is the tokens of one of the scheduler's blocks.

    Every tensor-parallel worker has all the states, so each runs the jobs of some pictures.
    """

    def __init__(self, vllm_config: VllmConfig, block_tokens: int) -> None:
        self._vllm_config = vllm_config
        self._block_tokens = block_tokens
        self._tap: TapLayer | None = None
        self._runner: RpnRunner | None = None
        self._weights_version = 0
        self._rank = get_tensor_model_parallel_rank()
        self._ranks = get_tensor_model_parallel_world_size()

    def register(self, caches: dict[str, Tensor]) -> None:
        """Take the tap's cache from all layers' caches. Raises CompatibilityError if it is not
        there.
        """
        taps = get_layers_from_vllm_config(self._vllm_config, TapLayer, list(caches))
        if len(taps) != 1:
            raise CompatibilityError(f"the model has {len(taps)} taps, not one")
        ((name, self._tap),) = taps.items()
        self._weights_version = self._tap.weights_version
        self._runner = self._tap.runner(PagedStates(caches[name], self._block_tokens))

    def run(self, jobs: RoiJobs) -> RoiResults | None:
        """This rank's results, perhaps still being computed; None if it has no jobs."""
        if self._runner is None or self._tap is None:
            return None
        if jobs.clear or self._weights_version != self._tap.weights_version:
            self._weights_version = self._tap.weights_version
            self._runner.clear()
        own = [
            job for job in jobs.jobs if rank_of(job, self._block_tokens, self._ranks) == self._rank
        ]
        if not own:
            return None
        return RoiResults(self._runner.launch(own).read)


def rank_of(job: RoiJob, block_tokens: int, ranks: int) -> int:
    """The tensor-parallel rank that computes a job: the same for all prompts with this picture,
    because their prefix is in that rank's cache.

    The hash of the last whole block up to the picture's end stands for the picture, and unlike an
    earlier one is not shared by all prompts behind one system prompt.
    """
    if not job.block_hashes:
        return 0
    last = (job.image.offset + job.image.length) // block_tokens - 1
    block = job.block_hashes[min(max(0, last), len(job.block_hashes) - 1)]
    return int.from_bytes(block[-8:], "little") % ranks
