"""vLLM keeps compiled models by their configuration; the tap's place must be part of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vllm.engine.arg_utils import AsyncEngineArgs

from rpn_plugin.engine_args import hf_overrides, kv_transfer_config
from rpn_plugin.network.checkpoint import load_rpn, save_rpn
from tests.rpn_plugin.engine.conftest import ENVIRONMENT


def test_other_tap_layer_in_the_same_folder(
    model_folder: Path, rpn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    save_rpn(load_rpn(rpn_folder), tmp_path)
    path = tmp_path / "rpn_config.json"

    def key(tap_layer: int) -> str:
        path.write_text(json.dumps({**json.loads(path.read_text()), "tap_layer": tap_layer}))
        args = AsyncEngineArgs(
            model=str(model_folder),
            hf_overrides=hf_overrides(tmp_path),
            kv_transfer_config=kv_transfer_config(),
        )
        hashed: str = args.create_engine_config().model_config.compute_hash()
        return hashed

    first = key(1)
    assert key(2) != first
    assert key(1) == first
