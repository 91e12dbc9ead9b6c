"""The rules from a RoI map to regions, one set for each release of the RPN's authors.

An RPN's configuration names its rules, because it was trained and evaluated with them. `sdrpn`: an
absolute threshold, the family's own rules (arXiv 2509.16944). `qzoom`: the same with sinks from 256
cells on and small boxes grown. `visionrl2`: a threshold relative to the peak and a blur that is
wider for larger grids besides (arXiv 2609.19745).
"""

from __future__ import annotations

from dataclasses import replace

from rpn_plugin.families.base import BoxRules, Family, PeakRules

RULE_SETS = ("sdrpn", "qzoom", "visionrl2")
_LEAST_SIDE = 28
"""Pixels of the picture; the least side that Q-Zoom and Vision-RL2 crop, whatever a cell is."""


def box_rules(family: Family, rules: str | None = None, threshold: float | None = None) -> BoxRules:
    """The rules of that name for a family; None is `sdrpn`.

    An absolute `threshold` replaces one relative to the peak and the wider blur with it, as the
    released code does. ValueError for an unknown name.
    """
    check_rules(rules or "sdrpn")
    if rules in (None, "sdrpn"):
        own = family.boxes
    else:
        own = replace(
            family.boxes, sink_grid=256, least_side=_LEAST_SIDE, max_aspect=float("inf"), grow=True
        )
    if rules == "visionrl2":
        own = replace(own, least_sink=1, peak=PeakRules(), grid_blur=True)
    if threshold is not None:
        own = replace(own, threshold=threshold, peak=None, grid_blur=False)
    return own


def check_rules(name: str) -> None:
    """ValueError naming the rules there are if `name` is none of them."""
    if name not in RULE_SETS:
        raise ValueError(f"unknown rules {name!r}; known: {', '.join(RULE_SETS)}")
