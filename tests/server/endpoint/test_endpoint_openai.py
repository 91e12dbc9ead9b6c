"""OpenAI's chat surface through the official client, with regions and without: nothing is lost."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openai
import pytest

from demo.pages import render_page
from tests.conftest import Endpoint
from tests.server.helpers import MODEL, noise, picture_part, post, user

QUESTION = "What is the code on the red tag?"
ZOOM = {"threshold": 0.0}
"""A region in any picture."""

ROI = pytest.mark.parametrize("roi", [ZOOM, False], ids=["on", "off"])


def ask(client: openai.OpenAI, roi: Any, *, messages: Any = None, **fields: Any) -> Any:
    messages = messages or [user(picture_part(noise(300, 200)), QUESTION)]
    fields = {"max_tokens": 6, "temperature": 0, **fields}
    return client.chat.completions.create(
        model=MODEL, messages=messages, extra_body={"roi": roi}, **fields
    )


@ROI
def test_a_stream_has_the_same_answer_and_its_usage(client: openai.OpenAI, roi: Any) -> None:
    whole = ask(client, roi)
    chunks = list(ask(client, roi, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].roi["regions"] == whole.roi["regions"]
    assert not any(hasattr(chunk, "roi") for chunk in chunks[1:])
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@ROI
def test_several_choices(client: openai.OpenAI, roi: Any) -> None:
    answer = ask(client, roi, n=3, temperature=1.0, seed=7)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


@ROI
def test_a_seed_repeats_itself(client: openai.OpenAI, roi: Any) -> None:
    sampled = [ask(client, roi, temperature=2.0, seed=11, max_tokens=12) for _ in range(2)]
    first, second = (answer.choices[0].message.content for answer in sampled)
    assert first == second


@ROI
def test_a_stop_string_stops(client: openai.OpenAI, roi: Any) -> None:
    free = ask(client, roi, max_tokens=8, logit_bias={"2": -100})
    text = free.choices[0].message.content
    assert text
    stopped = ask(client, roi, max_tokens=8, logit_bias={"2": -100}, stop=[text[0]])
    assert stopped.choices[0].message.content == ""
    assert stopped.choices[0].finish_reason == "stop"


@ROI
def test_log_probabilities(client: openai.OpenAI, roi: Any) -> None:
    answer = ask(client, roi, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert all(len(token.top_logprobs) == 3 for token in content)
    best = content[0].top_logprobs[0]
    assert content[0].token == best.token, "at temperature 0 the likeliest token is taken"


@pytest.fixture(scope="module")
def no_whitespace(endpoint: Endpoint) -> dict[str, int]:
    """A bias against blanks, which JSON allows without end and the small model never tires of."""
    ids = [
        post(endpoint.url, {"model": MODEL, "prompt": blank}, "/tokenize").json()["tokens"]
        for blank in (" ", "\n", "\t", "\r")
    ]
    return {str(token): -100 for (token,) in ids}


@ROI
def test_an_answer_by_a_json_schema(
    client: openai.OpenAI, no_whitespace: dict[str, int], roi: Any
) -> None:
    schema = {
        "type": "object",
        "properties": {"code": {"enum": ["11", "22"]}},
        "required": ["code"],
        "additionalProperties": False,
    }
    response_format = {
        "type": "json_schema",
        "json_schema": {"name": "code", "schema": schema, "strict": True},
    }
    answer = ask(
        client, roi, max_tokens=40, response_format=response_format, logit_bias=no_whitespace
    )
    assert json.loads(answer.choices[0].message.content)["code"] in {"11", "22"}


TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "What a code stands for.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"code": {"enum": ["11", "22"]}},
            "required": ["code"],
            "additionalProperties": False,
        },
    },
}


@ROI
def test_a_tool_is_called_with_text_from_the_crop(
    client: openai.OpenAI, no_whitespace: dict[str, int], roi: Any
) -> None:
    choice = {"type": "function", "function": {"name": "look_up"}}
    answer = ask(
        client, roi, max_tokens=120, tools=[TOOL], tool_choice=choice, logit_bias=no_whitespace
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "look_up"
    assert json.loads(call.function.arguments)["code"] in {"11", "22"}
    assert bool(answer.roi["regions"]) == bool(roi)


@ROI
def test_the_turn_after_a_tool_call_is_zoomed_too(client: openai.OpenAI, roi: Any) -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "look_up", "arguments": '{"code": "11"}'},
    }
    messages = [
        user(picture_part(noise(300, 200)), QUESTION),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a lamp"},
    ]
    answer = ask(client, roi, messages=messages, tools=[TOOL], tool_choice="none")
    assert bool(answer.roi["regions"]) == bool(roi)


def test_a_picture_in_a_tool_message_is_the_newest(client: openai.OpenAI) -> None:
    messages = [
        user(picture_part(noise(300, 200)), QUESTION),
        {"role": "assistant", "content": "I will take a photograph."},
        {"role": "tool", "tool_call_id": "call_1", "content": [picture_part(noise(120, 90))]},
    ]
    answer = ask(client, ZOOM, messages=messages)
    assert answer.roi["image"] == 1
    assert answer.roi["image_size"] == [120, 90]


@ROI
def test_a_system_prompt_and_earlier_turns(client: openai.OpenAI, roi: Any) -> None:
    messages = [
        {"role": "system", "content": "You read codes."},
        user(picture_part(noise(300, 200)), QUESTION),
        {"role": "assistant", "content": "42"},
        user(picture_part(noise(120, 90)), "And here?"),
    ]
    answer = ask(client, roi, messages=messages)
    assert answer.roi["image"] == 1
    assert answer.roi["image_size"] == [120, 90]


@pytest.mark.parametrize(("image", "size"), [(0, [300, 200]), (-2, [300, 200]), (1, [120, 90])])
def test_the_caller_chooses_the_picture(client: openai.OpenAI, image: int, size: list[int]) -> None:
    messages = [user(picture_part(noise(300, 200)), picture_part(noise(120, 90)), QUESTION)]
    answer = ask(client, {**ZOOM, "image": image}, messages=messages)
    assert answer.roi["image_size"] == size
    assert answer.roi["image"] == image % 2
    (region,) = answer.roi["regions"]
    assert region["box"][2] <= size[0]
    assert region["box"][3] <= size[1]


def test_the_map_is_that_of_the_chosen_picture(client: openai.OpenAI) -> None:
    """A page among noise: its map resembles the map that it has alone, whichever place it has."""
    page = render_page(4_000_037, 1)
    drawn, other = picture_part(page.image), picture_part(noise(120, 90))

    def heatmap(*pictures: Any, image: int) -> np.ndarray:
        roi = {**ZOOM, "image": image, "heatmap": True}
        answer = ask(client, roi, messages=[user(*pictures, page.question)])
        return np.array(answer.roi["heatmap"]).ravel()

    alone = heatmap(drawn, image=0)
    last = np.corrcoef(alone, heatmap(other, drawn, image=1))[0, 1]
    first = np.corrcoef(alone, heatmap(drawn, other, image=0))[0, 1]
    assert last > 0.8
    assert first > 0.2, "the question comes after another picture: less alike, but not unlike"


@ROI
def test_text_only_chats_are_untouched(client: openai.OpenAI, roi: Any) -> None:
    messages = [{"role": "user", "content": "hello"}]
    answer = ask(client, roi, messages=messages)
    assert answer.choices[0].finish_reason
    if roi:
        assert answer.roi["skipped"] == "no_picture"
        assert answer.roi["image"] is None
    else:
        assert not hasattr(answer, "roi")


def test_the_answer_under_load_is_the_same(client: openai.OpenAI) -> None:
    def one(seed: int) -> tuple[str, Any]:
        messages = [user(picture_part(noise(200 + 10 * seed, 150, seed)), QUESTION)]
        answer = ask(client, ZOOM, messages=messages, max_tokens=8)
        return answer.choices[0].message.content, answer.roi["regions"][0]["box"]

    alone = [one(seed) for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(one, range(12)))
    assert together == alone
