"""Flagged and unflagged requests share the engine's batches and do not touch each other."""

from __future__ import annotations

from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import Ask, Engine
from tests.rpn_plugin.engine.reference import Reference


def test_unflagged_beside_flagged(eager: Engine, reference: Reference) -> None:
    chats = [Chat((noise(5, 6, seed=200 + n),)) for n in range(8)]
    alone = [eager.ask(Ask(chat, params=None, max_tokens=8))[0] for chat in chats[::2]]
    asks = [Ask(chat, None, 8) if n % 2 == 0 else Ask(chat) for n, chat in enumerate(chats)]
    outputs = eager.ask(*asks)
    for chat, output in list(zip(chats, outputs, strict=True))[1::2]:
        assert_right(reference, chat, output)
    for before, output in zip(alone, outputs[::2], strict=True):
        assert output.kv_transfer_params is None
        assert output.outputs[0].token_ids == before.outputs[0].token_ids


def test_flagged_request_that_goes_on_generating(eager: Engine, reference: Reference) -> None:
    """The map is made in an early step and travels with the last."""
    chat = Chat((noise(7, 4, seed=9),))
    (output,) = eager.ask(Ask(chat, max_tokens=20))
    assert len(output.outputs[0].token_ids) == 20
    assert_right(reference, chat, output)


def test_request_without_pictures_is_served(eager: Engine) -> None:
    (output,) = eager.ask(Ask(Chat((), "How are you?"), params=None, max_tokens=4))
    assert len(output.outputs[0].token_ids) == 4
