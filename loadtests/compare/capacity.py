"""The size of a server's KV cache, as vLLM logs it at its start: a tap takes a part of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
_MEMORY = re.compile(r"Available KV cache memory: ([\d.]+) GiB")
_CPU_MEMORY = re.compile(r"Explicitly set \(([\d.]+)/[\d.]+\) GiB for KV cache")


@dataclass(frozen=True)
class Capacity:
    """Tokens that fit into a server's cache, and the bytes of each."""

    tokens: int
    bytes_per_token: float


def capacity(log: Path) -> Capacity | None:
    """Read from the log of a started server; None if the log does not have it."""
    text = log.read_text(errors="replace")
    tokens = _TOKENS.search(text)
    memory = _MEMORY.search(text) or _CPU_MEMORY.search(text)
    if tokens is None or memory is None:
        return None
    count = int(tokens[1].replace(",", ""))
    return Capacity(count, float(memory[1]) * 2**30 / count)


def capacity_table(logs: Mapping[str, Path], request_tokens: int) -> str:
    """A line for each server; the largest batch is of requests of `request_tokens` in all."""
    lines = [f"{'':10}{'tokens cached':>15}{'bytes each':>12}{'largest batch':>15}"]
    for name, log in logs.items():
        if cache := capacity(log):
            batch = cache.tokens // request_tokens
            lines.append(f"{name:10}{cache.tokens:15,}{cache.bytes_per_token:12,.0f}{batch:15,}")
    return "\n".join(lines) + f" (of requests of {request_tokens} tokens)"
