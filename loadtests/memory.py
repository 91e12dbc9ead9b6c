"""Does memory grow with requests? `python -m loadtests.memory PID --url ...`

Sends pictures that are all different to a server on this machine, and prints what its processes
hold together (proportional set size, so that shared pages count once) as the number of requests
grows. Caches fill at first: vLLM's of processed pictures, its prefix cache; then the line is flat.
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil

from loadtests.chats import about, chat, headers, served_model
from loadtests.pages import Pages

AT_ONCE = 4
ROWS = 10


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("pid", type=int, help="the process `sdrpn serve` became")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    server = psutil.Process(options.pid)
    print(f"{'requests':>10}{'MiB':>8}")
    print(f"{0:10}{_held(server):8.0f}", flush=True)
    pages = Pages()
    with httpx.Client(base_url=options.url, timeout=600, headers=headers()) as client:
        model = served_model(client)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            each = options.requests // ROWS
            for row in range(ROWS):
                for _ in pool.map(lambda _: _ask(client, model, pages), range(each)):
                    pass
                print(f"{(row + 1) * each:10}{_held(server):8.0f}", flush=True)


def _held(server: psutil.Process) -> float:
    """MiB of the process and all below it."""
    everyone = [server, *server.children(recursive=True)]
    held: float = sum(one.memory_full_info().pss for one in everyone)
    return held / 2**20


def _ask(client: httpx.Client, model: str, pages: Pages) -> None:
    size = (random.randint(300, 1600), random.randint(300, 1600))
    page = pages.next(size, "JPEG")
    body = chat([about(page)], model, max_completion_tokens=2, roi={"threshold": 0.0})
    client.post("/v1/chat/completions", json=body).raise_for_status()


if __name__ == "__main__":
    main()
