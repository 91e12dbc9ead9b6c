"""Chats with the real endpoint through the official client. Thresholds of 0 and 1 make a region
certain or impossible, so that nothing here rests on how well the shipped model was trained."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from rpn_plugin.network.checkpoint import load_rpn_config
from server.shipped_model import SHIPPED_MODEL
from tests.conftest import Endpoint
from tests.server.helpers import MODEL, chat, noise, picture_part, post, user

QUESTION = "What is the code on the red tag?"
EVERYWHERE = {"threshold": 0.0}
NOWHERE = {"threshold": 1.0}


def ask(client: openai.OpenAI, *parts: Any, roi: Any = None, **fields: Any) -> Any:
    return client.chat.completions.create(
        model=MODEL,
        messages=[user(*parts)],  # type: ignore[list-item]
        max_tokens=4,
        temperature=0,
        extra_body={} if roi is None else {"roi": roi},
        **fields,
    )


def test_an_answer_has_its_region(client: openai.OpenAI) -> None:
    answer = ask(client, picture_part(noise(896, 700)), QUESTION, roi=EVERYWHERE)
    assert answer.choices[0].message.content is not None
    roi = answer.roi
    [region] = roi["regions"]
    assert region["box"] == [0, 0, 896, 700]
    assert 0 < region["score"] <= 1
    assert roi["image_size"] == [896, 700]
    assert roi["skipped"] is None
    assert "heatmap" not in roi
    assert set(roi["timings"]) == {"pictures", "pass1", "rpn", "crop"}
    assert roi["timings"]["rpn"] <= roi["timings"]["pass1"]


def test_roi_is_on_unless_the_request_says_otherwise(client: openai.OpenAI) -> None:
    on = ask(client, picture_part(noise(896, 700)), QUESTION)
    assert on.roi["skipped"] in (None, "no_region")
    assert on.roi["pass1_usage"]["prompt_tokens"] > 0


def test_off_is_the_base_view_alone(client: openai.OpenAI) -> None:
    part = picture_part(noise(896, 700, seed=3))
    off = ask(client, part, QUESTION, roi=False)
    assert off.roi["skipped"] == "off"
    assert off.roi["regions"] == []
    assert off.roi["pass1_usage"] is None
    no_region = ask(client, part, QUESTION, roi=NOWHERE)
    assert no_region.roi["skipped"] == "no_region"
    assert off.usage.prompt_tokens == no_region.usage.prompt_tokens
    assert off.choices[0].message.content == no_region.choices[0].message.content
    rows, cols = off.roi["grid"]
    assert off.usage.prompt_tokens_details.multimodal_tokens == {"image": rows * cols}


def test_a_stream_has_the_regions_in_its_first_chunk(client: openai.OpenAI) -> None:
    part = picture_part(noise(896, 700, seed=4))
    whole = ask(client, part, QUESTION, roi=EVERYWHERE)
    chunks = list(
        ask(
            client,
            part,
            QUESTION,
            roi=EVERYWHERE,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].roi["regions"] == whole.roi["regions"]
    assert all("roi" not in (chunk.model_extra or {}) for chunk in chunks[1:])
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_usage_is_that_of_pass_2_and_pass_1_has_its_own(client: openai.OpenAI) -> None:
    part = picture_part(noise(896, 700, seed=5))
    answer = ask(client, part, QUESTION, roi=EVERYWHERE)
    off = ask(client, part, QUESTION, roi=False)
    assert answer.usage.completion_tokens <= 4
    assert answer.roi["pass1_usage"]["prompt_tokens"] == off.usage.prompt_tokens
    assert answer.usage.prompt_tokens > off.usage.prompt_tokens


def test_pass_2_finds_pass_1_in_the_prefix_cache(client: openai.OpenAI) -> None:
    answer = ask(client, picture_part(noise(896, 896, seed=6)), QUESTION, roi=EVERYWHERE)
    rows, cols = answer.roi["grid"]
    assert answer.roi["pass1_usage"]["cached_tokens"] < rows * cols
    # The prefix shared by both passes ends behind the base view; a hit ends on a block border.
    assert answer.usage.prompt_tokens_details.cached_tokens >= rows * cols // 32 * 32


def test_without_a_region_pass_2_is_cached(client: openai.OpenAI) -> None:
    answer = ask(client, picture_part(noise(896, 896, seed=7)), QUESTION, roi=NOWHERE)
    assert answer.usage.prompt_tokens - answer.usage.prompt_tokens_details.cached_tokens <= 32


def test_a_closed_gate_keeps_the_base_views_answer(client: openai.OpenAI) -> None:
    part = picture_part(noise(896, 896, seed=17))
    shut = {**EVERYWHERE, "gate": {"max_area": 0.5}}
    answer = ask(client, part, QUESTION, roi=shut)
    assert answer.roi["skipped"] == "gate"
    assert answer.roi["regions"] == []
    cached = answer.usage.prompt_tokens_details.cached_tokens
    assert answer.usage.prompt_tokens - cached <= 32
    assert ask(client, part, QUESTION, roi=EVERYWHERE).roi["skipped"] is None


@pytest.mark.parametrize("tokens", [1, 2, 32])
def test_the_gate_closes_on_high_confidence_in_the_first_tokens(
    client: openai.OpenAI, tokens: int
) -> None:
    part = picture_part(noise(896, 896, seed=18))
    base = ask(client, part, QUESTION, roi=False, logprobs=True)
    said = base.choices[0].logprobs.content[:tokens]
    sure = math.exp(min(token.logprob for token in said))
    gate = {"max_confidence": 0.0, "confidence_tokens": tokens}
    shut = ask(client, part, QUESTION, roi={**EVERYWHERE, "gate": gate})
    assert shut.roi["skipped"] == "gate"
    assert shut.roi["confidence"] == pytest.approx(sure, abs=0.05)
    assert shut.choices[0].message.content == base.choices[0].message.content
    assert shut.choices[0].logprobs is None
    wide = ask(client, part, QUESTION, roi={**EVERYWHERE, "gate": {**gate, "max_confidence": 1.0}})
    assert wide.roi["skipped"] is None
    assert wide.roi["confidence"] == shut.roi["confidence"]


def test_the_map_does_not_depend_on_the_length_of_pass_1(client: openai.OpenAI) -> None:
    part = picture_part(noise(896, 896, seed=21))
    with_map = {**EVERYWHERE, "heatmap": True}
    short = ask(client, part, QUESTION, roi=with_map).roi
    long = ask(
        client,
        part,
        QUESTION,
        roi={**with_map, "gate": {"max_confidence": 1.0, "confidence_tokens": 32}},
    ).roi
    assert np.allclose(short["heatmap"], long["heatmap"], atol=1e-3)
    assert short["regions"] == long["regions"]


def test_pass_1_ends_at_the_context_length(client: openai.OpenAI) -> None:
    """That it would answer a few tokens refuses no chat whose prompt leaves room for one."""
    part = picture_part(noise(896, 896, seed=22))
    gate = {**EVERYWHERE, "gate": {"max_confidence": 0.0, "confidence_tokens": 32}}

    def read(question: str) -> int:
        tokens: int = ask(client, part, question, roi=gate).usage.prompt_tokens
        return tokens

    a_word = (read(QUESTION + " the" * 10) - read(QUESTION)) // 10
    room = (client.models.list().data[0].model_extra or {})["max_model_len"]
    words = (room - 1 - read(QUESTION)) // a_word
    assert room - 32 < read(QUESTION + " the" * words) < room


def test_the_rpns_own_gate_is_used_on_request(client: openai.OpenAI) -> None:
    part = picture_part(noise(896, 896, seed=19))
    assert "confidence" not in ask(client, part, QUESTION, roi=EVERYWHERE).roi
    gated = ask(client, part, QUESTION, roi={**EVERYWHERE, "gate": True}).roi
    limit = load_rpn_config(SHIPPED_MODEL / "rpn").gate_max_confidence
    assert gated["skipped"] == ("gate" if gated["confidence"] > limit else None)
    with pytest.raises(openai.BadRequestError, match="this RPN has none"):
        ask(client, part, QUESTION, roi={"gate": {"min_gate_probability": 0.5}})


def test_the_callers_boxes_skip_pass_1(client: openai.OpenAI) -> None:
    box = [100, 50.5, 300, 200]
    part = picture_part(noise(896, 700, seed=8))
    answer = ask(client, part, QUESTION, roi={"boxes": [box], "crop_tokens": 30})
    assert answer.roi["regions"] == [{"box": box, "score": 1.0}]
    assert set(answer.roi["timings"]) == {"pictures", "crop"}
    assert answer.roi["pass1_usage"] is None
    rows, cols = answer.roi["grid"]
    image_tokens = answer.usage.prompt_tokens_details.multimodal_tokens["image"]
    assert rows * cols < image_tokens <= rows * cols + 30


def test_each_box_becomes_a_crop(client: openai.OpenAI) -> None:
    part = picture_part(noise(896, 896, seed=9))
    box = [0, 0, 200, 200]
    tokens = [
        ask(
            client, part, QUESTION, roi={"boxes": [box] * count, "crop_tokens": 16}
        ).usage.prompt_tokens_details.multimodal_tokens["image"]
        for count in (1, 2, 3)
    ]
    assert [b - a for a, b in itertools.pairwise(tokens)] == [16, 16]


def test_token_budgets_of_the_request_are_kept(client: openai.OpenAI) -> None:
    part = picture_part(noise(896, 896, seed=10))
    answer = ask(client, part, QUESTION, roi={**EVERYWHERE, "base_tokens": 100, "crop_tokens": 25})
    assert answer.roi["grid"] == [10, 10]
    image_tokens = answer.usage.prompt_tokens_details.multimodal_tokens["image"]
    assert image_tokens == 100 + 25


def test_the_largest_view_the_model_takes_is_not_scaled_again(client: openai.OpenAI) -> None:
    part = picture_part(Image.new("RGB", (3000, 3000)))
    answer = ask(client, part, QUESTION, roi={"heatmap": True, "base_tokens": 2048})
    rows, cols = answer.roi["grid"]
    assert 2000 < rows * cols <= 2048
    assert (len(answer.roi["heatmap"]), len(answer.roi["heatmap"][0])) == (rows, cols)


def test_the_heatmap_covers_the_grid(client: openai.OpenAI) -> None:
    answer = ask(client, picture_part(noise(896, 500)), QUESTION, roi={"heatmap": True})
    rows, cols = answer.roi["grid"]
    heatmap = answer.roi["heatmap"]
    assert len(heatmap) == rows
    assert {len(row) for row in heatmap} == {cols}
    assert all(0 <= probability <= 1 for row in heatmap for probability in row)


def test_the_newest_of_several_pictures_is_zoomed(client: openai.OpenAI) -> None:
    first, second = noise(896, 896, seed=11), noise(840, 420, seed=12)
    answer = ask(client, picture_part(first), picture_part(second), QUESTION, roi=EVERYWHERE)
    assert answer.roi["image_size"] == [840, 420]
    assert answer.roi["regions"][0]["box"] == [0, 0, 840, 420]


def test_a_picture_of_an_earlier_turn_is_zoomed_for_a_new_question(
    client: openai.OpenAI,
) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            user(picture_part(noise(896, 700, seed=13)), QUESTION),  # type: ignore[list-item]
            {"role": "assistant", "content": "K7"},
            {"role": "user", "content": "What is the code on the blue tag?"},
        ],
        max_tokens=4,
        extra_body={"roi": EVERYWHERE},
    )
    assert answer.roi["regions"][0]["box"] == [0, 0, 896, 700]  # type: ignore[attr-defined]


def test_text_only_chats_have_no_roi_object(client: openai.OpenAI) -> None:
    for roi in (None, False):
        answer = ask(client, "hello", roi=roi)
        assert answer.choices[0].message.content is not None
        assert "roi" not in (answer.model_extra or {})


def test_vllm_features_stay(client: openai.OpenAI) -> None:
    answer = ask(
        client,
        picture_part(noise(896, 700, seed=14)),
        QUESTION,
        roi=EVERYWHERE,
        stop="#",
        logprobs=True,
        top_logprobs=2,
    )
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2


def test_a_callers_xargs_do_not_flag_the_second_pass(endpoint: Endpoint) -> None:
    body = chat(picture_part(noise(896, 700, seed=15)), QUESTION, roi=EVERYWHERE)
    answer = post(endpoint.url, {**body, "vllm_xargs": {"tenant": "a"}}).json()
    assert answer["roi"]["skipped"] is None
    assert answer["kv_transfer_params"] is None


def test_the_regions_route_returns_the_roi_object(endpoint: Endpoint) -> None:
    body = chat(picture_part(noise(896, 700, seed=16)), QUESTION, roi={**EVERYWHERE})
    report = post(endpoint.url, body, "/v1/regions")
    assert report.status_code == 200
    assert report.json()["regions"][0]["box"] == [0, 0, 896, 700]
    assert "heatmap" not in report.json()
    assert "choices" not in report.json()
    body["roi"]["heatmap"] = True
    rows, cols = report.json()["grid"]
    heatmap = post(endpoint.url, body, "/v1/regions").json()["heatmap"]
    assert (len(heatmap), len(heatmap[0])) == (rows, cols)


def test_regions_and_chat_agree(endpoint: Endpoint) -> None:
    body = chat(picture_part(noise(896, 700, seed=17)), QUESTION, roi={"max_regions": 4})
    alone = post(endpoint.url, body, "/v1/regions").json()
    assert post(endpoint.url, body).json()["roi"]["regions"] == alone["regions"]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (29, 29)])
@pytest.mark.parametrize("roi", [True, {"boxes": [[0, 0, 1, 1]]}])
def test_tiny_and_extreme_pictures_are_answered(
    client: openai.OpenAI, size: tuple[int, int], roi: Any
) -> None:
    answer = ask(client, picture_part(noise(*size)), QUESTION, roi=roi)
    assert answer.roi["image_size"] == list(size)


def test_a_huge_picture_is_answered(client: openai.OpenAI) -> None:
    huge = Image.new("RGB", (8000, 6000), "white")
    answer = ask(client, picture_part(huge), QUESTION, roi={"boxes": [[7000, 5000, 8000, 6000]]})
    assert answer.roi["image_size"] == [8000, 6000]


def test_concurrent_chats_keep_their_own_regions(client: openai.OpenAI) -> None:
    sizes = [(300 + 56 * i, 900 - 40 * i) for i in range(12)]

    def report(size: tuple[int, int]) -> Any:
        part = picture_part(noise(*size, seed=sum(size)))
        return ask(client, part, QUESTION, roi=EVERYWHERE).roi

    with ThreadPoolExecutor(len(sizes)) as pool:
        reports = list(pool.map(report, sizes))
    assert [r["image_size"] for r in reports] == [list(size) for size in sizes]
    for roi, (width, height) in zip(reports, sizes, strict=True):
        # The released code truncates: a box of the whole picture may miss its last row or column.
        assert roi["regions"][0]["box"] == pytest.approx([0, 0, width, height], abs=1)
