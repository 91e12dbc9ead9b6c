"""What pages in the browser do, seen from outside: their requests, and what the console says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import ConsoleMessage, Request


@dataclass
class Watch:
    """Fills up while pages run. `refusals`: API requests are meant to fail in this test."""

    url: str
    refusals: bool = False
    chats: list[dict[str, Any]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    elsewhere: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def request(self, request: Request) -> None:
        """A request of the page's: of ours, or to some other place."""
        if request.url.startswith("blob:"):
            return
        if not request.url.startswith(f"{self.url}/"):
            self.elsewhere.append(request.url)
            return
        path = request.url.removeprefix(self.url).split("#")[0]
        self.paths.add(path)
        if path == "/v1/chat/completions":
            self.chats.append(json.loads(request.post_data or "{}"))

    def console(self, message: ConsoleMessage) -> None:
        """Everything on the console is a fault, but that Chromium notes requests that fail."""
        api = message.location["url"].startswith(f"{self.url}/v1/")
        failed = api and message.text.startswith("Failed to load resource")
        (self.refused if failed else self.faults).append(message.text)

    def check(self) -> None:
        """Fails unless pages did only what they may."""
        assert self.faults == []
        assert self.elsewhere == []
        assert self.refused == [] or self.refusals
