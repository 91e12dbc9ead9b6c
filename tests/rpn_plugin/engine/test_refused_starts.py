"""What cannot work is refused while vLLM is configured, before a model is loaded, in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import vllm
from vllm.config import ParallelConfig
from vllm.engine.arg_utils import AsyncEngineArgs

from rpn_plugin.compat import CompatibilityError
from rpn_plugin.engine import plugin, start_check
from rpn_plugin.engine_args import hf_overrides, kv_transfer_config
from rpn_plugin.network.checkpoint import CheckpointError, load_rpn, save_rpn
from tests.rpn_plugin.engine.conftest import ENVIRONMENT

PUBLISHED = Path(__file__).parents[2] / "data" / "golden" / "qwen25vl_tiny" / "checkpoint"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def configure(model: Path, **arguments: Any) -> None:
    """Everything that happens to a configuration before an engine is started with it."""
    defaults = {"kv_transfer_config": kv_transfer_config(), "enforce_eager": True}
    AsyncEngineArgs(model=str(model), **{**defaults, **arguments}).create_engine_config()


def refused(error: type[Exception], match: str, model: Path, **arguments: Any) -> None:
    with pytest.raises(error, match=match) as refusal:
        configure(model, **arguments)
    assert "\n" not in str(refusal.value)


def test_the_right_parts_are_accepted(model_folder: Path, rpn_folder: Path) -> None:
    configure(model_folder, hf_overrides=hf_overrides(rpn_folder))


def test_rpn_of_another_hidden_size(model_folder: Path) -> None:
    refused(
        CompatibilityError,
        "made for hidden_size 128, the model has 192",
        model_folder,
        hf_overrides=hf_overrides(PUBLISHED),
    )


def test_rpn_of_a_deeper_model(model_folder: Path, rpn_folder: Path, tmp_path: Path) -> None:
    save_rpn(load_rpn(rpn_folder), tmp_path)
    path = tmp_path / "rpn_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_layers": 28}))
    refused(
        CompatibilityError,
        "made for base_layers 28",
        model_folder,
        hf_overrides=hf_overrides(tmp_path),
    )


def test_no_rpn_in_the_folder(model_folder: Path, rpn_folder: Path, tmp_path: Path) -> None:
    overrides = {**hf_overrides(rpn_folder), "sdrpn": {"rpn": str(tmp_path)}}
    refused(CheckpointError, "no RPN in", model_folder, hf_overrides=overrides)


def test_no_rpn_named(model_folder: Path, rpn_folder: Path) -> None:
    overrides = {"architectures": hf_overrides(rpn_folder)["architectures"]}
    refused(CompatibilityError, "no RPN named", model_folder, hf_overrides=overrides)


def test_no_connector(model_folder: Path, rpn_folder: Path) -> None:
    refused(
        CompatibilityError,
        "no connector for RoI maps",
        model_folder,
        hf_overrides=hf_overrides(rpn_folder),
        kv_transfer_config=None,
    )


def test_pipeline_parallelism(model_folder: Path, rpn_folder: Path) -> None:
    refused(
        CompatibilityError,
        "pipeline parallelism is not supported",
        model_folder,
        hf_overrides=hf_overrides(rpn_folder),
        pipeline_parallel_size=2,
        distributed_executor_backend="mp",
    )


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("pipeline", "pipeline_parallel_size", 2),
        ("decode context", "decode_context_parallel_size", 2),
        ("prefill context", "prefill_context_parallel_size", 2),
        ("dual batch overlap", "enable_dbo", True),
    ],
)
def test_every_worker_needs_all_states_of_a_prompt(name: str, field: str, value: object) -> None:
    """vLLM itself refuses some of these on a CPU, so the check is called directly."""
    parallel = ParallelConfig()
    start_check._check_parallelism(parallel)
    setattr(parallel, field, value)
    with pytest.raises(CompatibilityError, match=f"^{name}.* is not supported by the tap$"):
        start_check._check_parallelism(parallel)


def test_unsupported_architecture(model_folder: Path, rpn_folder: Path, tmp_path: Path) -> None:
    """A model of another kind, forced into our class."""
    model = tmp_path / "model"
    shutil.copytree(model_folder, model, ignore=shutil.ignore_patterns("*.safetensors", "rpn"))
    config = json.loads((model / "config.json").read_text())
    config["model_type"] = "qwen2_vl"
    (model / "config.json").write_text(json.dumps(config))
    refused(
        CompatibilityError,
        "type qwen2_vl cannot be served as SdrpnQwen2_5_VL",
        model,
        hf_overrides=hf_overrides(rpn_folder),
    )


def test_unsupported_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "__version__", "0.33.1")
    with pytest.raises(CompatibilityError, match=r"vLLM 0\.33\.1 is not supported"):
        plugin.register()


@pytest.mark.engine
def test_connector_without_a_tap(model_folder: Path) -> None:
    """The one misfit that only a started engine can see: its log says it in one line."""
    program = (
        "from vllm import LLM\n"
        f"LLM({str(model_folder)!r}, kv_transfer_config={kv_transfer_config()!r},\n"
        "    dtype='float32', enforce_eager=True, max_model_len=640,\n"
        "    limit_mm_per_prompt={'image': 1, 'video': 0})\n"
    )
    started = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert started.returncode != 0
    last_line = started.stderr.strip().splitlines()[-1]
    assert last_line.endswith(
        "the model has no tap: --hf-overrides must name one of sdrpn's architectures"
    ), last_line
