"""sdrpn in vLLM's API server: an endpoint plugin (`vllm.plugins.endpoint_plugins.interface`).

Named in `VLLM_PLUGINS`, it adds our routes and guards to vLLM's app and wraps vLLM's handlers in
`app.state` with the two passes. The RPN's folder is read from `--hf-overrides`, as on the engine's
side; the RPN's configuration holds the serving defaults.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from importlib import metadata
from typing import Any

from fastapi import FastAPI
from prometheus_client import start_http_server
from starlette.datastructures import State
from vllm import __version__ as VLLM_VERSION
from vllm.v1.metrics.prometheus import get_prometheus_registry

from rpn_plugin.families import family_named
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.network.checkpoint import load_rpn_config
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.regions.zoom_gate import ZoomGate
from server import guard, playground, routes
from server.api.roi_settings import RoiDefaults
from server.engine_probe import EngineProbe
from server.guard.admission import Admission
from server.guard.bodies import body_limit
from server.guard.deadlines import RunningRequests
from server.guard.error_form import ErrorForm
from server.guard.keys import take_vllm_keys
from server.handlers.anthropic import TwoPassMessages
from server.handlers.batch import TwoPassBatch
from server.handlers.chat import TwoPassChat
from server.handlers.responses import TwoPassResponses
from server.handlers.tokenize import ZoomedTokenization
from server.lifecycle import Lifecycle
from server.observe import metrics
from server.observe import middlewares as observe
from server.observe.report_header import ReportHeader
from server.passes.opened_pictures import PictureRoom
from server.passes.zoom import Zoom
from server.pictures.fetch import Fetcher
from server.pictures.limits import PictureLimits
from server.pictures.sources import PictureSources
from server.pictures.url_policy import MediaPolicy
from server.settings import Settings, read_settings

_LOG_PROBABILITIES = ("raw_logprobs", "processed_logprobs")
"""Values of --logprobs-mode with which a token's `logprob` is the logarithm of a probability."""


class SdrpnEndpointPlugin:
    """The `vllm.endpoint_plugins` entry point `sdrpn_endpoint`."""

    name = "sdrpn_endpoint"
    required_tasks = None
    """vLLM would skip the plugin for other tasks and serve without guards; `init_state` checks."""

    def __init__(self) -> None:
        self._settings = read_settings()
        self._sources = _sources(self._settings)

    def attach_router(self, app: FastAPI) -> None:
        """Adds our own routes, the playground unless it is switched off, and the guards.

        vLLM puts its middlewares (CORS, request ids, a key check of its own) around these later.
        """
        app.root_path = (app.root_path or "").rstrip("/")
        routes.attach(app)
        if self._settings.playground:
            playground.attach(app)
        app.add_middleware(ReportHeader)
        self._guard(app)
        observe.install(app)
        app.add_middleware(ErrorForm, cors=bool(app.state.args.allowed_origins))

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Wraps vLLM's handlers with the two passes.

        Raises SystemExit if the engine does not generate text, ValueError if no RPN is named,
        CheckpointError if its configuration cannot be read.
        """
        await _check_generates(engine_client)
        defaults = _defaults(args, self._settings, engine_client)
        pictures = PictureRoom(self._sources, defaults.image, self._settings.max_pictures)
        _wrap_handlers(state, Zoom(defaults, pictures))
        state.sdrpn_engine_probe = EngineProbe(engine_client)
        metrics.set_build_info(metadata.version("sdrpn"), VLLM_VERSION, defaults.family)
        if port := self._settings.metrics_port:
            start_http_server(port, addr=args.host or "0.0.0.0", registry=get_prometheus_registry())

    def _guard(self, app: FastAPI) -> None:
        settings = self._settings
        keys = [key.get_secret_value() for key in settings.api_key]
        keys += take_vllm_keys(app.state.args)
        admission = Admission(settings.max_inflight)
        running = RunningRequests(
            settings.request_timeout, lambda: bool(app.state.engine_client.errored)
        )
        app.state.sdrpn_admission = admission
        guard.install(
            app,
            keys=keys,
            keyless=playground.PUBLIC_PATHS if settings.playground else frozenset(),
            closed=frozenset({"/metrics"}) if settings.metrics_port else frozenset(),
            admission=admission,
            running=running,
            body_bytes=body_limit(self._sources.limits.bytes),
            upload_seconds=settings.upload_timeout,
        )
        life = Lifecycle(app, admission, running, settings.drain_timeout, self._sources.close)
        app.router.lifespan_context = life.around(app.router.lifespan_context)


def _wrap_handlers(state: State, zoom: Zoom) -> None:
    """Wraps every handler of vLLM's that takes pictures; `sdrpn_chat` is for our own routes."""
    vllm_chat = state.openai_serving_chat
    chat = TwoPassChat(vllm_chat, zoom)
    state.sdrpn_chat = state.openai_serving_chat = chat
    state.openai_serving_chat_batch = TwoPassBatch(
        state.openai_serving_chat_batch, chat, state.sdrpn_admission
    )
    state.openai_serving_responses = TwoPassResponses(
        state.openai_serving_responses, vllm_chat, zoom
    )
    state.anthropic_serving_messages = TwoPassMessages(state.anthropic_serving_messages, zoom)
    state.serving_tokenization = ZoomedTokenization(state.serving_tokenization, chat)


