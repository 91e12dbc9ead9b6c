"""What differs between model families, declared; everything else in rpn_plugin is shared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One line of vision-language models that an RPN can be attached to.

    Names of vLLM classes are strings, so that a family can be read without importing vLLM.
    """

    name: str
    """The family's key, as stored in an RPN's configuration."""

    hf_architecture: str
    """The entry in `architectures` of the model's Hugging Face configuration."""

    model_type: str
    """`model_type` of that configuration."""

    engine_architecture: str
    """The name our tapped model class is registered under in vLLM."""

    engine_class: str
    """`module:class` of that class, which derives from vLLM's own for the architecture."""

    cell: int
    """Pixels on a side of one visual token."""

    attention_bias: bool
    """Whether q, k and v projections of the language model's layers have a bias."""
