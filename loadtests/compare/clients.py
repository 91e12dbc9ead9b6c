"""Sends chats, so many at once, and notes when what of their answers came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_PATIENCE = aiohttp.ClientTimeout(total=600)


@dataclass(frozen=True)
class Read:
    """Prompt tokens of one pass, and how many of them the prefix cache held."""

    prompt: int
    cached: int

    @property
    def prefilled(self) -> int:
        """Tokens that were computed."""
        return self.prompt - self.cached


@dataclass(frozen=True)
class Answer:
    """One answered chat: seconds to its first token and to its end, and what was read and said."""

    first: float
    total: float
    text: str
    completion_tokens: int
    passes: tuple[Read, ...]
    """In order; the last is the answer's own. Passes before it that a research arm makes more than
    one of are counted together."""
    skipped: str | None = None


@dataclass
class _Heard:
    """The lines of one stream as they came; read after the last answer, not between two."""

    started: float
    lines: list[tuple[float, bytes]] = field(default_factory=list)


def ask(url: str, bodies: Sequence[bytes], at_once: int) -> tuple[float, list[Answer]]:
    """Seconds that all answers took together, and the answers in the order of `bodies`.

    Raises RuntimeError for an answer that is none.
    """
    seconds, heard = asyncio.run(_ask_all(f"{url}/v1/chat/completions", bodies, at_once))
    return seconds, [_answer(one) for one in heard]


async def _ask_all(url: str, bodies: Sequence[bytes], at_once: int) -> tuple[float, list[_Heard]]:
    waiting = iter(enumerate(bodies))
    heard: dict[int, _Heard] = {}
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(connector=connector, timeout=_PATIENCE) as session:

        async def ask_on() -> None:
            for place, body in waiting:
                heard[place] = await _listen(session, url, body)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(ask_on())
        seconds = time.perf_counter() - started
    return seconds, [heard[place] for place in range(len(bodies))]


async def _listen(session: aiohttp.ClientSession, url: str, body: bytes) -> _Heard:
    heard = _Heard(time.perf_counter())
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=body, headers=headers) as response:
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {(await response.text())[:500]}")
        async for line in response.content:
            if line.startswith(b"data: {"):
                heard.lines.append((time.perf_counter(), line))
    return heard


def _answer(heard: _Heard) -> Answer:
    chunks = [(at, json.loads(line.removeprefix(b"data: "))) for at, line in heard.lines]
    said = [(at, _text(chunk)) for at, chunk in chunks]
    ends = [at for at, chunk in chunks if chunk.get("choices")]
    usage = next((chunk["usage"] for _, chunk in reversed(chunks) if chunk.get("usage")), None)
    if usage is None or not ends:
        raise RuntimeError(f"the stream broke off: {chunks[-1:]}")
    roi: dict[str, Any] = next((chunk["roi"] for _, chunk in chunks if "roi" in chunk), {})
    return Answer(
        first=next((at for at, text in said if text), ends[-1]) - heard.started,
        total=ends[-1] - heard.started,
        text="".join(text for _, text in said).strip(),
        completion_tokens=usage["completion_tokens"],
        passes=tuple(_passes(roi, usage)),
        skipped=roi.get("skipped"),
    )


def _text(chunk: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))


def _passes(roi: dict[str, Any], usage: dict[str, Any]) -> list[Read]:
    first = roi.get("pass1_usage")
    before = [Read(first["prompt_tokens"], first["cached_tokens"])] if first else []
    details = usage.get("prompt_tokens_details") or {}
    return [*before, Read(usage["prompt_tokens"], details.get("cached_tokens") or 0)]
