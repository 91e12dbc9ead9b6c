"""Do large pictures stand in small ones' way? `python -m loadtests.fairness --url ...`

Small pictures are asked about one after another: first alone, then while a burst of the largest
pictures the server takes is waiting. Printed are the medians of both, and of the time the server
itself spent on the small pictures: that part has a lane of its own, the engine is shared.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import numpy as np
from PIL import Image

SMALL = (640, 480)
LARGE = (7000, 7000)
QUESTION = "What is the code on the red tag?"


@dataclass(frozen=True)
class Sample:
    """One answered request: milliseconds in all, and on its pictures."""

    total: float
    pictures: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--small", type=int, default=20, help="small pictures in each part")
    parser.add_argument("--large", type=int, default=24, help="large pictures in the burst")
    options = parser.parse_args()
    with httpx.Client(base_url=options.url, timeout=600, headers=_key()) as client:
        model = client.get("/v1/models").raise_for_status().json()["data"][0]["id"]
        large = _picture(LARGE, seed=0)
        alone = [_ask(client, model, _picture(SMALL, seed)) for seed in range(options.small)]
        with ThreadPoolExecutor(options.large) as pool:
            burst = [pool.submit(_ask, client, model, large) for _ in range(options.large)]
            time.sleep(1)
            beside = [
                _ask(client, model, _picture(SMALL, options.small + seed))
                for seed in range(options.small)
                if not all(future.done() for future in burst)
            ]
            large_samples = [future.result() for future in burst]
    print(f"{'':34}{'requests':>10}{'total ms':>10}{'pictures ms':>13}")
    for name, samples in [
        (f"small {SMALL[0]}x{SMALL[1]}, alone", alone),
        (f"small, beside {options.large} large ones", beside),
        (f"large {LARGE[0]}x{LARGE[1]}", large_samples),
    ]:
        total = statistics.median(sample.total for sample in samples)
        pictures = statistics.median(sample.pictures for sample in samples)
        print(f"{name:34}{len(samples):10}{total:10.0f}{pictures:13.0f}")


def _key() -> dict[str, str]:
    key = os.environ.get("SDRPN_API_KEY", "").split(",")[0]
    return {"Authorization": f"Bearer {key}"} if key else {}


def _picture(size: tuple[int, int], seed: int) -> str:
    """A data: URL of a JPEG no other seed has."""
    small = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.NEAREST).save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _ask(client: httpx.Client, model: str, picture: str) -> Sample:
    content = [
        {"type": "image_url", "image_url": {"url": picture}},
        {"type": "text", "text": QUESTION},
    ]
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 4,
        "temperature": 0,
    }
    started = time.perf_counter()
    answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    total = 1000 * (time.perf_counter() - started)
    return Sample(total, answer["roi"]["timings"]["pictures"])


if __name__ == "__main__":
    main()
