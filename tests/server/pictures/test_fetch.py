"""Fetching from a real HTTP server on loopback, which `admits` lets in here and nowhere else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from server.api.errors import BadPicture, FetchFailed, FetchRefused, PictureTooLarge
from server.pictures.addresses import is_public
from server.pictures.fetch import Fetcher
from server.pictures.url_policy import MediaPolicy
from tests.rpn_plugin.images.picture_files import png_claiming
from tests.server.helpers import encoded, noise

PNG = encoded(noise(40, 30))
HERE = ip_address("127.0.0.1")


class Names(AbstractResolver):
    """Resolves names to what `answers` say, one after another, the last for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in answer
        ]

    async def close(self) -> None:
        pass


async def picture(_: web.Request) -> web.Response:
    return web.Response(body=PNG, content_type="image/png")


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "image/png"})
    await answer.prepare(request)
    for _ in range(1000):
        await answer.write(bytes(2**20))
    return answer


async def slow(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "image/png"})
    await answer.prepare(request)
    for _ in range(1000):
        await answer.write(b"\x89")
        await asyncio.sleep(0.2)
    return answer


async def silent(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


def answering(**kwargs: Any) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(**kwargs)

    return answer


async def hop(request: web.Request) -> web.Response:
    left = int(request.match_info["left"])
    location = f"/hop/{left - 1}" if left > 1 else "/picture"
    return web.Response(status=302, headers={"Location": location})


async def redirect(request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": request.query["to"]})


async def mirror(request: web.Request) -> web.Response:
    """400 where a request carries what it should not."""
    carries = {"Cookie", "Authorization", "Referer"} & set(request.headers)
    return web.Response(status=400) if carries else await picture(request)


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/picture", picture)
    app.router.add_get("/mirror", mirror)
    app.router.add_get("/octets", answering(body=PNG, content_type="application/octet-stream"))
    app.router.add_get("/endless", endless)
    app.router.add_get("/slow", slow)
    app.router.add_get("/silent", silent)
    app.router.add_get("/page", answering(text="<html>", content_type="text/html"))
    app.router.add_get("/json", answering(text="{}", content_type="application/json"))
    app.router.add_get("/missing", answering(status=404))
    app.router.add_get("/broken", answering(status=500))
    app.router.add_get("/nowhere", answering(status=302))
    app.router.add_get("/partial", answering(status=206, body=PNG, content_type="image/png"))
    packed = {"Content-Encoding": "gzip", "Content-Type": "image/png"}
    app.router.add_get("/packed", answering(body=b"\x1f\x8b", headers=packed))
    many_pixels = png_claiming(30_000, 30_000) + bytes(100_000)
    app.router.add_get("/pixels", answering(body=many_pixels, content_type="image/png"))
    app.router.add_get("/hop/{left}", hop)
    app.router.add_get("/redirect", redirect)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def fetch(port: int) -> AsyncIterator[Callable[..., Any]]:
    """Fetches from the server as `pictures.test`, which stands for any public host."""
    opened: list[Fetcher] = []

    async def fetched(path: str, names: Names | None = None, **options: Any) -> bytes:
        policy = MediaPolicy((f"pictures.test:{port}", f"other.test:{port}"))
        admits = options.pop("admits", lambda address: address == HERE)
        resolver = names or Names(["127.0.0.1"])
        fetcher = Fetcher(policy, admits=admits, resolver=resolver, **options)
        opened.append(fetcher)
        return await fetcher.fetch(f"http://pictures.test:{port}{path}")

    yield fetched
    for fetcher in opened:
        await fetcher.close()


@pytest.mark.parametrize("path", ["/picture", "/octets", "/mirror", "/hop/1", "/hop/3"])
async def test_a_picture_is_fetched(fetch: Any, path: str) -> None:
    assert await fetch(path) == PNG


FAILING = ["/page", "/json", "/missing", "/broken", "/nowhere", "/partial", "/packed"]


@pytest.mark.parametrize("path", FAILING)
async def test_what_is_no_picture_is_a_failure(fetch: Any, path: str) -> None:
    with pytest.raises(FetchFailed):
        await fetch(path)


@pytest.mark.parametrize("path", ["/endless", "/pixels"])
async def test_too_many_bytes_or_pixels_end_the_fetch(fetch: Any, path: str) -> None:
    with pytest.raises(PictureTooLarge):
        await fetch(path)


@pytest.mark.parametrize("path", ["/slow", "/silent"])
async def test_a_host_that_takes_too_long(fetch: Any, path: str) -> None:
    with pytest.raises(FetchFailed, match="longer than"):
        await fetch(path, seconds=0.5)


async def test_too_many_redirects(fetch: Any) -> None:
    with pytest.raises(FetchRefused, match="redirects more than 3"):
        await fetch("/hop/4")


HOSTILE_TARGETS = [
    "http://127.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://2130706433/",
    "http://localhost/",
    "http://evil.test/",
    "//evil.test/a.png",
    "https://user:secret@pictures.test/",
    "file:///etc/passwd",
    "gopher://pictures.test/",
    "data:image/png;base64,AAAA",
    "http://pictures.test:22/",
    "http:\\\\evil.test\\",
    "http://[::1",
]


@pytest.mark.parametrize("target", HOSTILE_TARGETS)
async def test_a_redirect_is_checked_like_a_first_url(fetch: Any, target: str) -> None:
    from urllib.parse import quote

    with pytest.raises(FetchRefused):
        await fetch(f"/redirect?to={quote(target, safe='')}")


async def test_a_redirect_to_another_named_host_is_followed(fetch: Any, port: int) -> None:
    names = Names(["127.0.0.1"])
    assert await fetch(f"/redirect?to=http://other.test:{port}/picture", names) == PNG
    assert names.asked == ["pictures.test", "other.test"]


NOT_ALL_PUBLIC = [
    ["127.0.0.1"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["::1"],
    ["::ffff:8.8.8.8"],
    ["64:ff9b::808:808"],
    ["8.8.8.8", "10.0.0.1"],
    ["2606:4700::1111", "fd00::1"],
]


@pytest.mark.parametrize("addresses", NOT_ALL_PUBLIC, ids=",".join)
async def test_every_address_of_a_name_must_be_public(fetch: Any, addresses: list[str]) -> None:
    with pytest.raises(FetchRefused, match="public"):
        await fetch("/picture", Names(addresses), admits=is_public)


async def test_an_answer_that_changes_is_never_asked_for_again(fetch: Any) -> None:
    """DNS rebinding: public when checked, private when connected to."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    assert await fetch("/picture", names) == PNG
    assert names.asked == ["pictures.test"]


async def test_an_answer_that_changes_between_redirects_is_checked_again(fetch: Any) -> None:
    with pytest.raises(FetchRefused, match="public"):
        await fetch("/hop/1", Names(["127.0.0.1"], ["10.0.0.1"]))


async def test_the_address_connected_to_is_looked_at_once_more(fetch: Any, port: int) -> None:
    """Even a resolver that lies to the check does not get a connection."""
    answers = iter([True, False])
    with pytest.raises(FetchFailed, match="fetched"):
        await fetch("/picture", admits=lambda _: next(answers))


async def test_a_literal_address_is_checked_too(port: int) -> None:
    fetcher = Fetcher(MediaPolicy((f"127.0.0.1:{port}",)))
    with pytest.raises(FetchRefused, match="public"):
        await fetcher.fetch(f"http://127.0.0.1:{port}/picture")


async def test_proxies_of_the_environment_are_not_asked(
    fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await fetch("/picture") == PNG


async def test_a_host_that_refuses_the_connection(port: int) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        policy = MediaPolicy((f"pictures.test:{closed}",))
        fetcher = Fetcher(policy, admits=lambda _: True, resolver=Names(["127.0.0.1"]))
        with pytest.raises(FetchFailed):
            await fetcher.fetch(f"http://pictures.test:{closed}/picture")
        await fetcher.close()


async def test_all_refusals_are_bad_pictures_to_the_caller() -> None:
    assert issubclass(FetchRefused, BadPicture)
    assert issubclass(FetchFailed, BadPicture)
