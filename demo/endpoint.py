"""Runs endpoints on this machine: starts them, waits for them, and stops them as a cluster does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import httpx

START_WITHIN = 480.0
STOP_WITHIN = 160.0
"""Seconds: the grace period that deploy/ gives a replica."""


class Server:
    """`sdrpn serve` with `flags` on a free port; it writes to the file `log`."""

    def __init__(self, log: Path, *flags: str, **environment: str) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        # With `=`, for a model may be the first of `flags`.
        self._command = [sys.executable, "-m", "server.cli", "serve", f"--port={port}", *flags]
        self._environment = environment

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the process; `wait_until_ready` waits for the model."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )
        return self.process

    def wait_until_ready(self, within: float = START_WITHIN) -> None:
        """Returns once requests are taken. Raises RuntimeError, with the log's end, if not."""
        assert self.process
        deadline = time.monotonic() + within
        while not self.is_ready():
            status = self.process.poll()
            if status is not None:
                raise RuntimeError(f"the server exited with {status}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"not ready within {within:.0f} s:\n{self.tail()}")
            time.sleep(0.5)

    def is_ready(self) -> bool:
        """Whether a readiness probe succeeds."""
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=15.0).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, grace: float = STOP_WITHIN) -> int:
        """Stops the process and returns its exit status; 0 if it was not started."""
        return stop(self.process, grace) if self.process else 0

    def tail(self, lines: int = 60) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def open_endpoint(url: str | None, folder: Path) -> AbstractContextManager[str]:
    """The URL of an endpoint: the one that is named, or one that runs as long as the context."""
    return nullcontext(url.rstrip("/")) if url else _running_endpoint(folder)


@contextlib.contextmanager
def _running_endpoint(folder: Path) -> Iterator[str]:
    """The URL of `sdrpn serve` with the shipped model; its log is `folder`/endpoint.log.

    Raises RuntimeError if it does not become ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder / "endpoint.log")
    print(f"starting an endpoint (log: {server.log})", flush=True)
    server.start()
    try:
        server.wait_until_ready()
        yield server.url
    finally:
        server.stop()


def stop(process: subprocess.Popen[bytes], grace: float = STOP_WITHIN) -> int:
    """Sends SIGTERM and returns the exit status; -9 if the process still ran after `grace` seconds.

    The process must lead a process group; what is left of the group is killed.
    """
    process.terminate()
    try:
        return process.wait(grace)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):  # none is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
