"""One process, or the several that `torchrun` starts: who am I, wait, add up."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process among `count`; rank 0 speaks for all."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.count > 1:
            dist.barrier()

    def add(self, values: list[Tensor]) -> None:
        """Replaces each tensor by its sum over all processes, in place."""
        if self.count > 1:
            flat = torch.cat([v.flatten() for v in values])
            dist.all_reduce(flat)
            for value, total in zip(values, flat.split([v.numel() for v in values]), strict=True):
                value.copy_(total.view_as(value))

    def close(self) -> None:
        """Leaves the group."""
        if self.count > 1:
            dist.destroy_process_group()


def join(device: str) -> Processes:
    """This process, on `device`: "cpu", "cuda" or "auto"; in torchrun's group if it started us."""
    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    chosen = torch.device(kind)
    if kind == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    if count > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return Processes(rank, count, chosen)
