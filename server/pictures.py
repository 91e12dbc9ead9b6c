"""From a picture's URL to upright RGB pixels, suspicious of every byte.

Sizes are checked before anything is decoded: the base64 text before it becomes bytes, and the
dimensions in the file's header before they become pixels. Only formats whose decoders we are
willing to run on strangers' bytes are tried.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import secrets
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from server.errors import BadPicture, PictureTooLarge

MAX_PICTURE_BYTES = 20 * 2**20
MAX_PICTURE_PIXELS = 50_000_000
"""One decoded picture at this size holds 150 MB."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""OpenAI's list; of an animated picture the first frame is taken."""

# vLLM caches by the digest alone. A secret key keeps callers of its other routes, which accept a
# cache id of the caller's own, from planting a picture under the digest of somebody else's.
_DIGEST_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture: upright RGB pixels at full resolution, and a digest of its file."""

    image: Image.Image
    digest: str


def read_picture(url: str) -> Picture:
    """The picture behind a data: URL.

    Raises BadPicture for any other URL and for what is not a whole picture in one of FORMATS,
    PictureTooLarge for too many bytes or pixels. Takes CPU time in proportion to the pixels.
    """
    data = _bytes_of(url)
    digest = hashlib.blake2b(data, digest_size=16, key=_DIGEST_KEY).hexdigest()
    return Picture(decode_picture(data), digest)


def _bytes_of(url: str) -> bytes:
    scheme, _, rest = url.partition(":")
    if scheme.lower() != "data":
        raise BadPicture(
            f"pictures are taken as data: URLs only, not {scheme[:16]!r}; send "
            "data:image/png;base64,..."
        )
    header, comma, payload = rest.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise BadPicture("a data: URL looks like data:image/png;base64,...; this one does not")
    if len(payload) // 4 * 3 - payload[-2:].count("=") > MAX_PICTURE_BYTES:
        raise PictureTooLarge(f"a picture has more than {MAX_PICTURE_BYTES} bytes")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPicture(f"the data: URL's base64 is broken: {error}") from error


def decode_picture(data: bytes) -> Image.Image:
    """Upright RGB pixels of a picture file; raises as `read_picture` does."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(_too_many_pixels()) from error
    except UnidentifiedImageError as error:
        raise BadPicture(f"not a picture in one of {', '.join(FORMATS)}") from error
    except Exception as error:
        # Pillow's parsers raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ... for
        # broken files. Whatever it was, it is the file's fault.
        raise BadPicture(f"the picture cannot be read: {error}") from error
    if image.width * image.height > MAX_PICTURE_PIXELS:
        raise PictureTooLarge(_too_many_pixels(image.size))
    try:
        image.load()
        return _rgb(_upright(image))
    except Exception as error:  # as above: a truncated or corrupt file
        raise BadPicture(f"the picture is broken: {error}") from error


def _too_many_pixels(size: tuple[int, int] | None = None) -> str:
    which = f"a picture of {size[0]} x {size[1]}" if size else "a picture"
    return f"{which} has more than {MAX_PICTURE_PIXELS} pixels"


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation says it was held; as it is where EXIF is broken."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's EXIF parser raises what its file parsers do (see `_decode`)
        return image


def _rgb(image: Image.Image) -> Image.Image:
    """Eight-bit RGB: 16-bit samples keep their high byte, transparency lies on white."""
    if image.mode.startswith("I"):
        high_bytes = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(high_bytes).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")
