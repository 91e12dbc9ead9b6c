"""deploy's router on this machine: the same nginx configuration, before other replicas."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import httpx

ROUTER = Path(__file__).resolve().parents[1] / "deploy" / "components" / "router"
_UP_WITHIN = 10.0


class Nginx:
    """nginx on `port` of 127.0.0.1 in front of `replicas` ("host:port"); a context manager.

    `folder` is an empty place for its configuration, its logs and the bodies it spools.
    """

    def __init__(self, replicas: Sequence[str], port: int, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder.resolve()
        servers = "".join(f"  server {replica} max_fails=0;\n" for replica in replicas)
        (folder / "replicas.conf").write_text(
            f"upstream replicas {{\n  hash $affinity consistent;\n{servers}  keepalive 64;\n}}\n"
        )
        text = (ROUTER / "nginx.conf").read_text()
        (folder / "nginx.conf").write_text(
            text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
            .replace("worker_processes auto;", "worker_processes 1;")
            .replace("/dev/stdout", f"{self._folder}/access.log")
        )

    @property
    def access_log(self) -> Path:
        """One JSON object a line for each request."""
        return self._folder / "access.log"

    def __enter__(self) -> Nginx:
        command = ["nginx", "-p", f"{self._folder}/", "-c", f"{self._folder}/nginx.conf"]
        # As root nginx would give its files to another user, who cannot write here.
        directives = "daemon off; user root;" if os.getuid() == 0 else "daemon off;"
        with (self._folder / "error.log").open("wb") as log:
            self._process = subprocess.Popen([*command, "-g", directives], stdout=log, stderr=log)
        deadline = time.monotonic() + _UP_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "error.log").read_text())
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/router/health", timeout=1.0).status_code == 200
        except httpx.TransportError:
            return False
