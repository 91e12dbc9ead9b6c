"""Faults of picture files that image viewers overlook and Pillow does not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PNG_OPTIONAL = (b"tRNS", b"eXIf")
"""Ancillary chunks that change what is shown."""

_JPEG_END = b"\xff\xd9"
_JPEG_OTHER_DATA = bytes(range(1, 128))


def png_without_metadata(data: bytes) -> bytes:
    """A PNG file less the chunks that do not change its pixels; any other file as it is.

    Pillow refuses colour profiles and texts of more than 1 MiB, and a wrong checksum in any chunk.
    As libpng does, this drops an ancillary chunk whose checksum is wrong.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return data
    return _PNG_SIGNATURE + b"".join(_png_chunks(data))


def _png_chunks(data: bytes) -> Iterator[bytes | memoryview]:
    at, view = len(_PNG_SIGNATURE), memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if kind in _PNG_CRITICAL or (kind in _PNG_OPTIONAL and _png_checksum_fits(view[at:end])):
            yield view[at:end]
        at = end
    yield view[at:]  # an incomplete chunk, for Pillow to judge


def _png_checksum_fits(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def jpeg_with_end_marker(data: bytes) -> bytes | None:
    """A JPEG file with the end marker it lacks; None if more than the marker is missing.

    A decoder makes up the pixels for missing data. So the file is decoded twice, with different
    data in front of the marker: if nothing is missing, the pixels are the same.
    """
    whole = data.removesuffix(_JPEG_END[:1]) + _JPEG_END
    other = whole.removesuffix(_JPEG_END) + _JPEG_OTHER_DATA + _JPEG_END
    try:
        same = _pixels(whole) == _pixels(other)
    except Exception:  # Pillow's parsers raise many kinds
        return None
    return whole if same else None


def _pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return image.tobytes()
