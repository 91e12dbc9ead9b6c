"""A caller's picture: opened, decoded, and named by a digest of its file.

`rpn_plugin.images` decodes; its errors become the API's here.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from rpn_plugin.images.decode import (
    OpenedImage,
    PictureError,
    PictureTooLargeError,
    open_image,
)
from server.api.errors import BadPicture, PictureTooLarge
from server.pictures.limits import PictureLimits

# vLLM caches by the digest alone, and its other routes accept a cache id of the caller's own. With
# a secret key no caller can store a picture under the digest of another caller's picture.
_DIGEST_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture: upright RGB pixels at full resolution, and a digest of its file."""

    image: Image.Image
    digest: str


@dataclass(frozen=True, eq=False)
class PictureFile:
    """A picture whose header was read and whose size is allowed, not decoded yet."""

    opened: OpenedImage
    digest: str

    @property
    def image(self) -> Image.Image:
        """The header alone: format and size."""
        return self.opened.header

    @property
    def pixels(self) -> int:
        """How many pixels decoding it makes."""
        return self.image.width * self.image.height

    def decode(self) -> Picture:
        """The picture; to be called once. Raises BadPicture for a truncated or corrupt file."""
        with _api_errors():
            return Picture(self.opened.decode(), self.digest)


def open_picture(data: bytes, max_pixels: int = PictureLimits.pixels) -> PictureFile:
    """The picture in the file `data`.

    Raises BadPicture for what is not a picture of a format we read, PictureTooLarge for too many
    pixels.
    """
    with _api_errors():
        opened = open_image(data, max_pixels)
    digest = hashlib.blake2b(data, digest_size=16, key=_DIGEST_KEY).hexdigest()
    return PictureFile(opened, digest)


def check_size_in_header(data: bytes, max_pixels: int) -> None:
    """Raises PictureTooLarge if the header in `data`, the beginning of a file, has too many pixels.

    A header that is not complete yet passes.
    """
    try:
        open_image(data, max_pixels)
    except PictureTooLargeError as error:
        raise PictureTooLarge(str(error)) from error
    except PictureError:
        return


@contextmanager
def _api_errors() -> Iterator[None]:
    try:
        yield
    except PictureTooLargeError as error:
        raise PictureTooLarge(str(error)) from error
    except PictureError as error:
        raise BadPicture(str(error)) from error
