"""Pass 2: the chat with its base views and crops, answered by vLLM's own handler.

It is measured (metrics and trace), and repeated where the engine has lost a picture. Zooming must
not turn an answerable chat into an error: if vLLM refuses the chat with its crops, the base views
answer it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from opentelemetry.trace import StatusCode
from starlette.requests import Request
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.exceptions import VLLMClientError

from server.api.outcomes import Outcome
from server.api.roi_report import RoiReport
from server.observe import metrics, tracing
from server.observe.metrics import Pass
from server.observe.report_header import note_report
from server.passes.retry import Create, create_with_retry

logger = logging.getLogger("vllm.sdrpn")


class Pass2:
    """One pass 2, from its request until `end`.

    `report` is the `roi` object of the response, `outcome` is counted. Both change if the base
    views answer in place of the crops.
    """

    def __init__(self, report: RoiReport, outcome: Outcome) -> None:
        self.report = report
        self._outcome = outcome
        self._started = time.perf_counter()
        self._span = tracing.start_span("pass2")
        self._call: Callable[[], Awaitable[Any]]

    async def run(
        self, create: Create, request: Any, base_request: Any, raw_request: Request | None
    ) -> Any:
        """vLLM's answer to `request`, or to `base_request` if it refuses the crops.

        `create` is the method of vLLM's handler. Raises what `create` does; the pass has then
        ended.
        """
        self._call = partial(create_with_retry, create, request, raw_request)
        try:
            if not self.report.regions:
                return await self._call()
            answer, refusal = await self._try_with_crops()
            if refusal is None:
                return answer
            self._call = partial(create_with_retry, create, base_request, raw_request)
            answer = await self._call()
            if _refusal(answer) is None:
                self._drop_crops(refusal, raw_request)
            return answer
        except BaseException as error:
            self._span.record_exception(error)
            self._span.set_status(StatusCode.ERROR)
            self.end()
            raise
        finally:
            metrics.count(self._outcome)

    async def repeat(self) -> Any:
        """vLLM's answer to the request that `run` was answered by, once more."""
        return await self._call()

    async def _try_with_crops(self) -> tuple[Any, str | None]:
        """vLLM's answer, and its message if it refuses the request."""
        try:
            answer = await self._call()
        except (VLLMClientError, ValueError) as error:
            return None, str(error)
        return answer, _refusal(answer)

    def begin_answer(self) -> None:
        """The first chunk, or the whole answer, is here."""
        metrics.PASS2_SECONDS.observe(time.perf_counter() - self._started)

    def note_usage(self, prompt_tokens: int, cached_tokens: int | None) -> None:
        """The length of the prompt, and how much of it was cached (None: not reported)."""
        if cached_tokens is None:
            return
        metrics.observe_prompt(Pass.SECOND, prompt_tokens, cached_tokens)
        self._span.set_attribute("sdrpn.prompt_tokens", prompt_tokens)
        self._span.set_attribute("sdrpn.cached_tokens", cached_tokens)
        usage = self.report.pass1_usage
        if usage and usage.cached_tokens is not None:
            pass1_computed = usage.prompt_tokens - usage.cached_tokens
            metrics.observe_zoom_cost(pass1_computed, prompt_tokens - cached_tokens)

    def end(self) -> None:
        """The answer is complete, or will never be."""
        self._span.end()

    def _drop_crops(self, refusal: str, raw_request: Request | None) -> None:
        logger.info("vLLM refuses the crops; answering from the base views: %s", refusal)
        too_long = "context length" in refusal
        skipped = "context_length" if too_long else "error: vLLM refuses the crops"
        self.report = self.report.model_copy(update={"regions": [], "skipped": skipped})
        self._outcome = Outcome.CROPS_REFUSED
        tracing.note(outcome=self._outcome.value, regions=0)
        note_report(raw_request, self.report)


def _refusal(answer: Any) -> str | None:
    """The message of an answer that blames the request; None for any other answer."""
    if isinstance(answer, ErrorResponse) and 400 <= answer.error.code < 500:
        return str(answer.error.message)
    return None
