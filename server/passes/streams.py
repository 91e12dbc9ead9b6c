"""The `roi` object in a streamed answer: added to the first chunk, the rest passed through."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

_PREFIX = "data: "


async def with_roi_in_first_chunk(
    events: AsyncGenerator[str, None], roi: dict[str, Any], on_first: Callable[[], None]
) -> AsyncGenerator[str, None]:
    """vLLM's server-sent events with `roi` in the first one; `on_first` is called as it arrives.

    Closing this generator closes `events`, which is how a hang-up reaches the engine.
    """
    async with aclosing(events):
        first = True
        async for event in events:
            if first:
                on_first()
            yield _with_roi(event, roi) if first else event
            first = False


def _with_roi(event: str, roi: dict[str, Any]) -> str:
    payload = event.removeprefix(_PREFIX)
    if not payload.startswith("{"):
        return event  # [DONE]: a stream without a single chunk
    chunk = json.loads(payload)
    if "choices" not in chunk:
        return event  # an error: vLLM found it only after the stream had begun
    return f"{_PREFIX}{json.dumps({**chunk, 'roi': roi})}\n\n"
