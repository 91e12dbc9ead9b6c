"""Everything between a chat's arrival and pass 2: base views, pass 1, regions, crops.

The newest picture of the chat is the one looked at twice. If the engine cannot make a map, that is
counted and logged, and the chat goes on with its base views alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from rpn_plugin.messages import RoiError, RoiMap
from rpn_plugin.roi import regions_from_map
from server import metrics
from server.chat import PicturePart, with_views
from server.errors import BadRoi
from server.first_pass import FirstLook, first_look
from server.metrics import Outcome
from server.pictures import Picture, read_picture
from server.schema import RegionReport, RoiDefaults, RoiOptions, RoiReport, RoiSettings
from server.viewing import PicturePool, View, base_view, crop_view

logger = logging.getLogger("vllm.sdrpn")  # below vLLM's, for its handler and format


@dataclass(frozen=True)
class Looked:
    """A chat ready for pass 2, and what to tell the caller about its regions."""

    messages: list[Any]
    report: RoiReport


@dataclass(frozen=True)
class _Seen:
    """The pictures of a chat, decoded: base views of all, and the newest at full resolution."""

    views: dict[PicturePart, View]
    newest: PicturePart
    original: Picture


@dataclass(frozen=True)
class _Proposal:
    """Regions of the newest picture, best first; `skipped` says why there are none."""

    regions: list[RegionReport]
    outcome: Outcome
    skipped: str | None = None
    look: FirstLook | None = None


class Looker:
    """Looks at chats on behalf of one chat handler of vLLM's."""

    def __init__(self, handler: Any, defaults: RoiDefaults) -> None:
        self._handler = handler
        self._defaults = defaults
        self._pool = PicturePool()

    async def look(
        self,
        request: ChatCompletionRequest,
        messages: list[Any],
        pictures: list[PicturePart],
        options: RoiOptions | None,
        raw_request: Request | None,
    ) -> Looked:
        """The chat for pass 2. `pictures` are those of `messages`, at least one.

        Raises RequestError for pictures or boxes that cannot be served, Refused if vLLM would not
        take the chat.
        """
        settings = RoiSettings.of(options or RoiOptions(), self._defaults)
        timings: dict[str, float] = {}
        with _measured(timings, "pictures"):
            seen = await self._see(pictures, settings.base_tokens)
        _check_inside(settings, seen.original)
        parts = {at: [view.part()] for at, view in seen.views.items()}

        pass_1 = partial(
            first_look, self._handler, request, with_views(messages, parts), raw_request
        )
        proposal = await _propose(settings, seen.original, pass_1, timings)
        if proposal.regions:
            with _measured(timings, "crop"):
                crops = await self._crop(seen.original, proposal.regions, settings.crop_tokens)
            parts[seen.newest] += [crop.part() for crop in crops]

        report = _report(proposal, settings, seen, timings)
        _observe(proposal, report)
        return Looked(with_views(messages, parts), report)

    async def _see(self, pictures: list[PicturePart], base_tokens: int) -> _Seen:
        """Decodes one picture after another, so that only one is ever held at full resolution."""
        views: dict[PicturePart, View] = {}
        for at in pictures:
            picture, views[at] = await self._pool.run(_picture_and_view, at.url, base_tokens)
        return _Seen(views, newest=at, original=picture)

    async def _crop(
        self, original: Picture, regions: list[RegionReport], tokens: int
    ) -> list[View]:
        return [
            await self._pool.run(crop_view, original, region.corners, tokens) for region in regions
        ]


async def _propose(
    settings: RoiSettings,
    original: Picture,
    pass_1: Callable[[], Awaitable[FirstLook]],
    timings: dict[str, float],
) -> _Proposal:
    """The regions to look at again; `pass_1` is called only where they are not settled without."""
    if not settings.enabled:
        return _Proposal([], Outcome.OFF, skipped="off")
    if settings.boxes:
        given = [RegionReport(box=list(box), score=1.0) for box in settings.boxes]
        return _Proposal(given, Outcome.BOXES_GIVEN)
    try:
        with _measured(timings, "pass1"):
            look = await pass_1()
        regions = _regions(look.roi_map, original, settings)
    except RoiError as error:
        logger.warning("No RoI map; answering from the base view: %s", error)
        return _Proposal([], Outcome.ERROR, skipped=f"error: {error}")
    timings["rpn"] = _milliseconds(look.roi_map.seconds)
    if not regions:
        return _Proposal([], Outcome.NO_REGION, skipped="no_region", look=look)
    return _Proposal(regions, Outcome.REGION_FOUND, look=look)


def _picture_and_view(url: str, base_tokens: int) -> tuple[Picture, View]:
    picture = read_picture(url)
    return picture, base_view(picture, base_tokens)


def _check_inside(settings: RoiSettings, original: Picture) -> None:
    width, height = original.image.size
    for box in settings.boxes:
        if box[2] > width or box[3] > height:
            raise BadRoi(f"box {list(box)} leaves the picture of {width} x {height}", "boxes")


def _regions(roi_map: RoiMap, original: Picture, settings: RoiSettings) -> list[RegionReport]:
    try:
        regions = regions_from_map(
            roi_map.logits,
            original.image.size,
            threshold=settings.threshold,
            max_regions=settings.max_regions,
            family=settings.family,
        )
    except ValueError as error:  # a map with NaNs, say: the engine's doing, not the caller's
        raise RoiError(str(error)) from error
    return [RegionReport(box=list(region.box), score=region.score) for region in regions]


def _report(
    proposal: _Proposal, settings: RoiSettings, seen: _Seen, timings: dict[str, float]
) -> RoiReport:
    look = proposal.look
    return RoiReport(
        regions=proposal.regions,
        image_size=seen.original.image.size,
        grid=seen.views[seen.newest].grid,
        skipped=proposal.skipped,
        timings=timings,
        pass1_usage=look.usage if look else None,
        heatmap=_heatmap(look.roi_map) if look and settings.heatmap else None,
    )


def _heatmap(roi_map: RoiMap) -> list[list[float]]:
    """The map as probabilities, before any blur or threshold; four digits are plenty to draw it."""
    probabilities = 0.5 * (1 + np.tanh(0.5 * roi_map.logits.astype(np.float64)))
    heatmap: list[list[float]] = probabilities.round(4).tolist()
    return heatmap


def _observe(proposal: _Proposal, report: RoiReport) -> None:
    metrics.count(proposal.outcome)
    metrics.PICTURES_SECONDS.observe(report.timings["pictures"] / 1000)
    if proposal.look:
        metrics.PASS1_SECONDS.observe(report.timings["pass1"] / 1000)
        metrics.RPN_SECONDS.observe(proposal.look.roi_map.seconds)
    width, height = report.image_size
    for region in proposal.regions:
        x0, y0, x1, y1 = region.box
        metrics.CROP_AREA_SHARE.observe((x1 - x0) * (y1 - y0) / (width * height))


@contextmanager
def _measured(timings: dict[str, float], step: str) -> Iterator[None]:
    """Notes how long the block took, in milliseconds, also where it ends in an exception."""
    started = time.perf_counter()
    try:
        yield
    finally:
        timings[step] = _milliseconds(time.perf_counter() - started)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
