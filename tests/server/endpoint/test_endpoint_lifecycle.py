"""A server with keys and limits, and the shutdown of servers: real processes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from demo.endpoint import free_port
from server.lifecycle import EXIT_ENGINE_DIED
from tests.conftest import Endpoint, serving
from tests.server.helpers import MODEL, chat, noise, picture_part

pytestmark = pytest.mark.endpoint

QUESTION = "What is the code on the red tag?"
KEY = "a-key-of-the-test"
ONE_VIEW_GIB = 0.0004
"""Holds one processed view of 64 visual tokens (64 x 4 patches x 1176 bytes), not two."""
WITH_KEY = {"Authorization": f"Bearer {KEY}"}


def long_chat(seed: int, **fields: Any) -> dict[str, Any]:
    """A chat that takes some seconds on any machine."""
    picture = picture_part(noise(224, 224, seed))
    return chat(picture, QUESTION, max_tokens=3500, ignore_eos=True, **fields)


def post(endpoint: Endpoint, body: dict[str, Any], **headers: str) -> httpx.Response:
    url = f"{endpoint.url}/v1/chat/completions"
    return httpx.post(url, json=body, headers={**WITH_KEY, **headers}, timeout=120)


def wait_for(condition: Any, what: str, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def ready(endpoint: Endpoint) -> bool:
    try:
        return httpx.get(f"{endpoint.url}/health/ready", timeout=15).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def metrics_url() -> str:
    return f"http://127.0.0.1:{free_port()}/metrics"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    noise(100, 80).save(folder / "a.png")
    return folder


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, metrics_url: str, folder: Path
) -> Iterator[Endpoint]:
    log = tmp_path_factory.mktemp("guarded") / "server.log"
    port = metrics_url.split(":")[2].split("/")[0]
    flags = ["--max-inflight", "2", "--metrics-port", port, "--roi-default", "off"]
    flags += ["--media-any-public", "--media-folder", str(folder)]
    flags += ["--limit-mm-per-prompt.image=1", "--root-path=/api"]
    flags += ["--logprobs-mode", "raw_logits", "--mm-processor-cache-gb", str(ONE_VIEW_GIB)]
    with serving(log, *flags, "--drain-timeout", "60", SDRPN_API_KEY=f"other,{KEY}") as endpoint:
        yield endpoint


def inflight(metrics_url: str) -> float:
    text = httpx.get(metrics_url, timeout=30).text
    line = next(line for line in text.splitlines() if line.startswith("sdrpn_requests_inflight "))
    return float(line.split()[1])


def test_the_official_client_needs_a_key(guarded: Endpoint) -> None:
    def ask(key: str) -> Any:
        client = openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=key, max_retries=0)
        return client.models.list()

    assert [model.id for model in ask(KEY).data] == [MODEL]
    with pytest.raises(openai.AuthenticationError):
        ask("wrong")


def test_only_probes_and_the_playground_need_no_key(guarded: Endpoint) -> None:
    paths = ["/health", "/metrics", "/docs", "/openapi.json", "/v1/models", "/version", "/load"]
    assert {httpx.get(guarded.url + path).status_code for path in paths} == {401}
    for path in ("/health/live", "/health/ready", "/"):
        assert httpx.get(guarded.url + path).status_code == 200


def test_metrics_have_their_own_listener_and_no_other(guarded: Endpoint, metrics_url: str) -> None:
    text = httpx.get(metrics_url, timeout=30).text
    assert "sdrpn_requests_total" in text
    assert "vllm:" in text
    assert httpx.get(f"{guarded.url}/metrics", headers=WITH_KEY).status_code == 404


@pytest.mark.parametrize("path", ["/scale_elastic_ep", "/inference/v1/generate", "/sleep"])
def test_control_routes_are_unreachable_even_with_a_key(guarded: Endpoint, path: str) -> None:
    assert httpx.post(guarded.url + path, json={}, headers=WITH_KEY).status_code == 404


def test_a_chat_without_roi_takes_the_servers_default(guarded: Endpoint) -> None:
    body = chat(picture_part(noise(100, 80)), QUESTION)
    assert post(guarded, body).json()["roi"]["skipped"] == "off"
    assert post(guarded, {**body, "roi": True}).json()["roi"]["skipped"] != "off"


def test_a_limit_on_images_counts_those_of_the_caller(guarded: Endpoint) -> None:
    pictures = [picture_part(noise(300, 200, seed)) for seed in (1, 2)]
    roi = {"threshold": 0.0, "max_regions": 2}
    answer = post(guarded, chat(pictures[0], QUESTION, roi=roi))
    assert answer.status_code == 200, answer.text
    assert answer.json()["roi"]["regions"], "the crop is not the caller's"
    refused = post(guarded, chat(*pictures, QUESTION))
    assert refused.status_code == 400
    assert "at most 1" in refused.json()["error"]["message"]


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_a_proxy_may_leave_its_prefix_or_remove_it(guarded: Endpoint, prefix: str) -> None:
    url = f"{guarded.url}{prefix}"
    assert httpx.get(f"{url}/v1/models").status_code == 401
    assert httpx.get(f"{url}/v1/models", headers=WITH_KEY).status_code == 200
    assert httpx.get(f"{url}/playground/main.js").status_code == 200
    body = chat(picture_part(noise(100, 80)), QUESTION)
    route = f"{url}/v1/chat/completions"
    assert httpx.post(route, json=body, headers=WITH_KEY, timeout=120).json()["roi"]


def test_a_chat_may_be_compressed(guarded: Endpoint) -> None:
    body = gzip.compress(json.dumps(chat(picture_part(noise(100, 80)), QUESTION)).encode())
    headers = {**WITH_KEY, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    url = f"{guarded.url}/v1/chat/completions"
    answer = httpx.post(url, content=body, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    refused = httpx.post(url, content=body, headers={**headers, "Content-Encoding": "br"})
    assert refused.status_code == 415


def test_confidence_is_refused_where_vllm_returns_logits(guarded: Endpoint) -> None:
    body = chat(picture_part(noise(100, 80)), QUESTION)
    answer = post(guarded, {**body, "roi": {"gate": {"max_confidence": 0.5}}})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "roi.gate.max_confidence"
    assert post(guarded, {**body, "roi": {"gate": True}}).status_code == 200


def test_more_views_than_the_cache_of_processed_pictures_holds(guarded: Endpoint) -> None:
    """The second chat evicts its own crop while it is processed: an assertion of vLLM's fails."""
    roi = {"boxes": [[0, 0, 224, 224]], "base_tokens": 64, "crop_tokens": 64}
    body = chat(picture_part(noise(448, 448)), QUESTION, roi=roi)
    for _ in range(2):
        answer = post(guarded, body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["roi"]["skipped"] is None
    assert "sending the request again: Expected a cached item" in guarded.log.read_text()


def url_chat(url: str) -> dict[str, Any]:
    return chat({"type": "image_url", "image_url": {"url": url}}, QUESTION)


def test_a_picture_of_the_named_folder_is_read(guarded: Endpoint, folder: Path) -> None:
    answer = post(guarded, url_chat(f"file://{folder}/a.png"))
    assert answer.json()["roi"]["image_size"] == [100, 80]
    outside = post(guarded, url_chat("file:///etc/hostname"))
    assert outside.status_code == 400
    assert "no such picture" in outside.json()["error"]["message"]


def test_any_public_host_excludes_the_local_host(guarded: Endpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bait:
        port = bait.getsockname()[1]
        for host in (f"127.0.0.1:{port}", "127.0.0.1", "localhost", "[::1]", "2130706433"):
            answer = post(guarded, url_chat(f"http://{host}/a.png"))
            assert answer.status_code == 400, host
            assert answer.json()["error"]["param"] == "messages"
        bait.settimeout(0.5)
        with pytest.raises(TimeoutError):
            bait.accept()


class HalfSent:
    """A chat in flight for as long as we like: half of its body waits for `send_rest`."""

    def __init__(self, pool: ThreadPoolExecutor, endpoint: Endpoint, seed: int) -> None:
        body = json.dumps(chat(picture_part(noise(100, 80, seed)), QUESTION)).encode()
        self._halves = body[:100], body[100:]
        self._rest = threading.Event()
        headers = {**WITH_KEY, "Content-Type": "application/json"}
        url = f"{endpoint.url}/v1/chat/completions"
        self.answer = pool.submit(
            httpx.post, url, content=self._body(), headers=headers, timeout=120
        )

    def _body(self) -> Iterator[bytes]:
        yield self._halves[0]
        assert self._rest.wait(60)
        yield self._halves[1]

    def send_rest(self) -> httpx.Response:
        """The answer, once the whole chat is there."""
        self._rest.set()
        return self.answer.result()


def test_a_request_over_the_limit_is_a_429(guarded: Endpoint, metrics_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        held = [HalfSent(pool, guarded, seed) for seed in (1, 2)]
        wait_for(lambda: inflight(metrics_url) == 2, "two requests should be in flight")
        refused = post(guarded, chat(QUESTION))
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "RateLimitError"
        assert [one.send_rest().status_code for one in held] == [200, 200]
    wait_for(lambda: inflight(metrics_url) == 0, "nothing should be in flight")
    assert post(guarded, chat(QUESTION)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_callers_deadline_ends_the_request_and_the_engines_work(
    guarded: Endpoint, metrics_url: str, stream: bool
) -> None:
    body = long_chat(3, stream=stream)
    answer = post(guarded, body, **{"X-Request-Timeout": "0.5"})
    assert answer.status_code == (200 if stream else 503)
    assert "longer than 0.5 s" in answer.text
    wait_for(lambda: inflight(metrics_url) == 0, "the request should be over")

    def in_engine() -> bool:
        text = httpx.get(metrics_url, timeout=30).text
        running = [li for li in text.splitlines() if li.startswith("vllm:num_requests_running{")]
        return all(float(line.rsplit(" ", 1)[1]) == 0 for line in running)

    wait_for(in_engine, "the engine should have dropped the request")


def test_sigterm_drains_requests_in_flight_and_refuses_new_ones(
    guarded: Endpoint, metrics_url: str
) -> None:
    """The last test of this server. Both passes of the request run after the signal."""
    with ThreadPoolExecutor(1) as pool:
        held = HalfSent(pool, guarded, 5)
        wait_for(lambda: inflight(metrics_url) == 1, "the request should be in flight")
        guarded.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not ready(guarded), "the server should not be ready any more")
        refused = post(guarded, chat(QUESTION))
        assert refused.status_code == 503
        assert "shutting down" in refused.json()["error"]["message"]
        assert "retry-after" in refused.headers
        assert httpx.get(f"{guarded.url}/health/live").status_code == 200
        answer = held.send_rest()
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["finish_reason"]
    assert guarded.process.wait(60) == 0


def engine_process(endpoint: Endpoint) -> int:
    """The engine core's process id: the child that vLLM names so."""
    group = subprocess.run(
        ["ps", "-o", "pid=,args=", "-g", str(endpoint.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    processes = [line.split()[0] for line in group.splitlines() if "EngineCore" in line]
    assert processes, group
    return int(processes[0])


def test_a_killed_engine_is_a_503_to_every_client_and_ends_the_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    log = tmp_path_factory.mktemp("killed") / "server.log"
    with serving(log) as endpoint, ThreadPoolExecutor(2) as pool:
        events: list[str] = []
        streaming = threading.Event()

        def stream() -> None:
            url = f"{endpoint.url}/v1/chat/completions"
            body = long_chat(8, stream=True)
            with httpx.stream("POST", url, json=body, timeout=120) as answer:
                for line in answer.iter_lines():
                    events.append(line)
                    streaming.set()

        streamed = pool.submit(stream)
        running = pool.submit(post, endpoint, long_chat(9))
        assert streaming.wait(60)
        os.kill(engine_process(endpoint), signal.SIGKILL)
        killed = time.monotonic()
        while ready(endpoint):
            assert time.monotonic() - killed < 30
        answer = running.result()
        assert answer.status_code == 503
        assert "engine has died" in answer.json()["error"]["message"]
        streamed.result()
        assert any('"error"' in event for event in events)
        assert endpoint.process.wait(60) == EXIT_ENGINE_DIED
