"""Pictures in a folder an operator named, by `file:` URLs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from server.api.errors import FetchRefused
from server.pictures.limits import PictureLimits


def read_file(url: str, folder: Path, limits: PictureLimits) -> bytes:
    """The bytes of the file that `url` names, which must lie in `folder`.

    The file is opened first and its path is read from the open file, so that no link can be changed
    in between. Raises FetchRefused for what is elsewhere, is missing or is no regular file, and
    PictureTooLarge.
    """
    try:
        opened = os.open(_path(url), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _not_there() from error
    try:
        where = Path(os.readlink(f"/proc/self/fd/{opened}"))
        about = os.fstat(opened)
        if not where.is_relative_to(folder.resolve()) or not stat.S_ISREG(about.st_mode):
            raise _not_there()
        limits.check_bytes(about.st_size)
        with open(opened, "rb", closefd=False) as file:
            return file.read(limits.bytes)
    finally:
        os.close(opened)


def _path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise _not_there()
    return unquote(parts.path)


def _not_there() -> FetchRefused:
    # One message for every cause: callers must not learn which files exist elsewhere.
    return FetchRefused("there is no such picture in the folder this server reads from")
