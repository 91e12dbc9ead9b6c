"""Everything between a chat's arrival and pass 2: base views, pass 1, regions, crops.

One picture of the chat is looked at twice: the newest, or the one `roi.image` names. If the engine
cannot make a map, that is counted and logged, and the chat goes on with its base views alone.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit

from rpn_plugin.families.base import ImageGrid
from rpn_plugin.messages import RoiError, RoiMap, RoiRequest
from rpn_plugin.regions.boxes import Region, regions_from_map
from rpn_plugin.regions.zoom_gate import GateInputs
from server.api.errors import BadRoi
from server.api.outcomes import Outcome
from server.api.roi import RegionReport, RoiDefaults, RoiOptions, RoiReport, RoiSettings
from server.observe import metrics, tracing
from server.observe.metrics import Pass
from server.passes.pass1 import FirstLook, Wanted
from server.pictures.files import Picture, PictureFile, open_picture
from server.pictures.parts import PicturePart, with_views
from server.pictures.pool import PictureLanes
from server.pictures.sources import PictureSources
from server.pictures.views import View, base_view, crop_view

FirstPass = Callable[[list[Any], Wanted], Awaitable[FirstLook]]
"""Runs pass 1 over a chat of base views, for what is wanted of one of its pictures.

That is counted from the end, because the prompt may begin with pictures of earlier turns.
"""

logger = logging.getLogger("vllm.sdrpn")  # below vLLM's, for its handler and format


@dataclass(frozen=True)
class Looked:
    """A chat ready for pass 2, and what to tell the caller about its regions."""

    messages: list[Any]
    report: RoiReport


@dataclass(frozen=True)
class _Seen:
    """The pictures of a chat, decoded: base views of all, and `chosen` at full resolution."""

    views: dict[PicturePart, View]
    chosen: PicturePart
    original: Picture


@dataclass(frozen=True)
class _Proposal:
    """Regions of the chosen picture, best first; `skipped` says why there are none."""

    regions: list[RegionReport]
    outcome: Outcome
    skipped: str | None = None
    look: FirstLook | None = None


class Looker:
    """Looks at chats, whichever of vLLM's routes they came by."""

    def __init__(self, defaults: RoiDefaults, sources: PictureSources) -> None:
        self._defaults = defaults
        self._image = defaults.image
        self._sources = sources
        self._lanes = PictureLanes()

    async def look(
        self,
        messages: list[Any],
        pictures: list[PicturePart],
        options: RoiOptions | None,
        pass_1: FirstPass,
    ) -> Looked:
        """The chat for pass 2. `pictures` are those of `messages`, at least one.

        Raises RequestError for pictures or boxes that cannot be served, and what `pass_1` does,
        but for RoiError.
        """
        settings = RoiSettings.of(options, self._defaults, len(pictures))
        timings: dict[str, float] = {}
        async with AsyncExitStack() as holding:
            with _measured(timings, "pictures"):
                seen = await self._see(pictures, settings, holding)
            _check_inside(settings, seen.original)
            parts = {at: [view.part()] for at, view in seen.views.items()}

            base_views = with_views(messages, parts)
            ask = partial(pass_1, base_views, _wanted(settings, len(pictures)))
            proposal = await _propose(settings, seen.original, ask, timings)
            if proposal.regions:
                with _measured(timings, "crop"):
                    crops = await self._crop(seen.original, proposal.regions, settings.crop_tokens)
                parts[seen.chosen] += [crop.part() for crop in crops]
                metrics.CROP_TOKENS.observe(sum(math.prod(crop.grid) for crop in crops))

        report = _report(proposal, settings, seen, timings)
        _observe(proposal, report)
        return Looked(with_views(messages, parts), report)

    async def _see(
        self, pictures: list[PicturePart], settings: RoiSettings, holding: AsyncExitStack
    ) -> _Seen:
        """Decodes one picture after another; only the chosen one, the last, stays in memory.

        `holding` keeps its place there.
        """
        chosen = pictures[settings.image]
        views: dict[PicturePart, View] = {}
        for at in [*(other for other in pictures if other is not chosen), chosen]:
            with metrics.REQUESTS_QUEUED.track_inprogress():
                file = await self._open(at.url)
                lane = self._lanes.lane(file.pixels)
                room = lane.holding(file.pixels)
                asked = time.perf_counter()
                await holding.enter_async_context(room)
            look = partial(_decode, file, settings.base_tokens, self._image, asked)
            picture, views[at] = await lane.run(look)
            if at is not chosen:
                await holding.aclose()
        return _Seen(views, chosen, picture)

    async def _open(self, url: str) -> PictureFile:
        read = await self._sources.open(url)
        return await self._lanes.lane(0).run(lambda: open_picture(read()))

    async def _crop(
        self, original: Picture, regions: list[RegionReport], tokens: int
    ) -> list[View]:
        width, height = original.image.size
        lane = self._lanes.lane(width * height)
        return [
            await lane.run(partial(crop_view, original, region.corners, tokens, self._image))
            for region in regions
        ]


