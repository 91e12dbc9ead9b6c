"""The RPN's prefix cache, block by block, without an engine."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rpn_plugin.engine.rpn_prefix_cache import RpnPrefixCache

BLOCK, SIZE = 4, 3


def prefix_cache(blocks: int) -> RpnPrefixCache:
    """Room for `blocks` blocks and a bit more, filled with NaN."""
    return RpnPrefixCache(torch.full((blocks * BLOCK + 3, SIZE), torch.nan), BLOCK)


def rows(*blocks: int) -> Tensor:
    """Rows that tell which block they are of."""
    return torch.tensor(blocks, dtype=torch.float32).repeat_interleave(BLOCK)[
        :, None
    ] + torch.zeros(SIZE)


def hashes(*blocks: int) -> tuple[bytes, ...]:
    return tuple(b"%d" % block for block in blocks)


def test_prompts_with_a_common_prefix() -> None:
    cache = prefix_cache(8)
    cache.insert(hashes(1, 2, 3), rows(1, 2, 3))
    places = cache.lookup(hashes(1, 2, 7, 3))
    assert len(places) == 2
    assert torch.equal(cache.gather([places])[0], rows(1, 2))
    assert cache.lookup(hashes(2, 3)) != []  # a hash stands for all before it: found where it is
    assert cache.lookup(hashes(9, 1)) == []


def test_prompts_of_different_length_are_gathered_together() -> None:
    cache = prefix_cache(8)
    cache.insert(hashes(1, 2), rows(1, 2))
    cache.insert(hashes(5), rows(5))
    gathered = cache.gather([cache.lookup(hashes(1, 2)), cache.lookup(hashes(5))])
    assert torch.equal(gathered[0], rows(1, 2))
    assert torch.equal(gathered[1, :BLOCK], rows(5))
    assert gathered.isfinite().all()


def test_rows_beyond_whole_blocks_are_left() -> None:
    cache = prefix_cache(4)
    cache.insert(hashes(1), torch.cat((rows(1), torch.full((2, SIZE), 99.0))))
    assert torch.equal(cache.gather([cache.lookup(hashes(1))])[0], rows(1))


@pytest.mark.parametrize("more", [(8,), (8, 9)])
def test_the_least_recently_used_block_is_evicted_first_and_a_prompts_end_before_its_beginning(
    more: tuple[int, ...],
) -> None:
    cache = prefix_cache(4)
    cache.insert(hashes(1, 2), rows(1, 2))
    cache.insert(hashes(5, 6), rows(5, 6))
    assert len(cache.lookup(hashes(1, 2))) == 2
    for block in more:
        cache.insert(hashes(block), rows(block))
    assert len(cache.lookup(hashes(5, 6))) == 2 - len(more)
    assert torch.equal(cache.gather([cache.lookup(hashes(8))])[0], rows(8))
    assert torch.equal(cache.gather([cache.lookup(hashes(1, 2))])[0], rows(1, 2))


def test_the_beginning_of_a_prompt_larger_than_the_cache_is_kept() -> None:
    cache = prefix_cache(2)
    cache.insert(hashes(1, 2, 3), rows(1, 2, 3))
    assert torch.equal(cache.gather([cache.lookup(hashes(1, 2, 3))])[0], rows(1, 2))


def test_inserting_again_changes_nothing() -> None:
    cache = prefix_cache(2)
    cache.insert(hashes(1, 2), rows(1, 2))
    cache.insert(hashes(1, 2), rows(1, 2))
    assert torch.equal(cache.gather([cache.lookup(hashes(1, 2))])[0], rows(1, 2))


def test_clearing_frees_all_blocks() -> None:
    cache = prefix_cache(2)
    cache.insert(hashes(1, 2), rows(1, 2))
    cache.clear()
    assert cache.lookup(hashes(1)) == []
    cache.insert(hashes(3, 4), rows(3, 4))
    assert torch.equal(cache.gather([cache.lookup(hashes(3, 4))])[0], rows(3, 4))


def test_no_room() -> None:
    with pytest.raises(ValueError, match="less than a block"):
        prefix_cache(0)
