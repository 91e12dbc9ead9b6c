"""What can be wrong with a request, as exceptions. `guard/asgi.py` makes them HTTP.

Each carries what OpenAI's error object needs: a message for the caller, the status code, and the
name of the parameter at fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from server.api.outcomes import Rejection


class RequestError(Exception):
    """A request that cannot be served; the message says what is wrong and why."""

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    type: ClassVar[str] = "BadRequestError"
    cause: ClassVar[Rejection] = Rejection.BAD_REQUEST
    headers: ClassVar[Mapping[str, str]] = {}
    """HTTP headers of the response."""

    def __init__(self, message: str, param: str | None = None) -> None:
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
    """The `roi` field is malformed, or does not fit the chat or the served RPN."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message, f"roi.{field}" if field else "roi")


class BadPicture(RequestError):
    """A picture that cannot be read, or that the server does not accept."""

    cause = Rejection.BAD_PICTURE

    def __init__(self, message: str) -> None:
        super().__init__(message, "messages")


class PictureTooLarge(BadPicture):
    """A picture over the limit of bytes or pixels."""

    cause = Rejection.TOO_LARGE
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "ContentTooLargeError"


class FetchRefused(BadPicture):
    """A picture's URL that the server does not fetch: its scheme, host or address."""

    cause = Rejection.FETCH_REFUSED


class FetchFailed(BadPicture):
    """A picture's URL that returned no picture within the time limit."""

    cause = Rejection.FETCH_FAILED


class Unauthorized(RequestError):
    """The request has no valid API key."""

    cause = Rejection.UNAUTHORIZED
    status = HTTPStatus.UNAUTHORIZED
    type = "AuthenticationError"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class NotFound(RequestError):
    """The server has no such path or object, or does not expose it."""

    status = HTTPStatus.NOT_FOUND
    type = "NotFoundError"


class BodyTooLarge(RequestError):
    """A request body over the limit of bytes."""

    cause = Rejection.TOO_LARGE
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "ContentTooLargeError"


class UnsupportedEncoding(RequestError):
    """A request whose body is compressed in a way that the server does not unpack."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    type = "UnsupportedMediaTypeError"
    headers: ClassVar[Mapping[str, str]] = {"Accept-Encoding": "gzip, deflate"}


class RequestTimeout(RequestError):
    """A request whose body did not arrive within the time limit."""

    cause = Rejection.TIMEOUT
    status = HTTPStatus.REQUEST_TIMEOUT
    type = "TimeoutError"


class ServiceUnavailable(RequestError):
    """The server is shutting down. The client can retry after a few seconds."""

    cause = Rejection.DRAINING
    status = HTTPStatus.SERVICE_UNAVAILABLE
    type = "ServiceUnavailableError"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class TooManyRequests(ServiceUnavailable):
    """The limit of requests, or of request bytes, in flight is reached."""

    cause = Rejection.BUSY
    status = HTTPStatus.TOO_MANY_REQUESTS
    type = "RateLimitError"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class DeadlineExceeded(ServiceUnavailable):
    """The request exceeded the deadline of the server or of its caller."""

    cause = Rejection.TIMEOUT
    type = "TimeoutError"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}
