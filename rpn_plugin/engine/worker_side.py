"""The worker's half of the side channel: finds the tap, runs the step's jobs."""

from __future__ import annotations

from torch import Tensor
from vllm.config import VllmConfig, get_layers_from_vllm_config
from vllm.distributed.parallel_state import get_tensor_model_parallel_rank

from rpn_plugin.compat import CompatibilityError
from rpn_plugin.engine.jobs import RoiJobs, RoiResults
from rpn_plugin.engine.models.tap import TapLayer
from rpn_plugin.engine.rpn_batch import Network, PagedStates
from rpn_plugin.engine.rpn_prefix_cache import RpnPrefixCache
from rpn_plugin.engine.rpn_runner import RpnRunner


class WorkerSide:
    """Runs jobs on one worker; `block_tokens` is the tokens of one of the scheduler's blocks."""

    def __init__(self, vllm_config: VllmConfig, block_tokens: int) -> None:
        self._vllm_config = vllm_config
        self._block_tokens = block_tokens
        self._runner: RpnRunner | None = None

    def register(self, caches: dict[str, Tensor]) -> None:
        """Take the tap's cache from all layers' caches. Raises CompatibilityError if it is not
        there.
        """
        # Every tensor-parallel worker has all the states; the first one runs the RPN.
        if get_tensor_model_parallel_rank() != 0:
            return
        taps = get_layers_from_vllm_config(self._vllm_config, TapLayer, list(caches))
        if len(taps) != 1:
            raise CompatibilityError(f"the model has {len(taps)} taps, not one")
        ((name, tap),) = taps.items()
        self._runner = RpnRunner(
            Network(tap.rpn, self._prefix_cache(tap.prefix_cache)),
            PagedStates(caches[name], self._block_tokens),
            self._vllm_config.scheduler_config.max_num_batched_tokens,
            Network(tap.gate, self._prefix_cache(tap.gate_prefix_cache)) if tap.gate else None,
        )

    def _prefix_cache(self, room: Tensor) -> RpnPrefixCache | None:
        return RpnPrefixCache(room, self._block_tokens) if len(room) >= self._block_tokens else None

    def run(self, jobs: RoiJobs) -> RoiResults | None:
        """The jobs' results; None if there is nothing to do."""
        if self._runner is None:
            return None
        if jobs.clear:
            self._runner.clear()
        if not jobs.jobs:
            return None
        return RoiResults(self._runner.run(jobs.jobs))
