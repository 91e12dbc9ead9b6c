"""The Dockerfile: linted, and its CPU target's own steps carried out and started.

Packages come from the environment of the tests, so that a run takes seconds and no network; with
SDRPN_TEST_DOWNLOAD=1 pip fetches every one of them, as a build would.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import START_WITHIN, _stop, free_port
from tests.deploy.containerless import Image, build, prefill

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"
LOCK = REPOSITORY / "requirements" / "cpu.lock"
QUESTION = "What is the code by the yellow circle?"


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
    from rpn_plugin.compat import check_vllm_version

    tag = re.search(r"^ARG VLLM_VERSION=v(\S+)$", DOCKERFILE.read_text(), re.M)
    assert tag
    check_vllm_version(tag[1])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The CPU image, as a directory."""
    root = tmp_path_factory.mktemp("image").resolve()
    if not os.environ.get("SDRPN_TEST_DOWNLOAD"):
        prefill(root / "opt/sdrpn", LOCK)
        (root / "build.txt").write_text(re.search(r"^setuptools==.*$", LOCK.read_text(), re.M)[0])  # type: ignore[index]
        prefill(root / "usr/local", root / "build.txt")
    arguments = {k: os.environ[k] for k in ("TORCH_CPU_INDEX",) if k in os.environ}
    return build(DOCKERFILE, ["wheel", "cpu-packages", "cpu"], root, arguments)


def test_what_only_tests_and_builds_need_is_left_out(image: Image) -> None:
    site = next((image.root / "opt/sdrpn/lib").glob("python*/site-packages"))
    present = {path.name for path in site.iterdir()}
    assert {"vllm", "torch", "server", "rpn_plugin", "demo"} <= present
    assert not present & {"pytest", "mypy", "locust", "hypothesis", "playwright", "pip"}
    assert not list((image.root / "opt/sdrpn/bin").glob("pip*"))


def test_the_image_starts_answers_and_stops(image: Image, tmp_path: Path) -> None:
    port = free_port()
    environment = {**image.environment, "TMPDIR": str(tmp_path)}
    before = _files(image)
    command = [part.replace("8000", str(port)) for part in image.entrypoint]
    check = [part.replace("8000", str(port)) for part in image.healthcheck]
    command[0] = shutil.which(command[0], path=environment["PATH"]) or command[0]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env=environment,
            cwd=image.working_directory,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        assert not _healthy(check, environment)
        deadline = time.monotonic() + START_WITHIN
        while not _healthy(check, environment):
            assert server.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(2)
        _ask(f"http://127.0.0.1:{port}")
        server.send_signal(signal.SIGTERM)
        server.wait(90)
    finally:
        _stop(server)
    assert _files(image) == before, "a read-only root would have broken this"


def _healthy(check: list[str], environment: dict[str, str]) -> bool:
    done = subprocess.run(check, env=environment, capture_output=True, check=False)
    return done.returncode == 0


def _ask(url: str) -> None:
    import base64

    page = base64.b64encode((REPOSITORY / "docs" / "page.png").read_bytes()).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{page}"}}
    body = {
        "model": "sdrpn-demo",
        "messages": [{"role": "user", "content": [picture, {"type": "text", "text": QUESTION}]}],
        "max_tokens": 4,
        "temperature": 0,
    }
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    assert answer.json()["roi"]["regions"]


def _files(image: Image) -> dict[Path, tuple[int, int]]:
    """Every file of the image but those on its volume, with its size and time of change."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in image.root.rglob("*")
        if not path.is_relative_to(image.root / "cache") and path.is_file()
    }
