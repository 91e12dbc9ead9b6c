"""The demo's pages as chats: square ones, half of them legible in the base view, half lost.

Every arm gets the same pages. A picture that is in a server's caches costs less, so each request's
copy is made unique in the lowest bits of a few corner pixels, which changes no answer.
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
from loadtests.compare.arms import Arm, Size
from loadtests.compare.cells import Setting

SIDE = 896
"""Only square pages: vLLM's own rule for a token budget and ours give them the same grid."""
_MARK_BITS = 48


@dataclass(frozen=True, eq=False)
class Page:
    """Pixels uint8 [SIDE, SIDE, 3], a question, its answer, and if the base view is legible."""

    pixels: NDArray[np.uint8]
    question: str
    answer: str
    legible: bool

    @property
    def size(self) -> Size:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]


def pages() -> Iterator[Page]:
    """An endless, fixed series of pages: legible and lost ones in turn."""
    legible, lost = _of_height(LEGIBLE_PX, float("inf")), _of_height(0.0, LOST_PX)
    return itertools.chain.from_iterable(zip(legible, lost, strict=False))


def _of_height(least: float, below: float) -> Iterator[Page]:
    """Square pages whose code is `least` to `below` pixels tall in the base view."""
    for index in itertools.count():
        page = render_page(EVAL_SEED, index)
        if page.image.size == (SIDE, SIDE) and least <= text_px(page) < below:
            pixels = np.asarray(page.image)
            yield Page(pixels, page.question, page.target.code, legible=least >= LEGIBLE_PX)


def greeting(model: str) -> bytes:
    """The body of a chat without a picture."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(body).encode()


def chat(page: Page, arm: Arm, model: str, setting: Setting, mark: int) -> bytes:
    """The body of a streamed chat about `page`; `mark` makes this copy of the picture unique."""
    picture = {"type": "image_url", "image_url": {"url": _url(page.pixels, mark)}}
    text = {"type": "text", "text": arm.filler + page.question}
    body = {
        "model": model,
        "messages": [{"role": "user", "content": [picture, text]}],
        "temperature": 0,
        "max_completion_tokens": setting.tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"ignore_eos": True, "min_tokens": setting.tokens} if setting.exact else {}),
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
