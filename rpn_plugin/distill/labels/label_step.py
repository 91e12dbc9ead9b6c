"""The first step: every question gets pseudo-labels from the model's own attention."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.batches import Chats, chats_of, chunks
from rpn_plugin.distill.data.samples import RejectedRow, Sample
from rpn_plugin.distill.data.shards import Shards
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.labels.attention_maps import (
    answers_of,
    combined,
    select,
    union,
)
from rpn_plugin.distill.labels.heads import Source, show_heads
from rpn_plugin.distill.labels.pseudo_labels import (
    BACKGROUND,
    FOREGROUND,
    LabelOptions,
    pseudo_labels,
)
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import LABEL_FIELDS, DistillSettings


@dataclass(frozen=True)
class SampleLabels:
    """Labels of one sample, int8 [rows, cols] of 1, 0, -100; `number` is the sample's.

    `size` is (width, height) of its picture, `attention` float32 [rows, cols] what they come from.
    """

    number: int
    labels: Tensor
    attention: Tensor
    size: tuple[int, int]

    @property
    def teaches(self) -> bool:
        """Whether any cell has a label."""
        return bool((self.labels >= 0).any())


def fingerprint(samples: Sequence[Sample]) -> str:
    """Changes when a question is added, lost, moved or reworded."""
    text = json.dumps([(s.row, s.question, s.answers) for s in samples])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def label_settings(
    settings: DistillSettings, samples: Sequence[Sample], model: str
) -> dict[str, Any]:
    """All that labels depend on, to the bit; `model` is BaseModel.fingerprint."""
    return {
        **settings.model_dump(mode="json", include=set(LABEL_FIELDS)),
        "samples": fingerprint(samples),
        "model": model,
    }


def make_labels(
    base: BaseModel,
    samples: Sequence[Sample],
    shards: Shards,
    settings: DistillSettings,
    source: Source,
    options: LabelOptions,
    processes: Processes,
    log: Log,
) -> None:
    """Makes the shards that are missing; each process its share of them."""
    missing = shards.missing()
    pieces = chunks(range(len(samples)), settings.shard)
    done = len(samples) - sum(len(pieces[number]) for number in missing)
    bar = log.bar(f"labels ({show_heads(source.grounding)})", len(samples), done)
    for number in missing[processes.rank :: processes.count]:
        rejected: list[RejectedRow] = []
        shard_rows: list[_Row] = []
        batches = chunks(pieces[number], settings.label_batch)
        for chats in chats_of(base, samples, batches, settings.workers, rejected):
            shard_rows += _label(base, chats, samples, settings, source, options)
            bar.update(len(chats.numbers) * processes.count)
        about = {
            "rejected": [[r.row, r.reason] for r in rejected],
            "answers": {str(row.labelled.number): row.answer for row in shard_rows},
        }
        shards.write(number, _packed([row.labelled for row in shard_rows]), about)
    bar.close()
    processes.wait()


def read_labels(shards: Shards) -> tuple[list[SampleLabels], list[RejectedRow]]:
    """All labels, in the order of the samples, and the samples whose picture was no good."""
    labelled: list[SampleLabels] = []
    rejected: list[RejectedRow] = []
    for number in range(shards.count):
        labelled += _unpacked(shards.read(number))
        rejected += [RejectedRow(*pair) for pair in shards.about(number)["rejected"]]
    return labelled, rejected


def summary(labelled: Sequence[SampleLabels]) -> dict[str, float]:
    """How much there is to learn: shares of questions and cells."""
    teaching = [item for item in labelled if item.teaches]
    cells = sum(item.labels.numel() for item in teaching) or 1
    return {
        "questions": len(labelled),
        "with labels": len(teaching) / max(len(labelled), 1),
        "foreground": sum(int((i.labels == FOREGROUND).sum()) for i in teaching) / cells,
        "background": sum(int((i.labels == BACKGROUND).sum()) for i in teaching) / cells,
    }


@dataclass(frozen=True)
class _Row:
    labelled: SampleLabels
    answer: str


def _label(
    base: BaseModel,
    chats: Chats,
    samples: Sequence[Sample],
    settings: DistillSettings,
    source: Source,
    options: LabelOptions,
) -> list[_Row]:
    recorded = union(source.grounding, source.sinking)
    answers = answers_of(base, chats, samples, settings)
    maps = base.attention(chats.prompts, answers, source.queries, recorded)
    attention = combined(select(maps, source.grounding, recorded))
    sinks = combined(select(maps, source.sinking, recorded)) if source.sinking else None
    rows = []
    for place, number in enumerate(chats.numbers):
        grid, size = chats.prompts.grids[place], chats.sizes[place]
        mean_attention = _on_grid(attention[place], grid)
        labels = pseudo_labels(
            mean_attention,
            None if sinks is None else _on_grid(sinks[place], grid),
            content_size=size if base.family.image.square else None,
            family=base.family.name,
            options=options,
        ).labels.astype(np.int8)
        labelled = SampleLabels(
            number, torch.from_numpy(labels), torch.from_numpy(mean_attention), size
        )
        rows.append(_Row(labelled, base.text(answers[place])))
    return rows


def _on_grid(cells: Tensor, grid: tuple[int, int]) -> Any:
    return cells[: grid[0] * grid[1]].reshape(grid).numpy()


def _packed(rows: Sequence[SampleLabels]) -> dict[str, Tensor]:
    """Cells of all samples one after the other, and each sample's number, grid and size."""
    empty = torch.zeros(0)
    return {
        "numbers": torch.tensor([r.number for r in rows], dtype=torch.int64),
        "grids": torch.tensor([r.labels.shape for r in rows], dtype=torch.int32).reshape(-1, 2),
        "sizes": torch.tensor([r.size for r in rows], dtype=torch.int32).reshape(-1, 2),
        "labels": torch.cat([empty.to(torch.int8), *(r.labels.flatten() for r in rows)]),
        "attention": torch.cat([empty, *(r.attention.flatten() for r in rows)]),
    }


def _unpacked(tensors: Mapping[str, Tensor]) -> list[SampleLabels]:
    grids = tensors["grids"].tolist()
    counts = [rows * cols for rows, cols in grids]
    labels, attention = tensors["labels"].split(counts), tensors["attention"].split(counts)
    return [
        SampleLabels(number, label.reshape(grid), mean_attention.reshape(grid), (size[0], size[1]))
        for number, grid, size, label, mean_attention in zip(
            tensors["numbers"].tolist(), grids, tensors["sizes"].tolist(), labels, attention,
            strict=True,
        )
    ]  # fmt: skip
