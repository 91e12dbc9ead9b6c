"""Tokenizers for recorded checkpoints, which come without: a word a token, and the special ones."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

QWEN_SPECIAL = {
    500: "<|vision_start|>",
    501: "<|vision_end|>",
    502: "<|vision_pad|>",
    503: "<|image_pad|>",
    504: "<|video_pad|>",
    505: "<|im_start|>",
    506: "<|im_end|>",
}
LLAMA_SPECIAL = {0: "<unk>", 1: "<s>", 2: "</s>"}


def save_tokenizer(
    folder: Path, special: dict[int, str], size: int = 512, image: str | None = None
) -> None:
    """Writes a tokenizer of `size` tokens, letters among them, with `special` at their ids, and
    `image` named as the one for pictures.
    """
    free = [token for token in range(size) if token not in special]
    letters = dict(zip(free, map(chr, range(32, 127)), strict=False))
    words = {token: letters.get(token, f"word{token}") for token in free}
    vocabulary = {word: token for token, word in {**words, **special}.items()}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=words[free[0]]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    named = {} if image is None else {"extra_special_tokens": {"image_token": image}}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    fast.add_special_tokens({"additional_special_tokens": list(special.values())})
    if "</s>" in special.values():
        fast.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    fast.save_pretrained(folder)
