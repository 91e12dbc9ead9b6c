"""Distillation needs torch and transformers, not vLLM."""

from __future__ import annotations

import subprocess
import sys

_BLOCKED = """
import sys
sys.modules["vllm"] = None  # importing it now fails, as where it is not installed
import rpn_plugin.distill.run
from server.cli.main import main
main(["distill", "train", "--help"])
"""


def test_the_command_and_all_it_needs_import_without_vllm() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "--cache-states" in done.stdout
