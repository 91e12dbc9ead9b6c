"""`data:` URLs as browsers and common tools write them."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.errors import BadPicture, PictureTooLarge
from server.pictures.data_urls import read_data_url
from server.pictures.limits import PictureLimits

DATA = bytes(range(256)) * 3 + b"\xfb\xff"  # + and / in base64, and padding
PLAIN = base64.b64encode(DATA).decode()
LIMITS = PictureLimits()


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{PLAIN}",
        f"DATA:image/png;BASE64,{PLAIN}",
        f"data:image/png;base64,{base64.encodebytes(DATA).decode()}",
        f"data:image/png;base64,{PLAIN}\n",
        f"data:image/png;base64,{PLAIN}\r\n",
        f"data:image/png;base64, {PLAIN}",
        f"data:image/png;base64,{PLAIN.rstrip('=')}",
        f"data:image/png;base64,{quote(PLAIN, safe='')}",
        f"data:image/png;base64,{quote(base64.encodebytes(DATA))}",
        f"data:image/png;base64,{base64.urlsafe_b64encode(DATA).decode()}",
        f"data:image/png;base64,{base64.urlsafe_b64encode(DATA).decode().rstrip('=')}",
        f"  data:image/png;base64,{PLAIN}",
        f"\ndata:image/png;base64,{PLAIN} ",
        f"data:image/png; base64,{PLAIN}",
        f"data:image/png;base64 ,{PLAIN}",
        f"data:image/png;charset=utf-8;base64,{PLAIN}",
        f"data:;base64,{PLAIN}",
        f"data:image/png;base64,{PLAIN}#fragment",
        f"data:image/png,{quote(DATA)}",
    ],
)
def test_what_browsers_read_is_read(url: str) -> None:
    assert read_data_url(url, LIMITS) == DATA


@pytest.mark.parametrize(
    "payload", ["A", "AAAAA", "AA=A", "AAA==", "=", "====", "A===", "AA!A", "AA\u00e9A", "AA%ZZ"]
)
def test_broken_base64_is_refused(payload: str) -> None:
    with pytest.raises(BadPicture, match="base64 is broken"):
        read_data_url(f"data:image/png;base64,{payload}", LIMITS)


def test_a_url_without_data_is_refused() -> None:
    with pytest.raises(BadPicture, match="looks like"):
        read_data_url("data:image/png;base64", LIMITS)


@given(st.binary(max_size=60), st.integers(0, 60), st.sampled_from([" ", "\n", "\t", "\r\n"]))
def test_white_space_may_stand_anywhere(data: bytes, at: int, space: str) -> None:
    text = base64.b64encode(data).decode()
    url = f"data:image/png;base64,{text[:at]}{space}{text[at:]}"
    assert read_data_url(url, LIMITS) == data


@pytest.mark.parametrize("mark", [";base64", ""])
def test_the_limit_is_on_the_decoded_bytes(mark: str) -> None:
    url = f"data:image/png{mark},{base64.encodebytes(bytes(30)).decode() if mark else 'A' * 30}"
    assert len(read_data_url(url, PictureLimits(bytes=30))) == 30
    with pytest.raises(PictureTooLarge):
        read_data_url(url, PictureLimits(bytes=29))
