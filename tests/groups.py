"""Test groups: every test belongs to one, and `unit` tests are held to what that means.

A test's own marker says its group; without one, the fixtures it uses do; a test that uses none of
those is a unit test.
"""

from __future__ import annotations

import ipaddress
import multiprocessing.process
import sys
from typing import Any

import pytest

from demo.endpoint import Server

GROUPS = {
    "unit": "no engine, no browser, no network but loopback: all in under a minute",
    "engine": "starts vLLM's engine",
    "endpoint": "starts `sdrpn serve`, or asks one that runs",
    "browser": "opens the playground in Chromium",
    "slow": "trains models, starts commands that import vLLM, needs a Debian package or root",
}
_BY_FIXTURE = {"browser": "browser", "endpoint": "endpoint", "engines": "engine"}

_unit_test: str | None = None
"""The unit test that runs now."""


class GroupError(Exception):
    """A unit test did what unit tests may not do."""


def group_of(item: pytest.Item) -> str:
    """The group of a collected test."""
    for marker in item.iter_markers():
        if marker.name in GROUPS:
            return marker.name
    fixtures = getattr(item, "fixturenames", ())
    return next((group for name, group in _BY_FIXTURE.items() if name in fixtures), "unit")


def mark(items: list[pytest.Item]) -> None:
    """Gives every test the marker of its group."""
    for item in items:
        group = group_of(item)
        if item.get_closest_marker(group) is None:
            item.add_marker(group)


def watch_unit_test(item: pytest.Item, patch: pytest.MonkeyPatch) -> None:
    """Until `patch` is undone, engines, endpoints and connections to other hosts raise."""
    start_process = multiprocessing.process.BaseProcess.start

    def start(process: multiprocessing.process.BaseProcess) -> None:
        if process.name.startswith("EngineCore"):
            raise GroupError(f"{item.nodeid} starts vLLM's engine: mark it `engine`")
        start_process(process)

    def start_server(server: Server) -> None:
        raise GroupError(f"{item.nodeid} starts an endpoint: mark it `endpoint`")

    patch.setattr(multiprocessing.process.BaseProcess, "start", start)
    patch.setattr(Server, "start", start_server)
    patch.setitem(globals(), "_unit_test", item.nodeid)


def _no_other_host(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or _unit_test is None:
        return
    address = arguments[1]
    if isinstance(address, tuple) and not ipaddress.ip_address(address[0]).is_loopback:
        raise GroupError(f"{_unit_test} connects to {address[0]}: unit tests use no network")


sys.addaudithook(_no_other_host)
