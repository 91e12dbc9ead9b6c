"""The RPN's prefix cache: keys and values of prompts, reused by prompts with the same prefix.

A second question about the same picture costs only the tokens of the question.
The cache consists of blocks of the size of vLLM's cache blocks, keyed by vLLM's block hashes
(`vllm.v1.request.Request.block_hashes`): the hash of a block stands for all tokens up to its end,
the pictures among them, the LoRA and the caller's cache salt. So a block found here is right
whatever has become of vLLM's own block meanwhile: evicted, preempted, or computed in chunks. Only
new weights make it wrong: `clear` it then.

Its size is fixed. The least recently used blocks are evicted first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import takewhile

import torch
from torch import Tensor


class RpnPrefixCache:
    """Keeps rows of `RegionProposalNetwork.extend`, in blocks of `block_tokens`.

    `room` [tokens, row_size] may hold anything at first. ValueError if it is less than a block.
    """

    def __init__(self, room: Tensor, block_tokens: int) -> None:
        blocks = len(room) // block_tokens
        if blocks < 1:
            raise ValueError(f"room for {len(room)} tokens is less than a block of {block_tokens}")
        self.block_tokens = block_tokens
        self._rows = room[: blocks * block_tokens].unflatten(0, (blocks, block_tokens))
        self._places: OrderedDict[bytes, int] = OrderedDict()
        self._free = list(range(blocks))

    def lookup(self, hashes: Sequence[bytes]) -> list[int]:
        """The places of the cached blocks at the beginning of a prompt with these block hashes.

        The places are valid until the next `insert`.
        """
        prefix = list(takewhile(self._places.__contains__, hashes))
        for block in reversed(prefix):  # a prompt's end is of no use without its beginning
            self._places.move_to_end(block)
        return [self._places[block] for block in prefix]

    def gather(self, places: Sequence[Sequence[int]]) -> Tensor:
        """Rows [prompts, tokens, row_size] of prompts; shorter ones are padded with rows of the
        longest. At least one place is needed.
        """
        longest = max(places, key=len)
        index = torch.tensor([[*p, *longest[len(p) :]] for p in places])
        rows: Tensor = self._rows[index.to(self._rows.device)]
        return rows.flatten(1, 2)

    def insert(self, hashes: Sequence[bytes], rows: Tensor) -> None:
        """Insert consecutive blocks of a prompt; `rows` [>= tokens, row_size] are theirs.

        If they do not all fit, the first ones are inserted.
        """
        new = [(n, block) for n, block in enumerate(hashes) if block not in self._places]
        new = new[: len(self._rows)]
        if not new:
            return
        places = [self._free.pop() if self._free else self._evict_oldest() for _ in new]
        blocks = rows[: len(hashes) * self.block_tokens].unflatten(0, (-1, self.block_tokens))
        device = self._rows.device
        chosen = blocks[torch.tensor([n for n, _ in new], device=device)]
        self._rows[torch.tensor(places, device=device)] = chosen
        for (_, block), place in reversed(list(zip(new, places, strict=True))):
            self._places[block] = place

    def clear(self) -> None:
        """Evict everything."""
        self._places.clear()
        self._free = list(range(len(self._rows)))

    def _evict_oldest(self) -> int:
        return self._places.popitem(last=False)[1]
