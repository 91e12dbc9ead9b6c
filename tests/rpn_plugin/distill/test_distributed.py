"""Several processes, started by torchrun, learn what one learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rpn_plugin.network.checkpoint import load_rpn
from tests.rpn_plugin.distill.conftest import finish, start

pytestmark = pytest.mark.slow

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SETTINGS = ("--precision", "float32", "--cache-states", "--epochs", "1")


def test_two_processes_equal_one(pages: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(pages, one, *SETTINGS))
    finish(start(pages, two, *SETTINGS, launcher=TORCHRUN))
    for shard in sorted((one / "labels").glob("*.safetensors")):
        assert (two / "labels" / shard.name).read_bytes() == shard.read_bytes()
    weights, others = load_rpn(one).state_dict(), load_rpn(two).state_dict()
    for name, values in weights.items():
        torch.testing.assert_close(others[name], values, atol=2e-5, rtol=1e-3)
    assert (one / "rpn_config.json").read_bytes() == (two / "rpn_config.json").read_bytes()
