"""Do large pictures stand in small ones' way? `python -m loadtests.fairness --url ...`

Small pictures are asked about one after another: first alone, then while a burst of the largest
pictures the server takes is waiting. Printed are the medians of both, and of the time the server
itself spent on the small pictures: that part has a lane of its own, the engine is shared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from loadtests.chats import about, chat, headers, served_model
from loadtests.pages import Page, Pages

SMALL = (640, 480)
LARGE = (7000, 7000)


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
    pages = Pages()
    small = [pages.next(SMALL, "JPEG") for _ in range(2 * options.small)]
    large = pages.next(LARGE, "JPEG")
    with httpx.Client(base_url=options.url, timeout=600, headers=headers()) as client:
        model = served_model(client)
        alone = [_ask(client, model, page) for page in small[: options.small]]
        with ThreadPoolExecutor(options.large) as pool:
            burst = [pool.submit(_ask, client, model, large) for _ in range(options.large)]
            time.sleep(1)
            beside = [
                _ask(client, model, page)
                for page in small[options.small :]
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


def _ask(client: httpx.Client, model: str, page: Page) -> Sample:
    body = chat([about(page)], model, max_completion_tokens=4)
    started = time.perf_counter()
    answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    total = 1000 * (time.perf_counter() - started)
    return Sample(total, answer["roi"]["timings"]["pictures"])


if __name__ == "__main__":
    main()
