"""A chat handler without prefix caching: every pass computes its whole prompt.

The released two-pass code works this way: it runs the model on the base view, discards the result,
and runs it on base view and crop. (A separate pass 1 could end after the RPN's layers; vLLM always
runs all of them.)
"""

from __future__ import annotations

import secrets
from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from server.handlers.wrapper import HandlerWrapper
from server.passes.retry import rename_views


class UncachedChat(HandlerWrapper):
    """Stands in for vLLM's chat handler. No two requests share cache entries."""

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> Any:
        """vLLM's answer.

        A cache salt of its own keeps a request's entries in the prefix cache apart; new names for
        its views keep those in the caches of pictures apart.
        """
        salt = secrets.token_hex(8)
        messages = rename_views(request.messages, f"-{salt}")
        changes = {"cache_salt": salt, "messages": messages}
        return await self._handler.create_chat_completion(
            request.model_copy(update=changes), raw_request
        )
