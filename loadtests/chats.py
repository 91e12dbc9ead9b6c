"""The requests: JSON bodies of chats about pages, and their headers."""

from __future__ import annotations

import os
from typing import Any

import httpx

from loadtests.pages import Page

Message = dict[str, Any]


def about(page: Page, question: str | None = None) -> Message:
    """A user's message with the page and a question (by default, the page's own)."""
    picture = {"type": "image_url", "image_url": {"url": page.url}}
    text = {"type": "text", "text": question or page.question}
    return {"role": "user", "content": [picture, text]}


def chat(messages: list[Message], model: str, **fields: Any) -> dict[str, Any]:
    """A chat completion's body: greedy and short, unless `fields` change that."""
    return {
        "model": model,
        "messages": messages,
        "temperature": 0,
        "max_completion_tokens": 8,
        **fields,
    }


def served_model(client: httpx.Client) -> str:
    """The first model that the endpoint serves. Raises httpx.HTTPError."""
    name: str = client.get("/v1/models").raise_for_status().json()["data"][0]["id"]
    return name


def headers() -> dict[str, str]:
    """The header with the first key in SDRPN_API_KEY, if there is one."""
    key = os.environ.get("SDRPN_API_KEY", "").split(",")[0].strip()
    return {"Authorization": f"Bearer {key}"} if key else {}
