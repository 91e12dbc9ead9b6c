"""`data:` URLs, read as browsers do: the WHATWG's "data: URL processor" and "forgiving-base64".

White space anywhere, percent-encoding, missing padding and the URL-safe alphabet (which the
standard lacks, but common encoders write) are accepted.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote_to_bytes

from server.api.errors import BadPicture
from server.pictures.limits import PictureLimits

_BASE64_MARK = re.compile(r";[ \t\n\f\r]*base64[ \t\n\f\r]*$", re.IGNORECASE)
_WHITE_SPACE = b" \t\n\f\r"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def read_data_url(url: str, limits: PictureLimits) -> bytes:
    """The bytes of a data: URL. Raises BadPicture, PictureTooLarge."""
    header, comma, payload = url.strip().partition(",")
    if not comma:
        raise BadPicture("a data: URL looks like data:image/png;base64,...; this one does not")
    payload = payload.partition("#")[0]  # a fragment is not part of the data
    data = unquote_to_bytes(payload) if "%" in payload else payload.encode()
    if _BASE64_MARK.search(header):
        data = _base64_decoded(data, limits)
    limits.check_bytes(len(data))
    return data


def _base64_decoded(encoded: bytes, limits: PictureLimits) -> bytes:
    encoded = encoded.translate(_URL_SAFE, _WHITE_SPACE)
    if len(encoded) % 4 == 0:
        encoded = encoded.removesuffix(b"=").removesuffix(b"=")
    limits.check_bytes(len(encoded) * 3 // 4)
    try:
        return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
    except binascii.Error as error:
        raise BadPicture(f"the data: URL's base64 is broken: {error}") from error
