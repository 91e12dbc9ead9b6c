"""The small model's tokenizer: Qwen2's byte-level BPE with a vocabulary of its own.

Every byte is a token, so any text can be encoded; the words of the demo are one token each.
"""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from demo.pictures.questions import COLOURS

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

_SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond", "ring", "arrow")
_CHAT = ["system\n", "user\n", "assistant\n", "You are a helpful assistant."]


def corpus() -> list[str]:
    """Sentences whose words become tokens. Changing them changes the vocabulary of the model."""
    places = [f"row {r} column {c}" for r in range(1, 5) for c in range(1, 5)]
    lines = list(places)
    for colour in COLOURS:
        lines += [colour, f"What is the code on the {colour} tag?", f"Where is the {colour} tag?"]
        lines += [f"What colour is the tag at {place}?" for place in places]
    for shape in _SHAPES:
        lines += [shape, f"What is the code by the {shape}?", f"Where is the {shape}?"]
        lines += [f"What shape is at {place}?" for place in places]
    return lines


def build_tokenizer() -> Tokenizer:
    """The tokenizer; the same on every call."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=2048,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((corpus() + _CHAT) * 2, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
    return tokenizer
