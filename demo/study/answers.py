"""Right answers with given regions: the shipped model's, run with transformers.

Base view, crop and chat are those of the server's second pass, so an answer differs from an
endpoint's by rounding alone; and one process is enough for the regions of many RPNs. What was asked
once is not asked again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from demo.study.bench import Bench
from demo.views import CROP_TOKENS
from rpn_plugin.distill.shards import write_json
from server.pictures import Picture
from server.viewing import crop_view

Region = list[int] | None
"""[x0, y0, x1, y1] in pixels of the page; None asks with the base view alone."""

_AT_ONCE = 16
_LONGEST = 8


class Answers:
    """Answers about some pages of a bench, kept in its folder."""

    def __init__(self, bench: Bench, pages: Collection[int]) -> None:
        self._bench, self._pages = bench, frozenset(pages)
        self._path = bench.folder / "answers.json"
        self._texts: dict[str, str] = (
            json.loads(self._path.read_text()) if self._path.exists() else {}
        )

    def ask(self, *regions: Mapping[int, Region]) -> None:
        """Asks about each page with the regions it has in these, unless it was done before."""
        wanted = {_key(*pair): pair for mine in regions for pair in self._asked(mine)}
        missing = [pair for key, pair in wanted.items() if key not in self._texts]
        alone = [pair for pair in missing if pair[1] is None]
        cropped = [pair for pair in missing if pair[1] is not None]
        base = self._bench.base_model()
        bar = self._bench.log.bar("answers", len(missing))
        for batch in _batches(alone) + _batches(cropped):
            samples = [self._bench.samples[number] for number, _ in batch]
            pictures = [sample.picture() for sample in samples]
            crops = [
                crop_view(Picture(picture, digest=""), _corners(region), CROP_TOKENS).image
                for picture, (_, region) in zip(pictures, batch, strict=True)
                if region
            ]
            questions = [sample.question for sample in samples]
            prompts = base.prompts([base.view(p) for p in pictures], questions, crops or None)
            for pair, tokens in zip(batch, base.answers(prompts, _LONGEST), strict=True):
                self._texts[_key(*pair)] = base.text(tokens)
            write_json(self._path, self._texts)
            bar.update(len(batch))
        bar.close()

    def right(self, regions: Mapping[int, Region]) -> float:
        """The share of right answers with these regions, by page."""
        return fmean(
            self._texts[_key(number, region)] == self._bench.rows[number]["answer"]
            for number, region in self._asked(regions)
        )

    def _asked(self, regions: Mapping[int, Region]) -> list[tuple[int, Region]]:
        return [pair for pair in regions.items() if pair[0] in self._pages]


def _key(number: int, region: Region) -> str:
    return f"{number} {region}"


def _batches(pairs: list[tuple[int, Region]]) -> list[list[tuple[int, Region]]]:
    return [pairs[i : i + _AT_ONCE] for i in range(0, len(pairs), _AT_ONCE)]


def _corners(region: Sequence[int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = region
    return float(x0), float(y0), float(x1), float(y1)
