"""Sends streamed chats at a given concurrency, and notes when the parts of their answers came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=600)


@dataclass(frozen=True)
class PassTokens:
    """Prompt tokens of one pass, and how many of them the prefix cache held."""

    prompt: int
    cached: int

    @property
    def prefilled(self) -> int:
        """Tokens that were computed."""
        return self.prompt - self.cached


@dataclass(frozen=True)
class Answer:
    """One answered chat: its time to first token and end-to-end latency in seconds, and its text.

    `passes` are in order, the answer's own last. Where a baseline has several passes before it,
    these are counted together.
    """

    ttft: float
    e2e_latency: float
    text: str
    completion_tokens: int
    passes: tuple[PassTokens, ...]
    skipped: str | None = None

    @property
    def tpot(self) -> float | None:
        """Time per output token after the first, in seconds; None for a single token."""
        if self.completion_tokens < 2:
            return None
        return (self.e2e_latency - self.ttft) / (self.completion_tokens - 1)


@dataclass
class _Stream:
    """The lines of one stream with their times. They are parsed after the last answer, so that
    parsing delays no other stream.
    """

    started: float
    lines: list[tuple[float, bytes]] = field(default_factory=list)


def send(url: str, bodies: Sequence[bytes], concurrency: int) -> tuple[float, list[Answer]]:
    """Seconds until all are answered, and the answers in the order of `bodies`.

    Raises RuntimeError for an error response or an incomplete stream.
    """
    seconds, streams = asyncio.run(_send_all(f"{url}/v1/chat/completions", bodies, concurrency))
    return seconds, [_answer(stream) for stream in streams]


async def _send_all(
    url: str, bodies: Sequence[bytes], concurrency: int
) -> tuple[float, list[_Stream]]:
    waiting = iter(enumerate(bodies))
    streams: dict[int, _Stream] = {}
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:

        async def send_next() -> None:
            for place, body in waiting:
                streams[place] = await _stream(session, url, body)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(send_next())
        seconds = time.perf_counter() - started
    return seconds, [streams[place] for place in range(len(bodies))]


async def _stream(session: aiohttp.ClientSession, url: str, body: bytes) -> _Stream:
    stream = _Stream(time.perf_counter())
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=body, headers=headers) as response:
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {(await response.text())[:500]}")
        async for line in response.content:
            if line.startswith(b"data: {"):
                stream.lines.append((time.perf_counter(), line))
    return stream


def _answer(stream: _Stream) -> Answer:
    chunks = [(at, json.loads(line.removeprefix(b"data: "))) for at, line in stream.lines]
    texts = [(at, _text(chunk)) for at, chunk in chunks]
    ends = [at for at, chunk in chunks if chunk.get("choices")]
    usage = next((chunk["usage"] for _, chunk in reversed(chunks) if chunk.get("usage")), None)
    if usage is None or not ends:
        raise RuntimeError(f"incomplete stream: {chunks[-1:]}")
    roi: dict[str, Any] = next((chunk["roi"] for _, chunk in chunks if "roi" in chunk), {})
    return Answer(
        ttft=next((at for at, text in texts if text), ends[-1]) - stream.started,
        e2e_latency=ends[-1] - stream.started,
        text="".join(text for _, text in texts).strip(),
        completion_tokens=usage["completion_tokens"],
        passes=tuple(_passes(roi, usage)),
        skipped=roi.get("skipped"),
    )


def _text(chunk: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))


def _passes(roi: dict[str, Any], usage: dict[str, Any]) -> list[PassTokens]:
    pass1 = roi.get("pass1_usage")
    before = [PassTokens(pass1["prompt_tokens"], pass1["cached_tokens"])] if pass1 else []
    details = usage.get("prompt_tokens_details") or {}
    return [*before, PassTokens(usage["prompt_tokens"], details.get("cached_tokens") or 0)]
