"""What a person sees of every deep or odd colour mode, in pixels."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rpn_plugin.images.decode import open_image
from tests.rpn_plugin.images.picture_files import png_chunk
from tests.server.helpers import encoded

WHITE_IS_ZERO = {262: 0}


def levels(data: bytes) -> list[int]:
    pixels = np.asarray(open_image(data, 10_000).decode())
    assert (pixels == pixels[..., :1]).all(), "grey"
    return [int(level) for level in pixels[0, :, 0]]


def tiff(values: list[float], dtype: Any, tags: dict[int, int] | None = None) -> bytes:
    data = encoded(Image.fromarray(np.array([values], dtype)), "TIFF")
    return with_tags(data, tags or {})


def with_tags(data: bytes, tags: dict[int, int]) -> bytes:
    """A little-endian TIFF with the values of some of its short tags replaced."""
    changed = bytearray(data)
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in tags:
            struct.pack_into("<H", changed, entry + 8, tags[tag])
    return bytes(changed)


@pytest.mark.parametrize(
    ("values", "dtype", "shown"),
    [
        ([0, 100, 255], np.int32, [0, 100, 255]),
        ([0, 0x8000, 0xFFFF], np.int32, [0, 128, 255]),
        ([0, 2**30, 2**31 - 1], np.int32, [0, 128, 255]),
        ([-255, 0, 255], np.int32, [0, 128, 255]),
        ([0.0, 0.5, 1.0], np.float32, [0, 128, 255]),
        ([0.0, 0.25, 0.5], np.float32, [0, 64, 128]),
        ([0.0, 100.0, 200.0], np.float32, [0, 100, 200]),
        ([0.0, 32768.0, 65535.0], np.float32, [0, 128, 255]),
        ([-1.0, 0.0, 1.0], np.float32, [0, 128, 255]),
        ([0.0, float("nan"), 1.0], np.float32, [0, 0, 255]),
        ([0.0, 0.0, 0.0], np.float32, [0, 0, 0]),
        ([0, 0x80FF, 0xFFFF], np.uint16, [0, 128, 255]),
    ],
)
def test_deep_grey(values: list[float], dtype: Any, shown: list[int]) -> None:
    assert levels(tiff(values, dtype)) == shown


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_white_as_zero_is_no_negative(dtype: Any) -> None:
    full = 1.0 if dtype is np.float32 else 0xFFFF
    assert levels(tiff([0, full], dtype, WHITE_IS_ZERO)) == [255, 0]


def test_unsigned_32_bits_do_not_wrap() -> None:
    data = tiff([0, 2**31 - 1, -1], np.int32, {339: 1})  # -1 is 2**32 - 1 without a sign
    assert levels(data) == [0, 127, 255]


def test_a_transparent_level_of_16_bit_grey_is_white() -> None:
    data = encoded(Image.fromarray(np.array([[0x1234, 0x1235]], np.uint16)))
    header, rest = data[:33], data[33:]
    assert levels(header + png_chunk(b"tRNS", b"\x12\x34") + rest) == [255, 0x12]


def bmp(alpha: tuple[int, int]) -> bytes:
    """A 32-bit BMP of two pixels (30, 20, 10) whose header names an alpha channel."""
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks + bytes(52)
    pixels = b"".join(bytes([10, 20, 30, value]) for value in alpha)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + 8, 0, 0, 122) + header + pixels


@pytest.mark.parametrize(
    ("alpha", "shown"),
    [((0, 0), [(30, 20, 10)] * 2), ((255, 0), [(30, 20, 10), (255, 255, 255)])],
)
def test_an_unused_alpha_of_a_bmp_is_ignored(
    alpha: tuple[int, int], shown: list[tuple[int, ...]]
) -> None:
    decoded = open_image(bmp(alpha), 100).decode()
    assert [decoded.getpixel((x, 0)) for x in range(2)] == shown


@pytest.mark.parametrize("format", ["AVIF", "JPEG2000", "HEIF"])
def test_formats_of_phones_and_archives(format: str) -> None:
    image = Image.new("RGB", (64, 48), (200, 100, 50))
    image.paste((20, 40, 60), (32, 0, 64, 48))
    decoded = open_image(encoded(image, format), 10_000).decode()
    assert decoded.size == (64, 48)
    difference = np.asarray(decoded).astype(int) - np.asarray(image)
    assert np.abs(difference[:, np.r_[0:28, 36:64]]).max() <= 8


@pytest.mark.parametrize("format", ["AVIF", "JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_once(format: str, orientation: int) -> None:
    image = Image.new("RGB", (64, 32), "black")
    image.paste("white", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = io.BytesIO()
    image.save(stored, format, exif=exif)
    decoded = open_image(stored.getvalue(), 10_000).decode()
    assert decoded.size == ((64, 32) if orientation < 5 else (32, 64))
    quarter = {
        1: (0, 0),
        2: (1, 0),
        3: (1, 1),
        4: (0, 1),
        5: (0, 0),
        6: (1, 0),
        7: (1, 1),
        8: (0, 1),
    }
    column, row = quarter[orientation]
    for x in range(2):
        for y in range(2):
            at = (decoded.width * (2 * x + 1) // 4, decoded.height * (2 * y + 1) // 4)
            level = np.asarray(decoded.convert("L"))[at[1], at[0]]
            assert (level > 128) == ((x, y) == (column, row))
