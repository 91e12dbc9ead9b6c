"""The Dockerfile, read: linted, and held against what every target must have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rpn_plugin.compat import check_vllm_version

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_no_target_runs_as_root_or_without_a_health_check() -> None:
    text = DOCKERFILE.read_text()
    for target in ("cpu", "gpu"):
        stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM |\Z)", text, re.M | re.S)
        assert stage, target
        for line in ("USER 10001:0", "HEALTHCHECK", "VOLUME /cache", "LABEL", "STOPSIGNAL SIGTERM"):
            assert re.search(rf"^{line}", stage[1], re.M), f"{target} lacks {line}"
    assert text.rstrip().splitlines()[-1] == "USER 10001:0"


def test_the_gpu_image_is_of_the_vllm_this_is_made_for() -> None:
    tag = re.search(r"^ARG VLLM_VERSION=v(\S+)$", DOCKERFILE.read_text(), re.M)
    assert tag
    check_vllm_version(tag[1])
