"""Does memory grow with requests? `python -m loadtests.memory PID --url ...`

Sends pictures that are all different to a server on this machine, and prints what its processes
hold together (proportional set size, so that shared pages count once) as the number of requests
grows. Caches fill at first: vLLM's of processed pictures, its prefix cache; then the line is flat.
"""

from __future__ import annotations

import argparse
import base64
import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
from PIL import Image

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
    with httpx.Client(base_url=options.url, timeout=600) as client:
        model = client.get("/v1/models").raise_for_status().json()["data"][0]["id"]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            each = options.requests // ROWS
            for row in range(ROWS):
                seeds = range(row * each, (row + 1) * each)
                for _ in pool.map(lambda seed: _ask(client, model, seed), seeds):
                    pass
                print(f"{(row + 1) * each:10}{_held(server):8.0f}", flush=True)


def _held(server: psutil.Process) -> float:
    """MiB of the process and all below it."""
    everyone = [server, *server.children(recursive=True)]
    held: float = sum(one.memory_full_info().pss for one in everyone)
    return held / 2**20


def _ask(client: httpx.Client, model: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(300, 1600)), int(rng.integers(300, 1600)))
    pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(file, "JPEG")
    url = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "What is the code on the red tag?"},
    ]
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 2,
        "temperature": 0,
        "roi": {"threshold": 0.0},
    }
    client.post("/v1/chat/completions", json=body).raise_for_status()


if __name__ == "__main__":
    main()
