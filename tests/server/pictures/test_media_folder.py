from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.api.errors import FetchRefused, PictureTooLarge
from server.pictures.limits import PictureLimits
from server.pictures.media_folder import read_file

LIMITS = PictureLimits()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "pictures"
    (inside / "deep").mkdir(parents=True)
    (inside / "a b.png").write_bytes(b"inside")
    (inside / "deep" / "b.png").write_bytes(b"deep")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "pictures-2").mkdir()
    (tmp_path / "pictures-2" / "c.png").write_bytes(b"beside")
    (inside / "link").symlink_to(inside / "deep" / "b.png")
    (inside / "way out").symlink_to(tmp_path / "secret")
    (inside / "folder out").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe")
    return inside


def test_files_of_the_folder_are_read(folder: Path) -> None:
    assert read_file(f"file://{folder}/a%20b.png", folder, LIMITS) == b"inside"
    assert read_file(f"file://localhost{folder}/deep/b.png", folder, LIMITS) == b"deep"
    assert read_file(f"file://{folder}/deep/../deep/b.png", folder, LIMITS) == b"deep"


def test_a_link_that_stays_inside_is_followed(folder: Path) -> None:
    assert read_file(f"file://{folder}/link", folder, LIMITS) == b"deep"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{folder}/../secret",
        "{folder}/%2e%2e/secret",
        "{folder}/deep/../../secret",
        "{folder}-2/c.png",
        "{folder}/way%20out",
        "{folder}/folder%20out/secret",
        "{folder}/pipe",
        "{folder}/deep",
        "{folder}",
        "{folder}/missing",
        "{folder}/a%00b.png",
        "/proc/self/environ",
        "/dev/zero",
    ],
)
def test_everything_else_is_refused_in_the_same_words(folder: Path, path: str) -> None:
    with pytest.raises(FetchRefused, match="no such picture"):
        read_file(f"file://{path.format(folder=folder)}", folder, LIMITS)


def test_other_hosts_have_no_files_here(folder: Path) -> None:
    with pytest.raises(FetchRefused):
        read_file(f"file://elsewhere{folder}/deep/b.png", folder, LIMITS)


def test_a_file_that_is_too_large(folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(LIMITS.bytes + 1)
    with pytest.raises(PictureTooLarge):
        read_file(f"file://{folder}/large", folder, LIMITS)
