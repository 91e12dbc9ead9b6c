from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest

from server.passes.streams import with_roi_in_first_chunk

ROI = {"regions": [], "skipped": "off"}
CHUNKS = [
    'data: {"id":"1","choices":[]}\n\n',
    'data: {"id":"2","choices":[]}\n\n',
    "data: [DONE]\n\n",
]


class Source:
    """Server-sent events that remember whether they were closed."""

    def __init__(self, events: list[str]) -> None:
        self.events, self.closed = events, False

    async def stream(self) -> AsyncGenerator[str, None]:
        try:
            for event in self.events:
                yield event
        finally:
            self.closed = True


async def test_only_the_first_chunk_is_touched() -> None:
    calls: list[str] = []
    stream = with_roi_in_first_chunk(Source(CHUNKS).stream(), ROI, lambda: calls.append("first"))
    events = [event async for event in stream]
    assert json.loads(events[0].removeprefix("data: ")) == {"id": "1", "choices": [], "roi": ROI}
    assert events[0].endswith("\n\n")
    assert events[1:] == CHUNKS[1:]
    assert calls == ["first"]


@pytest.mark.parametrize("first", ['data: {"error": {"message": "no"}}\n\n', CHUNKS[-1]])
async def test_what_is_no_chunk_is_passed_on_as_it_is(first: str) -> None:
    events = [first, CHUNKS[-1]]
    stream = with_roi_in_first_chunk(Source(events).stream(), ROI, lambda: None)
    assert [event async for event in stream] == events


async def test_hanging_up_reaches_the_source() -> None:
    source = Source(CHUNKS)
    stream = with_roi_in_first_chunk(source.stream(), ROI, lambda: None)
    await anext(stream)
    assert not source.closed
    await stream.aclose()
    assert source.closed
