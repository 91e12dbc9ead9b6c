"""The scenarios, as Locust users: `python -m loadtests` runs them and judges the result.

They are ordinary Locust classes: `locust -f loadtests/locustfile.py Steady --host URL` works too,
with its web page and all. Every request is a chat about a page, named for its scenario.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import Any, ClassVar

import gevent
import requests
from locust import HttpUser, constant, constant_pacing, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtests.chats import Message, about, chat, headers
from loadtests.pages import SIZES, Format, Page, Pages

COMPLETIONS = "/v1/chat/completions"
FORMATS: tuple[Format, ...] = ("PNG", "JPEG", "WEBP")
FOLLOW_UPS = ("What colour is the circle?", "Is there a second circle?", "Read the first line.")


@events.init_command_line_parser.add_listener
def _add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument("--model", default="", help="default: the first that the endpoint serves")
    parser.add_argument("--repeats", type=float, default=0.0, help="share of pictures sent before")
    parser.add_argument("--without-roi", action="store_true", help="ask for no second look")


_pages: dict[str, Pages] = {}


@events.test_start.add_listener
def _prepare(environment: Environment, **_: Any) -> None:
    assert environment.parsed_options
    _pages["all"] = Pages(environment.parsed_options.repeats)


class PageUser(HttpUser):
    """Somebody with pages and questions. Subclasses are the scenarios."""

    abstract = True
    roi: ClassVar[Any] = None

    def on_start(self) -> None:
        """Find out what is served."""
        options = self.environment.parsed_options
        assert options
        self.client.headers.update(headers())
        self._fields: dict[str, Any] = {"roi": False} if options.without_roi else {}
        self._model = options.model or self.client.get("/v1/models").json()["data"][0]["id"]

    def page(self, **how: Any) -> Page:
        """A page nobody has seen, unless --repeats says otherwise."""
        return _pages["all"].next(**how)

    def body(self, messages: list[Message], **fields: Any) -> dict[str, Any]:
        """A chat of these messages."""
        return chat(messages, self._model, **self._fields, **fields)

    def ask(self, messages: list[Message], name: str | None = None) -> str:
        """The answer's text; a failed request is Locust's to count, and gives none."""
        name = name or type(self).__name__
        with self.client.post(
            COMPLETIONS, json=self.body(messages), name=name, catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.error or answer.text[:200]}")
                return ""
            text: str = answer.json()["choices"][0]["message"]["content"] or ""
            return text


class Steady(PageUser):
    """One question a second about a page of its own."""

    wait_time = constant_pacing(1)

    @task
    def one_question(self) -> None:
        """A page, a question."""
        self.ask([about(self.page())])


class Burst(PageUser):
    """Nothing for five seconds, then eight questions at once."""

    wait_time = constant(5)

    @task
    def eight_at_once(self) -> None:
        """Eight pages at the same moment."""
        gevent.joinall([gevent.spawn(self.ask, [about(self.page())]) for _ in range(8)])


class MixedSizes(PageUser):
    """Thumbnails to scans, in any format."""

    wait_time = constant_pacing(1)

    @task
    def any_size(self) -> None:
        """A page of some size."""
        size, format = random.choice(SIZES), random.choice(FORMATS)
        self.ask([about(self.page(size=size, format=format))], f"MixedSizes {size[0]}x{size[1]}")


class ManyQuestions(PageUser):
    """Eight questions about one page: the prefix cache holds it from the second on."""

    wait_time = constant_pacing(4)

    @task
    def eight_questions(self) -> None:
        """The first and the later ones are counted apart."""
        page = self.page()
        self.ask([about(page)], "ManyQuestions first")
        for number in range(7):
            question = f"{FOLLOW_UPS[number % len(FOLLOW_UPS)]} ({number})"
            self.ask([about(page, question)], "ManyQuestions later")


class MultiTurn(PageUser):
    """A chat of four turns about one page."""

    wait_time = constant_pacing(4)

    @task
    def four_turns(self) -> None:
        """Every answer becomes part of the next question."""
        messages = [about(self.page())]
        for turn, follow_up in enumerate(FOLLOW_UPS, start=1):
            answer = self.ask(messages, f"MultiTurn {turn}")
            messages += [
                {"role": "assistant", "content": answer},
                {"role": "user", "content": follow_up},
            ]
        self.ask(messages, f"MultiTurn {len(FOLLOW_UPS) + 1}")


class Streaming(PageUser):
    """Answers as they are made; the time to their first word is counted on its own."""

    wait_time = constant_pacing(1)

    @task
    def stream(self) -> None:
        """One streamed answer, read to its end."""
        body = self.body([about(self.page())], stream=True)
        started = time.perf_counter()
        name = type(self).__name__
        with self.client.post(
            COMPLETIONS, json=body, name=name, stream=True, catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.error or answer.text[:200]}")
                return
            first: float | None = None
            ended = False
            for line in answer.iter_lines():
                if line and first is None:
                    first = time.perf_counter() - started
                ended = ended or line == b"data: [DONE]"
            if not ended:
                answer.failure("the stream broke off")
        if first is not None:
            self.environment.events.request.fire(
                request_type="POST",
                name=f"{name} first chunk",
                response_time=first * 1000,
                response_length=0,
                exception=None,
                context={},
            )


class Rude(PageUser):
    """Hangs up: after the first chunk, or before any. Then asks politely, which must work."""

    wait_time = constant_pacing(2)

    @task
    def hang_up(self) -> None:
        """A request dropped halfway, and one that is not."""
        body = self.body([about(self.page())], stream=True, max_completion_tokens=64)
        patience = random.choice([0.05, 0.3, 60.0])
        # Past Locust's statistics: what is dropped neither succeeds nor fails.
        with (
            contextlib.suppress(requests.RequestException),
            requests.post(
                f"{self.host}{COMPLETIONS}",
                json=body,
                headers=dict(self.client.headers),
                stream=True,
                timeout=patience,
            ) as answer,
        ):
            next(answer.iter_lines(), b"")
        self.ask([about(self.page())], "Rude asks again")
