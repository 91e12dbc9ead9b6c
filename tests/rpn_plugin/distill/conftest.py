"""Small data of the shipped model's own pages, and the real command on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.pages import write_pages
from server.shipped_model import SHIPPED_MODEL

TINY = (
    *("--tap-layer", "1", "--depth", "2", "--base-tokens", "64", "--crop-tokens", "64"),
    *("--response", "none", "--heads", "1:0,1,2", "--foreground", "0.3"),
    *("--label-options", "relative_peak", "--shard", "4", "--label-batch", "4"),
    *("--batch", "4", "--micro-batch", "2", "--epochs", "3", "--validation", "2"),
    *("--device", "cpu", "--checkpoint-seconds", "0", "--lr", "1e-3"),
)
"""Settings of runs that take seconds."""

STARTED = ("-m", "server.cli", "distill", str(SHIPPED_MODEL))


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 questions about pages, with boxes, as JSONL."""
    return write_pages(seed=77, count=24, folder=tmp_path_factory.mktemp("pages"))


def start(
    data: Path, out: Path, *more: str, launcher: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """`sdrpn distill` in a process group of its own."""
    arguments = ("--data", str(data), "--out", str(out), *TINY, *more)
    return subprocess.Popen(
        [sys.executable, *launcher, *STARTED, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What the process wrote; the test fails if it failed."""
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    return said
