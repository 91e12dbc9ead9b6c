"""Unpacks compressed request bodies (`Content-Encoding`) in pieces, so that size can be bounded."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from server.api.errors import RequestError, UnsupportedEncoding

_PIECE_BYTES = 2**20
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_SUPPORTED = ("gzip", "x-gzip", "deflate")


class Unpacker:
    """The body of one request, as its `Content-Encoding` says ("" for none).

    Raises UnsupportedEncoding for an encoding other than gzip and deflate.
    """

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", *_SUPPORTED):
            raise UnsupportedEncoding(
                f"Content-Encoding {encoding!r} is not supported; send gzip, deflate or none"
            )
        self._name = name
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB) if name in _SUPPORTED else None
        self._begun = False

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """Pieces of at most 1 MiB; `chunk` itself if it is not compressed. Raises RequestError."""
        if self._zlib is None:
            yield chunk
            return
        rest = chunk
        self._begun |= bool(chunk)
        while rest:
            if self._zlib.eof:  # gzip files may be joined
                self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                yield self._zlib.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                raise RequestError(f"the request's body is not {self._name}: {error}") from error
            rest = self._zlib.unconsumed_tail or self._zlib.unused_data

    def finish(self) -> None:
        """Raises RequestError if the compressed body is cut off."""
        if self._zlib is not None and self._begun and not self._zlib.eof:
            raise RequestError(f"the request's body ends within its {self._name} data")
