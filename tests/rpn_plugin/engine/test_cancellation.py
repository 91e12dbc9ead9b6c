"""Requests that are cancelled at any moment leave nothing behind that harms others."""

from __future__ import annotations

import pytest

from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import Ask, Engine
from tests.rpn_plugin.engine.reference import Reference


@pytest.mark.parametrize("after", [0.0, 0.03, 0.1, 0.3])
def test_engine_stays_right(eager: Engine, reference: Reference, after: float) -> None:
    seed = 400 + int(after * 1000)
    eager.ask_and_hang_up(
        *(Ask(Chat((noise(12, 12, seed=seed + n),)), max_tokens=100) for n in range(8)),
        after=after,
    )
    # The last of the cancelled ones, so that blocks it may have cached are used.
    chat = Chat((noise(12, 12, seed=seed + 7),))
    (output,) = eager.ask(Ask(chat))
    assert_right(reference, chat, output)
