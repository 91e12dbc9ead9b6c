from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rpn_plugin.images.decode import PictureError, PictureTooLargeError, open_image
from tests.rpn_plugin.images.picture_files import png_claiming
from tests.server.helpers import encoded, noise

MAX_PIXELS = 50_000_000


def read(data: bytes) -> Image.Image:
    return open_image(data, MAX_PIXELS).decode()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_lossless_formats_come_back_pixel_for_pixel(format: str) -> None:
    image = noise(20, 30).quantize(16).convert("RGB")
    options = {"lossless": True} if format == "WEBP" else {}
    decoded = read(encoded(image, format, **options))
    assert decoded.mode == "RGB"
    assert np.array_equal(np.asarray(decoded), np.asarray(image))


def test_exif_turns_the_picture_upright() -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # held on its side: the left edge is up
    upright = read(encoded(image, "PNG", exif=exif))
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (255, 255, 255)
    assert upright.getpixel((10, 35)) == (0, 0, 0)


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    samples = np.array([[0, 0x1234], [0x80FF, 0xFFFF]], dtype=np.uint16)
    decoded = np.asarray(read(encoded(Image.fromarray(samples), "PNG")))
    assert decoded[..., 0].tolist() == [[0, 0x12], [0x80, 0xFF]]


def test_four_colour_print_becomes_what_it_shows() -> None:
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta and yellow: red
    red, green, blue = np.asarray(read(encoded(ink, "JPEG", quality=100)))[4, 4]
    assert red > 230
    assert green < 40
    assert blue < 60


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_becomes_its_colours(format: str) -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (2, 0, 4, 2))
    decoded = read(encoded(image, format))
    assert decoded.getpixel((0, 0)) == (10, 20, 30)
    assert decoded.getpixel((3, 1)) == (200, 100, 50)


@pytest.mark.parametrize("mode", ["1", "L"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_black_and_white_stay_so(mode: str, format: str) -> None:
    image = Image.new(mode, (4, 4), 0)
    image.paste(255, (2, 0, 4, 4))
    decoded = read(encoded(image, format))
    assert decoded.getpixel((0, 0)) == (0, 0, 0)
    assert decoded.getpixel((3, 0)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_many_frames_the_first_is_shown(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert read(data).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 2)])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_tiny_pictures_keep_their_size(format: str, size: tuple[int, int]) -> None:
    assert read(encoded(noise(*size), format)).size == size


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))
    decoded = read(encoded(image.convert(mode), "PNG"))
    assert decoded.getpixel((1, 1)) == (0, 0, 0)
    assert decoded.getpixel((6, 6)) == (255, 255, 255)


def test_a_transparent_colour_lies_on_white() -> None:
    image = Image.new("RGB", (8, 8), (10, 20, 30))
    decoded = read(encoded(image, "PNG", transparency=(10, 20, 30)))
    assert decoded.getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_truncated_picture_is_refused(format: str, kept: float) -> None:
    data = encoded(noise(64, 64), format)
    with pytest.raises(PictureError):
        read(data[: int(len(data) * kept)])


@settings(max_examples=200, deadline=None)
@given(
    format=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]),
    at=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=12),
)
def test_a_corrupted_picture_is_read_or_refused_but_never_crashes(
    format: str, at: float, junk: bytes
) -> None:
    data = bytearray(encoded(noise(24, 24), format))
    start = int(at * len(data))
    data[start : start + len(junk)] = junk
    with contextlib.suppress(PictureError):
        assert read(bytes(data)).mode == "RGB"


@pytest.mark.parametrize("size", [(8000, 8000), (100_000, 100_000), (2**31 - 1, 1)])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(PictureTooLargeError):
        read(png_claiming(*size))
