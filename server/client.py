"""A small client of a running endpoint: one question about one picture."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any

import httpx

from server.api.roi_report import RoiReport

_TIMEOUT = httpx.Timeout(300.0, connect=5.0)


class EndpointError(Exception):
    """The endpoint cannot be reached or returned an error; the message is one line."""


@dataclass(frozen=True)
class Answer:
    """The model's answer, the `roi` object of the response, and the latency in seconds."""

    text: str
    roi: RoiReport
    seconds: float


class Client:
    """A client of the endpoint at `url` (without /v1). Every method raises EndpointError."""

    def __init__(self, url: str, api_key: str | None = None, model: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._url = url.rstrip("/")
        self._http = httpx.Client(base_url=self._url, headers=headers, timeout=_TIMEOUT)
        self.model = model or self._served_model()
        """The served name of the model."""

    def ask(
        self, picture: bytes, question: str, roi: bool | dict[str, Any], max_tokens: int
    ) -> Answer:
        """The answer to `question` about the picture file `picture`, sampled greedily."""
        url = "data:application/octet-stream;base64," + base64.b64encode(picture).decode()
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": question},
        ]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_completion_tokens": max_tokens,
            "roi": roi,
        }
        started = time.perf_counter()
        answer = self._call("POST", "/v1/chat/completions", body)
        seconds = time.perf_counter() - started
        text = answer["choices"][0]["message"]["content"] or ""
        if "roi" not in answer:
            raise EndpointError(f"the endpoint at {self._url} is vLLM without sdrpn")
        return Answer(text.strip(), RoiReport.model_validate(answer["roi"]), seconds)

    def _served_model(self) -> str:
        models = self._call("GET", "/v1/models")
        try:
            return str(models["data"][0]["id"])
        except (LookupError, TypeError) as error:
            raise EndpointError(f"the endpoint at {self._url} names no model") from error

    def _call(self, method: str, route: str, body: Any = None) -> Any:
        try:
            response = self._http.request(method, route, json=body)
        except httpx.TransportError as error:
            raise EndpointError(
                f"no endpoint answers at {self._url} ({error}); `sdrpn serve` starts one"
            ) from error
        if response.is_success:
            try:
                return response.json()
            except ValueError as error:
                raise EndpointError(f"the endpoint at {self._url} does not answer JSON") from error
        raise EndpointError(f"the endpoint answered {response.status_code}: {_message(response)}")


def _message(response: httpx.Response) -> str:
    """The message of OpenAI's error object, or the start of any other body."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
