"""The region proposal network: configuration, layers, checkpoints. Only `config` needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rpn_plugin.network.checkpoint import load_rpn
    from rpn_plugin.network.rpn import RegionProposalNetwork

__all__ = ["RegionProposalNetwork", "load_rpn"]


def __getattr__(name: str) -> Any:
    """Imports torch with the first use of a public name, so that `config` can be had without."""
    if name == "load_rpn":
        from rpn_plugin.network.checkpoint import load_rpn

        return load_rpn
    if name == "RegionProposalNetwork":
        from rpn_plugin.network.rpn import RegionProposalNetwork

        return RegionProposalNetwork
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
