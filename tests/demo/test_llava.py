"""The small LLaVA: its stages run, its folder is stock code's, and training's maths is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from demo.language import hidden_states
from demo.llava.language_stage import LanguageRecipe
from demo.llava.pages import base_view, crop_view, render_pair
from demo.llava.train import train
from demo.llava.vision_stage import visual_tokens
from demo.packing import Layout, Question, pack
from demo.page_features import describe_page

A_FEW = LanguageRecipe(steps=2, pool=16, new_pages=1, held_out_pages=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("llava")
    train(2, A_FEW, runs, runs / "model")
    return runs / "model"


@torch.no_grad()
def test_packed_questions_equal_separate_chats(folder: Path) -> None:
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor: Any = AutoProcessor.from_pretrained(folder)
    page = render_pair(5, 1).page
    views, described = describe_page(page, Random(1), crops=2, see=(base_view, crop_view))
    tokens = [visual_tokens(model, torch.from_numpy(v.pixels.copy())[None])[0] for v in views]
    seen = zip(described.views, tokens, strict=True)
    filled = replace(described, views=tuple(replace(v, tokens=t) for v, t in seen))
    questions = [
        Question("What is the code on the blue tag?", "47", 0, ""),
        Question("What is the code on the red tag?", "48", 0, ""),
        Question("What is the code on the red tag?", "48", 2, ""),
    ]
    packed = pack([(filled, questions)], Layout(2, 1, one_axis=True))
    logits = model.lm_head(hidden_states(model.model.language_model, packed))
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
