"""Where training runs: a GPU if PyTorch finds one, else the CPU.

`demo.train` makes it PyTorch's default device, so that tensors are born there. The processes that
render pages and make their visual tokens stay on the CPU either way.
"""

from __future__ import annotations

import torch
from torch import nn


def training_device() -> torch.device:
    """The first GPU, or the CPU of a machine without one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(module: nn.Module) -> torch.device:
    """Where the parameters of `module` are."""
    return next(module.parameters()).device


def bfloat16(module: nn.Module) -> torch.autocast:
    """Matrix products in bfloat16 where `module` is, for the length of a `with` block."""
    return torch.autocast(device_of(module).type, dtype=torch.bfloat16)
