"""From a picture's file to upright RGB pixels, suspicious of every byte.

In two steps: `open_picture` reads the header, so that the size is known and checked before anything
is decoded; `PictureFile.decode` makes the pixels. Only formats whose decoders we are willing to run
on strangers' bytes are tried, and of an animated picture only the first frame is ever touched.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from server.api.errors import BadPicture, PictureTooLarge

MAX_PICTURE_BYTES = 20 * 2**20
MAX_PICTURE_PIXELS = 50_000_000
"""One decoded picture at this size holds 150 MB."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""OpenAI's list, and what scanners and old programs write."""

# vLLM caches by the digest alone. A secret key keeps callers of its other routes, which accept a
# cache id of the caller's own, from planting a picture under the digest of somebody else's.
_DIGEST_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture: upright RGB pixels at full resolution, and a digest of its file."""

    image: Image.Image
    digest: str


@dataclass(frozen=True, eq=False)
class PictureFile:
    """A picture whose header was read and whose size is allowed, not decoded yet."""

    image: Image.Image
    digest: str

    @property
    def pixels(self) -> int:
        """How many pixels decoding it makes."""
        return self.image.width * self.image.height

    def decode(self) -> Picture:
        """The picture; to be called once. Raises BadPicture for a truncated or corrupt file."""
        try:
            self.image.load()
            return Picture(_rgb(_upright(self.image)), self.digest)
        except Exception as error:  # as in `_open`
            raise BadPicture(f"the picture is broken: {error}") from error


def open_picture(data: bytes) -> PictureFile:
    """The picture in the file `data`.

    Raises BadPicture for what is not in one of FORMATS, PictureTooLarge for too many pixels.
    """
    image = _open(data)
    if image.width * image.height > MAX_PICTURE_PIXELS:
        raise PictureTooLarge(_too_many_pixels(image.size))
    digest = hashlib.blake2b(data, digest_size=16, key=_DIGEST_KEY).hexdigest()
    return PictureFile(image, digest)


def check_size_in_header(data: bytes) -> None:
    """Raises PictureTooLarge if `data`, the beginning of a file, tells of too many pixels."""
    try:
        open_picture(data)
    except PictureTooLarge:
        raise
    except BadPicture:
        return  # not told yet


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(_too_many_pixels()) from error
    except UnidentifiedImageError as error:
        raise BadPicture(f"not a picture in one of {', '.join(FORMATS)}") from error
    except Exception as error:
        # Pillow's parsers raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ... for
        # broken files. Whatever it was, it is the file's fault.
        raise BadPicture(f"the picture cannot be read: {error}") from error


def _too_many_pixels(size: tuple[int, int] | None = None) -> str:
    which = f"a picture of {size[0]} x {size[1]}" if size else "a picture"
    return f"{which} has more than {MAX_PICTURE_PIXELS} pixels"


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation says it was held; as it is where EXIF is broken."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's EXIF parser raises what its file parsers do (see `_open`)
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
