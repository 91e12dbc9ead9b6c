"""A client of endpoints that serve the shipped model: questions about pages, eight at a time."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

import openai

from demo.pages import Page

Item = TypeVar("Item")
Result = TypeVar("Result")

_CONCURRENCY = 8


@dataclass(frozen=True)
class Answer:
    """An answer's text, the probability of each of its tokens, and the response's `roi` object."""

    text: str
    probabilities: tuple[float, ...]
    roi: dict[str, Any]


class DemoClient:
    """Asks the model named `model`, by default the first one, of the endpoint at `url`."""

    def __init__(self, url: str, model: str | None = None) -> None:
        self._client = openai.OpenAI(
            base_url=f"{url.rstrip('/')}/v1", api_key="none", timeout=300, max_retries=5
        )
        self._model = model or self._client.models.list().data[0].id

    def ask(self, png: bytes, question: str, roi: Any) -> Answer:
        """The greedy answer, of eight tokens at most, to a question about a picture."""
        url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        content: Any = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": question},
        ]
        response = self._client.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": content}],
            temperature=0,
            max_tokens=8,
            logprobs=True,
            extra_body={"roi": roi},
        )
        [choice] = response.choices
        tokens = choice.logprobs.content if choice.logprobs and choice.logprobs.content else ()
        return Answer(
            (choice.message.content or "").strip(),
            tuple(math.exp(token.logprob) for token in tokens),
            (response.model_extra or {})["roi"],
        )


def concurrently(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The results of `function` for all items, in order; prints the progress."""
    results: list[Result] = []
    with ThreadPoolExecutor(_CONCURRENCY) as threads:
        for result in threads.map(function, items):
            results.append(result)
            if len(results) % 100 == 0:
                print(f"{len(results)}/{len(items)}", flush=True)
    return results


def png_of(page: Page) -> bytes:
    """The page as a PNG file."""
    file = BytesIO()
    page.image.save(file, "PNG", optimize=True)
    return file.getvalue()
