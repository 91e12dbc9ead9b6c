"""The two servers of a comparison: sdrpn, and stock vLLM with the same model, flags and threads.

Stock vLLM runs without our plugins (`VLLM_PLUGINS` empty), with `sdrpn serve`'s arguments except
the two that attach an RPN. sdrpn runs with the plugin of the baselines. Both stay loaded and get
requests in turn: an idle engine waits on a socket and costs memory alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.endpoint import free_port, stop
from loadtests.compare.baselines import PLUGIN_FOLDER, PLUGINS
from server.cli import launch

CACHE_BYTES = 2 * 2**30
"""KV cache of each server unless the flags size it: at 16 concurrent chats of about 1,200 tokens a
7B model needs half of it. vLLM's default, a share of all memory, fits one server of a machine.
"""
_ROOT = Path(__file__).resolve().parents[2]
_SDRPN_ONLY = ("--hf-overrides", "--kv-transfer-config")
_STOCK_ONLY = ("--trust-request-mm-kwargs",)
"""Requests to stock vLLM name their token budgets so; those to sdrpn have `roi`."""
_CACHE_FLAGS = ("--kv-cache-memory-bytes", "--gpu-memory-utilization", "--num-gpu-blocks-override")
_START_WITHIN = 1200.0


@dataclass(frozen=True)
class Servers:
    """Where both listen, the model's served name, and their logs."""

    urls: dict[str, str]
    model: str
    logs: dict[str, Path]


@contextlib.contextmanager
def running(folder: Path, model: str | None, flags: Sequence[str]) -> Iterator[Servers]:
    """Both servers, ready, for the block; their logs are in `folder`.

    Raises RuntimeError if one does not start, LaunchError if it cannot.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the servers as well
    planned = launch.plan(model, None, [*flags, *cache_size(flags)], os.environ)
    started: dict[str, subprocess.Popen[bytes]] = {}
    urls: dict[str, str] = {}
    logs = {name: folder / f"{name}.log" for name in ("stock", "sdrpn")}
    try:
        for name, log in logs.items():
            port = free_port()
            urls[name] = f"http://127.0.0.1:{port}"
            started[name] = _start(name, planned, port, log)
        for name, url in urls.items():
            _wait(name, url, started[name], logs[name])
        yield Servers(urls, _served_model(urls["sdrpn"]), logs)
    finally:
        for process in started.values():
            stop(process)


def cache_size(flags: Sequence[str]) -> list[str]:
    """The flag that sizes a server's KV cache; none if `flags` do."""
    names = {flag.partition("=")[0].replace("_", "-") for flag in flags}
    if names & set(_CACHE_FLAGS):
        return []
    return ["--kv-cache-memory-bytes", str(CACHE_BYTES)]


def with_baselines(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for a server that also answers by the baselines."""
    paths = [str(_ROOT), str(PLUGIN_FOLDER), environment.get("PYTHONPATH", "")]
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "VLLM_PLUGINS": ",".join(PLUGINS),
    }


def _start(name: str, planned: launch.Launch, port: int, log: Path) -> subprocess.Popen[bytes]:
    if name == "sdrpn":
        command = planned.command
        environment = with_baselines(planned.environment)
    else:
        command = (*_without(planned.plain_command, _SDRPN_ONLY), *_STOCK_ONLY)
        environment = {**planned.environment, "VLLM_PLUGINS": ""}
    with log.open("wb") as output:
        return subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
        )


def _without(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    left = list(arguments)
    for option in options:
        place = left.index(option)
        del left[place : place + 2]
    return left


def _wait(name: str, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", timeout=15.0).status_code == 200:
                return
        time.sleep(0.5)
    raise RuntimeError(f"{name} did not start; see {log}")


def _served_model(url: str) -> str:
    name: str = httpx.get(f"{url}/v1/models", timeout=15.0).json()["data"][0]["id"]
    return name
