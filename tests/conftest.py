"""One real endpoint for all tests that need one: `sdrpn serve` with the shipped model."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

START_WITHIN = 480.0
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
    port = free_port()
    command = [sys.executable, "-m", "server.cli", "serve", "--port", str(port), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
        )
    running = Endpoint(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_ready(running)
        yield running
    finally:
        _stop(process)


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


def free_port() -> int:
    """A TCP port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(endpoint: Endpoint) -> None:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        endpoint.check_alive()
        try:
            if httpx.get(f"{endpoint.url}/health/ready", timeout=15.0).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.5)
    pytest.fail(f"the server was not ready within {START_WITHIN:.0f} s:\n{endpoint.tail()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process, signal.SIGTERM)
    # The kill below is for a server that will not stop, and for any child that outlives it.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_WITHIN)
    _signal_group(process, signal.SIGKILL)
    process.wait(STOP_WITHIN)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # all gone already
        os.killpg(process.pid, number)
