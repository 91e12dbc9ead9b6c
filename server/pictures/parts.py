"""The pictures in an OpenAI chat: where they are, and the same chat with views in their place.

A chat is a list of messages, or of the Responses API's items, whose tool outputs have their
content parts under another name. Content parts are plain dicts, parsed from JSON. Parts that are
neither text nor a picture (audio, video, embeddings, decoded objects) are refused here, before vLLM
fetches or unpacks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.api.errors import BadPicture, RequestError

_TEXT_TYPES = {"text", "input_text", "output_text", "refusal", "thinking", "tool_reference"}
_TEXT_ROLES = {"system", "developer"}
# vLLM takes a part for media by the keys it has, whatever its `type` says; so do we.
_PICTURE_KEY = "image_url"
_OTHER_MEDIA_KEYS = {
    "image_pil",
    "image_embeds",
    "audio_url",
    "audio_embeds",
    "input_audio",
    "video_url",
    "video_embeds",
    "prompt_embeds",
}

Message = dict[str, Any]


@dataclass(frozen=True)
class PicturePart:
    """One picture of a chat: its message, its content part in that message, and its URL."""

    message: int
    part: int
    detail: str | None = field(default=None, kw_only=True)
    url: str = field(hash=False)  # megabytes of data: URL, on the event loop


def plain_messages(messages: Sequence[Any]) -> list[Any]:
    """`messages` with every content sequence read once into a list.

    Pydantic leaves some of them one-shot iterators that check as they are read, which is why this
    raises RequestError for a malformed content part.
    """
    return [_plain(message) for message in messages]


def _plain(message: Any) -> Any:
    field = _content_field(message)
    if field is None or isinstance(message[field], str | list):
        return message
    try:
        return {**message, field: list(message[field])}
    except ValueError as error:
        raise RequestError(f"malformed content in a message: {error}", "messages") from error


def find_pictures(messages: Sequence[Any]) -> list[PicturePart]:
    """The picture parts of `messages` (from `plain_messages`) in reading order.

    Raises BadPicture for media of any other kind, for a picture part without a URL, and for a
    picture in a system prompt: vLLM joins several of these to one text.
    """
    pictures = [
        PicturePart(m, p, _url(part), detail=_detail(part))
        for m, message in enumerate(messages)
        for p, part in enumerate(_parts(message))
        if _is_picture(part)
    ]
    if any(messages[at.message].get("role") in _TEXT_ROLES for at in pictures):
        raise BadPicture("system and developer messages hold text; send pictures as the user")
    return pictures


def with_views(
    messages: Sequence[Any], views: Mapping[PicturePart, Sequence[Message]]
) -> list[Any]:
    """A copy of `messages` with each picture part replaced by the content parts given for it."""
    replaced = {(at.message, at.part): parts for at, parts in views.items()}

    def rewrite(m: int, message: Any) -> Any:
        if not any(at == m for at, _ in replaced):
            return message
        parts = [
            new for p, old in enumerate(_parts(message)) for new in replaced.get((m, p), [old])
        ]
        return {**message, _content_field(message): parts}

    return [rewrite(m, message) for m, message in enumerate(messages)]


def _content_field(message: Any) -> str | None:
    """Under which key `message` has content, if it has any."""
    if not isinstance(message, dict):
        return None
    return next((key for key in ("content", "output") if message.get(key) is not None), None)


def _parts(message: Any) -> list[Any]:
    field = _content_field(message)
    content = message[field] if field else None
    return content if isinstance(content, list) else []


def _is_picture(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    if _PICTURE_KEY in part:
        return True
    kind = part.get("type", "text")
    if kind in _TEXT_TYPES and not _OTHER_MEDIA_KEYS & part.keys():
        return False
    raise BadPicture(
        f"content parts of type {kind!r} are not taken; pictures come as image_url parts"
    )


def _detail(part: Message) -> Any:
    """OpenAI's `detail`: beside the URL in a chat, beside `image_url` in the Responses API."""
    url = part[_PICTURE_KEY]
    return url.get("detail") if isinstance(url, dict) else part.get("detail")


def _url(part: Message) -> str:
    """The URL of a picture part, written as OpenAI does or, as vLLM allows, without the object."""
    url = part[_PICTURE_KEY]
    if isinstance(url, dict):
        url = url.get("url")
    if not isinstance(url, str) or not url:
        raise BadPicture("an image_url part needs a `url`")
    return url
