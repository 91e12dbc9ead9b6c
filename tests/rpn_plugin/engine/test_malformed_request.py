"""A request that asks wrongly is told so, and everybody else is served."""

from __future__ import annotations

from typing import Any

import pytest

from rpn_plugin.messages import RoiError, RoiRequest
from tests.rpn_plugin.engine.chats import Chat, noise
from tests.rpn_plugin.engine.checks import assert_right
from tests.rpn_plugin.engine.engines import Ask, Engine
from tests.rpn_plugin.engine.reference import Reference

CHAT = Chat((noise(4, 4, seed=10),))


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"sdrpn": {"image": "first"}}, "must be"),
        ({"sdrpn": 7}, "must be"),
        (RoiRequest(1).to_params(), "no picture 1 in a prompt with 1 pictures"),
        (RoiRequest(-2).to_params(), "no picture -2 in a prompt with 1 pictures"),
    ],
)
def test_reason_is_given(
    eager: Engine, reference: Reference, params: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RoiError, match=reason):
        eager.map(Ask(CHAT, params))
    (output,) = eager.ask(Ask(CHAT))
    assert_right(reference, CHAT, output)


def test_no_picture_at_all(eager: Engine) -> None:
    with pytest.raises(RoiError, match="no picture -1 in a prompt with 0 pictures"):
        eager.map(Ask(Chat((), "How are you?")))


def test_unflagged_request_has_no_map(eager: Engine) -> None:
    with pytest.raises(RoiError, match="sent no RoI result"):
        eager.map(Ask(CHAT, params=None))
