"""Two pictures in one prompt: the map is the asked picture's, in its own shape."""

from __future__ import annotations

import pytest

from rpn_plugin.messages import RoiRequest, decode_result
from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import Ask, Engine
from tests.rpn_plugin.engine.reference import Reference

SHAPES = {0: (4, 9), 1: (8, 5), -1: (8, 5), -2: (4, 9)}


@pytest.mark.parametrize("image", [0, 1, -1, -2])
def test_each_picture(eager: Engine, reference: Reference, image: int) -> None:
    chat = Chat((noise(4, 9, seed=7), noise(8, 5, seed=8)))
    (output,) = eager.ask(Ask(chat, RoiRequest(image).to_params()))
    assert decode_result(output.kv_transfer_params).logits.shape == SHAPES[image]
    assert_right(reference, chat, output, image)
