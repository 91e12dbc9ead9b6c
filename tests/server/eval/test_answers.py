"""Whatever an endpoint answers, an evaluation goes on with the next question."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from server.cli.main import main
from tests.server.eval.files import picture

GOOD = {
    "choices": [{"message": {"content": "42"}}],
    "usage": {"prompt_tokens": 7},
    "roi": {"regions": []},
}
BROKEN: dict[str, bytes] = {
    "not JSON": b"<html>busy</html>",
    "empty": b"",
    "not UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "null": b"null",
    "no choices": json.dumps({**GOOD, "choices": []}).encode(),
    "choices null": json.dumps({**GOOD, "choices": None}).encode(),
    "no message": json.dumps({**GOOD, "choices": [{}]}).encode(),
    "content a number": json.dumps({**GOOD, "choices": [{"message": {"content": 1}}]}).encode(),
    "no usage": json.dumps({**GOOD, "usage": None}).encode(),
    "vLLM without sdrpn": json.dumps({k: v for k, v in GOOD.items() if k != "roi"}).encode(),
}


class Handler(BaseHTTPRequestHandler):
    """Answers the first chat of a run with `first`, all others well; keeps the keys it is sent."""

    first: ClassVar[list[bytes]] = []
    keys: ClassVar[set[str | None]] = set()

    def do_GET(self) -> None:
        self._answer(json.dumps({"data": [{"id": "m"}]}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(self.first.pop() if self.first else json.dumps(GOOD).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def _answer(self, body: bytes) -> None:
        self.keys.add(self.headers["authorization"])
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def endpoint(*first: bytes) -> Iterator[str]:
    Handler.first, Handler.keys = list(first), set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    picture(tmp_path / "a.png")
    row = json.dumps({"image": "a.png", "question": "Why?", "answer": "42"})
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{row}\n" * 3 + "this line is broken\n")
    return path


def evaluate(url: str, rows: Path, *more: str) -> int:
    out = ("--out", str(rows.parent / "out"), "--conditions", "base", "--limit", "3")
    return main(["eval", str(rows), "--url", url, *out, *more])


def results(rows: Path) -> list[dict[str, Any]]:
    lines = (rows.parent / "out" / "results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_an_unreadable_answer_does_not_end_the_run(body: bytes, rows: Path) -> None:
    with endpoint(body) as url:
        assert evaluate(url, rows) == 1, "one question has no answer"
        errors = [row["error"] for row in results(rows)]
        assert sum(error is None for error in errors) == 2
        assert sum("not a chat completion" in (error or "") for error in errors) == 1
        assert evaluate(url, rows) == 0, "it is asked again"
        assert len(results(rows)) == 4


def test_a_limit_reads_no_further(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with endpoint() as url:
        assert evaluate(url, rows) == 0
        assert evaluate(url, rows, "--limit", "4") == 1
    assert "is no file of jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "flag", "key"),
    [
        ({"SDRPN_API_KEY": "a,b"}, (), "Bearer a"),
        ({"OPENAI_API_KEY": "o"}, (), "Bearer o"),
        ({"SDRPN_API_KEY": "a", "OPENAI_API_KEY": "o"}, (), "Bearer a"),
        ({"SDRPN_API_KEY": "", "OPENAI_API_KEY": "o"}, (), "Bearer o"),
        ({"SDRPN_API_KEY": "a"}, ("--api-key", "f"), "Bearer f"),
        ({}, (), None),
    ],
)
def test_the_key_comes_from_the_environment(
    variables: dict[str, str],
    flag: tuple[str, ...],
    key: str | None,
    rows: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SDRPN_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with endpoint() as url:
        assert evaluate(url, rows, *flag) == 0
        assert Handler.keys == {key}
