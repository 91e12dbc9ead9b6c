"""A request whose picture vLLM's engine no longer holds is sent again, once.

vLLM keeps processed pictures on both sides of the engine and sends only hashes of those it believes
are there. A chat that is refused after its pictures were processed leaves the two sides out of
step. The next chat about such a picture then fails with an internal error, and the engine tells the
API process to drop its entry so that "the client resends with data"
(`EngineCore._handle_mm_cache_miss`). This module resends for the client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from vllm.exceptions import GenerationError

Create = Callable[..., Awaitable[Any]]
"""A method of a vLLM handler: from a request and the raw request to an answer or a stream."""


async def create_with_retry(create: Create, request: Any, raw_request: Any) -> Any:
    """`create(request, raw_request)`, called a second time if the engine raises GenerationError.

    Each call gets a copy: vLLM writes into the request it is given.
    """
    try:
        return await create(request.model_copy(), raw_request)
    except GenerationError:
        return await create(request.model_copy(), raw_request)
