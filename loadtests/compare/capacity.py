"""How much a server's cache holds, as vLLM logs it at its start: with a tap there is less room."""

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
    """Tokens that fit into a server's cache, and bytes for each of them."""

    tokens: int
    bytes_per_token: float


def capacity(log: Path) -> Capacity | None:
    """What the log of a started server says; None if it says nothing of it."""
    text = log.read_text(errors="replace")
    tokens = _TOKENS.search(text)
    memory = _MEMORY.search(text) or _CPU_MEMORY.search(text)
    if tokens is None or memory is None:
        return None
    count = int(tokens[1].replace(",", ""))
    return Capacity(count, float(memory[1]) * 2**30 / count)


def capacity_table(logs: Mapping[str, Path], request_tokens: int) -> str:
    """A line for each server; the largest batch is of requests of `request_tokens`, all told."""
    lines = [f"{'':10}{'tokens cached':>15}{'bytes each':>12}{'largest batch':>15}"]
    for name, log in logs.items():
        if found := capacity(log):
            batch = found.tokens // request_tokens
            lines.append(f"{name:10}{found.tokens:15,}{found.bytes_per_token:12,.0f}{batch:15,}")
    return "\n".join(lines) + f" (of requests of {request_tokens} tokens)"
