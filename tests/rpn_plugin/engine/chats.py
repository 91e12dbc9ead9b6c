"""Chats with pictures of noise: every size and seed is another prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

CELL = 28


@dataclass(frozen=True)
class Chat:
    """One user turn: pictures, then a question."""

    pictures: tuple[Image.Image, ...]
    question: str = "What is the code on the red tag?"
    placeholder: str = "<|vision_start|><|image_pad|><|vision_end|>"

    @property
    def text(self) -> str:
        """The prompt, one placeholder for each picture."""
        pictures = self.placeholder * len(self.pictures)
        return (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            f"<|im_start|>user\n{pictures}{self.question}<|im_end|>\n<|im_start|>assistant\n"
        )


def noise(rows: int, cols: int, seed: int, cell: int = CELL) -> Image.Image:
    """A picture of rows x cols visual tokens, in large soft blotches that no resize would lose."""
    blotches = np.random.default_rng(seed).integers(0, 256, (rows, cols, 3), dtype=np.uint8)
    size = (cols * cell, rows * cell)
    return Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)
