"""A request whose pictures vLLM's two caches disagree about is sent again, once.

vLLM keeps processed pictures on both sides of the engine and sends only hashes of those it believes
are there. Two things go wrong with that:

- A chat that is refused after its pictures were processed leaves the two sides out of step. The
  next chat about such a picture fails with GenerationError (`EngineCore._handle_mm_cache_miss`).
- A chat with more pictures than the cache holds evicts one of its own while it is processed, and
  vLLM's assertion fails (`LruKeyReplicatedSenderCache.get_and_update_item`).

The second request names its views anew, so that neither side has them and all their data is sent.
It finds no prefix of theirs in the KV cache either.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vllm.exceptions import GenerationError

logger = logging.getLogger("vllm.sdrpn")

_EVICTED = "Expected a cached item"
"""How the message of vLLM's assertion begins."""

Create = Callable[..., Awaitable[Any]]
"""A method of a vLLM handler: from a request and the raw request to an answer or a stream."""


async def create_with_retry(create: Create, request: Any, raw_request: Any) -> Any:
    """`create(request, raw_request)`, called a second time if the engine lost a picture.

    Each call gets a copy: vLLM writes into the request it is given.
    """
    try:
        answer = await create(request.model_copy(), raw_request)
    except (GenerationError, AssertionError) as error:
        if isinstance(error, AssertionError) and not str(error).startswith(_EVICTED):
            raise
        logger.info("vLLM lost a picture; sending the request again: %s", error)
        answer = await create(_with_renamed_views(request), raw_request)
    _raise_if_cancelled()
    return answer


def _raise_if_cancelled() -> None:
    """vLLM answers a cancelled request with a 400, which must not look like a refusal of crops."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _with_renamed_views(request: Any) -> Any:
    """A copy of `request`, a chat's or of the Responses API, with other names for its views."""
    field = "messages" if hasattr(request, "messages") else "input"
    renamed = rename_views(getattr(request, field), f"-{uuid.uuid4().hex}")
    return request.model_copy(update={field: renamed})


def rename_views(value: Any, suffix: str) -> Any:
    """`value` with `suffix` after the name of every view in it; pixels are not copied."""
    if isinstance(value, list):
        return [rename_views(item, suffix) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "image_pil" in value:
        return {**value, "uuid": value["uuid"] + suffix}
    return {key: rename_views(item, suffix) for key, item in value.items()}
