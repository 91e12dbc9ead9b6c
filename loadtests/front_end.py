"""Where the API process's time goes under large pictures: `python -m loadtests.front_end PID`.

Sends rounds of 32 pictures of 12 megapixels at once to a server on this machine while py-spy
samples its API process (PID: the one `sdrpn serve` became), and prints the share of samples by what
the innermost known frame was doing. A picture is decoded once; that line is the largest.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from loadtests.chats import about, chat, headers, served_model
from loadtests.pages import Page, Pages

SIZE = (4000, 3000)
AT_ONCE = 32
LEAST = 0.005
KINDS = {
    "decoding pictures (once each)": ("decode (server/pictures.py", "_rgb (server/pictures.py"),
    "scaling base views": ("base_view (server/viewing.py",),
    "cutting and scaling crops": ("crop_view (server/viewing.py",),
    "base64": ("read_data_url (server/media/sources.py",),
    "headers and hashing files": ("open_picture (server/pictures.py",),
    "reading and checking JSON": ("get_request_handler", "request_body_to_args", "json (starlette"),
    "vLLM's processor and renderer": ("vllm/renderers", "vllm/multimodal", "transformers/"),
    "talking to the engine": ("vllm/v1/",),
    "the event loop itself": ("Runner.run (asyncio",),
    "HTTP (uvicorn, our guards)": ("uvicorn/", "server/guard", "httptools"),
}
WAITING = ("_worker (concurrent/futures", "GarbageCollectorThread.run", "Condition.wait")
"""Innermost frames of threads that wait where py-spy cannot see that they do."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("pid", type=int)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder) / "stacks.txt"
        command = [
            *("py-spy", "record", "--pid", str(options.pid), "--format", "raw"),
            *("--rate", "200", "--duration", "unlimited", "--output", str(stacks)),
        ]
        sampling = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            answers = _send(options.url, options.rounds)
        finally:
            sampling.send_signal(signal.SIGINT)  # write what was sampled
            sampling.wait()
        shares = _shares(stacks.read_text().splitlines())
    print(f"{len(answers)} requests, {AT_ONCE} at once, {SIZE[0]}x{SIZE[1]} JPEG; all answered")
    for kind, share in shares.most_common():
        if share >= LEAST:
            print(f"{share:7.1%}  {kind}")


def _send(url: str, rounds: int) -> list[int]:
    pages = [Pages().next(SIZE, "JPEG") for _ in range(AT_ONCE)]
    with (
        httpx.Client(base_url=url, timeout=600, headers=headers()) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        model = served_model(client)

        def ask(page: Page) -> int:
            body = chat([about(page)], model, max_completion_tokens=4)
            return client.post("/v1/chat/completions", json=body).raise_for_status().status_code

        return [status for _ in range(rounds) for status in pool.map(ask, pages)]


def _shares(stacks: list[str]) -> Counter[str]:
    """The share of samples of each kind; py-spy samples threads that are running, not waiting."""
    counts: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if frames[-1].startswith(WAITING):
            continue
        counts[_kind(frames) or f"other: {frames[-1]}"] += int(count)
    total = sum(counts.values())
    return Counter({kind: count / total for kind, count in counts.items()})


def _kind(frames: list[str]) -> str | None:
    for frame in reversed(frames):
        for kind, marks in KINDS.items():
            if any(mark in frame for mark in marks):
                return kind
    return None


if __name__ == "__main__":
    main()
