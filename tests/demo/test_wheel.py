"""What a wheel installs: the product's two packages, and the shipped model as data files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from demo.architecture import MODEL_DIR
from demo.recipe import file_digests

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "rpn_plugin", "server", "demo/model")
"""What the Dockerfile copies to build a wheel."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, copy = REPOSITORY / name, folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    _pip("wheel", "--no-build-isolation", "--wheel-dir", folder, folder / "source")
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installation(wheel: Path) -> Path:
    """A folder with the wheel installed, without what it requires."""
    folder = wheel.parent / "installed"
    _pip("install", "--target", folder, wheel)
    return folder


def _pip(command: str, *arguments: str | Path) -> None:
    pip = [sys.executable, "-m", "pip", command, "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*pip, *map(str, arguments)], check=True, timeout=300)


def test_a_wheel_has_two_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        paths = [PurePosixPath(name) for name in archive.namelist()]
    top = {path.parts[0] for path in paths if not path.parts[0].startswith("sdrpn-")}
    assert top == {"server", "rpn_plugin"}


def test_a_wheel_has_the_model_as_it_ships(installation: Path) -> None:
    assert file_digests(installation / "share/sdrpn/model") == file_digests(MODEL_DIR)


def test_an_installation_finds_its_model(installation: Path, tmp_path: Path) -> None:
    code = "from server.shipped_model import SHIPPED_MODEL as model; print(model)"
    assert _python(installation, tmp_path, "-c", code).strip() == str(
        installation / "share/sdrpn/model"
    )


def test_an_installation_can_serve_its_model(installation: Path, tmp_path: Path) -> None:
    printed = _python(installation, tmp_path, "-m", "server.cli", "serve", "--print")
    assert str(installation / "share/sdrpn/model") in printed


def _python(installation: Path, cwd: Path, *arguments: str) -> str:
    """What Python prints, run far from the repository with the installation alone."""
    environment = {**os.environ, "PYTHONPATH": str(installation)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, check=True, timeout=300,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
