"""One chat from its pictures to the request of pass 2: `Zoom.run`, top to bottom.

One picture of the chat is zoomed: the newest, or the one that `roi.image` names. If the engine
cannot make a map, the error is counted and logged, and the base views alone answer the chat.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from starlette.requests import Request

from rpn_plugin.messages import RoiError, RoiMap, RoiRequest
from server.api.errors import BadRoi
from server.api.outcomes import Outcome
from server.api.roi_report import NO_PICTURE, RegionReport, RoiReport
from server.api.roi_settings import RoiDefaults, RoiSettings
from server.observe import metrics, tracing
from server.observe.metrics import Pass
from server.observe.report_header import note_report
from server.passes.opened_pictures import OpenedPictures, PictureRoom
from server.passes.parsed_chat import ParsedChat
from server.passes.pass1 import Pass1, Pass1Options, run_pass1
from server.passes.proposal import Proposal, propose_regions
from server.passes.timings import measure, milliseconds
from server.pictures.views import View

logger = logging.getLogger("vllm.sdrpn")  # below vLLM's logger, for its handler and format


@dataclass(frozen=True)
class ZoomedChat:
    """A chat ready for pass 2: `messages` with views and crops, `base_messages` without crops.

    `outcome` is what is counted if pass 2 is answered from `messages`.
    """

    messages: list[Any]
    base_messages: list[Any]
    report: RoiReport
    outcome: Outcome


def without_picture(chat: ParsedChat, raw_request: Request | None) -> ZoomedChat:
    """A chat that turns `roi` on and has no picture: pass 2 is its only pass."""
    note_report(raw_request, NO_PICTURE)
    return ZoomedChat(chat.messages, chat.messages, NO_PICTURE, Outcome.TEXT_ONLY)


class Zoom:
    """Zooms chats, whichever of vLLM's routes they came by.

    `pass1` is the seam for methods that are compared with ours: anything that makes a Pass1Result
    out of a chat of base views can take its place (`with_pass1`).
    """

    def __init__(
        self, defaults: RoiDefaults, pictures: PictureRoom, pass1: Pass1 = run_pass1
    ) -> None:
        self._defaults = defaults
        self._pictures = pictures
        self._pass1 = pass1

    def with_pass1(self, pass1: Pass1) -> Zoom:
        """The same zoom with another pass 1; both share the picture threads and their limits."""
        return Zoom(self._defaults, self._pictures, pass1)

    async def run(
        self, chat: ParsedChat, handler: Any, raw_request: Request | None = None
    ) -> ZoomedChat:
        """The chat for pass 2. `chat` has at least one picture; `handler` is vLLM's, for pass 1.

        Raises RequestError for pictures or boxes that cannot be served, Pass1Refused.
        """
        settings = RoiSettings.resolve(chat.options, self._defaults, len(chat.pictures))
        zoomed = chat.pictures[settings.image]
        timings: dict[str, float] = {}
        async with AsyncExitStack() as held_pixels:
            with measure(timings, "pictures"):
                pictures = await self._pictures.open(
                    chat.pictures, zoomed, settings.base_tokens, held_pixels
                )
            _check_boxes(settings, pictures.original.image.size)
            base_messages = pictures.chat(chat.messages)
            proposal = _proposal_without_pass1(chat, settings)
            if proposal is None:
                options = _pass1_options(settings, len(chat.pictures))
                base_chat = chat.to_chat(base_messages)
                try:
                    with measure(timings, "pass1"):
                        pass1 = await self._pass1(
                            handler, chat.request, base_chat, options, raw_request
                        )
                    proposal = propose_regions(settings, pictures.original.image.size, pass1)
                    timings["rpn"] = milliseconds(pass1.roi_map.seconds)
                except RoiError as error:
                    logger.warning("No RoI map; answering from the base view: %s", error)
                    proposal = Proposal([], Outcome.ERROR, skipped=f"error: {error}")
            crops: Sequence[View] = ()
            if proposal.regions:
                with measure(timings, "crop"):
                    crops = await self._pictures.crop(
                        pictures.original, proposal.regions, settings.crop_tokens
                    )
        report = _report(proposal, settings, pictures, timings)
        _observe(proposal, report, crops)
        note_report(raw_request, report)
        messages = pictures.chat(chat.messages, crops)
        return ZoomedChat(messages, base_messages, report, proposal.outcome)


def _proposal_without_pass1(chat: ParsedChat, settings: RoiSettings) -> Proposal | None:
    """The regions of a chat that needs no pass 1; None if it needs one."""
    if not settings.enabled:
        return Proposal([], Outcome.OFF, skipped="off")
    if chat.options is None and all(picture.detail == "low" for picture in chat.pictures):
        return Proposal([], Outcome.OFF, skipped="detail_low")
    if settings.boxes:
        given = [RegionReport(box=list(box), score=1.0) for box in settings.boxes]
        return Proposal(given, Outcome.BOXES_GIVEN)
    return None


def _pass1_options(settings: RoiSettings, pictures: int) -> Pass1Options:
    """The zoomed picture is counted from the end: the prompt may begin with earlier turns'."""
    gate = settings.gate
    return Pass1Options(
        RoiRequest(settings.image - pictures, gate=gate.min_gate_probability is not None),
        confidence_tokens=gate.confidence_tokens if gate.max_confidence is not None else 0,
    )


