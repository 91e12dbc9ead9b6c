"""The scenarios, as Locust users: `python -m loadtests` runs them and judges the result.

They are ordinary Locust classes: `locust -f loadtests/locustfile.py MultiTurn --host URL` works
too, with its web page. Every request is a chat about a page, and is named after its scenario.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

import requests
from locust import HttpUser, constant_pacing, events, task
from locust.argument_parser import LocustArgumentParser

from loadtests.chats import Message, about, chat, headers
from loadtests.pages import FORMATS, SIZES, Pages

COMPLETIONS = "/v1/chat/completions"
FOLLOW_UPS = ("What colour is the circle?", "Is there a second circle?", "Read the first line.")

_pages = Pages()


@events.init_command_line_parser.add_listener
def _add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument("--model", default="", help="default: the first that the endpoint serves")


class PageUser(HttpUser):
    """A user with pages and questions. Subclasses are the scenarios."""

    abstract = True

    def on_start(self) -> None:
        """Read the model's name."""
        options = self.environment.parsed_options
        assert options
        self.client.headers.update(headers())
        self._model = options.model or self.client.get("/v1/models").json()["data"][0]["id"]

    def body(self, messages: list[Message], **fields: Any) -> dict[str, Any]:
        """A chat of these messages."""
        return chat(messages, self._model, **fields)

    def ask(self, messages: list[Message], name: str) -> str:
        """The answer's text; Locust counts a failed request, whose text is empty."""
        with self.client.post(
            COMPLETIONS, json=self.body(messages), name=name, catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.error or answer.text[:200]}")
                return ""
            text: str = answer.json()["choices"][0]["message"]["content"] or ""
            return text


def any_page() -> Message:
    """A question about a new page: a thumbnail to a scan, in any format."""
    return about(_pages.next(random.choice(SIZES), random.choice(FORMATS)))


class MultiTurn(PageUser):
    """A chat of four turns about one page."""

    wait_time = constant_pacing(4)

    @task
    def four_turns(self) -> None:
        """Every answer becomes part of the next prompt."""
        messages = [any_page()]
        for turn, follow_up in enumerate(FOLLOW_UPS, start=1):
            answer = self.ask(messages, f"MultiTurn {turn}")
            messages += [
                {"role": "assistant", "content": answer},
                {"role": "user", "content": follow_up},
            ]
        self.ask(messages, f"MultiTurn {len(FOLLOW_UPS) + 1}")


class Rude(PageUser):
    """Disconnects after the first chunk, or before any. The next request must be answered."""

    wait_time = constant_pacing(2)

    @task
    def disconnect(self) -> None:
        """A request dropped before its end, and one that is not."""
        body = self.body([any_page()], stream=True, max_completion_tokens=64)
        timeout = random.choice([0.05, 0.3, 60.0])
        # Not through Locust's client: a dropped request is neither a success nor a failure.
        with (
            contextlib.suppress(requests.RequestException),
            requests.post(
                f"{self.host}{COMPLETIONS}",
                json=body,
                headers=dict(self.client.headers),
                stream=True,
                timeout=timeout,
            ) as answer,
        ):
            next(answer.iter_lines(), b"")
        self.ask([any_page()], "Rude asks again")
