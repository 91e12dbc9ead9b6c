"""sdrpn's KV connector, which also answers requests for attention (`layer_attention.py`).

Requests for attention travel like requests for RoI maps; the worker handles them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from vllm.config import VllmConfig, get_layers_from_vllm_config
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import KVCacheConfig
from vllm.v1.request import Request

from loadtests.compare.baselines.attention_request import asks_for_attention
from loadtests.compare.baselines.layer_attention import LayerAttention
from rpn_plugin.engine.connector import SdrpnConnector
from rpn_plugin.engine.failures import failure_reason
from rpn_plugin.engine.jobs import Results, RoiJob, RoiJobs, RoiResults
from rpn_plugin.engine.models.tap import TapLayer
from rpn_plugin.engine.tap_rows import unpack
from rpn_plugin.messages import RoiError, RoiMap


@dataclass(frozen=True)
class JobsWithAttention(RoiJobs):
    """The jobs of a step; those in `attention` are not for the RPN."""

    attention: tuple[RoiJob, ...] = ()


class AttentionConnector(SdrpnConnector):
    """sdrpn's connector, with attention for requests that ask for it."""

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self._for_attention: set[str] = set()

    # In the scheduler.

    def on_new_request(self, request: Request) -> None:
        """A request has arrived."""
        if asks_for_attention(request.kv_transfer_params):
            self._for_attention.add(request.request_id)
        super().on_new_request(request)

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> RoiJobs:
        """A step's jobs; those for attention are listed apart."""
        jobs = super().build_connector_meta(scheduler_output)
        if not any(job.request_id in self._for_attention for job in jobs.jobs):
            return jobs
        attention = tuple(job for job in jobs.jobs if job.request_id in self._for_attention)
        others = tuple(job for job in jobs.jobs if job.request_id not in self._for_attention)
        return JobsWithAttention(**{**vars(jobs), "jobs": others}, attention=attention)

    def request_finished_all_groups(
        self, request: Request, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        """A request ends."""
        self._for_attention.discard(request.request_id)
        return super().request_finished_all_groups(request, block_ids)

    # In a worker.

    def register_kv_caches(self, kv_caches: dict[str, Tensor]) -> None:
        """The caches are allocated: find the tap's, and build the attention of its layer."""
        super().register_kv_caches(kv_caches)
        taps = get_layers_from_vllm_config(self._vllm_config, TapLayer, list(kv_caches))
        ((name, tap),) = taps.items()
        self._rows = kv_caches[name]
        groups = self._kv_cache_config.kv_cache_groups
        (spec,) = (group.kv_cache_spec for group in groups if name in group.layer_names)
        self._block_tokens = spec.block_size
        attention = LayerAttention(tap.rpn.config)
        if self._vllm_config.load_config.load_format != "dummy":
            attention.load(self._vllm_config.model_config.model)
        self._layer = attention.to(self._rows.device, self._rows.dtype)

    def build_connector_worker_meta(self) -> RoiResults | None:
        """The step's forward pass is launched: run its jobs."""
        jobs = self._get_connector_metadata()
        results = super().build_connector_worker_meta()
        if not isinstance(jobs, JobsWithAttention):
            return results
        read: Results = {job.request_id: self._read(job) for job in jobs.attention}
        weights = RoiResults(lambda: read)
        return results.aggregate(weights) if results else weights

    @torch.inference_mode()
    def _read(self, job: RoiJob) -> RoiMap | RoiError:
        try:
            token = torch.arange(job.prompt_length)
            blocks = torch.tensor(job.block_ids)[token // self._block_tokens]
            slots = (blocks * self._block_tokens + token % self._block_tokens).to(self._rows.device)
            size = self._rows.shape[2]
            rows = self._rows[slots // size, 0, slots % size]
            hidden, positions = unpack(rows, self._layer.config.hidden_size)
            span = slice(job.image.offset, job.image.offset + job.image.length)
            weights = self._layer(hidden, positions)[span].cpu()
            spanned = positions[1:, span.stop - 1] - positions[1:, span.start] + 1
            return RoiMap(weights.reshape(spanned.tolist()).numpy(), 0.0)
        except Exception as error:  # an exception here would end the engine
            return failure_reason(error, "the attention")
