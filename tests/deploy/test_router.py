"""The router's configuration in a real nginx, before two small replicas that say who they are."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.endpoint import free_port
from loadtests.nginx import running_nginx
from tests.server.helpers import chat, encoded, noise, picture_part

pytestmark = pytest.mark.slow


@dataclass
class Replica:
    """A server that answers every POST with its name, unless told to refuse."""

    name: str
    status: int = 200
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def start(self) -> ThreadingHTTPServer:
        replica = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                replica.seen.append(json.loads(body))
                replica.headers.append(dict(self.headers))
                answer = replica.name.encode()
                self.send_response(replica.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@dataclass(frozen=True)
class Router:
    url: str
    access_log: Path
    replicas: list[Replica]

    def ask(self, body: dict[str, Any], **headers: str) -> str:
        """The name of the replica that answered."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.url}/v1/chat/completions"
        answer = httpx.post(url, json=body, headers=names, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    replicas = [Replica("one"), Replica("two")]
    servers = [replica.start() for replica in replicas]
    addresses = [f"127.0.0.1:{server.server_address[1]}" for server in servers]
    with running_nginx(addresses, free_port(), tmp_path) as nginx:
        yield Router(nginx.url, nginx.access_log, replicas)
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_pictures_requests_go_to_one_replica_whatever_is_asked(router: Router) -> None:
    homes: list[str] = []
    for seed in range(24):
        page = picture_part(noise(90, 60, seed))
        answers = {router.ask(chat(page, f"{question}?")) for question in ("who", "what", "where")}
        assert len(answers) == 1
        homes += answers
    assert set(homes) == {"one", "two"}, "all pictures went to one replica"


def test_a_chat_that_goes_on_stays_where_it_began(router: Router) -> None:
    first, second = (picture_part(noise(90, 60, seed)) for seed in (1, 2))
    body = chat(first, "What is it?")
    home = router.ask(body)
    body["messages"] += [{"role": "assistant", "content": "A page."}, *chat(second)["messages"]]
    assert router.ask(body) == home


def test_pictures_that_begin_alike_are_told_apart(router: Router) -> None:
    """Scans begin with a white margin: tens of kilobytes of JPEG that are the same."""
    homes: set[str] = set()
    for seed in range(24):
        page = noise(1200, 1200, seed)
        page.paste("white", (0, 0, 1200, 300))
        data = base64.b64encode(encoded(page, "JPEG")).decode()
        part = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
        homes.add(router.ask(chat(part, "?")))
    assert homes == {"one", "two"}


def test_a_link_counts_as_its_picture(router: Router) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://pictures.example.com/1.png"}}
    assert len({router.ask(chat(part, f"{n}?")) for n in range(8)}) == 1


def test_the_clients_own_key_wins(router: Router) -> None:
    pages = [picture_part(noise(90, 60, seed)) for seed in range(8)]
    assert len({router.ask(chat(page, "?"), X_Sdrpn_Affinity="me") for page in pages}) == 1


def test_chats_without_a_picture_are_spread(router: Router) -> None:
    assert {router.ask(chat("hello")) for _ in range(24)} == {"one", "two"}


@pytest.mark.parametrize("status", [429, 503])
def test_a_full_or_draining_replica_is_passed_over(router: Router, status: int) -> None:
    router.replicas[0].status = status
    bodies = [chat(picture_part(noise(90, 60, seed)), "?") for seed in range(12)]
    assert {router.ask(body) for body in bodies} == {"two"}
    assert router.replicas[0].seen, "nothing was at home at the refusing replica: no test"
    router.replicas[0].status = 200
    assert {router.ask(body) for body in bodies} == {"one", "two"}, "it was held against it"


def test_a_picture_of_many_megabytes_arrives_whole(router: Router) -> None:
    page = picture_part(noise(2600, 2600))
    body = chat(page, "?")
    home = router.ask(body)
    assert [r.seen for r in router.replicas if r.name == home] == [[body]]
    assert {router.ask(chat(page, f"{n}?")) for n in range(3)} == {home}


def test_the_request_id_goes_through_and_the_log_holds_no_bodies(router: Router) -> None:
    router.ask(chat(picture_part(noise(9, 9)), "a secret?"), X_Request_Id="abc-1")
    headers = next(replica.headers[0] for replica in router.replicas if replica.headers)
    assert headers["X-Request-Id"] == "abc-1"
    text = router.access_log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["request_id"] for line in lines] == ["abc-1"]
    assert "secret" not in text
    assert "base64" not in text
