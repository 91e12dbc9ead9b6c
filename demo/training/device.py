"""The device of training: a GPU if PyTorch finds one, else the CPU.

`demo.train` makes it PyTorch's default device, so that new tensors are there. The processes that
render pages and compute their visual tokens use the CPU either way.
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
    """A context in which matrix products on the device of `module` are computed in bfloat16."""
    return torch.autocast(device_of(module).type, dtype=torch.bfloat16)
