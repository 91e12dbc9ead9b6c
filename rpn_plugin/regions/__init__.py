"""From a RoI map to regions: pure numpy, no I/O."""

from rpn_plugin.regions.boxes import Region, regions_from_map

__all__ = ["Region", "regions_from_map"]
