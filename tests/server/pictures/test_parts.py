from __future__ import annotations

from typing import Any

import pytest

from server.api.errors import BadPicture
from server.pictures.parts import (
    PicturePart,
    find_pictures,
    plain_messages,
    with_views,
)

URL = "data:image/png;base64,AAAA"
PICTURE = {"type": "image_url", "image_url": {"url": URL}}
TEXT = {"type": "text", "text": "What does it say?"}


def test_pictures_are_found_in_reading_order() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [PICTURE, TEXT]},
        {"role": "assistant", "content": "A code."},
        {"role": "user", "content": [TEXT, {"image_url": "data:other"}]},
    ]
    assert find_pictures(messages) == [PicturePart(1, 0, URL), PicturePart(3, 1, "data:other")]


def test_views_take_the_place_of_their_picture_and_nothing_else_moves() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "hello"},
        {"role": "user", "name": "ann", "content": [TEXT, PICTURE, TEXT]},
    ]
    [at] = find_pictures(messages)
    base, crop = {"type": "image_pil", "uuid": "b"}, {"type": "image_pil", "uuid": "c"}
    rewritten = with_views(messages, {at: [base, crop]})
    assert rewritten[0] is messages[0]
    assert rewritten[1] == {"role": "user", "name": "ann", "content": [TEXT, base, crop, TEXT]}
    assert messages[1]["content"] == [TEXT, PICTURE, TEXT]


def test_one_shot_contents_are_read_once() -> None:
    messages = plain_messages([{"role": "user", "content": iter([PICTURE, TEXT])}])
    assert messages == [{"role": "user", "content": [PICTURE, TEXT]}]
    assert len(find_pictures(messages)) == len(find_pictures(messages)) == 1


def test_messages_that_are_no_dicts_pass_through() -> None:
    stranger = object()
    messages = plain_messages([stranger, {"role": "assistant", "content": None}])
    assert messages[0] is stranger
    assert find_pictures(messages) == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "https://example.com/film.mp4"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "image_pil", "image_pil": "not one"},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "text", "text": "smuggled", "video_url": "https://example.com", "uuid": "x"},
        {"type": "hologram"},
        {"type": "image_url", "image_url": None, "uuid": "somebody-else's"},
        {"type": "image_url", "image_url": {"url": ""}},
        {"type": "image_url", "image_url": 5},
    ],
)
def test_other_media_and_pictures_without_a_url_are_refused(part: dict[str, Any]) -> None:
    with pytest.raises(BadPicture):
        find_pictures([{"role": "user", "content": [TEXT, part]}])


def test_a_picture_hidden_in_a_text_part_is_still_a_picture() -> None:
    part = {"type": "text", "text": "x", "image_url": URL, "uuid": "y"}
    assert find_pictures([{"role": "user", "content": [part]}]) == [PicturePart(0, 0, URL)]
