"""The server's own metrics under load: /metrics, sampled in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from loadtests.chats import headers

WATCHED = {
    "in flight": "sdrpn_requests_inflight",
    "queued": "sdrpn_requests_queued",
    "running in vLLM": "vllm:num_requests_running",
    "memory": "process_resident_memory_bytes",
}


@dataclass
class Watch:
    """The metrics at `url`; `samples` are (seconds since the start, value), by WATCHED's names."""

    url: str
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def left_behind(self, within: float) -> dict[str, float]:
        """Counts of requests that are still in flight, queued or running after `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            now = self.read()
            busy = {name: value for name, value in now.items() if value and name != "memory"}
            if not busy or time.monotonic() > deadline:
                return busy
            time.sleep(0.5)

    def read(self) -> dict[str, float]:
        """The values now, summed over labels. Raises httpx.HTTPError."""
        answer = httpx.get(self.url, headers=headers(), timeout=30.0).raise_for_status()
        sums = dict.fromkeys(WATCHED.values(), 0.0)
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name in sums:
                    sums[sample.name] += sample.value
        return {name: sums[metric] for name, metric in WATCHED.items()}


@contextmanager
def watching(url: str, interval: float = 2.0) -> Iterator[Watch]:
    """Samples the metrics every `interval` seconds, for the block.

    A server that does not answer for a moment leaves a gap.
    """
    watch, stop, started = Watch(url), threading.Event(), time.monotonic()

    def sample() -> None:
        while not stop.wait(interval):
            try:
                now = watch.read()
            except httpx.HTTPError:
                continue
            for name, value in now.items():
                at = time.monotonic() - started
                watch.samples.setdefault(name, []).append((at, value))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()