def _sources(settings: Settings) -> PictureSources:
    policy = MediaPolicy(settings.media_domains, settings.media_any_public)
    limits = _picture_limits(settings)
    return PictureSources(Fetcher(policy, limits=limits), settings.media_folder, limits)


def _picture_limits(settings: Settings) -> PictureLimits:
    return PictureLimits(
        settings.max_picture_mib * 2**20, settings.max_picture_megapixels * 1_000_000
    )


async def _check_generates(engine_client: Any) -> None:
    """Raises SystemExit unless there is an engine that generates text."""
    if engine_client is None or "generate" not in await engine_client.get_supported_tasks():
        sys.exit(
            "sdrpn: the endpoint plugin needs an engine that generates text (--runner generate)"
        )


def _max_view_tokens(engine_client: Any, image: ImageGrid) -> int:
    """Visual tokens of the largest picture that vLLM's processor for this model would not shrink.

    Rests on `Qwen2VLProcessingInfo.get_image_size_with_most_features`.
    """
    if image.square is not None:
        return image.square**2
    largest = engine_client.renderer.get_mm_processor().info.get_image_size_with_most_features()
    return (int(largest.width) // image.cell) * (int(largest.height) // image.cell)


def _defaults(args: Namespace, settings: Settings, engine_client: Any) -> RoiDefaults:
    overrides = args.hf_overrides if isinstance(args.hf_overrides, dict) else {}
    try:
        folder = overrides["sdrpn"]["rpn"]
    except (KeyError, TypeError):
        raise ValueError(
            'sdrpn\'s endpoint needs --hf-overrides \'{"sdrpn": {"rpn": "/path/to/rpn"}, ...}\'; '
            "`sdrpn serve` writes it for you"
        ) from None
    config = load_rpn_config(folder)
    image = family_named(config.family).image.of(engine_client.model_config.hf_config.to_dict())
    max_view_tokens = _max_view_tokens(engine_client, image)
    return RoiDefaults(
        threshold=config.threshold,
        base_tokens=min(config.base_tokens, max_view_tokens),
        crop_tokens=min(config.crop_tokens, max_view_tokens),
        max_view_tokens=max_view_tokens,
        family=config.family,
        rules=config.rules,
        image=image,
        gate=_gate_of(config),
        gate_default=config.gate_default,
        learned_gate=bool(config.gate_layers),
        confidence=engine_client.model_config.logprobs_mode in _LOG_PROBABILITIES,
        enabled=settings.roi_default == "on",
    )


def _gate_of(config: RpnConfig) -> ZoomGate:
    """The RPN's gate, without limits that never close it: their signals need not be computed."""
    return ZoomGate(
        config.gate_min_peak,
        config.gate_max_area,
        config.gate_max_confidence if config.gate_max_confidence < 1 else None,
        config.gate_confidence_tokens,
        config.gate_min_probability if config.gate_min_probability > 0 else None,
    )
