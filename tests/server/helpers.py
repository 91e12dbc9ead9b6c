"""Pictures and chats for the tests."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

MODEL = "sdrpn-demo"


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """RGB noise; each seed gives another picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """`image` as a file in memory."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    """`data` as a base64 data: URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def picture_part(image: Image.Image) -> dict[str, Any]:
    """The content part OpenAI's API has for a picture."""
    return {"type": "image_url", "image_url": {"url": data_url(encoded(image))}}


def user(*parts: dict[str, Any] | str) -> dict[str, Any]:
    """A user's message of pictures and texts."""
    content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return {"role": "user", "content": content}


def chat(*parts: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    """The JSON body of a short chat with one user message."""
    return {
        "model": MODEL,
        "messages": [user(*parts)],
        "max_tokens": 4,
        "temperature": 0,
        **fields,
    }


def post(url: str, body: dict[str, Any], route: str = "/v1/chat/completions") -> httpx.Response:
    """The response to `body`, sent as JSON."""
    return httpx.post(url + route, json=body, timeout=120.0)


def metric(url: str, sample: str, **labels: str) -> float:
    """One sample on /metrics, summed over the labels not given; 0 if it is not there."""
    text = httpx.get(f"{url}/metrics", timeout=30.0).text
    return sum(
        entry.value
        for family in text_string_to_metric_families(text)
        for entry in family.samples
        if entry.name == sample and labels.items() <= entry.labels.items()
    )
