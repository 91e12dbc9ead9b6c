"""The demo's pages, asked of a running endpoint of our own."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from demo.endpoint import running_endpoint
from demo.eval import EVAL_SEED
from demo.pages import render_page
from demo.questions import code_question


@dataclass(frozen=True)
class Page:
    """A page's file as a data: URL, a question about it, and the answer."""

    url: str
    question: str
    code: str


@dataclass(frozen=True)
class Answer:
    """What the endpoint said: the text, the `roi` object, and the usage."""

    text: str
    roi: dict[str, Any]
    prompt_tokens: int


def page(number: int) -> Page:
    """One that training never saw."""
    drawn = render_page(EVAL_SEED, number)
    asked = drawn.things[drawn.asked]
    file = io.BytesIO()
    drawn.image.save(file, "PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Page(url, code_question(drawn.kind, asked.name), asked.code)


class Endpoint:
    """One that is running."""

    def __init__(self, url: str) -> None:
        self._client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=300)
        self._model = self._client.models.list().data[0].id

    def ask(self, page: Page, roi: Any) -> Answer:
        """The answer, with that `roi` field in the request."""
        picture = {"type": "image_url", "image_url": {"url": page.url}}
        content: list[Any] = [picture, {"type": "text", "text": page.question}]
        response = self._client.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": content}],
            temperature=0,
            max_tokens=8,
            extra_body={"roi": roi},
        )
        assert response.usage is not None
        return Answer(
            (response.choices[0].message.content or "").strip(),
            (response.model_extra or {})["roi"],
            response.usage.prompt_tokens,
        )


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """`sdrpn serve` with the shipped model, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder, running_endpoint(Path(folder)) as url:
        yield Endpoint(url)
