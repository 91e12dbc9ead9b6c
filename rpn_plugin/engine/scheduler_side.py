"""The scheduler's half of the side channel: notes RoI requests, makes jobs, delivers results.

vLLM's scheduler reads the `kv_transfer_params` of a finished request *before* it hands over the
workers' results of the same step. A request with `max_tokens=1` finishes in the step that makes its
map, so it gets a dict that is filled in the same step, before it is serialised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.request import Request

from rpn_plugin.engine.failures import failure_reason
from rpn_plugin.engine.jobs import ImageSpan, RoiJob, RoiJobs, RoiResults
from rpn_plugin.messages import RoiError, RoiRequest, encode_result

Answer = dict[str, Any]
"""The `kv_transfer_params` of a request's output."""

_NO_JOBS = RoiJobs()


@dataclass(frozen=True)
class _PendingRequest:
    """A request whose prompt is not computed yet."""

    request: Request
    image: ImageSpan
    gate: bool


@dataclass(frozen=True)
class TapGroup:
    """The tap's cache group: its place among vLLM's, the tokens of one of its blocks, and how many
    of a request's block hashes one such block takes (more than one where groups differ).
    """

    index: int
    block_tokens: int
    hashes_per_block: int = 1


class SchedulerSide:
    """The bookkeeping."""

    def __init__(self, tap: TapGroup) -> None:
        self._tap = tap
        self._clear = False
        self._waiting: dict[str, _PendingRequest] = {}
        self._dispatched: dict[str, Answer] = {}
        self._answers: dict[str, Answer] = {}

    def add(self, request: Request) -> None:
        """Note a new request if it asks for a map; a malformed one gets an error as its answer."""
        request_id = request.request_id
        try:
            roi = RoiRequest.from_params(request.kv_transfer_params)
            if roi is None:
                return
            image = _image_span(request, roi.image)
            self._waiting[request_id] = _PendingRequest(request, image, roi.gate)
            answer = encode_result(RoiError("the request ended before its prompt was computed"))
        except ValueError as error:
            answer = encode_result(RoiError(str(error)))
        except Exception as error:  # an exception here would end the engine for everybody
            answer = encode_result(failure_reason(error, "the RoI request"))
        self._answers[request_id] = answer

    def jobs(self, step: SchedulerOutput) -> RoiJobs:
        """The jobs of those requests whose last prompt token is computed in `step`."""
        if not self._waiting and not self._clear:
            return _NO_JOBS
        clear, self._clear = self._clear, False
        complete = [
            (request_id, self._waiting[request_id])
            for request_id, scheduled in step.num_scheduled_tokens.items()
            if request_id in self._waiting
            and _completes_prompt(self._waiting[request_id].request, scheduled)
        ]
        jobs = [self._dispatch(request_id, pending, step) for request_id, pending in complete]
        return RoiJobs(tuple(job for job in jobs if job), clear)

    def clear_prefix_cache(self) -> None:
        """Clear the worker's prefix cache before the next step."""
        self._clear = True

    def finish(self, request_id: str) -> Answer | None:
        """The answer of a request that ends, perhaps filled later; None without a RoI request."""
        self._waiting.pop(request_id, None)
        return self._answers.pop(request_id, None)

    def deliver(self, results: RoiResults) -> None:
        """Fill the answers that a step's results belong to."""
        for request_id, result in results.results.items():
            answer = self._dispatched.pop(request_id, {})
            answer.clear()
            answer.update(encode_result(result))

    def _dispatch(
        self, request_id: str, pending: _PendingRequest, step: SchedulerOutput
    ) -> RoiJob | None:
        """The job of a request; None if it cannot be made, and the answer says so."""
        del self._waiting[request_id]
        answer = self._answers[request_id]
        try:
            job = self._job(request_id, pending, step)
        except Exception as error:  # an exception here would end the engine for everybody
            answer.clear()
            answer.update(encode_result(failure_reason(error, "the RoI request")))
            return None
        self._dispatched[request_id] = answer
        return job

    def _job(self, request_id: str, pending: _PendingRequest, step: SchedulerOutput) -> RoiJob:
        request = pending.request
        block_ids = step.kv_connector_block_state.get_block_ids(request_id)[self._tap.index]
        filled = request.num_prompt_tokens // self._tap.block_tokens
        # Each hash stands for all that comes before its end, so a block's last one is the block's.
        every = self._tap.hashes_per_block
        hashes = request.block_hashes[every - 1 :: every][:filled]
        return RoiJob(
            request_id,
            tuple(block_ids),
            request.num_prompt_tokens,
            pending.image,
            tuple(hashes),
            pending.gate,
        )


def _completes_prompt(request: Request, scheduled: int) -> bool:
    """Whether `scheduled` more tokens bring the request to the end of its prompt."""
    return bool(request.num_computed_tokens + scheduled >= request.num_prompt_tokens)


def _image_span(request: Request, image: int) -> ImageSpan:
    """The tokens of the prompt's picture number `image`; RoiError if there is no such picture."""
    positions = sorted(
        (feature.mm_position for feature in request.mm_features if feature.modality == "image"),
        key=lambda position: position.offset,
    )
    if not -len(positions) <= image < len(positions):
        raise RoiError(f"no picture {image} in a prompt with {len(positions)} pictures")
    return ImageSpan(positions[image].offset, positions[image].length)
