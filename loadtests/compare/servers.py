"""The two servers of a comparison: ours, and stock vLLM of the same model, flags and threads.

Stock vLLM is started without our plugins (`VLLM_PLUGINS` empty), with `sdrpn serve`'s arguments but
for the two that attach an RPN. Both stay loaded, and are asked in turn: an idle engine waits on a
socket and costs memory alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.endpoint import free_port, stop
from server.cli import launch

_OURS_ALONE = ("--hf-overrides", "--kv-transfer-config")
_STOCK_ALONE = ("--trust-request-mm-kwargs",)
"""Its requests name their token budgets so; ours have `roi`."""
_START_WITHIN = 1200.0


@dataclass(frozen=True)
class Servers:
    """Where both listen, what the model is called, and where they log."""

    urls: dict[str, str]
    model: str
    logs: dict[str, Path]


@contextlib.contextmanager
def running(
    folder: Path,
    model: str | None,
    flags: Sequence[str],
    given: dict[str, str],
) -> Iterator[Servers]:
    """Both servers, ready; those at `given` URLs are used as they are, the others ended after.

    Raises RuntimeError if one does not start, LaunchError if it cannot.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the servers as well
    planned = launch.plan(model, None, flags, os.environ)
    started: dict[str, subprocess.Popen[bytes]] = {}
    urls = dict(given)
    logs = {name: folder / f"{name}.log" for name in ("stock", "sdrpn") if name not in given}
    try:
        for name, log in logs.items():
            port = free_port()
            urls[name] = f"http://127.0.0.1:{port}"
            started[name] = _start(name, planned, port, log)
        for name, url in urls.items():
            _wait(name, url, started.get(name), logs.get(name))
        yield Servers(urls, _served_model(urls["sdrpn"]), logs)
    finally:
        for process in started.values():
            stop(process)


def _start(name: str, planned: launch.Launch, port: int, log: Path) -> subprocess.Popen[bytes]:
    ours = name == "sdrpn"
    stock = [*_without(planned.arguments, _OURS_ALONE), *_STOCK_ALONE]
    arguments = planned.arguments if ours else stock
    module = "server.process" if ours else "vllm.entrypoints.openai.api_server"
    plugins = {} if ours else {"VLLM_PLUGINS": ""}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--port", str(port)],
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**planned.environment, **plugins},
        )


def _without(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    left = list(arguments)
    for option in options:
        place = left.index(option)
        del left[place : place + 2]
    return left


def _wait(name: str, url: str, process: subprocess.Popen[bytes] | None, log: Path | None) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        try:
            if httpx.get(f"{url}/health", timeout=15.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"{name} did not start; see {log or url}")


def _served_model(url: str) -> str:
    name: str = httpx.get(f"{url}/v1/models", timeout=15.0).json()["data"][0]["id"]
    return name
