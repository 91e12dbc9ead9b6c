"""Names on the Hub, and a download from a mirror: a small server that speaks the Hub's protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rpn_plugin.network.checkpoint import CheckpointError
from server.model_files.hub_names import hub_name
from server.model_files.rpn_folder import rpn_folder
from server.shipped_model import SHIPPED_MODEL

FILES = {
    name: (SHIPPED_MODEL / "rpn" / name).read_bytes()
    for name in ("rpn_config.json", "rpn.safetensors")
}
COMMIT = "0" * 40


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("you/rpn-7b", "you/rpn-7b"),
        ("hf://you/rpn-7b", "you/rpn-7b"),
        ("/models/rpn", None),
        ("rpn", None),
        ("a/b/c", None),
        ("../rpn", None),
    ],
)
def test_a_name_on_the_hub_has_an_owner(text: str, name: str | None) -> None:
    assert hub_name(text) == name


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """The address of a mirror with one repository, `you/rpn`."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            name = path.rpartition("/")[2]
            if path.startswith("/api/models/you/rpn"):
                siblings = [{"rfilename": name} for name in FILES]
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in FILES.items()
                ]
                found = (
                    tree
                    if "/tree/" in path
                    else {"sha": COMMIT, "siblings": siblings, "id": "you/rpn"}
                )
                self.send(json.dumps(found).encode(), body, "application/json")
            elif name in FILES and "/you/rpn/resolve/" in path:
                self.send(FILES[name], body, "application/octet-stream")
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send(self, data: bytes, body: bool, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def run(arguments: list[str], hub: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_download_brings_a_repository_into_its_folder(hub: str, tmp_path: Path) -> None:
    arguments = ["-m", "server.cli", "download", "hf://you/rpn", "/left/alone", "--to"]
    done = run([*arguments, str(tmp_path / "models")], hub, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    for name, data in FILES.items():
        assert (tmp_path / "models" / "you" / "rpn" / name).read_bytes() == data
    again = run([*arguments, str(tmp_path / "models")], hub, tmp_path / "home")
    assert again.returncode == 0, again.stderr


def test_a_repository_that_is_not_there_is_one_line(hub: str, tmp_path: Path) -> None:
    arguments = ["-m", "server.cli", "download", "you/none", "--to", str(tmp_path)]
    done = run(arguments, hub, tmp_path / "home")
    assert done.returncode == 1
    assert done.stderr.startswith("sdrpn download: you/none: ")
    assert "Traceback" not in done.stderr


def test_an_rpn_may_be_named_by_its_repository(hub: str, tmp_path: Path) -> None:
    code = "from server.model_files.rpn_folder import rpn_folder; print(rpn_folder('m', 'you/rpn'))"
    done = run(["-c", code], hub, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert (folder / "rpn.safetensors").read_bytes() == FILES["rpn.safetensors"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no RPN folder at"):
        rpn_folder("model", str(tmp_path / "none"))
