"""A cluster of one machine for the router: `python -m tests.deploy.router_cluster FOLDER`.

It runs in network and mount namespaces of its own (`unshare`), where the chart's own files run
unchanged: nginx listens on port 8080, /etc/resolv.conf names a DNS server on port 53 that answers
as CoreDNS does for a headless Service, and replicas listen on port 8000 of addresses of their own.
Commands come as JSON lines on standard input; each is answered by one JSON line.
"""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from dnslib import QTYPE, RR, SRV, A, DNSRecord

HTTP_PORT = 8000
NGINX_USER = 101
"""Whom the image runs nginx as."""
ROUTER = "http://127.0.0.1:8080"


class Replicas:
    """Replicas by number, each at an address of its own, and what DNS says of them."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.status: dict[int, int] = {}
        self.received: list[tuple[int, dict[str, str]]] = []
        self.servers: dict[int, ThreadingHTTPServer] = {}
        self.ready: list[int] = []

    def start(self, number: int) -> None:
        """Starts a replica that answers every request with its number."""
        replicas = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                replicas.received.append((number, dict(self.headers)))
                status = replicas.status.get(number, 200)
                if status == 0:  # the process dies with the request
                    self.close_connection = True
                    return
                answer = json.dumps({"replica": number}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                if self.headers["Connection"] == "close":  # as uvicorn does
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer((address(number), HTTP_PORT), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers[number] = server

    def scale(self, numbers: list[int]) -> None:
        """Makes exactly these replicas run and be ready."""
        for number in numbers:
            if number not in self.servers:
                self.start(number)
        self.ready = list(numbers)

    def answer(self, request: DNSRecord) -> DNSRecord:
        """What CoreDNS answers: SRV records with weight 100/n, and A records."""
        reply = request.reply()
        name = str(request.q.qname).rstrip(".")
        if request.q.qtype == QTYPE.SRV and name == f"_http._tcp.{self.service}":
            weight = 100 // max(1, len(self.ready))
            for number in self.ready:
                target = f"{address(number).replace('.', '-')}.{self.service}."
                data = SRV(0, weight, HTTP_PORT, target)
                reply.add_answer(RR(name, QTYPE.SRV, rdata=data, ttl=1))
        if request.q.qtype == QTYPE.A:
            for number in self.ready:
                if name in (self.service, f"{address(number).replace('.', '-')}.{self.service}"):
                    reply.add_answer(RR(name, QTYPE.A, rdata=A(address(number)), ttl=1))
        return reply


def address(number: int) -> str:
    """Where a replica listens."""
    return f"127.0.1.{number}"


def serve_dns(replicas: Replicas) -> None:
    """Answers on port 53 of this network namespace."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, socket = self.request
            socket.sendto(replicas.answer(DNSRecord.parse(data)).pack(), self.client_address)

    server = socketserver.ThreadingUDPServer(("127.0.0.1", 53), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def collect_syslog(lines: list[str]) -> None:
    """Keeps what nginx sends to its metrics exporter."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            lines.append(self.request[0].decode())

    server = socketserver.ThreadingUDPServer(("127.0.0.1", 5514), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def wait_for_router(process: subprocess.Popen[bytes]) -> None:
    """Until the router's health check passes."""
    for _ in range(200):
        try:
            if httpx.get(f"{ROUTER}/router/health", timeout=1).is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            raise RuntimeError("nginx has ended")
        time.sleep(0.05)
    raise RuntimeError("nginx does not answer")


def post(client: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    """Sends one request to the router; what came back."""
    headers = {"Authorization": "Bearer key", **request.get("headers", {})}
    headers = {name: value for name, value in headers.items() if value is not None}
    sized = "size" in request
    content = b"x" * request["size"] if sized else json.dumps(request["body"]).encode()
    answer = client.post(
        ROUTER + request.get("path", "/v1/chat/completions"),
        content=content,
        headers={"Content-Type": "application/json", **headers},
    )
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
    return {"status": answer.status_code, "headers": dict(answer.headers), "body": body}


def main(folder: Path) -> None:
    """Runs the cluster until standard input ends."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    resolv = folder / "resolv.conf"
    resolv.write_text("search example.com\nnameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", str(resolv), "/etc/resolv.conf"], check=True)
    replicas = Replicas((folder / "service").read_text())
    serve_dns(replicas)
    measured: list[str] = []
    collect_syslog(measured)
    work = folder / "work"
    work.mkdir()
    os.chown(work, NGINX_USER, NGINX_USER)
    for part in (folder, *folder.parents[:3]):
        part.chmod(0o755)
    process: subprocess.Popen[bytes] | None = None
    log = (folder / "nginx.log").open("ab")
    os.fchown(log.fileno(), NGINX_USER, NGINX_USER)
    with httpx.Client(timeout=60) as client:
        for line in sys.stdin:
            command = json.loads(line)
            result: Any = None
            if "scale" in command:
                replicas.scale(command["scale"])
                if process is None:
                    start = ["sh", str(folder / "router" / "start.sh")]
                    process = subprocess.Popen(
                        start, cwd=work, stdout=log, stderr=log, user=NGINX_USER, group=NGINX_USER
                    )
                    wait_for_router(process)
                wait_for_dns(client, len(command["scale"]))
            elif "status" in command:
                replicas.status = {int(n): s for n, s in command["status"].items()}
            elif "posts" in command:
                replicas.received.clear()
                measured.clear()
                result = [post(client, request) for request in command["posts"]]
            elif "received" in command:
                result = replicas.received
            elif "measured" in command:
                result = measured
            print(json.dumps(result), flush=True)
    if process is not None:
        process.terminate()
        process.wait()


def wait_for_dns(client: httpx.Client, count: int) -> None:
    """Until the router spreads random requests over `count` replicas (it asks DNS every 3 s)."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answers = [post(client, {"body": {"n": n}})["body"] for n in range(16 * max(count, 1))]
        seen = {answer.get("replica") for answer in answers if isinstance(answer, dict)}
        if len(seen) == count or (count == 0 and seen == {None}):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the router does not see {count} replicas")


if __name__ == "__main__":
    os.environ["PATH"] = f"{sys.argv[2]}:{os.environ['PATH']}"
    main(Path(sys.argv[1]))
