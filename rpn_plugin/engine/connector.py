"""The side channel: RoI requests into the worker, maps out of it, in the step they are ready.

Rests on `KVConnectorBase_V1` (vllm.distributed.kv_transfer), which vLLM makes once in the scheduler
and once in each worker and calls at every step of either. This connector moves no keys or values,
so the methods for their transfer do nothing. `SupportsHMA` declares support for several cache
groups.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorRole,
    SupportsHMA,
)
from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import KVCacheConfig, KVCacheSpec
from vllm.v1.outputs import KVConnectorOutput
from vllm.v1.request import Request

from rpn_plugin.compat import CompatibilityError
from rpn_plugin.engine.jobs import RoiJobs, RoiResults
from rpn_plugin.engine.models.tap import TAP_LAYER
from rpn_plugin.engine.scheduler_side import SchedulerSide, TapGroup
from rpn_plugin.engine.worker_side import WorkerSide


class SdrpnConnector(KVConnectorBase_V1, SupportsHMA):
    """Hands each of vLLM's calls to the half that answers it."""

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        if role is KVConnectorRole.SCHEDULER:
            self._scheduler = SchedulerSide(_tap_group(kv_cache_config, vllm_config))
        else:
            self._worker = WorkerSide(vllm_config, _tap_spec(kv_cache_config)[1].block_size)

    @property
    def requires_kv_delivery(self) -> bool:
        """No keys and values are delivered: a preempted request does not run again for them."""
        return False

    # In the scheduler.

    def on_new_request(self, request: Request) -> None:
        """A request has arrived."""
        self._scheduler.add(request)

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> RoiJobs:
        """The jobs that the worker runs after this step's forward."""
        return self._scheduler.jobs(scheduler_output)

    def request_finished_all_groups(
        self, request: Request, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        """A request ends: its blocks are freed at once, and its output carries this answer."""
        return False, self._scheduler.finish(request.request_id)

    def update_connector_output(self, connector_output: KVConnectorOutput) -> None:
        """A step's results have arrived."""
        results = connector_output.kv_connector_worker_meta
        if isinstance(results, RoiResults):
            self._scheduler.deliver(results)

    def reset_cache(self) -> bool:
        """vLLM clears its prefix cache (new weights, for example): the RPN's is cleared too."""
        self._scheduler.clear_prefix_cache()
        return True

    def get_num_new_matched_tokens(
        self, request: Request, num_computed_tokens: int
    ) -> tuple[int, bool]:
        """No keys and values come from elsewhere."""
        return 0, False

    def update_state_after_alloc(
        self, request: Request, blocks: Any, num_external_tokens: int
    ) -> None:
        """Nothing to load into the new blocks."""

    # In a worker.

    def register_kv_caches(self, kv_caches: dict[str, Tensor]) -> None:
        """The caches have been allocated."""
        self._worker.register(kv_caches)

    def build_connector_worker_meta(self) -> RoiResults | None:
        """The step's forward is launched: run its jobs.

        Not in `wait_for_save`: with speculative decoding vLLM calls that only after this.
        """
        jobs = self._get_connector_metadata()
        assert isinstance(jobs, RoiJobs)
        return self._worker.run(jobs)

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Nothing to load."""

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing to wait for."""

    def save_kv_layer(
        self, layer_name: str, kv_layer: Tensor, attn_metadata: Any, **kwargs: Any
    ) -> None:
        """Nothing to save."""

    def wait_for_save(self) -> None:
        """Nothing to wait for."""


def _tap_group(kv_cache_config: KVCacheConfig, vllm_config: VllmConfig) -> TapGroup:
    index, spec = _tap_spec(kv_cache_config)
    _, hash_tokens = resolve_kv_cache_block_sizes(kv_cache_config, vllm_config)
    return TapGroup(index, spec.block_size, spec.block_size // hash_tokens)


def _tap_spec(kv_cache_config: KVCacheConfig) -> tuple[int, KVCacheSpec]:
    """Which cache group the tap is in; by its name, because groups mix kinds of layers."""
    for index, group in enumerate(kv_cache_config.kv_cache_groups):
        if any(name.startswith(TAP_LAYER) for name in group.layer_names):
            return index, group.kv_cache_spec
    raise CompatibilityError(
        "the model has no tap: --hf-overrides must name one of sdrpn's architectures"
    )
