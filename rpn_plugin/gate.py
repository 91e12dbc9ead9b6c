"""Whether what a RoI map found is worth a second look.

Many questions need no zoom. Pass 1 may show it, for nothing: the map is flat (its best region has a
low peak), or everything in it matters (its regions cover most of the picture, and a crop shows
hardly more than the base view), or the model is sure of how it would begin to answer from the base
view. A learned gate (`gate_branch.py`) reads it off the question's states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rpn_plugin.roi import Region


@dataclass(frozen=True)
class Seen:
    """What pass 1 showed of one picture of `image_size` = (width, height): its regions, best first;
    the least probability of the first tokens that the model would answer from the base view; and
    the learned gate's probability that a second look is needed. Either is None if not asked for.
    """

    regions: Sequence[Region]
    image_size: tuple[int, int]
    sure: float | None = None
    need: float | None = None


@dataclass(frozen=True)
class Gate:
    """Open if the best region's score is at least `peak`; the regions' boxes, counted together,
    cover at most the share `area` of the picture; of the answer's first `sure_tokens` tokens one is
    no more probable than `sure`; and the learned gate holds a second look to be needed with a
    probability of at least `need`. With None for `sure` or `need`, nobody is asked. The default is
    open.
    """

    peak: float = 0.0
    area: float = 1.0
    sure: float | None = None
    sure_tokens: int = 1
    need: float | None = None

    def is_open(self, seen: Seen) -> bool:
        """Whether to look again. ValueError if something was wanted that was not asked for."""
        if not seen.regions or seen.regions[0].score < self.peak:
            return False
        if self.sure is not None and _asked(seen.sure) > self.sure:
            return False
        if self.need is not None and _asked(seen.need) < self.need:
            return False
        width, height = seen.image_size
        covered = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (r.box for r in seen.regions))
        return min(1.0, covered / (width * height)) <= self.area


def _asked(probability: float | None) -> float:
    if probability is None:
        raise ValueError("the gate wants to know what was not asked for")
    return probability


ALWAYS_OPEN = Gate()
