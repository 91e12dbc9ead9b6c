"""Test groups, and one real endpoint for all tests that need one."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from demo.endpoint import Server
from tests import groups

STOP_WITHIN = 30.0


@dataclass(frozen=True)
class Endpoint:
    """A running server: where it listens, its process, and what it wrote so far."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def check_alive(self) -> None:
        """Fails the test, with the end of the server's log, if the server has died."""
        if self.process.poll() is not None:
            pytest.fail(f"the server exited with {self.process.returncode}:\n{self.tail()}")

    def tail(self, lines: int = 60) -> str:
        """The last lines of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def pytest_configure(config: pytest.Config) -> None:
    """Names the groups; a run that is terminated stops its server, as one that is interrupted."""
    for group, about in groups.GROUPS.items():
        config.addinivalue_line("markers", f"{group}: {about}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test is marked before `-m` selects."""
    groups.mark(items)


@pytest.fixture(autouse=True)
def _unit_test_is_one(request: pytest.FixtureRequest) -> Iterator[None]:
    if groups.group_of(request.node) != "unit":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        groups.watch_unit_test(request.node, patch)
        yield


@contextlib.contextmanager
def serving(log: Path, *flags: str, **environment: str) -> Iterator[Endpoint]:
    """`sdrpn serve` with `flags`, ready; stopped with all its children at the end of the block."""
    server = Server(log, *flags, **environment)
    process = server.start()
    try:
        server.wait_until_ready()
        yield Endpoint(server.url, process, log)
    finally:
        server.stop(STOP_WITHIN)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The shared endpoint, with the shipped model and nothing set."""
    with serving(tmp_path_factory.mktemp("endpoint") / "server.log") as running:
        yield running


@pytest.fixture(scope="session")
def client(endpoint: Endpoint) -> openai.OpenAI:
    """The official client, as a user would point it at the endpoint."""
    return openai.OpenAI(
        base_url=f"{endpoint.url}/v1", api_key="none", max_retries=0, timeout=120.0
    )
