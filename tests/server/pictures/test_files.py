from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.errors import BadPicture, PictureTooLarge
from server.pictures.data_urls import read_data_url
from server.pictures.files import Picture, open_picture
from server.pictures.limits import PictureLimits
from tests.rpn_plugin.images.picture_files import png_claiming
from tests.server.helpers import data_url, encoded, noise

LIMITS = PictureLimits()


def read_picture(url: str) -> Picture:
    return open_picture(read_data_url(url, LIMITS)).decode()


def test_jpeg_is_read_whatever_the_url_calls_it() -> None:
    url = data_url(encoded(noise(20, 30), "JPEG"), "application/octet-stream")
    assert read_picture(url).image.size == (20, 30)


def test_the_digest_is_the_files_alone() -> None:
    one, other = encoded(noise(9, 9, seed=1)), encoded(noise(9, 9, seed=2))
    digest = read_picture(data_url(one)).digest
    assert read_picture(data_url(one, "image/webp")).digest == digest
    assert read_picture(data_url(other)).digest != digest


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "/etc/passwd",
        "data:image/png;base64",
        "data:image/png,plain",
        "data:image/png;base64,%%%%",
        "data:image/png;base64,AAA",
        "data:image/png;base64,",
        data_url(b"%PDF-1.7 not a picture"),
        data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        data_url(encoded(noise(8, 8), "PPM")),
        data_url(encoded(noise(16, 16), "ICO")),
    ],
)
def test_what_is_no_picture_of_ours_is_refused(url: str) -> None:
    with pytest.raises(BadPicture):
        read_picture(url)


@given(st.text(max_size=200))
def test_any_url_is_read_or_refused(url: str) -> None:
    for text in (url, f"data:{url}", f"data:image/png;base64,{url}"):
        with pytest.raises(BadPicture):
            read_picture(text)


def test_a_broken_picture_is_the_callers_mistake() -> None:
    data = encoded(noise(64, 64))
    with pytest.raises(BadPicture):
        read_picture(data_url(data[: len(data) // 2]))


def test_too_many_pixels_are_the_callers_mistake() -> None:
    with pytest.raises(PictureTooLarge):
        read_picture(data_url(png_claiming(8000, 8000)))


def test_too_many_bytes_are_refused_before_they_are_decoded() -> None:
    payload = base64.b64encode(bytes(LIMITS.bytes + 3)).decode()
    with pytest.raises(PictureTooLarge) as caught:
        read_picture(f"data:image/png;base64,{payload}%%%")
    assert caught.value.body()["error"]["code"] == 413
