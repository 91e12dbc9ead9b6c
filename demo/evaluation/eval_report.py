"""Summarises an evaluation: shares of right answers by mode and text height, as table and chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from demo.pages import LEGIBLE_PX, LOST_PX

COVERED = 0.8
"""A region covers a thing if it holds at least this share of its box."""


@dataclass(frozen=True)
class Result:
    """One answer. `text_px` is the height of the code in the base view. With the RPN's crop,
    `cover` is the share of the true box in the region and `area` the region's share of the page."""

    mode: str
    kind: str
    text_px: float
    right: bool
    answer: str
    expected: str
    cover: float | None = None
    area: float | None = None


@dataclass(frozen=True)
class Summary:
    """`pages` in each group; `right`: mode -> group -> share of right answers.

    `covered`: group -> share of pages whose region covers the thing; `area`: the regions' mean
    share of the page.
    """

    pages: dict[str, int]
    right: dict[str, dict[str, float]]
    covered: dict[str, float]
    area: float


def summarise(results: Sequence[Result]) -> Summary:
    """Shares by group: all pages, each band of text height, each kind of page."""
    groups = {
        "all": list(results),
        f"lost (< {LOST_PX:g} px)": [r for r in results if r.text_px < LOST_PX],
        "between": [r for r in results if LOST_PX <= r.text_px < LEGIBLE_PX],
        f"legible (>= {LEGIBLE_PX:g} px)": [r for r in results if r.text_px >= LEGIBLE_PX],
        **{
            kind: [r for r in results if r.kind == kind]
            for kind in sorted({r.kind for r in results})
        },
    }
    modes = list(dict.fromkeys(r.mode for r in results))
    rpn = {name: [r for r in group if r.mode == "rpn"] for name, group in groups.items()}
    return Summary(
        pages={name: len(group) // len(modes) for name, group in groups.items()},
        right={
            mode: {
                name: _mean([float(r.right) for r in group if r.mode == mode])
                for name, group in groups.items()
            }
            for mode in modes
        },
        covered={
            name: _mean([float((r.cover or 0) >= COVERED) for r in group])
            for name, group in rpn.items()
        },
        area=_mean([r.area or 0.0 for r in rpn["all"]]),
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def print_table(summary: Summary) -> None:
    """Prints the summary as a table."""
    groups = list(summary.pages)
    print("exact match".ljust(22) + "".join(g.rjust(19) for g in groups))
    print("pages".ljust(22) + "".join(str(summary.pages[g]).rjust(19) for g in groups))
    for mode, shares in summary.right.items():
        print(mode.ljust(22) + "".join(f"{shares[g]:.3f}".rjust(19) for g in groups))
    covered = "".join(f"{summary.covered[g]:.3f}".rjust(19) for g in groups)
    print("region covers thing".ljust(22) + covered)
    print(f"a region is {summary.area:.1%} of its page on average")


_COLOURS = ("#9aa5b1", "#d9480f", "#2b8a3e", "#ced4da", "#e9ecef")


def draw_chart(summary: Summary, path: Path) -> None:
    """Bars of right answers by mode, one cluster for all pages and each band of text height."""
    groups = list(summary.pages)[:4]
    image = Image.new("RGB", (1100, 520), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(17)
    small = ImageFont.load_default(14)
    floor, height, width = 420, 340, 38
    for tenth in range(0, 11, 2):
        y = floor - height * tenth / 10
        draw.line((60, y, 1080, y), fill="#e0e0e0")
        draw.text((20, y - 9), f"{tenth / 10:.1f}", font=small, fill="#555")
    for place, group in enumerate(groups):
        left = 80 + place * 255
        for number, (mode, colour) in enumerate(zip(summary.right, _COLOURS, strict=True)):
            share = summary.right[mode][group]
            x, y = left + number * (width + 4), floor - height * share
            draw.rectangle((x, y, x + width, floor), fill=colour)
            draw.text((x + 2, y - 18), f"{share:.2f}", font=small, fill="#222")
        draw.text(
            (left, floor + 10), f"{group}, {summary.pages[group]} pages", font=font, fill="#222"
        )
    for number, (mode, colour) in enumerate(zip(summary.right, _COLOURS, strict=True)):
        x = 80 + number * 170
        draw.rectangle((x, 470, x + 18, 488), fill=colour)
        draw.text((x + 26, 469), mode, font=font, fill="#222")
    draw.text((80, 20), "Right answers (exact match)", font=ImageFont.load_default(22), fill="#222")
    image.save(path)
