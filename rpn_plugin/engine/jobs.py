"""The messages between scheduler and worker about RoI maps, within one engine step.

Rests on vLLM's `KVConnectorMetadata` (to the worker, with every step) and
`KVConnectorWorkerMetadata` (back, with the step's output).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorMetadata,
    KVConnectorWorkerMetadata,
)

from rpn_plugin.messages import RoiError, RoiMap


@dataclass(frozen=True)
class ImageSpan:
    """Where one picture's tokens stand in the prompt, in raster order."""

    offset: int
    length: int


@dataclass(frozen=True)
class RoiJob:
    """One map to compute; the prompt's states are in these blocks after the step's forward."""

    request_id: str
    block_ids: tuple[int, ...]
    prompt_length: int
    image: ImageSpan
    block_hashes: tuple[bytes, ...] = ()
    """vLLM's hashes of the blocks that the prompt fills; equal for equal prefixes."""
    gate: bool = False
    """Whether the learned gate runs as well."""


@dataclass(frozen=True)
class RoiJobs(KVConnectorMetadata):
    """The jobs of one step; mostly none. `clear`: first clear the RPN's prefix cache."""

    jobs: tuple[RoiJob, ...] = ()
    clear: bool = False


@dataclass(frozen=True)
class RoiResults(KVConnectorWorkerMetadata):
    """The results of a step's jobs, by request id."""

    results: dict[str, RoiMap | RoiError] = field(default_factory=dict)

    def aggregate(self, other: KVConnectorWorkerMetadata) -> RoiResults:
        """Both workers' results."""
        assert isinstance(other, RoiResults)
        return RoiResults({**self.results, **other.results})
