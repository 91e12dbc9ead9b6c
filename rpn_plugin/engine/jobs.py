"""The messages between scheduler and worker about RoI maps, within one engine step.

Rests on vLLM's `KVConnectorMetadata` (to the worker, with every step) and
`KVConnectorWorkerMetadata` (back, with the step's output).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorMetadata,
    KVConnectorWorkerMetadata,
)

from rpn_plugin.messages import RoiError, RoiMap

Results = dict[str, RoiMap | RoiError]
"""By request id."""


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


class RoiResults(KVConnectorWorkerMetadata):
    """The results of a step's jobs, read when they are needed: when they are pickled on their way
    to the scheduler's process, or when a scheduler in the same process delivers them.
    """

    def __init__(self, read: Callable[[], Results]) -> None:
        self._read: Callable[[], Results] | None = read
        self._results: Results = {}

    @property
    def results(self) -> Results:
        """By request id; waits for the device."""
        if self._read is not None:
            self._results, self._read = self._read(), None
        return self._results

    def aggregate(self, other: KVConnectorWorkerMetadata) -> RoiResults:
        """Both workers' results."""
        assert isinstance(other, RoiResults)
        return RoiResults(lambda: {**self.results, **other.results})

    def __getstate__(self) -> dict[str, Any]:
        return {"_read": None, "_results": self.results}
