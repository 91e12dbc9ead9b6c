"""Faults of files that image viewers overlook."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rpn_plugin.images.decode import PictureError, check_image, open_image
from tests.rpn_plugin.images.picture_files import png_chunk
from tests.server.helpers import encoded, noise

LARGE = os.urandom(3 * 2**20)
PROFILE = b"profile\0\0" + zlib.compress(LARGE)
COMPRESSED_TEXT = b"Comment\0\0" + zlib.compress(bytes(3 * 2**20))


def read(data: bytes) -> Image.Image:
    return open_image(data, 50_000_000).decode()


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


def with_chunk(png: bytes, chunk: bytes, at: str) -> bytes:
    """`png` with one more chunk after its header or before its end."""
    place = 33 if at == "start" else len(png) - 12
    return png[:place] + chunk + png[place:]


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"iCCP", PROFILE),
        png_chunk(b"tEXt", b"Comment\0" + LARGE),
        png_chunk(b"zTXt", COMPRESSED_TEXT),
        png_chunk(b"tEXt", b"Comment\0hello")[:-4] + bytes(4),
        png_chunk(b"gAMA", bytes(4))[:-4] + bytes(4),
        png_chunk(b"tRNS", bytes(6))[:-4] + bytes(4),
        png_chunk(b"eXIf", b"broken")[:-4] + bytes(4),
    ],
    ids=["profile", "text", "compressed text", "text sum", "gamma sum", "tRNS sum", "EXIF sum"],
)
def test_ancillary_chunks_of_a_png_do_not_matter(chunk: bytes, at: str, tmp_path: Path) -> None:
    image = noise(40, 30)
    data = with_chunk(encoded(image), chunk, at)
    assert same(read(data), image)
    (tmp_path / "a.png").write_bytes(data)
    check_image(tmp_path / "a.png", 50_000_000)


def test_a_wrong_checksum_of_the_header_is_refused() -> None:
    data = bytearray(encoded(noise(40, 30)))
    data[32] ^= 1
    with pytest.raises(PictureError):
        read(bytes(data))


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (61, 43), (500, 400)])
def test_a_jpeg_may_lack_its_end_marker(
    size: tuple[int, int], progressive: bool, missing: int
) -> None:
    data = encoded(noise(*size), "JPEG", progressive=progressive)
    assert same(read(data[:-missing]), read(data))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.97])
def test_a_jpeg_that_lacks_more_is_refused(kept: float, progressive: bool) -> None:
    data = encoded(noise(200, 200), "JPEG", progressive=progressive)
    with pytest.raises(PictureError):
        read(data[: int(len(data) * kept)])


def test_a_smooth_jpeg_that_lacks_rows_is_refused() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    data = encoded(Image.fromarray(ramp).convert("RGB"), "JPEG")
    with pytest.raises(PictureError):
        read(data[:-100])
