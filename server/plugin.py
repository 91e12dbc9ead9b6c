"""sdrpn in vLLM's API server: an endpoint plugin (`vllm.plugins.endpoint_plugins.interface`).

Named in `VLLM_PLUGINS`, it adds our routes to vLLM's app and puts the two passes in front of vLLM's
chat handler, `state.openai_serving_chat`. The RPN's folder is named in `--hf-overrides`, where the
engine's side finds it too; its configuration holds the serving defaults.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import State

from rpn_plugin.checkpoint import load_rpn_config
from server import playground, routes
from server.passes import TwoPassChat
from server.schema import RoiDefaults
from server.settings import read_settings
from server.views import CELL


class SdrpnEndpointPlugin:
    """The `vllm.endpoint_plugins` entry point `sdrpn_endpoint`."""

    name = "sdrpn_endpoint"
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        """Adds our own routes, and the playground unless it is switched off."""
        routes.attach(app)
        if read_settings().playground:
            playground.attach(app)

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Puts the two passes in front of vLLM's chat handler.

        Raises ValueError if no RPN is named, CheckpointError if its configuration cannot be read.
        """
        defaults = _defaults(args, _max_view_tokens(engine_client))
        state.openai_serving_chat = TwoPassChat(state.openai_serving_chat, defaults)
        state.sdrpn_chat = state.openai_serving_chat


def _max_view_tokens(engine_client: Any) -> int:
    """Visual tokens of the largest picture that vLLM's processor for this model would not shrink.

    Rests on `Qwen2VLProcessingInfo.get_image_size_with_most_features`.
    """
    largest = engine_client.renderer.get_mm_processor().info.get_image_size_with_most_features()
    return (int(largest.width) // CELL) * (int(largest.height) // CELL)


def _defaults(args: Namespace, max_view_tokens: int) -> RoiDefaults:
    overrides = args.hf_overrides if isinstance(args.hf_overrides, dict) else {}
    try:
        folder = overrides["sdrpn"]["rpn"]
    except (KeyError, TypeError):
        raise ValueError(
            'sdrpn\'s endpoint needs --hf-overrides \'{"sdrpn": {"rpn": "/path/to/rpn"}, ...}\'; '
            "`sdrpn serve` writes it for you"
        ) from None
    config = load_rpn_config(folder)
    return RoiDefaults(
        threshold=config.threshold,
        base_tokens=min(config.base_tokens, max_view_tokens),
        crop_tokens=min(config.crop_tokens, max_view_tokens),
        max_view_tokens=max_view_tokens,
        family=config.family,
    )
