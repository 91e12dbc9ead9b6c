from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from rpn_plugin.families import QWEN2_5_VL
from server.api.errors import BadPicture
from server.passes.opened_pictures import PictureRoom
from server.pictures.fetch import Fetcher
from server.pictures.parts import PicturePart
from server.pictures.sources import PictureSources
from server.pictures.url_policy import MediaPolicy
from tests.server.helpers import data_url, encoded, noise


async def test_the_number_of_pictures_is_limited() -> None:
    room = PictureRoom(PictureSources(Fetcher(MediaPolicy())), QWEN2_5_VL.image, max_pictures=2)
    url = data_url(encoded(noise(56, 56)))
    parts = [PicturePart(0, n, url) for n in range(3)]
    async with AsyncExitStack() as held:
        opened = await room.open(parts[:2], parts[0], 16, held)
        assert len(opened.views) == 2
        with pytest.raises(BadPicture, match="3 pictures in one chat; at most 2 are taken"):
            await room.open(parts, parts[0], 16, held)
