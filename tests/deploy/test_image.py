"""The Dockerfile's CPU target: its own steps carried out, its entry point started.

Packages come from the environment of the tests, so that a run takes seconds and no network; with
TEST_DOWNLOADS=1 pip fetches every one of them, as a build would.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.endpoint import START_WITHIN, free_port, stop
from tests.deploy.collector import Collector, collecting
from tests.deploy.containerless import Image, build, prefill

pytestmark = pytest.mark.endpoint

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "requirements" / "cpu.lock"
KEY = "a-secret-key"
QUESTION = "What is the code by the yellow circle?"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The CPU image, as a directory."""
    root = tmp_path_factory.mktemp("image").resolve()
    if not os.environ.get("TEST_DOWNLOADS"):
        prefill(root / "opt/sdrpn", LOCK)
        (root / "build.txt").write_text(re.search(r"^setuptools==.*$", LOCK.read_text(), re.M)[0])  # type: ignore[index]
        prefill(root / "usr/local", root / "build.txt")
    arguments = {k: os.environ[k] for k in ("TORCH_CPU_INDEX",) if k in os.environ}
    return build(REPOSITORY / "Dockerfile", ["wheel", "cpu-packages", "cpu"], root, arguments)


@pytest.fixture(scope="module")
def fresh_files(image: Image) -> dict[Path, tuple[int, int]]:
    """The image's files before it ever ran."""
    return _files(image)


def test_what_only_tests_and_builds_need_is_left_out(image: Image) -> None:
    site = next((image.root / "opt/sdrpn/lib").glob("python*/site-packages"))
    present = {path.name for path in site.iterdir()}
    assert {"vllm", "torch", "server", "rpn_plugin"} <= present
    assert not present & {"demo", "pytest", "mypy", "locust", "hypothesis", "playwright", "pip"}
    assert not list((image.root / "opt/sdrpn/bin").glob("pip*"))


@dataclass
class Container:
    """The image as it runs; `log` is all it has written."""

    url: str
    process: subprocess.Popen[bytes]
    health_check: list[str]
    environment: dict[str, str]
    log: Path
    collector: Collector

    def is_healthy(self) -> bool:
        """What the container engine would think."""
        check = subprocess.run(
            self.health_check, env=self.environment, capture_output=True, check=False
        )
        return check.returncode == 0

    def ask(self, **headers: str) -> httpx.Response:
        """One chat about a page."""
        page = base64.b64encode((REPOSITORY / "docs" / "page.png").read_bytes()).decode()
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{page}"}}
        content = [picture, {"type": "text", "text": QUESTION}]
        body = {"model": "sdrpn-demo", "messages": [{"role": "user", "content": content}]}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(
            f"{self.url}/v1/chat/completions",
            json={**body, "max_tokens": 4, "temperature": 0},
            headers={"Authorization": f"Bearer {KEY}", **named},
            timeout=120,
        )

    def lines_of(self, request_id: str) -> list[dict[str, Any]]:
        """What the JSON log says of one request."""
        whole = self.log.read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("request_id") == request_id]


@pytest.fixture(scope="module")
def container(
    image: Image, fresh_files: dict[Path, tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """The image, started by its entry point and healthy; with a key, JSON logs and traces."""
    port, scratch = str(free_port()), tmp_path_factory.mktemp("container")
    with collecting() as collector:
        environment = {
            **image.environment,
            "TMPDIR": str(scratch),
            "SDRPN_API_KEY": KEY,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        command = [part.replace("8000", port) for part in image.entrypoint]
        command[0] = shutil.which(command[0], path=environment["PATH"]) or command[0]
        command += ["--logging-config.formatter", "json", "--otlp-traces-endpoint", collector.url]
        check = [part.replace("8000", port) for part in image.healthcheck]
        log = scratch / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=image.working_directory,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        url = f"http://127.0.0.1:{port}"
        running = Container(url, process, check, environment, log, collector)
        try:
            assert not running.is_healthy()
            deadline = time.monotonic() + START_WITHIN
            while not running.is_healthy():
                assert process.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < deadline, log.read_text()[-4000:]
                time.sleep(2)
            yield running
        finally:
            stop(process)


def test_the_image_answers(container: Container) -> None:
    answer = container.ask()
    assert answer.status_code == 200, answer.text
    assert answer.json()["roi"]["regions"]


def test_logs_are_json_with_the_requests_id_and_no_content(container: Container) -> None:
    assert container.ask(X_Request_Id="a-request").headers["x-request-id"] == "a-request"
    deadline = time.monotonic() + 30
    while not (found := container.lines_of("a-request")):  # written once the answer is sent
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (line,) = found
    text = container.log.read_text()
    assert (line["path"], line["status"]) == ("/v1/chat/completions", 200)
    assert line["regions"] >= 1
    page = base64.b64encode((REPOSITORY / "docs" / "page.png").read_bytes()).decode()
    for content in (KEY, QUESTION, page[:40], page[1000:1040]):
        assert content not in text


def test_a_request_is_one_tree_of_spans_with_vllms_of_both_passes(container: Container) -> None:
    caller, trace_id = "b" * 16, "a" * 32
    container.ask(traceparent=f"00-{trace_id}-{caller}-01")
    spans = container.collector.trace(trace_id, 7, within=60)
    (root,) = [span for span in spans if span.name == "/v1/chat/completions"]
    assert root.parent_span_id.hex() == caller
    below = [span.name for span in spans if span.parent_span_id == root.span_id]
    ours = ["crop", "pass1", "pass2", "pictures"]
    assert sorted(below) == sorted([*ours, "llm_request", "llm_request"])


def test_the_image_ends_well_and_has_changed_nothing_but_its_volume(
    image: Image, container: Container, fresh_files: dict[Path, tuple[int, int]]
) -> None:
    container.process.send_signal(signal.SIGTERM)
    assert container.process.wait(120) == 0
    assert _files(image) == fresh_files, "a read-only root would have broken this"


def _files(image: Image) -> dict[Path, tuple[int, int]]:
    """Every file of the image but those on its volume, with its size and time of change."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in image.root.rglob("*")
        if not path.is_relative_to(image.root / "cache") and path.is_file()
    }
