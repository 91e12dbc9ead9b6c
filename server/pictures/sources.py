"""From a picture's URL to a way to read its bytes, by the URL's scheme."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from server.api.errors import BadPicture, FetchRefused, PictureTooLarge
from server.observe import metrics
from server.pictures.fetch import Fetcher
from server.pictures.files import MAX_PICTURE_BYTES
from server.pictures.media_folder import read_file

ReadBytes = Callable[[], bytes]
"""Takes time, but never the network's: to be called on a picture thread."""


class PictureSources:
    """What a server reads pictures from; `folder` None: no files."""

    def __init__(self, fetcher: Fetcher, folder: Path | None = None) -> None:
        self._fetcher = fetcher
        self._folder = folder

    async def open(self, url: str) -> ReadBytes:
        """How to read the picture at `url`; what has to be fetched has been, when this returns.

        Raises BadPicture for a URL that is not taken, FetchFailed, PictureTooLarge; so does
        reading.
        """
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            return partial(read_data_url, url)
        if scheme in ("http", "https"):
            started = time.perf_counter()
            data = await self._fetcher.fetch(url)
            metrics.FETCH_SECONDS.observe(time.perf_counter() - started)
            return lambda: data
        if scheme == "file" and self._folder is not None:
            return partial(read_file, url, self._folder)
        raise FetchRefused(f"pictures are not taken from {scheme[:16]!r} URLs; send a data: URL")


def read_data_url(url: str) -> bytes:
    """The bytes of a base64 data: URL. Raises BadPicture, PictureTooLarge."""
    header, comma, payload = url.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise BadPicture("a data: URL looks like data:image/png;base64,...; this one does not")
    if len(payload) // 4 * 3 - payload[-2:].count("=") > MAX_PICTURE_BYTES:
        raise PictureTooLarge(f"a picture has more than {MAX_PICTURE_BYTES} bytes")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPicture(f"the data: URL's base64 is broken: {error}") from error
