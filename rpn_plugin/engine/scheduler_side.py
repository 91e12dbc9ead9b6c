"""Which requests want a RoI map, when their prompt is complete, and how the map gets back to them.

vLLM's scheduler asks a finished request for its `kv_transfer_params` *before* it hands over what
the workers returned in the same step. A request with `max_tokens=1` finishes in the very step that
makes its map, so it is given a dict that is filled a moment later, before it is serialised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.request import Request

from rpn_plugin.engine.jobs import ImageSpan, RoiJob, RoiJobs, RoiResults
from rpn_plugin.messages import RoiError, RoiRequest, encode_result

Answer = dict[str, Any]
"""The `kv_transfer_params` of a request's output."""

_NO_JOBS = RoiJobs()


@dataclass(frozen=True)
class _Waiting:
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
        self._forget = False
        self._waiting: dict[str, _Waiting] = {}
        self._dispatched: dict[str, Answer] = {}
        self._answers: dict[str, Answer] = {}

    def add(self, request: Request) -> None:
        """Note a new request if it asks for a map. What it asks wrongly becomes its answer."""
        request_id = request.request_id
        try:
            asked = RoiRequest.from_params(request.kv_transfer_params)
            if asked is None:
                return
            image = _image_span(request, asked.image)
            self._waiting[request_id] = _Waiting(request, image, asked.gate)
            answer = encode_result(RoiError("the request ended before its prompt was computed"))
        except Exception as error:  # an exception here would end the engine, for everybody
            answer = encode_result(RoiError(str(error)))
        self._answers[request_id] = answer

    def jobs(self, step: SchedulerOutput) -> RoiJobs:
        """The jobs of those requests whose last prompt token is computed in `step`."""
        if not self._waiting and not self._forget:
            return _NO_JOBS
        forget, self._forget = self._forget, False
        complete = [
            (request_id, self._waiting[request_id])
            for request_id, scheduled in step.num_scheduled_tokens.items()
            if request_id in self._waiting
            and _completes_prompt(self._waiting[request_id].request, scheduled)
        ]
        jobs = tuple(self._dispatch(request_id, w, step) for request_id, w in complete)
        return RoiJobs(jobs, forget)

    def forget(self) -> None:
        """What the worker knows of earlier prompts does not hold from the next step on."""
        self._forget = True

    def finish(self, request_id: str) -> Answer | None:
        """The answer of a request that ends now, perhaps still to be filled; None if not asked."""
        self._waiting.pop(request_id, None)
        return self._answers.pop(request_id, None)

    def deliver(self, results: RoiResults) -> None:
        """Fill the answers that a step's results belong to."""
        for request_id, result in results.results.items():
            answer = self._dispatched.pop(request_id)
            answer.clear()
            answer.update(encode_result(result))

    def _dispatch(self, request_id: str, waiting: _Waiting, step: SchedulerOutput) -> RoiJob:
        del self._waiting[request_id]
        self._dispatched[request_id] = self._answers[request_id]
        request = waiting.request
        block_ids = step.kv_connector_block_state.get_block_ids(request_id)[self._tap.index]
        filled = request.num_prompt_tokens // self._tap.block_tokens
        # Each hash stands for all that comes before its end, so a block's last one is the block's.
        every = self._tap.hashes_per_block
        hashes = request.block_hashes[every - 1 :: every][:filled]
        return RoiJob(
            request_id,
            tuple(block_ids),
            request.num_prompt_tokens,
            waiting.image,
            tuple(hashes),
            waiting.gate,
        )


def _completes_prompt(request: Request, scheduled: int) -> bool:
    """Whether `scheduled` more tokens bring the request to the end of its prompt."""
    return bool(request.num_computed_tokens + scheduled >= request.num_prompt_tokens)


def _image_span(request: Request, image: int) -> ImageSpan:
    """The tokens of the prompt's picture number `image`; RoiError if there is none such."""
    positions = sorted(
        (feature.mm_position for feature in request.mm_features if feature.modality == "image"),
        key=lambda position: position.offset,
    )
    if not -len(positions) <= image < len(positions):
        raise RoiError(f"no picture {image} in a prompt with {len(positions)} pictures")
    return ImageSpan(positions[image].offset, positions[image].length)
