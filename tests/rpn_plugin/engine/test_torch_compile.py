"""The language model is compiled with the tap in it, once for all batch sizes."""

from __future__ import annotations

from rpn_plugin.messages import decode_result
from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import BLOCK, Ask, Engine
from tests.rpn_plugin.engine.reference import Reference


def test_one_request(compiled: Engine, reference: Reference) -> None:
    chat = Chat((noise(15, 16, seed=500),))
    (output,) = compiled.ask(Ask(chat))
    assert_right(reference, chat, output)


def test_prompts_batched_into_one_rpn_call(compiled: Engine, reference: Reference) -> None:
    chats = [Chat((noise(2 + n // 2, 12 - n % 5, seed=600 + n),)) for n in range(16)]
    outputs = compiled.ask(*map(Ask, chats))
    for chat, output in zip(chats, outputs, strict=True):
        assert_right(reference, chat, output)
    assert max(decode_result(output.kv_transfer_params).batch_size for output in outputs) > 1


def test_decoded_and_cached_tokens(compiled: Engine, reference: Reference) -> None:
    """Steps without pictures are the ones that take the compiled path."""
    chat = Chat((noise(6, 6, seed=501),))
    (turn,) = compiled.ask(Ask(chat, params=None, max_tokens=100))
    (output,) = compiled.ask(Ask(chat, prompt_token_ids=reference.second_turn(turn)))
    assert output.num_cached_tokens > len(turn.prompt_token_ids) + BLOCK
    assert_right(reference, chat, output)
