"""The RPN's prefix cache, page by page, without an engine."""

from __future__ import annotations

import pytest
import torch

from rpn_plugin.engine.runner.rpn_prefix_cache import RpnPrefixCache


def prefix_cache(pages: int, caching: bool = True) -> RpnPrefixCache:
    return RpnPrefixCache(torch.zeros(3, pages, 4, 2, 8), caching)


def hashes(*blocks: int) -> tuple[bytes, ...]:
    return tuple(b"%d" % block for block in blocks)


def insert(cache: RpnPrefixCache, *blocks: int) -> list[int]:
    """Pages of blocks that a batch has computed."""
    pages = cache.insert(hashes(*blocks), len(blocks))
    assert pages is not None
    cache.release()
    return pages


def test_prompts_with_a_common_prefix() -> None:
    cache = prefix_cache(8)
    pages = insert(cache, 1, 2, 3)
    assert cache.lookup(hashes(1, 2, 7, 3)) == pages[:2]
    assert cache.lookup(hashes(2, 3)) == pages[1:]  # a hash stands for all before it
    assert cache.lookup(hashes(9, 1)) == []


@pytest.mark.parametrize("more", [(8,), (8, 9)])
def test_the_least_recently_used_page_is_evicted_first_and_a_prompts_end_before_its_beginning(
    more: tuple[int, ...],
) -> None:
    cache = prefix_cache(4)
    first = insert(cache, 1, 2)
    second = insert(cache, 5, 6)
    cache.lookup(hashes(1, 2))
    cache.release()
    for block in more:
        insert(cache, block)
    assert cache.lookup(hashes(5, 6)) == second[: 2 - len(more)]
    assert cache.lookup(hashes(1, 2)) == first
    assert cache.evictions == len(more)


def test_pages_in_use_are_not_evicted() -> None:
    cache = prefix_cache(4)
    insert(cache, 1, 2)
    cached = cache.lookup(hashes(1, 2))
    assert cache.insert(hashes(5, 6), 3) is None
    other = cache.insert(hashes(5), 2)
    assert other is not None
    assert not set(cached) & set(other)
    assert cache.insert((), 1) is None
    cache.release()
    assert cache.lookup(hashes(5)) == other[:1]
    cache.release()
    assert len(cache.insert(hashes(7, 8, 9), 3) or ()) == 3


def test_a_block_that_is_cached_already_is_not_cached_twice() -> None:
    cache = prefix_cache(3)
    pages = insert(cache, 1)
    again = insert(cache, 1)
    assert pages != again
    assert cache.lookup(hashes(1)) == pages
    cache.release()
    assert len(cache.insert((), 3) or ()) == 3


def test_evicted_blocks_free_their_pages() -> None:
    cache = prefix_cache(2)
    insert(cache, 1, 2)
    cache.evict(hashes(2, 7))
    assert len(cache.lookup(hashes(1, 2))) == 1
    assert len(cache.insert(hashes(3), 1) or ()) == 1


def test_clearing_frees_all_pages() -> None:
    cache = prefix_cache(2)
    insert(cache, 1, 2)
    cache.clear()
    assert cache.lookup(hashes(1)) == []
    assert len(cache.insert(hashes(3, 4), 2) or ()) == 2


def test_without_caching_nothing_is_found_and_every_page_is_free_again() -> None:
    cache = prefix_cache(2, caching=False)
    for _ in range(3):
        insert(cache, 1, 2)
        assert cache.lookup(hashes(1)) == []


def test_no_room() -> None:
    with pytest.raises(ValueError, match="no room for a page"):
        prefix_cache(0)
