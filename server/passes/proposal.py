"""From the result of pass 1 to the regions that pass 2 zooms into."""

from __future__ import annotations

from dataclasses import dataclass

from rpn_plugin.messages import RoiError, RoiMap
from rpn_plugin.regions.boxes import Region, regions_from_map
from rpn_plugin.regions.zoom_gate import GateInputs
from server.api.outcomes import Outcome
from server.api.roi_report import RegionReport
from server.api.roi_settings import RoiSettings
from server.passes.pass1 import Pass1Result


@dataclass(frozen=True)
class Proposal:
    """Regions of the zoomed picture, best first; `skipped` says why there are none."""

    regions: list[RegionReport]
    outcome: Outcome
    skipped: str | None = None
    pass1: Pass1Result | None = None


def propose_regions(
    settings: RoiSettings, image_size: tuple[int, int], pass1: Pass1Result
) -> Proposal:
    """The regions of the RoI map that pass the gate. Raises RoiError for a map that has none.

    `image_size` is (width, height) of the original picture in pixels.
    """
    regions = _regions(pass1.roi_map, image_size, settings)
    if not regions:
        return Proposal([], Outcome.NO_REGION, skipped="no_region", pass1=pass1)
    signals = GateInputs(regions, image_size, pass1.confidence, pass1.roi_map.gate_probability)
    if not settings.gate.is_open(signals):
        return Proposal([], Outcome.GATED, skipped="gate", pass1=pass1)
    reports = [RegionReport(box=list(region.box), score=region.score) for region in regions]
    return Proposal(reports, Outcome.REGION_FOUND, pass1=pass1)


def _regions(roi_map: RoiMap, image_size: tuple[int, int], settings: RoiSettings) -> list[Region]:
    try:
        return regions_from_map(
            roi_map.logits,
            image_size,
            threshold=settings.threshold,
            max_regions=settings.max_regions,
            family=settings.family,
            rules=settings.rules,
        )
    except ValueError as error:  # a map with NaNs, for example: an engine fault, not the caller's
        raise RoiError(str(error)) from error
