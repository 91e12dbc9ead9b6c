"""How vLLM's handlers are wrapped: by an object in their place in `app.state`.

A wrapper defines the methods that see pictures and passes every other name on to vLLM's handler.
"""

from __future__ import annotations

from typing import Any


class HandlerWrapper:
    """Stands in for one of vLLM's handlers. What a subclass does not define is vLLM's."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)
