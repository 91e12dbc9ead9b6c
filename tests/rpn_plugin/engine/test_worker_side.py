"""Which tensor-parallel rank computes a job, and when results are waited for."""

from __future__ import annotations

import hashlib
import pickle

from rpn_plugin.engine.jobs import ImageSpan, Results, RoiJob, RoiResults
from rpn_plugin.engine.worker_side import rank_of
from rpn_plugin.messages import RoiError

BLOCK = 16


def job(picture: int, question: int) -> RoiJob:
    """A prompt behind a system prompt of four blocks; its picture ends in block 9."""
    names = ["system"] * 4 + [f"picture {picture}"] * 6 + [f"{picture} {question}"] * 4
    hashes = tuple(hashlib.sha256(f"{n} {name}".encode()).digest() for n, name in enumerate(names))
    return RoiJob(f"{picture} {question}", tuple(range(14)), 14 * BLOCK, ImageSpan(70, 91), hashes)


def test_questions_about_one_picture_go_to_one_rank() -> None:
    for picture in range(10):
        assert len({rank_of(job(picture, n), BLOCK, 4) for n in range(5)}) == 1


def test_pictures_behind_one_system_prompt_are_spread_over_the_ranks() -> None:
    assert {rank_of(job(picture, 0), BLOCK, 4) for picture in range(40)} == {0, 1, 2, 3}


def test_a_prompt_without_a_whole_block() -> None:
    assert rank_of(RoiJob("short", (0,), 9, ImageSpan(2, 4)), BLOCK, 4) == 0


def test_results_are_read_once_and_only_when_they_leave_the_process() -> None:
    reads = []

    def read() -> Results:
        reads.append(1)
        return {"a": RoiError("none")}

    results = RoiResults(read)
    assert reads == []
    other = pickle.loads(pickle.dumps(results))
    assert reads == [1]
    assert str(other.results["a"]) == "none"
    both = results.aggregate(RoiResults(lambda: {"b": RoiError("nor here")}))
    assert both.results.keys() == {"a", "b"}
    assert reads == [1]
