"""The picture `sdrpn ask` writes: the page, the regions, and what each pass had of them.

Left the page under its heat map with the regions framed. Right the best region as the base view has
it, and the crop of each region, joined to its frame. Below, the question and the answers without
and with the region.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rpn_plugin.images.crops import crop_box
from rpn_plugin.images.scaling import scale_to_grid
from server.api.roi_report import RoiReport

PAGE_SIDE = 720
COLUMN_WIDTH = 560
MARGIN = 40
GAP = 64
TITLE_HEIGHT = 40
ROW_HEIGHT = 40
LABEL_WIDTH = 190
LETTERS_PER_LINE = 76
CAPTION_WIDTH = 1280
TEXT_SIZE = 26
LABEL_SIZE = 19
FRAME_WIDTH = 4

PAPER = (250, 249, 246)
INK = (34, 37, 41)
FADED = (120, 124, 130)
ACCENT = (205, 62, 32)
BEAM = (*ACCENT, 34)
HEAT = np.array([(255, 208, 70), (245, 130, 40), (205, 40, 50)], dtype=np.float64)
HEAT_OPACITY = 0.6

_BASE_TITLE = "in the base view"

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Panel:
    """A picture with a title above it, and the place of its top left corner on the canvas."""

    image: Image.Image
    title: str
    x: int
    y: int

    @property
    def box(self) -> Box:
        return self.x, self.y, self.x + self.image.width, self.y + self.image.height


@dataclass(frozen=True)
class _Row:
    """A line of the caption."""

    label: str
    text: str
    colour: Colour = INK


def draw_answer(
    original: Image.Image, question: str, base_answer: str, roi_answer: str, roi: RoiReport
) -> Image.Image:
    """One RGB picture of an answer. `original` is upright; `roi` may lack regions and heat map."""
    page = _page_panel(original, roi)
    before, crops = _region_panels(original, roi, page)
    panels = [page, *before, *crops]
    rows = _caption(question, base_answer, roi_answer, roi)

    bottom = max(panel.box[3] for panel in panels) + MARGIN // 2
    width = max(CAPTION_WIDTH, max(panel.box[2] for panel in panels) + MARGIN)
    canvas = Image.new("RGB", (width, bottom + ROW_HEIGHT * len(rows) + MARGIN), PAPER)
    for panel in panels:
        canvas.paste(panel.image, (panel.x, panel.y))
    frames = [_on_page(region.corners, original, page) for region in roi.regions]
    canvas = _with_beams(canvas, frames, crops)

    pen = ImageDraw.Draw(canvas)
    for box in [*frames, *(crop.box for crop in crops)]:
        pen.rectangle(box, outline=ACCENT, width=FRAME_WIDTH)
    for panel in panels:
        colour = ACCENT if panel in crops else FADED
        _write(pen, (panel.x, panel.y - 12), panel.title, colour, LABEL_SIZE)
    for line, row in enumerate(rows):
        _write_row(pen, row, bottom + ROW_HEIGHT * (line + 1))
    return canvas


def _page_panel(original: Image.Image, roi: RoiReport) -> _Panel:
    assert roi.grid is not None, "a chat with a picture has a grid"
    rows, cols = roi.grid
    title = f"{original.width} x {original.height} pixels, first read through {rows * cols} tokens"
    page = _fitted(original, PAGE_SIDE, PAGE_SIDE)
    return _Panel(_heated(page, roi.heatmap), title, MARGIN, MARGIN + TITLE_HEIGHT)


def _region_panels(
    original: Image.Image, roi: RoiReport, page: _Panel
) -> tuple[list[_Panel], list[_Panel]]:
    """The best region in the base view, and the crop of every region.

    They stand under one another; a single tall region stands beside its crop, where it is larger.
    Both lists are empty where there is no region.
    """
    if not roi.regions or roi.grid is None:
        return [], []
    boxes = [crop_box(region.corners, original.size) for region in roi.regions]
    base = _as_in_base_view(original, roi.grid, boxes[0])
    x, y = page.box[2] + GAP, page.y
    if len(boxes) == 1 and base.height > base.width:
        crop = _Panel(_fitted(original.crop(boxes[0]), COLUMN_WIDTH, PAGE_SIDE), "crop", x, y)
        size = crop.image.size
        return [_Panel(_fitted(base, *size), _BASE_TITLE, crop.box[2] + MARGIN, y)], [crop]

    height = (page.image.height + TITLE_HEIGHT) // (1 + len(boxes)) - TITLE_HEIGHT
    panels: list[_Panel] = []
    for image, title in [(base, _BASE_TITLE), *((original.crop(box), "crop") for box in boxes)]:
        panels.append(_Panel(_fitted(image, COLUMN_WIDTH, max(height, 1)), title, x, y))
        y = panels[-1].box[3] + TITLE_HEIGHT
    return panels[:1], panels[1:]


def _as_in_base_view(original: Image.Image, grid: tuple[int, int], box: Box) -> Image.Image:
    """What the base view has inside `box`, pixel by pixel, at the size of the box."""
    base = scale_to_grid(original, grid)
    across, down = base.width / original.width, base.height / original.height
    x0, y0, x1, y1 = box
    inside = (x0 * across, y0 * down, x1 * across, y1 * down)
    return base.resize((x1 - x0, y1 - y0), Image.Resampling.NEAREST, box=inside)


def _fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """`image` scaled to fill width x height as far as its shape allows."""
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _heated(page: Image.Image, heatmap: list[list[float]] | None) -> Image.Image:
    """`page` under its RoI map: the likelier, the redder and the more opaque."""
    if heatmap is None:
        return page
    cells = Image.fromarray(np.array(heatmap, dtype=np.float32))
    likely = np.asarray(cells.resize(page.size, Image.Resampling.BICUBIC)).clip(0, 1)
    stops = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(likely, stops, HEAT[:, channel]) for channel in range(3)], -1)
    opacity = HEAT_OPACITY * likely[..., None]
    blended = np.asarray(page) * (1 - opacity) + colour * opacity
    return Image.fromarray(blended.round().astype(np.uint8))


def _on_page(box: tuple[float, float, float, float], original: Image.Image, page: _Panel) -> Box:
    """A box in pixels of the original, in pixels of the canvas."""
    across = page.image.width / original.width
    down = page.image.height / original.height
    x0, y0, x1, y1 = box
    return (
        round(page.x + x0 * across),
        round(page.y + y0 * down),
        round(page.x + x1 * across),
        round(page.y + y1 * down),
    )


def _with_beams(canvas: Image.Image, frames: list[Box], crops: list[_Panel]) -> Image.Image:
    """Light falling from each frame's right edge onto its crop's left edge."""
    light = Image.new("RGBA", canvas.size)
    pen = ImageDraw.Draw(light)
    for frame, crop in zip(frames, crops, strict=True):
        x, y0, _, y1 = crop.box
        pen.polygon([(frame[2], frame[1]), (x, y0), (x, y1), (frame[2], frame[3])], fill=BEAM)
    return Image.alpha_composite(canvas.convert("RGBA"), light).convert("RGB")


def _caption(question: str, base_answer: str, roi_answer: str, roi: RoiReport) -> list[_Row]:
    why = f" (no region: {roi.skipped})" if roi.skipped else ""
    return [
        *_rows("question", question),
        *_rows("base view alone", base_answer),
        *_rows("with the region", roi_answer + why, ACCENT),
    ]


def _rows(label: str, text: str, colour: Colour = INK) -> list[_Row]:
    lines = textwrap.wrap(text, LETTERS_PER_LINE, max_lines=4, placeholder=" ...") or ["(nothing)"]
    return [_Row("" if line else label, part, colour) for line, part in enumerate(lines)]


def _write_row(pen: ImageDraw.ImageDraw, row: _Row, baseline: int) -> None:
    _write(pen, (MARGIN, baseline), row.label, FADED, LABEL_SIZE)
    _write(pen, (MARGIN + LABEL_WIDTH, baseline), row.text, row.colour, TEXT_SIZE)


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, colour: Colour, size: int
) -> None:
    """`text` beginning at `at` on its baseline."""
    pen.text(at, text, fill=colour, font=ImageFont.load_default(size), anchor="ls")
