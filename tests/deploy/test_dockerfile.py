"""The Dockerfile, read: linted, and held against what every target must have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rpn_plugin.compat import check_vllm_version
from tests.deploy.dockerfile import DOCKERFILE, instructions


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_cpu_and_the_gpu_target_run_alike() -> None:
    cpu, gpu = instructions("cpu"), instructions("gpu")
    for kind in ("VOLUME", "USER", "WORKDIR", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"):
        assert cpu[kind] == gpu[kind], kind
        assert len(gpu[kind]) == 1, kind
    assert gpu["USER"] == ["10001:0"]
    assert cpu["LABEL"] == [label.replace("(GPU)", "(CPU)") for label in gpu["LABEL"]]
    assert instructions("ray")["USER"][-1] == "10001:0"


def test_the_gpu_image_is_of_the_vllm_this_is_made_for() -> None:
    tag = re.search(r"^ARG VLLM_VERSION=v(\S+)$", DOCKERFILE.read_text(), re.M)
    assert tag
    check_vllm_version(tag[1])
