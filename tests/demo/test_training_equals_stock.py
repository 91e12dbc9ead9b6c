"""Training's own fast forward passes compute what stock code computes when the model is served."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from demo.architecture import MODEL_DIR, build_model
from demo.pages import render_page
from demo.training.language import hidden_states
from demo.training.language_stage import initialise
from demo.training.packing import Layout, Question, pack
from demo.training.page_features import describe_page
from demo.training.vision import vision_features

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> Any:
    model = build_model(3).eval()
    initialise(model.model.language_model)
    return model


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(MODEL_DIR)


@torch.no_grad()
def test_packed_questions_equal_separate_chats(model: Any, processor: Any) -> None:
    views, page = describe_page(render_page(5, 1), Random(1), crops=3)
    questions = [
        Question("What is the code by the red circle?", "47", 0, ""),
        Question("Where is the blue circle?", "3,2", 0, ""),
        Question("What is the code by the red circle?", "47", 2, ""),
        Question("Where is the red circle?", "1,1", 3, ""),
    ]
    packed = pack([(page_with_tokens(model, views, page), questions)], Layout(4, 3))
    hidden = hidden_states(model.model.language_model, packed)
    logits = model.lm_head(hidden)
    for question, (row, end) in zip(questions, packed.ends.tolist(), strict=True):
        pictures = [views[0], views[question.crop]] if question.crop else [views[0]]
        content: list[dict[str, str]] = [{"type": "image"} for _ in pictures]
        content.append({"type": "text", "text": question.text})
        chat = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = processor(
            text=[chat], images=[Image.fromarray(v.pixels) for v in pictures], return_tensors="pt"
        )
        stock = model(**inputs).logits[0, -1]
        torch.testing.assert_close(logits[row, end], stock, atol=2e-4, rtol=0)


def page_with_tokens(model: Any, views: Any, page: Any) -> Any:
    """The page with float32 visual tokens, without the rounding that training's cache has."""
    tokens = [
        vision_features(model.model.visual, torch.from_numpy(v.pixels.copy())[None])[1][0]
        for v in views
    ]
    filled = tuple(replace(v, tokens=t) for v, t in zip(page.views, tokens, strict=True))
    return replace(page, views=filled)