def _check_boxes(settings: RoiSettings, image_size: tuple[int, int]) -> None:
    width, height = image_size
    for box in settings.boxes:
        if box[2] > width or box[3] > height:
            raise BadRoi(f"box {list(box)} leaves the picture of {width} x {height}", "boxes")


def _report(
    proposal: Proposal, settings: RoiSettings, pictures: OpenedPictures, timings: dict[str, float]
) -> RoiReport:
    pass1 = proposal.pass1
    return RoiReport(
        regions=proposal.regions,
        image=settings.image,
        image_size=pictures.original.image.size,
        grid=pictures.grid,
        skipped=proposal.skipped,
        timings=timings,
        pass1_usage=pass1.usage if pass1 else None,
        confidence=pass1.confidence if pass1 else None,
        gate_probability=pass1.roi_map.gate_probability if pass1 else None,
        heatmap=_heatmap(pass1.roi_map) if pass1 and settings.heatmap else None,
    )


def _heatmap(roi_map: RoiMap) -> list[list[float]]:
    """The map as probabilities with four digits, before any blur or threshold."""
    heatmap: list[list[float]] = expit(roi_map.logits.astype(np.float64)).round(4).tolist()
    return heatmap


def _observe(proposal: Proposal, report: RoiReport, crops: Sequence[View]) -> None:
    metrics.PICTURES_SECONDS.observe(report.timings["pictures"] / 1000)
    if proposal.pass1:
        metrics.PASS1_SECONDS.observe(report.timings["pass1"] / 1000)
        roi_map = proposal.pass1.roi_map
        metrics.RPN_SECONDS.observe(roi_map.seconds)
        metrics.RPN_CACHED_TOKENS.inc(roi_map.cached_tokens)
        metrics.RPN_EVICTED_TOKENS.inc(roi_map.evicted_tokens)
    if (usage := report.pass1_usage) and usage.cached_tokens is not None:
        metrics.observe_prompt(Pass.FIRST, usage.prompt_tokens, usage.cached_tokens)
    if crops:
        metrics.CROP_SECONDS.observe(report.timings["crop"] / 1000)
        metrics.CROP_TOKENS.observe(sum(math.prod(crop.grid) for crop in crops))
    tracing.note(outcome=proposal.outcome.value, regions=len(proposal.regions))
    width, height = report.image_size or (0, 0)
    for region in proposal.regions:
        x0, y0, x1, y1 = region.corners
        metrics.CROP_AREA_SHARE.observe((x1 - x0) * (y1 - y0) / (width * height))
