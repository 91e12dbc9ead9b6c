"""How large a caller's pictures may be."""

from __future__ import annotations

from dataclasses import dataclass

from server.api.errors import PictureTooLarge


@dataclass(frozen=True)
class PictureLimits:
    """Limits of one picture."""

    bytes: int = 20 * 2**20
    """Of a picture's file."""

    pixels: int = 50_000_000
    """Width times height. One decoded picture of this size takes 150 MB."""

    def check_bytes(self, size: int) -> None:
        """Raises PictureTooLarge for a file of too many bytes."""
        if size > self.bytes:
            raise PictureTooLarge(f"a picture has more than {self.bytes} bytes")
