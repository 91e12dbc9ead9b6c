"""Many questions about one page in one sequence, so that the page is read once for all of them.

The chat up to the end of the base view is shared; each question (with its crop, if it has one, and
its answer) follows as a segment that sees the shared part and itself. Positions begin anew in every
segment, so to the model each question is an ordinary chat of its own. A row has room for the shared
part, then for segments without a crop, then for segments with one (`Layout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from demo.training.page_features import PageFeatures, ViewFeatures
from demo.training.tokenizer import build_tokenizer

IGNORE = -100


@dataclass(frozen=True)
class Question:
    """A question about a page; `crop` is the place of its crop in the page's views, 0 for none."""

    text: str
    answer: str
    crop: int
    label: str


@dataclass(frozen=True)
class Layout:
    """Room in a row: tokens of the shared part, then `plain` segments without a crop of
    `plain_length` tokens each, then `cropped` segments with one of `cropped_length`."""

    plain: int
    cropped: int
    shared: int = 80
    plain_length: int = 20
    cropped_length: int = 84

    @property
    def first_cropped(self) -> int:
        """Where the segments with a crop begin."""
        return self.shared + self.plain * self.plain_length

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.first_cropped + self.cropped * self.cropped_length


@dataclass(frozen=True)
class Packed:
    """A batch of packed pages; all tensors begin with [batch, length] unless said otherwise.

    `ids` int64; `used` bool, false where a row is padded; `positions` int64 [3, batch, length];
    `targets` int64 (IGNORE where nothing is asked); `owners` int64: for each target the place of
    its question in `labels`; `features` float32 [image tokens, hidden], in the order of
    `image_mask` bool; `ends` int64 [questions, 2]: row and place of each last prompt token.
    """

    layout: Layout
    ids: Tensor
    used: Tensor
    positions: Tensor
    targets: Tensor
    owners: Tensor
    features: Tensor
    image_mask: Tensor
    ends: Tensor
    labels: tuple[str, ...]


@lru_cache(maxsize=4096)
def encode(text: str) -> tuple[int, ...]:
    """Token ids of `text`."""
    return tuple(_tokenizer().encode(text).ids)


@lru_cache(maxsize=1)
def _tokenizer():  # type: ignore[no-untyped-def]  # tokenizers has no types
    return build_tokenizer()


PREFIX = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"


class _Row:
    """One sequence under construction."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.used: list[bool] = []
        self.positions: list[tuple[int, int, int]] = []
        self.targets: list[int] = []
        self.owners: list[int] = []
        self.images: list[Tensor] = []
        self._next = 0

    def text(self, ids: Sequence[int]) -> None:
        """Appends words."""
        places = range(self._next, self._next + len(ids))
        self._append(ids, [(p, p, p) for p in places])
        self._next += len(ids)

    def image(self, view: ViewFeatures) -> None:
        """Appends a picture, row by row."""
        rows, cols = view.grid
        self.images.append(view.tokens)
        t = self._next
        places = [(t, t + r, t + c) for r in range(rows) for c in range(cols)]
        self._append(encode("<|image_pad|>") * (rows * cols), places)
        self._next = t + max(rows, cols)

    def answer(self, ids: Sequence[int], owner: int) -> None:
        """Appends an answer: each of its tokens is the target of the place before it."""
        first = len(self.ids) - 1
        self.text(ids[:-1])
        self.targets[first:] = ids
        self.owners[first:] = [owner] * len(ids)

    def fill(self, length: int) -> None:
        """Pads up to `length`; ValueError if it is longer already."""
        missing = length - len(self.ids)
        if missing < 0:
            raise ValueError(f"{len(self.ids)} tokens do not fit into {length}")
        self._append([0] * missing, [(0, 0, 0)] * missing, used=False)

    def begin_segment(self, shared_end: int) -> None:
        """The next token stands right behind the shared part."""
        self._next = shared_end

    @property
    def end(self) -> int:
        """The position of the next token."""
        return self._next

    def _append(
        self, ids: Sequence[int], places: list[tuple[int, int, int]], used: bool = True
    ) -> None:
        self.ids += ids
        self.positions += places
        self.used += [used] * len(ids)
        self.targets += [IGNORE] * len(ids)
        self.owners += [-1] * len(ids)


def pack(pages: Sequence[tuple[PageFeatures, Sequence[Question]]], layout: Layout) -> Packed:
    """Packs pages with their questions; questions that a row has no room for are left out."""
    rows: list[_Row] = []
    labels: list[str] = []
    ends: list[tuple[int, int]] = []
    for number, (page, questions) in enumerate(pages):
        row = _Row()
        row.text(encode(PREFIX))
        row.image(page.views[0])
        row.text(encode("<|vision_end|>"))
        shared_end = row.end
        row.fill(layout.shared)
        plain = [q for q in questions if not q.crop][: layout.plain]
        cropped = [q for q in questions if q.crop][: layout.cropped]
        stop = layout.shared
        for question in plain + cropped:
            if question.crop:
                stop = max(stop, layout.first_cropped)
                row.fill(stop)
            row.begin_segment(shared_end)
            _append_question(row, page, question, len(labels))
            ends.append((number, len(row.ids) - len(encode(question.answer)) - 1))
            labels.append(question.label)
            stop += layout.cropped_length if question.crop else layout.plain_length
            row.fill(stop)
        row.fill(layout.length)
        rows.append(row)
    ids = torch.tensor([row.ids for row in rows])
    return Packed(
        layout=layout,
        ids=ids,
        used=torch.tensor([row.used for row in rows]),
        positions=torch.tensor([row.positions for row in rows]).permute(2, 0, 1),
        targets=torch.tensor([row.targets for row in rows]),
        owners=torch.tensor([row.owners for row in rows]),
        features=torch.cat([image for row in rows for image in row.images]).float(),
        image_mask=ids == encode("<|image_pad|>")[0],
        ends=torch.tensor(ends),
        labels=tuple(labels),
    )


def _append_question(row: _Row, page: PageFeatures, question: Question, owner: int) -> None:
    """Appends crop, question and answer, without the answer's last token, which nothing follows."""
    if question.crop:
        row.text(encode("<|vision_start|>"))
        row.image(page.views[question.crop])
        row.text(encode("<|vision_end|>"))
    row.text(encode(question.text) + encode(SUFFIX))
    row.answer(encode(question.answer) + encode("<|im_end|>"), owner)
