"""The cache is too small for all: requests lose their blocks and are computed again."""

from __future__ import annotations

from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import Ask, Engine
from tests.rpn_plugin.engine.reference import Reference


def test_preempted_requests_keep_their_maps(eager: Engine, reference: Reference) -> None:
    before = eager.counter("vllm:num_preemptions")
    long_answers = [Chat((noise(8, 9, seed=300 + n),)) for n in range(8)]
    maps_only = [Chat((noise(11, 8, seed=320 + n),)) for n in range(6)]
    outputs = eager.ask(
        *(Ask(chat, max_tokens=200) for chat in long_answers), *(Ask(chat) for chat in maps_only)
    )
    assert eager.counter("vllm:num_preemptions") > before
    for chat, output in zip(long_answers + maps_only, outputs, strict=True):
        assert_right(reference, chat, output)
