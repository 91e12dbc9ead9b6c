"""Half the precision, as on GPUs: the map keeps its shape."""

from __future__ import annotations

import numpy as np

from rpn_plugin.messages import decode_result
from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.engines import Ask, Engine
from tests.rpn_plugin.engine.reference import Reference


def test_map_follows_float32(bfloat16: Engine, reference: Reference) -> None:
    chats = [Chat((noise(9, 10, seed=700 + n),)) for n in range(4)]
    for chat, output in zip(chats, bfloat16.ask(*map(Ask, chats)), strict=True):
        logits = decode_result(output.kv_transfer_params).logits
        truth = reference.map(chat, output.prompt_token_ids)
        assert np.corrcoef(logits.ravel(), truth.ravel())[0, 1] > 0.99
