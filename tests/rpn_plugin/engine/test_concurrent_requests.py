"""Sixteen requests at once, no two pictures of one size: each gets its own map."""

from __future__ import annotations

from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import Ask, Engine
from tests.rpn_plugin.engine.reference import Reference


def test_sixteen_sizes(eager: Engine, reference: Reference) -> None:
    chats = [Chat((noise(2 + n // 2, 12 - n % 5, seed=100 + n),)) for n in range(16)]
    assert len({picture.size for chat in chats for picture in chat.pictures}) == 16
    outputs = eager.ask(*map(Ask, chats))
    for chat, output in zip(chats, outputs, strict=True):
        assert_right(reference, chat, output)
