"""One real endpoint for all tests that need one: `sdrpn serve` with the shipped model."""

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


def pytest_configure() -> None:
    """A run that is terminated stops its server, as one that is interrupted does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


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
