"""An RPN is trained on the pixels it is served with: `sdrpn distill` and the server read alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rpn_plugin.distill.data.formats import read_samples
from rpn_plugin.distill.data.samples import Sample
from server.pictures.files import open_picture
from tests.rpn_plugin.images.picture_files import png_claiming
from tests.server.helpers import encoded, noise

MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
}
CASES = [(format, mode) for format, modes in MODES.items() for mode in modes]
ORIENTATION = 0x0112


def picture(mode: str) -> Image.Image:
    image = noise(40, 24)
    if mode in ("LA", "RGBA"):
        image.putalpha(noise(40, 24, seed=1).convert("L"))
    return image.convert(mode) if mode != "I;16" else image.convert("I").convert("I;16")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("format", "mode"), CASES)
def test_training_and_serving_read_the_same_pixels(
    format: str, mode: str, orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(picture(mode), format, exif=exif)
    served = open_picture(data).decode().image
    (tmp_path / "a").write_bytes(data)
    for source in (tmp_path / "a", lambda: data):
        trained = Sample("1", source, "Why?").picture()
        assert np.array_equal(np.asarray(trained), np.asarray(served))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_training_reads_pictures_upright(orientation: int) -> None:
    image = noise(40, 24)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(image, "PNG", exif=exif)
    turned = Sample("1", lambda: data, "Why?").picture()
    assert turned.size == ((40, 24) if orientation < 5 else (24, 40))
    assert (turned.tobytes() == image.tobytes()) == (orientation == 1)


def test_training_reads_transparent_pixels_as_white() -> None:
    data = encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    assert Sample("1", lambda: data, "Why?").picture().getpixel((4, 4)) == (255, 255, 255)


def test_a_picture_over_the_pixel_limit_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png_claiming(20_000, 20_000))
    (tmp_path / "good.png").write_bytes(encoded(noise(40, 24)))
    rows = [{"image": name, "question": "Why?"} for name in ("huge.png", "good.png")]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples, rejected, _ = read_samples(tmp_path / "data.jsonl")
    assert [sample.row for sample in samples] == ["2"]
    assert [row.row for row in rejected] == ["1"]
    assert "pixels" in rejected[0].reason
