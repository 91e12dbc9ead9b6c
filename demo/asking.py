"""Questions about pages, put to an endpoint that serves the shipped model, some at a time."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

import openai

from demo.pages import Page, render_page
from demo.questions import code_question

Found = TypeVar("Found")

_AT_ONCE = 8


@dataclass(frozen=True)
class Answer:
    """What the endpoint said, how probable each of its tokens was, and its `roi` object."""

    text: str
    probabilities: tuple[float, ...]
    roi: dict[str, Any]


class Asking:
    """Asks the first model of the endpoint at `url`."""

    def __init__(self, url: str) -> None:
        self._client = openai.OpenAI(
            base_url=f"{url.rstrip('/')}/v1", api_key="none", timeout=300, max_retries=5
        )
        self._model = self._client.models.list().data[0].id

    def ask(self, page: Page, roi: Any, question: str | None = None) -> Answer:
        """One answer, eight tokens at most; the page's own question unless there is another."""
        asked = question or code_question(page.kind, page.target.name)
        content: Any = [
            {"type": "image_url", "image_url": {"url": _url(page)}},
            {"type": "text", "text": asked},
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
        said = choice.logprobs.content if choice.logprobs and choice.logprobs.content else ()
        return Answer(
            (choice.message.content or "").strip(),
            tuple(math.exp(token.logprob) for token in said),
            (response.model_extra or {})["roi"],
        )

    def about(
        self, seed: int, pages: Sequence[int], find: Callable[[Page, int], Found]
    ) -> list[Found]:
        """What `find` finds about each of these pages of a seed, in order."""

        def find_on(index: int) -> Found:
            return find(render_page(seed, index), index)

        found: list[Found] = []
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for item in threads.map(find_on, pages):
                found.append(item)
                if len(found) % 100 == 0:
                    print(f"{len(found)}/{len(pages)} pages", flush=True)
        return found


def _url(page: Page) -> str:
    file = BytesIO()
    page.image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
