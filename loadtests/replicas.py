"""Servers on this machine, started and stopped as a cluster would: SIGTERM, and time to finish."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

READY_WITHIN = 900.0


class Replica:
    """`sdrpn serve` on a port of its own; `arguments` are any of its flags."""

    def __init__(self, name: str, folder: Path, arguments: Sequence[str] = ()) -> None:
        self.name = name
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self._log = folder / f"{name}.log"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process; `wait_until_ready` waits for the model."""
        command = [sys.executable, "-m", "server.cli", "serve", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._arguments], stdout=log, stderr=log, start_new_session=True
            )

    def wait_until_ready(self, within: float = READY_WITHIN) -> None:
        """Returns once the server takes requests. Raises RuntimeError if it does not."""
        assert self._process
        deadline = time.monotonic() + within
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.5)

    def is_ready(self) -> bool:
        """What a cluster's readiness probe would see."""
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=15.0).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, grace: float = 160.0) -> int:
        """SIGTERM, then the exit status; -9 for a server that was still there after `grace`."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(grace)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends what is left of the server, its children included."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
