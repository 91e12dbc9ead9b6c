"""Starts an endpoint of one's own for as long as it is needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_START_SECONDS = 300
_STOP_SECONDS = 30


@contextmanager
def running_endpoint(folder: Path) -> Iterator[str]:
    """The URL of `sdrpn serve` with the shipped model; its log is `folder`/endpoint.log.

    Raises RuntimeError if it does not become ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "server.cli", "serve", "--port", str(port)]
    with (folder / "endpoint.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(server, url, folder / "endpoint.log")
        yield url
    finally:
        _stop(server)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    print(f"starting an endpoint (log: {log})", flush=True)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/health/ready", timeout=15).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise RuntimeError(f"the endpoint did not become ready; see {log}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ends the server and, if it does not go in time, everything it started."""
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
