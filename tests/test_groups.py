"""Every test is in one group, and a unit test cannot leave its own."""

from __future__ import annotations

import socket
from multiprocessing import get_context
from pathlib import Path

import pytest

from demo.endpoint import Server
from tests.groups import GROUPS, GroupError


def test_every_test_is_in_one_group(request: pytest.FixtureRequest) -> None:
    several = {
        item.nodeid: groups
        for item in request.session.items
        if len(groups := {m.name for m in item.iter_markers()} & set(GROUPS)) != 1
    }
    assert not several


def test_a_unit_test_reaches_no_other_host() -> None:
    with socket.socket() as connection, pytest.raises(GroupError, match="no network"):
        connection.connect(("192.0.2.1", 80))


def test_a_unit_test_starts_no_endpoint(tmp_path: Path) -> None:
    with pytest.raises(GroupError, match="mark it `endpoint`"):
        Server(tmp_path / "log").start()


def test_a_unit_test_starts_no_engine() -> None:
    process = get_context("spawn").Process(target=print, name="EngineCore_DP0")
    with pytest.raises(GroupError, match="mark it `engine`"):
        process.start()
