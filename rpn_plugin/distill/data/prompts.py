"""Chats as tokens and pictures, before they are put together as the inputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Prompts:
    """Chats that end where the model begins to answer, one picture each.

    `tokens`: for each chat the processor's tensors with one entry a token, by name, each [length].
    `pictures`: its other tensors, for all chats together. `grids`: rows and columns of each view.
    """

    tokens: tuple[dict[str, Tensor], ...]
    pictures: dict[str, Tensor]
    grids: tuple[tuple[int, int], ...]
    image_token: int

    @property
    def lengths(self) -> list[int]:
        """Tokens of each chat."""
        return [len(chat["input_ids"]) for chat in self.tokens]

    def cells(self) -> Tensor:
        """Places of the picture's tokens, int64 [chats, most cells], -1 where there are fewer."""
        places = [(c["input_ids"] == self.image_token).nonzero()[:, 0] for c in self.tokens]
        return nn.utils.rnn.pad_sequence(places, batch_first=True, padding_value=-1)

    def padded(
        self, side: str = "right", answers: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """The model's inputs, with the tokens of `answers` appended; padding on `side`."""
        chats = [dict(chat) for chat in self.tokens]
        for chat, answer in zip(chats, answers or [()] * len(chats), strict=True):
            more = {"input_ids": torch.tensor(answer, dtype=torch.int64)}
            more["attention_mask"] = torch.ones(len(answer), dtype=torch.int64)
            for name, values in chat.items():
                added = more.get(name, torch.zeros(len(answer))).to(values.dtype)
                chat[name] = torch.cat([values, added])
        stacked = {
            name: nn.utils.rnn.pad_sequence(
                [chat[name] for chat in chats], batch_first=True, padding_side=side
            )
            for name in chats[0]
        }
        return {**stacked, **self.pictures}
