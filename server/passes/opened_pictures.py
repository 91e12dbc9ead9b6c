"""The pictures of a chat while it is zoomed: base views of all, one at full resolution."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from rpn_plugin.families.base import ImageGrid
from server.api.errors import BadPicture
from server.api.roi_report import RegionReport
from server.observe import metrics
from server.pictures.files import Picture, PictureFile, open_picture
from server.pictures.parts import PicturePart, with_views
from server.pictures.pool import HELD_PICTURES, PictureLanes
from server.pictures.sources import PictureSources
from server.pictures.views import View, base_view, crop_view


@dataclass(frozen=True)
class OpenedPictures:
    """The decoded pictures of a chat: `views` of all, `original` of the `zoomed` one."""

    views: dict[PicturePart, View]
    zoomed: PicturePart
    original: Picture

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the zoomed picture's base view in visual tokens."""
        return self.views[self.zoomed].grid

    def chat(self, messages: Sequence[Any], crops: Sequence[View] = ()) -> list[Any]:
        """`messages` with base views for their pictures; `crops` follow the zoomed picture's."""
        parts = {at: [view.part()] for at, view in self.views.items()}
        parts[self.zoomed] += [crop.part() for crop in crops]
        return with_views(messages, parts)


class PictureRoom:
    """Opens, decodes, scales and crops pictures on the picture threads."""

    def __init__(self, sources: PictureSources, image: ImageGrid, max_pictures: int) -> None:
        self._sources = sources
        self._image = image
        self._max_pictures = max_pictures
        self._lanes = PictureLanes(held_pixels=HELD_PICTURES * sources.limits.pixels)

    async def open(
        self,
        pictures: Sequence[PicturePart],
        zoomed: PicturePart,
        base_tokens: int,
        held_pixels: AsyncExitStack,
    ) -> OpenedPictures:
        """Decodes one picture after another; only `zoomed`, the last, stays decoded.

        `held_pixels` keeps the memory for it reserved. Raises RequestError for too many pictures
        and for a picture that cannot be read.
        """
        if len(pictures) > self._max_pictures:
            limit = f"at most {self._max_pictures} are taken"
            raise BadPicture(f"{len(pictures)} pictures in one chat; {limit}")
        views: dict[PicturePart, View] = {}
        for at in [*(other for other in pictures if other is not zoomed), zoomed]:
            await held_pixels.aclose()
            original, views[at] = await self._decode(at.url, base_tokens, held_pixels)
        return OpenedPictures(views, zoomed, original)

    async def crop(
        self, original: Picture, regions: Sequence[RegionReport], tokens: int
    ) -> list[View]:
        """A crop of each region under a budget of `tokens` visual tokens."""
        width, height = original.image.size
        lane = self._lanes.lane(width * height)
        return [
            await lane.run(partial(crop_view, original, region.corners, tokens, self._image))
            for region in regions
        ]

    async def _decode(
        self, url: str, base_tokens: int, held_pixels: AsyncExitStack
    ) -> tuple[Picture, View]:
        limits = self._sources.limits
        async with AsyncExitStack() as held_bytes:
            read = await held_bytes.enter_async_context(self._sources.open(url))
            with metrics.REQUESTS_QUEUED.track_inprogress():  # not while a host is slow
                file = await self._lanes.lane(0).run(lambda: open_picture(read(), limits.pixels))
                lane = self._lanes.lane(file.pixels)
                queued_at = time.perf_counter()
                await held_pixels.enter_async_context(lane.holding(file.pixels))
            return await lane.run(partial(_base_view, file, base_tokens, self._image, queued_at))


def _base_view(
    file: PictureFile, base_tokens: int, image: ImageGrid, queued_at: float
) -> tuple[Picture, View]:
    metrics.QUEUE_SECONDS.observe(time.perf_counter() - queued_at)
    metrics.count_picture(file.image.format, file.image.size)
    picture = file.decode()
    return picture, base_view(picture, base_tokens, image)
