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
    PictureError,
    PictureTooLargeError,
    decode_image,
    open_image,
)
from server.api.errors import BadPicture, PictureTooLarge

MAX_PICTURE_BYTES = 20 * 2**20
MAX_PICTURE_PIXELS = 50_000_000
"""One decoded picture at this size holds 150 MB."""

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

    image: Image.Image
    digest: str

    @property
    def pixels(self) -> int:
        """How many pixels decoding it makes."""
        return self.image.width * self.image.height

    def decode(self) -> Picture:
        """The picture; to be called once. Raises BadPicture for a truncated or corrupt file."""
        with _api_errors():
            return Picture(decode_image(self.image), self.digest)


def open_picture(data: bytes) -> PictureFile:
    """The picture in the file `data`.

    Raises BadPicture for what is not a picture of a format we read, PictureTooLarge for too many
    pixels.
    """
    with _api_errors():
        image = open_image(data, MAX_PICTURE_PIXELS)
    digest = hashlib.blake2b(data, digest_size=16, key=_DIGEST_KEY).hexdigest()
    return PictureFile(image, digest)


def check_size_in_header(data: bytes) -> None:
    """Raises PictureTooLarge if the header in `data`, the beginning of a file, has too many pixels.

    A header that is not complete yet passes.
    """
    try:
        open_image(data, MAX_PICTURE_PIXELS)
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
