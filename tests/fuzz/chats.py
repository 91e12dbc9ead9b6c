"""Random chats and `roi` objects, valid and invalid."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st

from tests.server.helpers import MODEL, data_url, encoded, noise

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
"""Any JSON value, with NaN and infinities, which Python's and vLLM's parsers accept."""


@functools.cache
def _pictures() -> list[str]:
    whole = [encoded(noise(*size)) for size in [(1, 1), (1, 900), (900, 1), (5, 5), (120, 80)]]
    other = [
        encoded(noise(40, 30), format) for format in ("JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
    ]
    broken = [whole[4][:200], whole[4][:40] + bytes(300), b"", b"GIF89a", b"\xff\xd8\xff\xe0"]
    urls = [data_url(data) for data in [*whole, *other, *broken]]
    return [
        *urls,
        "data:image/png;base64,@@@",
        "data:image/png,plain",
        "data:",
        "http://127.0.0.1:1/a.png",
        "http://[::1",
        "file:///etc/passwd",
        "//",
        "",
    ]


def _mostly(valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`valid` three times out of four, else any JSON value."""
    return st.one_of(valid, valid, valid, JSON)


_picture = st.builds(
    lambda url, bare: {"type": "image_url", "image_url": url if bare else {"url": url}},
    st.deferred(lambda: st.sampled_from(_pictures())),
    st.booleans(),
)
_text = st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=40))
_other_part = st.sampled_from(
    [
        {"type": "video_url", "video_url": {"url": "http://127.0.0.1:1/"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "image_pil", "image_pil": "x"},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "image_url"},
        {"image_url": None},
        {"type": "text"},
        {"type": "nothing"},
        {},
        "text",
        None,
        7,
    ]
)
_content = st.one_of(
    st.text(max_size=40),
    st.lists(st.one_of(_picture, _picture, _text, _other_part), max_size=4),
    st.builds(lambda picture, text: [picture, text], _picture, _text),
    st.none(),
)
_message = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user"] * 6 + ["system", "assistant", "tool", "developer", "x"]),
        "content": _mostly(_content),
    },
    optional={"name": _mostly(st.text(max_size=5)), "tool_call_id": _mostly(st.text(max_size=5))},
)

_number = st.one_of(st.integers(-10, 2000), st.floats(-10, 2000), st.sampled_from([0, 1, 4, 64]))
_box = st.lists(_number, min_size=4, max_size=4).map(lambda box: sorted(box[:2]) + sorted(box[2:]))
roi = _mostly(
    st.one_of(
        st.booleans(),
        st.fixed_dictionaries(
            {},
            optional={
                "enabled": _mostly(st.booleans()),
                "image": _mostly(st.integers(-2, 2)),
                "threshold": _mostly(st.floats(0, 1)),
                "max_regions": _mostly(st.integers(1, 8)),
                "base_tokens": _mostly(st.integers(4, 200)),
                "crop_tokens": _mostly(st.integers(4, 200)),
                "boxes": _mostly(st.lists(_mostly(_box), max_size=3)),
                "heatmap": _mostly(st.booleans()),
            },
        ),
    )
)

_options: dict[str, st.SearchStrategy[Any]] = {
    "roi": roi,
    "temperature": _mostly(st.floats(0, 2)),
    "top_p": _mostly(st.floats(0.01, 1)),
    "n": _mostly(st.integers(1, 2)),
    "seed": _mostly(st.integers(0, 2**31)),
    "stop": _mostly(st.lists(st.text(min_size=1, max_size=4), max_size=2)),
    "stream": _mostly(st.booleans()),
    "stream_options": _mostly(st.just({"include_usage": True})),
    "logprobs": _mostly(st.booleans()),
    "top_logprobs": _mostly(st.integers(0, 3)),
    "logit_bias": _mostly(st.just({"5": 1})),
    "response_format": _mostly(st.sampled_from([{"type": "text"}, {"type": "json_object"}])),
    "presence_penalty": _mostly(st.floats(-2, 2)),
    "user": _mostly(st.text(max_size=5)),
    "kv_transfer_params": _mostly(st.none()),
    "request_id": _mostly(st.text(max_size=10)),
    "mm_processor_kwargs": _mostly(st.none()),
    "chat_template_kwargs": _mostly(st.none()),
    "priority": _mostly(st.just(0)),
    "cache_salt": _mostly(st.text(min_size=1, max_size=5)),
}

chats: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {
        "model": st.sampled_from([MODEL] * 8 + ["other", "", None]),
        "messages": _mostly(st.lists(_message, min_size=1, max_size=3)),
        "max_tokens": st.integers(1, 3),
    },
    optional=_options,
)
