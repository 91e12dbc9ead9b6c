"""Where the time goes: stacks find their places, and py-spy sees a running server's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from loadtests.compare.__main__ import main
from loadtests.compare.profile import PY_SPY, Profile, attribute, profile_table
from tests.conftest import Endpoint

STACKS = """\
main (run.py:1);execute_model (vllm/v1/worker/gpu_model_runner.py:9);forward (vllm/model_executor/models/qwen2.py:5) 7
main (run.py:1);execute_model (vllm/v1/worker/gpu_model_runner.py:9) 2
main (run.py:1);get_finished (rpn_plugin/engine/connector.py:3);propose (rpn_plugin/engine/rpn_batch.py:8);linear (torch/nn/functional.py:1) 4
main (run.py:1) 1
main (run.py:1);wait (/lib/python3.11/threading.py:331) 90
"""  # noqa: E501 - as py-spy writes them


def test_a_stack_counts_for_its_innermost_place() -> None:
    assert attribute(STACKS) == {
        "language model": 7,
        "steps: inputs and bookkeeping": 2,
        "RPN (ours)": 4,
        "elsewhere": 1,
    }


def test_the_table_leaves_out_what_takes_no_time() -> None:
    plain = Profile("plain", {("worker", "language model"): 0.32, ("api", "HTTP"): 0.001})
    zoom = Profile("zoom", {("worker", "language model"): 0.64})
    head, line = profile_table([plain, zoom]).splitlines()
    assert head.split()[-2:] == ["plain", "zoom"]
    assert line.split() == ["worker:", "language", "model", "10.0", "20.0"]


def test_a_running_server_is_looked_at(endpoint: Endpoint, tmp_path: Path) -> None:
    look = [PY_SPY, "dump", "--pid", str(endpoint.process.pid)]
    spied = subprocess.run(look, capture_output=True, text=True, check=False)
    if spied.returncode and "permi" in spied.stderr.casefold():  # "not permitted", too
        pytest.skip(f"py-spy may not look at processes here: {spied.stderr.strip()[:200]}")
    arms = ["--arms", "unused", "zoom", "--settings", "prefill"]
    there = ["--stock", endpoint.url, "--url", endpoint.url]
    assert main([*arms, *there, "--profile", "--out", str(tmp_path)]) == 0
    rows = (tmp_path / "profile-prefill.txt").read_text().splitlines()
    [rpn] = [row.split() for row in rows if row.startswith("worker: RPN (ours)")]
    unused, zoom = map(float, rpn[-2:])
    assert unused == 0 < zoom
