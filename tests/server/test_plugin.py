"""Under plain vLLM the plugin does its duty, or ends the process."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from argparse import Namespace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.datastructures import State
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.serve.middleware.register import init_entrypoints_middleware
from vllm.plugins import load_endpoint_plugins
from vllm.utils.argparse_utils import FlexibleArgumentParser

from server.plugin import SdrpnEndpointPlugin

GROUP = "vllm.endpoint_plugins"
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.fixture(autouse=True)
def _named_in_the_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM finds the plugin as a fresh installation would name it."""
    ((name, value),) = PROJECT["entry-points"][GROUP].items()
    entry = importlib.metadata.EntryPoint(name, value, GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [entry])
    monkeypatch.setenv("VLLM_PLUGINS", name)


def test_vllm_loads_it_for_every_task() -> None:
    for tasks in (("generate",), ("embed",), ("render",)):
        (plugin,) = load_endpoint_plugins(tasks)
        assert isinstance(plugin, SdrpnEndpointPlugin)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("SDRPN_MAX_INFLIGHT", "many", "SDRPN_MAX_INFLIGHT: "),
        (
            "SDRPN_API_KEYS",
            "secret",
            "SDRPN_API_KEYS is not a setting; the nearest is SDRPN_API_KEY",
        ),
        ("SDRPN_API_KEY", "", "SDRPN_API_KEY is empty"),
    ],
)
def test_a_wrong_setting_ends_the_process(
    variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=reason):
        load_endpoint_plugins(("generate",))


def test_a_module_that_cannot_be_imported_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "server.plugin")
    monkeypatch.setitem(sys.modules, "server.guard.admission", None)
    with pytest.raises(SystemExit, match="cannot be loaded: ModuleNotFoundError"):
        load_endpoint_plugins(("generate",))


class Engine:
    """An engine client for one task."""

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return ("embed",)


@pytest.mark.parametrize("engine", [None, Engine()], ids=["render server", "another runner"])
async def test_an_engine_that_does_not_generate_ends_the_process(engine: Any) -> None:
    with pytest.raises(SystemExit, match="--runner generate"):
        await SdrpnEndpointPlugin().init_state(engine, State(), Namespace())


def vllm_app(*flags: str) -> FastAPI:
    """vLLM's app without its routes, as `build_app` makes it."""
    app = FastAPI()
    app.state.args = make_arg_parser(FlexibleArgumentParser()).parse_args(list(flags))
    app.root_path = app.state.args.root_path
    (plugin,) = load_endpoint_plugins(("generate",))
    plugin.attach_router(app)
    init_entrypoints_middleware(app.state.args, app, ("generate",))
    return app


PATHS = ("/v1/models", "/v1/messages", "/invocations", "/tokenize", "/metrics", "/version")


@pytest.mark.parametrize("source", ["flag", "variable", "setting"])
async def test_keys_from_wherever_vllm_takes_them_protect_every_path(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source != "flag":
        monkeypatch.setenv("VLLM_API_KEY" if source == "variable" else "SDRPN_API_KEY", "k3y")
    app = vllm_app(*(("--api-key", "k3y") if source == "flag" else ()))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://vllm.test") as client:
        for path in PATHS:
            assert (await client.get(path)).status_code == 401, path
            for headers in ({"Authorization": "Bearer k3y"}, {"x-api-key": "k3y"}):
                assert (await client.get(path, headers=headers)).status_code != 401, path


async def test_without_keys_every_path_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "")
    transport = httpx.ASGITransport(app=vllm_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://vllm.test") as client:
        assert {(await client.get(path)).status_code for path in PATHS} <= {404, 405, 500}


@pytest.mark.slow
def test_plain_vllm_does_not_start_with_a_wrong_setting() -> None:
    """In a process of its own: nothing between vLLM's loader and its main() catches it."""
    value = PROJECT["entry-points"][GROUP]["sdrpn_endpoint"]
    script = f"""
import importlib.metadata, uvloop
from vllm.plugins import load_endpoint_plugins
entry = importlib.metadata.EntryPoint("sdrpn_endpoint", {value!r}, {GROUP!r})
every = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **a: [entry] if a == {{"group": {GROUP!r}}} else every(**a)
async def main():
    load_endpoint_plugins(("generate",))
uvloop.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "VLLM_PLUGINS": "sdrpn_endpoint", "SDRPN_MAX_INFLIGHT": "many"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    last_line = done.stderr.rstrip().splitlines()[-1]
    assert last_line.startswith("sdrpn: ")
    assert "SDRPN_MAX_INFLIGHT: " in last_line


@pytest.mark.parametrize("root_path", ["/api", "/api/", "/v1", "/health"])
async def test_a_proxys_prefix_is_left_or_removed(
    root_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--root-path`: paths have the prefix if the proxy leaves it, and not if it removes it."""
    monkeypatch.setenv("SDRPN_API_KEY", "k3y")
    app = vllm_app("--root-path", root_path)
    app.add_api_route("/v1/models", lambda: "models")
    transport = httpx.ASGITransport(app=app)
    key = {"Authorization": "Bearer k3y"}
    async with httpx.AsyncClient(transport=transport, base_url="http://vllm.test") as client:
        for prefix in ("", root_path.rstrip("/")):
            if prefix == "" and root_path == "/v1":
                continue  # a path of the API that begins with the prefix has lost it
            assert (await client.get(f"{prefix}/v1/models", headers=key)).status_code == 200
            assert (await client.get(f"{prefix}/v1/models")).status_code == 401
            assert (await client.get(f"{prefix}/sleep", headers=key)).status_code == 404
            assert (await client.get(f"{prefix}/playground/main.js")).status_code == 200
        assert (await client.get(f"{root_path.rstrip('/')}/")).status_code == 200
