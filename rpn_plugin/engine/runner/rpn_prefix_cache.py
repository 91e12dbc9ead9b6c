"""The RPN's prefix cache: keys and values of prompts in pages, reused by prompts with the same
prefix.

A second question about the same picture costs only the tokens of the question. A page has the size
of vLLM's cache blocks and is keyed by vLLM's block hash (`vllm.v1.request.Request.block_hashes`),
which stands for all tokens up to the block's end, the pictures among them, the LoRA and the
caller's cache salt. So a page stays right whatever happens to vLLM's own block: evicted, preempted,
or computed in chunks. Only new weights make it wrong: `clear` it then.

The pages are all the memory that a batch's keys and values take, cached or not: what has no hash
(the unfinished end of a prompt) takes a page until `release`. The least recently used pages are
evicted first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import takewhile

from torch import Tensor


class RpnPrefixCache:
    """Keys and values in `pages` [parts, pages, page_tokens, kv_heads, head_dim].

    The pages may hold anything finite at first. `caching` False: every page is free after
    `release`. ValueError if there is no page.
    """

    def __init__(self, pages: Tensor, caching: bool = True) -> None:
        if not pages.shape[1]:
            raise ValueError("the RPN's prefix cache has no room for a page")
        self.pages = pages
        self.page_tokens = pages.shape[2]
        self.evictions = 0
        """Pages evicted since the start."""
        self._caching = caching
        self._cached: OrderedDict[bytes, int] = OrderedDict()
        self._free = list(range(pages.shape[1]))
        self._in_use: set[int] = set()
        self._scratch: list[int] = []

    def lookup(self, hashes: Sequence[bytes]) -> list[int]:
        """The cached pages at the beginning of a prompt with these block hashes.

        They are not evicted before `release`.
        """
        prefix = list(takewhile(self._cached.__contains__, hashes))
        for block in reversed(prefix):  # a prompt's end is of no use without its beginning
            self._cached.move_to_end(block)
        pages = [self._cached[block] for block in prefix]
        self._in_use.update(pages)
        return pages

    def insert(self, hashes: Sequence[bytes], count: int) -> list[int] | None:
        """`count` pages to write: the first ones are cached under `hashes`, the others are free
        again after `release`. None if so many are not to be had before `release`.

        A block that is cached already gets a page of its own, which is not cached.
        """
        cached_in_use = len(self._in_use) - len(self._scratch)
        if count > len(self._free) + len(self._cached) - cached_in_use:
            return None
        pages = [self._free.pop() if self._free else self._evict_oldest() for _ in range(count)]
        self._in_use.update(pages)
        new = [*hashes, *[None] * (count - len(hashes))] if self._caching else [None] * count
        for block, page in reversed(list(zip(new, pages, strict=True))):
            if block is None or block in self._cached:
                self._scratch.append(page)
            else:
                self._cached[block] = page
        return pages

    def release(self) -> None:
        """The pages of a batch whose work has been queued may be used for the next one."""
        self._free += self._scratch
        self._scratch = []
        self._in_use.clear()

    def evict(self, hashes: Iterable[bytes]) -> None:
        """Remove the pages of these blocks, whose contents are not to be relied on."""
        for block in hashes:
            if (page := self._cached.pop(block, None)) is not None:
                self._in_use.discard(page)
                self._free.append(page)

    def clear(self) -> None:
        """Evict everything."""
        self._cached.clear()
        self._scratch = []
        self._in_use.clear()
        self._free = list(range(self.pages.shape[1]))

    def _evict_oldest(self) -> int:
        self.evictions += 1
        return self._cached.popitem(last=False)[1]
