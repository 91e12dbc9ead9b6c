"""Part of the prompt is in the cache and not computed again: its states are found there."""

from __future__ import annotations

from rpn_plugin.messages import decode_result
from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import BLOCK, Ask, Engine
from tests.rpn_plugin.engine.reference import Reference


def test_same_picture_other_question(eager: Engine, reference: Reference) -> None:
    picture = noise(9, 11, seed=3)
    eager.ask(Ask(Chat((picture,), "What is the code on the blue tag?")))
    chat = Chat((picture,), "Where is the green one?")
    (output,) = eager.ask(Ask(chat))
    assert output.num_cached_tokens >= 3 * BLOCK
    assert decode_result(output.kv_transfer_params).cached_tokens == output.num_cached_tokens
    assert_right(reference, chat, output)


def test_identical_request(eager: Engine, reference: Reference) -> None:
    chat = Chat((noise(10, 7, seed=4),))
    eager.ask(Ask(chat))
    (output,) = eager.ask(Ask(chat))
    # As much as can be: the last token is always computed, and hits are whole blocks.
    assert output.num_cached_tokens == (len(output.prompt_token_ids) - 1) // BLOCK * BLOCK
    assert_right(reference, chat, output)


def test_blocks_that_an_unflagged_request_cached(eager: Engine, reference: Reference) -> None:
    chat = Chat((noise(8, 8, seed=5),))
    eager.ask(Ask(chat, params=None))
    (output,) = eager.ask(Ask(chat))
    assert output.num_cached_tokens > 0
    assert_right(reference, chat, output)


def test_vllm_has_lost_the_picture_and_the_rpn_has_not(eager: Engine, reference: Reference) -> None:
    """Blocks computed anew, elsewhere: what the RPN knows is still theirs."""
    picture = noise(9, 10, seed=15)
    eager.ask(Ask(Chat((picture,))))
    eager.drop_prefix_cache(connector=False)
    chat = Chat((picture,), "Where is the green one?")
    (output,) = eager.ask(Ask(chat))
    assert output.num_cached_tokens == 0
    assert decode_result(output.kv_transfer_params).cached_tokens >= 3 * BLOCK
    assert_right(reference, chat, output)


def test_the_rpn_has_lost_the_picture_and_vllm_has_not(eager: Engine, reference: Reference) -> None:
    """More prompts than the RPN remembers, and fewer than the cache holds."""
    picture = noise(6, 6, seed=16)
    eager.ask(Ask(Chat((picture,), "What is the code on the blue tag?")))
    eager.ask(*(Ask(Chat((noise(11, 11, seed=160 + n),))) for n in range(5)))
    chat = Chat((picture,), "Where is the green one?")
    (output,) = eager.ask(Ask(chat))
    roi = decode_result(output.kv_transfer_params)
    assert roi.cached_tokens < output.num_cached_tokens
    assert_right(reference, chat, output)


def test_both_forget_when_weights_change(eager: Engine, reference: Reference) -> None:
    picture = noise(9, 10, seed=17)
    eager.ask(Ask(Chat((picture,))))
    eager.drop_prefix_cache(connector=True)
    chat = Chat((picture,), "Where is the green one?")
    (output,) = eager.ask(Ask(chat))
    assert decode_result(output.kv_transfer_params).cached_tokens == 0
    assert_right(reference, chat, output)


def test_many_questions_about_one_new_picture_at_once(eager: Engine, reference: Reference) -> None:
    picture = noise(8, 10, seed=18)
    words = ("red", "green", "blue", "black", "white", "grey")
    chats = [Chat((picture,), f"What is the code on the {word} tag?") for word in words]
    outputs = eager.ask(*map(Ask, chats))
    for chat, output in zip(chats, outputs, strict=True):
        assert_right(reference, chat, output)
    known = [decode_result(output.kv_transfer_params).cached_tokens for output in outputs]
    assert sum(tokens >= 2 * BLOCK for tokens in known) >= len(words) - 1


def test_blocks_with_generated_tokens(eager: Engine, reference: Reference) -> None:
    """A second turn repeats the first answer: its states were written during decoding."""
    first = Chat((noise(6, 6, seed=6),))
    (turn,) = eager.ask(Ask(first, params=None, max_tokens=3 * BLOCK))
    (output,) = eager.ask(Ask(first, prompt_token_ids=reference.second_turn(turn)))
    assert output.num_cached_tokens > len(turn.prompt_token_ids) + BLOCK
    assert_right(reference, first, output)
