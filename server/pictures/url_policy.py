"""Which URLs an operator lets pictures be fetched from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from yarl import URL

from server.api.errors import FetchRefused

_PRINTABLE_ASCII = re.compile(r"[!-\[\]-~]+")  # no space, no control character, no backslash
_AUTHORITY_END = re.compile("[/?#]")
_DEFAULT_PORTS = {80, 443}


@dataclass(frozen=True)
class MediaPolicy:
    """Hosts pictures may come from: those of `domains`, or with `any_public` every one.

    A domain is a host name (`example.com`), one with all its subdomains (`.example.com`), or either
    with a port of its own. Which addresses a host may have is not decided here.
    """

    domains: tuple[str, ...] = ()
    any_public: bool = False

    def check(self, text: str | URL) -> URL:
        """`text` as the URL that will be connected to. Raises FetchRefused."""
        if not self.domains and not self.any_public:
            raise FetchRefused("this server fetches no pictures; send data:image/png;base64,...")
        url = parsed(text)
        if url.scheme not in ("http", "https"):
            raise FetchRefused(f"pictures are fetched over http and https, not {url.scheme!r}")
        if not url.host:
            raise FetchRefused("a picture's URL needs a host")
        literal_address(url.host)
        self._check_host(url)
        return url.with_fragment(None)

    def _check_host(self, url: URL) -> None:
        assert url.host
        host = url.host.rstrip(".")
        named = any(_names(domain, host, url.port) for domain in self.domains)
        if not named and not (self.any_public and url.port in _DEFAULT_PORTS):
            where = host if url.port in _DEFAULT_PORTS else f"{host}:{url.port}"
            raise FetchRefused(f"this server fetches no pictures from {where}")


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address `host` is, if it is one written as such; None for a name.

    Raises FetchRefused for what some resolvers take for an address (`127.1`, `0x7f.1`,
    `2130706433`): no public suffix is a number.
    """
    try:
        if "%" in host:
            raise ValueError("an address that depends on a network interface")
        return ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        if last.isdigit() or last.lower().startswith("0x") or ":" in host:
            raise FetchRefused(
                f"{host!r} is no host name, and no address as one writes them"
            ) from None
        return None


def parsed(text: str | URL) -> URL:
    """`text` as a URL without credentials. Raises FetchRefused.

    Characters that two parsers may read differently (backslashes, spaces, letters beyond ASCII) are
    refused before any parser sees them.
    """
    if not _PRINTABLE_ASCII.fullmatch(str(text)):
        raise FetchRefused("a picture's URL has characters that URLs do not have")
    if "@" in _AUTHORITY_END.split(str(text).partition("//")[2], maxsplit=1)[0]:
        raise FetchRefused("a picture's URL must not hold credentials")
    try:
        return URL(text)
    except ValueError as error:
        raise FetchRefused(f"a picture's URL cannot be read: {error}") from error


def _names(domain: str, host: str, port: int | None) -> bool:
    name, _, own_port = domain.lower().partition(":")
    port_fits = port == int(own_port) if own_port else port in _DEFAULT_PORTS
    host_fits = host == name or (name.startswith(".") and f".{host}".endswith(name))
    return port_fits and host_fits
