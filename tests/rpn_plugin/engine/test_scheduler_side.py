"""When a job is dispatched and how its result finds the request, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vllm import SamplingParams
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.v1.core.kv_cache_utils import BlockHash
from vllm.v1.core.sched.output import KVConnectorBlockState, SchedulerOutput
from vllm.v1.request import Request

from rpn_plugin.engine.jobs import ImageSpan, RoiResults
from rpn_plugin.engine.scheduler_side import SchedulerSide, TapGroup
from rpn_plugin.messages import RoiError, RoiMap, RoiRequest, decode_result
from tests.rpn_plugin.engine.logs import captured

MAP = RoiMap(np.arange(6, dtype=np.float32).reshape(2, 3), seconds=0.5, batch_size=2)
PROMPT = 100
BLOCK = 32


def request(name: str, params: dict[str, Any] | None) -> Request:
    picture = MultiModalFeatureSpec(None, "image", "hash", PlaceholderRange(10, 6))
    extra = {"kv_transfer_params": params} if params else None
    sampling = SamplingParams(max_tokens=1, extra_args=extra)
    made = Request(name, list(range(PROMPT)), sampling, None, mm_features=[picture])
    made.block_hashes = [BlockHash(b"%d" % end) for end in range(16, PROMPT + 1, 16)]
    return made


def flagged(name: str) -> Request:
    return request(name, RoiRequest().to_params())


def step(**scheduled: int) -> SchedulerOutput:
    """A step that computes that many tokens of each request; the tap is in group 1."""
    output = SchedulerOutput.make_empty()
    output.num_scheduled_tokens = scheduled
    output.kv_connector_block_state = KVConnectorBlockState(
        req_ids=set(scheduled), resolve_block_ids=lambda _: ([0], [4, 2, 9]),
        boundary_state_offloads={},
    )  # fmt: skip
    return output


@pytest.fixture
def side() -> SchedulerSide:
    return SchedulerSide(TapGroup(index=1, block_tokens=BLOCK, hashes_per_block=2))


def test_job_comes_with_the_last_prompt_token(side: SchedulerSide) -> None:
    pending = flagged("a")
    side.add(pending)
    assert side.jobs(step(a=64)).jobs == ()
    pending.num_computed_tokens = 64
    (job,) = side.jobs(step(a=36)).jobs
    assert (job.request_id, job.block_ids, job.prompt_length) == ("a", (4, 2, 9), PROMPT)
    assert job.image == ImageSpan(10, 6)
    assert job.block_hashes == (b"32", b"64", b"96")
    pending.num_computed_tokens = 100
    assert side.jobs(step(a=1)).jobs == ()


def test_clearing_is_sent_once_and_even_without_jobs(side: SchedulerSide) -> None:
    side.clear_prefix_cache()
    assert side.jobs(step()).clear
    assert not side.jobs(step()).clear


def test_request_preempted_in_its_prompt_starts_over(side: SchedulerSide) -> None:
    pending = flagged("a")
    side.add(pending)
    assert side.jobs(step(a=64)).jobs == ()
    pending.num_computed_tokens = 0
    assert side.jobs(step(b=64)).jobs == ()
    assert side.jobs(step(a=64)).jobs == ()
    pending.num_computed_tokens = 64
    assert len(side.jobs(step(a=64, b=1)).jobs) == 1


def test_answer_is_filled_after_it_was_handed_out(side: SchedulerSide) -> None:
    side.add(flagged("a"))
    side.jobs(step(a=PROMPT))
    answer = side.finish("a")
    side.deliver(RoiResults(lambda: {"a": MAP}))
    assert np.array_equal(decode_result(answer).logits, MAP.logits)


def test_answer_of_a_request_that_goes_on(side: SchedulerSide) -> None:
    side.add(flagged("a"))
    side.jobs(step(a=PROMPT))
    side.deliver(RoiResults(lambda: {"a": MAP}))
    assert decode_result(side.finish("a")).batch_size == 2


def test_cancelled_before_its_prompt_was_computed(side: SchedulerSide) -> None:
    side.add(flagged("a"))
    with pytest.raises(RoiError, match="ended before"):
        decode_result(side.finish("a"))
    assert side.jobs(step(a=PROMPT)).jobs == ()


def test_cancelled_while_the_worker_computes_it(side: SchedulerSide) -> None:
    side.add(flagged("a"))
    side.jobs(step(a=PROMPT))
    side.finish("a")
    side.deliver(RoiResults(lambda: {"a": MAP}))
    side.add(flagged("a"))
    with pytest.raises(RoiError, match="ended before"):
        decode_result(side.finish("a"))


def test_unflagged_request_costs_nothing_and_gets_nothing(side: SchedulerSide) -> None:
    side.add(request("a", None))
    side.add(request("b", {"someone": "else's"}))
    assert side.jobs(step(a=PROMPT, b=PROMPT)) is side.jobs(step())
    assert side.finish("a") is None
    assert side.finish("b") is None


@pytest.mark.parametrize("params", [{"sdrpn": None}, {"sdrpn": []}, {"sdrpn": {"image": 1.5}}])
def test_malformed_request_is_answered(side: SchedulerSide, params: dict[str, Any]) -> None:
    side.add(request("a", params))
    assert side.jobs(step(a=PROMPT)).jobs == ()
    with pytest.raises(RoiError, match="must be"):
        decode_result(side.finish("a"))


def test_a_failure_while_a_job_is_made_is_the_requests(
    side: SchedulerSide, caplog: pytest.LogCaptureFixture
) -> None:
    """One line of reason for the caller, a traceback in the log, and the engine goes on."""
    side.add(flagged("a"))
    side.add(flagged("b"))
    output = step(a=PROMPT, b=PROMPT)

    def fail(request_id: str) -> tuple[list[int], ...]:
        if request_id == "a":
            raise IndexError("secret detail")
        return [0], [4, 2, 9]

    output.kv_connector_block_state.resolve_block_ids = fail
    with captured(caplog):
        assert [job.request_id for job in side.jobs(output).jobs] == ["b"]
    with pytest.raises(RoiError, match=r"^the RoI request failed$"):
        decode_result(side.finish("a"))
    assert "secret detail" in caplog.text
    assert "Traceback" in caplog.text
