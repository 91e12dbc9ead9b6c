"""vLLM's two caches of processed pictures differ after a late refusal; the next chat is answered.

Without `server/passes/retry.py` the second chat about such a picture is answered with a 500.
"""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.server.helpers import MODEL, noise, picture_part, user

QUESTION = "What is the code on the red tag?"


def ask(client: openai.OpenAI, seed: int, roi: Any, **fields: Any) -> Any:
    messages: Any = [user(picture_part(noise(200, 150, seed)), QUESTION)]
    return client.chat.completions.create(
        model=MODEL,
        messages=messages,
        max_tokens=4,
        temperature=0,
        **{"extra_body": {"roi": roi}, **fields},
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("roi", [False, {"threshold": 0.0}], ids=["off", "on"])
def test_the_next_chat_about_a_refused_chats_picture_is_answered(
    client: openai.OpenAI, roi: Any, stream: bool
) -> None:
    seed = 7000 + 2 * stream + bool(roi)
    with pytest.raises(openai.BadRequestError, match="bad_words"):
        ask(client, seed, roi, extra_body={"roi": roi, "bad_words": [""]})
    if not stream:
        assert ask(client, seed, roi).choices[0].finish_reason
        return
    chunks = list(ask(client, seed, roi, stream=True))
    assert chunks[0].roi["skipped"] == (None if roi else "off")
    assert [chunk.choices[0].delta.role for chunk in chunks].count("assistant") == 1
    assert chunks[-1].choices[0].finish_reason
