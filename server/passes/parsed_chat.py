"""A request as both passes need it: its messages, their pictures, its `roi` options, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from rpn_plugin.messages import RoiRequest
from server.api.errors import RequestError
from server.api.roi_options import RoiOptions, parse_roi
from server.pictures.parts import PicturePart, find_pictures, plain_messages


@dataclass(frozen=True)
class ParsedChat:
    """A chat, or the items of the Responses API, with `pictures` somewhere in `messages`.

    `request` has the fields that shape the prompt of pass 1; `to_chat` makes chat messages out of
    `messages` with views in them, which for a chat they are already.
    """

    request: ChatCompletionRequest
    messages: list[Any]
    pictures: list[PicturePart]
    options: RoiOptions | None
    to_chat: Callable[[list[Any]], list[Any]] = list

    @property
    def roi_without_picture(self) -> bool:
        """Whether the request turns `roi` on in a chat that has nothing to zoom."""
        return not self.pictures and self.options is not None and self.options.enabled


def parse_chat(
    request: ChatCompletionRequest,
    messages: Sequence[Any],
    roi: Any,
    kv_transfer_params: dict[str, Any] | None,
    to_chat: Callable[[list[Any]], list[Any]] = list,
) -> ParsedChat:
    """Checks a request that has these fields. Raises RequestError."""
    options = parse_roi(roi)
    _check_no_engine_message(kv_transfer_params)
    plain = plain_messages(messages)
    return ParsedChat(request, plain, find_pictures(plain), options, to_chat)


def _check_no_engine_message(params: dict[str, Any] | None) -> None:
    """Callers ask for regions with `roi`; only this server writes `kv_transfer_params.sdrpn`."""
    try:
        present = RoiRequest.from_params(params) is not None
    except ValueError:
        present = True
    if present:
        raise RequestError("kv_transfer_params.sdrpn is not for callers", "kv_transfer_params")
