"""What the RPN remembers, block by block, without an engine."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rpn_plugin.engine.rpn_prefix_cache import RpnPrefixCache

BLOCK, SIZE = 4, 3


def memory(blocks: int) -> RpnPrefixCache:
    """With room for so many blocks and a bit, which holds nothing finite."""
    return RpnPrefixCache(torch.full((blocks * BLOCK + 3, SIZE), torch.nan), BLOCK)


def rows(*blocks: int) -> Tensor:
    """Rows that tell which block they are of."""
    return torch.tensor(blocks, dtype=torch.float32).repeat_interleave(BLOCK)[
        :, None
    ] + torch.zeros(SIZE)


def hashes(*blocks: int) -> tuple[bytes, ...]:
    return tuple(b"%d" % block for block in blocks)


def test_prompts_that_begin_alike() -> None:
    known = memory(8)
    known.store(hashes(1, 2, 3), rows(1, 2, 3))
    places = known.known(hashes(1, 2, 7, 3))
    assert len(places) == 2
    assert torch.equal(known.gather([places])[0], rows(1, 2))
    assert known.known(hashes(2, 3)) != []  # a hash stands for all before it: found where it is
    assert known.known(hashes(9, 1)) == []


def test_prompts_of_different_length_are_gathered_together() -> None:
    known = memory(8)
    known.store(hashes(1, 2), rows(1, 2))
    known.store(hashes(5), rows(5))
    gathered = known.gather([known.known(hashes(1, 2)), known.known(hashes(5))])
    assert torch.equal(gathered[0], rows(1, 2))
    assert torch.equal(gathered[1, :BLOCK], rows(5))
    assert gathered.isfinite().all()


def test_rows_beyond_whole_blocks_are_left() -> None:
    known = memory(4)
    known.store(hashes(1), torch.cat((rows(1), torch.full((2, SIZE), 99.0))))
    assert torch.equal(known.gather([known.known(hashes(1))])[0], rows(1))


@pytest.mark.parametrize("more", [(8,), (8, 9)])
def test_what_was_used_longest_ago_goes_first_and_a_prompts_end_before_its_beginning(
    more: tuple[int, ...],
) -> None:
    known = memory(4)
    known.store(hashes(1, 2), rows(1, 2))
    known.store(hashes(5, 6), rows(5, 6))
    assert len(known.known(hashes(1, 2))) == 2
    for block in more:
        known.store(hashes(block), rows(block))
    assert len(known.known(hashes(5, 6))) == 2 - len(more)
    assert torch.equal(known.gather([known.known(hashes(8))])[0], rows(8))
    assert torch.equal(known.gather([known.known(hashes(1, 2))])[0], rows(1, 2))


def test_a_prompt_larger_than_the_memory_is_kept_as_far_as_it_goes() -> None:
    known = memory(2)
    known.store(hashes(1, 2, 3), rows(1, 2, 3))
    assert torch.equal(known.gather([known.known(hashes(1, 2, 3))])[0], rows(1, 2))


def test_storing_again_changes_nothing() -> None:
    known = memory(2)
    known.store(hashes(1, 2), rows(1, 2))
    known.store(hashes(1, 2), rows(1, 2))
    assert torch.equal(known.gather([known.known(hashes(1, 2))])[0], rows(1, 2))


def test_forgetting_makes_room() -> None:
    known = memory(2)
    known.store(hashes(1, 2), rows(1, 2))
    known.clear()
    assert known.known(hashes(1)) == []
    known.store(hashes(3, 4), rows(3, 4))
    assert torch.equal(known.gather([known.known(hashes(3, 4))])[0], rows(3, 4))


def test_no_room() -> None:
    with pytest.raises(ValueError, match="less than a block"):
        memory(0)
