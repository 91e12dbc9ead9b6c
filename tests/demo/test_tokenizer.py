"""The tokenizer takes any text, and the model folder holds the one that training used."""

from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from demo.architecture import MODEL_DIR
from demo.training.tokenizer import SPECIAL_TOKENS, build_tokenizer, corpus

TOKENIZER = build_tokenizer()
_ANY_TEXT = st.text(st.characters(codec="utf-8"))


@given(_ANY_TEXT)
def test_any_text_survives(text: str) -> None:
    normal = TOKENIZER.normalizer.normalize_str(text)
    ids = TOKENIZER.encode(text).ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == normal


def test_words_of_the_demo_are_one_token_each() -> None:
    for line in corpus():
        words = line.replace("?", " ?").split()
        digits = sum(word.isdigit() for word in words)
        assert len(TOKENIZER.encode(line).ids) <= len(words) + digits


def test_shipped_folder_has_this_tokenizer() -> None:
    shipped = AutoTokenizer.from_pretrained(MODEL_DIR)
    text = "<|im_start|>user\nWhat is the code on the red tag? 日本 \x00<|im_end|>\n"
    assert shipped(text)["input_ids"] == TOKENIZER.encode(text).ids
    assert shipped.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [
        TOKENIZER.token_to_id(token) for token in SPECIAL_TOKENS
    ]
