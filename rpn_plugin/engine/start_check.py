"""Refuses configurations that cannot work, while vLLM builds its configuration.

Rests on `VerifyAndUpdateConfig`, vLLM's per-architecture hook: `VllmConfig.__post_init__` calls it
in the first process, before workers start and weights are read. The start fails with one line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vllm.config import ModelConfig, ParallelConfig, VllmConfig
from vllm.model_executor.models.config import VerifyAndUpdateConfig

from rpn_plugin.compat import CompatibilityError, check_rpn_fits
from rpn_plugin.engine import encoder_budget
from rpn_plugin.engine.models import llava_layout
from rpn_plugin.engine_args import CONNECTOR, PREFIX_CACHE_MIB, SETTINGS
from rpn_plugin.network.checkpoint import load_rpn_config


def rpn_folder(hf_config: Any) -> Path:
    """The RPN folder that `hf_overrides` names; CompatibilityError if it names none."""
    settings = getattr(hf_config, SETTINGS, None)
    if not isinstance(settings, dict) or not settings.get("rpn"):
        raise CompatibilityError(
            f"no RPN named: --hf-overrides needs {{'{SETTINGS}': {{'rpn': FOLDER}}}}"
        )
    return Path(settings["rpn"])


def prefix_cache_bytes(hf_config: Any) -> int:
    """The size of the RPN's prefix cache, set by `hf_overrides`."""
    mebibytes = getattr(hf_config, SETTINGS).get("prefix_cache_mib", PREFIX_CACHE_MIB)
    return int(mebibytes * 2**20)


class StartCheck(VerifyAndUpdateConfig):
    """The checks for our architectures."""

    @staticmethod
    def verify_and_update_model_config(model_config: ModelConfig) -> None:
        """Adds what a checkpoint in a released layout leaves out."""
        llava_layout.complete(model_config)

    @staticmethod
    def verify_and_update_config(vllm_config: VllmConfig) -> None:
        """Raises CompatibilityError or CheckpointError; sizes the encoder cache."""
        hf_config = vllm_config.model_config.hf_config
        rpn = load_rpn_config(rpn_folder(hf_config))
        check_rpn_fits(rpn, hf_config.to_dict())

        transfer = vllm_config.kv_transfer_config
        if transfer is None or transfer.kv_connector != CONNECTOR:
            raise CompatibilityError(
                f"no connector for RoI maps: --kv-transfer-config must name {CONNECTOR}"
            )
        _check_parallelism(vllm_config.parallel_config)

        encoder_budget.make_room(vllm_config)

        # The layer is compiled into the model; vLLM keys its compile cache by this configuration,
        # which would not change if another RPN were put into the same folder.
        setattr(hf_config, SETTINGS, {**getattr(hf_config, SETTINGS), "tap_layer": rpn.tap_layer})


def _check_parallelism(parallel: ParallelConfig) -> None:
    """Raises CompatibilityError unless every worker has all states of a prompt, in one batch."""
    for name, used in (
        ("pipeline parallelism", parallel.pipeline_parallel_size > 1),
        ("decode context parallelism", parallel.decode_context_parallel_size > 1),
        ("prefill context parallelism", parallel.prefill_context_parallel_size > 1),
        ("dual batch overlap (--enable-dbo)", parallel.enable_dbo),
    ):
        if used:
            raise CompatibilityError(f"{name} is not supported by the tap")
