"""The learned gate in the engine says what it says as a plain module on dense float32 states."""

from __future__ import annotations

import pytest
from vllm.outputs import RequestOutput

from rpn_plugin.messages import RoiRequest, decode_result
from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import TOLERANCE, assert_right
from tests.rpn_plugin.engine.engines import BLOCK, Ask, Engine
from tests.rpn_plugin.engine.reference import Reference

GATE = RoiRequest(gate=True).to_params()


def assert_gate_right(reference: Reference, chat: Chat, output: RequestOutput) -> float:
    """The logit of a finished request, which carries the right map as well."""
    assert_right(reference, chat, output)
    found = decode_result(output.kv_transfer_params).gate_logit
    assert found == pytest.approx(
        reference.gate_logit(chat, output.prompt_token_ids), rel=0, abs=TOLERANCE
    )
    assert found is not None
    return found


def test_prompt_of_many_chunks(eager: Engine, reference: Reference) -> None:
    chat = Chat((noise(14, 16, seed=101),))
    (output,) = eager.ask(Ask(chat, params=GATE))
    assert len(output.prompt_token_ids) > 3 * 64
    assert output.num_cached_tokens == 0
    assert_gate_right(reference, chat, output)


def test_same_picture_other_question(eager: Engine, reference: Reference) -> None:
    picture = noise(9, 11, seed=102)
    first = Chat((picture,), "What is the code on the blue tag?")
    (asked,) = eager.ask(Ask(first))
    assert decode_result(asked.kv_transfer_params).gate_logit is None
    second = Chat((picture,), "Where is the green one?")
    (output,) = eager.ask(Ask(second, params=GATE))
    assert output.num_cached_tokens >= 3 * BLOCK
    of_second = assert_gate_right(reference, second, output)
    (again,) = eager.ask(Ask(first, params=GATE))
    assert assert_gate_right(reference, first, again) != pytest.approx(
        of_second, abs=10 * TOLERANCE
    )


def test_some_of_many_ask_it(eager: Engine, reference: Reference) -> None:
    chats = [Chat((noise(3 + n, 9 - n, seed=110 + n),)) for n in range(6)]
    asks = [
        Ask(chat, params=GATE if n % 2 else RoiRequest().to_params())
        for n, chat in enumerate(chats)
    ]
    for n, (chat, output) in enumerate(zip(chats, eager.ask(*asks), strict=True)):
        if n % 2:
            assert_gate_right(reference, chat, output)
        else:
            assert_right(reference, chat, output)
            assert decode_result(output.kv_transfer_params).gate_logit is None
