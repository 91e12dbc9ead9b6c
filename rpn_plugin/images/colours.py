"""From every colour mode to what a person sees in an ordinary image viewer: eight-bit RGB.

| mode | shown as |
|---|---|
| palette, CMYK, YCbCr, LAB, 1, 4, 8 bits | their colours |
| alpha, or one transparent colour | on white; a BMP whose alpha is all zero has none |
| 16-bit grey | the high byte |
| 12-bit grey of a TIFF | the high eight of its twelve bits |
| 32-bit and float grey | scaled from the least usual range that holds all values (`_to_levels`) |
| TIFF grey with white as zero | inverted |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_BYTE, _SIXTEEN_BITS = 255, 65535


def to_rgb(image: Image.Image) -> Image.Image:
    """The pixels of a decoded file as eight-bit RGB."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_deep_grey(image)).convert("RGB")
    if image.has_transparency_data and not _unused_alpha(image):
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _unused_alpha(image: Image.Image) -> bool:
    """Whether the alpha is the fourth byte of a 32-bit BMP that its writer left at zero."""
    return (
        image.format == "BMP"
        and image.mode == "RGBA"
        and image.getchannel("A").getextrema() == (0, 0)
    )


def _deep_grey(image: Image.Image) -> NDArray[np.uint8]:
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        levels = (values >> _shift(tags)).astype(np.uint8)
    else:
        if image.mode == "I" and tags.get(_SAMPLE_FORMAT, (0,))[0] == _UNSIGNED:
            values = values.view(np.uint32)  # Pillow reads them as signed
        levels = _to_levels(values)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = _BYTE - levels
    transparent = image.info.get("transparency")
    return levels if transparent is None else np.where(values == transparent, _BYTE, levels)


def _shift(tags: dict[int, tuple[int, ...]]) -> int:
    return max(0, tags.get(_BITS_PER_SAMPLE, (16,))[0] - 8)


def _to_levels(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Levels 0 to 255 of 32-bit or float samples.

    The format does not say which value is white. It is 1 for floats up to 1, 255 or 65535 for
    values up to there, else the largest. Black is 0, or the least value below.
    """
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    black, most = min(0.0, float(numbers.min())), float(numbers.max())
    usual = [1.0] if values.dtype.kind == "f" else []
    usual += [float(_BYTE), float(_SIXTEEN_BITS)]
    white = next((limit for limit in usual if black == 0 and most <= limit), most)
    scaled = (numbers - black) * (_BYTE / ((white - black) or 1.0))
    return np.clip(np.round(scaled), 0, _BYTE).astype(np.uint8)
