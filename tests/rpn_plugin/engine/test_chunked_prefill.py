"""A prompt computed in chunks of 64 tokens: the map still sees all of it."""

from __future__ import annotations

from rpn_plugin.messages import decode_result
from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import Ask, Engine
from tests.rpn_plugin.engine.reference import Reference


def test_prompt_of_many_chunks(eager: Engine, reference: Reference) -> None:
    chat = Chat((noise(15, 16, seed=1),))
    (output,) = eager.ask(Ask(chat))
    assert len(output.prompt_token_ids) > 4 * 64
    assert output.num_cached_tokens == 0
    assert_right(reference, chat, output)


def test_one_request_alone_is_a_batch_of_one(eager: Engine, reference: Reference) -> None:
    chat = Chat((noise(3, 5, seed=2),), "Where is it?")
    (output,) = eager.ask(Ask(chat))
    roi = decode_result(output.kv_transfer_params)
    assert (roi.logits.shape, roi.batch_size) == ((3, 5), 1)
    assert roi.seconds > 0
    assert_right(reference, chat, output)
