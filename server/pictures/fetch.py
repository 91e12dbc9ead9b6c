"""Fetching one picture over HTTP, from a host that is public at the moment of connecting.

aiohttp fetches; this module restricts where it may connect. A name is resolved once, by
`_Resolver`, which refuses it if any of its addresses is not public. The connection goes to one of
those addresses, and `_socket_for` checks the address again, so that no other way to an address
exists. Redirects are followed here, one by one, each checked like the first URL.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from server.api.errors import FetchFailed, FetchRefused
from server.pictures.addresses import is_public
from server.pictures.files import check_size_in_header
from server.pictures.limits import PictureLimits
from server.pictures.url_policy import MediaPolicy, literal_address, parsed

MAX_REDIRECTS = 3
FETCH_SECONDS = 10.0
"""One picture, redirects included."""
_CONNECT_SECONDS = 5.0
_HEADER_BYTES = 65536
_FETCHES_AT_ONCE = 64

_REDIRECTS = {
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}
# Object stores send a picture without a set type as octets.
_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")

DEFAULT_LIMITS = PictureLimits()

Admits = Callable[[IPv4Address | IPv6Address], bool]


class Fetcher:
    """Fetches pictures that `policy` allows, from addresses that `admits` does."""

    def __init__(
        self,
        policy: MediaPolicy,
        *,
        limits: PictureLimits = DEFAULT_LIMITS,
        admits: Admits = is_public,
        resolver: AbstractResolver | None = None,
        seconds: float = FETCH_SECONDS,
    ) -> None:
        self._policy = policy
        self._limits = limits
        self._admits = admits
        self._resolver = resolver
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str) -> bytes:
        """The bytes of the picture at `url`.

        Raises FetchRefused for a URL, an address or a redirect that is not allowed, FetchFailed if
        the host does not deliver a picture in time, PictureTooLarge.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(url)
        except TimeoutError as error:
            raise FetchFailed(f"the picture took longer than {self._seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise FetchFailed(f"the picture could not be fetched: {_message(error)}") from error

    async def close(self) -> None:
        """Closes the open connections."""
        if self._session is not None:
            await self._session.close()

    async def _follow(self, url: str | URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            checked = self._checked(url)
            async with self._opened().get(checked, allow_redirects=False) as answer:
                if answer.status not in _REDIRECTS:
                    return await _read(answer, self._limits)
                url = _next(checked, answer.headers.get("Location"))
        raise FetchRefused(f"a picture's URL redirects more than {MAX_REDIRECTS} times")

    def _checked(self, url: str | URL) -> URL:
        checked = self._policy.check(url)
        assert checked.host
        address = literal_address(checked.host)
        if address is not None and not self._admits(address):
            raise _not_public(checked.host)
        return checked

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(self._resolver, self._admits),
                    use_dns_cache=False,
                    socket_factory=self._socket_for,
                    force_close=True,  # a kept connection would outlive its check
                    limit=_FETCHES_AT_ONCE,
                ),
                headers={
                    "User-Agent": "sdrpn",
                    "Accept": "image/*",
                    "Accept-Encoding": "identity",
                },
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _socket_for(self, info: Any) -> socket.socket:
        family, kind, protocol, _, target = info
        if not self._admits(ip_address(target[0])):
            raise OSError(f"{target[0]} is not a public address")
        return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """Resolves a name, and refuses it if any of its addresses is not admitted."""

    def __init__(self, inner: AbstractResolver | None, admits: Admits) -> None:
        self._inner = inner or aiohttp.ThreadedResolver()
        self._admits = admits

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._inner.resolve(host, port, family)
        if not all(self._admits(ip_address(result["host"])) for result in results):
            raise _not_public(host)
        return results

    async def close(self) -> None:
        await self._inner.close()


def _not_public(host: str) -> FetchRefused:
    return FetchRefused(f"{host} is not, or not only, at public addresses")


def _next(url: URL, location: str | None) -> URL:
    if not location:
        raise FetchFailed("the picture's URL redirects to nowhere")
    return url.join(parsed(location))


async def _read(answer: aiohttp.ClientResponse, limits: PictureLimits) -> bytes:
    if answer.status != HTTPStatus.OK:
        raise FetchFailed(f"the picture's host answered {answer.status}")
    if not answer.content_type.startswith(_TYPES):
        raise FetchFailed(f"the picture's host sent {answer.content_type}, not a picture")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed("the picture's host sent it compressed, which was not requested")
    limits.check_bytes(answer.content_length or 0)
    data = bytearray()
    size_known = False
    async for chunk in answer.content.iter_any():
        data += chunk
        limits.check_bytes(len(data))
        if not size_known and len(data) >= _HEADER_BYTES:
            await asyncio.to_thread(check_size_in_header, bytes(data), limits.pixels)
            size_known = True
    return bytes(data)


def _message(error: aiohttp.ClientError) -> str:
    return str(error) or type(error).__name__
