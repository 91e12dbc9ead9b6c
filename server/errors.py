"""What can be wrong with a request, as exceptions: raised where found, made HTTP in routes.py.

Each carries what OpenAI's error object needs: a message for the caller, the status code, and the
name of the parameter at fault.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar


class RequestError(Exception):
    """The caller sent something that cannot be served; the message says what and why."""

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    type: ClassVar[str] = "BadRequestError"

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param

    def body(self) -> dict[str, Any]:
        """OpenAI's error object, with the fields and the meaning vLLM gives them."""
        return {
            "error": {
                "message": str(self),
                "type": self.type,
                "param": self.param,
                "code": self.status.value,
            }
        }


class BadRoi(RequestError):
    """The `roi` field is malformed, or asks for what this chat does not allow."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message, f"roi.{field}" if field else "roi")


class BadPicture(RequestError):
    """A picture that cannot be read, or may not be."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "messages")


class PictureTooLarge(BadPicture):
    """A picture with more bytes or pixels than the server takes."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "ContentTooLargeError"
