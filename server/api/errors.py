"""What can be wrong with a request, as exceptions. `guard/error_form.py` makes them HTTP.

Each carries what OpenAI's error object needs: a message for the caller, the status code, and the
name of the parameter at fault.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from server.api.outcomes import Rejection


class RequestError(Exception):
    """The caller sent something that cannot be served; the message says what and why."""

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    type: ClassVar[str] = "BadRequestError"
    cause: ClassVar[Rejection] = Rejection.BAD_REQUEST

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers that belong to the answer."""
        return {}

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

    cause = Rejection.BAD_PICTURE

    def __init__(self, message: str) -> None:
        super().__init__(message, "messages")


class PictureTooLarge(BadPicture):
    """A picture with more bytes or pixels than the server takes."""

    cause = Rejection.TOO_LARGE
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "ContentTooLargeError"


class FetchRefused(BadPicture):
    """A picture's URL that this server does not go to."""

    cause = Rejection.FETCH_REFUSED


class FetchFailed(BadPicture):
    """A picture's URL where there is no picture, or not in time."""

    cause = Rejection.FETCH_FAILED


class Unauthorized(RequestError):
    """No key, or not one of the server's."""

    cause = Rejection.UNAUTHORIZED
    status = HTTPStatus.UNAUTHORIZED
    type = "AuthenticationError"

    @property
    def headers(self) -> dict[str, str]:
        """How to ask again: with a bearer token."""
        return {"WWW-Authenticate": "Bearer"}


class NotFound(RequestError):
    """A path that is not for callers from outside, whether or not vLLM has something there."""

    status = HTTPStatus.NOT_FOUND
    type = "NotFoundError"


class BodyTooLarge(RequestError):
    """A request with more bytes than the server reads."""

    cause = Rejection.TOO_LARGE
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "ContentTooLargeError"


class UnsupportedEncoding(RequestError):
    """A request whose body is compressed in a way that the server does not unpack."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    type = "UnsupportedMediaTypeError"

    @property
    def headers(self) -> dict[str, str]:
        """What the server unpacks."""
        return {"Accept-Encoding": "gzip, deflate"}


class RequestTimeout(RequestError):
    """A request whose body does not arrive in time."""

    cause = Rejection.TIMEOUT
    status = HTTPStatus.REQUEST_TIMEOUT
    type = "TimeoutError"


class ServiceUnavailable(RequestError):
    """Nothing is wrong with the request; `retry_after` seconds from now it may be served.

    As it stands: by another replica, for this server is ending.
    """

    cause = Rejection.DRAINING
    status = HTTPStatus.SERVICE_UNAVAILABLE
    type = "ServiceUnavailableError"
    retry_after: ClassVar[int] = 5

    @property
    def headers(self) -> dict[str, str]:
        """When to ask again, in seconds."""
        return {"Retry-After": str(self.retry_after)}


class TooManyRequests(ServiceUnavailable):
    """As many requests are in flight as the server takes."""

    cause = Rejection.BUSY
    status = HTTPStatus.TOO_MANY_REQUESTS
    type = "RateLimitError"
    retry_after = 1


class DeadlineExceeded(ServiceUnavailable):
    """The request took longer than the server, or its caller, allows."""

    cause = Rejection.TIMEOUT
    type = "TimeoutError"
    retry_after = 1
