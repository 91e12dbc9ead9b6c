"""The parts of the rolling restart that need no replica."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loadtests.rollout import Restart, draw, report
from loadtests.steady_clients import SentRequest, steady_clients

RESTART = Restart("one", terminated=1.0, stopped=2.0, ready=9.0, exit_status=0)
ANSWERED, FAILED = SentRequest(1.5, 0.2, None), SentRequest(3.0, 0.1, "502: bad gateway")


class _Chats(BaseHTTPRequestHandler):
    """Answers two chats; then it is not available."""

    answered = 0
    enough = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        _Chats.answered += 1
        available = _Chats.answered <= 2
        if not available:
            _Chats.enough.set()
        body = json.dumps({"choices": [{}]} if available else {"error": {}}).encode()
        self.send_response(200 if available else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing to standard error."""


@pytest.fixture
def url() -> Iterator[str]:
    """A server of `_Chats`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Chats)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_steady_clients_record_every_request(url: str) -> None:
    with steady_clients(url, "model", clients=1, size=(64, 64)) as traffic:
        assert _Chats.enough.wait(60)
    errors = [request.error for request in traffic.requests]
    assert errors[:2] == [None, None]
    assert all(error and error.startswith("503") for error in errors[2:])
    assert len(errors) >= 3
    sent = [request.at for request in traffic.requests]
    assert sent == sorted(sent)


@pytest.mark.parametrize(
    ("requests", "exit_status", "status"),
    [([ANSWERED], 0, 0), ([ANSWERED, FAILED], 0, 1), ([ANSWERED], 137, 1), ([], 0, 1)],
)
def test_a_failed_request_or_replica_fails_the_rollout(
    requests: list[SentRequest],
    exit_status: int,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    restart = Restart("one", 1.0, 2.0, 9.0, exit_status)
    assert report(requests, [restart]) == status
    output = capsys.readouterr().out
    assert f"with status {exit_status}, ready again 7.0 s later" in output
    assert f"{len(requests)} requests" in output


def test_the_restarts_are_drawn(tmp_path: Path) -> None:
    draw([ANSWERED, FAILED], [RESTART], tmp_path / "rollout.png")
    assert (tmp_path / "rollout.png").read_bytes().startswith(b"\x89PNG")
