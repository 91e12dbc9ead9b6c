"""What the server says of itself while it is under load: /metrics, sampled in the background."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

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
    """Samples the metrics at `url` every `interval` seconds; a context manager.

    `samples` holds (seconds since the start, value) by WATCHED's names; a server that does not
    answer for a moment leaves a gap.
    """

    url: str
    interval: float = 2.0
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def __enter__(self) -> Watch:
        self._stop = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def left_behind(self, within: float) -> dict[str, float]:
        """Of requests in flight, queued or running, what has not gone `within` seconds."""
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

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            try:
                now = self.read()
            except httpx.HTTPError:
                continue
            for name, value in now.items():
                at = time.monotonic() - self._started
                self.samples.setdefault(name, []).append((at, value))