def _wanted(settings: RoiSettings, pictures: int) -> Wanted:
    gate = settings.gate
    roi = RoiRequest(settings.image - pictures, gate=gate.min_gate_probability is not None)
    return Wanted(
        roi, confidence_tokens=gate.confidence_tokens if gate.max_confidence is not None else 0
    )


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
    seen = GateInputs(regions, original.image.size, look.confidence, look.roi_map.gate_probability)
    if not settings.gate.is_open(seen):
        return _Proposal([], Outcome.GATED, skipped="gate", look=look)
    reports = [RegionReport(box=list(region.box), score=region.score) for region in regions]
    return _Proposal(reports, Outcome.REGION_FOUND, look=look)


def _decode(
    file: PictureFile, base_tokens: int, image: ImageGrid, asked: float
) -> tuple[Picture, View]:
    metrics.QUEUE_SECONDS.observe(time.perf_counter() - asked)
    metrics.count_picture(file.image.format, file.image.size)
    picture = file.decode()
    return picture, base_view(picture, base_tokens, image)


def _check_inside(settings: RoiSettings, original: Picture) -> None:
    width, height = original.image.size
    for box in settings.boxes:
        if box[2] > width or box[3] > height:
            raise BadRoi(f"box {list(box)} leaves the picture of {width} x {height}", "boxes")


def _regions(roi_map: RoiMap, original: Picture, settings: RoiSettings) -> list[Region]:
    try:
        return regions_from_map(
            roi_map.logits,
            original.image.size,
            threshold=settings.threshold,
            max_regions=settings.max_regions,
            family=settings.family,
        )
    except ValueError as error:  # a map with NaNs, say: the engine's doing, not the caller's
        raise RoiError(str(error)) from error


def _report(
    proposal: _Proposal, settings: RoiSettings, seen: _Seen, timings: dict[str, float]
) -> RoiReport:
    look = proposal.look
    return RoiReport(
        regions=proposal.regions,
        image=settings.image,
        image_size=seen.original.image.size,
        grid=seen.views[seen.chosen].grid,
        skipped=proposal.skipped,
        timings=timings,
        pass1_usage=look.usage if look else None,
        confidence=look.confidence if look else None,
        gate_probability=look.roi_map.gate_probability if look else None,
        heatmap=_heatmap(look.roi_map) if look and settings.heatmap else None,
    )


def _heatmap(roi_map: RoiMap) -> list[list[float]]:
    """The map as probabilities, before any blur or threshold; four digits are plenty to draw it."""
    heatmap: list[list[float]] = expit(roi_map.logits.astype(np.float64)).round(4).tolist()
    return heatmap


def _observe(proposal: _Proposal, report: RoiReport) -> None:
    metrics.count(proposal.outcome)
    metrics.PICTURES_SECONDS.observe(report.timings["pictures"] / 1000)
    if proposal.look:
        metrics.PASS1_SECONDS.observe(report.timings["pass1"] / 1000)
        metrics.RPN_SECONDS.observe(proposal.look.roi_map.seconds)
    if "crop" in report.timings:
        metrics.CROP_SECONDS.observe(report.timings["crop"] / 1000)
    if (first := report.pass1_usage) and first.cached_tokens is not None:
        metrics.observe_prompt(Pass.FIRST, first.prompt_tokens, first.cached_tokens)
    tracing.note(outcome=proposal.outcome.value, regions=len(proposal.regions))
    width, height = report.image_size
    for region in proposal.regions:
        x0, y0, x1, y1 = region.box
        metrics.CROP_AREA_SHARE.observe((x1 - x0) * (y1 - y0) / (width * height))


@contextmanager
def _measured(timings: dict[str, float], step: str) -> Iterator[None]:
    """Notes how long the block took, in milliseconds, also where it ends in an exception."""
    started = time.perf_counter()
    try:
        with tracing.step(step):
            yield
    finally:
        timings[step] = _milliseconds(time.perf_counter() - started)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
