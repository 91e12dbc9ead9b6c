"""The demo's pages as chats: square ones, half of them legible in the base view, half lost.

Every arm is asked about the same pages; but a picture that a server has seen costs it less, so each
request's copy is marked in the lowest bits of a few corner pixels, where no model sees it.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.eval import EVAL_SEED
from demo.pages import LEGIBLE_PX, LOST_PX, render_page, text_px
from demo.questions import code_question
from loadtests.compare.arms import Arm, Size

SIDE = 896
"""Only square pages: then vLLM's own rule for a token budget and ours give the same grid."""
_MARK_BITS = 48


@dataclass(frozen=True, eq=False)
class Page:
    """Pixels uint8 [SIDE, SIDE, 3], a question, its answer, and whether the base view shows it."""

    pixels: NDArray[np.uint8]
    question: str
    answer: str
    legible: bool

    @property
    def size(self) -> Size:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]


def pages() -> Iterator[Page]:
    """Pages without end, always the same: legible and lost ones take turns."""
    legible, lost = _of_height(LEGIBLE_PX, float("inf")), _of_height(0.0, LOST_PX)
    return itertools.chain.from_iterable(zip(legible, lost, strict=False))


def _of_height(least: float, below: float) -> Iterator[Page]:
    """Square pages whose code is so many pixels tall in the base view."""
    for index in itertools.count():
        page = render_page(EVAL_SEED, index)
        if page.image.size == (SIDE, SIDE) and least <= text_px(page) < below:
            asked = page.things[page.asked]
            pixels = np.asarray(page.image)
            question = code_question(page.kind, asked.name)
            yield Page(pixels, question, asked.code, legible=least >= LEGIBLE_PX)


def greeting(model: str) -> bytes:
    """The body of a chat about nothing."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(body).encode()


def chat(page: Page, arm: Arm, model: str, tokens: int, exactly: bool, mark: int) -> bytes:
    """The body of a streamed chat about `page`, of up to (or `exactly`) so many answer tokens.

    `mark` makes this copy of the picture one of its own.
    """
    picture = {"type": "image_url", "image_url": {"url": _url(page.pixels, mark)}}
    text = {"type": "text", "text": arm.filler + page.question}
    body = {
        "model": model,
        "messages": [{"role": "user", "content": [picture, text]}],
        "temperature": 0,
        "max_completion_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"ignore_eos": True, "min_tokens": tokens} if exactly else {}),
        **arm.fields(page.size, page.legible),
    }
    return json.dumps(body).encode()


def _url(pixels: NDArray[np.uint8], mark: int) -> str:
    marked = pixels.copy()
    corner = marked.reshape(-1)[:_MARK_BITS]
    bits = np.array([mark >> bit & 1 for bit in range(_MARK_BITS)], dtype=np.uint8)
    corner[:] = corner & 0xFE | bits
    file = io.BytesIO()
    Image.fromarray(marked).save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
