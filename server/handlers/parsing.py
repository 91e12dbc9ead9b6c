"""What a request asks of the two passes: its messages, their pictures, its `roi` field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from rpn_plugin.messages import RoiRequest
from server.api.errors import BadRoi, RequestError
from server.api.roi import RoiOptions, RoiReport, parse_roi
from server.observe.report_header import STATE
from server.pictures.parts import PicturePart, find_pictures, plain_messages


@dataclass(frozen=True)
class Asked:
    """A request's messages (or items), the pictures in them and its `roi` field, checked."""

    messages: list[Any]
    pictures: list[PicturePart]
    options: RoiOptions | None


def read(messages: Sequence[Any], roi: Any, kv_transfer_params: dict[str, Any] | None) -> Asked:
    """What a request with these fields asks. Raises RequestError."""
    options = parse_roi(roi)
    _check_no_message_of_ours(kv_transfer_params)
    plain = plain_messages(messages)
    pictures = find_pictures(plain)
    if not pictures and options is not None and options.enabled:
        raise BadRoi("`roi` is on, but there is no picture in the chat")
    return Asked(plain, pictures, options)


def _check_no_message_of_ours(params: dict[str, Any] | None) -> None:
    """Callers ask for regions with `roi`; what goes into the engine is written here alone."""
    try:
        theirs = RoiRequest.from_params(params) is not None
    except ValueError:
        theirs = True
    if theirs:
        raise RequestError("kv_transfer_params.sdrpn is not for callers", "kv_transfer_params")


def note_report(raw_request: Request | None, report: RoiReport) -> None:
    """Leaves the report for the response's header."""
    if raw_request is not None:
        setattr(raw_request.state, STATE, report)


def drop_report(raw_request: Request | None) -> None:
    """Takes back what `note_report` left, if anything."""
    if raw_request is not None and hasattr(raw_request.state, STATE):
        delattr(raw_request.state, STATE)
