"""Pages as the language stage reads them: visual tokens of their views, and the truth.

The vision tower is frozen after its stage, so the visual tokens of each page are computed once, by
a background process that works ahead of training, and kept on disk in shards.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo.architecture import build_model
from demo.pages import LOST_PX, Page, Thing, render_page, text_px
from demo.pictures.views import View, base_view, crop_view, proposed_box, random_box, scale
from demo.training.background import parent_lives
from demo.training.device import bfloat16, device_of
from demo.training.vision import vision_features

_LOST_DROPPED = 0.6
CROPS = 1
READABLE_PX = 6.0
"""Codes at least this tall in a view are asked about in training."""


@dataclass(frozen=True)
class ViewFeatures:
    """One view: visual tokens [rows * cols, hidden]; `readable`: things whose code shows in it."""

    grid: tuple[int, int]
    tokens: Tensor
    readable: tuple[int, ...]


@dataclass(frozen=True)
class PageFeatures:
    """One page. `views[0]` is the base view, `text_px` each code's height in it."""

    kind: str
    size: tuple[int, int]
    things: tuple[Thing, ...]
    text_px: tuple[float, ...]
    views: tuple[ViewFeatures, ...]


def describe_page(page: Page, rng: Random, crops: int = CROPS) -> tuple[list[View], PageFeatures]:
    """The page's views, and its features with the visual tokens still to be filled in."""
    boxes = [
        proposed_box(page, rng.choice(page.things).box, rng)
        if rng.random() < 0.85
        else random_box(page, rng)
        for _ in range(crops)
    ]
    views = [base_view(page), *(crop_view(page, box) for box in boxes)]
    base_scale = scale(views[0])[1]
    heights = tuple((t.text_box[3] - t.text_box[1]) * base_scale for t in page.things)
    nothing = torch.empty(0)
    described = tuple(ViewFeatures(v.grid, nothing, _readable(page, v)) for v in views)
    return views, PageFeatures(page.kind, page.image.size, page.things, heights, described)


def _readable(page: Page, view: View) -> tuple[int, ...]:
    _, vertical = scale(view)
    x0, y0, x1, y1 = view.box
    return tuple(
        number
        for number, thing in enumerate(page.things)
        if (thing.text_box[3] - thing.text_box[1]) * vertical >= READABLE_PX
        and x0 <= thing.text_box[0]
        and y0 <= thing.text_box[1]
        and thing.text_box[2] <= x1
        and thing.text_box[3] <= y1
        and _overlap(thing.box, view.box) >= 0.6
    )


def _overlap(box: tuple[int, int, int, int], frame: tuple[int, int, int, int]) -> float:
    """The share of `box` that lies in `frame`."""
    width = min(box[2], frame[2]) - max(box[0], frame[0])
    height = min(box[3], frame[3]) - max(box[1], frame[1])
    return max(0, width) * max(0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


@torch.no_grad()
def fill_in(tower: Any, views: list[list[View]], pages: list[PageFeatures]) -> list[PageFeatures]:
    """The pages with the visual tokens (float16) of their views."""
    places: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for number, page_views in enumerate(views):
        for place, view in enumerate(page_views):
            places.setdefault(view.grid, []).append((number, place))
    tokens: dict[tuple[int, int], Tensor] = {}
    for same in places.values():
        for start in range(0, len(same), 32):
            chunk = same[start : start + 32]
            stacked = np.stack([views[n][p].pixels for n, p in chunk])
            pixels = torch.from_numpy(stacked).to(device_of(tower))
            with bfloat16(tower):
                _, features = vision_features(tower, pixels)
            tokens.update(zip(chunk, features.half(), strict=True))
    return [
        PageFeatures(
            page.kind,
            page.size,
            page.things,
            page.text_px,
            tuple(
                ViewFeatures(v.grid, tokens[number, place].clone(), v.readable)
                for place, v in enumerate(page.views)
            ),
        )
        for number, page in enumerate(pages)
    ]


def make_shard(tower: Any, seed: int, first: int, count: int) -> list[PageFeatures]:
    """Pages `first` to `first + count` of a seed, without most of those whose target is lost.

    From a legible code the model learns to look at the right spot; from a lost one hardly.
    """
    views, pages = [], []
    for index in range(first, first + count):
        rng = Random(f"features {seed} {index}")
        page = render_page(seed, index)
        if text_px(page) < LOST_PX and rng.random() < _LOST_DROPPED:
            continue
        page_views, described = describe_page(page, rng)
        views.append(page_views)
        pages.append(described)
    return fill_in(tower, views, pages)


class Shards:
    """Shards of training pages in a folder, made in the background in order."""

    def __init__(self, folder: Path, tower: Any, seed: int, count: int, pages: int) -> None:
        """Begins to make `count` shards of about `pages` pages."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        weights = folder / "tower.pt"
        torch.save(tower.state_dict(), weights)
        context = multiprocessing.get_context("spawn")
        self._maker = context.Process(
            target=_make_shards, args=(folder, weights, seed, count, pages), daemon=True
        )
        self._maker.start()

    def load(self, number: int) -> list[PageFeatures]:
        """Shard `number`; waits until it is there."""
        path = _shard_path(self._folder, number)
        while not path.exists():
            if not self._maker.is_alive():
                raise RuntimeError(f"the maker of {path} has died")
            time.sleep(0.5)
        return [
            _from_plain(plain)
            for plain in torch.load(
                path, weights_only=True, map_location=torch.get_default_device()
            )
        ]

    def close(self) -> None:
        """Ends the background process."""
        self._maker.terminate()


def _make_shards(folder: Path, weights: Path, seed: int, count: int, pages: int) -> None:
    os.nice(5)
    torch.set_num_threads(1)
    tower = build_model(0).model.visual
    tower.load_state_dict(torch.load(weights, weights_only=True))
    for number in range(count):
        path = _shard_path(folder, number)
        if path.exists():
            continue
        if not parent_lives():
            return
        shard = make_shard(tower, seed, number * pages, pages)
        scratch = path.with_suffix(".tmp")
        torch.save([asdict(page) for page in shard], scratch)
        os.replace(scratch, path)


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard_{number:04d}.pt"


def _from_plain(plain: dict[str, Any]) -> PageFeatures:
    things = tuple(Thing(**thing) for thing in plain["things"])
    views = tuple(ViewFeatures(**view) for view in plain["views"])
    return PageFeatures(plain["kind"], plain["size"], things, plain["text_px"], views)
