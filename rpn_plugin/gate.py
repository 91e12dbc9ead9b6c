"""The free gate: whether what a RoI map found is worth a second look.

Many questions need no zoom. Then the map is flat (its best region has a low peak), or everything in
it matters (its regions cover most of the picture, and a crop shows hardly more than the base view).
Neither costs anything to see; the learned gate of Q-Zoom (arXiv 2604.06912) is another matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rpn_plugin.roi import Region


@dataclass(frozen=True)
class MapGate:
    """Open if the best region's score is at least `peak` and the regions' boxes, counted together,
    cover at most the share `area` of the picture. The default is always open.
    """

    peak: float = 0.0
    area: float = 1.0

    def is_open(self, regions: Sequence[Region], image_size: tuple[int, int]) -> bool:
        """Whether to look again at these regions (best first) of a picture of (width, height)."""
        if not regions or regions[0].score < self.peak:
            return False
        width, height = image_size
        covered = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (r.box for r in regions))
        return min(1.0, covered / (width * height)) <= self.area


ALWAYS_OPEN = MapGate()
