"""From a picture's file to upright RGB pixels. The bytes are not trusted.

`open_image` reads the header, so that the size is checked before anything is decoded;
`decode_image` makes the pixels. Only the decoders of FORMATS are used, and only the first frame of
an animation is decoded.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from rpn_plugin.images.colours import to_rgb

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""OpenAI's list, and what scanners and old programs write."""

PILLOW_MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)
"""Pillow refuses larger pictures (a decompression bomb), whatever our own limit is."""


class PictureError(Exception):
    """The file is not a picture in one of FORMATS, or it is broken."""


class PictureTooLargeError(PictureError):
    """The picture has more pixels than the caller allows."""


def open_image(source: bytes | Path, max_pixels: int) -> Image.Image:
    """The picture in a file, given as its bytes or its path: header read, pixels not decoded.

    Raises PictureError, PictureTooLargeError; OSError if the path cannot be read.
    """
    # Not by its path: Pillow maps such a file into memory and then does not turn a TIFF upright.
    file = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureTooLargeError(_too_many_pixels("a picture", max_pixels)) from error
    except UnidentifiedImageError as error:
        raise PictureError(f"not a picture in one of {', '.join(FORMATS)}") from error
    except Exception as error:
        # Pillow's parsers raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more
        # for a broken file.
        raise PictureError(f"the picture cannot be read: {error}") from error
    if image.width * image.height > max_pixels:
        which = f"a picture of {image.width} x {image.height}"
        raise PictureTooLargeError(_too_many_pixels(which, max_pixels))
    return image


def decode_image(image: Image.Image) -> Image.Image:
    """The pixels of an opened picture: eight-bit RGB, turned upright, transparency on white.

    Call it once for each opened picture. Raises PictureError for a truncated or corrupt file.
    """
    try:
        image.load()
        return to_rgb(_upright(image))
    except Exception as error:  # as in `open_image`
        raise PictureError(f"the picture is broken: {error}") from error


def read_image(source: bytes | Path, max_pixels: int) -> Image.Image:
    """Opens and decodes in one step. Raises what both do."""
    with open_image(source, max_pixels) as image:
        return decode_image(image)


def _too_many_pixels(which: str, max_pixels: int) -> str:
    return f"{which} has more than {max_pixels} pixels"


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; unchanged where EXIF is broken."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's EXIF parser raises what its file parsers do
        return image
