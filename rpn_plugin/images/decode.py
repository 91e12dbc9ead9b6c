"""From a picture's file to upright RGB pixels. The bytes are not trusted.

`open_image` reads the header, so that the size is checked before anything is decoded;
`OpenedImage.decode` makes the pixels. Only the decoders of FORMATS are used, and only the first
frame of an animation is decoded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from rpn_plugin.images.colours import to_rgb
from rpn_plugin.images.repair import jpeg_with_end_marker, png_without_metadata

pillow_heif.register_heif_opener()

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "HEIF")
"""OpenAI's list, and what phones, scanners and old programs write."""

PILLOW_MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)
"""Pillow refuses larger pictures (a decompression bomb), whatever our own limit is."""


class PictureError(Exception):
    """The file is not a picture in one of FORMATS, or it is broken."""


class PictureTooLargeError(PictureError):
    """The picture has more pixels than the caller allows."""


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """A picture whose header was read and whose size is allowed, not decoded yet."""

    header: Image.Image
    data: bytes

    def decode(self) -> Image.Image:
        """The pixels: eight-bit RGB, turned upright, transparency on white.

        To be called once. Raises PictureError for a truncated or corrupt file.
        """
        try:
            return _decode(self.header)
        except PictureError:
            whole = jpeg_with_end_marker(self.data) if self.header.format == "JPEG" else None
            if whole is None:
                raise
            return _decode(_open(io.BytesIO(whole)))


def open_image(data: bytes, max_pixels: int) -> OpenedImage:
    """The picture in the file `data`. Raises PictureError, PictureTooLargeError."""
    header = _open(io.BytesIO(png_without_metadata(data)))
    _check_pixels(header, max_pixels)
    return OpenedImage(header, data)


def check_image(path: Path, max_pixels: int) -> None:
    """Raises what `open_image` does for the file at `path`, and OSError if there is none.

    It reads no more than the header of a picture that Pillow takes as it is.
    """
    with path.open("rb") as file:
        try:
            header = _open(file)
        except PictureTooLargeError:
            raise
        except PictureError:
            header = _open(io.BytesIO(png_without_metadata(path.read_bytes())))
        _check_pixels(header, max_pixels)


def _open(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureTooLargeError(f"a picture has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"not a picture in one of {', '.join(FORMATS)}") from error
    except Exception as error:
        # Pillow's parsers raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more
        # for a broken file.
        raise PictureError(f"the picture cannot be read: {error}") from error


def _check_pixels(header: Image.Image, max_pixels: int) -> None:
    if header.width * header.height > max_pixels:
        size = f"{header.width} x {header.height}"
        raise PictureTooLargeError(f"a picture of {size} has more than {max_pixels} pixels")


def _decode(image: Image.Image) -> Image.Image:
    try:
        image.load()
        return _upright(to_rgb(image), image)
    except Exception as error:  # as in `_open`
        raise PictureError(f"the picture is broken: {error}") from error


def _upright(pixels: Image.Image, image: Image.Image) -> Image.Image:
    """`pixels` turned as the EXIF orientation of `image` says; unchanged where EXIF is broken."""
    pixels.info = image.info  # where Pillow looks for EXIF; conversion loses it
    try:
        return ImageOps.exif_transpose(pixels)
    except Exception:  # Pillow's EXIF parser raises what its file parsers do
        return pixels
