"""The latency of small pictures beside large ones: `python -m loadtests.fairness --url ...`

Chats about small pictures are sent one after another: first alone, then beside a burst of the
largest pictures that the server accepts. It prints the medians of the end-to-end latency and of
the server's time for the pictures, which small and large ones spend in separate queues; they share
the engine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from loadtests.chats import about, chat, headers, served_model
from loadtests.pages import Page, Pages

SMALL = (640, 480)
LARGE = (7000, 7000)


@dataclass(frozen=True)
class Sample:
    """One answered request, in milliseconds: its latency, and its pictures' part of it."""

    latency: float
    pictures: float


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser("python -m loadtests.fairness", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--small", type=int, default=20, help="small pictures in each part")
    parser.add_argument("--large", type=int, default=24, help="large pictures in the burst")
    options = parser.parse_args(argv)
    pages = Pages()
    small = [pages.next(SMALL, "JPEG") for _ in range(2 * options.small)]
    large = pages.next(LARGE, "JPEG")
    with httpx.Client(base_url=options.url, timeout=600, headers=headers()) as client:
        model = served_model(client)
        alone = [_ask(client, model, page) for page in small[: options.small]]
        with ThreadPoolExecutor(options.large) as pool:
            burst = [pool.submit(_ask, client, model, large) for _ in range(options.large)]
            beside = [
                _ask(client, model, page)
                for page in small[options.small :]
                if not all(future.done() for future in burst)
            ]
            large_samples = [future.result() for future in burst]
    print(f"{'':34}{'requests':>10}{'E2E latency ms':>16}{'pictures ms':>13}")
    for name, samples in [
        (f"small {SMALL[0]}x{SMALL[1]}, alone", alone),
        (f"small, beside {options.large} large ones", beside),
        (f"large {LARGE[0]}x{LARGE[1]}", large_samples),
    ]:
        latency = statistics.median(sample.latency for sample in samples)
        pictures = statistics.median(sample.pictures for sample in samples)
        print(f"{name:34}{len(samples):10}{latency:16.0f}{pictures:13.0f}")


def _ask(client: httpx.Client, model: str, page: Page) -> Sample:
    body = chat([about(page)], model, max_completion_tokens=4)
    started = time.perf_counter()
    answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    latency = 1000 * (time.perf_counter() - started)
    return Sample(latency, answer["roi"]["timings"]["pictures"])


if __name__ == "__main__":
    main()
